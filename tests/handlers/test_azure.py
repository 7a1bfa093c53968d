"""The azure handler against a server that does as Azure Storage's documents say."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import requests
from pydantic import ValidationError

from relay.errors import (
    Gone,
    PermanentFailure,
    RelayError,
    Superseded,
    TemporaryFailure,
    Unreadable,
)
from relay.handlers.azure.auth import SharedKey, string_to_sign
from relay.handlers.azure.handler import Handler
from relay.model import Json, ObjectRef
from relay.testing.handler_suite import BYTES, HandlerSuite, Put, pinned, read
from tests.handlers.azure_server import ACCOUNT, KEY, SAS, SECRET, AzureServer, Blob, event_of
from tests.handlers.rest_server import Answer, before_the_cut

BUCKET = "exports"
REF = ObjectRef(BUCKET, "a.zip")
BLOB = Blob(b"x" * 24, "0x8D4BCC2E4835CD0", datetime(2026, 6, 26, 18, 41, 0, 958410, UTC))
APP = {"tenant": "tenant-1", "client_id": "app-1", "client_secret": SECRET}


@pytest.fixture
def server() -> Iterator[AzureServer]:
    with AzureServer() as server:
        server.containers[BUCKET] = {}
        yield server


def made(server: AzureServer, **keys: Any) -> Handler:
    table = {
        "kind": "azure",
        "endpoint_url": server.blobs,
        "login_url": server.url,
        "identity_url": server.url,
        "buckets": [BUCKET],
        **keys,
    }
    return Handler("exports", Handler.Settings.model_validate(table))


@pytest.fixture
def handler(server: AzureServer) -> Iterator[Handler]:
    server.believes = {"key"}
    with closing(made(server, account=ACCOUNT, account_key=KEY)) as handler:
        yield handler


@pytest.fixture
def put(server: AzureServer) -> Put:
    def put(key: str, body: bytes) -> ObjectRef:
        server.put(BUCKET, key, body)
        return ObjectRef(BUCKET, key)

    return put


class TestAzure(HandlerSuite):
    """With the account's key, so that every odd key is signed as it is sent."""

    # Azure itself takes steps out of names, and a backslash for a slash.
    odd_keys: ClassVar = tuple(
        key for key in HandlerSuite.odd_keys if ".." not in key and "\\" not in key
    )

    @pytest.fixture
    def record(self) -> Json:
        return event_of(BUCKET, "dir/a+b%2B 导出.zip", BLOB)

    @pytest.fixture
    def settings(self) -> Json:
        return {
            "kind": "azure",
            "account": "exports1",
            "sas_token": f"?{SAS}",
            "buckets": ["exports"],
            "queue_url": "https://exports1.queue.core.windows.net/news",
            "queue_sas_token": SAS,
            "scan_every": "15m",
        }


def as_cloud_event(event: Json) -> Json:
    return {
        "specversion": "1.0",
        "source": event["topic"],
        "type": event["eventType"],
        "time": event["eventTime"],
        **{name: event[name] for name in ("subject", "id", "data")},
    }


