"""`relay sandbox`: the FunctionGraph sandbox alone, for a relay in another process to talk to."""

from __future__ import annotations

import json
from typing import Any

import click

from relay.cli.signals import stop_signal
from relay.errors import ConfigError
from relay.testing.sandbox.faults import FaultFields, parse_fault
from relay.testing.sandbox.functiongraph import SandboxServer
from relay.testing.sandbox.state import RecordedCall


class FaultSpec(click.ParamType[FaultFields]):
    """`OPERATION:NAME=VALUE,...`"""

    name = "spec"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> FaultFields:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # click hands converted values in again
        try:
            return parse_fault(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8090,
    show_default=True,
    help="0: any free one.",
)
@click.option("--project-id", metavar="ID", help="Made up when not given.")
@click.option("--region", default="cn-north-4", show_default=True)
@click.option("--access-key", envvar="SANDBOX_ACCESS_KEY", help="Made up when not given.")
@click.option("--secret-key", envvar="SANDBOX_SECRET_KEY", help="Made up when not given.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=FaultSpec(),
    metavar="SPEC",
    help="What goes wrong, in this order; may be given often.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of words.")
def command(as_json: bool, faults: tuple[FaultFields, ...], **options: Any) -> None:
    """A stand-in for FunctionGraph's import API and IAM, until Ctrl-C.

    \b
    SPEC is OPERATION:NAME=VALUE,... with the operations import list config code
    update_code update_config delete export download quotas token or *, and
      status=500        answer so, with code=, message= and retry_after=
      delay=2.5         seconds before the answer
      commit            act on the call first, then answer wrongly
      drop              reset the connection instead of answering
      cut_after=65536   stop reading after so many bytes
      trickle=100000    read so many bytes a second
      times=3           how often (always: never ends)
    For example: --fault import:status=500,times=2 --fault import:commit,drop
    """
    given = {name: value for name, value in options.items() if value is not None}
    # An address typed here is the express permission that the sandbox asks for.
    sandbox = SandboxServer(**given, allow_remote=True, on_call=_say_call(as_json))
    for fault in faults:
        sandbox.fault(**fault)
    try:
        with stop_signal() as stop, sandbox:
            _introduce(sandbox, as_json)
            stop.wait()
    except OSError as error:
        raise click.ClickException(f"cannot listen: {error.strerror or error}") from None


def _introduce(sandbox: SandboxServer, as_json: bool) -> None:
    told = {
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
        click.echo(json.dumps(told))
        return
    click.echo("# The sandbox stands in for FunctionGraph; in relay.toml:\n[targets.sandbox]")
    click.echo('kind = "functiongraph"')
    for name, value in told.items():
        click.echo(f"{name} = {json.dumps(value)}")
    click.echo(f"# See {sandbox.url}/sandbox/functions, /sandbox/calls, /sandbox/faults")


def _say_call(as_json: bool) -> Any:
    def say(call: RecordedCall) -> None:
        if as_json:
            click.echo(json.dumps(call.to_json()))
            return
        answered = call.status if call.status is not None else "reset"
        name = f" {call.function}" if call.function else ""
        applied = ", done" if call.applied else ""
        click.echo(f"{call.operation}{name}: {answered} ({call.received} bytes{applied})", err=True)

    return say
