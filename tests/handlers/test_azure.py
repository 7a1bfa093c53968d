"""The azure handler against a fake of Azure Storage."""

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
from tests.handlers.rest_server import Response, read_truncated

BUCKET = "exports"
REF = ObjectRef(BUCKET, "a.zip")
BLOB = Blob(b"x" * 24, "0x8D4BCC2E4835CD0", datetime(2026, 6, 26, 18, 41, 0, 958410, UTC))
APP = {"tenant": "tenant-1", "client_id": "app-1", "client_secret": SECRET}


@pytest.fixture
def server() -> Iterator[AzureServer]:
    with AzureServer() as server:
        server.containers[BUCKET] = {}
        yield server


def make_handler(server: AzureServer, **keys: Any) -> Handler:
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
    with closing(make_handler(server, account=ACCOUNT, account_key=KEY)) as handler:
        yield handler


@pytest.fixture
def put(server: AzureServer) -> Put:
    def put(key: str, body: bytes) -> ObjectRef:
        server.put(BUCKET, key, body)
        return ObjectRef(BUCKET, key)

    return put


class TestAzure(HandlerSuite):
    """With an account key, so that every odd object key is also signed."""

    # Azure resolves . and .. in names, and treats a backslash as a slash.
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
    def test_container_and_key_come_from_the_subject_unchanged(self, handler: Handler) -> None:
        (event,) = handler.parse(event_of("test-container", "dir/a+b%2B 导出.zip", BLOB))
        assert event.object == ObjectRef(
            "test-container", "dir/a+b%2B 导出.zip", etag="0x8D4BCC2E4835CD0", size=24
        )
        assert event.identity == "etag:0x8D4BCC2E4835CD0+00000000000004420000000000028963"
        assert event.order == "azure:00000000000004420000000000028963"
        assert event.time == BLOB.modified
        assert event.type == "Microsoft.Storage.BlobCreated:PutBlockList"

    def test_both_schemas_result_in_the_same_event(self, handler: Handler) -> None:
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

    def test_a_copy_is_not_pinned_because_it_may_be_running(self, handler: Handler) -> None:
        copied = event_of(BUCKET, "a.zip", BLOB, api="CopyBlob", contentLength=0)
        (event,) = handler.parse(copied)
        assert event.object == REF
        assert event.identity.startswith(f"etag:{BLOB.etag}")

    def test_a_renamed_blob_is_a_new_blob_if_the_setting_is_on(self, server: AzureServer) -> None:
        data = {"api": "RenameFile", "sequencer": "007", "destinationUrl": "https://x/y"}
        event = {
            **event_of(BUCKET, "new.zip", BLOB),
            "eventType": "Microsoft.Storage.BlobRenamed",
            "data": data,
        }
        with closing(make_handler(server, anonymous=True, renames=True)) as handler:
            (event,) = handler.parse(event)
        assert event.object == ObjectRef(BUCKET, "new.zip")
        assert event.identity == "sequencer:007"

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
    def test_a_subject_without_a_blob_is_unreadable(
        self, handler: Handler, subject: object
    ) -> None:
        with pytest.raises(Unreadable):
            list(handler.parse({**event_of(BUCKET, "a.zip", BLOB), "subject": subject}))

    def test_a_key_can_contain_the_separators_of_a_subject(self, handler: Handler) -> None:
        key = "x/blobs/y\n.zip"
        (event,) = handler.parse(event_of(BUCKET, key, BLOB))
        assert event.object.key == key

    def test_an_event_without_etag_sequencer_and_time_is_unreadable(self, handler: Handler) -> None:
        event = event_of(BUCKET, "a.zip", BLOB, eTag=None, sequencer=None)
        with pytest.raises(Unreadable):
            list(handler.parse({**event, "eventTime": None}))


