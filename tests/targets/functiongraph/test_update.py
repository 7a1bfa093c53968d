"""Updates of an existing function against the sandbox, which replaces the configuration."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from relay.archive.checked_archive import CheckedArchive
from relay.errors import NameTaken, OutcomeUnknown, PermanentFailure, TemporaryFailure
from relay.model import Json
from relay.targets.contract import ExistingFunction, FunctionName, ImportResult, UpdateOptions
from relay.targets.functiongraph.config_fields import SETTABLE, property_name
from relay.targets.functiongraph.target import Target
from relay.testing.change_recorder import ChangeRecorder
from relay.testing.sandbox.exports import make_export
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.state import RecordedCall
from relay.testing.target_suite import archive_of, export, ignore
from tests.targets.functiongraph.conftest import PROJECT, Clock, MakeTarget, by_key

HELLO = FunctionName("hello", "default")
OTHER = {"index.py": b"other"}
SETTINGS: Json = {
    **dict.fromkeys(("xrole", "app_xrole"), "role"),
    "description": "old",
    "user_data": '{"A": "1", "B": "2"}',
    "func_vpc": {"vpc_id": "v", "vpc_name": "net", "subnet_id": "s", "security_groups": ["g"]},
    "peering_cidr": "10.0.0.0/8",
    "mount_config": {
        "mount_user": {"user_id": 1, "user_group_id": 2},
        "func_mounts": [{"mount_type": "sfs", "local_mount_path": "/mnt"}],
    },
    "strategy_config": {"concurrency": 7, "concurrent_num": 3},
    "custom_image": {"enabled": False, "image": ""},
    "extend_config": "{}",
    "gpu_memory": 1024,
    "gpu_type": "t4",
    "initializer_handler": "index.start",
    "initializer_timeout": 30,
    "pre_stop_handler": "index.stop",
    "pre_stop_timeout": 10,
    "ephemeral_storage": 10240,
    "enterprise_project_id": "p",
    "log_config": {"group_id": "lg", "stream_id": "ls"},
    "network_controller": {"disable_public_network": True, "trigger_access_vpcs": []},
    "is_stateful_function": True,
    "enable_dynamic_memory": True,
    "enable_auth_in_header": True,
    "domain_names": "[]",
    "restore_hook_handler": "index.restore",
    "restore_hook_timeout": 5,
    "heartbeat_handler": "index.beat",
    "enable_class_isolation": True,
    "enable_lts_log": True,
    "lts_custom_tag": {"team": "a"},
    "user_data_encrypt_kms_key_id": "key",
}
"""A value for each field of UpdateFunctionConfig except the required ones and the secret one."""


@pytest.fixture
def target(sandbox: SandboxServer, make_target: MakeTarget) -> Target:
    return make_target(sandbox.url, **by_key(sandbox))


def operations(sandbox: SandboxServer) -> list[str]:
    return [call.operation for call in sandbox.calls]


def changes(sandbox: SandboxServer) -> list[str]:
    return [name for name in operations(sandbox) if name.startswith("update")]


def archive_with(code: dict[str, bytes] | None = None, **properties: Any) -> CheckedArchive:
    return archive_of(make_export(code=code, **properties))


def archive_of_yaml(properties: str, *others: str) -> CheckedArchive:
    """Return an export whose YAML has these lines in Properties, then other lines as they are."""
    lines = ["CodeFileName: index.zip", "CodeType: zip", *properties.strip().splitlines()]
    head = ("HcCrmTemplateVersion: v1", "Resources:", "  hello:")
    resource = ("    Type: HC::Serverless::Function", "    Properties:")
    text = "\n".join((*head, *resource, *(f"      {line}" for line in lines), *others))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("index.zip", b"other")
        made.writestr("hello.yaml", text)
    return archive_of(file.getvalue())


def held(target: Target) -> ExistingFunction:
    found = target.held(HELLO)
    assert found is not None
    return found


def update(target: Target, archive: CheckedArchive, **options: bool) -> ImportResult:
    return target.replace(held(target), archive, ChangeRecorder(), ignore, UpdateOptions(**options))


def config(sandbox: SandboxServer) -> Json:
    return sandbox.functions["hello"].config


def differences(target: Target, archive: CheckedArchive, **options: bool) -> list[str]:
    found = target.differences(held(target), archive, UpdateOptions(**options))
    return [difference.words.en for difference in found.fields]


# Requests


def test_an_equal_function_is_not_changed(target: Target, sandbox: SandboxServer) -> None:
    archive = export()
    target.create(HELLO, archive, ChangeRecorder(), ignore)
    assert differences(target, archive) == []
    result = update(target, archive)
    assert result.answer["effect"] == []
    assert changes(sandbox) == []


def test_other_code_leaves_the_configuration_alone(target: Target, sandbox: SandboxServer) -> None:
    target.create(HELLO, export("first"), ChangeRecorder(), ignore)
    result = update(target, export("second"))
    assert (result.answer["effect"], changes(sandbox)) == (["code"], ["update_code"])
    assert sandbox.functions["hello"].digest == export("second").code_digest()


def test_another_configuration_leaves_the_code_alone(
    target: Target, sandbox: SandboxServer
) -> None:
    target.create(HELLO, archive_with(), ChangeRecorder(), ignore)
    result = update(target, archive_with(Timeout=30))
    assert (result.answer["effect"], changes(sandbox)) == (["configuration"], ["update_config"])
    assert result.answer["differences"] == [{"field": "Timeout", "current": 3, "wanted": 30}]


def test_an_update_applies_the_configuration_of_the_export(
    target: Target, sandbox: SandboxServer
) -> None:
    target.create(HELLO, export(), ChangeRecorder(), ignore)
    newer = archive_with(
        OTHER,
        Handler="main.run",
        Timeout=30,
        MemorySize=256,
        Description="说明",
        Environment={"Variables": {"GREETING": "你好"}},
    )
    result = update(target, newer)
    assert result.answer["effect"] == ["code", "configuration"]
    after = config(sandbox)
    assert [after[name] for name in ("handler", "timeout", "memory_size", "description")] == [
        *("main.run", 30, 256, "说明")
    ]
    assert json.loads(after["user_data"]) == {"GREETING": "你好"}
    assert result.answer["digest"] == newer.code_digest()


def test_every_setting_that_the_export_does_not_have_is_kept(
    target: Target, sandbox: SandboxServer
) -> None:
    assert set(SETTINGS) | {"runtime", "timeout", "handler", "memory_size"} == set(SETTABLE) - {
        "encrypted_user_data"
    }
    sandbox.hold("hello", code=b"x", **SETTINGS)
    before = config(sandbox)
    update(target, archive_of_yaml("Timeout: 30"))
    kept = {**config(sandbox), "log_config": before["log_config"]}
    assert kept == before | {"timeout": 30}


@pytest.mark.parametrize(
    ("yaml", "name", "value"),
    [
        ("Xrole: other", "xrole", "other"),
        ("XRole: other", "xrole", "other"),
        ("app_xrole: other", "app_xrole", "other"),
        ("InitializerTimeout: '60'", "initializer_timeout", 60),
        ("IsStatefulFunction: no", "is_stateful_function", False),
        ("Description: 0123456701", "description", "0123456701"),
        ("Description: 1.10", "description", "1.10"),
        ("Description: on", "description", "on"),
        ("Description: 'null'", "description", "null"),
        ("StrategyConfig: {Concurrency: -1}", "strategy_config",
         {"concurrent_num": 3, "concurrency": -1}),
        ("FuncVpc: {vpc_id: w, subnet_id: s}", "func_vpc", {"vpc_id": "w", "subnet_id": "s"}),
        ("LtsCustomTag: {a: 1}", "lts_custom_tag", {"team": "a", "a": "1"}),
        ("UserData: '{\"A\": \"x\"}'", "user_data", '{"A": "x"}'),
        ("EncryptedUserData: {A: 007}", "encrypted_user_data", '{"A": "007"}'),
        ("MountConfig: {MountUser: {UserId: 5}}", "mount_config",
         SETTINGS["mount_config"] | {"mount_user": {"user_id": 5}}),
    ],
)  # fmt: skip
def test_a_property_sets_the_field_of_the_same_name(
    target: Target, sandbox: SandboxServer, yaml: str, name: str, value: Any
) -> None:
    sandbox.hold("hello", code=b"x", **SETTINGS)
    result = update(target, archive_of_yaml(yaml))
    assert config(sandbox)[name] == value
    assert result.answer["not_applied"] == []


def test_every_field_has_a_property(target: Target, sandbox: SandboxServer) -> None:
    assert property_name("memory_size") == "MemorySize"
    sandbox.hold("hello", code=b"x")
    properties = {
        property_name(name): str(value).lower() if isinstance(value, bool) else value
        for name, value in SETTINGS.items()
        if name != "custom_image"
    }
    update(target, archive_with(OTHER, **properties))
    after = config(sandbox)
    assert {name: after[name] for name in SETTINGS if name != "custom_image"} == {
        **{name: value for name, value in SETTINGS.items() if name != "custom_image"},
        "network_controller": {"disable_public_network": True, "trigger_access_vpcs": []},
    }


@pytest.mark.parametrize("value", ["", "~", "null", "''", '""', "{}", "[]"])
@pytest.mark.parametrize("name", ["Timeout", "Description", "Xrole", "FuncVpc", "Runtime", "New"])
def test_an_empty_property_counts_as_absent(
    target: Target, sandbox: SandboxServer, name: str, value: str
) -> None:
    sandbox.hold("hello", code=b"other", timeout=30, **SETTINGS)
    result = update(target, archive_of_yaml(f"{name}: {value}"))
    assert (result.answer["effect"], result.answer["not_applied"]) == ([], [])


def test_what_cannot_be_applied_is_named(target: Target, sandbox: SandboxServer) -> None:
    sandbox.hold("hello", code=b"x")
    yaml = """
