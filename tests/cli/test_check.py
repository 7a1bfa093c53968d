"""`relay check`: errors, advice and connection tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from relay.ledger import Ledger, NewNotification, RoutedEvent
from relay.model import Event, Incoming, NewDelivery, ObjectRef, Verdict, utc_now
from relay.testing.sandbox.functiongraph import SandboxServer
from tests.fake_internet import Internet, Reply

from .conftest import CONFIGURATION, Run

QUEUED_STORAGE = """
from relay.config.load import SourceSettings
from relay.sources.contract import StorageHandler


class Handler(StorageHandler):
    queue_settings = ("inbox_queue",)

    class Settings(SourceSettings):
        inbox_queue: str | None = None

    def parse(self, record):
        return ()

    def open(self, ref, start=0, end=None):
        raise NotImplementedError

    def queue(self):
        raise NotImplementedError
"""


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """An S3 server with the bucket of the configuration."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="exports")
    client.close()
    yield url
    server.stop()


def advice(run: Run, text: str) -> dict[str, str]:
    Path("relay.toml").write_text(text)
    warnings = json.loads(run("check", "--json").stdout)["warnings"]
    return {item["path"]: f"{item['words']}. {item['hint']}" for item in warnings}


def accept_for_removed_target(ledger: Ledger) -> None:
    now = utc_now()
    event = Event(ObjectRef("exports", "a.zip", "v1"), "v1", "created", now)
    routed = RoutedEvent(event, (NewDelivery("r", "removed", {}),))
    new = NewNotification(Incoming("exports", b"{}", now), Verdict.ACCEPTED)
    ledger.intake.accept(new, [routed], now)


def outcomes(run: Run, **environ: str) -> dict[str, str]:
    report = json.loads(run("check", "--connect", "--json", **environ).stdout)
    return {result["what"]: result["outcome"] for result in report["connections"]}


@pytest.mark.usefixtures("configured")
def test_a_valid_configuration_is_ok_without_a_warning(run: Run) -> None:
    result = run("check")
    assert result.exit_code == 0
    expected = "ok configuration (relay.toml): 1 source, 1 target, 1 channel, 1 route\n"
    assert result.stdout == expected


def test_the_file_can_be_set_by_option_or_environment(run: Run, configured: Path) -> None:
    configured.rename("other.toml")
    assert "(other.toml): 1 source" in run("--config", "other.toml", "check").stdout
    assert "(other.toml): 1 source" in run("check", RELAY_CONFIG="other.toml").stdout
    assert "no file: defaults and environment" in run("check").stdout


def test_every_error_has_its_path_and_the_exit_code_is_78(run: Run, configured: Path) -> None:
    invalid = CONFIGURATION.replace("region", "regoin").replace(
        'source = "exports"', 'source = "x"'
    )
    configured.write_text(invalid)
    result = run("check")
    assert result.exit_code == 78
    assert (
        "sources.exports.regoin: no setting has this name. Did you mean `region`?" in result.stderr
    )
    assert "targets.prod.region: is required" in result.stderr
    assert "routes[0].source: no [sources.NAME] table has this name" in result.stderr


def test_an_unknown_envelope_ends_with_78(run: Run, configured: Path) -> None:
    configured.write_text(CONFIGURATION.replace('kind = "s3"', 'kind = "s3"\naccept = ["bares"]'))
    result = run("check")
    assert result.exit_code == 78
    assert "sources.exports.accept[0]: no envelope has this name" in result.stderr


@pytest.mark.parametrize("password", ["p[DBS3CRET", "p℀DBS3CRET", "p@DBS3CRET"])
def test_the_database_password_is_never_printed(run: Run, password: str) -> None:
    url = f"postgresql://u:{password}@127.0.0.1:1/db"
    for arguments in (["check"], ["check", "--connect"], ["deliveries"], ["work"]):
        result = run(*arguments, RELAY_DATABASE__URL=url)
        assert "DBS3CRET" not in result.output
        assert result.exit_code in ((78,) if "@" in password else (0, 1))


def test_errors_as_json(run: Run) -> None:
    result = run("check", "--json", RELAY_DELIVERY__ATTEMPTS="x")
    assert result.exit_code == 78
    report = json.loads(result.stdout)
    assert report["ok"] is False
    assert report["errors"][0]["path"] == "delivery.attempts"
    assert report["errors"][0]["message"] == "should be a whole number"


