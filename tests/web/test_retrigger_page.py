"""The retrigger link in a message: it asks for confirmation, works once and stays secret."""

import threading
from dataclasses import replace

import pytest
from werkzeug.test import Client

from relay.channels.retrigger_links import add_signed_link
from relay.model import Kind, State
from tests.web.web_ledger import NAME_TAKEN

TOKEN = "token-of-the-links-tests"
ADDRESS = "https://relay.example.com"


@pytest.fixture
def web(make_web):
    return make_web(tokens=(TOKEN,), public_url=ADDRESS)


@pytest.fixture
def failed(web):
    delivery_id = web.driver.announce()
    web.driver.fail(delivery_id)
    return delivery_id


def link_to(web, delivery_id):
    """The path of the link that the delivery's message is posted with."""
    delivery = web.ledger.history.delivery(delivery_id)
    message = web.ledger.history.delivery(web.driver.message_of(delivery_id))
    body = {
        "delivery": delivery_id,
        "attempts": delivery.attempts,
        "links": {"retrigger": f"{ADDRESS}/deliveries/{delivery_id}#retrigger"},
    }
    content = {"type": f"import.{delivery.state}", "body": body}
    message = replace(message, message=content)
    return add_signed_link(web.settings, message)["links"]["retrigger"].removeprefix(ADDRESS)


def progress(web, delivery_id):
    delivery = web.ledger.history.delivery(delivery_id)
    return delivery.state, delivery.attempts, delivery.run


def test_a_get_asks_for_confirmation_and_changes_nothing(web, failed):
    before = progress(web, failed)
    link = link_to(web, failed)
    for request in (web.client.get, web.client.head, web.client.get):
        response = request(link, headers={"User-Agent": "Slackbot-LinkExpanding 1.0"})
        assert response.status_code == 200
    page = response.get_data(as_text=True)
    for shown in ("hello", "prod/hello.zip", NAME_TAKEN.message.en, NAME_TAKEN.hint.en, "ops"):
        assert shown in page
    assert progress(web, failed) == before


def test_the_page_is_in_the_language_of_the_reader(web, failed):
    response = web.client.get(link_to(web, failed), headers={"Accept-Language": "zh-CN"})
    page = response.get_data(as_text=True)
    assert "要重新触发此投递吗？" in page
    assert NAME_TAKEN.message.zh in page


def test_a_post_retriggers_exactly_that_delivery_once_and_records_the_origin(web, failed):
    other = web.driver.announce("prod/other.zip", etag="e2")
    web.driver.fail(other)
    link, untouched = link_to(web, failed), progress(web, other)
    response = web.client.post(link, environ_base={"REMOTE_ADDR": "203.0.113.7"})
    assert response.status_code == 200
    assert "Retriggered. The next attempt starts shortly." in response.get_data(as_text=True)
    delivery = web.ledger.history.delivery(failed)
    assert (delivery.state, delivery.run, delivery.by) == (
        State.PENDING,
        2,
        "link in ops from 203.0.113.7",
    )
    assert progress(web, other) == untouched

    assert web.client.post(link).status_code == 409
    assert progress(web, failed)[2] == 2
    web.driver.succeed(failed)
    assert web.client.post(link).status_code == 409
    assert web.ledger.history.attempts(failed)[-1].by == "link in ops from 203.0.113.7"


def test_a_used_link_shows_the_origin_of_the_retrigger_and_the_state(web, failed):
    link = link_to(web, failed)
    web.operations.retrigger(failed, by="page")
    web.driver.succeed(failed)
    for response in (web.client.get(link), web.client.post(link)):
        assert response.status_code == 409
        page = response.get_data(as_text=True)
        assert "This delivery has already been retriggered" in page
        assert "on its page" in page
        assert "succeeded" in page
        assert "<form" not in page
    assert progress(web, failed)[2] == 2


def test_the_next_failure_has_a_new_link(web, failed):
    web.operations.retrigger(failed)
    web.driver.fail(failed)
    assert web.client.post(link_to(web, failed)).status_code == 200


def test_concurrent_posts_retrigger_once(web, failed):
    link, statuses = link_to(web, failed), []

    def post():
        statuses.append(web.app.test_client().post(link).status_code)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7
    assert progress(web, failed)[2] == 2


def test_a_link_expires(web, failed):
    link = link_to(web, failed)
    web.clock.forward(days=6, hours=23)
    assert web.client.get(link).status_code == 200
    web.clock.forward(hours=2)
    for response in (web.client.get(link), web.client.post(link)):
        assert response.status_code == 410
        assert "This link has expired" in response.get_data(as_text=True)
    assert progress(web, failed)[2] == 1


def test_a_running_delivery_is_not_retriggered(web, failed):
    link = link_to(web, failed)
    web.operations.retrigger(failed)
    web.driver.claim(failed)
    assert web.client.post(link).status_code == 409


def forged(genuine):
    content, _, signature = genuine.removeprefix("/links/").rpartition(".")
    return {
        "nothing": "x",
        "no signature": content,
        "another signature": f"{content}.{signature[::-1]}",
        "too long": "a" * 10_000,
        "a delivery's id": "01kq3v0m5n6p7q8r9s0t1v2w3x",
        "not ASCII": "链接",
        "half a link": genuine.removeprefix("/links/")[:-5],
    }