Version: latest
DependencyPkg: dep
Triggers: [a]
TimeOut: 5
timeout: 6
FuncVpc: {vpc_id: v, Zone: z}
Environment: {Secrets: {A: b}}
"""
    archive = archive_of_yaml(yaml)
    expected = ["DependencyPkg", "Triggers", "timeout", "FuncVpc.Zone", "Environment.Secrets"]
    assert list(target.differences(held(target), archive).not_applied) == expected
    assert update(target, archive).answer["not_applied"] == expected
    assert config(sandbox)["timeout"] == 5


def test_keys_outside_the_properties_are_named(target: Target, sandbox: SandboxServer) -> None:
    sandbox.hold("hello", code=b"x")
    archive = archive_of_yaml("Timeout: 3", "    DependsOn: x", "Outputs: y")
    assert update(target, archive).answer["not_applied"] == ["Outputs", "hello.DependsOn"]


def test_many_names_are_limited(target: Target, sandbox: SandboxServer) -> None:
    sandbox.hold("hello", code=b"x")
    archive = archive_of_yaml("\n".join(f"P{n}: x" for n in range(1000)))
    named = update(target, archive).answer["not_applied"]
    assert (len(named), named[-1]) == (51, "… (+950)")


# The environment


def test_variables_are_text_as_written(target: Target, sandbox: SandboxServer) -> None:
    sandbox.hold("hello", code=b"x")
    written = {
        "A": "0123456701",
        "B": "12:30:45",
        "C": "1.10",
        "D": "on",
        "E": "=",
        "F": "0x1F",
        "G": "+8613800138000",
        "H": "null",
        "I": "",
        "J": "~",
        "on": "yes",
        "K": "9" * 300,
    }
    lines = "".join(f"\n    {name}: {text}" for name, text in written.items())
    update(target, archive_of_yaml(f"Environment:\n  Variables:{lines}"))
    assert json.loads(config(sandbox)["user_data"]) == written


def test_an_imported_export_does_not_differ_from_the_function(
    target: Target, sandbox: SandboxServer
) -> None:
    written = {"DEBUG": "yes", "VERSION": "1.10", "AT": "12:30:45", "EMPTY": "", "SIGN": "="}
    lines = "".join(f"\n    {name}: {text}" for name, text in written.items())
    archive = archive_of_yaml(
        "Handler: index.handler\nRuntime: Python3.9\nMemorySize: 128\nTimeout: 3\n"
        f"Environment:\n  Variables:{lines}"
    )
    target.create(HELLO, archive, ChangeRecorder(), ignore)
    assert json.loads(config(sandbox)["user_data"]) == written
    assert differences(target, archive) == []


@pytest.mark.parametrize(
    "yaml",
    ["Timeout: 30", "Timeout: 30\nEnvironment: {Variables: {}}", "Timeout: 30\nEnvironment: ~"],
)
def test_an_export_without_variables_keeps_the_environment(
    target: Target, sandbox: SandboxServer, yaml: str
) -> None:
    sandbox.hold("hello", code=b"other", user_data='{"A": "1"}')
    archive = archive_of_yaml(yaml)
    update(target, archive)
    assert json.loads(config(sandbox)["user_data"]) == {"A": "1"}
    assert differences(target, archive, replace_environment=True) == ["Environment.A *** → not set"]
    update(target, archive, replace_environment=True)
    assert json.loads(config(sandbox)["user_data"]) == {}


def test_the_values_of_variables_are_not_shown(target: Target, sandbox: SandboxServer) -> None:
    sandbox.hold("hello", code=b"x", user_data='{"A": "secret1", "B": "secret2", "C": "3"}')
    archive = archive_of_yaml("Environment: {Variables: {A: secret3, C: 3, D: secret4}}")
    assert differences(target, archive) == [
        "Environment.A (changed)",
        "Environment.B *** → not set",
        "Environment.D not set → ***",
    ]
    assert "secret" not in json.dumps(update(target, archive).answer)


@pytest.mark.parametrize("user_data", ["no JSON", "[1]", "[" * 100_000])
def test_an_environment_that_cannot_be_read_is_replaced_or_kept(
    target: Target, sandbox: SandboxServer, user_data: str
) -> None:
    sandbox.hold("hello", code=b"other", user_data=user_data)
    archive = archive_of_yaml("Environment: {Variables: {A: b}}")
    assert differences(target, archive) == ["Environment (changed)"]
    update(target, archive)
    assert json.loads(config(sandbox)["user_data"]) == {"A": "b"}


# Refusals before anything is changed

REFUSED = {
    "a runtime": ("Runtime: Python3.12", "functiongraph.runtime", "Python3.9"),
    "a timeout as text": ("Timeout: abc", "functiongraph.config_value", "Timeout"),
    "a hexadecimal timeout": ("Timeout: 0x1F", "functiongraph.config_value", "Timeout"),
    "a long number": ("Timeout: " + "9" * 5000, "functiongraph.config_value", "Timeout"),
    "a timeout of a month": ("Timeout: 2592000", "functiongraph.config_value", "259200"),
    "a list": ("MemorySize: [1]", "functiongraph.config_value", "MemorySize"),
    "no list": ("FuncVpc: {security_groups: a}", "functiongraph.config_value", "security_groups"),
    "no mapping": ("FuncVpc: a", "functiongraph.config_value", "FuncVpc"),
    "no boolean": ("EnableLtsLog: maybe", "functiongraph.config_value", "EnableLtsLog"),
    "a handler": ("Handler: run", "functiongraph.config_value", "Handler"),
    "a description": ("Description: " + "x" * 513, "functiongraph.config_value", "512"),
    "variables in a variable": (
        "Environment: {Variables: {A: {B: c}}}",
        "functiongraph.config_value",
        "Environment.Variables",
    ),
    "21 variables": (
        "Environment: {Variables: {" + ", ".join(f"A{n}: b" for n in range(21)) + "}}",
        "functiongraph.config_value",
        "20",
    ),
    "long variables": (
        "Environment: {Variables: {A: " + "x" * 4096 + "}}",
        "functiongraph.config_value",
        "4096",
    ),
    "a masked variable": (
        "Environment: {Variables: {A: '***'}}",
        "functiongraph.config_masked",
        "Environment.Variables",
    ),
    "a masked secret": (
        "EncryptedUserData: {A: '***'}",
        "functiongraph.config_masked",
        "EncryptedUserData",
    ),
}


@pytest.mark.parametrize(("yaml", "code", "word"), REFUSED.values(), ids=REFUSED)
def test_what_would_be_refused_is_refused_before_the_code_is_sent(
    target: Target, sandbox: SandboxServer, yaml: str, code: str, word: str
) -> None:
    sandbox.hold("hello", code=b"x")
    before = sandbox.functions["hello"]
    archive = archive_of_yaml(yaml)
    with pytest.raises(PermanentFailure) as refused:
        update(target, archive)
    assert refused.value.code == code
    assert word in refused.value.message.en
    assert refused.value.hint.zh
    assert refused.value.effect == ()
    assert len(refused.value.message.en) < 400
    assert (changes(sandbox), sandbox.functions["hello"]) == ([], before)
    found = target.differences(held(target), archive)
    assert found.refusal is not None
    assert found.refusal.code == code


def test_a_file_is_a_handler_if_the_function_has_such_a_runtime(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.hold("hello", code=b"x", runtime="http", handler="start")
    update(target, archive_of_yaml("Handler: bootstrap"))
    assert config(sandbox)["handler"] == "bootstrap"


# Masked values


@pytest.mark.parametrize(
    ("settings", "name", "remedy"),
    [
        ({"encrypted_user_data": '{"A": "b"}'}, "encrypted_user_data", "EncryptedUserData"),
        ({"user_data": '{"A": "***"}'}, "user_data", "Environment.Variables"),
        ({"user_data": "***"}, "user_data", "Environment.Variables"),
        ({"func_vpc": {"vpc_id": "****"}}, "func_vpc", "FuncVpc"),
    ],
)
def test_a_masked_value_is_never_written_back(
    target: Target, sandbox: SandboxServer, settings: Json, name: str, remedy: str
) -> None:
    sandbox.hold("hello", code=b"x", **settings)
    before = sandbox.functions["hello"]
    with pytest.raises(PermanentFailure) as refused:
        update(target, archive_of_yaml("Timeout: 30"))
    assert refused.value.code == "functiongraph.config_masked"
    assert name in refused.value.message.en
    assert remedy in refused.value.hint.en
    assert (changes(sandbox), sandbox.functions["hello"]) == ([], before)


def test_a_masked_value_does_not_matter_if_only_the_code_differs(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.hold("hello", code=b"x", encrypted_user_data='{"A": "b"}')
    assert update(target, archive_of_yaml("Timeout: 3")).answer["effect"] == ["code"]
    assert config(sandbox)["encrypted_user_data"] == '{"A": "b"}'


def test_a_masked_value_is_replaced_by_the_value_in_the_export(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.hold("hello", code=b"x", encrypted_user_data='{"A": "b"}')
    archive = archive_of_yaml("Timeout: 30\nEncryptedUserData: {A: new}")
    assert differences(target, archive) == ["Timeout 3 → 30"]
    result = update(target, archive)
    assert config(sandbox)["encrypted_user_data"] == '{"A": "new"}'
    assert "new" not in json.dumps(result.answer["differences"])


# Fields that Relay does not know


def test_an_unknown_field_is_named_when_the_configuration_is_replaced(
    target: Target, sandbox: SandboxServer
) -> None:
    sandbox.hold("hello", code=b"x", snap_start="on", empty="")
    archive = archive_of_yaml("Timeout: 30")
    assert target.differences(held(target), archive).unknown == ("snap_start",)
    answer = update(target, archive).answer
    assert answer["unknown_fields"] == ["snap_start"]
    (warning,) = answer["warnings"]
    assert "snap_start" in warning["message"]
    assert update(target, archive_of_yaml("Timeout: 30")).answer.get("warnings") is None


# Changes by another user


class Meddler:
    """Changes the function after each of the next `times` queries of the configuration."""

    def __init__(self) -> None:
        self.times = 0
        self.sandbox: SandboxServer | None = None
        self.clock: Clock | None = None

    def __call__(self, call: RecordedCall) -> None:
        if call.operation == "config" and self.times and self.sandbox:
            self.times -= 1
            if self.clock:
                self.clock.advance(seconds=1)
            self.sandbox.configure("hello", description=f"by somebody, {self.times} left")


@pytest.fixture
def meddler() -> Meddler:
    return Meddler()


@pytest.fixture
def meddled(clock: Clock, meddler: Meddler) -> Iterator[SandboxServer]:
    with SandboxServer(project_id=PROJECT, clock=clock, on_call=meddler) as server:
        meddler.sandbox = server
        server.hold("hello", code=b"x")
        yield server


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("is_clock_running", [True, False])
def test_a_change_between_reading_and_writing_is_kept(
    meddled: SandboxServer,
    meddler: Meddler,
    make_target: MakeTarget,
    clock: Clock,
    times: int,
    is_clock_running: bool,
) -> None:
    target = make_target(meddled.url, **by_key(meddled))
    found = held(target)
    meddler.clock = clock if is_clock_running else None
    meddler.times = times
    result = target.replace(found, archive_of_yaml("Timeout: 30"), ChangeRecorder(), ignore)
    assert result.answer["effect"] == ["code", "configuration"]
    after = meddled.functions["hello"].config
    assert (after["timeout"], after["description"]) == (30, "by somebody, 0 left")


def test_a_configuration_that_keeps_changing_is_a_temporary_failure(
    meddled: SandboxServer, meddler: Meddler, make_target: MakeTarget
) -> None:
    target = make_target(meddled.url, **by_key(meddled))
    found = held(target)
    meddler.times = 100
    with pytest.raises(TemporaryFailure) as failed:
        target.replace(found, archive_of_yaml("Timeout: 30"), ChangeRecorder(), ignore)
    assert failed.value.code == "functiongraph.config_changing"
    assert failed.value.effect == ("code",)
    assert not isinstance(failed.value, OutcomeUnknown)
    assert meddled.functions["hello"].config["timeout"] == 3


# Half an update


@pytest.mark.parametrize(
    ("status", "error", "was"),
    [
        (400, PermanentFailure, "was not"),
        (403, PermanentFailure, "was not"),
        (500, OutcomeUnknown, "may have been"),
        (429, TemporaryFailure, "was not"),
    ],
)
def test_a_refused_configuration_after_the_code_reports_the_effect(
    target: Target, sandbox: SandboxServer, status: int, error: type[Exception], was: str
) -> None:
    sandbox.hold("hello", code=b"x")
    sandbox.fault(operation="update_config", status=status)
    archive = archive_of_yaml("Timeout: 30")
    with pytest.raises(error) as failed:
        update(target, archive)
    assert failed.value.effect == ("code",)
    assert failed.value.message.en.startswith(f"The code was updated, the configuration {was}: ")
    assert sandbox.functions["hello"].digest == archive.code_digest()
    assert update(target, archive).answer["effect"] == ["configuration"]
    assert config(sandbox)["timeout"] == 30


def test_refused_code_has_no_effect(target: Target, sandbox: SandboxServer) -> None:
    sandbox.hold("hello", code=b"x")
    sandbox.fault(operation="update_code", status=400)
    with pytest.raises(PermanentFailure) as failed:
        update(target, archive_of_yaml("Timeout: 30"))
    assert failed.value.effect == ()
    assert config(sandbox)["timeout"] == 3


# Calls


@pytest.mark.parametrize(
    ("name", "code_type"), [("index.zip", "zip"), ("app.JAR", "jar"), ("index.py", "inline")]
)
def test_the_code_type_follows_from_the_file_name(
    target: Target, sandbox: SandboxServer, name: str, code_type: str
) -> None:
    target.create(HELLO, export(), ChangeRecorder(), ignore)
    archive = archive_with({"index.py": b"other"})
    original = archive.report.export
    assert original is not None
    properties = {**original.properties, "CodeFileName": name}
    archive.report = replace(archive.report, export=replace(original, properties=properties))
    update(target, archive)
    function = sandbox.functions["hello"]
    assert (function.code_type, function.code_filename) == (code_type, name)


def test_settings_missing_in_the_export_stay_unchanged(
    target: Target, sandbox: SandboxServer
) -> None:
    target.create(HELLO, archive_with(Timeout=30, Description="old"), ChangeRecorder(), ignore)
    archive = archive_with({"index.py": b"other"}, Timeout=60)
    original = archive.report.export
    assert original is not None
    few = {key: original.properties[key] for key in ("CodeFileName", "Handler")}
    archive.report = replace(archive.report, export=replace(original, properties=few))
    update(target, archive)
    config = sandbox.functions["hello"].config
    assert (config["timeout"], config["description"]) == (30, "old")
    assert sandbox.functions["hello"].digest == archive.code_digest()


def test_an_update_needs_an_export(target: Target, sandbox: SandboxServer) -> None:
    sandbox.hold("hello", code=b"x")
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as file:
        file.writestr("index.py", "x")
    archive = archive_of(plain.getvalue())
    with pytest.raises(PermanentFailure) as refused:
        update(target, archive)
    assert refused.value.code == "functiongraph.no_export"


def test_an_update_with_a_lost_response_has_an_unknown_outcome_and_can_be_repeated(
    target: Target, sandbox: SandboxServer
) -> None:
    target.create(HELLO, export("first"), ChangeRecorder(), ignore)
    sandbox.fault(operation="update_code", commit=True, drop=True)
    with pytest.raises(OutcomeUnknown):
        update(target, export("second"))
    update(target, export("second"))
    assert sandbox.functions["hello"].digest == export("second").code_digest()


def test_a_conflict_during_an_update_is_not_a_taken_name(
    target: Target, sandbox: SandboxServer
) -> None:
    target.create(HELLO, export("first"), ChangeRecorder(), ignore)
    sandbox.fault(operation="update_code", status=409, code="FSS.0409")
    with pytest.raises(PermanentFailure) as refused:
        update(target, export("second"))
    assert not isinstance(refused.value, NameTaken)
