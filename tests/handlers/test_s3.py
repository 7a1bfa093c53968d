"""The s3 handler against a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from relay.errors import ConfigError, Gone, PermanentFailure, Superseded, TemporaryFailure
from relay.handlers.s3 import Handler
from relay.model import Json, ObjectRef
from relay.testing.handler_suite import HandlerSuite, Put, pinned, read

KEYS = {"access_key_id": "test-key", "secret_access_key": "test-secret"}


def make_handler(**keys: Any) -> Handler:
    return Handler("exports", Handler.Settings.model_validate({"kind": "s3", **KEYS, **keys}))


@pytest.fixture
def handler(store: str, bucket: str) -> Iterator[Handler]:
    with closing(
        make_handler(endpoint_url=store, addressing_style="path", buckets=[bucket])
    ) as handler:
        yield handler


@pytest.fixture
def put(s3: Any, bucket: str) -> Put:
    def put(key: str, body: bytes) -> ObjectRef:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
        return ObjectRef(bucket, key)

    return put


class TestS3(HandlerSuite):
    @pytest.fixture
    def record(self) -> Json:
        return {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": "2026-01-01T00:00:00.000Z",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": "exports"},
                "object": {
                    "key": "a+b%2Bc.zip",
                    "size": 1024,
                    "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                    "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                    "sequencer": "0055AED6DCD90281E5",
                },
            },
        }

    @pytest.fixture
    def settings(self) -> Json:
        return {
            "kind": "s3",
            "endpoint_url": "http://127.0.0.1:9000",
            "region": "us-east-1",
            "buckets": ["exports"],
            "sqs_queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q",
            "scan_every": "15m",
            **KEYS,
        }


class TestVersionedBucket:
    @pytest.fixture(autouse=True)
    def versioned(self, s3: Any, bucket: str) -> None:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def test_a_version_is_read_after_it_was_replaced(self, handler: Handler, put: Put) -> None:
        ref = pinned(handler, put("v.zip", b"first"))
        put("v.zip", b"second")
        assert ref.version
        assert read(handler, ref) == b"first"

    def test_a_version_that_was_deleted_is_gone(self, handler: Handler, put: Put, s3: Any) -> None:
        ref = pinned(handler, put("v.zip", b"first"))
        put("v.zip", b"second")
        s3.delete_object(Bucket=ref.bucket, Key=ref.key, VersionId=ref.version)
        with pytest.raises(Gone):
            handler.stat(ref)

    def test_an_object_under_a_delete_marker_is_gone_but_its_version_is_not(
        self, handler: Handler, put: Put, s3: Any
    ) -> None:
        ref = pinned(handler, put("v.zip", b"first"))
        s3.delete_object(Bucket=ref.bucket, Key=ref.key)
        with pytest.raises(Gone):
            handler.open(replace(ref, version=None))
        assert read(handler, ref) == b"first"

    def test_a_delete_marker_itself_is_gone(self, handler: Handler, put: Put, s3: Any) -> None:
        ref = pinned(handler, put("v.zip", b"first"))
        marker = s3.delete_object(Bucket=ref.bucket, Key=ref.key)["VersionId"]
        with pytest.raises(Gone):
            handler.open(replace(ref, version=marker, etag=None))

    def test_a_version_with_another_etag_than_announced_is_superseded(
        self, handler: Handler, put: Put
    ) -> None:
        ref = pinned(handler, put("v.zip", b"first"))
        with pytest.raises(Superseded):
            handler.stat(replace(ref, etag="0" * 32))


class TestMultipart:
    def test_an_object_of_many_parts_is_read_in_ranges(
        self, handler: Handler, bucket: str, s3: Any
    ) -> None:
        part = bytes(range(256)) * 20480  # 5 MiB, the smallest part that S3 takes
        upload = s3.create_multipart_upload(Bucket=bucket, Key="m.zip")["UploadId"]
        names = {"Bucket": bucket, "Key": "m.zip", "UploadId": upload}
        parts = [
            {
                "PartNumber": number,
                "ETag": s3.upload_part(PartNumber=number, Body=body, **names)["ETag"],
            }
            for number, body in ((1, part), (2, b"the end"))
        ]
        s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **names)
        ref = pinned(handler, ObjectRef(bucket, "m.zip"))
        assert ref.etag is not None
        assert ref.etag.endswith("-2")
        assert read(handler, ref, len(part) - 3) == part[-3:] + b"the end"


class TestScan:
    def test_only_what_changed_since_is_found(self, handler: Handler, put: Put) -> None:
        put("old.zip", b"x")
        now = datetime.now(UTC)
        assert [e.object.key for e in handler.scan(now - timedelta(minutes=1))] == ["old.zip"]
        assert list(handler.scan(now + timedelta(minutes=1))) == []

    def test_a_scan_without_buckets_is_a_config_error(self, store: str) -> None:
        with (
            closing(make_handler(endpoint_url=store)) as handler,
            pytest.raises(ConfigError) as raised,
        ):
            list(handler.scan())
        assert raised.value.path == "sources.exports.buckets"

    def test_a_missing_bucket_is_an_error(self, store: str) -> None:
        with (
            closing(make_handler(endpoint_url=store, buckets=["nowhere"])) as handler,
            pytest.raises(TemporaryFailure) as raised,
        ):
            list(handler.scan())
        assert raised.value.code == "storage.no_bucket"


class TestReady:
    def test_ready_lists_the_checks(self, store: str, bucket: str, queue_url: str) -> None:
        keys = {"endpoint_url": store, "buckets": [bucket], "sqs_queue_url": queue_url}
        with closing(make_handler(**keys)) as handler:
            assert handler.ready() == f"lists {bucket}, 0 messages in the queue"

    def test_ready_is_none_without_bucket_and_queue(self, store: str) -> None:
        with closing(make_handler(endpoint_url=store)) as handler:
            assert handler.ready() is None

    @pytest.mark.parametrize("key", ["buckets", "sqs_queue_url"])
    def test_a_missing_bucket_or_queue_is_an_error(self, store: str, key: str) -> None:
        wrong = {"buckets": ["nowhere"], "sqs_queue_url": f"{store}/123456789012/nowhere"}[key]
        with (
            closing(
                make_handler(endpoint_url=store, region="us-east-1", **{key: wrong})
            ) as handler,
            pytest.raises(TemporaryFailure) as raised,
        ):
            handler.ready()
        assert raised.value.code == "storage.no_bucket"


class TestSettings:
    @pytest.mark.parametrize(
        "keys",
        [
            {"secret_access_key": None},
            {"access_key_id": None},
            {"endpoint_url": "127.0.0.1:9000"},
            {"endpoint_url": "ftp://127.0.0.1"},
            {"endpoint_url": "http://user:secret-value@127.0.0.1"},
            {"endpoint_url": "http://127.0.0.1?a=b"},
            {"sqs_queue_url": "queue"},
            {"addressing_style": "Path"},
            {"key_encoding": "utf-8"},
            {"region": "us east"},
            {"scan_every": "15m"},
            {"scan_every": "often", "buckets": ["b"]},
        ],
    )
    def test_an_invalid_setting_is_rejected(self, keys: Json) -> None:
        with pytest.raises(ValidationError) as raised:
            make_handler(**keys)
        assert "secret-value" not in str(raised.value)
        assert "test-secret" not in str(raised.value)

    def test_an_arn_as_a_bucket_is_rejected_before_any_request(self) -> None:
        with (
            closing(make_handler(endpoint_url="http://127.0.0.1:1")) as handler,
            pytest.raises(PermanentFailure) as raised,
        ):
            handler.open(ObjectRef("arn:aws:s3:us-east-1:1:accesspoint/x", "k"))
        assert raised.value.code == "storage.bad_bucket"