class TestRecords:
    def test_container_and_key_are_those_of_the_subject_as_they_stand(
        self, handler: Handler
    ) -> None:
        (event,) = handler.parse(event_of("test-container", "dir/a+b%2B 导出.zip", BLOB))
        assert event.object == ObjectRef(
            "test-container", "dir/a+b%2B 导出.zip", etag="0x8D4BCC2E4835CD0", size=24
        )
        assert event.identity == "etag:0x8D4BCC2E4835CD0+00000000000004420000000000028963"
        assert event.order == "azure:00000000000004420000000000028963"
        assert event.time == BLOB.modified
        assert event.type == "Microsoft.Storage.BlobCreated:PutBlockList"

    def test_both_schemas_tell_the_same_event(self, handler: Handler) -> None:
        event = event_of(BUCKET, "a.zip", BLOB)
        assert list(handler.parse(as_cloud_event(event))) == list(handler.parse(event))

    def test_a_quoted_etag_is_the_same(self, handler: Handler) -> None:
        quoted = event_of(BUCKET, "a.zip", BLOB, eTag=f'"{BLOB.etag}"')
        assert list(handler.parse(quoted)) == list(handler.parse(event_of(BUCKET, "a.zip", BLOB)))

    @pytest.mark.parametrize("api", ["PutBlob", "PutBlockList", "FlushWithClose", "SftpCommit"])
    def test_a_complete_blob_is_announced_and_pinned(self, handler: Handler, api: str) -> None:
        (event,) = handler.parse(event_of(BUCKET, "a.zip", BLOB, api=api))
        assert event.object.etag == BLOB.etag

    @pytest.mark.parametrize("api", ["CreateFile", "SftpCreate", "PutBlock", "AppendBlock"])
    def test_a_blob_that_is_not_complete_is_not_announced(self, handler: Handler, api: str) -> None:
        assert list(handler.parse(event_of(BUCKET, "a.zip", BLOB, api=api))) == []

    @pytest.mark.parametrize(
        "kind",
        ["BlobDeleted", "BlobTierChanged", "DirectoryCreated", "BlobRenamed", "BlobCreatedX"],
    )
    def test_other_events_announce_nothing(self, handler: Handler, kind: str) -> None:
        event = {**event_of(BUCKET, "a.zip", BLOB), "eventType": f"Microsoft.Storage.{kind}"}
        assert list(handler.parse(event)) == []

    def test_a_copy_that_may_only_have_begun_is_not_pinned(self, handler: Handler) -> None:
        copied = event_of(BUCKET, "a.zip", BLOB, api="CopyBlob", contentLength=0)
        (event,) = handler.parse(copied)
        assert event.object == REF
        assert event.identity.startswith(f"etag:{BLOB.etag}")

    def test_a_renamed_blob_is_a_new_one_when_the_source_says_so(self, server: AzureServer) -> None:
        data = {"api": "RenameFile", "sequencer": "007", "destinationUrl": "https://x/y"}
        event = {
            **event_of(BUCKET, "new.zip", BLOB),
            "eventType": "Microsoft.Storage.BlobRenamed",
            "data": data,
        }
        with closing(made(server, anonymous=True, renames=True)) as handler:
            (found,) = handler.parse(event)
        assert found.object == ObjectRef(BUCKET, "new.zip")
        assert found.identity == "sequencer:007"

    @pytest.mark.parametrize(
        "subject",
        [
            None,
            "",
            7,
            "/blobServices/default/containers/exports",
            "/blobServices/default/containers/exports/blobs/",
            "/blobServices/default/containers//blobs/a.zip",
        ],
    )
    def test_a_subject_that_names_no_blob_is_unreadable(
        self, handler: Handler, subject: object
    ) -> None:
        with pytest.raises(Unreadable):
            list(handler.parse({**event_of(BUCKET, "a.zip", BLOB), "subject": subject}))

    def test_a_key_may_hold_what_parts_a_subject(self, handler: Handler) -> None:
        key = "x/blobs/y\n.zip"
        (event,) = handler.parse(event_of(BUCKET, key, BLOB))
        assert event.object.key == key

    def test_what_nothing_tells_apart_is_unreadable(self, handler: Handler) -> None:
        event = event_of(BUCKET, "a.zip", BLOB, eTag=None, sequencer=None)
        with pytest.raises(Unreadable):
            list(handler.parse({**event, "eventTime": None}))


