"""Why the delivery that `relay import` works at waits: in words, from what the ledger says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from relay.cli.output import when
from relay.model import Delivery, Json, State


@dataclass(frozen=True, slots=True)
class Wait:
    """`about`: what to tell once, until it changes. `idle`: to wait here would not end it."""

    about: tuple[str, datetime | None]
    words: str
    idle: bool = False


def why(delivery: Delivery, target: Json | None, now: datetime) -> Wait:
    """Why an unfinished delivery could not be claimed. `target`: see operations.target_states."""
    if delivery.state == State.RUNNING:
        return Wait(("running", None), f"Delivery {delivery.id}: another process is importing it.")
    if target and target["state"] in ("paused", "down"):
        return _stored(delivery, target, now)
    if delivery.due and delivery.due > now:
        return Wait(("due", delivery.due), f"{_failed(delivery)} Next: {when(delivery.due, now)}.")
    if target and target["state"] == "waiting":
        until = target["until"]
        words = f"{target['name']} asked to wait until {when(until, now)}."
        return Wait(("waiting", until), words)
    words = f"Delivery {delivery.id} waits for its turn at {delivery.destination}."
    return Wait(("turn", None), words)


def _stored(delivery: Delivery, target: Json, now: datetime) -> Wait:
    name, state, since = target["name"], target["state"], target["since"]
    ends = {"paused": "it is resumed", "down": "it answers again, or is resumed"}[state]
    words = (
        f"{name} is {state}, since {when(since, now)}. Delivery {delivery.id} is stored; a running"
        f" relay imports it when {ends}: `relay resume {name}`. `relay show {delivery.id}` says"
        " what became of it."
    )
    return Wait((state, since), words, idle=True)


def _failed(delivery: Delivery) -> str:
    if delivery.error is None:
        return f"Delivery {delivery.id} is not due yet."
    error = delivery.error
    return f"Attempt {delivery.attempts} failed: {error.message.en} ({error.code})."
