"""Set-up of a storage: the context a handler receives, and the returned steps and changes.

A handler's `setup` lists what an operator does at the storage; `changes` lists what Relay can do
there. Steps never contain a secret, only the environment variable that holds it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Literal

from pydantic import SecretStr

from relay.config.globs import compile_glob
from relay.config.load import Route, SourceSettings
from relay.model import Localized

Kind = Literal["command", "json", "terraform", "toml", "python", "words"]

PLACEHOLDER_URL = "https://YOUR-RELAY.example"
"""Shown while `public_url` is not set."""

PLACEHOLDER_BUCKET = "YOUR-BUCKET"
"""Shown for a source without `buckets`."""

_WILDCARD = re.compile(r"[*?\[\]]")
_PLAIN = re.compile(r"[A-Za-z0-9/_.-]*")
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Step:
    """A step for the operator. `text` is typed, or saved as `file` if that is set."""

    title: Localized
    kind: Kind
    text: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class SetupChange:
    """A change that Relay can make at the storage. `is_applied` reads the current state."""

    description: Localized
    is_applied: Callable[[], bool]
    apply: Callable[[], None]


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """A prefix and a suffix of object keys. Matches at least the keys that the routes match."""

    prefix: str = ""
    suffix: str = ""

    def pairs(self) -> dict[str, str]:
        """The parts that are not empty, by name: "prefix", "suffix"."""
        return {name: value for name in ("prefix", "suffix") if (value := getattr(self, name))}


@dataclass(frozen=True, slots=True)
class SetupContext:
    """The hook of a source and the objects that the routes select.

    `variables`: setting -> the environment variable that holds it. `arn`: the destination of
    `--arn`, which already exists at the store.
    """

    source: str
    settings: SourceSettings
    routes: tuple[Route, ...] = ()
    public_url: str | None = None
    arn: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/hooks/{self.source}"

    @property
    def url(self) -> str:
        """The hook's address, with a placeholder host while `public_url` is not set."""
        return f"{(self.public_url or PLACEHOLDER_URL).rstrip('/')}{self.path}"

    @property
    def buckets(self) -> tuple[str, ...]:
        return self.settings.buckets or (PLACEHOLDER_BUCKET,)

    @property
    def name(self) -> str:
        """The name of our rules at the storage: letters, digits and hyphens."""
        plain = re.sub(r"[^A-Za-z0-9]+", "-", f"relay-{self.source}").strip("-")
        return plain[:_LONGEST_NAME]

    def variable(self, setting: str) -> str:
        """The environment variable of a secret, such as HOOK_TOKEN."""
        return self.variables.get(setting) or f"HOOK_{setting.upper()}"

    def reference(self, setting: str) -> str:
        """The reference to a secret in commands and files, such as $HOOK_TOKEN."""
        return f"${self.variable(setting)}"

    def secret(self, setting: str) -> str:
        """The secret itself, for a change that sends it to the storage; "" if it is not set."""
        value = getattr(self.settings, setting, None)
        return value.get_secret_value() if isinstance(value, SecretStr) else ""

    def has(self, setting: str) -> bool:
        """Whether the setting has a value."""
        return bool(getattr(self.settings, setting, None))

    def text(self, setting: str, default: str = "") -> str:
        """A plain setting; `default` if it is not set or this kind does not have it."""
        return str(getattr(self.settings, setting, None) or default)

    def accepts(self, envelope: str) -> bool:
        return envelope in self.settings.accept

    def key_filter(self, bucket: str) -> KeyFilter:
        """The common prefix and suffix of the keys that the routes select in this bucket."""
        keys = [route.key for route in self.routes if self._selects(route, bucket)]
        prefix = _shared_prefix([_WILDCARD.split(key)[0] for key in keys])
        suffix = _shared_prefix([_WILDCARD.split(key)[-1][::-1] for key in keys])
        return KeyFilter(_plain_part(prefix), _plain_part(suffix)[::-1])

    def _selects(self, route: Route, bucket: str) -> bool:
        if route.source != self.source:
            return False
        return bucket == PLACEHOLDER_BUCKET or bool(compile_glob(route.bucket).fullmatch(bucket))


