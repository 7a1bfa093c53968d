"""The retrigger link in a message: it asks for confirmation, works once and stays secret."""

import threading

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
    made = web.driver.announce()
    web.driver.fail(made)
    return made


def link_to(web, delivery_id):
    """The path of the link that the delivery's message is posted with."""
    delivery = web.ledger.history.delivery(delivery_id)
    message = web.ledger.history.delivery(web.driver.message_of(delivery_id))
    body = {
        "delivery": delivery_id,
        "attempts": delivery.attempts,
        "links": {"retrigger": f"{ADDRESS}/deliveries/{delivery_id}#retrigger"},
    }
    told = {"type": f"import.{delivery.state}", "body": body}
    message = type(message)(**{**fields(message), "message": told})
    return add_signed_link(web.settings, message)["links"]["retrigger"].removeprefix(ADDRESS)


def fields(value):
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def state(web, delivery_id):
    one = web.ledger.history.delivery(delivery_id)
    return one.state, one.attempts, one.run


def test_it_asks_and_changes_nothing(web, failed):
    before = state(web, failed)
    link = link_to(web, failed)
    for ask in (web.client.get, web.client.head, web.client.get):
        answer = ask(link, headers={"User-Agent": "Slackbot-LinkExpanding 1.0"})
        assert answer.status_code == 200
    page = answer.get_data(as_text=True)
    for told in ("hello", "prod/hello.zip", NAME_TAKEN.message.en, NAME_TAKEN.hint.en, "ops"):
        assert told in page
    assert state(web, failed) == before


def test_it_asks_in_the_readers_language(web, failed):
    answer = web.client.get(link_to(web, failed), headers={"Accept-Language": "zh-CN"})
    page = answer.get_data(as_text=True)
    assert "要重新触发此投递吗？" in page
    assert NAME_TAKEN.message.zh in page


def test_a_yes_tries_exactly_that_delivery_once_and_is_audited(web, failed):
    other = web.driver.announce("prod/other.zip", etag="e2")
    web.driver.fail(other)
    link, untouched = link_to(web, failed), state(web, other)
    answer = web.client.post(link, environ_base={"REMOTE_ADDR": "203.0.113.7"})
    assert answer.status_code == 200
    assert "Retriggered. The next attempt starts shortly." in answer.get_data(as_text=True)
    again = web.ledger.history.delivery(failed)
    assert (again.state, again.run, again.by) == (
        State.PENDING,
        2,
        "link in ops from 203.0.113.7",
    )
    assert state(web, other) == untouched

    assert web.client.post(link).status_code == 409
    assert state(web, failed)[2] == 2
    web.driver.succeed(failed)
    assert web.client.post(link).status_code == 409
    assert web.ledger.history.attempts(failed)[-1].by == "link in ops from 203.0.113.7"


def test_once_it_was_tried_again_by_anybody_the_link_says_by_whom_and_how_it_stands(web, failed):
    link = link_to(web, failed)
    web.operations.retrigger(failed, by="page")
    web.driver.succeed(failed)
    for answer in (web.client.get(link), web.client.post(link)):
        assert answer.status_code == 409
        page = answer.get_data(as_text=True)
        assert "This delivery has already been retriggered" in page
        assert "on its page" in page
        assert "succeeded" in page
        assert "<form" not in page
    assert state(web, failed)[2] == 2


def test_the_next_failure_has_a_link_of_its_own(web, failed):
    web.operations.retrigger(failed)
    web.driver.fail(failed)
    assert web.client.post(link_to(web, failed)).status_code == 200


def test_of_many_who_press_at_once_one_is_heard(web, failed):
    link, answers = link_to(web, failed), []

    def press():
        answers.append(web.app.test_client().post(link).status_code)

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [409] * 7
    assert state(web, failed)[2] == 2


def test_it_ends(web, failed):
    link = link_to(web, failed)
    web.clock.forward(days=6, hours=23)
    assert web.client.get(link).status_code == 200
    web.clock.forward(hours=2)
    for answer in (web.client.get(link), web.client.post(link)):
        assert answer.status_code == 410
        assert "This link has expired" in answer.get_data(as_text=True)
    assert state(web, failed)[2] == 1


def test_a_running_delivery_is_left_alone(web, failed):
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


@pytest.mark.parametrize("what", list(forged("/links/a.b")))
def test_what_we_did_not_sign_is_answered_alike_whatever_it_names(web, failed, what):
    token = forged(link_to(web, failed))[what]
    for ask in (web.client.get, web.client.post):
        answer = ask(f"/links/{token}")
        assert answer.status_code == 404
        page = answer.get_data(as_text=True)
        assert "This link is invalid or incomplete" in page
        assert "hello" not in page
    assert state(web, failed)[2] == 1


