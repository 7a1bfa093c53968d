"""The pages for operators: content, languages, and hostile text shown harmlessly."""

import json
import re
from pathlib import Path

import pytest

import relay
from relay.model import Kind, Localized, Origin, Problem, State, Trigger, Verdict
from relay.web.filters import duration, visible
from relay.web.texts import PHRASES, phrase
from tests.web.page_reader import delivery_page, read
from tests.web.web_ledger import HOOK, NAME_TAKEN, UNREACHABLE

CHINESE = {"Accept-Language": "zh-CN"}
TEMPLATES = Path(relay.__file__).parent / "web" / "templates"


def retrigger(web, delivery_id, **form):
    page = web.client.get(f"/deliveries/{delivery_id}").get_data(as_text=True)
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    return web.client.post(f"/deliveries/{delivery_id}/retrigger", data={"csrf": csrf, **form})


class TestList:
    def test_an_empty_list_explains_how_to_begin(self, web):
        page = read(web.client.get("/"))
        assert "No deliveries yet" in page.text
        assert "http://localhost/hooks/exports" in page.text

    def test_hooks_are_shown_with_the_public_url(self, make_web):
        web = make_web(public_url="https://relay.example.com")
        assert "https://relay.example.com/hooks/exports" in read(web.client.get("/")).text

    def test_without_a_source_it_shows_how_to_configure_one(self, make_web):
        web = make_web(sources={}, routes=())
        assert "[sources.exports]" in read(web.client.get("/")).text
        assert "[sources.exports]" in read(web.client.get("/sources")).text

    def test_a_row_shows_state_function_object_destination_and_age(self, web, driver):
        delivery_id = driver.announce("prod/orders.zip")
        driver.succeed(delivery_id, "orders")
        driver.clock.forward(minutes=5)
        page = read(web.client.get("/"))
        for text in ("succeeded", "orders", "exports/", "prod/orders.zip", "prod", "5 min ago"):
            assert text in page.text
        assert {"href": f"/deliveries/{delivery_id}"} in page.all("a")

    def test_a_delivery_pending_after_a_failure_is_shown_as_retrying(self, web, driver):
        driver.retry(driver.announce())
        assert "retrying" in read(web.client.get("/")).text

    def test_every_state_has_its_own_sign(self, web, driver):
        page = web.client.get("/").get_data(as_text=True)
        signs = re.findall(r'class="chip (\w+)"><span class="sign" aria-hidden="true">(.)</', page)
        assert {state for state, _ in signs} == {str(state) for state in State}
        assert len({sign for _, sign in signs}) == len(State)

    def test_messages_are_listed_only_if_requested(self, web, driver):
        delivery_id = driver.announce("prod/a.zip")
        driver.succeed(delivery_id, "a")
        message = driver.message_of(delivery_id)
        assert message not in web.client.get("/").get_data(as_text=True)
        assert message in web.client.get("/?kind=message").get_data(as_text=True)
        assert message in web.client.get("/?kind=all").get_data(as_text=True)

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("state=failed", {"b"}),
            ("source=archive", {"c"}),
            ("key=*/a.zip", {"a"}),
            ("state=&source=&key=", {"a", "b", "c"}),
            ("state=failed&lang=zh", {"b"}),
        ],
    )
    def test_filters(self, web, driver, query, names):
        ids = {
            "a": driver.announce("prod/a.zip", etag="a"),
            "b": driver.announce("prod/b.zip", etag="b"),
            "c": driver.announce("prod/c.zip", source="archive", etag="c"),
        }
        driver.fail(ids["b"])
        page = web.client.get(f"/?{query}").get_data(as_text=True)
        assert {name for name, id_ in ids.items() if f"/deliveries/{id_}" in page} == names

    def test_a_filter_stays_selected(self, web):
        page = read(web.client.get("/?state=failed&key=pr%22od*"))
        assert {"value": "failed", "selected": None} in page.all("option")
        assert "No matching deliveries" in page.text
        inputs = {field.get("name"): field.get("value") for field in page.all("input")}
        assert inputs["key"] == 'pr"od*'

    @pytest.mark.parametrize("query", ["state=lost", "limit=900", "cursor=x", "colour=red"])
    def test_an_invalid_filter_gets_an_error_page(self, web, query):
        response = web.client.get(f"/?{query}")
        assert response.status_code == 422
        assert response.mimetype == "text/html"

    def test_links_to_older_pages_keep_the_filters(self, web, driver):
        for number in range(5):
            driver.announce(f"prod/{number}.zip", etag=str(number))
            driver.clock.forward(milliseconds=5)
        seen, address = [], "/?limit=2&source=exports"
        while address:
            page = read(web.client.get(address))
            links = [link["href"] for link in page.all("a")]
            seen += [link for link in links if link.startswith("/deliveries/")]
            older = [link["href"] for link in page.all("a") if link.get("rel") == "next"]
            address = older[0] if older else None
            assert address is None or "source=exports" in address
        assert len(seen) == len(set(seen)) == 5

    def test_an_unchanged_page_gets_304(self, web, driver):
        driver.announce()
        first = web.client.get("/")
        etag = {"If-None-Match": first.headers["ETag"]}
        assert web.client.get("/", headers=etag).status_code == 304
        driver.announce("prod/b.zip", etag="b")
        assert web.client.get("/", headers=etag).status_code == 200


