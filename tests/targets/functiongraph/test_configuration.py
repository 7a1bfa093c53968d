"""The configuration of an export, without calls: comparison, request and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from relay.archive.export import Export
from relay.archive.strict_yaml import load
from relay.errors import PermanentFailure
from relay.model import Json
from relay.targets.contract import NO_OPTIONS
from relay.targets.functiongraph.configuration import WantedConfiguration


def wanted(properties: str) -> WantedConfiguration:
    """Return the configuration of an export with these properties in YAML."""
    return WantedConfiguration.of(Export("hello", load(properties), "hello.yaml", None), NO_OPTIONS)


def current(**settings: Any) -> Json:
    """Return the configuration of a function as the target shows it."""
    required = {"handler": "index.handler", "timeout": 3, "memory_size": 128}
    return {"func_name": "hello", "runtime": "Python3.9", **required, **settings}


def refusal(properties: str, **settings: Any) -> PermanentFailure:
    with pytest.raises(PermanentFailure) as refused:
        wanted(properties).request("hello", current(**settings))
    return refused.value


# Open sets


def test_the_handler_of_a_runtime_that_relay_does_not_know_is_left_to_the_target() -> None:
    unknown = current(runtime="Rust1.0", handler="bootstrap")
    body = wanted("Handler: bootstrap2").request("hello", unknown)
    assert body["handler"] == "bootstrap2"
    assert refusal("Handler: bootstrap2").code == "functiongraph.config_value"
