"""Authentication, login sessions, and protection against other web sites."""

import re

import pytest
import requests

from tests.web.web_server import serving

TOKEN = "token-of-the-tests-0123456789"
SECOND = "second-token-of-the-tests-987"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
GUARDED = ["/api/v1/deliveries", "/api/v1/sources", "/metrics"]
PAGES = ["/", "/notifications", "/sources", "/deliveries/x", "/notifications/x"]


@pytest.fixture
def secured(make_web):
    return make_web(tokens=(TOKEN, SECOND))


def csrf_of(response):
    return re.search(r'name="csrf" value="([^"]+)"', response.get_data(as_text=True))[1]


def log_in(client, token=TOKEN, **fields):
    csrf = csrf_of(client.get("/login"))
    return client.post("/login", data={"csrf": csrf, "token": token, **fields})


def remote_request(path="/", **headers):
    return {"path": path, "environ_base": {"REMOTE_ADDR": "203.0.113.7"}, "headers": headers}


class TestTokens:
    @pytest.mark.parametrize("token", [TOKEN, SECOND])
    @pytest.mark.parametrize("path", [*GUARDED, "/"])
    def test_each_token_gives_full_access(self, secured, path, token):
        headers = {"Authorization": f"Bearer {token}"}
        assert secured.client.get(**remote_request(path, **headers)).status_code == 200

    @pytest.mark.parametrize(
        "header",
        [
            "Bearer wrong",
            "Bearer ",
            "Bearer",
            f"Basic {TOKEN}",
            TOKEN,
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            "Bearer \xff\xfe",
            "",
        ],
    )
    @pytest.mark.parametrize("path", ["/api/v1/deliveries", "/"])
    def test_an_invalid_token_is_refused(self, secured, path, header):
        response = secured.client.get(path, headers={"Authorization": header})
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert TOKEN not in response.get_data(as_text=True)

    def test_local_requests_need_a_token_if_tokens_are_set(self, secured):
        assert secured.client.get("/api/v1/deliveries").status_code == 401
        assert secured.client.post("/api/v1/submissions", json={}).status_code == 401

    def test_a_token_works_remotely_and_through_proxies(self, secured):
        headers = {**BEARER, "Host": "relay.example.com", "X-Forwarded-For": "198.51.100.1"}
        assert (
            secured.client.get(**remote_request("/api/v1/deliveries", **headers)).status_code == 200
        )

    def test_an_empty_token_is_invalid(self, make_web):
        web = make_web(tokens=["", TOKEN])
        headers = {"Authorization": "Bearer "}
        assert web.client.get(**remote_request("/api/v1/deliveries", **headers)).status_code == 401

    def test_local_metrics_need_no_token(self, secured):
        assert secured.client.get("/metrics").status_code == 200
        assert secured.client.get(**remote_request("/metrics")).status_code == 401
        forwarded = {"X-Forwarded-For": "198.51.100.1"}
        assert secured.client.get("/metrics", headers=forwarded).status_code == 401

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_health_checks_need_no_token(self, secured, path):
        assert secured.client.get(**remote_request(path)).status_code == 200


