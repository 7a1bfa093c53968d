"""The API: what it lists, shows and does. Every answer is checked against the OpenAPI document."""

import base64
from datetime import timedelta

import pytest

from relay.model import Failed, Kind, Retry
from tests.web.web_ledger import HOOK, NAME_TAKEN, NOON, UNREACHABLE

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"}


def ids(answer):
    return [one["id"] for one in answer.get_json()["items"]]


def test_the_list_is_newest_first_with_the_promised_fields(web, driver):
    first = driver.announce("prod/a.zip", etag="a")
    driver.clock.forward(seconds=1)
    second = driver.announce("prod/b.zip", etag="b", version="v7")
    answer = web.get("/api/v1/deliveries")
    assert ids(answer) == [second, first]
    one = answer.get_json()["items"][0]
    assert one == {
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
    known = {"other": driver.announce("else/o.zip", source="archive", etag="o")}
    driver.clock.forward(seconds=20)
    known["done"] = driver.announce("prod/d.zip", etag="d")
    known["failed"] = driver.announce("prod/f.zip", etag="f")
    driver.clock.forward(seconds=1)
    driver.succeed(known["done"], "d")
    known["message"] = driver.message_of(known["done"])
    claim = driver.claim(known["failed"])
    driver.ledger.outcomes.finish(claim, Failed(NAME_TAKEN), driver.clock())
    found = ids(web.get(f"/api/v1/deliveries?{query}"))
    assert sorted(found) == sorted(known[name] for name in names)


def test_pages_follow_each_other_without_gaps_or_repeats(web, driver):
    made = []
    for number in range(7):
        made.append(driver.announce(f"prod/{number}.zip", etag=str(number)))
        driver.clock.forward(milliseconds=5)
    seen, cursor = [], ""
    for _ in range(4):
        answer = web.get(f"/api/v1/deliveries?limit=3{cursor}").get_json()
        seen += [one["id"] for one in answer["items"]]
        if answer["next_cursor"] is None:
            break
        cursor = f"&cursor={answer['next_cursor']}"
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("query", "told"),
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
def test_a_wrong_filter_is_refused_in_words(web, query, told):
    answer = web.get(f"/api/v1/deliveries?{query}")
    assert answer.status_code == 422
    assert told in answer.get_json()["detail"] + answer.get_json()["code"]


def test_an_unknown_filter_is_told_what_is_allowed(web):
    hint = web.get("/api/v1/deliveries?stat=failed").get_json()["hint"]
    allowed = ("state", "kind", "source", "route", "bucket", "key", "since", "until", "cursor")
    assert all(name in hint for name in allowed)


def test_addresses_without_filters_refuse_any(web, driver):
    assert web.get(f"/api/v1/deliveries/{driver.announce()}?verbose=1").status_code == 422


def test_one_delivery_tells_its_whole_story(web, driver):
    made = driver.announce("prod/hello.zip", etag="e9", version="v1", size=2048)
    driver.retry(made)
    driver.clock.forward(minutes=1)
    driver.succeed(made, digest="ab" * 64)
    story = web.get(f"/api/v1/deliveries/{made}").get_json()
    assert story["state"] == "succeeded"
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


def test_a_message_names_the_import_it_tells_of(web, driver):
    made = driver.announce()
    driver.succeed(made)
    story = web.get(f"/api/v1/deliveries/{driver.message_of(made)}").get_json()
    assert (story["kind"], story["parent"]) == ("message", made)


def test_errors_are_told_in_the_callers_language(web, driver):
    made = driver.announce()
    driver.fail(made)
    english = web.get(f"/api/v1/deliveries/{made}").get_json()["error"]
    chinese = web.get(f"/api/v1/deliveries/{made}", headers=CHINESE).get_json()["error"]
    assert english["message"] == "The function name is taken"
    assert chinese["message"] == "函数名已被占用"
    assert english["code"] == chinese["code"] == "FSS.1061"


@pytest.mark.parametrize(
    "path",
    ["/api/v1/deliveries/01nope", "/api/v1/notifications/01nope", "/api/v1/deliveries/%ED%A0%80"],
)
def test_what_is_not_there_is_not_found(web, path):
    answer = web.get(path)
    assert answer.status_code == 404
    assert answer.get_json()["code"].endswith(".unknown")


def test_retrigger_makes_a_failed_delivery_due_again(web, driver):
    made = driver.announce()
    driver.fail(made)
    driver.clock.forward(hours=1)
    answer = web.post(f"/api/v1/deliveries/{made}/retrigger")
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/v1/deliveries/{made}"
    again = web.ledger.history.delivery(made)
    assert (again.state, again.trigger, again.due) == ("pending", "manual", driver.clock())


def test_retrigger_may_change_what_a_conflict_means(web, driver):
    made = driver.announce()
    driver.fail(made)
    answer = web.post(f"/api/v1/deliveries/{made}/retrigger", json={"on_conflict": "update"})
    assert answer.status_code == 202
    assert web.ledger.history.delivery(made).options["on_conflict"] == "update"
    assert web.ledger.history.delivery(made).options["func_name"] == "{function}"


@pytest.mark.parametrize("body", [{"on_conflict": "overwrite"}, {"onconflict": "update"}, [], "x"])
def test_retrigger_refuses_what_it_does_not_know(web, driver, body):
    made = driver.announce()
    driver.fail(made)
    answer = web.post(f"/api/v1/deliveries/{made}/retrigger", json=body)
    assert answer.status_code == 422
    assert web.ledger.history.delivery(made).state == "failed"


def test_a_running_delivery_is_not_retriggered(web, driver):
    made = driver.announce()
    driver.claim(made)
    answer = web.post(f"/api/v1/deliveries/{made}/retrigger")
    assert answer.status_code == 409
    assert answer.mimetype == "application/problem+json"
    assert web.ledger.history.delivery(made).state == "running"


def test_an_unknown_delivery_is_not_retriggered(web):
    assert web.post("/api/v1/deliveries/01nope/retrigger").status_code == 404


def test_the_same_idempotency_key_does_nothing_again(web, driver):
    made = driver.announce()
    driver.fail(made)
    key = {"Idempotency-Key": "8d5c-one"}
    assert web.post(f"/api/v1/deliveries/{made}/retrigger", headers=key).status_code == 202
    driver.fail(made)
    assert web.post(f"/api/v1/deliveries/{made}/retrigger", headers=key).status_code == 202
    assert web.ledger.history.delivery(made).state == "failed"


@pytest.mark.parametrize("key", ["", "x" * 256, "with space"])
def test_an_unusable_idempotency_key_is_refused(web, driver, key):
    made = driver.announce()
    driver.fail(made)
    headers = {"Idempotency-Key": key}
    answer = web.post(f"/api/v1/deliveries/{made}/retrigger", headers=headers)
    assert answer.status_code == 422
    assert web.ledger.history.delivery(made).state == "failed"


def test_a_message_has_no_conflict_to_decide(web, driver):
    made = driver.announce()
    driver.fail(made)
    message = driver.message_of(made)
    answer = web.post(f"/api/v1/deliveries/{message}/retrigger", json={"on_conflict": "update"})
    assert answer.status_code == 422


WANTED = {"source": "exports", "bucket": "exports", "key": "prod/late.zip"}


def test_a_submission_makes_deliveries(web):
    answer = web.post("/api/v1/submissions", json=WANTED)
    assert answer.status_code == 202
    (made,) = answer.get_json()["deliveries"]
    assert made["state"] == "pending"
    assert web.ledger.history.delivery(made["id"]).key == "prod/late.zip"


def test_a_dry_run_tells_the_plan_and_changes_nothing(web):
    answer = web.post("/api/v1/submissions", json={**WANTED, "dry_run": True})
    assert answer.status_code == 200
    assert answer.get_json()["would"] == {"action": "create", "func_name": "late"}
    assert answer.get_json()["archive"]["importable"] is True
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
def test_why_a_submission_is_not_taken(web, change, status, code, dry_run):
    web.intake.handler.missing.add("gone.zip")
    body = {**WANTED, "dry_run": dry_run, **change}
    answer = web.post("/api/v1/submissions", json=body)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    if status == 503:
        assert answer.headers["Retry-After"] == "42"


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
def test_a_body_that_is_no_submission_is_refused(web, body, kind, status):
    answer = web.post("/api/v1/submissions", data=body, content_type=kind)
    assert answer.status_code == status


def test_notifications_are_listed_and_shown_byte_for_byte(web, driver):
    driver.announce()
    driver.clock.forward(seconds=1)
    headers = {"Authorization": HOOK}
    web.client.post("/hooks/exports", data=b"\xff\xfe", headers=headers)
    listed = web.get("/api/v1/notifications?limit=2").get_json()
    newest, oldest = listed["items"]
    assert (newest["verdict"], newest["reason"]) == ("unreadable", "it is not JSON")
    assert (oldest["verdict"], oldest["road"], oldest["events"]) == ("accepted", "hook", 1)
    whole = web.get(f"/api/v1/notifications/{newest['id']}").get_json()
    assert base64.b64decode(whole["body"]) == b"\xff\xfe"
    assert whole["text"] is None
    whole = web.get(f"/api/v1/notifications/{oldest['id']}").get_json()
    assert '"key": "prod/hello.zip"' in whole["text"]
    assert whole["headers"]["authorization"] == "[redacted]"


def test_notifications_come_in_pages(web, driver):
    for number in range(3):
        driver.announce(f"{number}.zip", etag=str(number))
    first = web.get("/api/v1/notifications?limit=2").get_json()
    assert len(first["items"]) == 2
    rest = web.get(f"/api/v1/notifications?limit=2&cursor={first['next_cursor']}").get_json()
    assert len(rest["items"]) == 1
    assert rest["next_cursor"] is None


def test_a_notification_is_replayed(web, driver):
    driver.announce()
    (old,) = web.get("/api/v1/notifications").get_json()["items"]
    answer = web.post(f"/api/v1/notifications/{old['id']}/replay")
    assert answer.status_code == 200
    assert answer.get_json()["events"] == 0
    assert answer.get_json()["notification"] != old["id"]
    assert web.post("/api/v1/notifications/01nope/replay").status_code == 404


def test_sources_are_listed(web, driver):
    driver.announce()
    named = {one["name"]: one for one in web.get("/api/v1/sources").get_json()["items"]}
    assert named["exports"]["last_event"] == NOON.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert named["archive"]["last_event"] is None


def test_a_source_that_fell_silent_is_told_of_until_it_is_heard(web, driver):
    since = driver.fall_silent()
    for tongue, words in (("en", "nobody announced"), ("zh", "未收到通知")):
        told = web.get("/api/v1/sources", headers={"Accept-Language": tongue}).get_json()
        named = {one["name"]: one for one in told["items"]}
        assert named["exports"]["silent_since"] == since.strftime("%Y-%m-%dT%H:%M:%SZ")
        assert named["exports"]["silent"]["code"] == "source.silent"
        assert words in named["exports"]["silent"]["message"]
        assert "relay sources setup exports" in named["exports"]["silent"]["hint"]
        assert named["archive"]["silent"] is named["archive"]["silent_since"] is None
    driver.announce()
    assert {one["silent"] for one in web.get("/api/v1/sources").get_json()["items"]} == {None}


def test_a_scan_says_whether_it_came_to_the_end(web):
    told = web.post("/api/v1/sources/exports/scan").get_json()
    assert told == {"listed": 2, "found": 1, "first": False, "resumed": False, "finished": True}


def test_half_a_surrogate_pair_in_a_key_breaks_nothing(web, driver):
    made = driver.announce("prod/\ud800.zip", etag="\udfff")
    assert web.get(f"/api/v1/deliveries/{made}").get_json()["key"] == "prod/?.zip"
    assert web.get("/api/v1/deliveries").status_code == 200


def test_the_ledger_out_of_reach_is_503(web, tmp_path, driver):
    driver.announce()
    web.ledger.close()
    (tmp_path / "relay.db").rename(tmp_path / "away.db")
    (tmp_path / "relay.db").mkdir()
    answer = web.get("/api/v1/deliveries")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert web.get("/readyz").status_code == 503
    assert web.get("/healthz").status_code == 200


def test_times_with_an_offset_mean_the_same_moment(web, driver):
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


def test_a_target_that_asked_to_wait_says_until_when(web, driver):
    driver.announce()
    claim = web.ledger.queue.claim("w1", timedelta(seconds=30), {}, web.clock(), kind=Kind.IMPORT)
    due = web.clock() + timedelta(minutes=5)
    web.ledger.outcomes.finish(claim, Retry(UNREACHABLE, hold=True), web.clock(), due=due)
    (told,) = web.get("/api/v1/targets").get_json()["items"]
    assert told["state"] == "waiting"
    assert told["until"].startswith(due.isoformat()[:19])
