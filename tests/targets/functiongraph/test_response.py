"""The response of ImportFunction: stored whole, masked and bounded, and never a reason to fail."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.targets.functiongraph.response import (
    MAX_ITEMS,
    MAX_TEXT,
    ImportResponse,
    read_import_response,
)

SAMPLE: dict[str, Any] = {
    "func_urn": "urn:fss:cn-north-4:46b6f338:function:default:test_v1_2",
    "func_name": "test_v1_2",
    "domain_id": "14ee2e35",
    "namespace": "46b6f338",
    "project_name": "cn-north-4",
    "package": "default",
    "runtime": "Node.js6.10",
    "timeout": 3,
    "handler": "index.handler",
    "memory_size": 128,
    "cpu": 300,
    "code_type": "zip",
    "code_filename": "index.zip",
    "code_size": 6709,
    "digest": "faa825575c45437c",
    "version": "latest",
    "image_name": "latest-191025153727@zehht",
    "last_modified": "2019-10-25 15:37:27",
    "status": 0,
    "strategy_config": {"concurrency": -1},
    "func_vpc": {"vpc_id": "v", "security_groups": ["a"], "is_safety": True},
    "enterprise_project_id": "46b6f338",
}


def test_the_model_has_all_36_documented_fields() -> None:
    assert len(ImportResponse.model_fields) == 36


def test_the_sample_of_the_reference_is_stored_whole() -> None:
    assert read_import_response(SAMPLE) == (SAMPLE, [])


def test_unknown_fields_are_not_stored() -> None:
    assert read_import_response({**SAMPLE, "new": 1})[0] == SAMPLE


def test_values_that_may_be_secret_are_masked() -> None:
    secret = {
        "user_data": json.dumps({"PASSWORD": "hunter2", "用户": "x"}),
        "extend_config": "token=hunter2",
        "code_url": "https://obs.example.com/code.zip?Signature=hunter2",
    }
    stored, _ = read_import_response({**SAMPLE, **secret})
    assert "hunter2" not in json.dumps(stored)
    assert json.loads(stored["user_data"]) == {"PASSWORD": "***", "用户": "***"}
    assert stored["code_url"] == "https://obs.example.com/code.zip"


@pytest.mark.parametrize("user_data", ["[1]", "{", "[" * 100_000, "1"])
def test_variables_that_cannot_be_read_are_masked_as_a_whole(user_data: str) -> None:
    assert read_import_response({"user_data": user_data})[0]["user_data"] == "***"


@pytest.mark.parametrize(
    ("field", "value"),
    [("timeout", "soon"), ("func_vpc", [1]), ("depend_list", "a"), ("func_name", {"a": 1})],
)
def test_a_field_of_another_type_is_left_out_and_named(field: str, value: object) -> None:
    stored, (warning,) = read_import_response({**SAMPLE, field: value})
    assert field not in stored
    assert (warning["code"], warning["where"]) == ("functiongraph.response_field", field)


def test_a_disabled_function_is_a_warning() -> None:
    stored, (warning,) = read_import_response({**SAMPLE, "status": 1})
    assert stored["status"] == 1
    assert warning["code"] == "functiongraph.disabled"


def test_texts_and_lists_are_bounded() -> None:
    stored, _ = read_import_response({"description": "d" * 10**6, "depend_list": ["a"] * 10**5})
    assert len(stored["description"]) <= MAX_TEXT
    assert len(stored["depend_list"]) == MAX_ITEMS
