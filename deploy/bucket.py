"""Creates a bucket, unless it exists, and configures notifications for new objects.

Works with every S3-compatible storage. The argument is the ARN of the notification target at the
storage. Reads S3_ENDPOINT, S3_KEY, S3_SECRET and BUCKET from the environment. Idempotent.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

EXISTS = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
EVENTS = ("Put", "Post", "Copy", "CompleteMultipartUpload")
"""The events of complete objects; `s3:ObjectCreated:*` would include others."""


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
    create_bucket(s3, bucket)
    configure_notifications(s3, bucket, arn)
    sys.stdout.write(f"bucket {bucket} sends notifications of new objects to {arn}\n")


def create_bucket(s3: Any, bucket: str) -> None:
    try:
        s3.create_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in EXISTS:
            raise


def configure_notifications(s3: Any, bucket: str, arn: str) -> None:
    events = [f"s3:ObjectCreated:{name}" for name in EVENTS]
    rule = {"Id": "relay", "QueueArn": arn, "Events": events}
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [rule]}
    )


if __name__ == "__main__":
    main(sys.argv[1])
