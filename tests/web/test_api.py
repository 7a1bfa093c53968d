"""The API. Every response is checked against the OpenAPI document."""

import base64
from datetime import timedelta

import pytest

from relay.model import Failed, Kind, Retry
from tests.web.web_ledger import HOOK, NAME_TAKEN, NOON, UNREACHABLE

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}


def ids(response):
    return [item["id"] for item in response.get_json()["items"]]


def test_the_list_is_newest_first_with_the_promised_fields(web, driver):
    first = driver.announce("prod/a.zip", etag="a")
    driver.clock.forward(seconds=1)
    second = driver.announce("prod/b.zip", etag="b", version="v7")
    response = web.get("/api/v1/deliveries")
    assert ids(response) == [second, first]
    assert response.get_json()["items"][0] == {
        "id": second,
        "kind": "import",
        "state": "pending",
        "reason": None,
        "source": "exports",
        "route": "exports#1",
        "bucket": "exports",
        "key": "prod/b.zip",
        "version": "v7",
        "destination": "prod",
        "attempts": 0,
        "due": "2026-11-24T12:00:01Z",
        "waiting": None,
        "created": "2026-11-24T12:00:01Z",
        "finished": None,
        "result": None,
        "error": None,
        "message": None,
    }


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["message", "failed", "done", "other"]),
        ("state=failed", ["failed"]),
        ("kind=message", ["message"]),
        ("kind=import&state=succeeded", ["done"]),
        ("source=archive", ["other"]),
        ("route=archive%231", ["other"]),
        ("bucket=exp*", ["message", "failed", "done", "other"]),
        ("key=prod/*.zip", ["message", "failed", "done"]),
        ("key=prod/d*", ["message", "done"]),
        ("since=2026-11-24T12:00:10Z", ["message", "failed", "done"]),
        ("until=2026-11-24T13:00:10%2B01:00", ["other"]),
        ("limit=1", ["message"]),
    ],
)
def test_filters(web, driver, query, names):
    ids_by_name = {"other": driver.announce("else/o.zip", source="archive", etag="o")}
    driver.clock.forward(seconds=20)
    ids_by_name["done"] = driver.announce("prod/d.zip", etag="d")
    ids_by_name["failed"] = driver.announce("prod/f.zip", etag="f")
    driver.clock.forward(seconds=1)
    driver.succeed(ids_by_name["done"], "d")
    ids_by_name["message"] = driver.message_of(ids_by_name["done"])
    claim = driver.claim(ids_by_name["failed"])
    driver.ledger.outcomes.finish(claim, Failed(NAME_TAKEN), driver.clock())
    listed = ids(web.get(f"/api/v1/deliveries?{query}"))
    assert sorted(listed) == sorted(ids_by_name[name] for name in names)


def test_pages_have_no_gaps_and_no_repeats(web, driver):
    created = []
    for number in range(7):
        created.append(driver.announce(f"prod/{number}.zip", etag=str(number)))
        driver.clock.forward(milliseconds=5)
    seen, cursor = [], ""
    for _ in range(4):
        response = web.get(f"/api/v1/deliveries?limit=3{cursor}").get_json()
        seen += [item["id"] for item in response["items"]]
        if response["next_cursor"] is None:
            break
        cursor = f"&cursor={response['next_cursor']}"
    assert seen == created[::-1]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("stat=failed", "stat"),
        ("state=lost", "state"),
        ("limit=201", "limit"),
        ("limit=0", "limit"),
        ("limit=ten", "limit"),
        ("since=yesterday", "since"),
        ("since=2026-11-24T12:00:00", "since"),
        ("key=%00", "key"),
        ("cursor=nonsense", "cursor"),
        ("state=failed&state=pending", "state"),
    ],
)
def test_an_invalid_filter_is_named(web, query, name):
    response = web.get(f"/api/v1/deliveries?{query}")
    assert response.status_code == 422
    assert name in response.get_json()["detail"] + response.get_json()["code"]


def test_the_hint_lists_the_allowed_filters(web):
    hint = web.get("/api/v1/deliveries?stat=failed").get_json()["hint"]
    allowed = ("state", "kind", "source", "route", "bucket", "key", "since", "until", "cursor")
    assert all(name in hint for name in allowed)


def test_a_query_parameter_is_refused_where_none_is_defined(web, driver):
    assert web.get(f"/api/v1/deliveries/{driver.announce()}?verbose=1").status_code == 422


