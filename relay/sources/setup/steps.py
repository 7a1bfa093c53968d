"""Setting up a storage so that its notifications reach a source: what is known here, as steps.

A handler's `setup` says what to type at its storage; its `changes` can do it. No secret is in
either: its place is taken by the variable it comes from.
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

SOMEWHERE = "https://YOUR-RELAY.example"
"""Stands for `public_url` while that is not set."""

SOME_BUCKET = "YOUR-BUCKET"
"""Stands for the bucket of a source that names none."""

_WILD = re.compile(r"[*?\[\]]")
_PLAIN = re.compile(r"[A-Za-z0-9/_.-]*")
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `text` is what to type, or to put into `file` where there is one."""

    title: Localized
    kind: Kind
    text: str = ""
    file: str = ""


@dataclass(frozen=True, slots=True)
class SetupChange:
    """One thing that can be done from here. `is_so` looks whether it is done already."""

    what: Localized
    is_so: Callable[[], bool]
    make: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Filter:
    """What every key that a route takes begins and ends with. Never narrower than the routes."""

    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class SetupContext:
    """Where a source's notifications come in, and for which objects they are wanted.

    `variables`: setting -> the environment variable that holds it. `arn`: the destination that a
    store already has for us, where the operator said which.
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
        """The hook's address, with a host to replace where `public_url` is not set."""
        return f"{(self.public_url or SOMEWHERE).rstrip('/')}{self.path}"

    @property
    def buckets(self) -> tuple[str, ...]:
        return self.settings.buckets or (SOME_BUCKET,)

    @property
    def name(self) -> str:
        """What our rules are called at the storage: letters, digits and hyphens."""
        plain = re.sub(r"[^A-Za-z0-9]+", "-", f"relay-{self.source}").strip("-")
        return plain[:_LONGEST_NAME]

    def variable(self, setting: str) -> str:
        """The variable that stands for a secret, such as HOOK_TOKEN."""
        return self.variables.get(setting) or f"HOOK_{setting.upper()}"

    def shown(self, setting: str) -> str:
        """A secret as commands and files show it: $HOOK_TOKEN."""
        return f"${self.variable(setting)}"

    def secret(self, setting: str) -> str:
        """The secret itself, for a change that tells the storage; "" when it is not set."""
        value = getattr(self.settings, setting, None)
        return value.get_secret_value() if isinstance(value, SecretStr) else ""

    def has(self, setting: str) -> bool:
        """Whether the setting has a value."""
        return bool(getattr(self.settings, setting, None))

    def text(self, setting: str, otherwise: str = "") -> str:
        """A plain setting, where this kind has it and it is set."""
        return str(getattr(self.settings, setting, None) or otherwise)

    def takes(self, envelope: str) -> bool:
        return envelope in self.settings.accept

    def wanted(self, bucket: str) -> Filter:
        """What the keys that the routes take in this bucket have in common."""
        keys = [route.key for route in self.routes if self._takes_from(route, bucket)]
        if not keys:
            return Filter()
        prefix = _shared([_head(key) for key in keys])
        suffix = _shared([_tail(key)[::-1] for key in keys])[::-1]
        # Storages differ in how they read other characters in a filter; less of it takes more.
        head = _PLAIN.match(prefix)
        tail = _PLAIN.match(suffix[::-1])
        return Filter(head[0] if head else "", tail[0][::-1] if tail else "")

    def _takes_from(self, route: Route, bucket: str) -> bool:
        if route.source != self.source:
            return False
        return bucket == SOME_BUCKET or bool(compile_glob(route.bucket).fullmatch(bucket))


def command(title: Localized, *lines: str) -> Step:
    """Commands for a POSIX shell, one a line."""
    return Step(title, "command", "\n".join(lines))


def as_json(title: Localized, value: Any, file: str = "") -> Step:
    """A JSON document."""
    return Step(title, "json", json.dumps(value, indent=2, ensure_ascii=False), file)


