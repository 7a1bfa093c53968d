"""The exception tree. Code that decides catches branches, never leaves.

RelayError                   code, message and hint, in English and Chinese
├── ConfigError              the operator's fault: a wrong setting; `path` says which
│   └── ConfigErrors         all of them, in `errors`
├── Rejected                 the sender's fault
│   ├── Unverified           the sender is not authenticated: 401, not stored
│   ├── TooLarge             over the size limit: 413, not stored
│   └── Unreadable           verified but not understood: stored, reported, 200
├── TemporaryFailure         waiting would help; `retry_after` if the server asked for it
│   ├── PluginMissing        this process lacks the plug-in: not counted as an attempt
│   ├── Throttled            the whole destination should wait
│   └── OutcomeUnknown       the request may have been carried out: ask before deciding
├── PermanentFailure         waiting would not help
│   └── NameTaken            the function exists: the conflict policy decides
└── NotNeeded                not a failure: `reason` is superseded, gone or unchanged
    ├── Superseded           the object changed after the event
    └── Gone                 the object no longer exists

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

    A plain string serves both languages; texts that a chat may show are `Localized`.
    `answer`: an excerpt of the response, without secrets. `effect`: what was changed at the target
    before the error, such as ("code",).
    """

    effect: tuple[str, ...] = ()

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
    """A wrong setting. `path`: where in relay.toml, such as `targets.prod.region`."""

    def __init__(self, path: str, message: Words, hint: Words = "") -> None:
        super().__init__("config", message, hint)
        self.path = path

    def __str__(self) -> str:
        hint = f" {self.hint.en}" if self.hint.en else ""
        return (
            f"{self.path}: {self.message.en}.{hint}" if self.path else f"{self.message.en}.{hint}"
        )


class ConfigErrors(ConfigError):
    """All errors of a configuration."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("", f"{len(errors)} settings are wrong")
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class Rejected(RelayError):
    """The sender's fault."""


class Unverified(Rejected):
    """The sender is not authenticated."""


class TooLarge(Rejected):
    """The request is over the size limit."""


class Unreadable(Rejected):
    """Verified, but not understood."""


class TemporaryFailure(RelayError):
    """Waiting would help. `retry_after`: the delay that the server asked for.

    `at_source`: reading the object failed; the destination is not to blame.
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


class QuestionRefused(TemporaryFailure):
    """The destination refused to answer what it holds: it responds, and decides nothing."""


class PluginMissing(TemporaryFailure):
    """This process lacks the plug-in: nothing was tried, and no attempt is counted.

    `path`: the table that the configuration lacks, such as `targets.prod`.
    """

    def __init__(self, path: str, code: str, message: Words, hint: Words = "") -> None:
        super().__init__(code, message, hint)
        self.path = path


class Throttled(TemporaryFailure):
    """The destination asks all clients to wait: other deliveries to it wait too."""


class OutcomeUnknown(TemporaryFailure):
    """The response was lost after the request may have been carried out."""


class PermanentFailure(RelayError):
    """Waiting would not help."""


class NameTaken(PermanentFailure):
    """The target has a function with that name."""


class NotNeeded(RelayError):
    """Not a failure: nothing needs to be delivered, for `reason`."""

    reason = "unchanged"


class Superseded(NotNeeded):
    """The object changed after the event; the newer version has an event of its own."""

    reason = "superseded"


class Gone(NotNeeded):
    """The object no longer exists."""

    reason = "gone"
