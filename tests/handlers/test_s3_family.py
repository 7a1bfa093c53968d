"""Every storage that is read by the S3 protocol: against a real S3 server, and what it says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from pydantic import ValidationError

from relay.errors import PermanentFailure, Unreadable
from relay.model import Event, Json, ObjectRef
from relay.plugins import find
from relay.sources.s3.storage import S3Storage
from relay.testing.handler_suite import HandlerSuite, Put
from tests.every_kind import KINDS
from tests.handlers.s3_family import (
    ENCODED,
    IBM_NOTIFICATION,
    KEY,
    OBS_EVENT,
    OSS_EVENT,
    RECORDS,
    record_of,
    s3_record,
)

KEYS = {"access_key_id": "test-key", "secret_access_key": "test-secret"}
_numbers = itertools.count()

Make = Callable[..., S3Storage]


@pytest.fixture
def make() -> Iterator[Make]:
    """make(kind, **keys) returns a handler and closes it after the test."""
    made: list[S3Storage] = []

    def make(kind: str, **keys: Any) -> S3Storage:
        cls = find("handlers", kind)
        settings = cls.Settings.model_validate({"kind": kind, **KEYS, **keys})
        made.append(cls("exports", settings))
        return made[-1]

    yield make
    for handler in made:
        handler.close()


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, S3Storage]]:
    """A handler of each kind that parses records."""
    made = {}
    for kind in RECORDS:
        cls = find("handlers", kind)
        made[kind] = cls("exports", cls.Settings.model_validate({"kind": kind, **KINDS[kind]}))
    yield made
    for handler in made.values():
        handler.close()


Read = Callable[[str, Json], list[Event]]


@pytest.fixture
def read(readers: dict[str, S3Storage]) -> Read:
    return lambda kind, record: list(readers[kind].parse(record))


@pytest.fixture(scope="class")
def bucket(kind: str, s3: Any) -> str:
    """A bucket for all tests of a kind, like the handler: the SDK starts slowly."""
    name = f"{kind}-{next(_numbers)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="class")
def settings(kind: str, store: str, bucket: str) -> Json:
    own = {"endpoint_url": store, "addressing_style": "path", "buckets": [bucket]}
    return {"kind": kind, **KEYS, "scan_every": "15m", **own}


@pytest.fixture(scope="class")
def handler(kind: str, settings: Json) -> Iterator[S3Storage]:
    cls = find("handlers", kind)
    with closing(cls("exports", cls.Settings.model_validate(settings))) as handler:
        yield handler


@pytest.mark.parametrize("kind", RECORDS, scope="class")
class TestFamily(HandlerSuite):
    @pytest.fixture
    def put(self, s3: Any, bucket: str) -> Put:
        def put(key: str, body: bytes) -> ObjectRef:
            s3.put_object(Bucket=bucket, Key=key, Body=body)
            return ObjectRef(bucket, key)

        return put

    @pytest.fixture
    def record(self, kind: str) -> Json:
        return record_of(kind)


MTIME = "mtime:1767225600.000000500+m5Lz+xEGMt5Bfi5pfcsbXw=="
PINNED = "37b51d194a7513e45b56f6524f2d51f2"
SEQUENCER = "hex:0000000000000000159fb6b233b08af0"


@pytest.mark.parametrize(
    ("kind", "identity", "order", "etag", "version"),
    [
        ("minio", f"sequencer:{SEQUENCER}+{PINNED}", SEQUENCER, PINNED, None),
        ("rustfs", f"sequencer:{SEQUENCER}+{PINNED}", SEQUENCER, PINNED, None),
        (
            "ceph",
            "event:1574430455.147932.37b51d",
            "ceph:1574430455.147931847",
            PINNED,
            None,
        ),
        (
            "obs",
            "request:b27e6cbff1f6865c83111f130a982f56",
            "",
            "6f9433fb110632de417e2e697dcb1b5f",
            None,
        ),
        (
            "oss",
            "request:58F9FF2D3DF792092E12044C+688A7BF4F233DC9C88A80BF985AB7329",
            "",
            None,
            None,
        ),
        (
            "b2",
            f"version:{RECORDS['b2']['objectVersionId']}",
            "",
            None,
            RECORDS["b2"]["objectVersionId"],
        ),
        ("cos", "request:NWMxMjM0NTY=", "", None, None),
        (
            "r2",
            "etag:c846ff7a18f28c2e262116d6e8719ef0@2026-01-01T00:00:00.379000+00:00",
            "",
            "c846ff7a18f28c2e262116d6e8719ef0",
            None,
        ),
        ("oci", "etag:6e2b0f4a-7f0c-4a0f-9a53-0a5a3a1c1d2e", "", None, None),
        (
            "ibm",
            "request:67a2048a-e0a9-4f9d-9d1c-b9a0e2c2b7d5",
            "",
            "f3a9dbde30fdf48abc23e5f8b485d6e5",
            None,
        ),
        (
            "tigris",
            "etag:79b281060d337b9b2b84ccf390adcf74@2026-01-01T00:00:00.500000+00:00",
            "",
            "79b281060d337b9b2b84ccf390adcf74",
            None,
        ),
        (
            "seaweedfs",
            MTIME,
            "mtime:00000000001767225600.00000000000000000500",
            None,
            None,
        ),
    ],
)
def test_identity_order_and_pin_of_a_record(
    read: Read, kind: str, identity: str, order: str, etag: str | None, version: str | None
) -> None:
    (event,) = read(kind, record_of(kind))
    bucket = "exports-1253970026" if kind == "cos" else "exports"
    size = None if kind == "oci" else 1024
    assert event.object == ObjectRef(bucket, KEY, version, etag, size)
    assert (event.identity, event.order) == (identity, order)
    assert event.time is not None
    assert event.time.replace(microsecond=0).isoformat() == "2026-01-01T00:00:00+00:00"


NAME = {
    **dict.fromkeys(("minio", "rustfs", "ceph"), "eventName"),
    "obs": "type",
    "oss": "eventName",
    "b2": "eventType",
    "cos": "event.eventName",
    "r2": "action",
    "oci": "eventType",
    "ibm": "data.notification.event_type",
    "tigris": "eventName",
    "seaweedfs": "event_type",
}
S3 = "ObjectCreated:"
TAKEN = {
    "minio": (f"s3:{S3}Put", f"{S3}Post", f"s3:{S3}Copy", f"s3:{S3}CompleteMultipartUpload"),
    "rustfs": (f"s3:{S3}Put", f"s3:{S3}CompleteMultipartUpload"),
    "ceph": (f"{S3}Put", f"{S3}Post", f"s3:{S3}Copy", f"{S3}CompleteMultipartUpload"),
    "obs": (
        "OBS:DWR:ObjectCreated:PUT",
        "OBS:DWR:ObjectCreated:POST",
        "OBS:DWR:ObjectCreated:COPY",
        "OBS:DWR:ObjectCreated:CompleteMultipartUpload",
        "obs:dwr:objectcreated:put",
    ),
    "oss": (f"{S3}PutObject", f"{S3}PostObject", f"{S3}CopyObject", f"{S3}CompleteMultipartUpload"),
    "b2": tuple(
        f"b2:{S3}{how}"
        for how in ("Upload", "MultipartUpload", "Copy", "Replica", "MultipartReplica")
    ),
    "cos": tuple(f"cos:{S3}{how}" for how in ("Put", "Post", "Copy", "CompleteMultipartUpload")),
    "r2": ("PutObject", "CopyObject", "CompleteMultipartUpload"),
    "oci": (
        "com.oraclecloud.objectstorage.createobject",
        "com.oraclecloud.objectstorage.updateobject",
    ),
    "ibm": ("Object:Write",),
    "tigris": ("OBJECT_CREATED_PUT", "OBJECT_CREATED_MULTIPART", "OBJECT_CREATED_COPY"),
    "seaweedfs": ("create", "update", "rename"),
}
PASSED_OVER = {
    "minio": (
        f"s3:{S3}PutRetention",
        f"s3:{S3}PutLegalHold",
        f"s3:{S3}PutTagging",
        f"s3:{S3}DeleteTagging",
        "s3:ObjectAccessed:Get",
        "s3:ObjectRemoved:Delete",
    ),
    "rustfs": (f"s3:{S3}PutRetention", f"s3:{S3}PutLegalHold", "s3:ObjectTagging:Put"),
    "ceph": ("ObjectSynced:Create", "ObjectRemoved:Delete", "ObjectLifecycle:Expiration:Current"),
    "obs": (
        "OBS:DWR:ObjectRemoved:Delete",
        "OBS:DWR:ObjectRemoved:DeleteMarkerCreated",
        "OBS:CloudTrace:ApiCall",
        "OBS:DWR:ObjectCreated:PutTagging",
        "OBS:DWR:OBS:DWR:ObjectCreated:PUT",
    ),
    "oss": (
        f"{S3}InitiateMultipartUpload",
        f"{S3}UploadPart",
        f"{S3}UploadPartCopy",
        f"{S3}AppendObject",
        f"{S3}PutSymlink",
        "ObjectRemoved:DeleteObject",
    ),
    "b2": ("b2:TestEvent", "b2:MultipartUploadCreated:LiveRead", "b2:ObjectDeleted:Delete"),
    "cos": (
        "cos:ObjectRemove:Delete",
        f"cos:{S3}InitiateMultipartUpload",
        "cos:ObjectRestore:Post",
    ),
    "r2": ("DeleteObject", "LifecycleDeletion", "AbortMultipartUpload"),
    "oci": (
        "com.oraclecloud.objectstorage.deleteobject",
        "com.oraclecloud.objectstorage.createbucket",
        "com.oraclecloud.objectstorage.createobject2",
    ),
    "ibm": ("Object:Delete", "Object:Read", "Object:WriteMetadata"),
    "tigris": ("OBJECT_DELETED", "OBJECT_CREATED_PART"),
    "seaweedfs": ("delete", "mount"),
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in TAKEN.items() for name in names]
)
def test_events_about_a_complete_object(read: Read, kind: str, name: str) -> None:
    assert len(read(kind, record_of(kind, NAME[kind], name))) == 1


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in PASSED_OVER.items() for name in names]
)
def test_other_events_are_ignored(read: Read, kind: str, name: str) -> None:
    assert read(kind, record_of(kind, NAME[kind], name)) == []


def test_a_test_event_of_b2_is_ignored(read: Read) -> None:
    test = {"eventType": "b2:TestEvent", "eventId": "1", "bucketName": "exports"}
    assert read("b2", test) == []


@pytest.mark.parametrize("kind", RECORDS)
def test_an_empty_record_is_unreadable(read: Read, kind: str) -> None:
    with pytest.raises(Unreadable):
        read(kind, {})


class TestKeys:
    @pytest.mark.parametrize("kind", ["minio", "rustfs", "obs"])
    @pytest.mark.parametrize(("encoding", "key"), [("auto", KEY), ("url", KEY), ("raw", ENCODED)])
    def test_encoded_keys_are_decoded_unless_the_setting_is_raw(
        self, make: Make, kind: str, encoding: str, key: str
    ) -> None:
        handler = make(kind, **KINDS[kind], key_encoding=encoding)
        (event,) = handler.parse(record_of(kind))
        assert event.object.key == key

    @pytest.mark.parametrize("kind", sorted(RECORDS.keys() - {"minio", "rustfs", "obs"}))
    def test_raw_keys_are_not_decoded(self, read: Read, kind: str) -> None:
        (event,) = read(kind, record_of(kind))
        assert event.object.key == KEY

    @pytest.mark.parametrize("kind", ["ceph", "oss", "b2", "cos", "r2", "oci", "ibm", "tigris"])
    def test_raw_keys_are_decoded_if_the_setting_is_url(self, make: Make, kind: str) -> None:
        handler = make(kind, **KINDS[kind], key_encoding="url")
        (event,) = handler.parse(record_of(kind))
        assert event.object.key == "a b+ c/导出.zip"


class TestCeph:
    def test_keys_of_an_old_release_with_the_source_aws_are_raw(self, read: Read) -> None:
        old = s3_record("aws:s3", KEY, sequencer="F7E6D75DC742D108")
        (event,) = read("ceph", old)
        assert event.object.key == KEY
        assert event.order == "ceph:1574430455.147931847"
        assert event.identity == f"sequencer:{event.order}+{PINNED}"

    def test_post_without_a_size_is_the_start_of_a_multipart_upload(self, read: Read) -> None:
        begun = s3_record("aws:s3", KEY, size=0) | {"eventName": "ObjectCreated:Post"}
        assert read("ceph", begun) == []
        assert len(read("minio", begun)) == 1

    def test_an_empty_version_pins_nothing(self, read: Read) -> None:
        (event,) = read("ceph", record_of("ceph", "s3.object.versionId", ""))
        assert event.object.version is None
        (event,) = read("ceph", record_of("ceph", "s3.object.versionId", "v1"))
        assert (event.object.version, event.identity) == ("v1", "version:v1")


def smn_record(block: str = "obs", **about: Any) -> Json:
    """A record from SMN: version 3.0, or 2.0, which resembles S3."""
    is_old = block == "s3"
    id_ = "x-amz-request-id" if is_old else "x-obs-request-id"
    return {
        "eventVersion": "2.0" if is_old else "3.0",
        "eventTime": "2026-01-01T00:00:00.000Z",
        "eventName": "ObjectCreated:Post",
        "responseElements": {id_: "b27e6cbff1f6865c83111f130a982f56"},
        block: {
            "bucket": {"name": "exports", "ownerIdentity": {"PrincipalId": "0ed1b7"}},
            "object": {
                "key": ENCODED,
                "size": 1024,
                "eTag": "6f9433fb110632de417e2e697dcb1b5f",
                "sequencer": "00000000160D9E681484D6B4C0000000",
                **about,
            },
        },
    }


class TestObs:
    @pytest.mark.parametrize("block", ["obs", "s3"])
    def test_both_transports_have_the_same_identity(self, read: Read, block: str) -> None:
        (by_grid,) = read("obs", OBS_EVENT)
        (by_smn,) = read("obs", smn_record(block, versionId="null"))
        assert by_smn.id_in("exports") == by_grid.id_in("exports")
        assert by_smn.object == by_grid.object
        assert by_smn.order == "hex:00000000160d9e681484d6b4c0000000"

    @pytest.mark.parametrize("version", ["null", "G00101A0F057D2A5FFFFCB8700806592null", ""])
    def test_a_version_that_ends_in_null_is_ignored(self, read: Read, version: str) -> None:
        (event,) = read("obs", smn_record(versionId=version))
        assert event.object.version is None

    def test_a_real_version_pins_and_identifies_the_upload(self, read: Read) -> None:
        (event,) = read("obs", smn_record(versionId="G00101A0F057D2A5FFFFCB8700806592"))
        assert event.object.version == "G00101A0F057D2A5FFFFCB8700806592"
        assert event.identity == "version:G00101A0F057D2A5FFFFCB8700806592"

    def test_the_time_is_that_of_the_cloud_event_not_local_time_marked_as_utc(
        self, read: Read
    ) -> None:
        (event,) = read("obs", OBS_EVENT)
        assert event.time is not None
        assert event.time.hour == 0

    @pytest.mark.parametrize(
        ("about", "identity"),
        [
            ({"versionId": "G001null"}, "upload:G001null"),
            (
                {},
                "sequencer:hex:00000000160d9e681484d6b4c0000000+6f9433fb110632de417e2e697dcb1b5f",
            ),
            ({"sequencer": "1"}, "etag:6f9433fb110632de417e2e697dcb1b5f@2026-01-01T00:00:00+00:00"),
        ],
    )
    def test_the_identity_without_a_request_id(
        self, read: Read, about: Json, identity: str
    ) -> None:
        record = {**smn_record(**about), "responseElements": {}}
        assert [event.identity for event in read("obs", record)] == [identity]

    @pytest.mark.parametrize("event", ["s3:TestEvent", "TestEvent", "obs:TestEvent"])
    def test_the_test_event_of_obs_is_ignored(self, read: Read, event: str) -> None:
        assert read("obs", {"Service": "OBS", "Event": event, "Bucket": "exports"}) == []

    def test_an_unknown_version_of_the_format_is_unreadable(self, read: Read) -> None:
        with pytest.raises(Unreadable):
            read("obs", {**smn_record(), "eventVersion": "4.0"})


class TestOss:
    def test_both_transports_have_the_same_identity(self, read: Read) -> None:
        cloud = {
            "specversion": "1.0",
            "type": "oss:ObjectCreated:PutObject",
            "source": "acs.oss",
            "id": "1",
            "data": OSS_EVENT,
        }
        assert read("oss", cloud) == read("oss", OSS_EVENT)

    def test_without_a_request_id_etag_and_time_are_the_identity(self, read: Read) -> None:
        (event,) = read("oss", {**OSS_EVENT, "responseElements": {}})
        assert event.identity == "etag:688A7BF4F233DC9C88A80BF985AB7329@2026-01-01T00:00:00+00:00"

    def test_a_region_can_have_the_prefix_of_the_console(self, make: Make) -> None:
        assert make("oss", region="oss-cn-hangzhou").settings.region == "cn-hangzhou"


class TestCos:
    @pytest.mark.parametrize(
        ("key", "left"),
        [
            ("/1253970026/exports/a.zip", "a.zip"),
            ("/1253970026/exports//a.zip", "/a.zip"),
            ("/1253970026/exports/1253970026/exports/a.zip", "1253970026/exports/a.zip"),
        ],
    )
    def test_only_the_prefix_of_the_key_is_removed(self, read: Read, key: str, left: str) -> None:
        (event,) = read("cos", record_of("cos", "cos.cosObject.key", key))
        assert event.object.key == left

    @pytest.mark.parametrize("key", ["a.zip", "/1253970026/other/a.zip", "/1253970026/exports/"])
    def test_a_key_with_another_prefix_is_unreadable(self, read: Read, key: str) -> None:
        with pytest.raises(Unreadable):
            read("cos", record_of("cos", "cos.cosObject.key", key))

    def test_a_version_pins(self, read: Read) -> None:
        (event,) = read("cos", record_of("cos", "cos.cosObject.vid", "MTg0NDUxNTc1NTY"))
        assert event.object.version == "MTg0NDUxNTc1NTY"

    def test_an_account_can_be_a_number(self, read: Read) -> None:
        (event,) = read("cos", record_of("cos", "cos.cosBucket.appid", 1253970026))
        assert event.object.bucket == "exports-1253970026"

    @pytest.mark.parametrize("number", [179398952, "179398952"])
    def test_without_the_id_in_the_metadata_the_request_number_is_the_identity(
        self, read: Read, number: Any
    ) -> None:
        record = record_of("cos", "cos.cosObject.meta")
        record["event"]["reqid"] = number
        assert [event.identity for event in read("cos", record)] == ["request:179398952"]

    def test_without_a_request_the_time_is_the_identity(self, read: Read) -> None:
        record = record_of("cos", "cos.cosObject.meta")
        del record["event"]["reqid"]
        (event,) = read("cos", record)
        assert event.identity == "etag:None@2026-01-01T00:00:00+00:00"


class TestIbm:
    def test_the_notification_for_kafka_is_the_same_upload(self, read: Read) -> None:
        assert read("ibm", IBM_NOTIFICATION) == read("ibm", record_of("ibm"))

    def test_the_data_without_the_cloud_event_is_the_same_upload(self, read: Read) -> None:
        assert read("ibm", record_of("ibm")["data"]) == read("ibm", record_of("ibm"))

    def test_without_a_request_id_etag_and_time_are_the_identity(self, read: Read) -> None:
        record = {**IBM_NOTIFICATION, "request_id": ""}
        (event,) = read("ibm", record)
        assert event.identity.startswith("etag:f3a9dbde30fdf48abc23e5f8b485d6e5@2026-01-01")


class TestOci:
    def test_without_an_etag_the_event_id_is_the_identity(self, read: Read) -> None:
        (event,) = read("oci", record_of("oci", "data.additionalDetails.eTag"))
        assert event.identity == "event:f1c2b3a4-0000-4000-8000-000000000000"


class TestSeaweedFs:
    @pytest.mark.parametrize(
        "path",
        [
            "/buckets/exports",
            "/buckets/exports/",
            "/buckets//a.zip",
            "/other/exports/a.zip",
            "/buckets/exports/.uploads/0f3c/0001_ab.part",
            "/topics/.system/log",
        ],
    )
    def test_paths_that_are_not_objects_are_ignored(self, read: Read, path: str) -> None:
        assert read("seaweedfs", record_of("seaweedfs", "key", path)) == []

    def test_an_uploads_folder_below_another_folder_contains_objects(self, read: Read) -> None:
        path = "/buckets/exports/x/.uploads/a.zip"
        (event,) = read("seaweedfs", record_of("seaweedfs", "key", path))
        assert event.object.key == "x/.uploads/a.zip"

    def test_folders_are_ignored(self, read: Read) -> None:
        folder = record_of("seaweedfs", "message.new_entry.is_directory", True)
        assert read("seaweedfs", folder) == []

    def test_a_record_without_a_new_entry_is_ignored(self, read: Read) -> None:
        assert read("seaweedfs", record_of("seaweedfs", "message.new_entry")) == []

    def test_a_renamed_file_has_the_new_path_and_no_order(self, read: Read) -> None:
        """The time is that of the content, and can be older than the replaced file."""
        record = record_of("seaweedfs", "event_type", "rename")
        record["key"] = "/buckets/exports/.tmp-upload"
        (event,) = read("seaweedfs", record)
        assert event.object.key == KEY
        assert (event.order, event.time) == ("", None)
        assert event.identity == MTIME

    def test_a_record_of_an_empty_file_has_no_size(self, read: Read) -> None:
        (event,) = read(
            "seaweedfs", record_of("seaweedfs", "message.new_entry.attributes.file_size")
        )
        assert event.object.size is None

    def test_without_a_digest_the_size_is_part_of_the_identity(self, read: Read) -> None:
        (event,) = read("seaweedfs", record_of("seaweedfs", "message.new_entry.attributes.md5"))
        assert event.identity == "mtime:1767225600.000000500+1024"

    def test_without_time_and_digest_the_record_is_unreadable(self, read: Read) -> None:
        record = record_of("seaweedfs", "message.new_entry.attributes", {"file_size": 3})
        with pytest.raises(Unreadable):
            read("seaweedfs", record)


@pytest.mark.parametrize(
    ("kind", "keys", "address"),
    [
        (
            "obs",
            {"region": "cn-north-4"},
            "https://exports.obs.cn-north-4.myhuaweicloud.com/a.zip",
        ),
        (
            "oss",
            {"region": "cn-hangzhou"},
            "https://exports.s3.oss-cn-hangzhou.aliyuncs.com/a.zip",
        ),
        (
            "b2",
            {"region": "us-west-004"},
            "https://s3.us-west-004.backblazeb2.com/exports/a.zip",
        ),
        (
            "cos",
            {"region": "ap-guangzhou"},
            "https://exports.cos.ap-guangzhou.myqcloud.com/a.zip",
        ),
        ("r2", {"account": "3f4b"}, "https://3f4b.r2.cloudflarestorage.com/exports/a.zip"),
        (
            "oci",
            {"namespace": "tenancy", "region": "eu-frankfurt-1"},
            "https://tenancy.compat.objectstorage.eu-frankfurt-1.oci.customer-oci.com/exports/a.zip",
        ),
        (
            "ibm",
            {"region": "us-south"},
            "https://s3.us-south.cloud-object-storage.appdomain.cloud/exports/a.zip",
        ),
        ("tigris", {}, "https://exports.t3.storage.dev/a.zip"),
        (
            "obs",
            {"region": "eu-de", "endpoint_url": "https://obs.eu-de.otc.t-systems.com"},
            "https://exports.obs.eu-de.otc.t-systems.com/a.zip",
        ),
        ("minio", {"endpoint_url": "http://minio:9000"}, "http://minio:9000/exports/a.zip"),
        ("rustfs", {"endpoint_url": "http://rustfs:9000"}, "http://rustfs:9000/exports/a.zip"),
        ("ceph", {"endpoint_url": "http://rgw:7480"}, "http://rgw:7480/exports/a.zip"),
        ("seaweedfs", {"endpoint_url": "http://weed:8333"}, "http://weed:8333/exports/a.zip"),
    ],
)
def test_the_url_of_an_object_is_that_of_the_store(
    make: Make, kind: str, keys: Json, address: str
) -> None:
    client = make(kind, **keys).client
    wanted = {"Bucket": "exports", "Key": "a.zip"}
    assert client.generate_presigned_url("get_object", Params=wanted).partition("?")[0] == address


@pytest.mark.parametrize(("kind", "keys"), [("r2", {"account": "3f4b"}), ("tigris", {})])
def test_global_stores_have_the_region_auto(make: Make, kind: str, keys: Json) -> None:
    assert make(kind, **keys).client.meta.region_name == "auto"


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("minio", {}),
        ("rustfs", {}),
        ("ceph", {}),
        ("seaweedfs", {}),
        ("obs", {}),
        ("oss", {}),
        ("b2", {}),
        ("cos", {}),
        ("ibm", {}),
        ("r2", {}),
        ("oci", {"region": "eu-frankfurt-1"}),
        ("oci", {"namespace": "tenancy"}),
        ("oci", {"namespace": "x/../y", "region": "eu-frankfurt-1"}),
        ("r2", {"account": "evil.example/"}),
        ("obs", {"region": "evil.example/"}),
        ("r2", {"account": "3f4b", "queue_id": "1"}),
        ("r2", {"account": "3f4b", "queue_token": "t"}),
        ("r2", {"endpoint_url": "https://r2.example", "queue_id": "1", "queue_token": "t"}),
    ],
)
def test_a_store_without_an_address_is_an_invalid_setting(
    make: Make, kind: str, keys: Json
) -> None:
    """Otherwise Relay would send the keys of the other store to AWS."""
    with pytest.raises(ValidationError):
        make(kind, **keys)


@pytest.mark.parametrize(
    ("kind", "accept"),
    [
        ("s3", "sns eventbridge signed bare"),
        ("local", "signed bare"),
        ("minio", "signed bare"),
        ("rustfs", "signed bare"),
        ("ceph", "cloudevents signed bare"),
        ("obs", "smn eventgrid signed bare"),
        ("oss", "mns cloudevents signed bare"),
        ("b2", "b2 signed bare"),
        ("cos", "cloudevents signed bare"),
        ("r2", "signed bare"),
        ("oci", "oci signed bare"),
        ("ibm", "cloudevents signed bare"),
        ("tigris", "signed bare"),
        ("seaweedfs", "signed bare"),
    ],
)
def test_a_kind_accepts_the_envelopes_of_the_store_by_default(kind: str, accept: str) -> None:
    settings = find("handlers", kind).Settings
    assert settings.model_validate({"kind": kind, **KINDS[kind]}).accept == tuple(accept.split())
    other = settings.model_validate({"kind": kind, "accept": ["bare"], **KINDS[kind]})
    assert other.accept == ("bare",)


def test_an_invalid_bucket_is_rejected_before_any_request(
    make: Make,
) -> None:
    with pytest.raises(PermanentFailure) as raised:
        make("obs", region="cn-north-4").open(ObjectRef("evil.example/x", "a.zip"))
    assert raised.value.code == "storage.bad_bucket"
