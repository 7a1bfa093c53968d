"""The settings of a functiongraph target and the errors for missing values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from relay.plugins import find, known
from relay.targets.functiongraph.target import Target

KEY = {"access_key": "ak", "secret_key": "sk"}
USER = {"iam_user": "u", "iam_password": "p", "iam_domain": "d"}


def settings(**given: Any) -> Any:
    base = {"kind": "functiongraph", "region": "cn-north-4", "project_id": "0" * 32}
    return Target.Settings(**{**base, **given})  # type: ignore[arg-type]


def errors(**given: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as raised:
        settings(**given)
    return {".".join(map(str, error["loc"])): error["msg"] for error in raised.value.errors()}


def test_functiongraph_is_the_only_kind_with_that_name() -> None:
    assert find("targets", "functiongraph") is Target
    assert [kind for kind in known("targets") if "functiongraph" in kind] == ["functiongraph"]


def test_endpoints_come_from_the_region() -> None:
    parsed = settings(**KEY)
    assert parsed.url == "https://functiongraph.cn-north-4.myhuaweicloud.com"
    assert parsed.iam_url == "https://iam.cn-north-4.myhuaweicloud.com"
    assert parsed.max_size == 300 * 2**20
    assert parsed.concurrency == 1


def test_endpoints_can_be_configured() -> None:
    parsed = settings(
        endpoint="http://127.0.0.1:8080/", iam_endpoint="https://iam.eu-de.x.com", **KEY
    )
    assert parsed.url == "http://127.0.0.1:8080"
    assert parsed.iam_url == "https://iam.eu-de.x.com"


@pytest.mark.parametrize(
    "url",
    [
        "functiongraph.x.com",
        "ftp://x.com",
        "https://",
        "https://x.com/v2",
        "https://u:p@x.com",
        "https://u:p℀x@x.com",
        "https://x.com:99999",
    ],
)
def test_an_endpoint_is_a_scheme_and_a_host(url: str) -> None:
    assert "https:// and a host" in errors(endpoint=url, **KEY)["endpoint"]


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"auth": "token"}, {"iam_user", "iam_password", "iam_domain"}),
        ({"auth": "token", **KEY, "iam_user": "u"}, {"iam_password", "iam_domain"}),
        ({"access_key": "ak"}, {"secret_key"}),
        ({"secret_key": "sk"}, {"access_key"}),
        ({"auth": "aksk", "secret_key": "sk", "iam_user": "u"}, {"access_key"}),
        ({"iam_user": "u"}, {"iam_password", "iam_domain"}),
        ({**KEY, "iam_user": "u", "iam_password": "p"}, {"iam_domain"}),
    ],
    ids=lambda value: "-".join(sorted(value)) or "nothing",
)
def test_a_missing_setting_is_reported_at_its_key(given: dict[str, str], missing: set[str]) -> None:
    assert errors(**given).keys() == missing


@pytest.mark.parametrize("given", [KEY, USER, {**KEY, **USER}, {"auth": "token", **USER, **KEY}])
def test_a_key_or_a_user_is_sufficient(given: dict[str, str]) -> None:
    settings(**given)


@pytest.mark.parametrize("given", [{}, {"auth": "aksk"}, {"auth": "aksk", **USER}])
def test_without_configured_credentials_an_access_key_is_discovered(given: dict[str, str]) -> None:
    assert settings(**given).uses_key


def test_no_access_key_is_discovered_if_an_iam_user_is_configured() -> None:
    assert not settings(**USER).uses_key
    assert settings(**USER, **KEY).uses_key
    assert not settings(auth="token", **USER, **KEY).uses_key


@pytest.mark.parametrize("given", [{"project_id": ""}, {}])
def test_the_project_id_can_come_from_the_environment(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUAWEICLOUD_SDK_PROJECT_ID", "e" * 32)
    base = {"kind": "functiongraph", "region": "cn-north-4", **KEY}
    assert Target.Settings(**base, **given).project_id == "e" * 32  # type: ignore[arg-type]
    assert settings(**KEY).project_id == "0" * 32


def test_the_project_id_can_come_from_the_credentials_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "keys").write_text(f"[basic]\nproject_id = {'f' * 32}\n")
    monkeypatch.setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", str(tmp_path / "keys"))
    assert settings(project_id="", **KEY).project_id == "f" * 32
    monkeypatch.setenv("HUAWEICLOUD_SDK_PROJECT_ID", "e" * 32)
    assert settings(project_id="", **KEY).project_id == "e" * 32


@pytest.mark.parametrize("discovered", ["", "too-short"])
def test_a_missing_project_id_is_reported_with_all_sources(
    discovered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUAWEICLOUD_SDK_PROJECT_ID", discovered)
    message = errors(project_id="", **KEY)["project_id"]
    for source in ("32 letters and digits", "HUAWEICLOUD_SDK_PROJECT_ID", "credentials file"):
        assert source in message


@pytest.mark.parametrize(
    ("key", "value"),
    [("project_id", "0" * 31), ("project_id", "-" * 32), ("region", "cn/north"), ("auth", "no")],
)
def test_a_malformed_value_is_reported_at_its_key(key: str, value: str) -> None:
    assert errors(**{**KEY, key: value}).keys() == {key}


def test_no_secret_is_shown() -> None:
    parsed = settings(
        access_key="ak", secret_key="sk-shh", iam_user="u", iam_password="pw-shh", iam_domain="d"
    )
    assert "shh" not in repr(parsed)
    assert "shh" not in repr(parsed.key)
    assert "shh" not in str(errors(secret_key="sk-shh", auth="token", iam_password="pw-shh"))
