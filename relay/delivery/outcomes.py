"""Classifies errors: whether the destination responded, and what an error means for a delivery."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from relay.archive.inspect import ArchiveReport
from relay.errors import (
    NameTaken,
    NotNeeded,
    PermanentFailure,
    PluginMissing,
    QuestionRefused,
    RelayError,
    TemporaryFailure,
    Throttled,
)
from relay.ledger import LedgerUnavailable
from relay.model import Failed, Json, Retry, Skipped
from relay.targets.contract import (
    NO_OPTIONS,
    Archive,
    ChangeGuard,
    Differences,
    ExistingFunction,
    FunctionName,
    ImportResult,
    Progress,
    Target,
    UpdateOptions,
)

T = TypeVar("T")


class RespondingTarget(Target):
    """Wraps a target for a delivery and records whether it ever responded (`responded`).

    All attributes that are not defined here are those of the wrapped target.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.responded = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def check(self, function: FunctionName, report: ArchiveReport) -> None:
        self._target.check(function, report)

    def held(self, function: FunctionName) -> ExistingFunction | None:
        return self._record(lambda: self._target.held(function))

    def create(
        self, function: FunctionName, archive: Archive, changes: ChangeGuard, progress: Progress
    ) -> ImportResult:
        return self._record(lambda: self._target.create(function, archive, changes, progress))

    def replace(
        self,
        existing: ExistingFunction,
        archive: Archive,
        changes: ChangeGuard,
        progress: Progress,
        options: UpdateOptions = NO_OPTIONS,
    ) -> ImportResult:
        return self._record(
            lambda: self._target.replace(existing, archive, changes, progress, options)
        )

    def differences(
        self,
        existing: ExistingFunction,
        archive: Archive,
        options: UpdateOptions = NO_OPTIONS,
    ) -> Differences:
        return self._record(lambda: self._target.differences(existing, archive, options))

    def configuration_digest(self, existing: ExistingFunction) -> str | None:
        return self._record(lambda: self._target.configuration_digest(existing))

    def ready(self) -> str | None:
        return self._target.ready()

    def close(self) -> None:
        self._target.close()

    def _record(self, call: Callable[[], T]) -> T:
        try:
            result = call()
        except RelayError as error:
            self.responded |= is_response(error)
            raise
        self.responded = True
        return result


def is_response(error: RelayError) -> bool:
    """Whether the destination itself sent the error: a refusal, or a request to slow down.

    An error without a response, for example from the SSRF guard, never reached the destination.
    """
    if isinstance(error, PermanentFailure):
        return isinstance(error, NameTaken) or error.answer is not None
    return isinstance(error, Throttled)


def outcome_of(error: RelayError, details: Json) -> Skipped | Failed | Retry:
    """The outcome that an error means for a delivery; `details` become part of the result.

    An unavailable database or a missing plug-in does not count as an attempt: the destination was
    not involved.
    """
    if error.effect:
        details = {**details, "effect": list(error.effect)}
    match error:
        case NotNeeded():
            return Skipped(error.reason, {**details, "words": error.message._asdict()})
        case TemporaryFailure():
            return Retry(
                error.problem,
                error.retry_after,
                isinstance(error, Throttled),
                error.answer,
                details,
                counts_as_attempt=not isinstance(error, PluginMissing | LedgerUnavailable),
                not_configured=error.path if isinstance(error, PluginMissing) else None,
            )
        case _:
            return Failed(error.problem, error.answer, details)


def outcome_of_call(
    error: RelayError, details: Json, *, responded: bool
) -> Skipped | Failed | Retry:
    """The outcome of an error that was raised during a call to the destination.

    A temporary failure of neither the storage nor the database is the destination's own.
    """
    unwell = (
        isinstance(error, TemporaryFailure)
        and not isinstance(error, Throttled | LedgerUnavailable | QuestionRefused)
        and not error.at_source
    )
    return replace(outcome_of(error, details), responded=responded, destination_failing=unwell)
