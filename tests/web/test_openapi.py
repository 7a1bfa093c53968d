"""The OpenAPI document is true and complete."""

import jsonschema
import pytest


@pytest.fixture
def document(web):
    answer = web.client.get("/api/v1/openapi.json")
    assert answer.status_code == 200
    return answer.get_json()


def test_it_describes_every_address_of_the_api_and_no_other(web, document):
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


def test_every_reference_leads_somewhere(document):
    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            for one in value.values():
                yield from references(one)
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    found = set(references(document))
    assert found
    for reference in found:
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"]


def test_its_schemas_are_schemas(document):
    assert document["openapi"].startswith("3.1.")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_it_names_the_filters_and_the_path(document):
    listed = document["paths"]["/api/v1/deliveries"]["get"]["parameters"]
    named = {one["name"] for one in listed if one["in"] == "query"}
    assert {"state", "kind", "key", "since", "until", "limit", "cursor"} <= named
    shown = document["paths"]["/api/v1/deliveries/{delivery_id}"]["get"]["parameters"]
    assert [(one["name"], one["in"]) for one in shown] == [("delivery_id", "path")]
    again = document["paths"]["/api/v1/deliveries/{delivery_id}/retrigger"]["post"]
    assert "Idempotency-Key" in [one["name"] for one in again["parameters"]]
    assert again["requestBody"]["required"] is False


def test_it_is_behind_the_tokens(make_web):
    web = make_web(tokens=("token-of-the-tests",))
    assert web.client.get("/api/v1/openapi.json").status_code == 401
