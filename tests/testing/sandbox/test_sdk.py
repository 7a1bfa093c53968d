"""The unpatched official SDK works with the sandbox when only the endpoint is changed.

This includes the error classes, codes and request ids of the SDK.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from huaweicloudsdkcore.auth.credentials import BasicCredentials, GlobalCredentials
from huaweicloudsdkcore.exceptions.exceptions import (
    ClientRequestException,
    ConnectionException,
    SdkException,
    ServerResponseException,
)
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkfunctiongraph import v2 as sdk

from relay.model import utc_now
from relay.testing.sandbox.functiongraph import SandboxServer
from tests.testing.sandbox.conftest import CODE, export

# The SDK calls datetime.utcnow, which is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")


def client_of(sandbox: SandboxServer, **changes: str) -> Any:
    named = {
        "ak": sandbox.access_key,
        "sk": sandbox.secret_key,
        "project_id": sandbox.project_id,
        **changes,
    }
    ticket = named.pop("security_token", "")
    credentials = BasicCredentials(**named)
    if ticket:
        credentials.with_security_token(ticket)
    builder = sdk.FunctionGraphClient.new_builder().with_credentials(credentials)
    return builder.with_endpoint(sandbox.url).build()


@pytest.fixture
def client(sandbox: SandboxServer) -> Any:
    return client_of(sandbox)


def order(name: str = "hello", archive: bytes | None = None, **more: str) -> Any:
    code = base64.b64encode(export(name) if archive is None else archive).decode()
    fields = {"func_name": name, "file_name": f"{name}.zip", "file_type": "zip", "file_code": code}
    return sdk.ImportFunctionRequest(sdk.ImportFunctionRequestBody(**{**fields, **more}))


@pytest.fixture
def urn(client: Any) -> str:
    return str(client.import_function(order()).func_urn)


# Operations


def test_import(client: Any, sandbox: SandboxServer) -> None:
    answer = client.import_function(order(package="tools"))
    assert answer.status_code == 200
    assert (answer.func_name, answer.package, answer.runtime) == ("hello", "tools", "Python3.9")
    assert answer.digest == hashlib.sha512(CODE).hexdigest()
    assert answer.code_size == len(CODE)
    assert answer.func_urn == (
        f"urn:fss:{sandbox.region}:{sandbox.project_id}:function:tools:hello"
    )
    assert [call.function for call in sandbox.imports] == ["hello"]


def test_show_configuration(client: Any, urn: str) -> None:
    for name in (urn, f"{urn}:latest"):
        shown = client.show_function_config(sdk.ShowFunctionConfigRequest(name))
        assert (shown.func_name, shown.memory_size, shown.timeout) == ("hello", 128, 3)
        assert shown.digest == hashlib.sha512(CODE).hexdigest()
        assert json.loads(shown.user_data) == {"GREETING": "hello"}


def test_show_code(client: Any, urn: str) -> None:
    shown = client.show_function_code(sdk.ShowFunctionCodeRequest(urn))
    assert (shown.code_type, shown.code_filename) == ("zip", "index.zip")
    assert requests.get(shown.func_code.link, timeout=5).content == CODE


def test_list_with_pages(client: Any) -> None:
    for name in ("one", "two", "three"):
        client.import_function(order(name))
    seen, marker = [], "0"
    for _ in range(2):
        page = client.list_functions(sdk.ListFunctionsRequest(marker=marker, maxitems="2"))
        assert page.count == 3
        seen += [function.func_name for function in page.functions]
        marker = str(page.next_marker)
    assert sorted(seen) == ["one", "three", "two"]
    named = client.list_functions(sdk.ListFunctionsRequest(func_name="two"))
    assert [function.func_name for function in named.functions] == ["two"]


def test_update_code(client: Any, urn: str, sandbox: SandboxServer) -> None:
    code = CODE + b"changed"
    body = sdk.UpdateFunctionCodeRequestBody(
        code_type="zip",
        code_filename="index.zip",
        func_code=sdk.FuncCode(file=base64.b64encode(code).decode()),
    )
    answer = client.update_function_code(sdk.UpdateFunctionCodeRequest(urn, body))
    assert answer.digest == hashlib.sha512(code).hexdigest()
    assert sandbox.functions["hello"].digest == answer.digest


def test_update_configuration(client: Any, urn: str) -> None:
    body = sdk.UpdateFunctionConfigRequestBody(
        func_name="hello",
        runtime="Python3.9",
        timeout=30,
        handler="index.other",
        memory_size=256,
        user_data='{"WORD": "\u4f60\u597d"}',
        description="\u4e2d\u6587",
    )
    answer = client.update_function_config(sdk.UpdateFunctionConfigRequest(urn, body))
    assert (answer.runtime, answer.timeout, answer.memory_size) == ("Python3.9", 30, 256)
    shown = client.show_function_config(sdk.ShowFunctionConfigRequest(urn))
    assert shown.description == "\u4e2d\u6587"
    assert json.loads(shown.user_data) == {"WORD": "\u4f60\u597d"}


def test_delete(client: Any, urn: str, sandbox: SandboxServer) -> None:
    assert client.delete_function(sdk.DeleteFunctionRequest(urn)).status_code == 204
    assert sandbox.functions == {}


@pytest.mark.parametrize("query", [{"type": "code"}, {"config": True, "code": True}], ids=str)
def test_an_export_can_be_imported_again(client: Any, urn: str, query: Any) -> None:
    answer = client.export_function(sdk.ExportFunctionRequest(function_urn=urn, **query))
    exported = json.loads(answer.raw_content)
    package = requests.get(exported["code_url"], timeout=5).content
    assert exported["file_name"].endswith(".zip")
    if "type" in query:
        assert package == CODE
        return
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        assert sorted(archive.namelist()) == ["hello.yaml", "index.zip"]
    client.delete_function(sdk.DeleteFunctionRequest(urn))
    again = client.import_function(order(archive=package))
    assert again.digest == hashlib.sha512(CODE).hexdigest()


def test_show_quotas(client: Any, urn: str) -> None:
    quotas = client.list_quotas(sdk.ListQuotasRequest()).quotas.resources
    assert {quota.type: quota.used for quota in quotas}["fgs_func_num"] == 1


@pytest.mark.parametrize("size", [5_000_000, 20_000_000])
def test_bodies_arrive_completely(size: int) -> None:
    code = bytes(range(256)) * (size // 256)
    with SandboxServer(gateway_limit=100_000_000) as sandbox:
        answer = client_of(sandbox).import_function(order(archive=export(code=code)))
        assert answer.digest == hashlib.sha512(code).hexdigest()


def test_an_unsigned_body_is_accepted(client: Any, sandbox: SandboxServer) -> None:
    invoker = client.import_function_invoker(order())
    invoker.add_header("X-Sdk-Content-Sha256", "UNSIGNED-PAYLOAD").invoke()
    assert list(sandbox.functions) == ["hello"]


def test_temporary_keys_are_accepted() -> None:
    with SandboxServer(security_token="ticket") as sandbox:
        client_of(sandbox, security_token="ticket").import_function(order())
        with pytest.raises(ClientRequestException) as refused:
            client_of(sandbox, security_token="other").import_function(order("other"))
    assert refused.value.error_code == "APIGW.0301"


# IAM


def test_the_project_and_account_are_found(sandbox: SandboxServer) -> None:
    basic = BasicCredentials(sandbox.access_key, sandbox.secret_key).with_iam_endpoint(sandbox.url)
    builder = sdk.FunctionGraphClient.new_builder().with_credentials(basic)
    client = builder.with_region(Region(sandbox.region, sandbox.url)).build()
    assert basic.project_id == sandbox.project_id
    client.import_function(order())
    account = GlobalCredentials(sandbox.access_key, sandbox.secret_key)
    account.with_iam_endpoint(sandbox.url)
    account.process_auth_params(client.get_http_client(), sandbox.region)
    assert account.domain_id == "sandbox-domain"
    assert [call.operation for call in sandbox.calls] == ["projects", "import", "domains"]


def test_no_project_is_found_in_another_region(sandbox: SandboxServer) -> None:
    basic = BasicCredentials(sandbox.access_key, sandbox.secret_key).with_iam_endpoint(sandbox.url)
    builder = sdk.FunctionGraphClient.new_builder().with_credentials(basic)
    with pytest.raises(SdkException, match="Failed to get project id of region 'ru-moscow-1'"):
        builder.with_region(Region("ru-moscow-1", sandbox.url)).build()


# Errors and their exception classes


@pytest.fixture
def refused(client: Any, sandbox: SandboxServer) -> Iterator[Callable[..., Any]]:
    """refused(call) -> the exception of the SDK, after checking the request id in it."""

    def refused(call: Callable[[], Any], kind: type[Any] = ClientRequestException) -> Any:
        with pytest.raises(kind) as raised:
            call()
        assert type(raised.value) is kind
        assert raised.value.request_id == sandbox.calls[-1].request_id
        return raised.value

    return refused


def test_a_taken_name_is_409(client: Any, urn: str, refused: Any) -> None:
    error = refused(lambda: client.import_function(order()))
    assert (error.status_code, error.error_code) == (409, "FSS.1061")
    assert error.error_msg == "The function has existed"


def test_an_unknown_function_is_404(client: Any, urn: str, refused: Any) -> None:
    for call in (
        lambda: client.show_function_config(sdk.ShowFunctionConfigRequest(f"{urn}x")),
        lambda: client.export_function(sdk.ExportFunctionRequest(f"{urn}x", code=True)),
        lambda: client.delete_function(sdk.DeleteFunctionRequest(f"{urn}x")),
    ):
        error = refused(call)
        assert (error.status_code, error.error_code) == (404, "FSS.1051")


def test_a_body_over_12_mb_is_413() -> None:
    with SandboxServer() as sandbox, pytest.raises(ClientRequestException) as refused:
        client_of(sandbox).import_function(order(archive=export(code=bytes(9_500_000))))
    assert refused.value.status_code == 413
    assert refused.value.error_code == "APIGW.0201"
    assert "12 MB" in refused.value.error_msg


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sk": "wrong"}, "verify aksk signature fail"),
        ({"ak": "unknown"}, "Get secretKey failed"),
    ],
    ids=str,
)
def test_a_wrong_key_is_401(changes: Any, words: str, sandbox: SandboxServer) -> None:
    with pytest.raises(ClientRequestException) as refused:
        client_of(sandbox, **changes).import_function(order())
    assert (refused.value.status_code, refused.value.error_code) == (401, "APIGW.0301")
    assert words in refused.value.error_msg
    assert refused.value.request_id


def test_a_wrong_clock_is_401() -> None:
    later = SandboxServer(clock=lambda: utc_now() + timedelta(minutes=20))
    with later as sandbox, pytest.raises(ClientRequestException) as refused:
        client_of(sandbox).import_function(order())
    assert refused.value.error_code == "APIGW.0301"
    assert "15 minutes" in refused.value.error_msg


def test_another_project_is_403(client: Any, sandbox: SandboxServer) -> None:
    with pytest.raises(ClientRequestException) as refused:
        client_of(sandbox, project_id="f" * 32).import_function(order())
    assert (refused.value.status_code, refused.value.error_code) == (403, "FSS.0403")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"func_name": "1st"}, "FSS.1002"),
        ({"package": "a b"}, "FSS.1004"),
        ({"file_type": "jar"}, "FSS.1013"),
        ({"file_code": ""}, "FSS.1012"),
        ({"file_code": "????"}, "FSS.1011"),
    ],
    ids=str,
)
def test_a_bad_field_is_400(changes: Any, code: str, client: Any, refused: Any) -> None:
    error = refused(lambda: client.import_function(order(**changes)))
    assert (error.status_code, error.error_code) == (400, code)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, ClientRequestException),
        (500, ServerResponseException),
        (502, ServerResponseException),
        (503, ServerResponseException),
    ],
)
def test_errors_have_the_exception_class_of_the_status(
    status: int, kind: type[Any], client: Any, sandbox: SandboxServer, refused: Any
) -> None:
    sandbox.fault(operation="import", status=status)
    error = refused(lambda: client.import_function(order()), kind)
    assert (error.status_code, error.error_code) == (status, f"FSS.{status:04d}")


def test_a_reset_is_a_lost_connection(client: Any, sandbox: SandboxServer) -> None:
    sandbox.fault(operation="import", commit=True, drop=True)
    with pytest.raises(ConnectionException):
        client.import_function(order())
    assert len(sandbox.imports) == 1
