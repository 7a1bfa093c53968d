"""`relay demo`: a complete relay with embedded servers, without an account or configuration."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from relay.cli.demo.delivery_log import DeliveryLog
from relay.cli.main import FAILED
from relay.cli.output import style
from relay.cli.sandbox import fault_spec
from relay.cli.signals import StopSignal, stop_signal
from relay.model import Kind, State, utc_now
from relay.testing.sandbox.exports import export_name, make_export
from relay.testing.sandbox.faults import Fault

if TYPE_CHECKING:
    from relay.cli.demo.environment import DemoEnvironment

DEADLINE = 30.0
"""Seconds after which the demo no longer waits for the import and the messages."""

INSTALL = 'pip install "ziprelay[demo]", or in a checkout: pip install -e ".[demo]"'

MARKS = {"": ("·", None), "ok": ("✓", "green"), "bad": ("✗", "red"), "wait": ("↻", "yellow")}


@click.command("demo")
@click.option("--once", is_flag=True, help="Exit when the import and the messages are finished.")
@click.option("--port", default=0, help="The port of the relay. Default: any free port.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=fault_spec,
    metavar="SPEC",
    help="A fault of the sandbox, e.g. import:status=500,times=2 (see relay sandbox --help).",
)
@click.option("--taken", is_flag=True, help="The function already exists with different code.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line.")
def command(once: bool, port: int, faults: tuple[Fault, ...], taken: bool, as_json: bool) -> None:
    """Run a complete demo: upload a zip, import the function, notify the team.

    All servers run in this process, on loopback. Needs the extra "demo":
    pip install "ziprelay[demo]", or in a checkout: pip install -e ".[demo]"
    """
    try:
        # The extra is optional, so a missing package must not break the import of this module.
        from relay.cli.demo.environment import (  # noqa: PLC0415
            isolated_environment,
            start_demo,
        )
    except ModuleNotFoundError as error:
        raise click.UsageError(f"the demo needs {error.name}. Install it: {INSTALL}") from None

    output = DemoOutput(as_json)
    # Catch signals from the first to the last moment: everything that starts is also stopped.
    with stop_signal() as stop, isolated_environment(), ExitStack() as stack:
        demo = start_demo(stack, port=port)
        output.print_addresses(demo)
        if taken:
            demo.sandbox.hold("hello", code=b"different code")
        for fault in faults:
            demo.sandbox.faults.add(fault)
        log = DeliveryLog(demo.relay.ledger.history, utc_now(), output.print_line)
        upload(demo, output)
        finished = follow(log, DEADLINE, stop)
        if stop.wait_for(0):
            output.print_line("wait", "stopped before the end of the demo")
            raise SystemExit(FAILED if once else 0)
        succeeded = output.print_result(log, demo, finished=finished)
        if once:
            raise SystemExit(0 if succeeded else FAILED)
        output.print_next_steps(demo)
        follow_until_stopped(log, stop)


def upload(demo: DemoEnvironment, output: DemoOutput) -> None:
    """Create an export as FunctionGraph does, and upload it to the bucket."""
    archive = make_export("hello")
    key = f"prod/{export_name('hello', archive)}"
    text = f"created an export of function hello ({len(archive)} bytes): YAML and code zip"
    output.print_line("", text)
    demo.s3.put_object(Bucket=demo.bucket, Key=key, Body=archive)
    output.print_line("", f"uploaded to s3://{demo.bucket}/{key}")


def follow(log: DeliveryLog, seconds: float, stop: StopSignal) -> bool:
    """Print changes until every delivery has finished. Returns False on a timeout or a stop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop.wait_for(0.05):
        log.print_changes()
        deliveries = log.deliveries()
        if deliveries and all(delivery.state.finished for delivery in deliveries):
            log.print_changes()  # Changes between the two queries above.
            return True
    return False


def follow_until_stopped(log: DeliveryLog, stop: StopSignal) -> None:
    """Print changes until Ctrl-C or SIGTERM."""
    while not stop.wait_for(0.1):
        log.print_changes()
    click.echo()


class DemoOutput:
    """Prints lines with the seconds since the start of the demo."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.started = time.monotonic()

    def print_line(self, mark: str, text: str) -> None:
        seconds = time.monotonic() - self.started
        if self.as_json:
            line = {"seconds": round(seconds, 3), "mark": mark or "note", "words": text}
            click.echo(json.dumps(line))
            return
        sign, colour = MARKS[mark]
        click.echo(f"{seconds:7.2f} s  {style(sign, fg=colour)} {text}")

    def print_addresses(self, demo: DemoEnvironment) -> None:
        if self.as_json:
            return
        title = "Relay demo: everything runs in this process; nothing leaves this machine."
        click.echo(f"{style(title, bold=True)}\n")
        for name, url, description in (
            ("relay", demo.relay_url, "pages, API and worker"),
            ("store", demo.store_url, "S3 and SQS, with a bucket that sends notifications"),
            ("sandbox", demo.sandbox.url, "emulates FunctionGraph"),
            ("inbox", demo.inbox.url, "shows the messages that the team gets"),
        ):
            click.echo(f"  {name:8} {style(url, underline=True)}  {description}")
        click.echo(f"  {'settings':8} {demo.configuration}\n")

    def print_result(self, log: DeliveryLog, demo: DemoEnvironment, *, finished: bool) -> bool:
        """Print the result. Return True if the import succeeded and every message was posted."""
        deliveries = log.deliveries()
        imports = [delivery for delivery in deliveries if delivery.kind == Kind.IMPORT]
        messages = [delivery for delivery in deliveries if delivery.kind == Kind.MESSAGE]
        imported = {delivery.state for delivery in imports} == {State.SUCCEEDED}
        posted = all(message.state == State.SUCCEEDED for message in messages)
        succeeded = finished and imported and posted and bool(messages)
        if not finished:
            unfinished = sum(not delivery.state.finished for delivery in deliveries)
            self.print_line("bad", f"{unfinished} deliveries not finished after {DEADLINE:.0f} s")
        received = demo.inbox.messages
        verified = sum(bool(message.verified) for message in received)
        self.print_line("", f"the inbox received {len(received)} messages ({verified} signed)")
        if succeeded:
            urn = (imports[0].result or {}).get("func_urn")
            self.print_line("ok", f"imported and notified: {urn}")
        else:
            self.print_line("bad", "the import did not succeed; see above")
        return succeeded

    def print_next_steps(self, demo: DemoEnvironment) -> None:
        if self.as_json:
            return
        click.echo(
            "\nThe demo is still running. Upload another zip with any S3 client (keys demo / "
            f"demo-secret):\n  aws --endpoint-url {demo.store_url} s3 cp FILE.zip "
            f"s3://{demo.bucket}/prod/\nPages: {demo.relay_url}   Inbox: {demo.inbox.url}   "
            "Ctrl-C stops it.\n"
        )