@pytest.mark.parametrize("kind", list(forged("/links/a.b")))
def test_invalid_links_all_get_the_same_response(web, failed, kind):
    token = forged(link_to(web, failed))[kind]
    for request in (web.client.get, web.client.post):
        response = request(f"/links/{token}")
        assert response.status_code == 404
        page = response.get_data(as_text=True)
        assert "This link is invalid or incomplete" in page
        assert "hello" not in page
    assert progress(web, failed)[2] == 1


def test_a_link_of_another_relay_is_invalid(make_web, web, failed):
    other = make_web(tokens=("another-relays-token-000",), public_url=ADDRESS)
    link = link_to(other, failed)
    assert web.client.post(link).status_code == 404


def test_a_link_to_a_deleted_delivery_is_gone(web, failed):
    body = {
        "delivery": "01zzzzzzzzzzzzzzzzzzzzzzzz",
        "attempts": 1,
        "links": {"retrigger": "there"},
    }
    message = web.ledger.history.delivery(web.driver.message_of(failed))
    message = replace(message, message={"type": "import.failed", "body": body})
    link = add_signed_link(web.settings, message)["links"]["retrigger"]
    response = web.client.get(link.removeprefix(ADDRESS))
    assert response.status_code == 410
    assert "has been deleted" in response.get_data(as_text=True)


def test_without_tokens_every_link_is_invalid(make_web):
    web = make_web(public_url=ADDRESS)
    assert web.client.get("/links/abc.def").status_code == 404


def test_the_link_of_a_test_message_explains_itself(web):
    response = web.client.get("/links/test")
    assert response.status_code == 404
    assert "test message" in response.get_data(as_text=True)


def test_a_link_gives_no_access_to_other_pages(web, failed):
    response = web.client.get(link_to(web, failed))
    assert "Set-Cookie" not in response.headers
    assert web.client.get(f"/deliveries/{failed}").status_code == 303
    assert web.client.get(f"/api/v1/deliveries/{failed}").status_code == 401


def test_a_link_is_not_cached_embedded_or_indexed(web, failed):
    link = link_to(web, failed)
    for path in (link, "/links/abc", link + "?lang=zh"):
        headers = web.client.get(path).headers
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert "noindex" in headers["X-Robots-Tag"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert link.removeprefix("/links/") not in str(headers)
    assert "X-Robots-Tag" not in web.client.get("/login").headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": ADDRESS}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_a_form_on_another_site_is_refused(web, failed, headers, status):
    assert web.client.post(link_to(web, failed), headers=headers).status_code == status
    assert progress(web, failed)[2] == (2 if status == 200 else 1)


def test_the_access_log_of_a_server_does_not_contain_the_link(web, failed):
    link = link_to(web, failed)
    for path in (link, f"{link}/more", "/links/an-unsigned-part-of-a-link"):
        environ = {"RAW_URI": path, "REQUEST_URI": path, "HTTP_REFERER": f"{ADDRESS}{path}"}
        logged = {}

        def log_after(environ, start, logged=logged):
            logged.update(environ=environ)
            return web.app.wsgi_app(environ, start)

        response = Client(log_after).get(path, environ_overrides=environ)
        assert response.status_code in (200, 404)
        values = [value for value in logged["environ"].values() if isinstance(value, str)]
        assert not [value for value in values if path.removeprefix("/links/") in value]


def test_a_link_retriggers_the_import_and_not_the_message(web, failed):
    message = web.driver.message_of(failed)
    assert web.ledger.history.delivery(message).kind == Kind.MESSAGE
    assert web.client.post(link_to(web, failed)).status_code == 200
    assert web.ledger.history.delivery(message).run == 1


def test_the_api_and_the_page_show_the_origin(web, failed):
    web.client.post(link_to(web, failed), environ_base={"REMOTE_ADDR": "203.0.113.7"})
    headers = {"Authorization": f"Bearer {TOKEN}"}
    details = web.get(f"/api/v1/deliveries/{failed}", headers=headers).get_json()
    assert details["by"] == "link in ops from 203.0.113.7"
    web.driver.fail(failed)
    details = web.get(f"/api/v1/deliveries/{failed}", headers=headers).get_json()
    assert [attempt["by"] for attempt in details["attempts"]] == [
        None,
        "link in ops from 203.0.113.7",
    ]
    page = web.get(f"/deliveries/{failed}", headers=headers).get_data(as_text=True)
    assert "by the link in ops, from 203.0.113.7" in page
    chinese = {**headers, "Accept-Language": "zh"}
    assert "ops 频道消息中的链接" in web.get(f"/deliveries/{failed}", headers=chinese).get_data(
        True
    )


@pytest.mark.parametrize("origin", ["api", "page"])
def test_the_origin_of_every_retrigger_is_recorded(web, failed, origin):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    path = {
        "api": f"/api/v1/deliveries/{failed}/retrigger",
        "page": f"/deliveries/{failed}/retrigger",
    }[origin]
    assert web.post(path, headers=headers).status_code in (202, 303)
    assert web.ledger.history.delivery(failed).by == origin
