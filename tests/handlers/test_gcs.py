"""The gcs handler against a fake of Cloud Storage."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from relay.errors import (
    ConfigError,
    Gone,
    PermanentFailure,
    RelayError,
    Superseded,
    TemporaryFailure,
    Unreadable,
)
from relay.handlers.gcs.handler import Handler
from relay.model import Json, ObjectRef
from relay.testing.handler_suite import BYTES, HandlerSuite, Put, pinned, read
from tests.handlers.gcs_server import GcsServer
from tests.handlers.rest_server import Response, as_json, read_truncated

BUCKET = "exports"
REF = ObjectRef(BUCKET, "a.zip")
ATTRIBUTES = {
    "bucketId": BUCKET,
    "eventTime": "2020-12-08T11:51:26.395668Z",
    "eventType": "OBJECT_FINALIZE",
    "objectGeneration": "1607428286395814",
    "objectId": "a+b%2B 导出.zip",
    "payloadFormat": "JSON_API_V1",
}


@pytest.fixture
def server() -> Iterator[GcsServer]:
    with GcsServer() as server:
        server.buckets[BUCKET] = {}
        yield server


def make_handler(server: GcsServer, **keys: Any) -> Handler:
    table = {
        "kind": "gcs",
        "endpoint_url": server.url,
        "pubsub_url": server.url,
        "metadata_url": server.url,
        "buckets": [BUCKET],
        "anonymous": True,
        **keys,
    }
    return Handler("exports", Handler.Settings.model_validate(table))


@pytest.fixture
def handler(server: GcsServer) -> Iterator[Handler]:
    with closing(make_handler(server)) as handler:
        yield handler


@pytest.fixture
def put(server: GcsServer) -> Put:
    def put(key: str, body: bytes) -> ObjectRef:
        server.put(BUCKET, key, body)
        return ObjectRef(BUCKET, key)

    return put


class TestGcs(HandlerSuite):
    @pytest.fixture
    def record(self) -> Json:
        return {"pubsub": {"attributes": ATTRIBUTES, "messageId": "1", "data": {"size": "352"}}}

    @pytest.fixture
    def settings(self) -> Json:
        return {
            "kind": "gcs",
            "buckets": ["exports"],
            "access_token": "secret-token",
            "subscription": "projects/p-1/subscriptions/s-1",
            "scan_every": "15m",
        }


def as_cloud_event(**changes: Any) -> Json:
    data = {
        "bucket": BUCKET,
        "name": "folder/Test.zip",
        "generation": "1587627537231057",
        "metageneration": "1",
        "size": "352",
        "timeCreated": "2020-04-23T07:38:57.230Z",
        "etag": "CNHZkbuF/ugCEAE=",
        **changes,
    }
    return {
        "specversion": "1.0",
        "id": "1",
        "type": "google.cloud.storage.object.v1.finalized",
        "source": f"//storage.googleapis.com/projects/_/buckets/{BUCKET}",
        "subject": "objects/folder/Test.zip",
        "data": data,
    }


class TestRecords:
    def test_the_attributes_of_a_message_contain_all_but_the_size(self, handler: Handler) -> None:
        (event,) = handler.parse({"pubsub": {"attributes": ATTRIBUTES, "data": None}})
        ref = ObjectRef(BUCKET, "a+b%2B 导出.zip", version="1607428286395814")
        assert event.object == ref
        assert event.identity == "version:1607428286395814"
        assert event.order == "generation:00001607428286395814"
        assert event.type == "OBJECT_FINALIZE"
        assert event.time == datetime(2020, 12, 8, 11, 51, 26, 395668, UTC)

    @pytest.mark.parametrize("size", ["352", 352])
    def test_the_resource_in_a_message_contains_the_size(
        self, handler: Handler, size: object
    ) -> None:
        record = {"pubsub": {"attributes": ATTRIBUTES, "data": {"size": size}}}
        (event,) = handler.parse(record)
        assert event.object.size == 352

    @pytest.mark.parametrize(
        "kind", ["OBJECT_DELETE", "OBJECT_ARCHIVE", "OBJECT_METADATA_UPDATE", "OBJECT_INITIALIZE"]
    )
    def test_other_messages_announce_nothing(self, handler: Handler, kind: str) -> None:
        record = {"pubsub": {"attributes": {**ATTRIBUTES, "eventType": kind}}}
        assert list(handler.parse(record)) == []

    @pytest.mark.parametrize("generation", ["1587627537231057", 1587627537231057])
    def test_a_cloud_event_is_the_same_event_as_its_message(
        self, handler: Handler, generation: object
    ) -> None:
        (event,) = handler.parse(as_cloud_event(generation=generation))
        assert event.object == ObjectRef(
            BUCKET, "folder/Test.zip", version="1587627537231057", size=352
        )
        attributes = {
            **ATTRIBUTES,
            "objectId": "folder/Test.zip",
            "objectGeneration": "1587627537231057",
        }
        (message,) = handler.parse({"pubsub": {"attributes": attributes}})
        assert event.id_in("x") == message.id_in("x")
        assert event.order == message.order

    def test_other_cloud_events_announce_nothing(self, handler: Handler) -> None:
        for kind in ("deleted", "archived", "metadataUpdated", "finalized.v2"):
            record = {**as_cloud_event(), "type": f"google.cloud.storage.object.v1.{kind}"}
            assert list(handler.parse(record)) == []

    def test_later_generations_have_a_later_order(self, handler: Handler) -> None:
        orders = [
            next(iter(handler.parse(as_cloud_event(generation=item)))).order
            for item in ("999999999999999", "1587627537231057", "9223372036854775807")
        ]
        assert orders == sorted(orders)

    @pytest.mark.parametrize("generation", [None, "", "12a", -1, True, 1.5, "9" * 30])
    def test_an_invalid_generation_is_unreadable(
        self, handler: Handler, generation: object
    ) -> None:
        with pytest.raises(Unreadable):
            list(handler.parse(as_cloud_event(generation=generation)))


class TestReading:
    def test_an_overwritten_generation_is_superseded(self, handler: Handler, put: Put) -> None:
        ref = pinned(handler, put("a.zip", b"first"))
        put("a.zip", b"second")
        with pytest.raises(Superseded):
            handler.open(ref)
        with pytest.raises(Superseded):
            handler.open(ref, 2, 2)

    def test_an_overwritten_generation_is_read_from_a_versioned_bucket(
        self, server: GcsServer, handler: Handler, put: Put
    ) -> None:
        server.versioned.add(BUCKET)
        ref = pinned(handler, put("a.zip", b"first"))
        put("a.zip", b"second")
        assert read(handler, ref) == b"first"
        assert read(handler, replace(ref, version=None)) == b"second"

    @pytest.mark.parametrize("unlisted", [False, True])
    def test_a_deleted_object_is_gone(
        self, server: GcsServer, handler: Handler, put: Put, unlisted: bool
    ) -> None:
        ref = pinned(handler, put("a.zip", b"first"))
        put("a.zip and more", b"another whose key begins so")
        server.delete(BUCKET, "a.zip")
        server.unlisted = unlisted
        with pytest.raises(Gone):
            handler.open(ref)

    @pytest.mark.parametrize("version", [None, "1"])
    @pytest.mark.parametrize(
        "sent",
        [
            Response(404, b"<html>no backend", {"Content-Type": "text/html"}),
            Response(404),
            Response(404, b'{"error": "no backend"}', {"Content-Type": "application/json"}),
        ],
    )
    def test_a_404_that_is_not_of_google_is_temporary(
        self, server: GcsServer, handler: Handler, sent: Response, version: str | None
    ) -> None:
        server.respond_with(sent, sent)
        with pytest.raises(TemporaryFailure) as raised:
            handler.open(replace(REF, version=version))
        assert raised.value.code == "storage.unexplained_404"

    def test_a_404_for_an_object_that_is_listed_is_temporary(
        self, server: GcsServer, handler: Handler, put: Put
    ) -> None:
        put("a.zip", b"first")
        server.respond_with(as_json({"error": {"code": 404, "message": "Not Found"}}, 404))
        with pytest.raises(TemporaryFailure):
            handler.stat(REF)

    def test_a_missing_bucket_is_not_a_missing_object(self, handler: Handler) -> None:
        with pytest.raises(TemporaryFailure) as raised:
            handler.open(replace(REF, bucket="nowhere", version="1"))
        assert raised.value.code == "storage.no_bucket"

    def test_a_version_that_is_not_a_generation_is_superseded(
        self, server: GcsServer, handler: Handler, put: Put
    ) -> None:
        with pytest.raises(Superseded):
            handler.open(replace(put("a.zip", b"x"), version="1&alt=json"))
        assert server.requests == []

    def test_gzip_objects_are_read_as_stored(self, server: GcsServer, handler: Handler) -> None:
        body = gzip.compress(b"a zip that somebody uploaded with Content-Encoding: gzip" * 9)
        server.put(BUCKET, "a.zip", body, "gzip")
        ref = pinned(handler, REF)
        assert ref.size == len(body)
        assert read(handler, ref) == body
        assert read(handler, ref, 5, 15) == body[5:15]

    def test_a_decompressed_response_is_an_error(self, server: GcsServer, handler: Handler) -> None:
        stored = server.put(BUCKET, "a.zip", gzip.compress(b"x" * 1000), "gzip")
        server.change_headers(X_Goog_Stored_Content_Length="1000")
        with pytest.raises(PermanentFailure) as raised:
            handler.open(replace(REF, version=str(stored.generation)))
        assert raised.value.code == "storage.unpacked"

    def test_another_generation_than_requested_is_superseded(
        self, server: GcsServer, handler: Handler
    ) -> None:
        stored = server.put(BUCKET, "a.zip", b"x")
        server.change_headers(X_Goog_Generation="7")
        with pytest.raises(Superseded):
            handler.open(replace(REF, version=str(stored.generation)))

    def test_keys_are_sent_as_a_single_path_segment(
        self, server: GcsServer, handler: Handler, put: Put
    ) -> None:
        for key, sent in {
            "x/../y//z.zip": "x%2F..%2Fy%2F%2Fz.zip",
            "..": "%2E%2E",
            ".": "%2E",
            "/a?b#c%2F&d=e": "%2Fa%3Fb%23c%252F%26d%3De",
            "\x01\x7f 键": "%01%7F%20%E9%94%AE",
        }.items():
            ref = put(key, key.encode())
            assert read(handler, ref) == key.encode()
            assert server.requests[-1].path == f"/storage/v1/b/exports/o/{sent}"

    def test_a_pinned_object_is_one_request(
        self, server: GcsServer, handler: Handler, put: Put
    ) -> None:
        ref = pinned(handler, put("a.zip", b"0123456789"))
        server.requests.clear()
        read(handler, ref, 3, 7)
        (requests,) = server.requests
        assert requests.query == {"alt": "media", "generation": ref.version}
        assert requests.headers["range"] == "bytes=3-6"


class TestBrokenStreams:
    @pytest.mark.parametrize("start", [0, 100])
    def test_a_truncated_stream_is_an_error(
        self, server: GcsServer, handler: Handler, put: Put, start: int
    ) -> None:
        ref = pinned(handler, put("a.zip", BYTES))
        server.truncate(after=3000)
        with closing(handler.open(ref, start)) as stream:
            received = read_truncated(stream)
        assert received == BYTES[start : start + len(received)]
        assert received + read(handler, ref, start + len(received)) == BYTES[start:]

    @pytest.mark.parametrize(
        ("headers", "code"),
        [
            ({"Content_Length": None, "Transfer_Encoding": "chunked"}, "storage.no_length"),
            ({"Content_Range": None}, "storage.no_ranges"),
            ({"Content_Range": "bytes 0-9/10240"}, "storage.no_ranges"),
            ({"Content_Range": "bytes 10-19/*"}, "storage.no_ranges"),
        ],
    )
    def test_a_response_for_another_range_is_an_error(
        self, server: GcsServer, handler: Handler, put: Put, headers: Any, code: str
    ) -> None:
        ref = pinned(handler, put("a.zip", BYTES))
        server.change_headers(**headers)
        with pytest.raises(RelayError) as raised:
            handler.open(ref, 10, 20)
        assert raised.value.code == code

    def test_a_range_without_content_range_is_an_error(
        self, server: GcsServer, handler: Handler, put: Put
    ) -> None:
        ref = pinned(handler, put("a.zip", BYTES))
        server.change_headers(Content_Range=None)
        with pytest.raises(PermanentFailure):
            handler.open(ref, 0, 20)


@pytest.mark.parametrize(
    ("status", "branch", "code"),
    [
        (401, TemporaryFailure, "storage.denied"),
        (403, PermanentFailure, "storage.denied"),
        (412, Superseded, "object.superseded"),
        (400, PermanentFailure, "storage.refused"),
        (302, PermanentFailure, "storage.refused"),
        (408, TemporaryFailure, "storage.busy"),
        (429, TemporaryFailure, "storage.busy"),
        (500, TemporaryFailure, "storage.busy"),
        (503, TemporaryFailure, "storage.busy"),
    ],
)
def test_an_error_response_is_translated(
    server: GcsServer, handler: Handler, status: int, branch: type[RelayError], code: str
) -> None:
    body = json.dumps({"error": {"errors": [{"reason": "why"}]}}).encode()
    server.respond_with(Response(status, body, {"Retry-After": "7", "Location": "/elsewhere"}))
    with pytest.raises(branch) as raised:
        handler.open(replace(REF, version="1"))
    assert raised.value.code == code
    assert raised.value.message.en != raised.value.message.zh
    assert len(server.requests) == 1
    if isinstance(raised.value, TemporaryFailure) and code == "storage.busy":
        assert raised.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"generation": "x", "size": 1}', b"[" * 9999])
def test_a_malformed_resource_is_a_temporary_failure(
    server: GcsServer, handler: Handler, body: bytes
) -> None:
    server.respond_with(Response(200, body))
    with pytest.raises(TemporaryFailure) as raised:
        handler.open(REF)
    assert raised.value.code == "storage.not_understood"


class TestCredentials:
    def test_a_service_accounts_key_is_exchanged_for_a_token_once(
        self, server: GcsServer, put: Put, tmp_path: Path
    ) -> None:
        server.tokens = set()
        ref = put("a.zip", b"secret bytes")
        keys = key_in(tmp_path, server)
        with (
            closing(make_handler(server, anonymous=False, **keys)) as handler,
            ThreadPoolExecutor(8) as pool,
        ):
            bodies = list(pool.map(lambda _: read(handler, ref), range(24)))
        assert set(bodies) == {b"secret bytes"}
        assert [item.path for item in server.requests].count("/token") == 1

    def test_a_rejected_token_is_renewed_once_for_many_threads(
        self, server: GcsServer, put: Put, tmp_path: Path
    ) -> None:
        server.tokens = set()
        ref = put("a.zip", BYTES)
        with closing(make_handler(server, anonymous=False, **key_in(tmp_path, server))) as handler:
            ref = pinned(handler, ref)
            server.tokens = set()  # expired or revoked
            server.requests.clear()
            with ThreadPoolExecutor(8) as pool:
                bodies = list(pool.map(lambda _: read(handler, ref), range(8)))
        assert all(body == BYTES for body in bodies)
        assert [item.path for item in server.requests].count("/token") == 1

    def test_a_token_is_renewed_before_it_expires(
        self, server: GcsServer, put: Put, tmp_path: Path
    ) -> None:
        server.tokens, server.life = set(), 0
        ref = put("a.zip", BYTES)
        with closing(make_handler(server, anonymous=False, **key_in(tmp_path, server))) as handler:
            read(handler, ref)
            requests = len(server.requests)
            read(handler, ref)
        assert any(item.path == "/token" for item in server.requests[requests:])
        assert not any(item.status == 401 for item in server.responses[requests:])

    def test_the_account_of_the_machine_is_the_default(self, server: GcsServer, put: Put) -> None:
        server.tokens = set()
        ref = put("a.zip", b"x")
        with closing(make_handler(server, anonymous=False)) as handler:
            assert read(handler, ref) == b"x"
        assert server.requests[0].path.startswith("/computeMetadata/v1/instance/service-accounts/")

    def test_without_a_metadata_server_the_error_has_a_hint(self, server: GcsServer) -> None:
        keys = {"anonymous": False, "metadata_url": "http://127.0.0.1:1"}
        with (
            closing(make_handler(server, **keys)) as handler,
            pytest.raises(TemporaryFailure) as raised,
        ):
            handler.open(REF)
        assert "anonymous = true" in raised.value.hint.en

    def test_a_configured_token_is_used_unchanged(self, server: GcsServer, put: Put) -> None:
        server.tokens = {"given"}
        ref = put("a.zip", b"x")
        with closing(make_handler(server, anonymous=False, access_token="given")) as handler:
            assert read(handler, ref) == b"x"
            server.tokens = {"another"}
            with pytest.raises(TemporaryFailure) as raised:
                handler.open(ref)
        assert raised.value.code == "storage.denied"
        assert "given" not in str(raised.value)

    @pytest.mark.parametrize(
        ("status", "branch"), [(400, PermanentFailure), (429, TemporaryFailure)]
    )
    def test_a_rejected_key_is_an_error(
        self, server: GcsServer, tmp_path: Path, status: int, branch: type[RelayError]
    ) -> None:
        error = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        server.respond_with(Response(status, json.dumps(error).encode()))
        with (
            closing(make_handler(server, anonymous=False, **key_in(tmp_path, server))) as handler,
            pytest.raises(branch) as raised,
        ):
            handler.open(REF)
        assert raised.value.code == "storage.no_token"
        assert "invalid_grant" in raised.value.message.en

    @pytest.mark.parametrize(
        "changes",
        [
            {"type": "authorized_user"},
            {"private_key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXZhbHVl\n-----END"},
            {"private_key": None},
            {"client_email": 7},
            {"token_uri": "file:///etc/passwd"},
            {"token_uri": "https://u:p℀c2VjcmV0@host"},
        ],
    )
    def test_an_invalid_key_file_is_a_config_error(
        self, server: GcsServer, tmp_path: Path, changes: Json
    ) -> None:
        keys = key_in(tmp_path, server, **changes)
        with pytest.raises(ConfigError) as raised:
            make_handler(server, anonymous=False, **keys)
        assert raised.value.path == "sources.exports.credentials_file"
        assert "c2VjcmV0" not in f"{raised.value}{raised.value.__cause__}"

    def test_no_secret_is_shown(self, server: GcsServer, tmp_path: Path) -> None:
        keys = key_in(tmp_path, server)
        with closing(make_handler(server, anonymous=False, **keys)) as handler:
            server.respond_with(Response(403))
            with pytest.raises(PermanentFailure) as raised:
                handler.open(replace(REF, version="1"))
        shown = f"{raised.value!r} {handler.settings!r}"
        assert "PRIVATE KEY" not in shown
        assert "ya29" not in shown


def key_in(folder: Path, server: GcsServer, **changes: Any) -> Json:
    path = folder / "key.json"
    path.write_text(json.dumps({**server.key_file(), **changes}))
    return {"credentials_file": str(path)}


class TestScan:
    def test_pages_are_followed(self, server: GcsServer, handler: Handler, put: Put) -> None:
        server.page = 2
        keys = sorted(f"{number}.zip" for number in range(7))
        for key in keys:
            put(key, b"x")
        assert [event.object.key for event in handler.scan()] == keys
        assert len(server.requests) == 4

    def test_scan_and_notification_have_the_same_identity(
        self, server: GcsServer, handler: Handler
    ) -> None:
        stored = server.put(BUCKET, "a.zip", b"xyz")
        attributes = {
            **ATTRIBUTES,
            "objectId": "a.zip",
            "objectGeneration": str(stored.generation),
        }
        (announced,) = handler.parse({"pubsub": {"attributes": attributes}})
        (found,) = handler.scan()
        assert found.id_in("x") == announced.id_in("x")
        assert found.order == announced.order
        assert found.object.size == 3

    def test_only_what_was_uploaded_since_is_found(self, handler: Handler, put: Put) -> None:
        put("a.zip", b"x")
        now = datetime.now(UTC)
        assert len(list(handler.scan(now - timedelta(minutes=1)))) == 1
        assert list(handler.scan(now + timedelta(minutes=1))) == []

    def test_a_cursor_at_a_deleted_object_is_valid(
        self, server: GcsServer, handler: Handler, put: Put
    ) -> None:
        for key in ("a", "b", "c"):
            put(key, b"x")
        page = next(iter(handler.scan_pages(limit=2)))
        assert page.cursor == (BUCKET, "b")
        server.delete(BUCKET, "b")
        rest = [
            event.object.key
            for more in handler.scan_pages(after=page.cursor)
            for event in more.events
        ]
        assert rest == ["c"]

    def test_a_scan_goes_from_bucket_to_bucket(self, server: GcsServer) -> None:
        server.put("first", "a", b"x")
        server.buckets["empty"] = {}
        server.put("last", "b", b"x")
        with closing(make_handler(server, buckets=["first", "empty", "last"])) as handler:
            pages = list(handler.scan_pages())
        assert [page.cursor for page in pages] == [("empty", ""), ("last", ""), None]
        assert [event.object.key for page in pages for event in page.events] == ["a", "b"]

    def test_a_missing_bucket_is_an_error(self, server: GcsServer) -> None:
        with (
            closing(make_handler(server, buckets=["nowhere"])) as handler,
            pytest.raises(TemporaryFailure) as raised,
        ):
            list(handler.scan())
        assert raised.value.code == "storage.no_bucket"

    def test_a_scan_without_buckets_is_a_config_error(self, server: GcsServer) -> None:
        with (
            closing(make_handler(server, buckets=[])) as handler,
            pytest.raises(ConfigError) as raised,
        ):
            list(handler.scan())
        assert raised.value.path == "sources.exports.buckets"

    def test_a_repeated_page_ends_the_listing(self, server: GcsServer, handler: Handler) -> None:
        server.respond_with(*[Response(200, b'{"nextPageToken": "t"}')] * 9)
        with pytest.raises(PermanentFailure) as raised:
            list(handler.scan())
        assert raised.value.code == "storage.listing_goes_round"

    @pytest.mark.parametrize("item", [7, {}, {"name": "a"}, {"name": "a", "size": "x"}])
    def test_a_malformed_listing_is_a_temporary_failure(
        self, server: GcsServer, handler: Handler, item: object
    ) -> None:
        server.respond_with(Response(200, json.dumps({"items": [item]}).encode()))
        with pytest.raises(TemporaryFailure):
            list(handler.scan())


class TestSettings:
    @pytest.mark.parametrize(
        "keys",
        [
            {"access_token": "secret-value", "anonymous": True},
            {"credentials_file": "/no/such/file"},
            {"subscription": "my-subscription"},
            {"subscription": "projects/p/subscriptions/s:pull?x="},
            {"subscription": "projects/../subscriptions/s-1"},
            {"endpoint_url": "http://user:secret-value@host"},
            {"scan_every": "15m", "buckets": []},
        ],
    )
    def test_an_invalid_setting_is_rejected(self, server: GcsServer, keys: Json) -> None:
        with pytest.raises(ValidationError) as raised:
            make_handler(server, **keys)
        assert "secret-value" not in str(raised.value)

    def test_the_default_envelopes_are_those_of_google(self) -> None:
        accept = Handler.Settings(kind="gcs").accept
        assert accept == ("pubsub", "cloudevents", "signed", "bare")

    def test_ready_lists_the_checks(self, server: GcsServer) -> None:
        with closing(
            make_handler(server, subscription="projects/p-1/subscriptions/s-1")
        ) as handler:
            assert handler.ready() == "lists exports, may pull from the subscription"
            server.may_consume = False
            with pytest.raises(PermanentFailure) as raised:
                handler.ready()
        assert raised.value.code == "storage.denied"
