"""The configuration of a function: what an export changes, and the request that applies it.

UpdateFunctionConfig replaces the configuration: a field that is left out may be reset. The request
therefore repeats the current configuration with the values of the export on top.
Wire formats: ShowFunctionConfig and UpdateFunctionConfig. The complete list of properties in an
export is not published: a property belongs to the field of the same name (MemorySize, memory_size).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay.archive.export import Export, is_known_handler, is_known_timeout
from relay.archive.findings import printable
from relay.errors import PermanentFailure
from relay.model import Difference, Json, Localized
from relay.targets.contract import UpdateOptions
from relay.targets.functiongraph.config_comparison import Comparison, brief, is_masked
from relay.targets.functiongraph.config_fields import (
    ENVIRONMENT,
    MAPPING,
    READ_ONLY,
    SETTABLE,
    WHOLE,
    canonical,
    convert,
    invalid_value,
    property_name,
    variables,
)

MAX_NAMES = 50
"""Names of fields that a result lists; the rest are counted."""

MAX_VARIABLES = 20
MAX_USER_DATA = 4096
MAX_DESCRIPTION = 512

_WITH_THE_CODE = frozenset({"codetype", "codefilename"})


@dataclass(frozen=True, slots=True)
class WantedConfiguration:
    """The settings of an export: `fields` of the API, and the names of properties without a field.

    `names` maps a field to the property that sets it.
    """

    fields: Json
    names: Mapping[str, str]
    not_applied: tuple[str, ...]

    @classmethod
    def of(cls, export: Export, options: UpdateOptions) -> WantedConfiguration:
        """Read the export. Raises PermanentFailure for a value of a wrong type."""
        reader = _PropertyReader()
        for name, value in export.properties.items():
            reader.read(name, value)
        if options.replace_environment and "user_data" not in reader.fields:
            reader.fields["user_data"] = "{}"
        return cls(reader.fields, reader.names, limited([*reader.not_applied, *export.other_keys]))

    def name(self, field_name: str) -> str:
        return self.names.get(field_name) or property_name(field_name)

    def differences(self, current: Mapping[str, Any]) -> tuple[Difference, ...]:
        """Return the settings that the current configuration does not have, in limited number.

        Those that cannot be compared are no differences.
        """
        return tuple(self._compare(current).differences[:MAX_NAMES])

    def not_compared(self, current: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of settings that cannot be compared: their values are not shown.

        They are sent only together with a difference.
        """
        return limited(self._compare(current).not_compared)

    def _compare(self, current: Mapping[str, Any]) -> Comparison:
        kept, comparison = kept_fields(current), Comparison()
        for name, value in self.fields.items():
            comparison.add(name, self.name(name), kept.get(name), value)
        return comparison

    def request(self, func_name: str, current: Mapping[str, Any]) -> Json:
        """Return the body of UpdateFunctionConfig.

        Raises PermanentFailure if FunctionGraph would refuse it, or if a current value cannot be
        kept because it is only shown as a mask.
        """
        self._check_runtime(func_name, current)
        self._check_values(str(self.fields.get("runtime") or current.get("runtime")))
        kept = kept_fields(current)
        body: Json = {"func_name": func_name, **kept}
        for name, value in self.fields.items():
            before = kept.get(name)
            if isinstance(value, dict) and isinstance(before, dict) and name not in WHOLE:
                body[name] = {**before, **value}
            else:
                body[name] = value
        for name, value in body.items():
            if is_masked(name, value):
                raise _masked_in_function(func_name, name)
        return body

    def _check_values(self, runtime: str) -> None:
        """Raise PermanentFailure for a mask, and for a value outside the documented limits."""
        fields = self.fields
        for name, value in fields.items():
            if is_masked(name, value):
                raise _masked_in_export(self.name(name))
        for name, is_valid, expected in (
            ("timeout", is_known_timeout(fields.get("timeout", 3)), _TIMEOUT),
            ("handler", is_known_handler(fields.get("handler", "-"), runtime), _HANDLER),
            ("description", len(fields.get("description", "")) <= MAX_DESCRIPTION, _DESCRIPTION),
            ("user_data", _fits(fields.get("user_data", "")), _VARIABLES),
        ):
            if not is_valid:
                raise invalid_value(self.name(name), expected)

    def _check_runtime(self, func_name: str, current: Mapping[str, Any]) -> None:
        wanted, runtime = self.fields.get("runtime"), current.get("runtime")
        if not wanted or not runtime or wanted == runtime:
            return
        raise PermanentFailure(
            "functiongraph.runtime",
            Localized(
                f"{func_name} has the runtime {brief(runtime)} and the export {brief(wanted)};"
                " FunctionGraph cannot change the runtime of a function",
                f"函数 {func_name} 的运行时为 {brief(runtime)}，导出包为 {brief(wanted)}；"
                "FunctionGraph 不支持更改已有函数的运行时",
            ),
            Localized(
                'Nothing was changed. Retrigger with "rename" to keep both, import under another'
                " func_name, or delete the function first.",
                '未做任何更改。可选择 "rename" 另存后重新触发、换用其他 func_name，'
                "或先删除该函数。",
            ),
        )


