"""Why deliveries wait, in the API and on the pages; and what the configuration lacks."""

from __future__ import annotations

from datetime import timedelta

from relay.config.load import ChannelSettings, Route
from relay.intents import ChangeCall, IntentState, NewIntent
from relay.model import Kind, Localized, Problem, Retry
from tests.web.page_reader import delivery_page


def test_a_waiting_import_says_what_it_has_changed_already(web, driver):
    delivery_id = driver.announce()
    claim, now = driver.claim(delivery_id), driver.clock()
    assert web.get(f"/api/v1/deliveries/{delivery_id}").json["effect"] == []
    what = NewIntent(ChangeCall.UPDATE_CODE, "hello", "hello", "default", "ab", 1, False)
    intent = driver.ledger.intents.record(claim, what, now, timedelta(minutes=1))
    problem = Problem("x.y", Localized("It broke", "坏了"), Localized("Wait", "请等待"))
    retry = Retry(problem)
    driver.ledger.outcomes.finish(claim, retry, now, due=now + timedelta(minutes=1))
    assert web.get(f"/api/v1/deliveries/{delivery_id}").json["effect"] == [], "not known"
    driver.ledger.intents.close([intent], IntentState.APPLIED, now)
    assert web.get(f"/api/v1/deliveries/{delivery_id}").json["effect"] == ["code"]
    assert "The new code is in place." in delivery_page(web, delivery_id).text


def test_the_api_says_why_a_delivery_waits_and_until_when(web, driver):
    delivery = driver.announce()
    due = driver.retry(delivery, retry_after=40).due
    expected = {"reason": "backoff", "until": due.isoformat().replace("+00:00", "Z")}
    assert web.get(f"/api/v1/deliveries/{delivery}").json["waiting"] == expected
    [item] = web.get("/api/v1/deliveries").json["items"]
    assert item["waiting"] == expected
    driver.clock.forward(seconds=41)
    assert web.get(f"/api/v1/deliveries/{delivery}").json["waiting"] is None
    driver.ledger.destinations.pause(Kind.IMPORT, "prod", driver.clock())
    paused = web.get(f"/api/v1/deliveries/{delivery}").json["waiting"]
    assert paused == {"reason": "paused", "until": None}


def test_the_pages_say_it_in_both_languages(web, driver):
    delivery = driver.announce()
    driver.ledger.destinations.pause(Kind.IMPORT, "prod", driver.clock())
    for path in ("/", f"/deliveries/{delivery}"):
        assert "waits: the destination is paused" in web.get(f"{path}?lang=en").text
        assert "等待：目标已暂停" in web.get(f"{path}?lang=zh").text


def test_a_message_that_waits_is_explained_on_the_page_of_the_import(web, driver):
    delivery = driver.announce()
    driver.fail(delivery)
    driver.ledger.destinations.pause(Kind.MESSAGE, "ops", driver.clock())
    assert "waits: the destination is paused" in web.get(f"/deliveries/{delivery}").text
    [message] = web.get(f"/api/v1/deliveries/{delivery}").json["messages"]
    assert message["waiting"] == {"reason": "paused", "until": None}


def test_a_replaced_message_names_the_newer_one(web, driver):
    delivery = driver.announce()
    driver.fail(delivery)
    driver.clock.forward(seconds=1)
    driver.ledger.retriggers.retrigger(delivery, driver.clock())
    driver.succeed(delivery)
    old, new = web.get(f"/api/v1/deliveries/{delivery}").json["messages"]
    assert (old["state"], old["reason"]) == ("skipped", "superseded")
    page = web.get(f"/deliveries/{old['id']}").text
    assert "replaced by a newer message" in page
    assert f"/deliveries/{new['id']}" in page
    assert "已被更新的消息取代" in web.get(f"/deliveries/{delivery}?lang=zh").text


def test_pages_name_what_the_configuration_lacks(make_web):
    route = Route(source="exports", target="removed", channels=("ops",))
    web = make_web(routes=(route,), channels={"ops": ChannelSettings(kind="slack")})
    assert "Missing in the configuration" not in web.get("/").text
    delivery = web.driver.announce()
    for path in ("/", "/sources"):
        page = web.get(path).text
        assert "Missing in the configuration" in page
        assert "[targets.removed]" in page
    waiting = web.get(f"/api/v1/deliveries/{delivery}").json["waiting"]
    assert waiting == {"reason": "not configured", "until": None}
    metrics = web.get("/metrics").text
    sample = 'relay_deliveries_waiting{kind="import",reason="not configured"} 1.0'
    assert sample in metrics


def test_metrics_measure_the_oldest_waiting_delivery(web, driver):
    driver.announce()
    driver.ledger.destinations.pause(Kind.IMPORT, "prod", driver.clock())
    driver.clock.forward(seconds=timedelta(minutes=3).total_seconds())
    metrics = web.get("/metrics").text
    assert 'relay_oldest_waiting_seconds{kind="import",reason="paused"} 180.0' in metrics
    assert 'relay_oldest_due_seconds{kind="import"} 0.0' in metrics