class TestDelivery:
    def test_a_success_is_shown_from_the_notification_to_the_message(self, web, driver):
        delivery_id = driver.announce("prod/hello.zip", version="v3", size=3 * 1024 * 1024)
        driver.clock.forward(seconds=2)
        driver.succeed(delivery_id, "hello", seconds=1.5, runtime="Python3.9", digest="cd" * 64)
        page = delivery_page(web, delivery_id)
        (notification,) = web.ledger.history.notifications().items
        assert {"href": f"/notifications/{notification.id}"} in page.all("a")
        for text in (
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
            assert text in page.text
        assert {"href": f"/api/v1/deliveries/{delivery_id}"} in page.all("a")

    def test_each_attempt_shows_its_error_and_hint(self, web, driver):
        delivery_id = driver.announce()
        driver.retry(delivery_id, seconds=30)
        driver.clock.forward(minutes=1)
        driver.fail(delivery_id)
        page = delivery_page(web, delivery_id)
        assert page.text.index("Attempt 1") < page.text.index("Attempt 2")
        assert "failed, will be retried" in page.text
        for problem in (UNREACHABLE, NAME_TAKEN):
            assert problem.message.en in page.text
            assert problem.hint.en in page.text
            assert problem.code in page.text
        assert "409 FSS.1061" in page.text
        assert "Failed permanently" in page.text

    def test_a_pending_delivery_shows_the_time_of_the_next_attempt(self, web, driver):
        delivery_id = driver.announce()
        assert "Waiting for a worker" in delivery_page(web, delivery_id).text
        driver.retry(delivery_id, retry_after=180)
        page = delivery_page(web, delivery_id)
        assert "Next attempt in 3 min" in page.text.replace("  ", " ")

    def test_a_running_delivery_cannot_be_retriggered(self, web, driver):
        delivery_id = driver.announce()
        driver.claim(delivery_id)
        page = delivery_page(web, delivery_id)
        assert "Attempt 1: running" in page.text
        assert page.all("form") == []

    @pytest.mark.parametrize(
        ("reason", "text"),
        [
            ("superseded", "superseded by a newer version"),
            ("gone", "the object no longer exists"),
            ("unchanged", "the target already has this code"),
            ("configuration differs", "the target has this code with other settings"),
            ("a plug-in's own", "a plug-in's own"),
        ],
    )
    def test_a_skipped_delivery_shows_the_reason(self, web, driver, reason, text):
        delivery_id = driver.announce()
        driver.skip(delivery_id, reason)
        assert text in delivery_page(web, delivery_id).text

    def test_settings_that_differ_are_shown(self, web, driver):
        delivery_id = driver.announce()
        differences = [
            {"field": "Timeout", "current": 3, "wanted": 30},
            {"field": "Xrole", "current": "<b>", "wanted": None},
        ]
        driver.skip(delivery_id, "configuration differs", differences=differences)
        page = delivery_page(web, delivery_id).text
        assert "the target has this code with other settings" in page
        assert "Timeout 3 → 30" in page
        assert "Xrole <b> → not set" in page

    def test_an_update_shows_what_it_changed_and_could_not_apply(self, web, driver):
        delivery_id = driver.announce()
        difference = {"field": "Timeout", "current": 3, "wanted": 30}
        driver.succeed(delivery_id, differences=[difference], not_applied=["Triggers", "New"])
        page = delivery_page(web, delivery_id).text
        assert "Timeout 3 → 30" in page
        assert "Not applied Triggers, New" in page

    def test_a_failed_update_shows_that_the_code_is_in_place(self, web, driver):
        delivery_id = driver.announce()
        driver.fail(delivery_id, effect=["code"])
        page = delivery_page(web, delivery_id).text
        assert "The new code is in place." in page
        assert "The new configuration" not in page

    @pytest.mark.parametrize("language", ["en", "zh"])
    @pytest.mark.parametrize("end", ["succeed", "fail", "skip"])
    def test_warnings_are_shown_in_the_language_of_the_page(self, web, driver, end, language):
        delivery_id = driver.announce()
        message = {"en": "The function is disabled", "zh": "函数已被禁用"}
        warnings = [{"code": "x", "message": message}, {"code": "y", "message": "Plain text"}]
        ending = {"reason": "unchanged"} if end == "skip" else {}
        getattr(driver, end)(delivery_id, **ending, warnings=warnings)
        page = delivery_page(web, delivery_id, query_string={"lang": language}).text
        assert message[language] in page
        assert "Plain text" in page

    def test_a_delivery_without_a_route_is_shown(self, web, driver):
        delivery_id = driver.announce("readme.txt")
        page = delivery_page(web, delivery_id)
        assert "no route matches" in page.text
        assert "no destination" in page.text

    def test_the_page_of_a_message_links_to_its_import(self, web, driver):
        delivery_id = driver.announce()
        driver.succeed(delivery_id)
        page = delivery_page(web, driver.message_of(delivery_id))
        assert {"href": f"/deliveries/{delivery_id}"} in page.all("a")

    def test_the_page_of_a_message_shows_when_the_message_was_created(self, web, driver):
        delivery_id = driver.announce()
        driver.clock.forward(minutes=30)
        driver.succeed(delivery_id)
        driver.clock.forward(minutes=5)
        page = delivery_page(web, driver.message_of(delivery_id))
        assert "Message created 5 min ago" in page.text
        assert "Event received" not in page.text
        assert "Event received 35 min ago" in delivery_page(web, delivery_id).text

    def test_a_submission_is_shown_as_such(self, web):
        (delivery,) = web.operations.submit("exports", "exports", "prod/x.zip")
        assert "from a manual submission" in delivery_page(web, delivery.id).text

    def test_an_odd_result_of_a_plug_in_does_not_break_the_page(self, web, driver):
        delivery_id = driver.announce()
        result = {"warnings": [{"message": "<b>", "where": None}], "code_size": "big", "runtime": 3}
        result |= {"differences": [1, "x", {}], "not_applied": 5, "effect": 3}
        driver.succeed(delivery_id, **result)
        assert "<b>" in delivery_page(web, delivery_id).text


class TestRetrigger:
    def test_the_form_makes_the_delivery_due(self, web, driver):
        delivery_id = driver.announce()
        driver.fail(delivery_id)
        response = retrigger(web, delivery_id)
        assert response.status_code == 303
        delivery = web.ledger.history.delivery(delivery_id)
        assert (delivery.state, delivery.trigger) == (State.PENDING, Trigger.MANUAL)
        assert "Retriggered" in read(web.client.get(response.headers["Location"])).text

    def test_the_form_can_change_the_conflict_policy(self, web, driver):
        delivery_id = driver.announce()
        driver.fail(delivery_id)
        retrigger(web, delivery_id, on_conflict="rename")
        assert web.ledger.history.delivery(delivery_id).options["on_conflict"] == "rename"

    def test_as_before_keeps_the_conflict_policy(self, web, driver):
        delivery_id = driver.announce()
        driver.fail(delivery_id)
        retrigger(web, delivery_id, on_conflict="")
        assert web.ledger.history.delivery(delivery_id).options["on_conflict"] == "skip"

    def test_an_unknown_conflict_policy_is_refused(self, web, driver):
        delivery_id = driver.announce()
        driver.fail(delivery_id)
        assert retrigger(web, delivery_id, on_conflict="burn").status_code == 422
        assert web.ledger.history.delivery(delivery_id).state == State.FAILED

    def test_a_delivery_that_is_running_by_now_gets_an_error_on_its_page(self, web, driver):
        delivery_id = driver.announce()
        page = web.client.get(f"/deliveries/{delivery_id}").get_data(as_text=True)
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        driver.claim(delivery_id)
        response = web.client.post(f"/deliveries/{delivery_id}/retrigger", data={"csrf": csrf})
        assert response.status_code == 409
        assert 'role="alert"' in response.get_data(as_text=True)

    def test_an_unknown_delivery_is_not_found(self, web, driver):
        delivery_id = driver.announce()
        page = web.client.get(f"/deliveries/{delivery_id}").get_data(as_text=True)
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        response = web.client.post("/deliveries/01nope/retrigger", data={"csrf": csrf})
        assert response.status_code == 404


class TestNotifications:
    def test_the_list_shows_the_result_of_each_notification(self, web, driver):
        driver.announce()
        driver.clock.forward(seconds=1)
        web.client.post("/hooks/exports", data=b"\xff", headers={"Authorization": HOOK})
        page = read(web.client.get("/notifications"))
        for text in ("accepted", "unreadable", "it is not JSON", "hook"):
            assert text in page.text

    def test_an_empty_list_says_so(self, web):
        assert "No notifications yet" in read(web.client.get("/notifications")).text

    def test_a_notification_is_shown_as_it_was_sent(self, web, driver):
        driver.announce("prod/<b>.zip")
        (notification,) = web.ledger.history.notifications().items
        page = read(web.client.get(f"/notifications/{notification.id}"))
        assert notification.body.decode() in page.text
        assert "[redacted]" in page.text
        assert "content-type" in page.text
        assert HOOK not in page.text

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (b"", "The body is empty."),
            (b"\xff\xfe\x00", "ff fe 00"),
            (b"x" * 70_000, "Only the beginning is shown"),
            ("é".encode() * 40_000, "Only the beginning is shown"),
            (b"a\x00\x1bb", "aU+0000U+001Bb"),
        ],
    )
    def test_any_body_can_be_shown(self, web, body, text):
        headers = {"Authorization": HOOK}
        response = web.client.post("/hooks/exports", data=body, headers=headers)
        notification_id = response.get_json()["notification"]
        assert text in read(web.client.get(f"/notifications/{notification_id}")).text

    def test_a_notification_is_replayed_by_the_form(self, web, driver):
        driver.announce()
        (notification,) = web.ledger.history.notifications().items
        page = web.client.get(f"/notifications/{notification.id}").get_data(as_text=True)
        csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        path = f"/notifications/{notification.id}/replay"
        assert web.client.post(path).status_code == 403
        response = web.client.post(path, data={"csrf": csrf})
        assert response.status_code == 303
        assert "Read again" in read(web.client.get(response.headers["Location"])).text
        assert len(web.ledger.history.notifications().items) == 2


