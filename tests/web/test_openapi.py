"""The OpenAPI document is correct and complete."""

import jsonschema
import pytest
from pydantic import BaseModel

from relay.web.schema_names import SCHEMA_NAMES, NamedSchemas

SCHEMAS = """
    AttemptShape DeliveriesQuery DeliveryPage DeliveryShape DeliveryStory ErrorShape EventShape Kind
    MessageShape NotificationPage NotificationShape NotificationWhole Origin OverwrittenShape
    PageQuery PlanShape ProblemShape ReceiptShape RequestedDelivery RetriggerBody ScanShape
    SourceList SourceShape State SubmissionBody SubmissionShape TargetList TargetShape Trigger
    Verdict WaitReason WaitingShape
"""


@pytest.fixture
def document(web):
    response = web.client.get("/api/v1/openapi.json")
    assert response.status_code == 200
    return response.get_json()


def test_it_describes_exactly_the_operations_of_the_api(web, document):
    served = set()
    for rule in web.app.url_map.iter_rules():
        if rule.endpoint.startswith("api.") and rule.endpoint != "api.openapi":
            path = rule.rule.replace("<", "{").replace(">", "}")
            served |= {(method, path) for method in rule.methods - {"HEAD", "OPTIONS"}}
    described = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    assert described == served
    assert ("POST", "/api/v1/submissions") in served


def test_every_reference_resolves(document):
    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for item in value.values():
                yield from references(item)
        elif isinstance(value, list):
            for item in value:
                yield from references(item)

    all_references = set(references(document))
    assert all_references
    for reference in all_references:
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"]


def test_the_names_of_the_schemas_stay(document):
    """Clients generate their types from them: a new name is fine, a changed one is not."""
    schemas = document["components"]["schemas"]
    assert set(schemas) == set(SCHEMAS.split())
    assert all(schema["title"] == name for name, schema in schemas.items())


def test_a_schema_is_named_by_the_table_and_not_by_its_class(monkeypatch):
    class Renamed(BaseModel):
        pass

    with pytest.raises(KeyError):
        Renamed.model_json_schema(schema_generator=NamedSchemas)
    monkeypatch.setitem(SCHEMA_NAMES, Renamed, "Published")
    assert Renamed.model_json_schema(schema_generator=NamedSchemas)["title"] == "Published"


def test_the_schemas_are_valid(document):
    assert document["openapi"].startswith("3.1.")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_it_describes_query_path_and_header_parameters(document):
    listed = document["paths"]["/api/v1/deliveries"]["get"]["parameters"]
    names = {parameter["name"] for parameter in listed if parameter["in"] == "query"}
    assert {"state", "kind", "key", "since", "until", "limit", "cursor"} <= names
    shown = document["paths"]["/api/v1/deliveries/{delivery_id}"]["get"]["parameters"]
    assert [(parameter["name"], parameter["in"]) for parameter in shown] == [
        ("delivery_id", "path")
    ]
    retrigger = document["paths"]["/api/v1/deliveries/{delivery_id}/retrigger"]["post"]
    assert "Idempotency-Key" in [parameter["name"] for parameter in retrigger["parameters"]]
    assert retrigger["requestBody"]["required"] is False


def test_it_requires_a_token(make_web):
    web = make_web(tokens=("token-of-the-tests",))
    assert web.client.get("/api/v1/openapi.json").status_code == 401
