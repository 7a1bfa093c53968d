"""Operations of the API: each description validates requests and yields the OpenAPI document."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Blueprint, Response, request
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from relay import __version__
from relay.errors import Rejected
from relay.model import Json, Localized
from relay.web.problems import Refused
from relay.web.request_body import read_body
from relay.web.responses import ProblemShape
from relay.web.schema_names import NamedSchemas

MAX_BODY = 64 * 1024
PATH_PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
View = TypeVar("View", bound=Callable[..., Any])
SchemaReferences = Mapping[tuple[Any, JsonSchemaMode], Json]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method and path of the API, and the decorator of the view that implements it.

    The view receives `query` and `body` as models and returns a value for the model of `responses`
    (by status).
    """

    method: str
    path: str
    summary: str
    responses: Mapping[int, type[BaseModel]]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, view: View) -> View:
        view.operation = self  # type: ignore[attr-defined]
        return view

    @property
    def errors(self) -> tuple[int, ...]:
        """The statuses of possible problems."""
        if self.method == "POST":
            return (401, 403, 404, 409, 413, 415, 422, 503)
        if PATH_PARAMETER.search(self.path):
            return (401, 403, 404, 422, 503)
        return (401, 403, 422, 503) if self.query else (401, 403, 503)


@dataclass(frozen=True, slots=True)
class ViewResult:
    """The result of a view that sets a status or headers."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def mount(blueprint: Blueprint, views: object) -> None:
    """Register every operation of `views` with the blueprint."""
    for name, operation in _operations(type(views)):
        handler = _request_handler(getattr(views, name), operation)
        blueprint.add_url_rule(operation.path, name, handler, methods=[operation.method])


def document(prefix: str, views: type) -> Json:
    """Build the OpenAPI 3.1 document of the operations of `views`, mounted at `prefix`."""
    operations = sorted(
        (operation for _, operation in _operations(views)),
        key=lambda operation: (operation.path, operation.method),
    )
    refs, definitions = models_json_schema(
        list(_models(operations)),
        ref_template="#/components/schemas/{model}",
        schema_generator=NamedSchemas,
    )
    schemas = definitions.get("$defs", {})
    paths: dict[str, Json] = {}
    for operation in operations:
        path = prefix + PATH_PARAMETER.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _describe(operation, refs, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Relay", "version": __version__},
        "paths": paths,
        "security": [{"bearer": []}, {}],
        "components": {
            "schemas": schemas,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operations(views: type) -> list[tuple[str, Operation]]:
    methods = inspect.getmembers(views, inspect.isfunction)
    return [(name, view.operation) for name, view in methods if hasattr(view, "operation")]


def _request_handler(view: Callable[..., Any], operation: Operation) -> Callable[..., Response]:
    def handle(**path_parameters: str) -> Response:
        arguments: dict[str, Any] = dict(path_parameters)
        if operation.query:
            arguments["query"] = _parse(operation.query, _query_parameters())
        elif request.args:
            raise _invalid("This address takes no query parameters", "Allowed: none.")
        if operation.body:
            arguments["body"] = _parse_body(operation.body)
        result = view(**arguments)
        reply = result if isinstance(result, ViewResult) else ViewResult(result)
        model = operation.responses[reply.status].model_validate(reply.value)
        body = model.model_dump_json()
        return Response(body, reply.status, reply.headers, content_type="application/json")

    return handle


def _query_parameters() -> dict[str, str]:
    for name, values in request.args.lists():
        if len(values) > 1:
            raise _invalid(f"{name!r} is given {len(values)} times", "Give each parameter once.")
    return request.args.to_dict()


def _parse_body(model: type[BaseModel]) -> BaseModel:
    body = read_body(MAX_BODY)
    if not body.strip():
        return _parse(model, {})
    if request.mimetype != "application/json":
        raise Refused(
            415,
            "request.not_json",
            Localized("The request body must be JSON", "请求体必须是 JSON"),
            Localized(
                "Send Content-Type: application/json.", "请使用 Content-Type: application/json。"
            ),
        )
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _validation_problem(model, error) from error


def _parse(model: type[BaseModel], values: Mapping[str, str]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _validation_problem(model, error) from error


def _validation_problem(model: type[BaseModel], error: ValidationError) -> Rejected:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    messages = [
        f"{'.'.join(map(str, detail['loc'])) or 'body'}: {detail['msg']}" for detail in details[:10]
    ]
    return _invalid("; ".join(messages), f"Allowed: {', '.join(model.model_fields)}.")


def _invalid(message: str, hint: str) -> Rejected:
    return Rejected("request.invalid", message, hint)


def _models(operations: Iterable[Operation]) -> set[tuple[type[BaseModel], JsonSchemaMode]]:
    models: set[tuple[type[BaseModel], JsonSchemaMode]] = {(ProblemShape, "serialization")}
    for operation in operations:
        models |= {(model, "serialization") for model in operation.responses.values()}
        inputs = (operation.query, operation.body)
        models |= {(model, "validation") for model in inputs if model is not None}
    return models


def _describe(operation: Operation, refs: SchemaReferences, schemas: Json) -> Json:
    responses = {
        str(status): _content("Done", refs[model, "serialization"])
        for status, model in operation.responses.items()
    }
    problem = refs[ProblemShape, "serialization"]
    for status in operation.errors:
        responses[str(status)] = _content("Problem", problem, "application/problem+json")
    result: Json = {
        "summary": operation.summary,
        "parameters": list(_parameters(operation, refs, schemas)),
        "responses": responses,
    }
    if operation.body:
        content = {"application/json": {"schema": refs[operation.body, "validation"]}}
        required = any(each.is_required() for each in operation.body.model_fields.values())
        result["requestBody"] = {"required": required, "content": content}
    return result


def _content(description: str, schema: Json, media_type: str = "application/json") -> Json:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _parameters(operation: Operation, refs: SchemaReferences, schemas: Json) -> Iterable[Json]:
    string = {"type": "string"}
    for name in PATH_PARAMETER.findall(operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": string}
    for name, description in operation.headers.items():
        yield {"name": name, "in": "header", "description": description, "schema": string}
    if operation.query:
        schema = schemas[refs[operation.query, "validation"]["$ref"].rpartition("/")[2]]
        for name, property_ in schema["properties"].items():
            required = name in schema.get("required", ())
            yield {"name": name, "in": "query", "required": required, "schema": property_}
