"""The error tree. Code that decides catches branches, never leaves.

RelayError                   code, message and hint, in English and Chinese
├── ConfigError              the operator's fault: a wrong setting; `path` says which
│   └── ConfigErrors         all of them, in `errors`
├── Rejected                 the sender's fault
│   ├── Unverified           nobody we know sent this: 401, nothing kept
│   ├── TooLarge             more bytes than we read: 413, nothing kept
│   └── Unreadable           verified but not understood: kept, reported, 200
├── TemporaryFailure         waiting would help; `retry_after` when the other side asked
│   ├── NotHere              this process lacks the plug-in: waits, and counts no try
│   ├── Busy                 ... and its other deliveries should wait as well
│   └── Ambiguous            it may have happened all the same: ask before deciding
├── PermanentFailure         waiting would not help
│   └── NameTaken            the target holds that name already: the conflict policy decides
└── NothingToDo              no failure: `reason` is superseded, gone or unchanged
    ├── Superseded           the object changed since it was announced
    └── Gone                 the object is not there any more

An exception outside the tree is a bug: logged with its traceback, counted, retried like a
TemporaryFailure, capped.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from relay.model import Localized, Problem

Words = Localized | str


def _text(words: Words) -> Localized:
    return words if isinstance(words, Localized) else Localized(words, words)


class RelayError(Exception):
    """The root: `code` to search for, `message` in plain words, `hint` that a person can act on.

    A plain string serves both languages; whatever a chat may show gives a `Localized`.
    `answer`: what the other side said, cut short and without secrets.
    """

    def __init__(
        self, code: str, message: Words, hint: Words = "", *, answer: str | None = None
    ) -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = _text(message)
        self.hint = _text(hint)
        self.answer = answer

    @property
    def problem(self) -> Problem:
        return Problem(self.code, self.message, self.hint)

    def __str__(self) -> str:
        hint = f" ({self.hint.en})" if self.hint.en else ""
        return f"{self.code}: {self.message.en}{hint}"


class ConfigError(RelayError):
    """A setting is wrong. `path` is its place in relay.toml, such as `targets.prod.region`."""

    def __init__(self, path: str, message: Words, hint: Words = "") -> None:
        super().__init__("config", message, hint)
        self.path = path

    def __str__(self) -> str:
        hint = f" {self.hint.en}" if self.hint.en else ""
        return (
            f"{self.path}: {self.message.en}.{hint}" if self.path else f"{self.message.en}.{hint}"
        )


class ConfigErrors(ConfigError):
    """Everything that is wrong with the configuration, told together."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("", f"{len(errors)} settings are wrong")
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class Rejected(RelayError):
    """The sender's fault."""


class Unverified(Rejected):
    """Nobody we know sent this."""


class TooLarge(Rejected):
    """More bytes than we read."""


class Unreadable(Rejected):
    """Verified, but not understood."""


class TemporaryFailure(RelayError):
    """Waiting would help. `retry_after`: what the other side asked for.

    `at_source`: set when reading the object failed: the destination is not to blame.
    """

    def __init__(
        self,
        code: str,
        message: Words,
        hint: Words = "",
        *,
        answer: str | None = None,
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(code, message, hint, answer=answer)
        self.retry_after = retry_after
        self.at_source = False


class PluginMissing(TemporaryFailure):
    """This process does not know the plug-in: no try was made, and none is counted."""


class Throttled(TemporaryFailure):
    """The other side asks everybody to wait: its other deliveries are held until then too."""


class OutcomeUnknown(TemporaryFailure):
    """The answer was lost after the request may have been acted on."""


class PermanentFailure(RelayError):
    """Waiting would not help."""


class NameTaken(PermanentFailure):
    """The target holds something under that name already."""


class NotNeeded(RelayError):
    """No failure: there is deliberately nothing to deliver, for `reason`."""

    reason = "unchanged"


class Superseded(NotNeeded):
    """The object changed since it was announced; the newer version has its own event."""

    reason = "superseded"


class Gone(NotNeeded):
    """The object is not there any more."""

    reason = "gone"