def _shared_prefix(texts: list[str]) -> str:
    same = takewhile(lambda chars: len(set(chars)) == 1, zip(*texts, strict=False))
    return "".join(chars[0] for chars in same)


def _plain_part(text: str) -> str:
    """The beginning that all storages match in the same way; a shorter filter matches more."""
    plain = _PLAIN.match(text)
    return plain[0] if plain else ""


def command(title: Localized, *lines: str) -> Step:
    """A step with commands for a POSIX shell, each on a line."""
    return Step(title, "command", "\n".join(lines))


def json_document(title: Localized, value: Any, file: str = "") -> Step:
    """A step with a JSON document."""
    return Step(title, "json", json.dumps(value, indent=2, ensure_ascii=False), file)


def terraform(title: Localized, text: str) -> Step:
    """A step with a Terraform snippet."""
    return Step(title, "terraform", text.strip("\n"))


def note(title: Localized) -> Step:
    """A step without text: advice, or work in a web console."""
    return Step(title, "words")


def relay_toml(title: Localized, context: SetupContext, *lines: str) -> Step:
    """A step with settings for the source's table in relay.toml."""
    return Step(title, "toml", "\n".join((f"[sources.{context.source}]", *lines, "")))


def filter_options(context: SetupContext, bucket: str) -> list[str]:
    """The options --prefix and --suffix, which several command lines share."""
    pairs = context.key_filter(bucket).pairs()
    return [f"--{name} {quote(value)}" for name, value in pairs.items()]


def url_with_token(context: SetupContext) -> str:
    """The hook's address for a shell, with the token as a query parameter."""
    return f'{quote(f"{context.url}?token=")}"{context.reference("token")}"'


def url_with_login(context: SetupContext) -> str:
    """The hook's address for a shell, with the token as the password."""
    scheme, _, rest = context.url.partition("://")
    return f'{scheme}://relay:"{context.reference("token")}"{quote(f"@{rest}")}'


def command_line(*parts: str) -> str:
    """A command over several lines, with an option per line. The parts must be quoted already."""
    lines: list[str] = []
    for part in parts:
        if lines and not part.startswith("-"):
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return " \\\n  ".join(lines)


def quote(value: str) -> str:
    """Quote a value for a shell."""
    return shlex.quote(value)


def signed_example(context: SetupContext) -> Iterator[Step]:
    """A script that announces an object: our own record, signed with the source's secret."""
    record = json.dumps({"bucket": context.buckets[0], "key": "prod/hello.zip"})
    yield command(
        Localized(
            'Any script can announce an object, signed with the secret (requires "signed" in '
            "accept). The id identifies the upload: keep it when you send the record again",
            '任何脚本都可以通知一个对象，用 secret 签名（accept 需包含 "signed"）。'
            "id 标识该次上传：重发时请保持不变",
        ),
        f"body={quote(record)}",
        'id="upload-$(date +%s)-$$" now=$(date +%s)',
        'signature=$(printf \'%s.%s.%s\' "$id" "$now" "$body" |',
        f'  openssl dgst -sha256 -hmac "{context.reference("secret")}" -binary | base64)',
        command_line(
            "curl --fail-with-body",
            "--header 'Content-Type: application/json'",
            '--header "webhook-id: $id"',
            '--header "webhook-timestamp: $now"',
            '--header "webhook-signature: v1,$signature"',
            '--data "$body"',
            f"--url {quote(context.url)}",
        ),
    )


def generic_steps(context: SetupContext) -> Iterator[Step]:
    """The steps for a storage without specific instructions."""
    token = context.reference("token")
    yield note(
        Localized(
            f"Configure the storage to POST notifications to {context.url}",
            f"让存储把通知 POST 到 {context.url}",
        )
    )
    yield note(
        Localized(
            f"Authenticate with the token {token}: as `Authorization: Bearer`, as the user or "
            "password of `Basic`, or as `?token=` in the address",
            f"使用 token {token} 认证：`Authorization: Bearer`、`Basic` 的用户名或密码，"
            "或地址中的 `?token=`",
        )
    )
    yield from signed_example(context)
