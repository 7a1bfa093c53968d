"""The import: accepted requests, stored functions, and the code of each error."""

import base64
import hashlib
import http.client
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests

from relay.model import utc_now
from relay.testing.sandbox.functiongraph import SandboxServer

from .conftest import CODE, Client, code_of, export, import_fields, template, zipped


def test_an_import_creates_a_function_with_the_digest_of_the_code(
    sandbox: SandboxServer, client: Client
) -> None:
    before = utc_now()
    response = client.import_("hello", package="team_a")
    answer = response.json()
    assert response.status_code == 200
    urn = f"urn:fss:cn-north-4:{sandbox.project_id}:function:team_a:hello"
    assert answer["func_urn"] == urn
    assert answer["digest"] == hashlib.sha512(CODE).hexdigest()
    assert answer["code_size"] == len(CODE)
    assert (answer["runtime"], answer["memory_size"]) == ("Python3.9", 128)
    assert json.loads(answer["user_data"]) == {"GREETING": "hello"}
    assert response.headers["X-Request-Id"] == sandbox.calls[-1].request_id
    function = sandbox.functions["hello"]
    assert function.code.path.read_bytes() == CODE
    assert before <= function.modified <= utc_now()


def test_the_call_is_recorded(sandbox: SandboxServer, client: Client) -> None:
    body = json.dumps(import_fields("hello"))
    client.call("POST", "/functions/import", data=body)
    [call] = sandbox.calls
    assert (call.operation, call.method, call.status) == ("import", "POST", 200)
    assert (call.function, call.received) == ("hello", len(body))
    assert (call.applied, call.finished) == (True, True)
    assert sandbox.imports == [call]


@pytest.mark.parametrize("first", ["func_name", "file_code", "package"])
def test_fields_can_have_any_order(client: Client, first: str) -> None:
    fields = import_fields("hello", package="default")
    turned = {first: fields.pop(first)} | dict(reversed(fields.items()))
    assert client.call("POST", "/functions/import", json=turned).status_code == 200


def test_an_escaped_slash_in_the_base64_is_read(client: Client) -> None:
    body = json.dumps(import_fields("hello")).replace("/", "\\/")
    assert client.call("POST", "/functions/import", data=body).status_code == 200


def test_a_taken_name_is_refused_in_every_package(sandbox: SandboxServer, client: Client) -> None:
    client.import_("hello", package="default")
    again = client.import_("hello", package="other")
    assert again.status_code == 409
    assert again.json() == {"error_code": "FSS.1061", "error_msg": "The function has existed"}
    assert len(sandbox.imports) == 1


def test_a_function_of_another_user_takes_the_name(sandbox: SandboxServer, client: Client) -> None:
    sandbox.hold("hello", code=b"other code")
    assert code_of(client.import_("hello")) == (409, "FSS.1061")
    assert sandbox.functions["hello"].digest == hashlib.sha512(b"other code").hexdigest()