@given(secret=st.from_regex(r"[A-Za-z0-9/+=]{12,40}", fullmatch=True))
@hypothesis_settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@pytest.mark.parametrize(
    "setting", ["kind", "region", "addressing_style", "buckets", "endpoint_url", "scan_every"]
)
def test_no_output_contains_a_secret(run: Run, configured: Path, setting: str, secret: str) -> None:
    line = f'{setting} = "{secret}"\n'
    text, found = re.subn(
        rf"(\[sources\.exports\]\n(?:.+\n)*?){setting} = .+\n", rf"\1{line}", CONFIGURATION
    )
    if not found:
        text = CONFIGURATION.replace("[sources.exports]\n", f"[sources.exports]\n{line}")
    configured.write_text(text)
    for arguments in (("check",), ("check", "--json")):
        assert secret not in run(*arguments).output


class TestAdvice:
    def test_without_tokens_the_api_responds_on_loopback_only(self, run: Run) -> None:
        text = CONFIGURATION.replace('["a-token-that-is-long-enough"]', "[]")
        assert "respond on loopback only" in advice(run, text)["api.tokens"]

    def test_short_tokens_are_reported(self, run: Run) -> None:
        text = CONFIGURATION.replace("a-token-that-is-long-enough", "short")
        text = text.replace("a-hook-token-that-is-long", "short")
        assert set(advice(run, text)) == {"api.tokens[0]", "sources.exports.token"}

    def test_a_source_that_cannot_verify_a_sender_is_reported(self, run: Run) -> None:
        text = CONFIGURATION.replace('token = "a-hook-token-that-is-long"\n', "")
        warning = advice(run, text)["sources.exports"]
        assert "rejects every POST" in warning
        assert "Set sns_topic_arns or token or secret." in warning

    def test_a_source_that_polls_a_queue_needs_no_token(self, run: Run) -> None:
        queue = 'sqs_queue_url = "https://sqs.us-east-1.amazonaws.com/1/q"\n'
        text = CONFIGURATION.replace('token = "a-hook-token-that-is-long"\n', queue)
        assert advice(run, text) == {}

    @pytest.mark.parametrize("queue", ["", 'inbox_queue = "q1"\n'], ids=["unset", "set"])
    def test_a_plug_in_declares_the_setting_of_the_queue(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, queue: str
    ) -> None:
        (tmp_path / "queued_storage.py").write_text(QUEUED_STORAGE)
        monkeypatch.syspath_prepend(tmp_path)
        source = '[sources.exports]\nkind = "queued_storage:Handler"\n'
        before, _, rest = CONFIGURATION.partition("[sources.exports]\n")
        text = f"{before}{source}{queue}[targets{rest.partition('[targets')[2]}"
        assert ("sources.exports" in advice(run, text)) is not bool(queue)

    def test_a_target_without_credentials_is_reported(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        table = '[targets.prod]\nkind = "functiongraph"\nregion = "cn-north-4"\n'
        table += f'project_id = "{"0" * 32}"\n'
        Path("relay.toml").write_text(table)
        assert "no credentials here: HUAWEICLOUD_SDK_AK" in run("check").stdout
        monkeypatch.setenv("HUAWEICLOUD_SDK_AK", "ak")
        monkeypatch.setenv("HUAWEICLOUD_SDK_SK", "sk-secret")
        output = run("check").stdout
        assert "credentials" not in output
        assert "sk-secret" not in output

    def test_unused_tables_are_reported(self, run: Run) -> None:
        text = CONFIGURATION.partition("[[routes]]")[0]
        assert advice(run, text) == {
            "sources.exports": "is not used by any route. ",
            "targets.prod": "is not used by any route. ",
            "channels.ops": "is not used by any route. ",
        }

    def test_a_route_after_a_catch_all_is_reported(self, run: Run) -> None:
        route = '[[routes]]\nsource = "exports"\ntarget = "prod"\n'
        text = CONFIGURATION + 'key = "*"\nname = "all"\n' + route
        assert advice(run, text) == {
            "routes[1]": "never matches: route all before it matches all of its objects. "
            "The first match wins: put the narrower route first."
        }

    @pytest.mark.parametrize(
        ("key", "reason"),
        [
            ("s3://exports/*.zip", "is an address"),
            ("exports/*.zip", "begins with the name of the bucket exports"),
            ("./prod/*.zip", "begins like a path"),
            ("../prod/*.zip", "begins like a path"),
            (" prod/*.zip", "begins or ends with a space"),
            ("{prod,dev}/*.zip", "contains braces"),
            ("prod\\\\*.zip", "contains a backslash"),
            ("prod/*.zip", None),
            ("prod/exports/*.zip", None),
            (".hidden/*.zip", None),
            ("exports*.zip", None),
        ],
    )
    def test_a_key_that_hardly_any_object_has_is_reported(
        self, run: Run, key: str, reason: str | None
    ) -> None:
        warnings = advice(run, CONFIGURATION + f'key = "{key}"\n')
        assert set(warnings) == ({"routes[0].key"} if reason else set())
        assert reason is None or reason in warnings["routes[0].key"]

    def test_tables_that_deliveries_wait_for_are_reported_on_every_engine(
        self, run: Run, ledger_url: str
    ) -> None:
        with closing(Ledger.open(ledger_url)) as ledger:
            accept_for_removed_target(ledger)
        text = f'{CONFIGURATION}[database]\nurl = "{ledger_url}"\n'
        assert "is missing, and deliveries wait" in advice(run, text)["targets.removed"]

    def test_a_database_that_cannot_be_read_is_reported(self, run: Run) -> None:
        url = "postgresql://relay@127.0.0.1:9/relay"
        text = f'{CONFIGURATION}[database]\nurl = "{url}"\n'
        assert "cannot be read" in advice(run, text)["database"]

    def test_tables_that_deliveries_wait_for_are_reported(self, run: Run) -> None:
        assert "is missing" not in run("check").stdout
        assert not Path("var").exists(), "a check creates no database"
        with closing(Ledger.open("sqlite:///var/relay.db")) as ledger:
            ledger.administration.migrate()
            accept_for_removed_target(ledger)
        assert "is missing, and deliveries wait" in advice(run, CONFIGURATION)["targets.removed"]

    def test_a_missing_public_url_and_plain_http_are_reported(self, run: Run) -> None:
        line = 'public_url = "https://relay.example.com"\n'
        assert "no links" in advice(run, CONFIGURATION.replace(line, ""))["public_url"]
        text = CONFIGURATION.replace("https://relay", "http://relay")
        assert "is http" in advice(run, text)["public_url"]


class TestConnect:
    @pytest.mark.usefixtures("configured")
    def test_every_failed_connection_is_reported(self, run: Run) -> None:
        result = run("check", "--connect")
        assert result.exit_code == 1
        assert re.search(r"^ok database: ", result.stdout, re.MULTILINE)
        assert re.search(r"^failed sources\.exports: ", result.stdout, re.MULTILINE)
        assert re.search(r"^failed targets\.prod: ", result.stdout, re.MULTILINE)
        assert re.search(r"^not tried channels\.ops: ", result.stdout, re.MULTILINE)
        assert "s3cr3t" not in result.output

    def test_working_connections_are_ok(self, run: Run, configured: Path, storage: str) -> None:
        with SandboxServer() as sandbox:
            text = CONFIGURATION.replace("http://127.0.0.1:9", storage, 1)
            text = text.replace("http://127.0.0.1:9", sandbox.url)
            text = text.replace("0123456789abcdef0123456789abcdef", sandbox.project_id)
            text = text.replace('"ak"', f'"{sandbox.access_key}"')
            text = text.replace("s3cr3t-secret-key", sandbox.secret_key)
            configured.write_text(text)
            results = outcomes(run)
        assert results["sources.exports"] == "ok"
        assert results["targets.prod"] == "ok"
        assert results["channels.ops"] == "not tried"

    def test_a_missing_bucket_fails(self, run: Run, configured: Path, storage: str) -> None:
        text = CONFIGURATION.replace("http://127.0.0.1:9", storage, 1)
        configured.write_text(text.replace('["exports"]', '["exprots"]'))
        assert outcomes(run)["sources.exports"] == "failed"

    @pytest.mark.parametrize(("status", "outcome"), [(200, "ok"), (404, "failed")])
    def test_a_channel_with_a_read_only_test_is_tested_without_a_post(
        self, run: Run, internet: Internet, status: int, outcome: str
    ) -> None:
        body = {"name": "Relay", "type": 1, "channel_id": "1"} if status == 200 else {"code": 10015}
        internet.serve("discord.com", lambda _: Reply(status, json.dumps(body).encode()))
        allowed = json.dumps([str(network) for network in internet.allowed])
        Path("relay.toml").write_text(
            f"[outbound]\nallow_private = {allowed}\n"
            '[channels.ops]\nkind = "discord"\n'
            f'url = "https://discord.com/api/webhooks/223704706495545344/{"5ecret" * 11}"\n'
        )
        result = run("check", "--connect")
        assert re.search(rf"^{outcome} channels\.ops: ", result.stdout, re.MULTILINE)
        assert result.exit_code == (outcome == "failed")
        assert "5ecret" not in result.output
        assert [request.method for request in internet.requests] == ["GET"]

    def test_a_database_that_cannot_be_opened_fails(self, run: Run, configured: Path) -> None:
        Path("taken").write_text("no directory")
        results = outcomes(run, RELAY_DATABASE__URL="sqlite:///taken/relay.db")
        assert results["database"] == "failed"