def test_another_relays_link_is_none_of_ours(make_web, web, failed):
    other = make_web(tokens=("another-relays-token-000",), public_url=ADDRESS)
    theirs = link_to(other, failed)
    assert web.client.post(theirs).status_code == 404


def test_a_link_whose_delivery_is_not_kept_any_more_says_so(web, failed):
    body = {
        "delivery": "01zzzzzzzzzzzzzzzzzzzzzzzz",
        "attempts": 1,
        "links": {"retrigger": "there"},
    }
    message = web.ledger.history.delivery(web.driver.message_of(failed))
    told = {**fields(message), "message": {"type": "import.failed", "body": body}}
    link = add_signed_link(web.settings, type(message)(**told))["links"]["retrigger"]
    answer = web.client.get(link.removeprefix(ADDRESS))
    assert answer.status_code == 410
    assert "has been deleted" in answer.get_data(as_text=True)


def test_without_tokens_there_are_no_links(make_web):
    web = make_web(public_url=ADDRESS)
    assert web.client.get("/links/abc.def").status_code == 404


def test_a_test_messages_link_says_that_it_is_one(web):
    answer = web.client.get("/links/test")
    assert answer.status_code == 404
    assert "test message" in answer.get_data(as_text=True)


def test_it_opens_nothing_but_its_question(web, failed):
    answer = web.client.get(link_to(web, failed))
    assert "Set-Cookie" not in answer.headers
    assert web.client.get(f"/deliveries/{failed}").status_code == 303
    assert web.client.get(f"/api/v1/deliveries/{failed}").status_code == 401


def test_nobody_keeps_shows_or_lists_it(web, failed):
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
def test_a_form_of_another_site_is_refused(web, failed, headers, status):
    assert web.client.post(link_to(web, failed), headers=headers).status_code == status
    assert state(web, failed)[2] == (2 if status == 200 else 1)


def test_a_server_that_logs_after_the_answer_finds_no_link(web, failed):
    link = link_to(web, failed)
    for path in (link, f"{link}/more", "/links/half-a-link-that-nobody-signed"):
        environ = {"RAW_URI": path, "REQUEST_URI": path, "HTTP_REFERER": f"{ADDRESS}{path}"}
        seen = {}

        def log_after(given, start, seen=seen):
            seen.update(given=given)
            return web.app.wsgi_app(given, start)

        answer = Client(log_after).get(path, environ_overrides=environ)
        assert answer.status_code in (200, 404)
        left = [str(value) for value in seen["given"].values() if isinstance(value, str)]
        assert not [value for value in left if path.removeprefix("/links/") in value]


def test_a_message_delivery_is_no_link_of_its_own(web, failed):
    message = web.driver.message_of(failed)
    assert web.ledger.history.delivery(message).kind == Kind.MESSAGE
    assert web.client.post(link_to(web, failed)).status_code == 200
    assert web.ledger.history.delivery(message).run == 1


def test_the_api_and_the_story_tell_who_asked(web, failed):
    web.client.post(link_to(web, failed), environ_base={"REMOTE_ADDR": "203.0.113.7"})
    headers = {"Authorization": f"Bearer {TOKEN}"}
    told = web.get(f"/api/v1/deliveries/{failed}", headers=headers).get_json()
    assert told["by"] == "link in ops from 203.0.113.7"
    web.driver.fail(failed)
    told = web.get(f"/api/v1/deliveries/{failed}", headers=headers).get_json()
    assert [one["by"] for one in told["attempts"]] == [None, "link in ops from 203.0.113.7"]
    page = web.get(f"/deliveries/{failed}", headers=headers).get_data(as_text=True)
    assert "by the link in ops, from 203.0.113.7" in page
    zh = {**headers, "Accept-Language": "zh"}
    assert "ops 频道消息中的链接" in web.get(f"/deliveries/{failed}", headers=zh).get_data(True)


@pytest.mark.parametrize("who", ["api", "page"])
def test_every_hand_is_named(web, failed, who):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    path = {
        "api": f"/api/v1/deliveries/{failed}/retrigger",
        "page": f"/deliveries/{failed}/retrigger",
    }[who]
    assert web.post(path, headers=headers).status_code in (202, 303)
    assert web.ledger.history.delivery(failed).by == who
