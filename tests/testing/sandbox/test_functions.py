"""Functions can be listed, shown, changed, exported and deleted."""

import base64
import hashlib
import io
import json
import re
import zipfile
from typing import Any

import pytest
import requests
import yaml

from relay.testing.sandbox.functiongraph import SandboxServer

from .conftest import CODE, Client, code_of, export

CONFIG = {
    "func_name": "hello",
    "runtime": "Python3.9",
    "timeout": 60,
    "handler": "main.run",
    "memory_size": 512,
}


@pytest.fixture(autouse=True)
def _imported(client: Client) -> None:
    client.import_("hello")


def test_the_configuration_is_shown(client: Client) -> None:
    response = client.on("default:hello:latest", "GET", "/config")
    shown = response.json()
    assert response.status_code == 200
    assert shown["func_urn"].endswith(":default:hello:latest")
    assert shown["digest"] == hashlib.sha512(CODE).hexdigest()
    assert (shown["code_size"], shown["version"]) == (len(CODE), "latest")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", shown["last_modified"])


def test_colons_in_the_path_may_be_plain(sandbox: SandboxServer, client: Client) -> None:
    urn = sandbox.functions["hello"].urn
    assert client.call("GET", f"/functions/{urn}/config").status_code == 200


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default:other", (404, "FSS.1051")),
        ("other:hello", (404, "FSS.1051")),
        ("default", (404, "FSS.1051")),
        ("default:hello:v1", (404, "FSS.1052")),
        ("default:hello:latest:x", (404, "FSS.1052")),
    ],
)
def test_a_missing_function_is_not_found(client: Client, name: str, expected: Any) -> None:
    assert code_of(client.on(name, "GET", "/config")) == expected


def test_another_project_is_forbidden(sandbox: SandboxServer, client: Client) -> None:
    client.base = f"{sandbox.url}/v2/{'0' * 32}/fgs"
    assert code_of(client.call("GET", "/functions")) == (403, "FSS.0403")


def test_an_unpublished_path_is_an_error_of_the_gateway(client: Client) -> None:
    response = client.call("GET", "/nothing")
    assert code_of(response) == (404, "APIGW.0101")
    assert response.json()["request_id"] == response.headers["X-Request-Id"]


def test_the_code_is_downloaded_by_its_link(client: Client) -> None:
    shown = client.on("default:hello", "GET", "/code").json()
    assert shown["digest"] == hashlib.sha512(CODE).hexdigest()
    assert requests.get(shown["func_code"]["link"], timeout=10).content == CODE


def test_functions_are_listed_by_name_and_package(client: Client) -> None:
    client.import_("abc", package="team")
    client.import_("xyz", package="team")

    def names(**query: Any) -> list[str]:
        found = client.call("GET", "/functions", params=query).json()
        return [item["func_name"] for item in found["functions"]]

    assert names() == ["abc", "hello", "xyz"]
    assert names(package_name="team") == ["abc", "xyz"]
    assert names(func_name="hello") == ["hello"]
    assert names(func_name="hello", package_name="team") == []


def test_a_list_is_paged(client: Client) -> None:
    for name in ("a", "b", "c"):
        client.import_(name)
    first = client.call("GET", "/functions", params={"maxitems": 3}).json()
    rest = client.call("GET", "/functions", params={"marker": first["next_marker"]}).json()
    assert [item["func_name"] for item in first["functions"]] == ["a", "b", "c"]
    assert [item["func_name"] for item in rest["functions"]] == ["hello"]
    assert first["count"] == 4


@pytest.mark.parametrize("query", [{"maxitems": 401}, {"maxitems": 0}, {"marker": "x"}])
def test_a_wrong_page_is_refused(client: Client, query: Any) -> None:
    assert code_of(client.call("GET", "/functions", params=query)) == (400, "FSS.0400")


def test_new_code_replaces_the_old_code(sandbox: SandboxServer, client: Client) -> None:
    before = sandbox.functions["hello"]
    new = b"other code"
    fields = {
        "code_type": "zip",
        "code_filename": "new.zip",
        "func_code": {"file": base64.b64encode(new).decode(), "link": ""},
    }
    answer = client.on("default:hello:latest", "PUT", "/code", json=fields).json()
    after = sandbox.functions["hello"]
    assert answer["digest"] == after.digest == hashlib.sha512(new).hexdigest()
    assert (answer["code_size"], answer["code_filename"]) == (len(new), "new.zip")
    assert after.revision == 2
    assert after.code.path.read_bytes() == new
    assert not before.code.path.exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"code_type": "obs"}, (400, "FSS.1006")),
        ({"code_filename": None}, (400, "FSS.0400")),
        ({"func_code": {"file": "="}}, (400, "FSS.1011")),
        ({"func_code": {}}, (400, "FSS.1012")),
    ],
)
def test_wrong_code_changes_nothing(
    sandbox: SandboxServer, client: Client, changes: Any, expected: tuple[int, str]
) -> None:
    before = sandbox.functions["hello"]
    fields = {"code_type": "zip", "code_filename": "a.zip", "func_code": {"file": "QUJD"}}
    response = client.on("default:hello", "PUT", "/code", json=fields | changes)
    assert code_of(response) == expected
    assert sandbox.functions["hello"] == before
    assert before.code.path.read_bytes() == CODE