def kept_fields(current: Mapping[str, Any]) -> Json:
    """Return the settable fields of a configuration that was read, without empty fields.

    Leaving out an empty field resets it to the same. The log configuration is read in two fields
    and written in one.
    """
    kept = {
        name: value
        for name in SETTABLE
        if (value := current.get(name)) or value is False  # which equals 0
    }
    if "log_config" not in kept and current.get("log_group_id"):
        kept["log_config"] = {
            "group_id": current["log_group_id"],
            "stream_id": current.get("log_stream_id") or "",
        }
    return kept


def unknown_fields(current: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of fields that may be reset because Relay does not know them."""
    return limited(
        name
        for name, value in current.items()
        if name not in SETTABLE and name not in READ_ONLY and value is not None and value != ""
    )


def limited(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names as printable texts, in limited number."""
    shown = [printable(name) for name in names]
    more = len(shown) - MAX_NAMES
    return (*shown[:MAX_NAMES], *([f"… (+{more})"] if more > 0 else []))


_TIMEOUT = Localized("3 to 259200", "3 至 259200")
_HANDLER = Localized(
    "file.function with 3 to 128 characters is expected",
    "应为“文件名.函数名”格式，3 至 128 个字符",
)
_DESCRIPTION = Localized(f"at most {MAX_DESCRIPTION} characters", f"最多 {MAX_DESCRIPTION} 个字符")
_VARIABLES = Localized(
    f"at most {MAX_VARIABLES} variables with {MAX_USER_DATA} characters",
    f"最多 {MAX_VARIABLES} 个变量，共 {MAX_USER_DATA} 个字符",
)


@dataclass
class _PropertyReader:
    """Sorts the properties of an export into fields of the API and names without a field."""

    fields: Json = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    not_applied: list[str] = field(default_factory=list)

    def read(self, name: str, value: Any) -> None:
        key = canonical(name)
        if not value or key in _WITH_THE_CODE or (key, value) == ("version", "latest"):
            return
        if key == "environment":
            self._read_environment(name, value)
        elif (api_name := _FIELDS.get(key)) is None or api_name in self.fields:
            self.not_applied.append(name)
        else:
            self._convert(api_name, name, value)

    def _read_environment(self, name: str, environment: Any) -> None:
        if not isinstance(environment, dict):
            raise invalid_value(name, MAPPING)
        for part, value in environment.items():
            shown = f"{name}.{part}"
            if value and part != "Variables":
                self.not_applied.append(shown)
            elif value:
                other = self.names.get("user_data")
                if self._convert("user_data", shown, value) and other:
                    self.not_applied.append(other)

    def _convert(self, api_name: str, name: str, value: Any) -> bool:
        """Set the field, and return whether the value is not empty."""
        schema = SETTABLE[api_name]
        converted, unknown = convert(value, schema, name)
        self.not_applied.extend(unknown)
        if converted in ("", [], {}) or (schema is ENVIRONMENT and converted == "{}"):
            return False
        self.fields[api_name] = converted
        self.names[api_name] = name
        return True


_FIELDS = {canonical(name): name for name in SETTABLE}


def _fits(user_data: str) -> bool:
    return len(user_data) <= MAX_USER_DATA and len(variables(user_data) or {}) <= MAX_VARIABLES


def _masked_in_function(func_name: str, name: str) -> PermanentFailure:
    property_ = "Environment.Variables" if name == "user_data" else property_name(name)
    return PermanentFailure(
        "functiongraph.config_masked",
        Localized(
            f"FunctionGraph shows {name} of {func_name} only as ***, so an update of the"
            " configuration would destroy it",
            f"FunctionGraph 只以 *** 显示函数 {func_name} 的 {name}，更新配置会破坏该值",
        ),
        Localized(
            f"Nothing was changed. Add {property_} to the YAML of the export, or choose rename, or"
            f" empty {name} in FunctionGraph first and set it again after the update.",
            f"未做任何更改。请在导出包的 YAML 中加入 {property_}，或选择 rename，"
            f"或先在 FunctionGraph 清空 {name}、更新后再重新设置。",
        ),
    )


def _masked_in_export(name: str) -> PermanentFailure:
    shown = printable(name)
    return PermanentFailure(
        "functiongraph.config_masked",
        Localized(
            f"The export holds {shown} only as ***, which is not the value",
            f"导出包中的 {shown} 只是 ***，并非实际值",
        ),
        Localized(
            "Nothing was changed. Write the value into the YAML of the export, or remove the line.",
            "未做任何更改。请在导出包的 YAML 中写入实际值，或删除该行。",
        ),
    )