def test_a_delivery_is_shown_with_attempts_event_plan_and_messages(web, driver):
    delivery_id = driver.announce("prod/hello.zip", etag="e9", version="v1", size=2048)
    driver.retry(delivery_id)
    driver.clock.forward(minutes=1)
    answer = {"func_name": "hello", "memory_size": 128}
    driver.succeed(delivery_id, digest="ab" * 64, effect=["code"], answer=answer)
    story = web.get(f"/api/v1/deliveries/{delivery_id}").get_json()
    assert story["state"] == "succeeded"
    assert (story["effect"], story["answer"]) == (["code"], answer)
    assert story["result"]["func_urn"].endswith(":function:default:hello:latest")
    first, second = story["attempts"]
    assert (first["number"], first["outcome"]) == (1, "retry")
    assert first["error"] == {
        "code": "target.unreachable",
        "message": "The target did not respond in time",
        "hint": "Relay retries automatically.",
    }
    assert (second["number"], second["outcome"]) == (2, "succeeded")
    assert second["trigger"] == "automatic"
    assert story["event"]["etag"] == "e9"
    assert story["event"]["size"] == 2048
    assert story["plan"]["on_conflict"] == "skip"
    (message,) = story["messages"]
    assert (message["kind"], message["destination"]) == ("message", "ops")
    assert message["attempts"] == 0


def test_a_message_names_its_import(web, driver):
    delivery_id = driver.announce()
    driver.succeed(delivery_id)
    story = web.get(f"/api/v1/deliveries/{driver.message_of(delivery_id)}").get_json()
    assert (story["kind"], story["parent"]) == ("message", delivery_id)


def test_errors_are_in_the_language_of_the_request(web, driver):
    delivery_id = driver.announce()
    driver.fail(delivery_id)
    english = web.get(f"/api/v1/deliveries/{delivery_id}").get_json()["error"]
    chinese = web.get(f"/api/v1/deliveries/{delivery_id}", headers=CHINESE).get_json()["error"]
    assert english["message"] == "The function name is taken"
    assert chinese["message"] == "函数名已被占用"
    assert english["code"] == chinese["code"] == "FSS.1061"


@pytest.mark.parametrize(
    "path",
    ["/api/v1/deliveries/01nope", "/api/v1/notifications/01nope", "/api/v1/deliveries/%ED%A0%80"],
)
def test_an_unknown_id_is_not_found(web, path):
    response = web.get(path)
    assert response.status_code == 404
    assert response.get_json()["code"].endswith(".unknown")


def test_retrigger_makes_a_failed_delivery_due_again(web, driver):
    delivery_id = driver.announce()
    driver.fail(delivery_id)
    driver.clock.forward(hours=1)
    response = web.post(f"/api/v1/deliveries/{delivery_id}/retrigger")
    assert response.status_code == 202
    assert response.headers["Location"] == f"/api/v1/deliveries/{delivery_id}"
    again = web.ledger.history.delivery(delivery_id)
    assert (again.state, again.trigger, again.due) == ("pending", "manual", driver.clock())


def test_retrigger_can_change_the_conflict_policy(web, driver):
    delivery_id = driver.announce()
    driver.fail(delivery_id)
    response = web.post(
        f"/api/v1/deliveries/{delivery_id}/retrigger", json={"on_conflict": "update"}
    )
    assert response.status_code == 202
    assert web.ledger.history.delivery(delivery_id).options["on_conflict"] == "update"
    assert web.ledger.history.delivery(delivery_id).options["func_name"] == "{function}"


@pytest.mark.parametrize("body", [{"on_conflict": "overwrite"}, {"onconflict": "update"}, [], "x"])
def test_retrigger_refuses_unknown_options(web, driver, body):
    delivery_id = driver.announce()
    driver.fail(delivery_id)
    response = web.post(f"/api/v1/deliveries/{delivery_id}/retrigger", json=body)
    assert response.status_code == 422
    assert web.ledger.history.delivery(delivery_id).state == "failed"


def test_a_running_delivery_is_not_retriggered(web, driver):
    delivery_id = driver.announce()
    driver.claim(delivery_id)
    response = web.post(f"/api/v1/deliveries/{delivery_id}/retrigger")
    assert response.status_code == 409
    assert response.mimetype == "application/problem+json"
    assert web.ledger.history.delivery(delivery_id).state == "running"


def test_an_unknown_delivery_is_not_retriggered(web):
    assert web.post("/api/v1/deliveries/01nope/retrigger").status_code == 404