def test_the_configuration_is_updated(sandbox: SandboxServer, client: Client) -> None:
    answer = client.on("default:hello", "PUT", "/config", json=CONFIG | {"description": "d"})
    assert answer.status_code == 200
    shown = client.on("default:hello", "GET", "/config").json()
    assert (shown["runtime"], shown["timeout"], shown["description"]) == ("Python3.9", 60, "d")
    assert shown["cpu"] == 600
    assert shown["digest"] == hashlib.sha512(CODE).hexdigest()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"memory_size": 1}, (400, "FSS.1007")),
        ({"runtime": "Python3.12"}, (400, "FSS.1005")),
        ({"func_name": "other"}, (400, "FSS.0400")),
        ({"user_data": "["}, (400, "FSS.1009")),
    ],
)
def test_a_wrong_configuration_changes_nothing(
    sandbox: SandboxServer, client: Client, changes: Any, expected: tuple[int, str]
) -> None:
    before = sandbox.functions["hello"]
    assert code_of(client.on("default:hello", "PUT", "/config", json=CONFIG | changes)) == expected
    assert sandbox.functions["hello"] == before


def test_an_update_replaces_the_configuration(sandbox: SandboxServer, client: Client) -> None:
    settings = {"description": "d", "xrole": "role", "encrypted_user_data": '{"A": "b"}'}
    vpc = {"vpc_id": "v", "subnet_id": "s"}
    client.on("default:hello", "PUT", "/config", json=CONFIG | settings | {"func_vpc": vpc})
    shown = client.on("default:hello", "GET", "/config").json()
    assert (shown["xrole"], shown["func_vpc"]) == ("role", vpc)
    assert shown["encrypted_user_data"] == "***"
    client.on("default:hello", "PUT", "/config", json=CONFIG)
    shown = client.on("default:hello", "GET", "/config").json()
    for name in ("description", "xrole", "encrypted_user_data", "user_data"):
        assert shown[name] == ""
    assert "func_vpc" not in shown
    assert shown["digest"] == hashlib.sha512(CODE).hexdigest()


def test_new_code_keeps_the_configuration(sandbox: SandboxServer, client: Client) -> None:
    client.on("default:hello", "PUT", "/config", json=CONFIG | {"description": "d"})
    before = sandbox.functions["hello"].config
    fields = {"code_type": "zip", "code_filename": "a.zip", "func_code": {"file": "QUJD"}}
    assert client.on("default:hello", "PUT", "/code", json=fields).status_code == 200
    assert sandbox.functions["hello"].config == before


def test_a_missing_field_of_the_configuration_is_named(client: Client) -> None:
    response = client.on("default:hello", "PUT", "/config", json={"func_name": "hello"})
    assert response.json()["error_msg"].endswith("runtime, timeout, handler, memory_size")


def test_a_deleted_function_does_not_exist_any_more(sandbox: SandboxServer, client: Client) -> None:
    code = sandbox.functions["hello"].code.path
    assert client.on("default:hello", "DELETE").status_code == 204
    assert code_of(client.on("default:hello", "GET", "/config")) == (404, "FSS.1051")
    assert code_of(client.on("default:hello", "DELETE")) == (404, "FSS.1051")
    assert not code.exists()


def test_latest_alone_cannot_be_deleted(sandbox: SandboxServer, client: Client) -> None:
    assert code_of(client.on("default:hello:latest", "DELETE")) == (400, "FSS.0400")
    assert "hello" in sandbox.functions


def exported(client: Client, query: str) -> tuple[str, bytes]:
    reply = client.on("default:hello", "GET", f"/export?{query}").json()
    return reply["file_name"], requests.get(reply["code_url"], timeout=10).content


def test_the_code_alone_is_exported(client: Client) -> None:
    name, content = exported(client, "type=code")
    assert content == CODE
    assert name == f"hello{hashlib.md5(CODE).hexdigest()}.zip"


def test_the_configuration_alone_is_exported(client: Client) -> None:
    name, content = exported(client, "type=config")
    assert name.endswith(".yaml")
    assert yaml.safe_load(content)["hello"]["Runtime"] == "Python3.9"


def test_an_exported_package_can_be_imported_again(sandbox: SandboxServer, client: Client) -> None:
    _, content = exported(client, "code=true&config=true")
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["index.zip", "hello.yaml"]
    assert client.import_("again", content).status_code == 200
    original, imported = (sandbox.functions[name] for name in ("hello", "again"))
    assert (original.digest, original.config) == (imported.digest, imported.config)
    assert json.loads(imported.config["user_data"]) == {"GREETING": "hello"}


@pytest.mark.parametrize("query", ["", "type=all", "type=code&code=true", "code=false"])
def test_an_export_with_ambiguous_parts_is_refused(client: Client, query: str) -> None:
    assert code_of(client.on("default:hello", "GET", f"/export?{query}")) == (400, "FSS.0400")


def test_a_large_code_file_is_exported(client: Client) -> None:
    client.import_("large", export("large", code=bytes(300_000)))
    reply = client.on("default:large", "GET", "/export?type=code").json()
    assert len(requests.get(reply["code_url"], timeout=10).content) == 300_000


def test_an_unknown_link_is_not_found(sandbox: SandboxServer) -> None:
    assert code_of(requests.get(f"{sandbox.url}/code/x", timeout=10)) == (404, "FSS.0404")
