"""Credentials, clients and error translation for S3, SQS and SNS."""

from __future__ import annotations

import http.client
import os
import re
from datetime import timedelta
from typing import Any, Self
from urllib.request import getproxies

import urllib3
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    HTTPClientError,
    MetadataRetrievalError,
    NoCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    SSLError,
    SSOError,
    TokenRetrievalError,
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
from relay.outbound.connection_problems import Causes, connection_problem
from relay.outbound.final_response import CheckedConnection
from relay.outbound.surroundings import HTTP, check_ca_file, check_proxy
from relay.sources.errors import (
    archived,
    busy,
    cannot_decrypt,
    denied,
    gone,
    no_bucket,
    not_authenticated,
    refused,
    superseded,
    unexplained_404,
)

FAILURES = (
    ClientError,
    BotoCoreError,
    ResponseParserError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,  # botocore raises it for an unusable address
)
"""All exceptions of the SDK: catch these and raise `translate(error, resource)`."""

_TRANSIENT = (
    BotoConnectionError,
    HTTPClientError,
    CredentialRetrievalError,
    MetadataRetrievalError,
    ResponseParserError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)
_PROFILE_ERRORS = (ProfileNotFound, ConfigNotFound, ConfigParseError)
_NO_CREDENTIALS = (NoCredentialsError, SSOError, TokenRetrievalError)
_MAX_MESSAGE = 2000
_BUSY = (
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "KMS.ThrottlingException",
    "KmsThrottled",
    "RequestTimeout",
    "InternalError",
)
_OTHER_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint")
_GONE = ("NoSuchKey", "NoSuchVersion", "ObjectNotFound")
"""The codes of a missing object. Another 404, or one without a code, is no proof."""

_NOT_AUTHENTICATED = (
    *("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"),
    *("RequestTimeTooSkewed", "RequestExpired"),
    *("InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch"),
)
_NO_BUCKET = ("NoSuchBucket", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue")
_DENIED_HINT = Localized(
    "Check the source's keys, their permissions to get and list objects (and kms:Decrypt if the "
    "object is encrypted with a KMS key), and this machine's clock. Without permission to list, "
    "AWS also answers this for missing objects.",
    "请检查来源的密钥、读取与列举权限（对象用 KMS 密钥加密时还需 kms:Decrypt）以及本机时钟。"
    "没有列举权限时，AWS 对不存在的对象也会返回此错误。",
)
_AWS_HOST = re.compile(
    r"(?:^|\.)([a-z]{2}(?:-[a-z]+)+-[0-9])\.(?:[a-z]+\.)?amazonaws\.com(?:\.cn)?$"
)


class _Connection(CheckedConnection, AWSHTTPConnection):  # type: ignore[misc]
    """The SDK's connection, without interim responses and stray bytes."""


class _SecureConnection(CheckedConnection, AWSHTTPSConnection):  # type: ignore[misc]
    """The same with TLS."""


AWSHTTPConnectionPool.ConnectionCls = _Connection
AWSHTTPSConnectionPool.ConnectionCls = _SecureConnection
# For the whole process: the SDK also creates clients of its own, to fetch credentials.

_MODELS = create_loader()
"""The SDK's service models, loaded once: loading takes 5/6 of a client's creation time."""


class AwsSettings(SourceSettings):
    """Credentials for the AWS protocols. Without keys, the SDK's default chain applies."""

    region: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="such as us-east-1; for AWS hosts, the default is in the host name",
    )
    access_key_id: str | None = Field(
        None, description="without it, the SDK's default chain: environment, files, instance role"
    )
    secret_access_key: SecretStr | None = Field(
        None, description="the secret that belongs to access_key_id"
    )
    session_token: SecretStr | None = Field(None, description="for temporary keys")

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ValueError("access_key_id and secret_access_key belong together: set both")
        return self


def region_of_host(host: str) -> str | None:
    """The region in an AWS host name; None for other hosts."""
    match = _AWS_HOST.search(host)
    return match[1] if match else None


def make_client(service: str, source: str, settings: AwsSettings, **options: Any) -> Any:
    """Create a thread-safe client. `options`: endpoint_url, region_name, s3 (addressing).

    Checksums are sent only if required, because other stores reject newer AWS headers.
    ConfigError if the SDK cannot use the settings.
    """
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=32,
        tcp_keepalive=True,
        retries={"mode": "standard", "total_max_attempts": 3},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent=f"relay/{__version__}",  # the SDK's own takes a tenth of each call to build
        s3=options.pop("s3", None),
    )
    session = get_session()  # a session per client, like the keys
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
    except _PROFILE_ERRORS as error:
        raise ConfigError(
            f"sources.{source}",
            f"the AWS SDK cannot use its profile or files ({type(error).__name__})",
            "Check AWS_PROFILE and ~/.aws/config, or unset AWS_PROFILE: the SDK reads them even "
            "if keys are set here.",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"sources.{source}",
            f"the file {error.filename} cannot be used ({error.strerror})",
            "An environment variable names it, such as SSLKEYLOGFILE: correct or unset it.",
        ) from error
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            f"sources.{source}",
            f"the AWS SDK cannot use region or address ({type(error).__name__})",
            'Set region, such as "us-east-1", and for other stores endpoint_url.',
        ) from error


