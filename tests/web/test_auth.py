"""Who is let in, and who may change something."""

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
def locked(make_web):
    return make_web(tokens=(TOKEN, SECOND))


def csrf_of(answer):
    return re.search(r'name="csrf" value="([^"]+)"', answer.get_data(as_text=True))[1]


def log_in(client, token=TOKEN, **more):
    csrf = csrf_of(client.get("/login"))
    return client.post("/login", data={"csrf": csrf, "token": token, **more})


def outside(path="/", **headers):
    return {"path": path, "environ_base": {"REMOTE_ADDR": "203.0.113.7"}, "headers": headers}


class TestTokens:
    @pytest.mark.parametrize("token", [TOKEN, SECOND])
    @pytest.mark.parametrize("path", [*GUARDED, "/"])
    def test_each_token_opens_everything(self, locked, path, token):
        headers = {"Authorization": f"Bearer {token}"}
        assert locked.client.get(**outside(path, **headers)).status_code == 200

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
    def test_anything_else_does_not(self, locked, path, header):
        answer = locked.client.get(path, headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert TOKEN not in answer.get_data(as_text=True)

    def test_loopback_needs_a_token_too_once_there_are_any(self, locked):
        assert locked.client.get("/api/v1/deliveries").status_code == 401
        assert locked.client.post("/api/v1/submissions", json={}).status_code == 401

    def test_a_token_needs_no_loopback_and_no_known_host(self, locked):
        headers = {**BEARER, "Host": "relay.example.com", "X-Forwarded-For": "198.51.100.1"}
        assert locked.client.get(**outside("/api/v1/deliveries", **headers)).status_code == 200

    def test_an_empty_token_is_no_token(self, make_web):
        web = make_web(tokens=["", TOKEN])
        headers = {"Authorization": "Bearer "}
        assert web.client.get(**outside("/api/v1/deliveries", **headers)).status_code == 401

    def test_prometheus_on_this_machine_needs_no_token(self, locked):
        assert locked.client.get("/metrics").status_code == 200
        assert locked.client.get(**outside("/metrics")).status_code == 401
        forwarded = {"X-Forwarded-For": "198.51.100.1"}
        assert locked.client.get("/metrics", headers=forwarded).status_code == 401

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_health_is_for_everybody(self, locked, path):
        assert locked.client.get(**outside(path)).status_code == 200


class TestLoopback:
    @pytest.mark.parametrize("path", [*GUARDED, *PAGES])
    def test_without_tokens_others_are_told_what_to_set(self, web, path):
        answer = web.client.get(**outside(path))
        assert answer.status_code == 403
        assert "api.tokens" in answer.get_data(as_text=True)

    @pytest.mark.parametrize(
        "host", ["127.0.0.1:8080", "localhost", "LOCALHOST:8080", "[::1]:8080", "127.9.9.9"]
    )
    def test_this_machine_by_its_own_names_is_let_in(self, web, host):
        assert web.client.get("/api/v1/deliveries", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.3.2.1"])
    def test_every_loopback_address_is_this_machine(self, web, address):
        answer = web.client.get("/", environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == 200

    @pytest.mark.parametrize("address", ["10.0.0.1", "::ffff:10.0.0.1", "", "unix:", "localhost.x"])
    def test_other_addresses_are_not(self, web, address):
        answer = web.client.get("/", environ_base={"REMOTE_ADDR": address})
        assert answer.status_code == 403

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
    def test_a_name_that_was_made_to_point_here_is_not(self, web, host):
        for path in ("/", "/api/v1/deliveries", "/metrics"):
            assert web.client.get(path, headers={"Host": host}).status_code == 403

    @pytest.mark.parametrize(
        "header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "Via"]
    )
    def test_a_proxy_on_this_machine_speaks_for_somebody_else(self, web, header):
        for path in ("/", "/api/v1/deliveries", "/metrics"):
            assert web.client.get(path, headers={header: "127.0.0.1"}).status_code == 403

    def test_a_trusted_proxy_does_not_make_a_stranger_local(self, make_web):
        web = make_web(server={"proxies": 1})
        headers = {"X-Forwarded-For": "127.0.0.1"}
        assert web.client.get("/", headers=headers).status_code == 403

    def test_over_a_real_socket(self, web):
        with serving(web.app) as url:
            assert requests.get(f"{url}/api/v1/deliveries", timeout=10).status_code == 200
            rebound = requests.get(url, headers={"Host": "evil.example"}, timeout=10)
            assert rebound.status_code == 403


class TestChanges:
    """Without tokens every browser on this machine is let in: other sites must not use it."""

    @pytest.fixture
    def failed(self, web):
        made = web.driver.announce()
        web.driver.fail(made)
        return made

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
    def test_another_site_cannot_retrigger_by_the_api(self, web, failed, headers):
        answer = web.post(f"/api/v1/deliveries/{failed}/retrigger", headers=headers)
        assert answer.status_code == 403
        assert web.ledger.history.delivery(failed).state == "failed"

    @pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}])
    def test_programs_and_our_own_pages_can(self, web, failed, headers):
        answer = web.post(f"/api/v1/deliveries/{failed}/retrigger", headers=headers)
        assert answer.status_code == 202

    def test_a_token_is_enough_from_anywhere(self, locked):
        made = locked.driver.announce()
        headers = {**BEARER, "Origin": "https://console.example.com"}
        answer = locked.post(f"/api/v1/deliveries/{made}/retrigger", headers=headers)
        assert answer.status_code == 202

    def test_a_login_cookie_does_not_let_another_site_act(self, locked):
        made = locked.driver.announce()
        log_in(locked.client)
        path = f"/api/v1/deliveries/{made}/retrigger"
        foreign = {"Origin": "https://evil.example"}
        assert locked.post(path, headers=foreign).status_code == 403
        assert locked.post(path).status_code == 202

    @pytest.mark.parametrize("given", [{}, {"csrf": ""}, {"csrf": "guessed"}])
    def test_a_form_without_its_token_is_refused(self, web, failed, given):
        web.client.get(f"/deliveries/{failed}")
        answer = web.client.post(f"/deliveries/{failed}/retrigger", data=given)
        assert answer.status_code == 403
        assert web.ledger.history.delivery(failed).state == "failed"

    def test_no_session_and_no_token_do_not_match_each_other(self, web, failed):
        answer = web.app.test_client().post(f"/deliveries/{failed}/retrigger", data={"csrf": ""})
        assert answer.status_code == 403

    def test_another_sessions_token_is_refused(self, web, failed):
        theirs = csrf_of(web.app.test_client().get(f"/deliveries/{failed}"))
        web.client.get(f"/deliveries/{failed}")
        answer = web.client.post(f"/deliveries/{failed}/retrigger", data={"csrf": theirs})
        assert answer.status_code == 403

    def test_no_answer_allows_another_origin(self, web):
        headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = web.client.options("/api/v1/submissions", headers=headers)
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


