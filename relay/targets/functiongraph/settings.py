"""The settings of a functiongraph target in relay.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from relay.config.load import TargetSettings
from relay.config.units import Rate, Size
from relay.config.validators import host_name
from relay.targets.functiongraph.access_keys import PROJECT_ID, discover_credentials
from relay.targets.functiongraph.signing import AccessKey

_NO_SECRET = SecretStr("")
_PROJECT = re.compile(r"[A-Za-z0-9]{32}")


def _is_host_alone(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:  # the error text would repeat a password in the URL
        return False
    extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    return bool(is_http and not extra)


class FunctionGraphSettings(TargetSettings):
    """The project that receives the functions, and the credentials for it."""

    region: str = Field(
        pattern=r"^[a-z0-9-]{1,40}$", description="the region's id, such as cn-north-4"
    )
    project_id: str = Field(
        "",
        pattern=r"^([A-Za-z0-9]{32})?$",
        description=f"the project: 32 letters and digits; else {PROJECT_ID}",
    )
    endpoint: str = Field("", description="URL of FunctionGraph; default from region")
    auth: Literal["auto", "token", "aksk"] = Field(
        "auto", description="token, aksk, or auto: chosen by the size of the request"
    )
    access_key: str = Field(
        "",
        description="AK: for auth by signature, up to 12 MB per request; without credentials here,"
        " from the environment, credentials file or agency that the SDK of Huawei Cloud uses",
    )
    secret_key: SecretStr = Field(_NO_SECRET, description="SK that belongs to access_key")
    security_token: SecretStr = Field(_NO_SECRET, description="set for temporary access keys")
    iam_user: str = Field("", description="IAM user: for auth by token, any size")
    iam_password: SecretStr = Field(_NO_SECRET, description="password of the IAM user")
    iam_domain: str = Field("", description="the account that the IAM user belongs to")
    iam_endpoint: str = Field("", description="URL of IAM; default from region")
    metadata_endpoint: str = Field(
        "", description="URL of the metadata service for agency keys; default that of the cloud"
    )
    max_size: Size = Field(300 * 2**20, description="the largest archive that is sent")
    rate: Rate | None = Field(None, description='how many imports may start, such as "10/1m"')

    @model_validator(mode="before")
    @classmethod
    def _discover_project_id(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("project_id"):
            return values
        candidates = (source.project_id for source in discover_credentials())
        project_id = next(filter(_PROJECT.fullmatch, candidates), "")
        return {**values, "project_id": project_id}

    @field_validator("endpoint", "iam_endpoint", "metadata_endpoint")
    @classmethod
    def _check_endpoint(cls, url: str) -> str:
        if url and not _is_host_alone(url):
            raise ValueError("should be https:// and a host, nothing after it")
        host_name(urlsplit(url).hostname or "")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        missing = dict(self._missing_settings())
        if missing:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("credentials", "{words}", {"words": words}),
                        loc=(key,),
                        input=None,
                    )
                    for key, words in missing.items()
                ],
            )
        return self

    def _missing_settings(self) -> Iterator[tuple[str, str]]:
        if not self.project_id:
            words = (
                f"is required: 32 letters and digits, here, in {PROJECT_ID}, or as project_id in"
                " the credentials file of Huawei Cloud's SDK"
            )
            yield "project_id", words
        key = {"access_key": self.access_key, "secret_key": self.secret_key.get_secret_value()}
        user = {
            "iam_user": self.iam_user,
            "iam_password": self.iam_password.get_secret_value(),
            "iam_domain": self.iam_domain,
        }
        for auth, values in (("aksk", key), ("token", user)):
            given = ", ".join(name for name in values if values[name])
            if auth == self.auth == "token":
                given = given or 'auth = "token"'
            if given and self.auth in ("auto", auth):
                yield from ((name, f"is needed by {given}") for name in values if not values[name])

    @property
    def url(self) -> str:
        return self.endpoint or f"https://functiongraph.{self.region}.myhuaweicloud.com"

    @property
    def iam_url(self) -> str:
        return self.iam_endpoint or f"https://iam.{self.region}.myhuaweicloud.com"

    @property
    def key(self) -> AccessKey | None:
        """The access key from relay.toml, if set."""
        if not self.access_key:
            return None
        return AccessKey(
            self.access_key,
            self.secret_key.get_secret_value(),
            self.security_token.get_secret_value(),
        )

    def advise(self) -> Iterator[tuple[str, str]]:
        if self.uses_key and not self.access_key and not self.iam_user:
            problems = [source.problem for source in discover_credentials()]
            if all(problems):
                yield (
                    f"it has no credentials here: {'; '.join(problems)}",
                    "On Huawei Cloud the metadata service may provide them; test with --connect.",
                )

    @property
    def uses_key(self) -> bool:
        """Whether requests may be signed: with this key or, in `auto`, with a discovered key."""
        return self.auth == "aksk" or (
            self.auth == "auto" and bool(self.access_key or not self.iam_user)
        )

    @property
    def uses_token(self) -> bool:
        """Whether requests may use an IAM token."""
        return self.auth != "aksk" and bool(self.iam_user)