def http_status(error: Exception) -> int:
    """The HTTP status of an error response; 0 without a response."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def translate(error: Exception, resource: str) -> RelayError:
    """The SDK's error as ours. `resource` names the object or queue, such as "bucket/key"."""
    if isinstance(error, ClientError):
        return _translate_response(error, resource)
    if isinstance(error, _TRANSIENT):
        if problem := _connection_problem(error):
            return problem
        kind = type(error).__name__
        return TemporaryFailure(
            "storage.unreachable",
            Localized(
                f"No response from the store for {resource} ({kind})",
                f"存储未响应 {resource}（{kind}）",
            ),
            Localized(
                "Relay retries; if the error persists, check endpoint_url and the network.",
                "Relay 会重试；若持续出现，请检查 endpoint_url 与网络。",
            ),
        )
    if isinstance(error, _NO_CREDENTIALS):
        return not_authenticated(resource, type(error).__name__, _DENIED_HINT)
    return PermanentFailure(
        "storage.unusable",
        Localized(
            f"The SDK cannot request {resource} ({type(error).__name__})",
            f"SDK 无法请求 {resource}（{type(error).__name__}）",
        ),
        Localized(
            "Check the keys, region and endpoint_url of the source.",
            "请检查该来源的密钥、region 与 endpoint_url。",
        ),
    )


def _connection_problem(error: Exception) -> RelayError | None:
    """The error of a request that was not sent, if the cause is known."""
    causes = Causes(error)
    try:
        if type(error) in (HTTPClientError, ProxyConnectionError):
            for scheme, proxy in getproxies().items():
                check_proxy(f"{scheme}://", proxy, HTTP)
        if isinstance(error, SSLError) and (bundle := os.environ.get("AWS_CA_BUNDLE")):
            check_ca_file(bundle)
    except RelayError as problem:
        return problem
    return connection_problem(causes, str(getattr(error, "kwargs", {}).get("endpoint_url") or ""))


def _translate_response(error: ClientError, resource: str) -> RelayError:
    status = http_status(error)
    name = str(error.response.get("Error", {}).get("Code", ""))[:100]
    code = name or str(status)
    if status == 412 or name == "PreconditionFailed":
        return superseded(resource)
    if problem := _translate_missing(error, resource, code) or _unreadable(error, resource, code):
        return problem
    if name in _BUSY or status in (429, 500, 502, 503, 504):
        return busy(resource, code, _retry_after(error))
    if name in _OTHER_REGION or status in (301, 307):
        return _other_region(resource, code)
    if name in _NOT_AUTHENTICATED or status == 401:
        return not_authenticated(resource, code, _DENIED_HINT)
    if status == 403:
        return denied(resource, code, _DENIED_HINT)
    return refused(resource, f"{status} {name}".strip())


def _translate_missing(error: ClientError, resource: str, code: str) -> RelayError | None:
    if code in _NO_BUCKET:
        return no_bucket(resource, code)
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    is_delete_marker = headers.get("x-amz-delete-marker") == "true"
    if code in _GONE or (http_status(error) == 405 and is_delete_marker):
        return gone(resource, code)
    return unexplained_404(resource, code) if http_status(error) == 404 else None


def _unreadable(error: ClientError, resource: str, code: str) -> RelayError | None:
    """The error of an object that exists and cannot be read as it is stored."""
    if code == "InvalidObjectState":
        return archived(resource, code)
    if http_status(error) >= 500:
        return None
    message = str(error.response.get("Error", {}).get("Message", ""))[:_MAX_MESSAGE]
    return cannot_decrypt(resource, code, message)


def _retry_after(error: ClientError) -> timedelta | None:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    seconds = str(headers.get("retry-after", ""))
    return timedelta(seconds=int(seconds)) if re.fullmatch("[0-9]{1,5}", seconds) else None


def _other_region(resource: str, code: str) -> RelayError:
    return PermanentFailure(
        "storage.other_region",
        Localized(f"{resource} is in another region", f"{resource} 位于其他区域"),
        Localized(
            "Set region of the source to that of the bucket.",
            "请将来源的 region 设为存储桶所在区域。",
        ),
        answer=code,
    )


def _revealed(secret: SecretStr | None) -> str | None:
    return (secret.get_secret_value() or None) if secret else None