class TestLoopback:
    @pytest.mark.parametrize("path", [*GUARDED, *PAGES])
    def test_without_tokens_remote_requests_are_refused_with_a_hint(self, web, path):
        response = web.client.get(**remote_request(path))
        assert response.status_code == 403
        assert "api.tokens" in response.get_data(as_text=True)

    @pytest.mark.parametrize(
        "host", ["127.0.0.1:8080", "localhost", "LOCALHOST:8080", "[::1]:8080", "127.9.9.9"]
    )
    def test_loopback_names_are_accepted_as_host(self, web, host):
        assert web.client.get("/api/v1/deliveries", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.3.2.1"])
    def test_loopback_addresses_are_local(self, web, address):
        response = web.client.get("/", environ_base={"REMOTE_ADDR": address})
        assert response.status_code == 200

    @pytest.mark.parametrize("address", ["10.0.0.1", "::ffff:10.0.0.1", "", "unix:", "localhost.x"])
    def test_other_addresses_are_not_local(self, web, address):
        response = web.client.get("/", environ_base={"REMOTE_ADDR": address})
        assert response.status_code == 403

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::ffff:10.0.0.1]",
            "169.254.169.254",
        ],
    )
    def test_a_foreign_host_name_is_refused(self, web, host):
        for path in ("/", "/api/v1/deliveries", "/metrics"):
            assert web.client.get(path, headers={"Host": host}).status_code == 403

    @pytest.mark.parametrize(
        "header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "Via"]
    )
    def test_a_request_through_a_local_proxy_is_not_local(self, web, header):
        for path in ("/", "/api/v1/deliveries", "/metrics"):
            assert web.client.get(path, headers={header: "127.0.0.1"}).status_code == 403

    def test_a_trusted_proxy_does_not_make_a_request_local(self, make_web):
        web = make_web(server={"proxies": 1})
        headers = {"X-Forwarded-For": "127.0.0.1"}
        assert web.client.get("/", headers=headers).status_code == 403

    def test_over_a_real_socket(self, web):
        with serving(web.app) as url:
            assert requests.get(f"{url}/api/v1/deliveries", timeout=10).status_code == 200
            rebound = requests.get(url, headers={"Host": "evil.example"}, timeout=10)
            assert rebound.status_code == 403


class TestChanges:
    """Without tokens any local browser has access; pages of other sites must not exploit that."""

    @pytest.fixture
    def failed(self, web):
        delivery_id = web.driver.announce()
        web.driver.fail(delivery_id)
        return delivery_id

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:3000"},
            {"Origin": "https://localhost"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://localhost.evil.example"},
        ],
    )
    def test_another_site_cannot_use_the_api(self, web, failed, headers):
        response = web.post(f"/api/v1/deliveries/{failed}/retrigger", headers=headers)
        assert response.status_code == 403
        assert web.ledger.history.delivery(failed).state == "failed"

    @pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}])
    def test_programs_and_same_origin_pages_can_use_the_api(self, web, failed, headers):
        response = web.post(f"/api/v1/deliveries/{failed}/retrigger", headers=headers)
        assert response.status_code == 202

    def test_a_token_allows_any_origin(self, secured):
        delivery_id = secured.driver.announce()
        headers = {**BEARER, "Origin": "https://console.example.com"}
        response = secured.post(f"/api/v1/deliveries/{delivery_id}/retrigger", headers=headers)
        assert response.status_code == 202

    def test_a_login_cookie_does_not_allow_another_site(self, secured):
        delivery_id = secured.driver.announce()
        log_in(secured.client)
        path = f"/api/v1/deliveries/{delivery_id}/retrigger"
        foreign = {"Origin": "https://evil.example"}
        assert secured.post(path, headers=foreign).status_code == 403
        assert secured.post(path).status_code == 202

    @pytest.mark.parametrize("given", [{}, {"csrf": ""}, {"csrf": "guessed"}])
    def test_a_form_without_the_csrf_token_is_refused(self, web, failed, given):
        web.client.get(f"/deliveries/{failed}")
        response = web.client.post(f"/deliveries/{failed}/retrigger", data=given)
        assert response.status_code == 403
        assert web.ledger.history.delivery(failed).state == "failed"

    def test_an_empty_csrf_token_is_refused_without_a_session(self, web, failed):
        response = web.app.test_client().post(f"/deliveries/{failed}/retrigger", data={"csrf": ""})
        assert response.status_code == 403

    def test_the_csrf_token_of_another_session_is_refused(self, web, failed):
        csrf = csrf_of(web.app.test_client().get(f"/deliveries/{failed}"))
        web.client.get(f"/deliveries/{failed}")
        response = web.client.post(f"/deliveries/{failed}/retrigger", data={"csrf": csrf})
        assert response.status_code == 403

    def test_no_response_has_cors_headers(self, web):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        response = web.client.options("/api/v1/submissions", headers=headers)
        assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


