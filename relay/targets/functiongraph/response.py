"""The response of ImportFunction: all documented fields, stored with the delivery.

Wire format: ImportFunction, response 200. A field of another type than documented is left out and
named: the type of a field never decides about an import.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from relay.config.text import excerpt
from relay.model import Json

MAX_TEXT = 2048
"""Characters of a text that are stored; the longest documented text has 512."""

MAX_ITEMS = 100
"""Items of a list that are stored."""

_MASK = "***"


class _Fields(BaseModel):
    model_config = ConfigDict(extra="ignore")


class FuncVpc(_Fields):
    """The VPC of a function."""

    domain_id: str | None = None
    namespace: str | None = None
    vpc_name: str | None = None
    vpc_id: str | None = None
    subnet_name: str | None = None
    subnet_id: str | None = None
    cidr: str | None = None
    gateway: str | None = None
    security_groups: list[str] | None = None
    is_safety: bool | None = None


class StrategyConfig(_Fields):
    """The concurrency of a function: -1 is unlimited, 0 disables it."""

    concurrency: int | None = None
    concurrent_num: int | None = None


class ImportResponse(_Fields):
    """The fields of the response. `status`: 0 is enabled, 1 is disabled."""

    func_urn: str | None = None
    func_name: str | None = None
    domain_id: str | None = None
    namespace: str | None = None
    project_name: str | None = None
    package: str | None = None
    runtime: str | None = None
    timeout: int | None = None
    handler: str | None = None
    memory_size: int | None = None
    gpu_memory: int | None = None
    cpu: int | None = None
    code_type: str | None = None
    code_url: str | None = None
    code_filename: str | None = None
    code_size: int | None = None
    user_data: str | None = None
    digest: str | None = None
    version: str | None = None
    image_name: str | None = None
    xrole: str | None = None
    app_xrole: str | None = None
    description: str | None = None
    version_description: str | None = None
    last_modified: str | int | None = None
    func_vpc: FuncVpc | None = None
    depend_list: list[str] | None = None
    depend_version_list: list[str] | None = None
    strategy_config: StrategyConfig | None = None
    status: int | None = None
    extend_config: str | None = None
    initializer_handler: str | None = None
    initializer_timeout: int | None = None
    pre_stop_handler: str | None = None
    pre_stop_timeout: int | None = None
    enterprise_project_id: str | None = None


def read_import_response(response: Json) -> tuple[Json, list[Json]]:
    """Return the fields to store, and warnings.

    Values of variables and of `extend_config` are masked, and the query of a URL is left out: they
    may be secret.
    """
    known = {name: response[name] for name in ImportResponse.model_fields if name in response}
    unreadable: list[str] = []
    try:
        fields = ImportResponse.model_validate(known)
    except ValidationError as error:
        unreadable = sorted({str(problem["loc"][0]) for problem in error.errors()})
        fields = ImportResponse.model_validate(
            {name: value for name, value in known.items() if name not in unreadable}
        )
    warnings = [_unreadable(name) for name in unreadable]
    if fields.status == 1:
        warnings.append(_DISABLED)
    stored = fields.model_dump(exclude_none=True)
    if fields.user_data:
        stored["user_data"] = _masked_variables(fields.user_data)
    if fields.extend_config:
        stored["extend_config"] = _MASK
    if fields.code_url:
        stored["code_url"] = fields.code_url.partition("?")[0]
    return _bounded(stored), warnings


_DISABLED: Json = {
    "code": "functiongraph.disabled",
    "message": "FunctionGraph reports that the function is disabled (status 1): enable it in the"
    " console",
    "where": "status",
}


def _unreadable(name: str) -> Json:
    return {
        "code": "functiongraph.response_field",
        "message": f"The response has a value for {name} that does not match the API specification",
        "where": name,
    }


def _masked_variables(user_data: str) -> str:
    try:
        variables = json.loads(user_data)
    except (ValueError, RecursionError):
        return _MASK
    if not isinstance(variables, dict):
        return _MASK
    return json.dumps(dict.fromkeys(list(variables)[:MAX_ITEMS], _MASK), ensure_ascii=False)


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return excerpt(value, MAX_TEXT)
    if isinstance(value, list):
        return [_bounded(item) for item in value[:MAX_ITEMS]]
    if isinstance(value, dict):
        return {name: _bounded(item) for name, item in value.items()}
    return value
