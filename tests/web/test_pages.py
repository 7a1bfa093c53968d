"""The operator pages: what a person reads, and that nothing from outside can speak in our name."""

import json
import re
from pathlib import Path

import pytest

import relay
from relay.model import Kind, Localized, Origin, Problem, State, Trigger, Verdict
from relay.web.filters import duration, filesize, visible
from relay.web.texts import PHRASES, phrase
from tests.web.page_reader import read, story
from tests.web.web_ledger import HOOK, NAME_TAKEN, UNREACHABLE

CHINESE = {"Accept-Language": "zh-CN"}
TEMPLATES = Path(relay.__file__).parent / "web" / "templates"


def retrigger(web, delivery_id, **form):
    page = web.client.get(f"/deliveries/{delivery_id}").get_data(as_text=True)
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    return web.client.post(f"/deliveries/{delivery_id}/retrigger", data={"csrf": csrf, **form})


class TestList:
    def test_it_says_how_to_begin_when_nothing_came_yet(self, web):
        page = read(web.client.get("/"))
        assert "No deliveries yet" in page.text
        assert "http://localhost/hooks/exports" in page.text

    def test_the_public_address_is_shown_when_there_is_one(self, make_web):
        web = make_web(public_url="https://relay.example.com")
        assert "https://relay.example.com/hooks/exports" in read(web.client.get("/")).text

    def test_without_a_source_it_shows_how_to_configure_one(self, make_web):
        web = make_web(sources={}, routes=())
        assert "[sources.exports]" in read(web.client.get("/")).text
        assert "[sources.exports]" in read(web.client.get("/sources")).text

    def test_a_row_tells_state_function_object_destination_and_age(self, web, driver):
        made = driver.announce("prod/orders.zip")
        driver.succeed(made, "orders")
        driver.clock.forward(minutes=5)
        page = read(web.client.get("/"))
        for told in ("succeeded", "orders", "exports/", "prod/orders.zip", "prod", "5 min ago"):
            assert told in page.text
        assert {"href": f"/deliveries/{made}"} in page.all("a")

    def test_a_failed_attempt_that_waits_is_called_retrying(self, web, driver):
        driver.retry(driver.announce())
        assert "retrying" in read(web.client.get("/")).text

    def test_every_state_has_a_sign_beside_its_word_and_colour(self, web, driver):
        page = web.client.get("/").get_data(as_text=True)
        signs = re.findall(r'class="chip (\w+)"><span class="sign" aria-hidden="true">(.)</', page)
        assert {state for state, _ in signs} == {str(state) for state in State}
        assert len({sign for _, sign in signs}) == len(State)

    def test_messages_are_shown_only_when_asked_for(self, web, driver):
        made = driver.announce("prod/a.zip")
        driver.succeed(made, "a")
        message = driver.message_of(made)
        assert message not in web.client.get("/").get_data(as_text=True)
        assert message in web.client.get("/?kind=message").get_data(as_text=True)
        assert message in web.client.get("/?kind=all").get_data(as_text=True)

    @pytest.mark.parametrize(
        ("query", "there"),
        [
            ("state=failed", {"b"}),
            ("source=archive", {"c"}),
            ("key=*/a.zip", {"a"}),
            ("state=&source=&key=", {"a", "b", "c"}),
            ("state=failed&lang=zh", {"b"}),
        ],
    )
    def test_filters(self, web, driver, query, there):
        made = {
            "a": driver.announce("prod/a.zip", etag="a"),
            "b": driver.announce("prod/b.zip", etag="b"),
            "c": driver.announce("prod/c.zip", source="archive", etag="c"),
        }
        driver.fail(made["b"])
        page = web.client.get(f"/?{query}").get_data(as_text=True)
        assert {name for name, id_ in made.items() if f"/deliveries/{id_}" in page} == there

    def test_a_filter_stays_chosen(self, web):
        page = read(web.client.get("/?state=failed&key=pr%22od*"))
        assert {"value": "failed", "selected": None} in page.all("option")
        assert "No matching deliveries" in page.text
        assert [one["value"] for one in page.all("input") if one.get("name") == "key"] == ['pr"od*']

    @pytest.mark.parametrize("query", ["state=lost", "limit=900", "cursor=x", "colour=red"])
    def test_a_wrong_filter_is_told_on_a_page(self, web, query):
        answer = web.client.get(f"/?{query}")
        assert answer.status_code == 422
        assert answer.mimetype == "text/html"

    def test_pages_keep_their_filters(self, web, driver):
        for number in range(5):
            driver.announce(f"prod/{number}.zip", etag=str(number))
            driver.clock.forward(milliseconds=5)
        seen, address = [], "/?limit=2&source=exports"
        while address:
            page = read(web.client.get(address))
            links = [one["href"] for one in page.all("a")]
            seen += [link for link in links if link.startswith("/deliveries/")]
            older = [one["href"] for one in page.all("a") if one.get("rel") == "next"]
            address = older[0] if older else None
            assert address is None or "source=exports" in address
        assert len(seen) == len(set(seen)) == 5

    def test_a_poll_gets_the_page_only_when_it_changed(self, web, driver):
        driver.announce()
        first = web.client.get("/")
        etag = {"If-None-Match": first.headers["ETag"]}
        assert web.client.get("/", headers=etag).status_code == 304
        driver.announce("prod/b.zip", etag="b")
        assert web.client.get("/", headers=etag).status_code == 200