def test_sources_are_shown_with_hook_and_last_event(web, driver):
    driver.announce()
    driver.clock.forward(hours=3)
    page = read(web.client.get("/sources"))
    assert "http://localhost/hooks/archive" in page.text
    assert "3 h ago" in page.text
    assert "never" in page.text


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "No notifications since 11 min ago New objects arrive"), ("zh", "未收到通知，始于")],
)
def test_a_silent_source_is_marked_until_its_next_notification(web, driver, language, text):
    driver.fall_silent()
    address = f"/sources?lang={language}"
    page = read(web.client.get(address))
    assert text in " ".join(page.text.split())
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
    delivery_id = driver.announce(key, etag=key[:20])
    problem = Problem("x.y", Localized(f"bad {key}", "坏"), Localized(key, "坏"))
    driver.fail(delivery_id, problem, response=key)
    (notification,) = web.ledger.history.notifications().items
    for path in (
        "/",
        "/?kind=all",
        f"/deliveries/{delivery_id}",
        f"/notifications/{notification.id}",
    ):
        page = read(web.client.get(path))
        assert [script["src"] for script in page.all("script")] == ["/static/relay.js"]
        assert all(image["src"].startswith("/static/") for image in page.all("img"))
        assert not [a for _, attrs in page.elements for a in attrs if a.startswith("on")]
        html = web.client.get(path).get_data(as_text=True)
        for invisible in ("\u202e", "\u200b", "\x00", "\x1b", "\x7f", "\u2028"):
            assert invisible not in html
        assert "49" not in html or "{{7*7}}" not in key or "{{7*7}}" in page.text


