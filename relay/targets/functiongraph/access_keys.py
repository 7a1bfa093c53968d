"""Finds the access key: in relay.toml, then in the sources that the official SDK uses.

Names and order: "Use Environment Variables / Use a Profile / Use Metadata" in the SDK README.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from relay.config.redaction import hide
from relay.errors import PermanentFailure, RelayError, TemporaryFailure
from relay.model import Localized
from relay.outbound.token_cache import CachedCredential, Clock, ExpiringValue
from relay.targets.functiongraph.metadata_service import MetadataService
from relay.targets.functiongraph.signing import AccessKey

PROJECT_ID = "HUAWEICLOUD_SDK_PROJECT_ID"
CREDENTIALS_FILE = "HUAWEICLOUD_SDK_CREDENTIALS_FILE"
MAX_FILE = 64 * 1024


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """The credentials from a source, whose `name` contains no secret.

    Missing values are ""; `problem` says what is missing.
    """

    name: str
    key: AccessKey = field(default_factory=lambda: AccessKey("", ""))
    project_id: str = ""
    problem: str = ""


def discover_credentials() -> tuple[CredentialSource, ...]:
    """Read the environment and the credentials file of the SDK, in the order of the SDK."""
    return (_from_environment("HUAWEICLOUD_SDK"), _from_environment("CLOUD_SDK"), _from_file())


class AccessKeyProvider:
    """Looks up the access key of a target on first use and shares it between threads.

    `configured` is the key from relay.toml. After a rejection the lookup is repeated, because files
    are rewritten and keys from the metadata service expire.
    """

    def __init__(
        self, configured: AccessKey | None, metadata: MetadataService, clock: Clock
    ) -> None:
        self._configured = configured
        self._metadata = metadata
        self._cached = CachedCredential(self._look_up, clock)

    def get(self) -> CredentialSource:
        """Return the key. An error lists every source and what is missing there."""
        return self._cached.get()

    def renew(self, stale: AccessKey) -> AccessKey | None:
        """Return a key other than the rejected key `stale`, or None."""
        current = self._cached.get()
        if current.key == stale:
            current = self._cached.renew(current)
        return current.key if current.key != stale else None

    def _look_up(self) -> ExpiringValue[CredentialSource]:
        if self._configured:
            return ExpiringValue(CredentialSource("relay.toml", self._configured))
        sources = discover_credentials()
        for source in sources:
            if not source.problem:
                hide(source.key.secret, source.key.security_token)
                return ExpiringValue(source)
        try:
            key, lifetime = self._metadata.key()
        except RelayError as error:
            raise _no_credentials(sources, error) from error
        hide(key.secret, key.security_token)
        return ExpiringValue(CredentialSource(self._metadata.name, key), lifetime)


def _from_environment(prefix: str) -> CredentialSource:
    def value(name: str) -> str:
        return os.environ.get(f"{prefix}_{name}", "").strip()

    absent = [f"{prefix}_{name}" for name in ("AK", "SK") if not value(name)]
    return CredentialSource(
        f"the environment ({prefix}_AK)",
        AccessKey(value("AK"), value("SK"), value("SECURITY_TOKEN")),
        value("PROJECT_ID"),
        f"{' and '.join(absent)} {'are' if absent[1:] else 'is'} not set" if absent else "",
    )


def _from_file() -> CredentialSource:
    path = _credentials_path()
    source = CredentialSource(f"the credentials file {path}")
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_FILE + 1)
        # Without interpolation, because a secret may contain %.
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string(text)
    except FileNotFoundError:
        return replace(source, problem=f"{path} does not exist")
    except OSError as error:
        return replace(source, problem=f"{path} cannot be read: {error.strerror}")
    except (configparser.Error, UnicodeDecodeError):
        # The text of the error is omitted because it quotes lines of the file.
        return replace(source, problem=f"{path} is not an INI file")
    if len(text) > MAX_FILE or not parser.has_section("basic"):
        return replace(source, problem=f"{path} has no section [basic]")
    basic = {name: value.strip() for name, value in parser.items("basic")}
    absent = [name for name in ("ak", "sk") if not basic.get(name)]
    return replace(
        source,
        key=AccessKey(basic.get("ak", ""), basic.get("sk", ""), basic.get("security_token", "")),
        project_id=basic.get("project_id", ""),
        problem=f"{path} has no {' and no '.join(absent)} in [basic]" if absent else "",
    )


def _credentials_path() -> Path:
    configured = os.environ.get(CREDENTIALS_FILE, "")
    if configured:
        return Path(configured)
    try:
        return Path.home() / ".huaweicloud" / "credentials"
    except RuntimeError:  # the user has no home directory
        return Path("~/.huaweicloud/credentials")


def _no_credentials(sources: tuple[CredentialSource, ...], last: RelayError) -> RelayError:
    problems = "; ".join(source.problem for source in sources)
    code = "functiongraph.no_credentials"
    message = Localized(
        f"No access key found: relay.toml has none; {problems}; {last.message.en}",
        f"没有可用的 AK/SK：relay.toml 未设置；{problems}；{last.message.zh}",
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
