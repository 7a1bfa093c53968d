"""What S3 and SQS share: credentials, clients, and the translation of the SDK's errors."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self

import urllib3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    ProfileNotFound,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError
from botocore.session import get_session
from pydantic import Field, SecretStr, model_validator

from relay import __version__
from relay.config.load import SourceSettings
from relay.errors import ConfigError, PermanentFailure, RelayError, TemporaryFailure
from relay.model import Localized
from relay.sources import errors as storage_words

FAILURES = (
    ClientError,
    BotoCoreError,
    ResponseParserError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,  # botocore's word for an address that it cannot use
)
"""Everything that the SDK lets out; catch these and raise `translate(error, thing)`."""

_PASSING = (
    BotoConnectionError,
    HTTPClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    ResponseParserError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)
_OWN_FILES = (ProfileNotFound, ConfigNotFound, ConfigParseError)
_BUSY = ("SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "InternalError")
_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint")
_MISSING = ("NoSuchKey", "NoSuchVersion", "404")
_SIGN_IN = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired")
_QUEUES = ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
_AWS = re.compile(r"(?:^|\.)([a-z]{2}(?:-[a-z]+)+-[0-9])\.(?:[a-z]+\.)?amazonaws\.com(?:\.cn)?$")


_MODELS = create_loader()
"""What the SDK knows of its services, read once: five sixths of the time that a client takes."""


class AwsSettings(SourceSettings):
    """How to sign in where the AWS protocols are spoken. Without keys: the SDK's own chain."""

    region: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="such as us-east-1; default from the host's name, if AWS's",
    )
    access_key_id: str | None = Field(
        None, description="without it, the SDK's own chain: environment, files, instance role"
    )
    secret_access_key: SecretStr | None = Field(
        None, description="the secret that belongs to access_key_id"
    )
    session_token: SecretStr | None = Field(None, description="set for temporary keys")

    @model_validator(mode="after")
    def _both_keys(self) -> Self:
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ValueError("access_key_id and secret_access_key belong together: set both")
        return self


def region_of(host: str) -> str | None:
    """The region in the name of an AWS host; None when it names none or is not of AWS."""
    found = _AWS.search(host)
    return found[1] if found else None


def client(service: str, source: str, settings: AwsSettings, **options: Any) -> Any:
    """A thread-safe client of `service`. `options`: endpoint_url, region_name, s3 (addressing).

    Checksums only where the protocol demands them: other stores refuse what AWS added later.
    ConfigError when the SDK cannot use the settings.
    """
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,
        tcp_keepalive=True,
        retries={"mode": "standard", "total_max_attempts": 3},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent=f"relay/{__version__}",  # making the SDK's own takes a tenth of a call
        s3=options.pop("s3", None),
    )
    session = get_session()  # one for each client: it is no more to be shared than their keys
    session.register_component("data_loader", _MODELS)
    try:
        return session.create_client(
            service,
            aws_access_key_id=settings.access_key_id or None,
            aws_secret_access_key=_revealed(settings.secret_access_key),
            aws_session_token=_revealed(settings.session_token),
            config=config,
            **options,
        )
    except _OWN_FILES as error:
        raise ConfigError(
            f"sources.{source}",
            f"The AWS SDK cannot use its own profile or files ({type(error).__name__})",
            "Check AWS_PROFILE and ~/.aws/config, or unset AWS_PROFILE: the SDK looks there even "
            "where keys are set here.",
        ) from error
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"sources.{source}",
            f"The AWS SDK cannot use region or address ({type(error).__name__})",
            'Set region, such as "us-east-1", and for other stores endpoint_url.',
        ) from error


def status_of(error: Exception) -> int:
    """The HTTP status of an answer that is an error; 0: there was no answer."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def translate(error: Exception, thing: str) -> RelayError:
    """The SDK's error in our words. `thing` names what was asked for, such as "bucket/key"."""
    if isinstance(error, ClientError):
        return _answered(error, thing)
    if isinstance(error, _PASSING):
        kind = type(error).__name__
        return TemporaryFailure(
            "storage.unreachable",
            Localized(
                f"The store did not answer for {thing} ({kind})", f"存储未响应 {thing} ({kind})"
            ),
            Localized(
                "Relay tries again; check endpoint_url and the network if it lasts.",
                "Relay 会重试；若持续出现，请检查 endpoint_url 与网络。",
            ),
        )
    return PermanentFailure(
        "storage.unusable",
        Localized(
            f"The SDK refuses to ask for {thing} ({type(error).__name__})",
            f"SDK 拒绝请求 {thing} ({type(error).__name__})",
        ),
        Localized(
            "Check the source's keys, region and endpoint_url.",
            "请检查该来源的密钥、region 与 endpoint_url。",
        ),
    )


def _answered(error: ClientError, thing: str) -> RelayError:
    code = str(error.response.get("Error", {}).get("Code", ""))[:100]
    status = status_of(error)
    if status == 412 or code == "PreconditionFailed":
        return storage_words.superseded(thing)
    for codes, statuses, build in _ANSWERS:
        if code in codes or status in statuses:
            return build(error, thing, code or str(status))
    return PermanentFailure(
        "storage.refused",
        Localized(f"The store refuses {thing} ({code})", f"存储拒绝访问 {thing} ({code})"),
        answer=f"{status} {code}",
    )


def _no_bucket(_: ClientError, thing: str, code: str) -> RelayError:
    return storage_words.no_bucket(thing, code)


def _gone(_: ClientError, thing: str, code: str) -> RelayError:
    return storage_words.gone(thing, code)


def _archived(_: ClientError, thing: str, code: str) -> RelayError:
    return storage_words.archived(thing, code)


def _other_region(_: ClientError, thing: str, code: str) -> RelayError:
    return PermanentFailure(
        "storage.other_region",
        Localized(f"{thing} lies in another region", f"{thing} 位于其他区域"),
        Localized(
            "Set the source's region to the bucket's.", "请将来源的 region 设为存储桶所在区域。"
        ),
        answer=code,
    )


def _busy(error: ClientError, thing: str, code: str) -> RelayError:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    after = str(headers.get("retry-after", ""))
    wait = timedelta(seconds=int(after)) if re.fullmatch("[0-9]{1,5}", after) else None
    return storage_words.busy(thing, code, wait)


def _denied(_: ClientError, thing: str, code: str) -> RelayError:
    hint = Localized(
        "Check the source's keys, their right to get and list, and this machine's clock. "
        "Without the right to list, AWS answers so for a missing object too.",
        "请检查来源的密钥、读取与列举权限以及本机时钟。"
        "没有列举权限时，AWS 对不存在的对象也会如此回答。",
    )
    return storage_words.denied(thing, code, hint)


_Builder = Callable[[ClientError, str, str], RelayError]
_ANSWERS: tuple[tuple[tuple[str, ...], tuple[int, ...], _Builder], ...] = (
    (("NoSuchBucket", *_QUEUES), (), _no_bucket),
    (("InvalidObjectState",), (), _archived),
    (_BUSY, (429, 500, 502, 503, 504), _busy),
    (_REGION, (301, 307), _other_region),
    (_MISSING, (404, 405), _gone),  # 405: the version is a delete marker
    (_SIGN_IN, (401, 403), _denied),
)


def _revealed(secret: SecretStr | None) -> str | None:
    return (secret.get_secret_value() or None) if secret else None
