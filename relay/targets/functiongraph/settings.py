"""The keys of a functiongraph target in relay.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from relay.config.load import TargetSettings
from relay.config.units import Rate, Size
from relay.targets.functiongraph.access_keys import PROJECT_ID, surroundings
from relay.targets.functiongraph.signing import AccessKey

_NONE = SecretStr("")
_PROJECT = re.compile(r"[A-Za-z0-9]{32}")


def _is_host_alone(url: str) -> bool:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("https", "http") and parts.hostname and parts.port != 0
    except ValueError:  # its words would repeat what stands before the host
        return False
    extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    return bool(fits and not extra)


class FunctionGraphSettings(TargetSettings):
    """Where the functions go, and who we are there."""

    region: str = Field(
        pattern=r"^[a-z0-9-]{1,40}$", description="the region's id, such as cn-north-4"
    )
    project_id: str = Field(
        "",
        pattern=r"^([A-Za-z0-9]{32})?$",
        description=f"the project: 32 letters and digits; else {PROJECT_ID}",
    )
    endpoint: str = Field("", description="FunctionGraph's URL; default from region")
    auth: Literal["auto", "token", "aksk"] = Field(
        "auto", description="token, aksk, or whichever fits the size of the request"
    )
    access_key: str = Field(
        "",
        description="AK: for auth by signature, up to 12 MB a request; with no credentials here,"
        " those of the SDK's environment names, its file, the server's agency",
    )
    secret_key: SecretStr = Field(_NONE, description="SK that belongs to access_key")
    security_token: SecretStr = Field(_NONE, description="set for temporary access keys")
    iam_user: str = Field("", description="IAM user: for auth by token, any size")
    iam_password: SecretStr = Field(_NONE, description="the IAM user's password")
    iam_domain: str = Field("", description="the account that the IAM user belongs to")
    iam_endpoint: str = Field("", description="IAM's URL; default from region")
    metadata_endpoint: str = Field(
        "", description="the metadata service that gives an agency's keys; default the cloud's own"
    )
    max_size: Size = Field(300 * 2**20, description="the biggest archive that is sent")
    rate: Rate | None = Field(None, description='how many imports may begin, such as "10/1m"')

    @model_validator(mode="before")
    @classmethod
    def _finds_a_project(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or values.get("project_id"):
            return values
        found = (place.project_id for place in surroundings())
        project_id = next((one for one in found if _PROJECT.fullmatch(one)), "")
        return {**values, "project_id": project_id}

    @field_validator("endpoint", "iam_endpoint", "metadata_endpoint")
    @classmethod
    def _is_an_endpoint(cls, url: str) -> str:
        if url and not _is_host_alone(url):
            raise ValueError("should be https:// and a host, nothing after it")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _has_credentials(self) -> Self:
        missing = dict(self._missing())
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

    def _missing(self) -> Iterator[tuple[str, str]]:
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
        for way, values in (("aksk", key), ("token", user)):
            given = ", ".join(name for name in values if values[name])
            if way == self.auth == "token":
                given = given or 'auth = "token"'
            if given and self.auth in ("auto", way):
                yield from ((name, f"is needed by {given}") for name in values if not values[name])

    @property
    def url(self) -> str:
        return self.endpoint or f"https://functiongraph.{self.region}.myhuaweicloud.com"

    @property
    def iam_url(self) -> str:
        return self.iam_endpoint or f"https://iam.{self.region}.myhuaweicloud.com"

    @property
    def key(self) -> AccessKey | None:
        """The access key of relay.toml, if it has one."""
        if not self.access_key:
            return None
        return AccessKey(
            self.access_key,
            self.secret_key.get_secret_value(),
            self.security_token.get_secret_value(),
        )

    def advise(self) -> Iterator[tuple[str, str]]:
        if self.by_key and not self.access_key and not self.iam_user:
            seen = [place.seen for place in surroundings()]
            if all(seen):
                yield (
                    f"it has no credentials here: {'; '.join(seen)}",
                    "On Huawei Cloud the metadata service may have them; --connect tries it.",
                )

    @property
    def by_key(self) -> bool:
        """Whether requests may be signed: by the key here, or in `auto` by any when none is."""
        return self.auth == "aksk" or (
            self.auth == "auto" and bool(self.access_key or not self.iam_user)
        )

    @property
    def by_token(self) -> bool:
        """Whether requests may carry a token."""
        return self.auth != "aksk" and bool(self.iam_user)
