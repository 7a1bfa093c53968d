"""Every response: request id, security headers, and a common error format."""

import logging
import re

import pytest

from relay.config.log_context import request_id

CHINESE = {"Accept-Language": "zh"}


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/api/v1/deliveries", "/nope", "/static/relay.css", "/api/v1/nope"]
)
def test_every_response_has_the_security_headers(web, path):
    with web.client.get(path) as response:
        headers = response.headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-Id"])


@pytest.mark.parametrize("path", ["/", "/login", "/api/v1/deliveries", "/deliveries/x"])
def test_private_responses_are_not_cached(web, path):
    assert web.client.get(path).headers["Cache-Control"] == "no-store"


def test_a_valid_request_id_is_used_and_returned(web):
    given = {"X-Request-Id": "01J.abc_DEF-9"}
    response = web.client.get("/api/v1/nope", headers=given)
    assert response.headers["X-Request-Id"] == "01J.abc_DEF-9"
    assert response.get_json()["request_id"] == "01J.abc_DEF-9"


@pytest.mark.parametrize("given", ["a b", "x" * 129, "<script>", "", "é", "a;b"])
def test_an_invalid_request_id_is_replaced(web, given):
    response = web.client.get("/healthz", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-Id"])


def test_log_lines_of_a_request_have_the_request_id(web):
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
def test_errors_of_flask_are_problem_documents(web, method, path, status):
    response = web.client.open(path, method=method)
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    problem = response.get_json()
    assert problem["status"] == status
    assert problem["type"] == f"urn:relay:problem:{problem['code']}"
    assert problem["detail"]
    if status == 405:
        assert response.headers["Allow"]


def test_problems_are_in_the_language_of_the_request(web):
    response = web.client.get("/api/v1/nope", headers=CHINESE)
    assert response.get_json()["detail"] == "此地址不存在"


@pytest.mark.parametrize("path", ["/nope", "/deliveries/nope", "/notifications/nope"])
def test_a_page_request_gets_an_error_page(web, path):
    response = web.client.get(path)
    assert response.status_code == 404
    assert response.mimetype == "text/html"
    assert response.headers["X-Request-Id"] in response.get_data(as_text=True)


def test_a_bug_is_logged_with_a_traceback_that_the_response_lacks(web, caplog):
    def raise_bug():
        raise ZeroDivisionError("secret detail")

    web.operations.sources = raise_bug
    with caplog.at_level(logging.ERROR):
        api = web.client.get("/api/v1/sources")
        page = web.client.get("/sources")
    assert (api.status_code, page.status_code) == (500, 500)
    assert api.get_json()["code"] == "http.internal_server_error"
    for response in (api, page):
        assert "secret detail" not in response.get_data(as_text=True)
    assert "ZeroDivisionError" in caplog.text


def test_metrics_show_the_ledger(web):
    delivery_id = web.driver.announce()
    web.driver.succeed(delivery_id)
    text = web.client.get("/metrics").get_data(as_text=True)
    assert 'relay_deliveries{kind="import",state="succeeded"} 1.0' in text
    assert 'relay_notifications_total{source="exports",verdict="accepted"} 1.0' in text


def test_ready_checks_the_database(web):
    assert web.client.get("/readyz").get_json() == {"status": "ready"}