class TestReading:
    def test_a_key_is_percent_encoded_exactly(
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
            assert server.requests[-1].path == f"/{ACCOUNT}/{BUCKET}/{sent}"

    @pytest.mark.parametrize(
        "key", ["../x", "x/../y.zip", "./x", "x/.", "back\\slash.zip", "x/..", ".", ".."]
    )
    def test_a_key_that_azure_would_change_is_not_requested(
        self, server: AzureServer, handler: Handler, key: str
    ) -> None:
        with pytest.raises(PermanentFailure) as raised:
            handler.open(ObjectRef(BUCKET, key))
        assert raised.value.code == "storage.bad_key"
        assert server.requests == []

    def test_a_blob_is_pinned_by_its_etag(
        self, server: AzureServer, handler: Handler, put: Put
    ) -> None:
        ref = pinned(handler, put("a.zip", b"0123456789"))
        server.requests.clear()
        assert read(handler, ref, 3, 7) == b"3456"
        (requests,) = server.requests
        assert requests.headers["if-match"] == f'"{ref.etag}"'
        assert requests.headers["range"] == "bytes=3-6"

    @pytest.mark.parametrize("etag", ['x"y', "中", "a\r\nb", "x" * 999])
    def test_an_invalid_etag_is_superseded(self, handler: Handler, put: Put, etag: str) -> None:
        with pytest.raises(Superseded):
            handler.open(replace(put("a.zip", b"x"), etag=etag))

    def test_another_etag_is_superseded_if_the_store_ignores_if_match(
        self, server: AzureServer, handler: Handler, put: Put
    ) -> None:
        ref = pinned(handler, put("a.zip", b"x"))
        server.change_headers(ETag='"another"')
        with pytest.raises(Superseded):
            handler.open(ref)

    def test_a_running_copy_is_a_temporary_failure(
        self, server: AzureServer, handler: Handler
    ) -> None:
        blob = server.put(BUCKET, "a.zip", b"only hal", copying=True)
        with pytest.raises(TemporaryFailure) as raised:
            handler.stat(REF)
        assert raised.value.code == "object.not_yet"
        blob.copying = False
        assert handler.stat(REF).size == 8

    def test_a_truncated_stream_is_an_error(
        self, server: AzureServer, handler: Handler, put: Put
    ) -> None:
        ref = pinned(handler, put("a.zip", BYTES))
        server.truncate(after=3000)
        with closing(handler.open(ref)) as stream:
            received = read_truncated(stream)
        assert received + read(handler, ref, len(received)) == BYTES

    @pytest.mark.parametrize(
        ("status", "error_code", "branch", "code"),
        [
            (401, "NoAuthenticationInformation", TemporaryFailure, "storage.denied"),
            (403, "AuthenticationFailed", TemporaryFailure, "storage.denied"),
            (403, "AuthorizationPermissionMismatch", PermanentFailure, "storage.denied"),
            (404, "ResourceNotFound", PermanentFailure, "storage.denied"),
            (409, "PublicAccessNotPermitted", PermanentFailure, "storage.denied"),
            (404, "BlobNotFound", Gone, "object.gone"),
            (404, "", TemporaryFailure, "storage.unexplained_404"),
            (404, "PathNotFound", TemporaryFailure, "storage.unexplained_404"),
            (404, "ContainerNotFound", TemporaryFailure, "storage.no_bucket"),
            (409, "ContainerBeingDeleted", TemporaryFailure, "storage.no_bucket"),
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
    def test_an_error_response_is_translated(
        self,
        server: AzureServer,
        status: int,
        error_code: str,
        branch: type[RelayError],
        code: str,
    ) -> None:
        headers = {"x-ms-error-code": error_code, "Retry-After": "7", "Location": "/elsewhere"}
        server.respond_with(Response(status, f"the string to sign, {SAS}".encode(), headers))
        with (
            closing(make_handler(server, sas_token=SAS)) as handler,
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
            closing(make_handler(server, **keys)) as handler,
            pytest.raises(TemporaryFailure) as raised,
        ):
            handler.open(REF)
        assert "sig=" not in f"{raised.value} {raised.value.__cause__}"
        assert raised.value.__suppress_context__


class TestCredentials:
    def test_a_signature_equals_that_of_microsofts_client(self) -> None:
        """Request and signature come from a test of MicrosoftDX/Dash, which recorded them from
        Microsoft's storage client for .NET."""
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

    def test_a_sas_is_part_of_every_url(self, server: AzureServer, put: Put) -> None:
        server.believes = {"sas"}
        ref = put("a?b.zip", b"x")
        with closing(make_handler(server, sas_token=f"?{SAS}")) as handler:
            assert read(handler, ref) == b"x"
            assert len(list(handler.scan())) == 1
        assert server.requests[0].target == f"/{ACCOUNT}/{BUCKET}/a%3Fb.zip?{SAS}"

    def test_an_apps_token_is_fetched_once_and_renewed_when_refused(
        self, server: AzureServer, put: Put
    ) -> None:
        server.believes = {"token"}
        ref = put("a.zip", BYTES)
        with closing(make_handler(server, **APP)) as handler, ThreadPoolExecutor(8) as pool:
            assert all(body == BYTES for body in pool.map(lambda _: read(handler, ref), range(16)))
            server.tokens.clear()
            assert all(body == BYTES for body in pool.map(lambda _: read(handler, ref), range(16)))
        requests = [item.path for item in server.requests]
        assert requests.count("/tenant-1/oauth2/v2.0/token") == 2

    def test_the_error_for_a_wrong_app_secret_does_not_contain_the_secret(
        self, server: AzureServer
    ) -> None:
        wrong = {**APP, "client_secret": "wrong-secret-value"}
        with (
            closing(make_handler(server, **wrong)) as handler,
            pytest.raises(PermanentFailure) as raised,
        ):
            handler.open(REF)
        assert raised.value.code == "storage.no_token"
        assert "invalid_client" in raised.value.message.en
        assert "wrong-secret" not in f"{raised.value} {handler.settings!r}"

    def test_the_managed_identity_of_the_machine_is_the_default(
        self, server: AzureServer, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("IDENTITY_ENDPOINT", raising=False)
        server.believes = {"token"}
        ref = put("a.zip", b"x")
        with closing(make_handler(server, client_id="which")) as handler:
            assert read(handler, ref) == b"x"
        assert server.requests[0].query["client_id"] == "which"

    def test_the_identity_endpoint_of_an_app_service_is_used(
        self, server: AzureServer, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "secret-header")
        server.believes = {"token"}
        ref = put("a.zip", b"x")
        server.respond_with(server._granted("3600"))
        with closing(make_handler(server)) as handler:
            assert read(handler, ref) == b"x"
        assert server.requests[0].path == "/msi/token"
        assert server.requests[0].headers["x-identity-header"] == "secret-header"

    def test_a_wrong_key_is_denied(self, server: AzureServer, put: Put) -> None:
        server.believes = {"key"}
        wrong = base64.b64encode(b"another key").decode()
        with (
            closing(make_handler(server, account=ACCOUNT, account_key=wrong)) as handler,
            pytest.raises(TemporaryFailure) as raised,
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
        assert len(server.requests) == 4

    def test_a_scan_omits_directories_and_pins_blobs(
        self, server: AzureServer, handler: Handler, put: Put
    ) -> None:
        server.put(BUCKET, "dir", b"", is_directory=True)
        blob = server.put(BUCKET, "dir/a.zip", b"xyz")
        (event,) = handler.scan()
        assert event.object == ObjectRef(BUCKET, "dir/a.zip", etag=blob.etag, size=3)
        assert event.identity == f"etag:{blob.etag}"
        assert read(handler, event.object) == b"xyz"

    def test_a_name_with_characters_outside_of_xml_is_found(
        self, handler: Handler, put: Put
    ) -> None:
        put("a\x01b%2B.zip", b"x")
        (event,) = handler.scan()
        assert event.object.key == "a\x01b%2B.zip"

    def test_only_what_changed_since_is_found(self, handler: Handler, put: Put) -> None:
        put("a.zip", b"x")
        now = datetime.now(UTC)
        assert len(list(handler.scan(now - timedelta(minutes=1)))) == 1
        assert list(handler.scan(now + timedelta(minutes=1))) == []

    def test_an_expired_marker_restarts_the_listing(self, handler: Handler, put: Put) -> None:
        put("a.zip", b"x")
        pages = list(handler.scan_pages(after=(BUCKET, "gone")))
        assert [event.object.key for page in pages for event in page.events] == ["a.zip"]

    def test_a_missing_container_is_an_error(self, server: AzureServer) -> None:
        with (
            closing(make_handler(server, anonymous=True, buckets=["nowhere"])) as handler,
            pytest.raises(TemporaryFailure) as raised,
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
    def test_a_malformed_or_hostile_listing_is_a_temporary_failure(
        self, server: AzureServer, handler: Handler, body: bytes
    ) -> None:
        server.respond_with(Response(200, body))
        with pytest.raises(TemporaryFailure) as raised:
            list(handler.scan())
        assert raised.value.code == "storage.not_understood"

    def test_a_repeated_page_ends_the_listing(self, server: AzureServer, handler: Handler) -> None:
        page = b"<EnumerationResults><NextMarker>same</NextMarker></EnumerationResults>"
        server.respond_with(*[Response(200, page)] * 9)
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
    def test_an_invalid_setting_is_rejected(self, server: AzureServer, keys: Json) -> None:
        with pytest.raises(ValidationError) as raised:
            make_handler(server, **keys)
        assert "secret-value" not in str(raised.value)

    def test_the_accounts_address_follows_from_its_name(self) -> None:
        settings = Handler.Settings(kind="azure", account="exports1")
        assert settings.blobs == "https://exports1.blob.core.windows.net"
        assert settings.accept == ("azure", "signed", "bare")

    def test_ready_lists_the_checks(self, server: AzureServer) -> None:
        keys = {"anonymous": True, "queue_url": f"{server.url}/news"}
        server.send("x")
        with closing(make_handler(server, **keys)) as handler:
            assert handler.ready() == "lists exports, about 1 messages in the queue"
