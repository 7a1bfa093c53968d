"""Makes a bucket, if it is not there, and has the store announce every new object in it.

For any store with S3's API. Called with the ARN of the store's notification target; reads
S3_ENDPOINT, S3_KEY, S3_SECRET and BUCKET from the environment. May run any number of times.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

THERE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
CREATED = ("Put", "Post", "Copy", "CompleteMultipartUpload")
"""The events after which an object is complete; `s3:ObjectCreated:*` would bring others."""


def main(arn: str) -> None:
    bucket = os.environ["BUCKET"]
    s3 = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT"],
        aws_access_key_id=os.environ["S3_KEY"],
        aws_secret_access_key=os.environ["S3_SECRET"],
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    make(s3, bucket)
    announce(s3, bucket, arn)
    sys.stdout.write(f"bucket {bucket} announces new objects to {arn}\n")


def make(s3: Any, bucket: str) -> None:
    try:
        s3.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in THERE:
            raise


def announce(s3: Any, bucket: str, arn: str) -> None:
    events = [f"s3:ObjectCreated:{name}" for name in CREATED]
    rule = {"Id": "relay", "QueueArn": arn, "Events": events}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
    )


if __name__ == "__main__":
    main(sys.argv[1])
