"""One description of each operation: it parses what comes in, and becomes the OpenAPI document."""

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

MAX_BODY = 64 * 1024
View = TypeVar("View", bound=Callable[..., Any])
Models = Mapping[tuple[Any, JsonSchemaMode], Json]


@dataclass(frozen=True, slots=True)
class Operation:
    """What one address does: `answers` and `errors` by status, `headers` it reads by name."""

    method: str
    path: str
    summary: str
    answers: Mapping[int, type[BaseModel]]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[int, ...] = (401, 403, 503)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a status or headers of its own."""

    model: BaseModel
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def offers(operation: Operation) -> Callable[[View], View]:
    """Marks a method as the one that does `operation`; it gets `query` and `body` as models."""

    def mark(view: View) -> View:
        view.operation = operation  # type: ignore[attr-defined]
        return view

    return mark


def mount(blueprint: Blueprint, views: object) -> None:
    """Puts every marked method of `views` at its address."""
    for name, operation in _marked(type(views)):
        answer = _bound(getattr(views, name), operation)
        blueprint.add_url_rule(operation.path, name, answer, methods=[operation.method])


def document(prefix: str, views: type) -> Json:
    """The OpenAPI 3.1 document of the marked methods of `views`, which all lie under `prefix`."""
    operations = (operation for _, operation in _marked(views))
    every = sorted(operations, key=lambda one: (one.path, one.method))
    refs, definitions = models_json_schema(
        list(_models(every)), ref_template="#/components/schemas/{model}"
    )
    schemas = definitions.get("$defs", {})
    paths: dict[str, Json] = {}
    for operation in every:
        path = prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _described(operation, refs, schemas)
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


def _marked(views: type) -> list[tuple[str, Operation]]:
    methods = inspect.getmembers(views, inspect.isfunction)
    return [(name, view.operation) for name, view in methods if hasattr(view, "operation")]


def _bound(view: Callable[..., Any], operation: Operation) -> Callable[..., Response]:
    def answer(**path: str) -> Response:
        parsed: dict[str, Any] = dict(path)
        if operation.query:
            parsed["query"] = _parse(operation.query, _single_values())
        elif request.args:
            raise _invalid("This address takes no filters", "None.")
        if operation.body:
            parsed["body"] = _parse_body(operation.body)
        made = view(**parsed)
        reply = made if isinstance(made, Reply) else Reply(made)
        body = reply.model.model_dump_json(by_alias=True)
        return Response(body, reply.status, reply.headers, content_type="application/json")

    return answer


def _single_values() -> dict[str, str]:
    for name, values in request.args.lists():
        if len(values) > 1:
            raise _invalid(f"{name!r} is given {len(values)} times", "Give each filter once.")
    return request.args.to_dict()


def _parse_body(model: type[BaseModel]) -> BaseModel:
    body = read_body(MAX_BODY)
    if not body.strip():
        return _parse(model, {})
    if request.mimetype != "application/json":
        raise Refused(
            415,
            "request.not_json",
            Localized("The body must be JSON", "请求体必须是 JSON"),
            Localized(
                "Send Content-Type: application/json.", "请使用 Content-Type: application/json。"
            ),
        )
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _explained(model, error) from error


def _parse(model: type[BaseModel], values: Mapping[str, str]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explained(model, error) from error


def _explained(model: type[BaseModel], error: ValidationError) -> Rejected:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    words = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in found[:10]]
    return _invalid("; ".join(words), f"Allowed: {', '.join(model.model_fields)}.")


def _invalid(words: str, hint: str) -> Rejected:
    return Rejected("request.invalid", words, hint)


def _models(operations: Iterable[Operation]) -> set[tuple[type[BaseModel], JsonSchemaMode]]:
    models: set[tuple[type[BaseModel], JsonSchemaMode]] = {(ProblemShape, "serialization")}
    for operation in operations:
        models |= {(answer, "serialization") for answer in operation.answers.values()}
        asked = (operation.query, operation.body)
        models |= {(model, "validation") for model in asked if model is not None}
    return models


def _described(operation: Operation, refs: Models, schemas: Json) -> Json:
    answers = {
        str(status): _content("Done", refs[model, "serialization"])
        for status, model in operation.answers.items()
    }
    trouble = refs[ProblemShape, "serialization"]
    for status in operation.errors:
        answers[str(status)] = _content("Problem", trouble, "application/problem+json")
    described: Json = {
        "summary": operation.summary,
        "parameters": list(_parameters(operation, refs, schemas)),
        "responses": answers,
    }
    if operation.body:
        content = {"application/json": {"schema": refs[operation.body, "validation"]}}
        needed = any(one.is_required() for one in operation.body.model_fields.values())
        described["requestBody"] = {"required": needed, "content": content}
    return described


def _content(words: str, schema: Json, kind: str = "application/json") -> Json:
    return {"description": words, "content": {kind: {"schema": schema}}}


def _parameters(operation: Operation, refs: Models, schemas: Json) -> Iterable[Json]:
    for name in re.findall(r"<(?:\w+:)?(\w+)>", operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    for name, words in operation.headers.items():
        yield {"name": name, "in": "header", "description": words, "schema": {"type": "string"}}
    if operation.query:
        schema = schemas[refs[operation.query, "validation"]["$ref"].rpartition("/")[2]]
        for name, property_ in schema["properties"].items():
            needed = name in schema.get("required", ())
            yield {"name": name, "in": "query", "required": needed, "schema": property_}