class TestReading:
    def test_a_key_goes_over_the_wire_as_it_is(
        self, server: AzureServer, handler: Handler, put: Put
    ) -> None:
        for key, sent in {
            "/leading//double/": "/leading//double/",
            "a?b#c%2F&d=e+f g": "a%3Fb%23c%252F%26d%3De%2Bf%20g",
            "...": "%2E%2E%2E",
            "a..b/.c/d.": "a..b/.c/d.",
            "\x01\x7f键": "%01%7F%E9%94%AE",
        }.items():
            assert read(handler, put(key, key.encode())) == key.encode()
            assert server.asked[-1].path == f"/{ACCOUNT}/{BUCKET}/{sent}"

    @pytest.mark.parametrize(
        "key", ["../x", "x/../y.zip", "./x", "x/.", "back\\slash.zip", "x/..", ".", ".."]
    )
    def test_a_key_that_azure_takes_for_another_is_not_asked_for(
        self, server: AzureServer, handler: Handler, key: str
    ) -> None:
        with pytest.raises(PermanentFailure) as raised:
            handler.open(ObjectRef(BUCKET, key))
        assert raised.value.code == "storage.bad_key"
        assert server.asked == []

    def test_a_blob_is_pinned_by_its_etag(
        self, server: AzureServer, handler: Handler, put: Put
    ) -> None:
        ref = pinned(handler, put("a.zip", b"0123456789"))
        server.asked.clear()
        assert read(handler, ref, 3, 7) == b"3456"
        (asked,) = server.asked
        assert asked.headers["if-match"] == f'"{ref.etag}"'
        assert asked.headers["range"] == "bytes=3-6"

    @pytest.mark.parametrize("etag", ['x"y', "中", "a\r\nb", "x" * 999])
    def test_an_etag_that_no_blob_has_is_superseded(
        self, handler: Handler, put: Put, etag: str
    ) -> None:
        with pytest.raises(Superseded):
            handler.open(replace(put("a.zip", b"x"), etag=etag))

    def test_a_store_that_ignores_if_match_does_not_pass_another_blob_off(
        self, server: AzureServer, handler: Handler, put: Put
    ) -> None:
        ref = pinned(handler, put("a.zip", b"x"))
        server.changes(ETag='"another"')
        with pytest.raises(Superseded):
            handler.open(ref)

    def test_a_copy_under_way_is_waited_for(self, server: AzureServer, handler: Handler) -> None:
        blob = server.put(BUCKET, "a.zip", b"only hal", copying=True)
        with pytest.raises(TemporaryFailure) as raised:
            handler.stat(REF)
        assert raised.value.code == "object.not_yet"
        blob.copying = False
        assert handler.stat(REF).size == 8

    def test_a_cut_stream_never_looks_complete(
        self, server: AzureServer, handler: Handler, put: Put
    ) -> None:
        ref = pinned(handler, put("a.zip", BYTES))
        server.cuts(after=3000)
        with closing(handler.open(ref)) as stream:
            got = before_the_cut(stream)
        assert got + read(handler, ref, len(got)) == BYTES

    @pytest.mark.parametrize(
        ("status", "told", "branch", "code"),
        [
            (401, "NoAuthenticationInformation", PermanentFailure, "storage.denied"),
            (403, "AuthenticationFailed", PermanentFailure, "storage.denied"),
            (403, "AuthorizationPermissionMismatch", PermanentFailure, "storage.denied"),
            (404, "ResourceNotFound", PermanentFailure, "storage.denied"),
            (409, "PublicAccessNotPermitted", PermanentFailure, "storage.denied"),
            (404, "BlobNotFound", Gone, "object.gone"),
            (404, "", Gone, "object.gone"),
            (404, "ContainerNotFound", PermanentFailure, "storage.no_bucket"),
            (409, "ContainerBeingDeleted", PermanentFailure, "storage.no_bucket"),
            (409, "BlobArchived", PermanentFailure, "object.archived"),
            (409, "BlobBeingRehydrated", TemporaryFailure, "object.not_yet"),
            (412, "ConditionNotMet", Superseded, "object.superseded"),
            (400, "InvalidUri", PermanentFailure, "storage.refused"),
            (307, "", PermanentFailure, "storage.refused"),
            (429, "TooManyRequests", TemporaryFailure, "storage.busy"),
            (500, "InternalError", TemporaryFailure, "storage.busy"),
            (503, "ServerBusy", TemporaryFailure, "storage.busy"),
        ],
    )
    def test_a_refusal_is_an_error_of_ours(
        self,
        server: AzureServer,
        status: int,
        told: str,
        branch: type[RelayError],
        code: str,
    ) -> None:
        headers = {"x-ms-error-code": told, "Retry-After": "7", "Location": "/elsewhere"}
        server.fails(Answer(status, f"the string to sign, {SAS}".encode(), headers))
        with (
            closing(made(server, sas_token=SAS)) as handler,
            pytest.raises(branch) as raised,
        ):
            handler.open(REF)
        error = raised.value
        assert error.code == code
        assert error.message.en != error.message.zh
        assert "sig=" not in f"{error} {error.answer} {error.__cause__}"
        if code == "storage.busy":
            assert isinstance(error, TemporaryFailure)
            assert error.retry_after == timedelta(seconds=7)

    def test_an_unreachable_store_does_not_show_the_signature(self, server: AzureServer) -> None:
        keys = {"endpoint_url": "http://127.0.0.1:1", "sas_token": SAS}
        with (
            closing(made(server, **keys)) as handler,
            pytest.raises(TemporaryFailure) as raised,
        ):
            handler.open(REF)
        assert "sig=" not in f"{raised.value} {raised.value.__cause__}"
        assert raised.value.__suppress_context__