def test_a_repeated_idempotency_key_has_no_effect(web, driver):
    delivery_id = driver.announce()
    driver.fail(delivery_id)
    key = {"Idempotency-Key": "8d5c-one"}
    assert web.post(f"/api/v1/deliveries/{delivery_id}/retrigger", headers=key).status_code == 202
    driver.fail(delivery_id)
    assert web.post(f"/api/v1/deliveries/{delivery_id}/retrigger", headers=key).status_code == 202
    assert web.ledger.history.delivery(delivery_id).state == "failed"


@pytest.mark.parametrize("key", ["", "x" * 256, "with space"])
def test_an_invalid_idempotency_key_is_refused(web, driver, key):
    delivery_id = driver.announce()
    driver.fail(delivery_id)
    headers = {"Idempotency-Key": key}
    response = web.post(f"/api/v1/deliveries/{delivery_id}/retrigger", headers=headers)
    assert response.status_code == 422
    assert web.ledger.history.delivery(delivery_id).state == "failed"


def test_a_message_takes_no_conflict_policy(web, driver):
    delivery_id = driver.announce()
    driver.fail(delivery_id)
    message = driver.message_of(delivery_id)
    response = web.post(f"/api/v1/deliveries/{message}/retrigger", json={"on_conflict": "update"})
    assert response.status_code == 422


SUBMISSION = {"source": "exports", "bucket": "exports", "key": "prod/late.zip"}


def test_a_submission_makes_deliveries(web):
    response = web.post("/api/v1/submissions", json=SUBMISSION)
    assert response.status_code == 202
    (delivery,) = response.get_json()["deliveries"]
    assert delivery["state"] == "pending"
    assert web.ledger.history.delivery(delivery["id"]).key == "prod/late.zip"


def test_a_dry_run_returns_the_plan_and_changes_nothing(web):
    response = web.post("/api/v1/submissions", json={**SUBMISSION, "dry_run": True})
    assert response.status_code == 200
    assert response.get_json()["would"] == {"action": "create", "func_name": "late"}
    assert response.get_json()["archive"]["importable"] is True
    assert web.get("/api/v1/deliveries").get_json()["items"] == []
    assert web.get("/api/v1/notifications").get_json()["items"] == []


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"source": "nowhere"}, 404, "source.unknown"),
        ({"key": "gone.zip"}, 404, "object.gone"),
        ({"key": "forbidden.zip"}, 422, "store.forbidden"),
        ({"key": "slow.zip"}, 503, "store.slow"),
        ({"key": ""}, 422, "request.invalid"),
        ({"key": "a\0b"}, 422, "request.invalid"),
        ({"key": 7}, 422, "request.invalid"),
        ({"force": True}, 422, "request.invalid"),
        ({"version": "v" * 2000}, 422, "request.invalid"),
    ],
)
def test_a_refused_submission_has_status_and_code(web, change, status, code, dry_run):
    web.intake.handler.missing.add("gone.zip")
    body = {**SUBMISSION, "dry_run": dry_run, **change}
    response = web.post("/api/v1/submissions", json=body)
    assert (response.status_code, response.get_json()["code"]) == (status, code)
    if status == 503:
        assert response.headers["Retry-After"] == "42"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 422),
        (b"{", "application/json", 422),
        (b"\xff", "application/json", 422),
        (b"[" * 10_000, "application/json", 422),
        (b"source=exports", "application/x-www-form-urlencoded", 415),
        (b'{"source": "exports"}', "text/plain", 415),
        (b" " * 70_000, "application/json", 413),
    ],
)
def test_an_invalid_body_is_refused(web, body, kind, status):
    response = web.post("/api/v1/submissions", data=body, content_type=kind)
    assert response.status_code == status


def test_notifications_are_listed_and_shown_byte_for_byte(web, driver):
    driver.announce()
    driver.clock.forward(seconds=1)
    headers = {"Authorization": HOOK}
    web.client.post("/hooks/exports", data=b"\xff\xfe", headers=headers)
    listed = web.get("/api/v1/notifications?limit=2").get_json()
    newest, oldest = listed["items"]
    assert (newest["verdict"], newest["reason"]) == ("unreadable", "it is not JSON")
    assert (oldest["verdict"], oldest["road"], oldest["events"]) == ("accepted", "hook", 1)
    notification = web.get(f"/api/v1/notifications/{newest['id']}").get_json()
    assert base64.b64decode(notification["body"]) == b"\xff\xfe"
    assert notification["text"] is None
    notification = web.get(f"/api/v1/notifications/{oldest['id']}").get_json()
    assert '"key": "prod/hello.zip"' in notification["text"]
    assert notification["headers"]["authorization"] == "[redacted]"


