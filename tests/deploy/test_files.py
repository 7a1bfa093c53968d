"""compose.yaml, Dockerfile, relay.toml and .env.example are valid and consistent."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from relay.cli.main import cli
from relay.config.load import load
from relay.plugins import settings_class
from relay.testing.sandbox.functiongraph import SandboxServer

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
OUR_SERVICES = ("web", "worker", "sandbox", "bucket")


def parse(arguments):
    """Parse a relay command line; returns the parameters."""
    command = cli.get_command(click.Context(cli), arguments[0])
    assert command, f"relay has no command {arguments[0]}"
    return command.make_context(arguments[0], list(arguments[1:])).params


def variables(text):
    return set(re.findall(r"\$\{([A-Z0-9_]+)", text))


@pytest.fixture(scope="module")
def settings(examples):
    return load(DEPLOY / "relay.toml", examples, settings_class)


def test_hadolint_accepts_the_dockerfile():
    done = subprocess.run(
        [BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_compose_follows_the_specification():
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_configuration_loads_with_the_example_secrets(settings):
    assert list(settings.sources) == ["exports"]
    assert list(settings.targets) == ["functions"]


def test_the_route_uses_the_bucket_that_is_created(settings, compose):
    (route,) = settings.routes
    bucket = compose["services"]["bucket"]["environment"]["BUCKET"]
    assert settings.sources[route.source].buckets == (bucket,)


def test_every_secret_is_passed_to_the_services_that_need_it(compose, examples):
    needed = variables(re.sub(r"(?m)^#.*", "", (DEPLOY / "relay.toml").read_text()))
    for name in ("web", "worker"):
        assert set(compose["services"][name]["environment"]) == needed
    used = variables((DEPLOY / "compose.yaml").read_text())
    assert used == set(examples)


def test_a_missing_secret_stops_the_start():
    for line in (DEPLOY / "compose.yaml").read_text().splitlines():
        assert line.count("${") == line.count(":?set it in deploy/.env}"), line


def test_example_secrets_are_placeholders(examples):
    for name, value in examples.items():
        assert "change-me" in value or name == "SANDBOX_ACCESS_KEY"


def test_every_process_is_a_command_of_relay(compose, dockerfile):
    instructions = dict(dockerfile)
    assert instructions["ENTRYPOINT"] == ["python", "-m", "relay"]
    assert parse(instructions["CMD"])["host"] == "0.0.0.0"
    services = compose["services"]
    assert parse(services["web"]["command"])["no_worker"] is True
    assert parse(services["worker"]["command"])
    assert parse(services["sandbox"]["command"])["port"] == 8090


def test_the_health_check_of_the_sandbox_ignores_proxies(compose):
    _, python, dash, program = compose["services"]["sandbox"]["healthcheck"]["test"]
    assert (python, dash) == ("python", "-c")
    proxies = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
    with SandboxServer() as sandbox:
        program = program.replace("http://127.0.0.1:8090", sandbox.url)
        assert sandbox.url in program
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **proxies},
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
        assert parse(arguments)


def test_our_services_run_with_minimal_rights(compose, dockerfile):
    assert dict(dockerfile)["USER"] == ["10001"]
    for name in OUR_SERVICES:
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_nothing_is_reachable_from_other_machines(compose):
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_ledger_is_in_the_volume(compose, dockerfile, settings):
    (volume,) = dict(dockerfile)["VOLUME"]
    (folder,) = dict(dockerfile)["WORKDIR"]
    assert settings.database.url == f"sqlite:///{volume.removeprefix(folder + '/')}/relay.db"
    for name in ("web", "worker"):
        assert f"ledger:{volume}" in compose["services"][name]["volumes"]
        mounted = {mount.split(":")[1] for mount in compose["services"][name]["volumes"]}
        assert f"{folder}/relay.toml" in mounted


def test_every_url_uses_the_port_that_the_service_listens_on(compose, dockerfile, settings):
    services = compose["services"]
    store, target = settings.sources["exports"], settings.targets["functions"]
    (exposed,) = dict(dockerfile)["EXPOSE"]
    ports = {
        "web": parse(services["web"]["command"])["port"],
        "sandbox": parse(services["sandbox"]["command"])["port"],
        "store": int(services["store"]["environment"]["RUSTFS_ADDRESS"].strip(":")),
    }
    assert ports["web"] == int(exposed)
    urls = [
        store.endpoint_url,
        target.endpoint,
        target.iam_endpoint,
        services["bucket"]["environment"]["S3_ENDPOINT"],
        services["store"]["environment"]["RUSTFS_NOTIFY_WEBHOOK_ENDPOINT_RELAY"],
    ]
    for url in urls:
        parts = urlsplit(url)
        assert ports[parts.hostname] == parts.port, url
    for name, service in services.items():
        for published in service.get("ports", ()):
            assert int(published.split(":")[-1]) == ports[name]


def test_the_sandbox_and_the_target_have_the_same_project(compose, settings):
    options = parse(compose["services"]["sandbox"]["command"])
    target = settings.targets["functions"]
    assert (options["project_id"], options["region"]) == (target.project_id, target.region)


def test_the_storage_sends_notifications_to_the_hook(compose, settings):
    environment = compose["services"]["store"]["environment"]
    hook = urlsplit(environment["RUSTFS_NOTIFY_WEBHOOK_ENDPOINT_RELAY"])
    assert hook.path.removeprefix("/hooks/") in settings.sources
    assert environment["RUSTFS_OUTBOUND_ALLOW_ORIGINS"] == f"{hook.scheme}://{hook.netloc}"
    token = (DEPLOY / "relay.toml").read_text().partition("\ntoken = ")[2].splitlines()[0]
    assert variables(token) == variables(environment["RUSTFS_NOTIFY_WEBHOOK_AUTH_TOKEN_RELAY"])
    # RustFS converts the name after the last underscore to lower case, and drops events to others.
    (arn,) = compose["services"]["bucket"]["command"]
    assert arn == f"arn:rustfs:sqs:{settings.sources['exports'].region}:relay:webhook"
    # A folder inside the object folder would look like a bucket.
    queue = environment["RUSTFS_NOTIFY_WEBHOOK_QUEUE_DIR_RELAY"]
    assert not queue.startswith(environment["RUSTFS_VOLUMES"])
    mounted = {mount.split(":")[1] for mount in compose["services"]["store"]["volumes"]}
    assert any(queue.startswith(f"{folder}/") for folder in mounted)


def test_compose_waits_longer_than_a_worker_needs_to_stop(compose):
    from relay.app.gunicorn_config import GRACE, graceful_timeout

    for name in ("web", "worker"):
        grace = int(compose["services"][name]["stop_grace_period"].removesuffix("s"))
        assert grace > max(GRACE, graceful_timeout)


def test_the_build_context_is_exactly_what_the_image_copies(dockerfile):
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in lines
    included = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for name, arguments in dockerfile
        if name == "COPY" and not arguments[0].startswith("--")
        for source in arguments[:-1]
    }
    assert included == copied | {"requirements.txt"}
    assert all((ROOT / name).exists() for name in included)


def test_the_example_matches_the_settings_schema(examples):
    """An editor validates relay.toml with this schema."""
    import tomllib

    import jsonschema

    from relay.cli.config import schema

    text = (DEPLOY / "relay.toml").read_text()
    for name, value in examples.items():
        text = text.replace(f"${{{name}}}", value)
    jsonschema.validate(tomllib.loads(text), json.loads(json.dumps(schema())))