class TestCredentials:
    def test_a_signature_is_the_one_that_microsofts_client_made(self) -> None:
        """The request and its signature are those of a test of MicrosoftDX/Dash, taken there from
        what Microsoft's storage client for .NET had sent."""
        key = (
            "8jqRVtXUWiEthgIhR+dFwrB8gh3lFuquvJQ1v4eabObIj7okI1cZIuzY8zZHmEdp"
            "cC0f+XlUkbFwAhjTfyrLIg=="
        )
        request = requests.Request(
            "GET",
            "https://dashstorage1.blob.core.windows.net/test?restype=container&comp=list&prefix=te"
            "&include=snapshots,uncommittedblobs,metadata,copy",
            headers={
                "User-Agent": "WA-Storage/4.3.0 (.NET CLR 4.0.30319.34014; Win32NT 6.2.9200.0)",
                "x-ms-version": "2014-02-14",
                "x-ms-client-request-id": "adfb540e-1050-4c9b-a53a-be6cb71688d3",
            },
        ).prepare()
        then = datetime(2014, 10, 31, 22, 50, 34, tzinfo=UTC)
        SharedKey("dashstorage1", base64.b64decode(key), lambda: then).sign(request)
        assert request.headers["Authorization"] == (
            "SharedKey dashstorage1:rB2yPGBXn3CtquDlk03An34hgRHIibK/Xv+hjG3r0Us="
        )

    def test_the_string_to_sign_is_the_documents_example(self) -> None:
        headers = {
            "x-ms-version": "2015-02-21",
            "x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT",
            "Content-Length": "0",
        }
        url = "https://myaccount.blob.core.windows.net/mycontainer"
        url += "?restype=container&comp=metadata&timeout=20"
        assert string_to_sign("GET", url, headers, "myaccount") == (
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
            "x-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\n"
            "restype:container\ntimeout:20"
        )

    def test_a_sas_goes_with_every_address(self, server: AzureServer, put: Put) -> None:
        server.believes = {"sas"}
        ref = put("a?b.zip", b"x")
        with closing(made(server, sas_token=f"?{SAS}")) as handler:
            assert read(handler, ref) == b"x"
            assert len(list(handler.scan())) == 1
        assert server.asked[0].target == f"/{ACCOUNT}/{BUCKET}/a%3Fb.zip?{SAS}"

    def test_an_apps_token_is_fetched_once_and_renewed_when_refused(
        self, server: AzureServer, put: Put
    ) -> None:
        server.believes = {"token"}
        ref = put("a.zip", BYTES)
        with closing(made(server, **APP)) as handler, ThreadPoolExecutor(8) as pool:
            assert all(body == BYTES for body in pool.map(lambda _: read(handler, ref), range(16)))
            server.tokens.clear()
            assert all(body == BYTES for body in pool.map(lambda _: read(handler, ref), range(16)))
        asked = [one.path for one in server.asked]
        assert asked.count("/tenant-1/oauth2/v2.0/token") == 2

    def test_an_apps_wrong_secret_is_told_without_it(self, server: AzureServer) -> None:
        wrong = {**APP, "client_secret": "wrong-secret-value"}
        with (
            closing(made(server, **wrong)) as handler,
            pytest.raises(PermanentFailure) as raised,
        ):
            handler.open(REF)
        assert raised.value.code == "storage.no_token"
        assert "invalid_client" in raised.value.message.en
        assert "wrong-secret" not in f"{raised.value} {handler.settings!r}"

    def test_the_machine_has_an_identity_of_its_own(
        self, server: AzureServer, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
        server.believes = {"token"}
        ref = put("a.zip", b"x")
        with closing(made(server, client_id="which")) as handler:
            assert read(handler, ref) == b"x"
        assert server.asked[0].query["client_id"] == "which"

    def test_an_app_service_has_an_endpoint_of_its_own(
        self, server: AzureServer, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "secret-header")
        server.believes = {"token"}
        ref = put("a.zip", b"x")
        server.fails(server._granted("3600"))
        with closing(made(server)) as handler:
            assert read(handler, ref) == b"x"
        assert server.asked[0].path == "/msi/token"
        assert server.asked[0].headers["x-identity-header"] == "secret-header"

    def test_a_wrong_key_is_denied(self, server: AzureServer, put: Put) -> None:
        server.believes = {"key"}
        wrong = base64.b64encode(b"another key").decode()
        with (
            closing(made(server, account=ACCOUNT, account_key=wrong)) as handler,
            pytest.raises(PermanentFailure) as raised,
        ):
            handler.open(put("a.zip", b"x"))
        assert raised.value.code == "storage.denied"
        assert wrong not in f"{raised.value} {raised.value.answer} {handler.settings!r}"


class TestScan:
    def test_markers_are_followed(self, server: AzureServer, handler: Handler, put: Put) -> None:
        server.page = 2
        keys = sorted([*(f"{number}.zip" for number in range(6)), "a b+c%2B&<键>.zip"])
        for key in keys:
            put(key, b"x")
        assert [event.object.key for event in handler.scan()] == keys
        assert len(server.asked) == 4

    def test_what_is_found_is_pinned_and_no_directory(
        self, server: AzureServer, handler: Handler, put: Put
    ) -> None:
        server.put(BUCKET, "dir", b"", is_directory=True)
        blob = server.put(BUCKET, "dir/a.zip", b"xyz")
        (found,) = handler.scan()
        assert found.object == ObjectRef(BUCKET, "dir/a.zip", etag=blob.etag, size=3)
        assert found.identity == f"etag:{blob.etag}"
        assert read(handler, found.object) == b"xyz"

    def test_a_name_that_xml_cannot_hold_is_found(self, handler: Handler, put: Put) -> None:
        put("a\x01b%2B.zip", b"x")
        (found,) = handler.scan()
        assert found.object.key == "a\x01b%2B.zip"

    def test_only_what_changed_since_is_found(self, handler: Handler, put: Put) -> None:
        put("a.zip", b"x")
        now = datetime.now(UTC)
        assert len(list(handler.scan(now - timedelta(minutes=1)))) == 1
        assert list(handler.scan(now + timedelta(minutes=1))) == []

    def test_a_marker_that_is_not_known_any_more_is_the_beginning(
        self, handler: Handler, put: Put
    ) -> None:
        put("a.zip", b"x")
        pages = list(handler.scan_pages(after=(BUCKET, "gone")))
        assert [event.object.key for page in pages for event in page.events] == ["a.zip"]

    def test_a_container_that_is_not_there_is_told(self, server: AzureServer) -> None:
        with (
            closing(made(server, anonymous=True, buckets=["nowhere"])) as handler,
            pytest.raises(PermanentFailure) as raised,
        ):
            list(handler.scan())
        assert raised.value.code == "storage.no_bucket"

    @pytest.mark.parametrize(
        "body",
        [
            b"<html>",
            b"",
            b"\xff\xfe<\x00",
            b"<EnumerationResults><Blobs><Blob/></Blobs></EnumerationResults>",
            b'<!DOCTYPE x [<!ENTITY a "aaaa">]><EnumerationResults>&a;</EnumerationResults>',
            b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x"><EnumerationResults/>',
            '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x []><x/>'.encode("utf-16"),
            b"<EnumerationResults>&undefined;</EnumerationResults>",
        ],
    )
    def test_a_listing_that_is_none_or_hostile_is_a_temporary_failure(
        self, server: AzureServer, handler: Handler, body: bytes
    ) -> None:
        server.fails(Answer(200, body))
        with pytest.raises(TemporaryFailure) as raised:
            list(handler.scan())
        assert raised.value.code == "storage.not_understood"

    def test_a_store_that_says_the_same_again_does_not_keep_us_for_ever(
        self, server: AzureServer, handler: Handler
    ) -> None:
        page = b"<EnumerationResults><NextMarker>same</NextMarker></EnumerationResults>"
        server.fails(*[Answer(200, page)] * 9)
        with pytest.raises(PermanentFailure) as raised:
            list(handler.scan())
        assert raised.value.code == "storage.listing_goes_round"


class TestSettings:
    @pytest.mark.parametrize(
        "keys",
        [
            {"account": None, "endpoint_url": None},
            {"account_key": KEY},
            {"account": ACCOUNT, "account_key": "no base64, secret-value"},
            {"sas_token": "secret-value"},
            {"sas_token": "sv=1&sig=x y secret-value"},
            {"client_secret": "secret-value"},
            {"sas_token": SAS, "anonymous": True},
            {"account": "Not_An_Account"},
            {"queue_url": "https://x.queue.core.windows.net/news?sig=secret-value"},
            {"scan_every": "15m", "buckets": []},
        ],
    )
    def test_a_wrong_setting_is_refused(self, server: AzureServer, keys: Json) -> None:
        with pytest.raises(ValidationError) as raised:
            made(server, **keys)
        assert "secret-value" not in str(raised.value)

    def test_the_accounts_address_follows_from_its_name(self) -> None:
        settings = Handler.Settings(kind="azure", account="exports1")
        assert settings.blobs == "https://exports1.blob.core.windows.net"
        assert settings.accept == ("azure", "signed", "bare")

    def test_ready_says_what_it_tried(self, server: AzureServer) -> None:
        keys = {"anonymous": True, "queue_url": f"{server.url}/news"}
        server.send("x")
        with closing(made(server, **keys)) as handler:
            assert handler.ready() == "lists exports, about 1 messages in the queue"
