"""`relay sandbox`: the FunctionGraph sandbox as a server, for a relay in another process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from relay.cli.signals import stop_signal
from relay.config.units import parse_size
from relay.errors import ConfigError
from relay.testing.sandbox.faults import Fault, parse_fault
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.state import RecordedCall


def fault_spec(text: str) -> Fault:
    """Parse a fault of the sandbox: `OPERATION:NAME=VALUE,...`."""
    try:
        return parse_fault(text)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8090,
    show_default=True,
    help="The port; 0: any free port.",
)
@click.option("--project-id", metavar="ID", help="Default: generated.")
@click.option("--region", default="cn-north-4", show_default=True)
@click.option("--access-key", envvar="SANDBOX_ACCESS_KEY", help="Default: generated.")
@click.option("--secret-key", envvar="SANDBOX_SECRET_KEY", help="Default: generated.")
@click.option(
    "--max-size", type=parse_size, metavar="SIZE", help="The largest zip. Default: 300MiB."
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=fault_spec,
    metavar="SPEC",
    help="A fault to inject; can be repeated, and is applied in this order.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line.")
def command(as_json: bool, faults: tuple[Fault, ...], **options: Any) -> None:
    """Emulate the import API of FunctionGraph and IAM until Ctrl-C.

    \b
    SPEC is OPERATION:NAME=VALUE,... with the operations import list config code
    update_code update_config delete export download quotas token or *, and
      status=500        respond with this status; also code=, message=, retry_after=
      delay=2.5         seconds before the response
      commit            apply the call, then respond with the error
      drop              reset the connection instead of responding
      cut_after=65536   stop reading after this number of bytes
      func_name=other   name another function in the response
      answer={}         respond with this text
      trickle=100000    read this number of bytes per second
      times=3           how many calls fail (always: every call)
    For example: --fault import:status=500,times=2 --fault import:commit,drop
    """
    given = {name: value for name, value in options.items() if value is not None}
    # --host is explicit, so an address other than loopback is allowed.
    sandbox = SandboxServer(**given, allow_remote=True, on_call=_call_printer(as_json))
    for fault in faults:
        sandbox.faults.add(fault)
    try:
        with stop_signal() as stop, sandbox:
            _print_settings(sandbox, as_json)
            stop.wait()
    except OSError as error:
        raise click.ClickException(f"cannot listen: {error.strerror or error}") from None


def _print_settings(sandbox: SandboxServer, as_json: bool) -> None:
    settings = {
        "endpoint": sandbox.url,
        "iam_endpoint": sandbox.url,
        "region": sandbox.region,
        "project_id": sandbox.project_id,
        "access_key": sandbox.access_key,
        "secret_key": sandbox.secret_key,
        "iam_user": sandbox.iam_user,
        "iam_password": sandbox.iam_password,
        "iam_domain": sandbox.iam_domain,
    }
    if as_json:
        click.echo(json.dumps(settings))
        return
    click.echo("# The sandbox emulates FunctionGraph. In relay.toml:\n[targets.sandbox]")
    click.echo('kind = "functiongraph"')
    for name, value in settings.items():
        click.echo(f"{name} = {json.dumps(value)}")
    click.echo(f"# See {sandbox.url}/sandbox/functions, /sandbox/calls, /sandbox/faults")


def _call_printer(as_json: bool) -> Callable[[RecordedCall], None]:
    def print_call(call: RecordedCall) -> None:
        if as_json:
            click.echo(json.dumps(call.to_json()))
            return
        status = call.status if call.status is not None else "reset"
        name = f" {call.function}" if call.function else ""
        applied = ", applied" if call.applied else ""
        click.echo(f"{call.operation}{name}: {status} ({call.received} bytes{applied})", err=True)

    return print_call
