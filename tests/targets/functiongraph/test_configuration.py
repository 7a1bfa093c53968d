"""The configuration of an export, without calls: comparison, request and refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.archive.export import Export
from relay.archive.strict_yaml import load
from relay.errors import PermanentFailure
from relay.model import Difference, Json
from relay.targets.contract import NO_OPTIONS, UpdateOptions
from relay.targets.functiongraph.configuration import (
    WantedConfiguration,
    kept_fields,
    unknown_fields,
)


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


@pytest.mark.parametrize("value", [False, True, 0, 10, [], ["a"], {}, "on"])
def test_an_unknown_field_is_named_whatever_its_value(value: Any) -> None:
    assert unknown_fields(current(future=value)) == ("future",)


def test_an_unknown_field_without_a_value_is_not_named() -> None:
    assert unknown_fields(current(future=None, other="")) == ()


def test_a_setting_that_is_false_is_kept() -> None:
    kept = kept_fields(current(enable_dynamic_memory=False, gpu_memory=0, description=""))
    assert kept["enable_dynamic_memory"] is False
    assert not {"gpu_memory", "description"} & kept.keys()


# Values that the target does not show


SECRET = "EncryptedUserData: {P: new}"


@pytest.mark.parametrize("mask", ["***", "******", '{"P":"***"}', " *** "])
def test_a_masked_value_is_no_difference(mask: str) -> None:
    configuration, function = wanted(SECRET), current(encrypted_user_data=mask)
    assert configuration.differences(function) == ()
    assert configuration.not_compared(function) == ("EncryptedUserData",)


def test_a_value_that_cannot_be_compared_is_sent_with_a_difference() -> None:
    configuration = wanted(f"Timeout: 30\n{SECRET}")
    function = current(encrypted_user_data="***")
    assert [found.field for found in configuration.differences(function)] == ["Timeout"]
    body = configuration.request("hello", function)
    assert (body["timeout"], body["encrypted_user_data"]) == (30, '{"P": "new"}')


@pytest.mark.parametrize("settings", [{}, {"encrypted_user_data": ""}])
def test_a_secret_that_the_function_does_not_have_is_a_difference(settings: Json) -> None:
    configuration, function = wanted(SECRET), current(**settings)
    assert configuration.differences(function) == (Difference("EncryptedUserData", None, "***"),)
    assert configuration.not_compared(function) == ()


def test_a_secret_that_is_shown_is_compared_by_its_parts() -> None:
    configuration = wanted("EncryptedUserData: {P: a, Q: b}")
    same = current(encrypted_user_data='{"Q":"b","P":"a"}')
    assert (configuration.differences(same), configuration.not_compared(same)) == ((), ())
    other = current(encrypted_user_data='{"P":"x"}')
    assert configuration.differences(other) == (Difference("EncryptedUserData", "***", "***"),)


def test_masked_parts_of_other_fields_cannot_be_compared() -> None:
    configuration = wanted(
        "FuncVpc: {vpc_id: v, subnet_id: s}\nExtendConfig: '{}'\n"
        "Environment: {Variables: {A: a, B: b}}"
    )
    function = current(
        func_vpc={"vpc_id": "v***", "subnet_id": "s"},
        extend_config='{"P": "***"}',
        user_data='{"A": "***", "B": "b"}',
    )
    assert configuration.differences(function) == ()
    hidden = ("FuncVpc.vpc_id", "ExtendConfig", "Environment.A")
    assert configuration.not_compared(function) == hidden


@pytest.mark.parametrize("shown", ["***", '{"A": "***", "C": "c"}'])
def test_a_masked_environment(shown: str) -> None:
    configuration = wanted("Environment: {Variables: {A: a}}")
    found = configuration.differences(current(user_data=shown))
    assert [difference.field for difference in found] == (
        [] if shown == "***" else ["Environment.C"]
    )


LOG_IDS = {"log_group_id": "g", "log_stream_id": "s"}
LOG_NAMES = "group_name: gn, stream_name: sn"


@pytest.mark.parametrize(
    ("log", "different", "hidden"),
    [
        (f"{{{LOG_NAMES}, group_id: g, stream_id: s}}", [], ()),
        (f"{{{LOG_NAMES}, group_id: g, stream_id: t}}", ["LogConfig.stream_id"], ()),
        (f"{{{LOG_NAMES}}}", [], ("LogConfig.group_name", "LogConfig.stream_name")),
    ],
)
def test_names_of_the_log_cannot_be_read_back(
    log: str, different: list[str], hidden: tuple[str, ...]
) -> None:
    configuration, function = wanted(f"LogConfig: {log}"), current(**LOG_IDS)
    assert [found.field for found in configuration.differences(function)] == different
    assert configuration.not_compared(function) == hidden


def test_names_of_a_log_that_the_function_does_not_have_are_differences() -> None:
    found = wanted(f"LogConfig: {{{LOG_NAMES}}}").differences(current())
    assert [difference.field for difference in found] == [
        "LogConfig.group_name",
        "LogConfig.stream_name",
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"encrypted_user_data": "ab***yz"},
        {"extend_config": '{"P":"***"}'},
        {"extend_config": "*** "},
        {"extend_config": "xx***yy"},
        {"mount_config": {"func_mounts": [{"mount_resource": "a****"}]}},
        {"user_data": '{"A": " *** "}'},
        {"user_data": "****"},
        {"description": "***"},
    ],
)
def test_a_value_with_a_mask_is_never_written_back(settings: Json) -> None:
    assert refusal("Timeout: 30", **settings).code == "functiongraph.config_masked"


@pytest.mark.parametrize(
    "settings",
    [
        {"user_data": '{"A": "x***y", "B": "**"}'},
        {"user_data": "no JSON with ***"},
        {"description": "rated ***"},
        {"extend_config": "**"},
        {"lts_custom_tag": {"team": "a***b"}},
        {"custom_image": {"args": "***/x"}},
    ],
)
def test_asterisks_in_a_plain_value_are_no_mask(settings: Json) -> None:
    body = wanted("Timeout: 30").request("hello", current(**settings))
    assert body | settings == body


# Environments


@pytest.mark.parametrize(
    "text",
    [
        *("garbage", "'[1,2]'", "'5'", "'\"x\"'", "'null'", "[a]", f"'{'[' * 9000}'"),
        *("'{\"A\": null}'", "'{\"A\": [1]}'", '\'{"A": {"B": "c"}}\'', '\'{"A": "b"\''),
        *('\'{"A": "1", "A": "2"}\'', '\'{"A": "\\ud800"}\'', '\'{"\\u0000": "a"}\''),
    ],
    ids=lambda text: text[:24],
)
@pytest.mark.parametrize(
    ("yaml", "name"),
    [
        ("UserData: {}", "UserData"),
        ("EncryptedUserData: {}", "EncryptedUserData"),
        ("Environment: {{Variables: {}}}", "Environment.Variables"),
    ],
)
def test_an_environment_that_is_no_mapping_of_texts_is_refused(
    text: str, yaml: str, name: str
) -> None:
    with pytest.raises(PermanentFailure) as refused:
        wanted(yaml.format(text))
    assert refused.value.code == "functiongraph.config_value"
    assert f"The value of {name} in the export" in refused.value.message.en
    assert "JSON object" in refused.value.message.en
    assert f"导出包中 {name} 的值不符合要求" in refused.value.message.zh


@pytest.mark.parametrize("value", ["foo", "[a]"])
def test_an_environment_without_parts_is_refused(value: str) -> None:
    with pytest.raises(PermanentFailure) as refused:
        wanted(f"Environment: {value}")
    assert "Environment in the export" in refused.value.message.en


def test_numbers_and_booleans_of_a_json_text_are_text_as_written() -> None:
    huge = "9" * 5000
    text = f'{{"A": 1.10, "B": -0, "C": true, "D": 1e400, "E": NaN, "F": {huge}, "G": "007"}}'
    configuration = wanted(f"UserData: '{text}'")
    read = json.loads(configuration.fields["user_data"])
    assert list(read) == list("ABCDEFG")
    assert list(read.values()) == ["1.10", "-0", "true", "1e400", "NaN", huge, "007"]


@pytest.mark.parametrize(
    "yaml",
    ["Environment: {Variables: '{}'}", "UserData: '{ }'", "UserData: {}"],
)
def test_an_empty_environment_counts_as_absent(yaml: str) -> None:
    properties = Export("hello", load(yaml), "hello.yaml", None)
    assert WantedConfiguration.of(properties, NO_OPTIONS).fields == {}
    emptied = WantedConfiguration.of(properties, UpdateOptions(replace_environment=True))
    assert emptied.fields == {"user_data": "{}"}


def test_a_mask_as_environment_of_the_export_is_no_value() -> None:
    function = current(encrypted_user_data="***")
    assert wanted("EncryptedUserData: '***'").differences(function) == ()
    assert refusal("EncryptedUserData: '***'").code == "functiongraph.config_masked"
