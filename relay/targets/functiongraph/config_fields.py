"""The fields of a function's configuration, and their types.

Source: the models UpdateFunctionConfigRequestBody and ShowFunctionConfigResponse of the API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias

from relay.archive.findings import printable
from relay.archive.strict_yaml import as_boolean, as_integer, is_text
from relay.errors import PermanentFailure
from relay.model import Json, Localized


class Scalar(Enum):
    """The type of a field without parts."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TEXTS = "texts"
    """Names with texts."""
    JSON_TEXTS = "JSON"
    """Names with texts, sent as a JSON text. An export may have them as a mapping or as JSON."""


Schema: TypeAlias = "Scalar | Mapping[str, Any] | list[Any]"
"""The type of a field; a list has the type of the items as the only item."""

TEXT, INTEGER, BOOLEAN = Scalar.TEXT, Scalar.INTEGER, Scalar.BOOLEAN
ENVIRONMENT = Scalar.JSON_TEXTS

MAPPING = Localized("a mapping is expected", "应为映射")
_LIST = Localized("a list is expected", "应为列表")
_EXPECTED: Mapping[Scalar, Localized] = {
    TEXT: Localized("a text is expected", "应为文本"),
    INTEGER: Localized("a decimal number is expected", "应为十进制整数"),
    BOOLEAN: Localized("true or false is expected", "应为 true 或 false"),
    Scalar.TEXTS: Localized("names with texts are expected", "应为名称与文本的对应关系"),
    ENVIRONMENT: Localized(
        "names with texts are expected, as a mapping or a JSON object",
        "应为名称与文本的对应关系，可写成映射或 JSON 对象",
    ),
}

ENCRYPTED = "encrypted_user_data"

_VPC: Schema = {
    **dict.fromkeys(("domain_id", "namespace", "vpc_name", "vpc_id"), TEXT),
    **dict.fromkeys(("subnet_name", "subnet_id", "cidr", "gateway"), TEXT),
    "security_groups": [TEXT],
    "is_safety": BOOLEAN,
}
_MOUNTS: Schema = {
    "mount_user": {"user_id": INTEGER, "user_group_id": INTEGER},
    "func_mounts": [
        dict.fromkeys(
            ("mount_type", "mount_resource", "mount_share_path", "local_mount_path"), TEXT
        )
    ],
}
_IMAGE: Schema = {
    "enabled": BOOLEAN,
    "is_public": BOOLEAN,
    **dict.fromkeys(("image", "command", "args", "working_dir", "uid", "gid"), TEXT),
}

SETTABLE: Mapping[str, Schema] = {
    "runtime": TEXT,
    "timeout": INTEGER,
    "handler": TEXT,
    "memory_size": INTEGER,
    "gpu_memory": INTEGER,
    "gpu_type": TEXT,
    "user_data": ENVIRONMENT,
    ENCRYPTED: ENVIRONMENT,
    "user_data_encrypt_kms_key_id": TEXT,
    "xrole": TEXT,
    "app_xrole": TEXT,
    "description": TEXT,
    "func_vpc": _VPC,
    "peering_cidr": TEXT,
    "mount_config": _MOUNTS,
    "strategy_config": {"concurrency": INTEGER, "concurrent_num": INTEGER},
    "custom_image": _IMAGE,
    "extend_config": TEXT,
    "initializer_handler": TEXT,
    "initializer_timeout": INTEGER,
    "pre_stop_handler": TEXT,
    "pre_stop_timeout": INTEGER,
    "ephemeral_storage": INTEGER,
    "enterprise_project_id": TEXT,
    "log_config": dict.fromkeys(("group_name", "group_id", "stream_name", "stream_id"), TEXT),
    "network_controller": {
        "disable_public_network": BOOLEAN,
        "trigger_access_vpcs": [{"vpc_name": TEXT, "vpc_id": TEXT}],
    },
    "is_stateful_function": BOOLEAN,
    "enable_dynamic_memory": BOOLEAN,
    "enable_auth_in_header": BOOLEAN,
    "domain_names": TEXT,
    "restore_hook_handler": TEXT,
    "restore_hook_timeout": INTEGER,
    "heartbeat_handler": TEXT,
    "enable_class_isolation": BOOLEAN,
    "enable_lts_log": BOOLEAN,
    "lts_custom_tag": Scalar.TEXTS,
}
"""The fields that UpdateFunctionConfig sets."""

WHOLE = frozenset({"func_vpc", "log_config"})
"""Fields whose parts belong together: an id and the name of the same network."""

NOT_SHOWN: Mapping[str, Mapping[str, str]] = {
    "log_config": {"group_name": "group_id", "stream_name": "stream_id"}
}
"""Parts of a field that a response does not have, with the part that identifies the same."""

