"""What every answer has: an id, its headers, and errors in one form."""

import logging
import re

import pytest

from relay.config.log_context import request_id

CHINESE = {"Accept-Language": "zh"}


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/api/v1/deliveries", "/nope", "/static/relay.css", "/api/v1/nope"]
)
def test_every_answer_is_sealed(web, path):
    with web.client.get(path) as answer:
        headers = answer.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-Id"])


@pytest.mark.parametrize("path", ["/", "/login", "/api/v1/deliveries", "/deliveries/x"])
def test_what_is_private_is_not_kept_by_caches(web, path):
    assert web.client.get(path).headers["Cache-Control"] == "no-store"


def test_a_sane_request_id_is_taken_and_echoed(web):
    given = {"X-Request-Id": "01J.abc_DEF-9"}
    answer = web.client.get("/api/v1/nope", headers=given)
    assert answer.headers["X-Request-Id"] == "01J.abc_DEF-9"
    assert answer.get_json()["request_id"] == "01J.abc_DEF-9"


@pytest.mark.parametrize("given", ["a b", "x" * 129, "<script>", "", "é", "a;b"])
def test_any_other_request_id_is_replaced(web, given):
    answer = web.client.get("/healthz", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_lines_logged_meanwhile_have_the_request_id(web):
    seen = []
    web.operations.sources = lambda: seen.append(request_id.get()) or []
    web.client.get("/api/v1/sources", headers={"X-Request-Id": "r-1"})
    assert seen == ["r-1"]
    assert request_id.get() is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nope", 404),
        ("GET", "/hooks/", 404),
        ("DELETE", "/api/v1/deliveries", 405),
        ("GET", "/api/v1/submissions", 405),
        ("POST", "/metrics", 405),
    ],
)
def test_flasks_own_errors_are_problems_too(web, method, path, status):
    answer = web.client.open(path, method=method)
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    problem = answer.get_json()
    assert problem["status"] == status
    assert problem["type"] == f"urn:relay:problem:{problem['code']}"
    assert problem["detail"]
    if status == 405:
        assert answer.headers["Allow"]


def test_problems_are_told_in_chinese_when_asked(web):
    answer = web.client.get("/api/v1/nope", headers=CHINESE)
    assert answer.get_json()["detail"] == "此地址不存在"


@pytest.mark.parametrize("path", ["/nope", "/deliveries/nope", "/notifications/nope"])
def test_a_person_gets_a_page_for_an_error(web, path):
    answer = web.client.get(path)
    assert answer.status_code == 404
    assert answer.mimetype == "text/html"
    assert answer.headers["X-Request-Id"] in answer.get_data(as_text=True)


def test_a_bug_is_logged_with_its_traceback_and_told_without_it(web, caplog):
    def broken():
        raise ZeroDivisionError("secret detail")

    web.operations.sources = broken
    with caplog.at_level(logging.ERROR):
        api = web.client.get("/api/v1/sources")
        page = web.client.get("/sources")
    assert (api.status_code, page.status_code) == (500, 500)
    assert api.get_json()["code"] == "http.internal_server_error"
    for answer in (api, page):
        assert "secret detail" not in answer.get_data(as_text=True)
    assert "ZeroDivisionError" in caplog.text


def test_metrics_show_the_ledger(web):
    made = web.driver.announce()
    web.driver.succeed(made)
    text = web.client.get("/metrics").get_data(as_text=True)
    assert 'relay_deliveries{kind="import",state="succeeded"} 1.0' in text
    assert 'relay_notifications_total{source="exports",verdict="accepted"} 1.0' in text


def test_ready_means_able_to_store(web):
    assert web.client.get("/readyz").get_json() == {"status": "ready"}