def test_notifications_are_paginated(web, driver):
    for number in range(3):
        driver.announce(f"{number}.zip", etag=str(number))
    first = web.get("/api/v1/notifications?limit=2").get_json()
    assert len(first["items"]) == 2
    rest = web.get(f"/api/v1/notifications?limit=2&cursor={first['next_cursor']}").get_json()
    assert len(rest["items"]) == 1
    assert rest["next_cursor"] is None


def test_a_notification_is_replayed(web, driver):
    driver.announce()
    (stored,) = web.get("/api/v1/notifications").get_json()["items"]
    response = web.post(f"/api/v1/notifications/{stored['id']}/replay")
    assert response.status_code == 200
    assert response.get_json()["events"] == 0
    assert response.get_json()["notification"] != stored["id"]
    assert web.post("/api/v1/notifications/01nope/replay").status_code == 404


def test_sources_are_listed(web, driver):
    driver.announce()
    named = {source["name"]: source for source in web.get("/api/v1/sources").get_json()["items"]}
    assert named["exports"]["last_event"] == NOON.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert named["archive"]["last_event"] is None


def test_a_silent_source_is_reported_until_its_next_notification(web, driver):
    since = driver.fall_silent()
    for language, text in (("en", "without notifications"), ("zh", "未收到任何通知")):
        listed = web.get("/api/v1/sources", headers={"Accept-Language": language}).get_json()
        named = {source["name"]: source for source in listed["items"]}
        assert named["exports"]["silent_since"] == since.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert named["exports"]["silent"]["code"] == "source.silent"
        assert text in named["exports"]["silent"]["message"]
        assert "relay sources setup exports" in named["exports"]["silent"]["hint"]
        assert named["archive"]["silent"] is named["archive"]["silent_since"] is None
    driver.announce()
    items = web.get("/api/v1/sources").get_json()["items"]
    assert {source["silent"] for source in items} == {None}


def test_a_scan_reports_whether_it_finished(web):
    result = web.post("/api/v1/sources/exports/scan").get_json()
    counts = {"listed": 2, "found": 1, "marked": 0, "revived": 0}
    assert result == {**counts, "first": False, "resumed": False, "finished": True}


def test_a_lone_surrogate_in_a_key_is_replaced(web, driver):
    delivery_id = driver.announce("prod/\ud800.zip", etag="\udfff")
    assert web.get(f"/api/v1/deliveries/{delivery_id}").get_json()["key"] == "prod/?.zip"
    assert web.get("/api/v1/deliveries").status_code == 200


def test_an_unavailable_database_is_503(web, tmp_path, driver):
    driver.announce()
    web.ledger.close()
    (tmp_path / "relay.db").rename(tmp_path / "away.db")
    (tmp_path / "relay.db").mkdir()
    response = web.get("/api/v1/deliveries")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert web.get("/readyz").status_code == 503
    assert web.get("/healthz").status_code == 200


def test_since_and_until_are_compared_with_the_creation_time(web, driver):
    driver.announce()
    later = (NOON + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    assert ids(web.get(f"/api/v1/deliveries?since={later}")) == []
    assert len(ids(web.get(f"/api/v1/deliveries?until={later}"))) == 1


def test_a_target_is_paused_and_resumed(web):
    assert web.get("/api/v1/targets").get_json()["items"] == [
        {"name": "prod", "kind": "functiongraph", "state": "open", "since": None, "until": None}
    ]
    paused = web.post("/api/v1/targets/prod/pause")
    assert paused.status_code == 200
    assert paused.get_json()["state"] == "paused"
    assert paused.get_json()["since"]
    assert web.get("/api/v1/targets").get_json()["items"] == [paused.get_json()]
    assert web.post("/api/v1/targets/prod/resume").get_json()["state"] == "open"
    unknown = web.post("/api/v1/targets/nowhere/pause")
    assert unknown.status_code == 404
    assert unknown.get_json()["code"] == "target.unknown"


def test_a_throttled_target_shows_the_end_of_the_wait(web, driver):
    driver.announce()
    claim = web.ledger.queue.claim("w1", timedelta(seconds=30), {}, web.clock(), kind=Kind.IMPORT)
    due = web.clock() + timedelta(minutes=5)
    web.ledger.outcomes.finish(
        claim,
        Retry(UNREACHABLE, timedelta(minutes=5), pauses_destination=True),
        web.clock(),
        due=due,
    )
    (target,) = web.get("/api/v1/targets").get_json()["items"]
    assert target["state"] == "waiting"
    assert target["until"].startswith(due.isoformat()[:19])