FREE_TEXT = frozenset({"user_data", "description", "lts_custom_tag", "custom_image"})
"""Fields in which three asterisks may be part of a value. A mask fills the whole value."""

MASK = "***"
_MASK = re.compile(r"\s*\*{3,}\s*")

READ_ONLY = frozenset(
    {"func_id", "resource_id", "func_urn", "func_name", "domain_id", "namespace", "project_name"}
    | {"package", "cpu", "code_type", "code_url", "code_filename", "code_size", "digest", "version"}
    | {"version_description", "image_name", "last_modified", "depend_list", "depend_version_list"}
    | {"dependencies", "long_time", "log_group_id", "log_stream_id", "type", "status"}
    | {"enable_cloud_debug", "is_bridge_function", "reserved_instance_idle_mode", "func_code"}
    | {"apig_route_enable", "allow_ephemeral_storage", "is_return_stream", "request_id"}
    | {"code_encrypt_kms_key_id"}
)
"""The other fields of the response, which UpdateFunctionConfig leaves as they are."""


def variables(user_data: Any) -> dict[str, Any] | None:
    """Return the variables in the JSON text of an environment; None if it has no JSON object."""
    if not user_data:
        return {}
    try:
        found = json.loads(user_data)
    except (TypeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def is_mask(value: Any) -> bool:
    """Whether a value is a text of asterisks, which stands for a value that is not shown."""
    return isinstance(value, str) and _MASK.fullmatch(value) is not None


def canonical(name: str) -> str:
    """Return the form that the names of a property and of the field have in common."""
    return name.replace("_", "").lower()


def property_name(field: str) -> str:
    """Return the name of the property for a field: MemorySize for memory_size."""
    return "".join(part.capitalize() for part in field.split("_"))


def invalid_value(name: str, expected: Localized) -> PermanentFailure:
    """Return the error for a value of the export that FunctionGraph would refuse."""
    shown = printable(name)
    return PermanentFailure(
        "functiongraph.config_value",
        Localized(
            f"The value of {shown} in the export is not allowed: {expected.en}",
            f"导出包中 {shown} 的值不符合要求：{expected.zh}",
        ),
        Localized(
            "Nothing was changed. Correct the YAML of the export.",
            "未做任何更改。请修正导出包中的 YAML。",
        ),
    )


def convert(value: Any, schema: Schema, path: str) -> tuple[Any, list[str]]:
    """Convert the texts of a property to the types of a field.

    Also return the paths of parts that the field does not have. Raises the error of
    `invalid_value`.
    """
    if isinstance(schema, Scalar):
        converted = _SCALARS[schema](value)
        if converted is None:
            raise invalid_value(path, _EXPECTED[schema])
        return converted, []
    if isinstance(schema, list):
        if not isinstance(value, list):
            raise invalid_value(path, _LIST)
        items = [convert(item, schema[0], path) for item in value]
        return [item for item, _ in items], [name for _, names in items for name in names]
    if not isinstance(value, dict):
        raise invalid_value(path, MAPPING)
    return _convert_parts(value, schema, path)


def _convert_parts(
    value: Mapping[str, Any], schema: Mapping[str, Schema], path: str
) -> tuple[Json, list[str]]:
    names = {canonical(name): name for name in schema}
    parts: Json = {}
    unknown: list[str] = []
    for name, part in value.items():
        part_path = f"{path}.{name}"
        known = names.get(canonical(name))
        if known is None or known in parts:
            unknown.append(part_path)
        elif part != "":
            parts[known], more = convert(part, schema[known], part_path)
            unknown.extend(more)
    return parts, unknown


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        return None
    return value


def _json_texts(value: Any) -> str | None:
    if is_mask(value):
        return str(value)
    texts = _parse_texts(value) if isinstance(value, str) else _texts(value)
    return None if texts is None else json.dumps(texts, ensure_ascii=False)


def _parse_texts(text: str) -> dict[str, str] | None:
    """Read a JSON object of names and texts; numbers and booleans are their text as written."""
    try:
        pairs = json.loads(
            text, object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=str
        )
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, tuple):
        return None
    texts = {
        name: str(value).lower() if isinstance(value, bool) else value for name, value in pairs
    }
    is_valid = len(texts) == len(pairs) and all(map(is_text, (*texts, *texts.values())))
    return texts if is_valid else None


_SCALARS: Mapping[Scalar, Callable[[Any], Any]] = {
    Scalar.TEXT: _text,
    Scalar.INTEGER: as_integer,
    Scalar.BOOLEAN: as_boolean,
    Scalar.JSON_TEXTS: _json_texts,
    Scalar.TEXTS: _texts,
}