def test_only_one_of_two_concurrent_imports_succeeds(
    sandbox: SandboxServer, client: Client
) -> None:
    statuses: list[int] = []

    def import_once() -> None:
        with requests.Session() as session:
            second = Client(sandbox)
            second.session.close()
            second.session = session
            statuses.append(second.import_("hello").status_code)

    threads = [threading.Thread(target=import_once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 409, 409, 409, 409, 409]
    assert len(sandbox.imports) == 1


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({"func_name": "1st"}, (400, "FSS.1002")),
        ({"func_name": "ends_"}, (400, "FSS.1002")),
        ({"func_name": "a" * 61}, (400, "FSS.1002")),
        ({"func_name": "a/b"}, (400, "FSS.1002")),
        ({"func_name": None}, (400, "FSS.1002")),
        ({"package": "a-b"}, (400, "FSS.1004")),
        ({"file_type": "jar"}, (400, "FSS.1013")),
        ({"file_name": ""}, (400, "FSS.0400")),
        ({"file_code": ""}, (400, "FSS.1012")),
        ({"file_code": 1}, (400, "FSS.1012")),
        ({"file_code": "no base64!"}, (400, "FSS.1011")),
        ({"file_code": base64.b64encode(b"no zip").decode()}, (400, "FSS.1011")),
    ],
)
def test_a_wrong_field_is_refused_with_its_code(
    sandbox: SandboxServer, client: Client, changes: Any, right: tuple[int, str]
) -> None:
    response = client.call("POST", "/functions/import", json=import_fields() | changes)
    assert code_of(response) == right
    assert sandbox.functions == {}
    assert not sandbox.calls[-1].applied


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({"Runtime": "Cobol"}, (400, "FSS.1005")),
        ({"Runtime": None}, (400, "FSS.1005")),
        ({"Handler": "no_dot"}, (400, "FSS.1003")),
        ({"Handler": "x" * 127 + ".y"}, (400, "FSS.1003")),
        ({"MemorySize": 100}, (400, "FSS.1007")),
        ({"MemorySize": True}, (400, "FSS.1007")),
        ({"Timeout": 2}, (400, "FSS.1008")),
        ({"Timeout": 259201}, (400, "FSS.1008")),
        ({"Timeout": "3"}, (400, "FSS.1008")),
        ({"CodeType": "tar"}, (400, "FSS.1006")),
        ({"CodeFileName": "missing.zip"}, (400, "FSS.1025")),
        ({"Description": "x" * 513}, (400, "FSS.1019")),
        ({"Environment": {"Variables": {f"V{n}": "" for n in range(21)}}}, (400, "FSS.1017")),
        ({"Environment": {"Variables": {"V": "x" * 4096}}}, (400, "FSS.1018")),
        ({"Environment": {"Variables": ["V"]}}, (400, "FSS.1009")),
    ],
)
def test_a_wrong_property_of_the_yaml_is_refused_with_its_code(
    client: Client, changes: Any, right: tuple[int, str]
) -> None:
    assert code_of(client.import_("hello", export("hello", **changes))) == right


@pytest.mark.parametrize("runtime", ["http", "Go1.x", "Custom"])
def test_some_runtimes_need_no_dot_in_the_handler(client: Client, runtime: str) -> None:
    archive = export("hello", Runtime=runtime, Handler="bootstrap")
    assert client.import_("hello", archive).status_code == 200


@pytest.mark.parametrize(
    ("files", "right"),
    [
        ({"index.zip": CODE}, (400, "FSS.1022")),
        ({"index.zip": CODE, "a.yaml": template(), "b.yml": template()}, (400, "FSS.1022")),
        ({"index.zip": CODE, "a.yaml": "{"}, (400, "FSS.1025")),
        ({"index.zip": CODE, "a.yaml": "[" * 20_000}, (400, "FSS.1025")),
        ({"index.zip": CODE, "a.yaml": "text"}, (400, "FSS.1025")),
        ({"index.zip": CODE, "a.yaml": "!!python/object:os.system {}"}, (400, "FSS.1025")),
        ({"index.zip": CODE, "a.yaml": "#" * (1 << 20) + "\n" + template()}, (400, "FSS.1025")),
        ({"index.zip": CODE, "a.yaml": "HcCrmTemplateVersion: v1"}, (404, "FSS.1057")),
        (
            {"index.zip": CODE, "a.yaml": "{HcCrmTemplateVersion: v1, Resources: {}}"},
            (404, "FSS.1057"),
        ),
        (
            {"index.zip": CODE, "a.yaml": "{HcCrmTemplateVersion: v1, Resources: {a: {}}}"},
            (400, "FSS.1025"),
        ),
        ({"index.zip": CODE, "a.yaml": template().replace("v1", "v2")}, (400, "FSS.1025")),
        (
            {"index.zip": CODE, "a.yaml": template().replace("HC::Serverless", "X")},
            (400, "FSS.1025"),
        ),
    ],
)
def test_a_package_that_is_not_an_export_is_refused_with_its_code(
    client: Client, files: dict[str, bytes | str], right: tuple[int, str]
) -> None:
    assert code_of(client.import_("hello", zipped(files))) == right


def test_a_package_with_two_functions_is_refused(client: Client) -> None:
    yaml = template("hello") + "  second: {Type: HC::Serverless::Function, Properties: {}}\n"
    assert code_of(client.import_("hello", zipped({"index.zip": CODE, "a.yaml": yaml}))) == (
        400,
        "FSS.1025",
    )


def test_a_package_with_a_damaged_code_file_is_refused(
    sandbox: SandboxServer, client: Client
) -> None:
    broken = bytearray(export("hello", code=b"A" * 1000))
    broken[broken.index(b"AAAA") + 10] ^= 1
    assert code_of(client.import_("hello", bytes(broken))) == (400, "FSS.1011")
    assert sandbox.functions == {}


