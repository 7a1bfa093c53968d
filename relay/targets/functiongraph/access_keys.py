"""Which access key signs: of relay.toml, else of the places where the official SDK looks.

Names and order: "Use Environment Variables / Use a Profile / Use Metadata" in the SDK's README.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from relay.config.redaction import hide
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Localized
from relay.outbound.token_cache import CachedCredential, Clock, ExpiringValue
from relay.targets.functiongraph.metadata_service import Metadata
from relay.targets.functiongraph.signing import AccessKey

PROJECT_ID = "HUAWEICLOUD_SDK_PROJECT_ID"
CREDENTIALS_FILE = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"
MAX_FILE = 64 * 1024

_PREFIXES = ("HUAWEICLOUD_SDK", "CLOUD_SDK")


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """What one place gives; "" for what it does not. `seen` says what is missing there."""

    name: str
    key: AccessKey = field(default_factory=lambda: AccessKey("", ""))
    project_id: str = ""
    seen: str = ""


@dataclass(frozen=True, slots=True)
class FoundKey:
    """An access key and the place that it is from, in words without a secret."""

    key: AccessKey
    source: str


def surroundings(environ: Mapping[str, str] | None = None) -> tuple[CredentialSource, ...]:
    """What the environment and the SDK's credentials file give now, in the SDK's order."""
    environ = os.environ if environ is None else environ
    return (*(_environment(environ, prefix) for prefix in _PREFIXES), _file(environ))


class Keys:
    """The access key of a target for all its threads, found when it is first needed.

    `own`: the one of relay.toml. A key that was refused is looked for again: files are rewritten,
    and what the metadata service gives ends.
    """

    def __init__(self, own: AccessKey | None, metadata: Metadata, clock: Clock) -> None:
        self._own = own
        self._metadata = metadata
        self._found = CachedCredential(self._look, clock)

    def get(self) -> FoundKey:
        """Raises PermanentFailure or TemporaryFailure that tell everything that was looked at."""
        return self._found.get()

    def renew(self, stale: AccessKey) -> AccessKey | None:
        """Another key than `stale`, which was refused; None when there is none."""
        held = self._found.get()
        new = held if held.key != stale else self._found.renew(held)
        return new.key if new.key != stale else None

    def _look(self) -> ExpiringValue[FoundKey]:
        if self._own:
            return ExpiringValue(FoundKey(self._own, "relay.toml"))
        places = surroundings()
        for place in places:
            if not place.seen:
                hide(place.key.secret, place.key.security_token)
                return ExpiringValue(FoundKey(place.key, place.name))
        try:
            key, life = self._metadata.key()
        except RelayError as error:
            raise _nowhere(places, error) from error
        hide(key.secret, key.security_token)
        return ExpiringValue(FoundKey(key, self._metadata.name), life)


def _environment(environ: Mapping[str, str], prefix: str) -> CredentialSource:
    def value(name: str) -> str:
        return environ.get(f"{prefix}_{name}", "").strip()

    absent = [f"{prefix}_{name}" for name in ("AK", "SK") if not value(name)]
    return CredentialSource(
        f"the environment ({prefix}_AK)",
        AccessKey(value("AK"), value("SK"), value("SECURITY_TOKEN")),
        value("PROJECT_ID"),
        f"{' and '.join(absent)} {'are' if absent[1:] else 'is'} not set" if absent else "",
    )


def _file(environ: Mapping[str, str]) -> CredentialSource:
    path = _path(environ)
    place = CredentialSource(f"the credentials file {path}")
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_FILE + 1)
        # No interpolation: a secret may hold a %.
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
    except FileNotFoundError:
        return replace(place, seen=f"{path} is not there")
    except OSError as error:
        return replace(place, seen=f"{path} cannot be read: {error.strerror}")
    except (configparser.Error, UnicodeDecodeError):
        return replace(place, seen=f"{path} is no ini file")  # their words would quote its lines
    if len(text) > MAX_FILE or not parser.has_section("basic"):
        return replace(place, seen=f"{path} has no section [basic]")
    basic = {name: value.strip() for name, value in parser.items("basic")}
    absent = [name for name in ("ak", "sk") if not basic.get(name)]
    return replace(
        place,
        key=AccessKey(basic.get("ak", ""), basic.get("sk", ""), basic.get("security_token", "")),
        project_id=basic.get("project_id", ""),
        seen=f"{path} has no {' and no '.join(absent)} in [basic]" if absent else "",
    )


def _path(environ: Mapping[str, str]) -> Path:
    named = environ.get(CREDENTIALS_FILE, "")
    if named:
        return Path(named)
    try:
        return Path.home() / ".huaweicloud" / "credentials"
    except RuntimeError:  # a user without a home
        return Path("~/.huaweicloud/credentials")


def _nowhere(places: tuple[CredentialSource, ...], last: RelayError) -> RelayError:
    looked = "; ".join(place.seen for place in places)
    code = "functiongraph.no_credentials"
    message = Localized(
        f"There is no access key: relay.toml has none; {looked}; {last.message.en}",
        f"没有可用的 AK/SK: relay.toml 未设置；{looked}；{last.message.zh}",
    )
    hint = Localized(
        "Set access_key and secret_key of the target (requests up to 12 MB), or iam_user,"
        f" iam_password and iam_domain (any size). {last.hint.en}".rstrip(),
        "请为该目标设置 access_key 与 secret_key（请求不超过 12 MB），或 iam_user、iam_password 与"
        f" iam_domain（不限大小）。{last.hint.zh}",
    )
    if isinstance(last, PermanentFailure):
        return PermanentFailure(code, message, hint, answer=last.answer)
    wait: timedelta | None = getattr(last, "retry_after", None)
    return TemporaryFailure(code, message, hint, answer=last.answer, retry_after=wait)
