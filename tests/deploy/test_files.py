"""compose.yaml, Dockerfile, relay.toml and .env.example are right, and agree with each other."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from relay import plugins as loader
from relay.cli.main import cli
from relay.config import load as settings
from relay.testing.sandbox.functiongraph import SandboxServer

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
OURS = ("web", "worker", "sandbox", "bucket")


def parsed(arguments):
    """The command and its parameters, as click reads them: [] is not a command."""
    command = cli.get_command(click.Context(cli), arguments[0])
    assert command, f"relay has no command {arguments[0]}"
    return command.make_context(arguments[0], list(arguments[1:])).params


def variables(text):
    return set(re.findall(r"\$\{([A-Z0-9_]+)", text))


@pytest.fixture(scope="module")
def configured(examples):
    return settings.load(DEPLOY / "relay.toml", examples, loader.settings_class)


def test_hadolint_has_nothing_to_say_about_the_dockerfile():
    done = subprocess.run(
        [BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_compose_keeps_the_compose_specification():
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_configuration_loads_with_the_example_secrets(configured):
    assert list(configured.sources) == ["exports"]
    assert list(configured.targets) == ["functions"]


def test_no_route_is_without_what_it_names(configured, compose):
    (route,) = configured.routes
    made = compose["services"]["bucket"]["environment"]["BUCKET"]
    assert configured.sources[route.source].buckets == (made,)


def test_every_secret_is_handed_to_those_who_need_it(compose, examples):
    needed = variables(re.sub(r"(?m)^#.*", "", (DEPLOY / "relay.toml").read_text()))
    for name in ("web", "worker"):
        assert set(compose["services"][name]["environment"]) == needed
    asked = variables((DEPLOY / "compose.yaml").read_text())
    assert asked == set(examples)


def test_a_missing_secret_stops_the_start():
    for line in (DEPLOY / "compose.yaml").read_text().splitlines():
        assert line.count("${") == line.count(":?set it in deploy/.env}"), line


def test_no_example_secret_is_worth_stealing(examples):
    for name, value in examples.items():
        assert "change-me" in value or name == "SANDBOX_ACCESS_KEY"


def test_every_process_is_a_command_of_relay(compose, dockerfile):
    instructions = dict(dockerfile)
    assert instructions["ENTRYPOINT"] == ["python", "-m", "relay"]
    assert parsed(instructions["CMD"])["host"] == "0.0.0.0"
    services = compose["services"]
    assert parsed(services["web"]["command"])["no_worker"] is True
    assert parsed(services["worker"]["command"])
    assert parsed(services["sandbox"]["command"])["port"] == 8090


def test_the_sandbox_is_seen_to_be_well_where_a_proxy_is_set(compose):
    _, python, dash, program = compose["services"]["sandbox"]["healthcheck"]["test"]
    assert (python, dash) == ("python", "-c")
    nowhere = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
    with SandboxServer() as sandbox:
        program = program.replace("http://127.0.0.1:8090", sandbox.url)
        assert sandbox.url in program
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **nowhere},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr


def test_the_procfile_starts_commands_of_relay():
    lines = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    assert set(lines) == {"web", "worker"}
    for line in lines.values():
        python, dash, module, *arguments = line.split()
        assert (python, dash, module) == ("python", "-m", "relay")
        assert parsed(arguments)


def test_ours_run_with_as_few_rights_as_can_be(compose, dockerfile):
    assert dict(dockerfile)["USER"] == ["10001"]
    for name in OURS:
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_nothing_is_reachable_from_other_machines(compose):
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_ledger_is_in_the_volume(compose, dockerfile, configured):
    (volume,) = dict(dockerfile)["VOLUME"]
    (folder,) = dict(dockerfile)["WORKDIR"]
    assert configured.database.url == f"sqlite:///{volume.removeprefix(folder + '/')}/relay.db"
    for name in ("web", "worker"):
        assert f"ledger:{volume}" in compose["services"][name]["volumes"]
        mounted = {one.split(":")[1] for one in compose["services"][name]["volumes"]}
        assert f"{folder}/relay.toml" in mounted


def test_everybody_is_called_where_he_listens(compose, dockerfile, configured):
    services = compose["services"]
    store, target = configured.sources["exports"], configured.targets["functions"]
    (exposed,) = dict(dockerfile)["EXPOSE"]
    listens = {
        "web": parsed(services["web"]["command"])["port"],
        "sandbox": parsed(services["sandbox"]["command"])["port"],
        "store": int(services["store"]["environment"]["RUSTFS_ADDRESS"].strip(":")),
    }
    assert listens["web"] == int(exposed)
    called = [
        store.endpoint_url,
        target.endpoint,
        target.iam_endpoint,
        services["bucket"]["environment"]["S3_ENDPOINT"],
        services["store"]["environment"]["RUSTFS_NOTIFY_WEBHOOK_ENDPOINT_RELAY"],
    ]
    for url in called:
        parts = urlsplit(url)
        assert listens[parts.hostname] == parts.port, url
    for name, service in services.items():
        for published in service.get("ports", ()):
            assert int(published.split(":")[-1]) == listens[name]


def test_the_sandbox_is_the_project_that_the_target_imports_into(compose, configured):
    options = parsed(compose["services"]["sandbox"]["command"])
    target = configured.targets["functions"]
    assert (options["project_id"], options["region"]) == (target.project_id, target.region)


def test_the_store_announces_to_the_hook(compose, configured):
    told = compose["services"]["store"]["environment"]
    hook = urlsplit(told["RUSTFS_NOTIFY_WEBHOOK_ENDPOINT_RELAY"])
    assert hook.path.removeprefix("/hooks/") in configured.sources
    assert told["RUSTFS_OUTBOUND_ALLOW_ORIGINS"] == f"{hook.scheme}://{hook.netloc}"
    token = (DEPLOY / "relay.toml").read_text().partition("\ntoken = ")[2].splitlines()[0]
    assert variables(token) == variables(told["RUSTFS_NOTIFY_WEBHOOK_AUTH_TOKEN_RELAY"])
    # RustFS makes the name after the last underscore lower-case, and drops events to any other.
    (arn,) = compose["services"]["bucket"]["command"]
    assert arn == f"arn:rustfs:sqs:{configured.sources['exports'].region}:relay:webhook"
    # In the folder of the objects it would look like a bucket.
    queue = told["RUSTFS_NOTIFY_WEBHOOK_QUEUE_DIR_RELAY"]
    assert not queue.startswith(told["RUSTFS_VOLUMES"])
    mounted = {one.split(":")[1] for one in compose["services"]["store"]["volumes"]}
    assert any(queue.startswith(f"{folder}/") for folder in mounted)


def test_compose_waits_longer_than_a_worker_needs_to_end(compose):
    from relay.app.gunicorn_config import GRACE, graceful_timeout

    for name in ("web", "worker"):
        grace = int(compose["services"][name]["stop_grace_period"].removesuffix("s"))
        assert grace > max(GRACE, graceful_timeout)


def test_the_builder_gets_what_the_image_copies_and_no_more(dockerfile):
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in lines
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for name, arguments in dockerfile
        if name == "COPY" and not arguments[0].startswith("--")
        for source in arguments[:-1]
    }
    assert let_in == copied | {"requirements.txt"}
    assert all((ROOT / name).exists() for name in let_in)


def test_the_schema_of_the_settings_takes_the_example(examples):
    """What an editor would say of relay.toml."""
    import tomllib

    import jsonschema

    from relay.cli.config import schema

    text = (DEPLOY / "relay.toml").read_text()
    for name, value in examples.items():
        text = text.replace(f"${{{name}}}", value)
    jsonschema.validate(tomllib.loads(text), json.loads(json.dumps(schema())))