def test_the_name_can_differ_from_the_yaml(sandbox: SandboxServer, client: Client) -> None:
    assert client.import_("renamed", export("hello")).status_code == 200
    assert list(sandbox.functions) == ["renamed"]


def test_the_name_must_match_the_yaml_if_configured() -> None:
    with SandboxServer(names_must_match=True) as sandbox:
        client = Client(sandbox)
        with client.session:
            assert code_of(client.import_("renamed", export("hello"))) == (404, "FSS.1057")
            assert client.import_("hello", export("hello")).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b'{"func_name": "hello"', b"func_name=hello"])
def test_a_body_that_is_not_a_json_object_is_406(client: Client, body: bytes) -> None:
    assert code_of(client.call("POST", "/functions/import", data=body)) == (406, "FSS.0406")


def test_the_quota_of_functions_is_enforced() -> None:
    with SandboxServer(quota=1) as sandbox:
        client = Client(sandbox)
        with client.session:
            client.import_("first")
            assert code_of(client.import_("second")) == (403, "FSS.1041")
            assert client.call("GET", "/quotas").json()["quotas"]["resources"][0] == {
                "type": "fgs_func_num",
                "quota": 1,
                "used": 1,
            }


def test_a_zip_over_the_limit_is_refused() -> None:
    with SandboxServer(max_size=2000) as sandbox:
        client = Client(sandbox)
        with client.session:
            big = export("hello", code=bytes(2001))
            assert code_of(client.import_("hello", big)) == (400, "FSS.1023")
            assert sandbox.functions == {}


def test_a_body_over_the_limit_is_refused_before_it_is_read() -> None:
    with SandboxServer(max_size=1000) as sandbox:
        connection = http.client.HTTPConnection("127.0.0.1", int(sandbox.url.rsplit(":")[-1]))
        connection.putrequest("POST", f"/v2/{sandbox.project_id}/fgs/functions/import")
        connection.putheader("X-Auth-Token", sandbox.issue_token())
        connection.putheader("Content-Length", "400000000")
        connection.endheaders(b'{"func_name": "hel')
        response = connection.getresponse()
        assert response.status == 413
        assert json.loads(response.read())["error_code"] == "FSS.0413"
        assert response.headers["Connection"] == "close"
        assert sandbox.calls[-1].received == 0
        connection.close()


def test_a_body_that_ends_too_early_changes_nothing(
    sandbox: SandboxServer, wait_until: Callable[..., None]
) -> None:
    body = json.dumps(import_fields("hello")).encode()
    connection = http.client.HTTPConnection("127.0.0.1", int(sandbox.url.rsplit(":")[-1]))
    connection.putrequest("POST", f"/v2/{sandbox.project_id}/fgs/functions/import")
    connection.putheader("X-Auth-Token", sandbox.issue_token())
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:-1])
    connection.close()
    wait_until(lambda: sandbox.calls and sandbox.calls[-1].finished)
    [call] = sandbox.calls
    assert (call.status, call.applied, call.received) == (None, False, len(body) - 1)
    assert sandbox.functions == {}


def test_a_chunked_body_is_not_accepted(client: Client) -> None:
    response = client.call("POST", "/functions/import", data=iter([b"{}"]))
    assert response.status_code == 411


def test_concurrent_imports_are_refused_if_configured(wait_until: Callable[..., None]) -> None:
    with SandboxServer(one_at_a_time=True) as sandbox:
        client, other = Client(sandbox), Client(sandbox)
        with client.session, other.session:
            sandbox.fault(trickle=2000)
            slow = threading.Thread(target=client.import_, args=("slow",))
            slow.start()
            wait_until(lambda: sandbox.calls and sandbox.calls[0].received)
            assert code_of(other.import_("other")) == (429, "FSS.0429")
            slow.join()
            assert [call.function for call in sandbox.imports] == ["slow"]
            assert other.import_("later").status_code == 200


def test_refused_imports_leave_no_files(sandbox: SandboxServer, client: Client) -> None:
    client.import_("hello")
    folder = sandbox.functions["hello"].code.path.parent
    client.import_("hello")
    client.import_("other", b"no zip")
    client.import_("other", export("other", Runtime="Cobol"))
    client.import_("other", zipped({"index.zip": CODE}))
    assert [path.name for path in folder.iterdir()] == [sandbox.functions["hello"].code.path.name]
