"""Maps responses to errors according to the published tables of statuses and codes."""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import format_datetime

import pytest
import requests

from relay.errors import (
    NameTaken,
    OutcomeUnknown,
    PermanentFailure,
    RelayError,
    TemporaryFailure,
    Throttled,
)
from relay.model import Localized
from relay.targets.contract import FunctionName
from relay.targets.functiongraph.error_hints import BY_STATUS, HINTS, LOCKED
from relay.targets.functiongraph.errors import ApiResponse, classify, read_response
from relay.testing.change_recorder import ChangeRecorder
from relay.testing.target_suite import export, ignore
from tests.targets.functiongraph.conftest import NOW, FakeServer, MakeTarget

HELLO = FunctionName("hello", "default")

PERMANENT = """
400 FSS.0400 FSS.1001 FSS.1002 FSS.1003 FSS.1004 FSS.1005 FSS.1006 FSS.1007 FSS.1008 FSS.1009
400 FSS.1404 FSS.1405 FSS.1010 FSS.1011 FSS.1012 FSS.1013 FSS.1017 FSS.1018 FSS.1019 FSS.1022
400 FSS.1023 FSS.1024 FSS.1025 FSS.1026 FSS.1027 FSS.1032 FSS.1034 FSS.1035 FSS.1036 FSS.1037
400 FSS.1038 FSS.1039 FSS.1058 APIGW.0104 APIGW.0105 APIGW.0106 APIGW.0602 APIGW.0607
401 FSS.0401 APIGW.0301 APIGW.0303 APIGW.0305 APIGW.0307 APIGW.0311
403 FSS.0403 FSS.1041 FSS.1042 FSS.1044 FSS.1045 FSS.1046 FSS.1047 FSS.1048 FSS.1121 FSS.1122
403 FSS.1125 FSS.1126 FSS.1127 APIGW.0302 APIGW.0304 APIGW.0306 APIGW.0310 APIGW.0401 APIGW.0402
403 APIGW.0404 APIGW.0801 APIGW.0802
404 FSS.1050 FSS.1055 FSS.1056 FSS.1057 APIGW.0101 APIGW.0103
405 APIGW.0501 APIGW.0502
406 FSS.0406
409 FSS.1064 FSS.1065
413 FSS.0413 FSS.1071 FSS.1201
424 FSS.0424
426 FSS.0426
428 FSS.0428
"""
KNOWN_HINTS = {*HINTS.values(), *BY_STATUS.values()}
OTHERS: dict[tuple[int, str], type[RelayError]] = {
    (409, "FSS.1061"): NameTaken,
    (409, "FSS.0409"): NameTaken,
    (412, "FSS.1090"): TemporaryFailure,
    (412, "FSS.1095"): TemporaryFailure,
    (408, "FSS.0408"): OutcomeUnknown,
    (429, "FSS.0429"): Throttled,
    (429, "APIGW.0308"): Throttled,
    (500, "FSS.0500"): OutcomeUnknown,
    (502, "FSS.0502"): OutcomeUnknown,
    (503, "FSS.0503"): TemporaryFailure,
    (504, "FSS.0504"): OutcomeUnknown,
    (500, "APIGW.0601"): OutcomeUnknown,
    (500, "APIGW.0605"): OutcomeUnknown,
    (500, "APIGW.0606"): OutcomeUnknown,
    (500, "APIGW.0608"): OutcomeUnknown,
    (500, "APIGW.0609"): OutcomeUnknown,
    (502, "APIGW.0610"): OutcomeUnknown,
    (503, "APIGW.0611"): TemporaryFailure,
    (500, "APIGW.0613"): OutcomeUnknown,
    (400, "APIGW.0201"): PermanentFailure,
    (413, "APIGW.0201"): PermanentFailure,
    (414, "APIGW.0201"): PermanentFailure,
    (494, "APIGW.0201"): PermanentFailure,
    (502, "APIGW.0201"): OutcomeUnknown,
    (504, "APIGW.0201"): OutcomeUnknown,
}
TABLE: dict[tuple[int, str], type[RelayError]] = {
    **{
        (int(line.split()[0]), code): PermanentFailure
        for line in PERMANENT.strip().splitlines()
        for code in line.split()[1:]
    },
    **OTHERS,
}


@pytest.mark.parametrize(("status", "code"), TABLE, ids=str)
def test_a_response_raises_the_error_in_the_table(
    status: int, code: str, fake_server: FakeServer, make_target: MakeTarget
) -> None:
    target = make_target(fake_server.url, access_key="a", secret_key="b")
    fake_server.headers = {"Date": format_datetime(NOW, usegmt=True)}
    for spelling in (code, code.replace("APIGW.", "APIG.")):
        fake_server.status = status
        fake_server.body = {"error_code": spelling, "error_msg": "Not valid", "request_id": "r-1"}
        with pytest.raises(RelayError) as raised:
            target.create(HELLO, export(), ChangeRecorder(), ignore)
        error = raised.value
        assert type(error) is TABLE[status, code]
        assert error.code == f"functiongraph.{code.lower()}"
        assert error.answer == f"{status} {code} Not valid (request r-1)"
        assert error.message.en == f"FunctionGraph answered {error.answer}"
        assert "Not valid" in error.message.zh
        assert error.hint in KNOWN_HINTS


def test_every_known_code_has_a_hint() -> None:
    assert {key for key in TABLE if key[1] == "APIGW.0201"} == BY_STATUS.keys()
    assert {code for _, code in TABLE} - {"APIGW.0201"} <= HINTS.keys()


