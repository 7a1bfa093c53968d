"""A valid unwrapped record of each storage with the S3 protocol."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from relay.model import Json

KEY = "a+b%2B c/导出.zip"
ENCODED = "a%2Bb%252B+c%2F%E5%AF%BC%E5%87%BA.zip"
"""The same key as S3, MinIO and OBS encode it."""


def s3_record(source: str, key: str = ENCODED, **about: Any) -> Json:
    return {
        "eventVersion": "2.1",
        "eventSource": source,
        "eventTime": "2026-01-01T00:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "responseElements": {"x-amz-request-id": "159FB6B233B08AF0"},
        "s3": {
            "bucket": {"name": "exports"},
            "object": {
                "key": key,
                "size": 1024,
                "eTag": "37b51d194a7513e45b56f6524f2d51f2",
                "sequencer": "159FB6B233B08AF0",
                **about,
            },
        },
    }


OBS_EVENT: Json = {
    "specversion": "1.0",
    "id": "b27e6cbff1f6865c83111f130a982f56",
    "source": "HC.OBS.DWR",
    "type": "OBS:DWR:ObjectCreated:PUT",
    "time": "2026-01-01T00:00:00.167931174Z",
    "subject": KEY,
    "data": {
        "eventVersion": "3.0",
        "eventSource": "OBS",
        "eventName": "ObjectCreated:Put",
        "eventTime": "2026-01-01T08:00:00.533Z",
        "responseElements": {
            "x-obs-request-id": "b27e6cbff1f6865c83111f130a982f56",
            "x-amz-request-id": "",
        },
        "obs": {
            "bucket": {"name": "exports", "bucket": "exports"},
            "object": {
                "key": ENCODED,
                "size": 1024,
                "eTag": "6f9433fb110632de417e2e697dcb1b5f",
                "versionId": "G00101A0F057D2A5FFFFCB8700806592null",
                "sequencer": "1",
            },
        },
    },
}

OSS_EVENT: Json = {
    "eventName": "ObjectCreated:PutObject",
    "eventSource": "acs:oss",
    "eventTime": "2026-01-01T00:00:00.000Z",
    "eventVersion": "1.0",
    "oss": {
        "bucket": {"arn": "acs:oss:cn-hangzhou:123456789:exports", "name": "exports"},
        "object": {"key": KEY, "size": 1024, "eTag": "688A7BF4F233DC9C88A80BF985AB7329"},
    },
    "responseElements": {"requestId": "58F9FF2D3DF792092E12044C"},
}

IBM_NOTIFICATION: Json = {
    "bucket_name": "exports",
    "event_type": "Object:Write",
    "format": "2.0",
    "object_etag": "f3a9dbde30fdf48abc23e5f8b485d6e5",
    "object_length": "1024",
    "object_name": KEY,
    "request_id": "67a2048a-e0a9-4f9d-9d1c-b9a0e2c2b7d5",
    "request_time": "2026-01-01T00:00:00.963Z",
}

RECORDS: dict[str, Json] = {
    "minio": s3_record("minio:s3"),
    "rustfs": s3_record("rustfs:s3"),
    "ceph": {
        **s3_record("ceph:s3", KEY, sequencer="F7E6D75DC742D108", versionId=""),
        "eventId": "1574430455.147932.37b51d",
    },
    "obs": OBS_EVENT,
    "oss": OSS_EVENT,
    "b2": {
        "bucketName": "exports",
        "eventId": "9b6ba7c2",
        "eventTimestamp": 1767225600000,
        "eventType": "b2:ObjectCreated:Upload",
        "eventVersion": 1,
        "objectName": KEY,
        "objectSize": 1024,
        "objectVersionId": "4_zaea8c5bc362ae5_f117c7bd5d6c6597c_d20230521_m235957_c001_v0001044",
    },
    "cos": {
        "cos": {
            "cosBucket": {"region": "gz", "name": "exports", "appid": "1253970026"},
            "cosObject": {
                "key": f"/1253970026/exports/{KEY}",
                "size": 1024,
                "vid": "",
                "meta": {"x-cos-request-id": "NWMxMjM0NTY="},
            },
        },
        "event": {
            "eventName": "cos:ObjectCreated:Put",
            "eventTime": 1767225600,
            "reqid": 179398952,
        },
    },
    "r2": {
        "account": "3f4b7e3dcab231cbfdaa90a6a28bd548",
        "action": "PutObject",
        "bucket": "exports",
        "object": {"key": KEY, "size": 1024, "eTag": "c846ff7a18f28c2e262116d6e8719ef0"},
        "eventTime": "2026-01-01T00:00:00.379Z",
    },
    "oci": {
        "cloudEventsVersion": "0.1",
        "eventID": "f1c2b3a4-0000-4000-8000-000000000000",
        "eventType": "com.oraclecloud.objectstorage.createobject",
        "eventTime": "2026-01-01T00:00:00Z",
        "data": {
            "resourceName": KEY,
            "additionalDetails": {
                "bucketName": "exports",
                "eTag": "6e2b0f4a-7f0c-4a0f-9a53-0a5a3a1c1d2e",
                "namespace": "tenancy",
            },
        },
    },
    "ibm": {
        "specversion": "1.0",
        "id": "6a1b",
        "source": "https://cloud.ibm.com/catalog/services/cloud-object-storage/exports",
        "type": "com.ibm.cloud.cos.document.write",
        "data": {"bucket": "exports", "key": KEY, "notification": IBM_NOTIFICATION},
    },
    "tigris": {
        "eventVersion": "1",
        "eventSource": "tigris",
        "eventName": "OBJECT_CREATED_PUT",
        "eventTime": "2026-01-01T00:00:00.5Z",
        "bucket": "exports",
        "object": {"key": KEY, "size": 1024, "eTag": '"79b281060d337b9b2b84ccf390adcf74"'},
    },
    "seaweedfs": {
        "key": f"/buckets/exports/{KEY}",
        "event_type": "create",
        "message": {
            "new_entry": {
                "name": "导出.zip",
                "attributes": {
                    "file_size": 1024,
                    "mtime": 1767225600,
                    "mtime_ns": 500,
                    "md5": "m5Lz+xEGMt5Bfi5pfcsbXw==",
                },
            },
            "new_parent_path": "/buckets/exports/a+b%2B c",
        },
    },
}


def record_of(kind: str, path: str = "", value: Any = None) -> Json:
    """The valid record with another value at a dotted path; None removes the field."""
    record = deepcopy(RECORDS[kind])
    if path:
        *parents, name = path.split(".")
        here = record
        for parent in parents:
            here = here[parent]
        if value is None:
            del here[name]
        else:
            here[name] = value
    return record