class TestStory:
    def test_a_success_from_the_notification_to_the_message(self, web, driver):
        made = driver.announce("prod/hello.zip", version="v3", size=3 * 1024 * 1024)
        driver.clock.forward(seconds=2)
        driver.succeed(made, "hello", seconds=1.5, runtime="Python3.9", digest="cd" * 64)
        page = story(web, made)
        (came,) = web.ledger.history.notifications().items
        assert {"href": f"/notifications/{came.id}"} in page.all("a")
        for told in (
            "from the hook",
            "3.0 MiB",
            "v3",
            "Attempt 1: succeeded",
            "took 1.5 s",
            "urn:fss:cn-north-4",
            "Python3.9",
            "cdcdcdcdcdcdcdcd…",
            "Message to ops",
            "pending",
        ):
            assert told in page.text
        assert {"href": f"/api/v1/deliveries/{made}"} in page.all("a")

    def test_each_attempt_tells_why_it_failed_and_what_to_do(self, web, driver):
        made = driver.announce()
        driver.retry(made, seconds=30)
        driver.clock.forward(minutes=1)
        driver.fail(made)
        page = story(web, made)
        assert page.text.index("Attempt 1") < page.text.index("Attempt 2")
        assert "failed, will be retried" in page.text
        for problem in (UNREACHABLE, NAME_TAKEN):
            assert problem.message.en in page.text
            assert problem.hint.en in page.text
            assert problem.code in page.text
        assert "409 FSS.1061" in page.text
        assert "Failed permanently" in page.text

    def test_what_waits_says_when(self, web, driver):
        made = driver.announce()
        assert "Waiting for a worker" in story(web, made).text
        driver.retry(made, after=180)
        page = story(web, made)
        assert "Next attempt in 3 min" in page.text.replace("  ", " ")

    def test_a_running_delivery_cannot_be_retriggered(self, web, driver):
        made = driver.announce()
        driver.claim(made)
        page = story(web, made)
        assert "Attempt 1: running" in page.text
        assert page.all("form") == []

    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            ("superseded", "superseded by a newer version"),
            ("gone", "the object no longer exists"),
            ("unchanged", "the target already has this code"),
            ("a plug-in's own", "a plug-in's own"),
        ],
    )
    def test_a_skip_says_why(self, web, driver, reason, words):
        made = driver.announce()
        driver.skip(made, reason)
        assert words in story(web, made).text

    def test_what_no_route_takes_is_shown(self, web, driver):
        made = driver.announce("readme.txt")
        page = story(web, made)
        assert "no route matches" in page.text
        assert "no destination" in page.text

    def test_a_messages_story_leads_to_its_import(self, web, driver):
        made = driver.announce()
        driver.succeed(made)
        page = story(web, driver.message_of(made))
        assert {"href": f"/deliveries/{made}"} in page.all("a")

    def test_what_a_submission_made_says_so(self, web):
        (made,) = web.operations.submit("exports", "exports", "prod/x.zip")
        assert "from a manual submission" in story(web, made.id).text

    def test_what_a_plug_in_answers_cannot_break_the_page(self, web, driver):
        made = driver.announce()
        odd = {"warnings": [{"message": "<b>", "where": None}], "code_size": "big", "runtime": 3}
        driver.succeed(made, **odd)
        assert "<b>" in story(web, made).text