def terraform(title: Localized, text: str) -> Step:
    """A Terraform snippet."""
    return Step(title, "terraform", text.strip("\n"))


def filter_options(door: SetupContext, bucket: str) -> list[str]:
    """--prefix and --suffix, as several command lines call them."""
    wanted = door.wanted(bucket)
    pairs = {"--prefix": wanted.prefix, "--suffix": wanted.suffix}
    return [f"{option} {quoted(value)}" for option, value in pairs.items() if value]


def with_token(door: SetupContext) -> str:
    """For a shell: the hook's address with the token in it."""
    return f'{quoted(f"{door.url}?token=")}"{door.shown("token")}"'


def with_login(door: SetupContext) -> str:
    """For a shell: the hook's address with the token as password."""
    scheme, _, rest = door.url.partition("://")
    return f'{scheme}://relay:"{door.shown("token")}"{quoted(f"@{rest}")}'


def words(title: Localized) -> Step:
    """Something to know, or to do where nothing can be typed."""
    return Step(title, "words")


def call(*parts: str) -> str:
    """A command over several lines. Options keep their value on their line; parts are quoted
    already where they must be."""
    lines: list[str] = []
    for part in parts:
        if lines and not part.startswith("-"):
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return " \\\n  ".join(lines)


def quoted(value: str) -> str:
    """A value for a shell."""
    return shlex.quote(value)


def example(door: SetupContext) -> Iterator[Step]:
    """How any script announces an object: our own record, signed with the source's secret."""
    told = json.dumps({"bucket": door.buckets[0], "key": "prod/hello.zip"})
    yield command(
        Localized(
            'Any script can announce an object too, signed with the secret ("signed" in accept). '
            "The id names the upload: the same one when it is sent again",
            '任何脚本都可以通知一个对象，用 secret 签名（accept 含 "signed"）。'
            "id 代表该次上传：重发时应相同",
        ),
        f"body={quoted(told)}",
        'id="upload-$(date +%s)-$$" now=$(date +%s)',
        'signature=$(printf \'%s.%s.%s\' "$id" "$now" "$body" |',
        f'  openssl dgst -sha256 -hmac "{door.shown("secret")}" -binary | base64)',
        call(
            "curl --fail-with-body",
            "--header 'Content-Type: application/json'",
            '--header "webhook-id: $id"',
            '--header "webhook-timestamp: $now"',
            '--header "webhook-signature: v1,$signature"',
            '--data "$body"',
            f"--url {quoted(door.url)}",
        ),
    )


def generic(door: SetupContext) -> Iterator[Step]:
    """For a storage that nobody wrote a recipe for: the address, and what it should show."""
    yield words(
        Localized(
            f"Have the storage POST its notifications to {door.url}",
            f"让存储把通知 POST 到 {door.url}",
        )
    )
    yield words(
        Localized(
            f"It shows the token {door.shown('token')}: as `Authorization: Bearer`, as user or "
            "password of `Basic`, or as `?token=` in the address",
            f"以 `Authorization: Bearer`、`Basic` 或地址中的 `?token=` 出示 {door.shown('token')}",
        )
    )
    yield from example(door)


def local(door: SetupContext) -> Iterator[Step]:
    folder = door.text("folder")
    yield words(
        Localized(
            f"Nothing needs to be set up: Relay watches {folder} and looks again every scan_every. "
            "Write under a hidden name, or one that ends in .part or .tmp, and rename",
            f"无需设置：Relay 监视 {folder} 并定期扫描。"
            "请先以隐藏名称或 .part、.tmp 结尾写入，再改名",
        )
    )


def _head(glob: str) -> str:
    """What stands before the first wildcard."""
    return _WILD.split(glob, maxsplit=1)[0]


def _tail(glob: str) -> str:
    """What stands behind the last one."""
    return _WILD.split(glob)[-1]


def _shared(texts: list[str]) -> str:
    """What all of them begin with."""
    alike = takewhile(lambda chars: len(set(chars)) == 1, zip(*texts, strict=False))
    return "".join(chars[0] for chars in alike)