class TestLogin:
    @pytest.mark.parametrize("path", PAGES)
    def test_pages_lead_to_the_login_and_back(self, locked, path):
        answer = locked.client.get(path)
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith("/login")
        client = locked.client
        shown = client.get(answer.headers["Location"]).get_data(as_text=True)
        onward = re.search(r'name="next" value="([^"]*)"', shown)[1]
        assert onward == path
        assert log_in(client, next=onward).headers["Location"] == path

    def test_the_token_logs_in_and_logout_forgets_it(self, locked):
        client = locked.client
        assert log_in(client).status_code == 303
        page = client.get("/")
        assert page.status_code == 200
        assert client.get("/api/v1/deliveries").status_code == 200
        left = client.post("/logout", data={"csrf": csrf_of(page)})
        assert left.headers["Location"] == "/login"
        assert client.get("/").status_code == 303
        assert client.get("/api/v1/deliveries").status_code == 401

    @pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", TOKEN.upper()])
    def test_a_wrong_token_does_not(self, locked, token):
        answer = log_in(locked.client, token)
        assert answer.status_code == 401
        assert "Invalid token" in answer.get_data(as_text=True)
        assert locked.client.get("/").status_code == 303

    def test_login_and_logout_forms_carry_their_token(self, locked):
        assert locked.client.post("/login", data={"token": TOKEN}).status_code == 403
        log_in(locked.client)
        assert locked.client.post("/logout").status_code == 403
        assert locked.client.get("/").status_code == 200

    @pytest.mark.parametrize(
        ("url", "secure"), [("http://relay.example", False), ("https://relay.example", True)]
    )
    def test_the_cookie_is_kept_from_scripts_and_other_sites(self, locked, url, secure):
        client = locked.client
        csrf = csrf_of(client.get("/login", base_url=url))
        form = {"csrf": csrf, "token": TOKEN}
        answer = client.post("/login", data=form, base_url=url)
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert ("Secure" in cookie) is secure
        assert TOKEN not in cookie

    def test_https_at_a_trusted_proxy_makes_the_cookie_secure(self, make_web):
        web = make_web(tokens=(TOKEN,), server={"proxies": 1})
        cookie = web.client.get("/login", headers={"X-Forwarded-Proto": "https"}).headers[
            "Set-Cookie"
        ]
        assert "Secure" in cookie

    def test_an_untrusted_proxy_header_changes_nothing(self, locked):
        cookie = locked.client.get("/login", headers={"X-Forwarded-Proto": "https"}).headers[
            "Set-Cookie"
        ]
        assert "Secure" not in cookie

    def test_other_tokens_log_everybody_out(self, make_web):
        before = make_web(tokens=(TOKEN,))
        log_in(before.client)
        cookie = before.client.get_cookie("relay_session").value
        after = make_web(tokens=(SECOND,))
        after.client.set_cookie("relay_session", cookie)
        assert after.client.get("/").status_code == 303
        again = make_web(tokens=(TOKEN,))
        again.client.set_cookie("relay_session", cookie)
        assert again.client.get("/").status_code == 200

    def test_a_forged_cookie_is_no_login(self, locked):
        locked.client.set_cookie("relay_session", "eyJpbiI6dHJ1ZX0.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbb")
        assert locked.client.get("/").status_code == 303

    @pytest.mark.parametrize(
        "onward",
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
    def test_the_login_leads_nowhere_else(self, locked, onward):
        assert log_in(locked.client, next=onward).headers["Location"] == "/"

    def test_there_is_no_login_without_tokens(self, web):
        assert web.client.get("/login").headers["Location"] == "/"

    def test_a_form_post_without_login_is_not_done(self, locked):
        made = locked.driver.announce()
        locked.driver.fail(made)
        answer = locked.client.post(f"/deliveries/{made}/retrigger")
        assert answer.status_code == 303
        assert locked.ledger.history.delivery(made).state == "failed"