class TestRetrigger:
    def test_the_button_makes_it_due_again(self, web, driver):
        made = driver.announce()
        driver.fail(made)
        answer = retrigger(web, made)
        assert answer.status_code == 303
        delivery = web.ledger.history.delivery(made)
        assert (delivery.state, delivery.trigger) == (State.PENDING, Trigger.MANUAL)
        assert "Retriggered" in read(web.client.get(answer.headers["Location"])).text

    def test_it_may_choose_what_a_conflict_means(self, web, driver):
        made = driver.announce()
        driver.fail(made)
        retrigger(web, made, on_conflict="rename")
        assert web.ledger.history.delivery(made).options["on_conflict"] == "rename"

    def test_as_before_changes_nothing(self, web, driver):
        made = driver.announce()
        driver.fail(made)
        retrigger(web, made, on_conflict="")
        assert web.ledger.history.delivery(made).options["on_conflict"] == "skip"

    def test_an_unknown_choice_is_refused(self, web, driver):
        made = driver.announce()
        driver.fail(made)
        assert retrigger(web, made, on_conflict="burn").status_code == 422
        assert web.ledger.history.delivery(made).state == State.FAILED

    def test_one_that_began_to_run_meanwhile_is_told_on_its_page(self, web, driver):
        made = driver.announce()
        page = web.client.get(f"/deliveries/{made}").get_data(as_text=True)
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        driver.claim(made)
        answer = web.client.post(f"/deliveries/{made}/retrigger", data={"csrf": csrf})
        assert answer.status_code == 409
        assert 'role="alert"' in answer.get_data(as_text=True)

    def test_an_unknown_delivery_is_not_found(self, web, driver):
        made = driver.announce()
        page = web.client.get(f"/deliveries/{made}").get_data(as_text=True)
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        answer = web.client.post("/deliveries/01nope/retrigger", data={"csrf": csrf})
        assert answer.status_code == 404


class TestNotifications:
    def test_the_list_tells_each_verdict(self, web, driver):
        driver.announce()
        driver.clock.forward(seconds=1)
        web.client.post("/hooks/exports", data=b"\xff", headers={"Authorization": HOOK})
        page = read(web.client.get("/notifications"))
        for told in ("accepted", "unreadable", "it is not JSON", "hook"):
            assert told in page.text

    def test_it_is_empty_in_words(self, web):
        assert "No notifications yet" in read(web.client.get("/notifications")).text

    def test_one_is_shown_as_it_came(self, web, driver):
        driver.announce("prod/<b>.zip")
        (came,) = web.ledger.history.notifications().items
        page = read(web.client.get(f"/notifications/{came.id}"))
        assert came.body.decode() in page.text
        assert "[redacted]" in page.text
        assert "content-type" in page.text
        assert HOOK not in page.text

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            (b"", "The body is empty."),
            (b"\xff\xfe\x00", "ff fe 00"),
            (b"x" * 70_000, "Only the beginning is shown"),
            ("é".encode() * 40_000, "Only the beginning is shown"),
            (b"a\x00\x1bb", "aU+0000U+001Bb"),
        ],
    )
    def test_any_body_can_be_looked_at(self, web, body, told):
        headers = {"Authorization": HOOK}
        answer = web.client.post("/hooks/exports", data=body, headers=headers)
        id_ = answer.get_json()["notification"]
        assert told in read(web.client.get(f"/notifications/{id_}")).text

    def test_one_is_read_again_by_a_button(self, web, driver):
        driver.announce()
        (came,) = web.ledger.history.notifications().items
        page = web.client.get(f"/notifications/{came.id}").get_data(as_text=True)
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        path = f"/notifications/{came.id}/replay"
        assert web.client.post(path).status_code == 403
        answer = web.client.post(path, data={"csrf": csrf})
        assert answer.status_code == 303
        assert "Read again" in read(web.client.get(answer.headers["Location"])).text
        assert len(web.ledger.history.notifications().items) == 2