def test_invisible_characters_are_made_visible():
    shown = visible("a\u202eb<\n")
    assert "U+202E" in shown
    assert "U+000A" in shown
    assert "&lt;" in shown
    assert visible("a\nb", "\n") == '<bdi class="foreign">a\nb</bdi>'


class TestLanguages:
    def test_the_language_of_the_browser_is_used(self, web, driver):
        delivery_id = driver.announce()
        driver.fail(delivery_id)
        page = web.client.get(f"/deliveries/{delivery_id}", headers=CHINESE)
        html = page.get_data(as_text=True)
        assert '<html lang="zh-CN">' in html
        assert "失败" in html
        assert NAME_TAKEN.message.zh in html
        assert NAME_TAKEN.message.en not in html

    def test_an_explicit_choice_wins_and_is_remembered(self, web):
        assert '<html lang="zh-CN">' in web.client.get("/?lang=zh").get_data(as_text=True)
        assert '<html lang="zh-CN">' in web.client.get("/sources").get_data(as_text=True)
        chosen = web.client.get("/?lang=en", headers=CHINESE)
        assert '<html lang="en">' in chosen.get_data(as_text=True)

    def test_an_unknown_choice_is_ignored(self, web):
        response = web.client.get("/?lang=tlh")
        assert '<html lang="en">' in response.get_data(as_text=True)
        assert "relay_lang" not in response.headers.get("Set-Cookie", "")

    def test_every_phrase_that_a_template_uses_exists(self):
        used = set()
        for template in TEMPLATES.glob("*.html"):
            text = template.read_text()
            used |= set(re.findall(r'\bt\(\s*["\']([^"\']+)["\']\s*[,)]', text))
            used |= set(re.findall(r'\bt\("([\w.]+)" if .+? else "[\w.]+"\)', text))
            used |= set(re.findall(r'\bt\("[\w.]+" if .+? else "([\w.]+)"\)', text))
        assert len(used) > 50
        assert used - set(PHRASES) == set()

    @pytest.mark.parametrize(
        ("family", "values"),
        [
            ("state", [*State, "retrying"]),
            ("reason", ["superseded", "gone", "unchanged", "configuration differs", "no route"]),
            ("kind", [*Kind, "all"]),
            ("story.transport", Origin),
            ("transport", Origin),
            ("verdict", Verdict),
            (
                "outcome",
                ["running", "succeeded", "skipped", "failed", "retry", "lost", "hung", "released"],
            ),
            ("how", ["created", "updated", "unchanged", "renamed", "already there"]),
            ("policy", ["skip", "fail", "update", "rename"]),
            ("title", ["deliveries", "notifications", "sources"]),
            (
                "fact",
                ["func_name", "package", "runtime", "handler", "version"],
            ),
        ],
    )
    def test_every_value_of_the_model_has_a_phrase(self, family, values):
        assert [value for value in values if f"{family}.{value}" not in PHRASES] == []

    def test_both_languages_are_complete_and_have_the_same_fields(self):
        for key, text in PHRASES.items():
            assert text.en.strip(), key
            assert text.zh.strip(), key
            fields = [set(re.findall(r"\{(\w+)\}", translation)) for translation in text]
            assert fields[0] == fields[1], key

    def test_every_phrase_is_used(self):
        text = "".join(path.read_text() for path in TEMPLATES.glob("*.html"))
        text += (Path(relay.__file__).parent / "web" / "filters.py").read_text()
        families = {match[1] for match in re.finditer(r'["\']([\w.]+)\.["\'] ~', text)}
        families |= {"time", "by"}
        unused = [
            key
            for key in PHRASES
            if f'"{key}"' not in text and f"'{key}'" not in text and family(key) not in families
        ]
        assert unused == []


def family(key):
    return key.rpartition(".")[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
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
def test_durations_have_a_suitable_unit(seconds, text):
    assert duration(seconds, "en") == text


def test_an_unknown_key_is_shown_without_the_prefix():
    assert phrase("reason.of my own", "zh") == "of my own"


def test_the_pages_load_nothing_from_other_hosts(web, driver):
    driver.succeed(driver.announce())
    for path in ("/", "/notifications", "/sources", "/login"):
        html = web.client.get(path).get_data(as_text=True)
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', html)
        assert "style=" not in html


def test_the_page_and_the_api_show_the_same_result(web, driver):
    delivery_id = driver.announce()
    driver.succeed(delivery_id)
    as_json = json.loads(web.client.get(f"/api/v1/deliveries/{delivery_id}").get_data())
    assert as_json["result"]["func_urn"] in delivery_page(web, delivery_id).text


def test_a_target_is_paused_and_resumed_by_the_forms(web):
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