class TestLogin:
    @pytest.mark.parametrize("path", PAGES)
    def test_pages_redirect_to_the_login_and_back(self, secured, path):
        response = secured.client.get(path)
        assert response.status_code == 303
        assert response.headers["Location"].startswith("/login")
        client = secured.client
        shown = client.get(response.headers["Location"]).get_data(as_text=True)
        next_path = re.search(r'name="next" value="([^"]*)"', shown)[1]
        assert next_path == path
        assert log_in(client, next=next_path).headers["Location"] == path

    def test_login_and_logout(self, secured):
        client = secured.client
        assert log_in(client).status_code == 303
        page = client.get("/")
        assert page.status_code == 200
        assert client.get("/api/v1/deliveries").status_code == 200
        response = client.post("/logout", data={"csrf": csrf_of(page)})
        assert response.headers["Location"] == "/login"
        assert client.get("/").status_code == 303
        assert client.get("/api/v1/deliveries").status_code == 401

    @pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", TOKEN.upper()])
    def test_a_wrong_token_does_not_log_in(self, secured, token):
        response = log_in(secured.client, token)
        assert response.status_code == 401
        assert "Invalid token" in response.get_data(as_text=True)
        assert secured.client.get("/").status_code == 303

    def test_login_and_logout_need_the_csrf_token(self, secured):
        assert secured.client.post("/login", data={"token": TOKEN}).status_code == 403
        log_in(secured.client)
        assert secured.client.post("/logout").status_code == 403
        assert secured.client.get("/").status_code == 200

    @pytest.mark.parametrize(
        ("url", "secure"), [("http://relay.example", False), ("https://relay.example", True)]
    )
    def test_the_cookie_has_the_security_attributes(self, secured, url, secure):
        client = secured.client
        csrf = csrf_of(client.get("/login", base_url=url))
        form = {"csrf": csrf, "token": TOKEN}
        response = client.post("/login", data=form, base_url=url)
        cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert ("Secure" in cookie) is secure
        assert TOKEN not in cookie

    def test_the_cookie_is_secure_behind_a_trusted_https_proxy(self, make_web):
        web = make_web(tokens=(TOKEN,), server={"proxies": 1})
        cookie = web.client.get("/login", headers={"X-Forwarded-Proto": "https"}).headers[
            "Set-Cookie"
        ]
        assert "Secure" in cookie

    def test_an_untrusted_proxy_header_has_no_effect(self, secured):
        cookie = secured.client.get("/login", headers={"X-Forwarded-Proto": "https"}).headers[
            "Set-Cookie"
        ]
        assert "Secure" not in cookie

    def test_changing_the_tokens_ends_all_sessions(self, make_web):
        before = make_web(tokens=(TOKEN,))
        log_in(before.client)
        cookie = before.client.get_cookie("relay_session").value
        after = make_web(tokens=(SECOND,))
        after.client.set_cookie("relay_session", cookie)
        assert after.client.get("/").status_code == 303
        restored = make_web(tokens=(TOKEN,))
        restored.client.set_cookie("relay_session", cookie)
        assert restored.client.get("/").status_code == 200

    def test_a_forged_cookie_does_not_log_in(self, secured):
        secured.client.set_cookie("relay_session", "eyJpbiI6dHJ1ZX0.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbb")
        assert secured.client.get("/").status_code == 303

    @pytest.mark.parametrize(
        "next_path",
        [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "javascript:alert(1)",
            "evil",
            "/é",
        ],
    )
    def test_the_login_redirects_only_to_local_paths(self, secured, next_path):
        assert log_in(secured.client, next=next_path).headers["Location"] == "/"

    def test_there_is_no_login_without_tokens(self, web):
        assert web.client.get("/login").headers["Location"] == "/"

    def test_a_form_post_without_login_has_no_effect(self, secured):
        delivery_id = secured.driver.announce()
        secured.driver.fail(delivery_id)
        response = secured.client.post(f"/deliveries/{delivery_id}/retrigger")
        assert response.status_code == 303
        assert secured.ledger.history.delivery(delivery_id).state == "failed"