def test_sources_are_shown_with_their_hooks_and_last_events(web, driver):
    driver.announce()
    driver.clock.forward(hours=3)
    page = read(web.client.get("/sources"))
    assert "http://localhost/hooks/archive" in page.text
    assert "3 h ago" in page.text
    assert "never" in page.text


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "No notifications since 11 min ago: Objects came"), ("zh", "未收到通知，始于")],
)
def test_a_silent_source_is_marked_until_its_next_notification(web, driver, language, words):
    driver.fall_silent()
    address = f"/sources?lang={language}"
    page = read(web.client.get(address))
    assert words in " ".join(page.text.split())
    assert "relay sources setup exports" in page.text
    driver.announce()
    assert "relay sources setup" not in read(web.client.get(address)).text


HOSTILE = [
    "<script>alert(1)</script>.zip",
    '"><img src=x onerror=alert(1)>.zip',
    "prod/\u202egnp.zip",
    "prod/a\u200bb\x00\x1b[31m\x7f.zip",
    "prod/{{7*7}}{%x%}.zip",
    "prod/" + "é" * 600 + ".zip",
    "prod/line\nbreak\u2028.zip",
    "prod/\ud800.zip",
    "prod/'onmouseover=alert(1) x='.zip",
]


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_is_shown_harmlessly(web, driver, key):
    made = driver.announce(key, etag=key[:20])
    problem = Problem("x.y", Localized(f"bad {key}", "坏"), Localized(key, "坏"))
    driver.fail(made, problem, response=key)
    (came,) = web.ledger.history.notifications().items
    for path in ("/", "/?kind=all", f"/deliveries/{made}", f"/notifications/{came.id}"):
        page = read(web.client.get(path))
        assert [one["src"] for one in page.all("script")] == ["/static/relay.js"]
        assert all(one["src"].startswith("/static/") for one in page.all("img"))
        assert not [a for _, attrs in page.elements for a in attrs if a.startswith("on")]
        html = web.client.get(path).get_data(as_text=True)
        for unseen in ("\u202e", "\u200b", "\x00", "\x1b", "\x7f", "\u2028"):
            assert unseen not in html
        assert "49" not in html or "{{7*7}}" not in key or "{{7*7}}" in page.text


def test_what_cannot_be_seen_is_made_visible():
    shown = visible("a\u202eb<\n")
    assert "U+202E" in shown
    assert "U+000A" in shown
    assert "&lt;" in shown
    assert visible("a\nb", "\n") == '<bdi class="foreign">a\nb</bdi>'


