"""What a functiongraph target may be told, and what is said when something is missing."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from relay.loader import find, known
from relay.targets.functiongraph import Target

KEY = {"access_key": "ak", "secret_key": "sk"}
USER = {"iam_user": "u", "iam_password": "p", "iam_domain": "d"}


def settings(**given: Any) -> Any:
    base = {"kind": "functiongraph", "region": "cn-north-4", "project_id": "0" * 32}
    return Target.Settings(**{**base, **given})  # type: ignore[arg-type]


def complaints(**given: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as wrong:
        settings(**given)
    return {".".join(map(str, error["loc"])): error["msg"] for error in wrong.value.errors()}


def test_the_kind_is_found_and_its_neighbours_are_no_kinds() -> None:
    assert find("targets", "functiongraph") is Target
    assert [kind for kind in known("targets") if "functiongraph" in kind] == ["functiongraph"]


def test_endpoints_come_from_the_region() -> None:
    parsed = settings(**KEY)
    assert parsed.url == "https://functiongraph.cn-north-4.myhuaweicloud.com"
    assert parsed.iam_url == "https://iam.cn-north-4.myhuaweicloud.com"
    assert parsed.max_size == 300 * 2**20
    assert parsed.concurrency == 1


def test_endpoints_may_be_given() -> None:
    parsed = settings(
        endpoint="http://127.0.0.1:8080/", iam_endpoint="https://iam.eu-de.x.com", **KEY
    )
    assert parsed.url == "http://127.0.0.1:8080"
    assert parsed.iam_url == "https://iam.eu-de.x.com"


@pytest.mark.parametrize(
    "url",
    ["functiongraph.x.com", "ftp://x.com", "https://", "https://x.com/v2", "https://u:p@x.com"],
)
def test_an_endpoint_is_a_scheme_and_a_host(url: str) -> None:
    assert "https:// and a host" in complaints(endpoint=url, **KEY)["endpoint"]


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, {"auth"}),
        ({"auth": "aksk"}, {"access_key", "secret_key"}),
        ({"auth": "aksk", **USER}, {"access_key", "secret_key"}),
        ({"auth": "token"}, {"iam_user", "iam_password", "iam_domain"}),
        ({"auth": "token", **KEY, "iam_user": "u"}, {"iam_password", "iam_domain"}),
        ({"access_key": "ak"}, {"secret_key"}),
        ({"secret_key": "sk"}, {"access_key"}),
        ({**KEY, "iam_user": "u", "iam_password": "p"}, {"iam_domain"}),
    ],
    ids=lambda value: "-".join(sorted(value)) or "nothing",
)
def test_what_is_missing_is_named_at_its_key(given: dict[str, str], missing: set[str]) -> None:
    assert complaints(**given).keys() == missing


@pytest.mark.parametrize("given", [KEY, USER, {**KEY, **USER}, {"auth": "token", **USER, **KEY}])
def test_either_way_is_enough(given: dict[str, str]) -> None:
    settings(**given)


@pytest.mark.parametrize(
    ("key", "value"),
    [("project_id", "0" * 31), ("project_id", "-" * 32), ("region", "cn/north"), ("auth", "no")],
)
def test_a_malformed_value_is_refused_at_its_key(key: str, value: str) -> None:
    assert complaints(**{**KEY, key: value}).keys() == {key}


def test_no_secret_is_shown() -> None:
    parsed = settings(
        access_key="ak", secret_key="sk-shh", iam_user="u", iam_password="pw-shh", iam_domain="d"
    )
    assert "shh" not in repr(parsed)
    assert "shh" not in repr(parsed.key)
    assert "shh" not in str(complaints(secret_key="sk-shh", auth="token", iam_password="pw-shh"))