@pytest.mark.parametrize("hint", sorted(KNOWN_HINTS), ids=lambda hint: hint.en[:40])
def test_a_hint_is_written_in_both_languages(hint: Localized) -> None:
    assert hint.en.isascii()
    assert re.fullmatch(r"[A-Z].{19,}\.", hint.en)
    assert len(re.findall(r"[\u4e00-\u9fff]", hint.zh)) > 9
    assert hint.zh.endswith("。")
    # Names of settings are the same in both languages.
    for name in ("access_key", "project_id", "on_conflict", "func_name", "endpoint", "package ="):
        assert (name in hint.en) == (name in hint.zh)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, PermanentFailure),
        (307, PermanentFailure),
        (400, PermanentFailure),
        (418, PermanentFailure),
        (429, Throttled),
        (500, OutcomeUnknown),
        (501, OutcomeUnknown),
        (503, TemporaryFailure),
        (599, OutcomeUnknown),
    ],
)
def test_an_unknown_response_is_shown_unchanged(
    status: int, kind: type[RelayError], fake_server: FakeServer, make_target: MakeTarget
) -> None:
    target = make_target(fake_server.url, access_key="a", secret_key="b")
    fake_server.status = status
    fake_server.body = {"error_code": "NEW.4711", "error_msg": "No such code"}
    fake_server.headers = {"X-Request-Id": "0f2c"}
    with pytest.raises(RelayError) as raised:
        target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert type(raised.value) is kind
    assert raised.value.code == "functiongraph.new.4711"
    assert f"{status} NEW.4711 No such code (request 0f2c)" in raised.value.message.en


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"error_code": "A.1", "error_msg": "one"}, "A.1", "one"),
        ({"errorCode": "A.1", "errorMsg": "one"}, "A.1", "one"),
        ({"code": "A.1", "message": "one"}, "A.1", "one"),
        ({"error": {"code": 401, "message": "one", "title": "No"}}, "401", "one"),
        ({"error_code": "APIG.0101", "error_msg": "one"}, "APIGW.0101", "one"),
        ("<html>\r\n  <b>no</b></html>", "", "<html> <b>no</b></html>"),
        ("", "", ""),
        ([1, 2], "", "[1, 2]"),
        ("[" * 10_000, "", "[" * 299 + "…"),
        ({"error_code": "A.1", "error_msg": "\x00\x1b[2Jx\u202ey"}, "A.1", "[2Jxy"),
        ({"error_code": {"a": 1}, "error_msg": ["b"]}, "{'a': 1}", "['b']"),
    ],
    ids=str,
)
def test_all_forms_of_an_error_body_are_read(
    body: object, code: str, message: str, fake_server: FakeServer
) -> None:
    fake_server.status, fake_server.body = 400, body
    response = read_response(requests.get(fake_server.url, timeout=5), NOW)
    assert (response.code, response.message) == (code, message)


def test_a_text_that_looks_like_a_secret_is_removed(fake_server: FakeServer) -> None:
    token = "MIIEogYJKoZIhvcNAQcCoIIEkzCCBI8CAQExDTALBglghkgBZQMEAgEw"
    fake_server.status, fake_server.body = (
        400,
        {"error_code": "A.1", "error_msg": f"bad token {token}!"},
    )
    response = read_response(requests.get(fake_server.url, timeout=5), NOW)
    assert response.message == "bad token …!"


def test_a_503_with_retry_after_throttles_the_target() -> None:
    response = ApiResponse(503, "FSS.0503", "later", "r", retry_after=timedelta(seconds=30))
    error = classify(response, "create", NOW)
    assert isinstance(error, Throttled)
    assert error.retry_after == timedelta(seconds=30)


@pytest.mark.parametrize(
    ("effect", "kind"), [("none", TemporaryFailure), ("replace", OutcomeUnknown)]
)
def test_a_server_error_has_an_unknown_outcome_only_for_a_changing_request(
    effect: str, kind: type[RelayError]
) -> None:
    response = ApiResponse(500, "FSS.0500", "", "")
    assert type(classify(response, effect, NOW)) is kind  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "FSS.1041", "The number of functions has reached the limit."),
        (403, "FSS.1041", "The number of functions exceeds the limit. The maximum is 400."),
        (403, "FSS.1042", "The total code size has reached the limit (10 GB)"),
        (403, "FSS.0403", "Access denied. Please try again later or contact the administrator"),
        (403, "FSS.0403", "The function is locked, try again in 5 minutes"),
        (403, "FSS.1044", "配额已达上限，请释放后重试"),
        (403, "APIGW.0802", "The IAM user is forbidden in the currently selected region. 请重试"),
        (405, "APIGW.0502", "frozen, try again"),
        (401, "APIGW.0301", "verify aksk signature fail, client time differs, retry again"),
    ],
)
def test_a_quota_or_a_missing_permission_is_final_and_does_not_stop_the_target(
    fake_server: FakeServer, make_target: MakeTarget, status: int, code: str, words: str
) -> None:
    target = make_target(fake_server.url, access_key="a", secret_key="b")
    fake_server.status, fake_server.body = status, {"error_code": code, "error_msg": words}
    with pytest.raises(PermanentFailure) as refused:
        target.create(HELLO, export(), ChangeRecorder(), ignore)
    assert refused.value.hint != LOCKED