class TestLanguages:
    def test_the_browsers_language_is_spoken(self, web, driver):
        made = driver.announce()
        driver.fail(made)
        page = web.client.get(f"/deliveries/{made}", headers=CHINESE)
        html = page.get_data(as_text=True)
        assert '<html lang="zh-CN">' in html
        assert "失败" in html
        assert NAME_TAKEN.message.zh in html
        assert NAME_TAKEN.message.en not in html

    def test_a_choice_wins_and_is_remembered(self, web):
        assert '<html lang="zh-CN">' in web.client.get("/?lang=zh").get_data(as_text=True)
        assert '<html lang="zh-CN">' in web.client.get("/sources").get_data(as_text=True)
        chosen = web.client.get("/?lang=en", headers=CHINESE)
        assert '<html lang="en">' in chosen.get_data(as_text=True)

    def test_an_unknown_choice_is_ignored(self, web):
        answer = web.client.get("/?lang=tlh")
        assert '<html lang="en">' in answer.get_data(as_text=True)
        assert "relay_lang" not in answer.headers.get("Set-Cookie", "")

    def test_every_phrase_a_template_asks_for_is_there(self):
        asked = set()
        for template in TEMPLATES.glob("*.html"):
            text = template.read_text()
            asked |= set(re.findall(r'\bt\(\s*["\']([^"\']+)["\']\s*[,)]', text))
            asked |= set(re.findall(r'\bt\("([\w.]+)" if .+? else "[\w.]+"\)', text))
            asked |= set(re.findall(r'\bt\("[\w.]+" if .+? else "([\w.]+)"\)', text))
        assert len(asked) > 50
        assert asked - set(PHRASES) == set()

    @pytest.mark.parametrize(
        ("family", "words"),
        [
            ("state", [*State, "retrying"]),
            ("reason", ["superseded", "gone", "unchanged", "no route"]),
            ("kind", [*Kind, "all"]),
            ("story.transport", Origin),
            ("transport", Origin),
            ("verdict", Verdict),
            (
                "outcome",
                ["running", "succeeded", "skipped", "failed", "retry", "lost", "hung", "released"],
            ),
            ("how", ["created", "updated", "renamed", "already there"]),
            ("policy", ["skip", "fail", "update", "rename"]),
            ("title", ["deliveries", "notifications", "sources"]),
            (
                "fact",
                ["func_name", "package", "runtime", "handler", "version"],
            ),
        ],
    )
    def test_every_word_of_the_house_has_its_phrase(self, family, words):
        assert [word for word in words if f"{family}.{word}" not in PHRASES] == []

    def test_both_languages_are_complete_and_fill_the_same_fields(self):
        for key, text in PHRASES.items():
            assert text.en.strip(), key
            assert text.zh.strip(), key
            fields = [set(re.findall(r"\{(\w+)\}", words)) for words in text]
            assert fields[0] == fields[1], key

    def test_no_phrase_is_left_over(self):
        text = "".join(path.read_text() for path in TEMPLATES.glob("*.html"))
        text += (Path(relay.__file__).parent / "web" / "filters.py").read_text()
        families = {match[1] for match in re.finditer(r'["\']([\w.]+)\.["\'] ~', text)}
        families |= {"time", "by"}
        left = [
            key
            for key in PHRASES
            if f'"{key}"' not in text and f"'{key}'" not in text and family(key) not in families
        ]
        assert left == []


def family(key):
    return key.rpartition(".")[0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0421, "42 ms"),
        (1.25, "1.2 s"),
        (2.0, "2 s"),
        (42, "42 s"),
        (99, "99 s"),
        (150, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (200_000, "2 days"),
    ],
)
def test_spans_are_told_in_a_unit_that_says_enough(seconds, words):
    assert duration(seconds, "en") == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (300 * 2**20, "300 MiB"),
        (2**41, "2048 GiB"),
    ],
)
def test_sizes_are_told_as_the_configuration_writes_them(size, words):
    assert filesize(size) == words


def test_a_word_without_a_phrase_stands_for_itself():
    assert phrase("reason.of my own", "zh") == "of my own"


def test_the_pages_ask_nobody_else_for_anything(web, driver):
    driver.succeed(driver.announce())
    for path in ("/", "/notifications", "/sources", "/login"):
        html = web.client.get(path).get_data(as_text=True)
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', html)
        assert "style=" not in html


def test_the_data_of_a_page_is_the_ledgers(web, driver):
    made = driver.announce()
    driver.succeed(made)
    as_json = json.loads(web.client.get(f"/api/v1/deliveries/{made}").get_data())
    assert as_json["result"]["func_urn"] in story(web, made).text


def test_a_target_is_paused_and_resumed_by_its_buttons(web):
    page = read(web.client.get("/sources"))
    assert "Open" in page.text
    html = web.client.get("/sources").get_data(as_text=True)
    form = {"csrf": re.search(r'name="csrf" value="([^"]+)"', html)[1]}
    assert web.client.post("/targets/prod/pause", data=form).status_code == 303
    assert "Paused manually since" in read(web.client.get("/sources")).text
    assert web.client.post("/targets/prod/resume", data=form).status_code == 303
    assert "Open" in read(web.client.get("/sources")).text
    assert web.client.post("/targets/prod/pause").status_code == 403
    assert "Open" in read(web.client.get("/sources")).text
