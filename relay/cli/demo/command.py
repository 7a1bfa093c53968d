"""`relay demo`: everything embedded, no account, no configuration; tells the story."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import click

from relay.cli.demo.stage import BUCKET, DemoEnvironment, alone, set_up
from relay.cli.demo.story import DeliveryLog
from relay.cli.output import style
from relay.cli.sandbox import FaultSpec
from relay.cli.signals import Stop, stop_signal
from relay.model import Kind, State, utc_now
from relay.testing.sandbox.exports import export_name, make_export
from relay.testing.sandbox.faults import FaultFields

DEADLINE = 30.0
"""Seconds after which `--once` gives up waiting and says what is still open."""
MARKS = {"": ("·", None), "ok": ("✓", "green"), "bad": ("✗", "red"), "wait": ("↻", "yellow")}


@click.command("demo")
@click.option("--once", is_flag=True, help="End when the import and its messages are done.")
@click.option("--port", default=0, help="The relay's port; any free one when not given.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    type=FaultSpec(),
    metavar="SPEC",
    help="What the sandbox does wrong, e.g. import:status=500,times=2 (see relay sandbox --help).",
)
@click.option("--taken", is_flag=True, help="The function is there already, with other code.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of words.")
def command(
    once: bool, port: int, faults: tuple[FaultFields, ...], taken: bool, as_json: bool
) -> None:
    """A zip lands in a bucket, the function is imported, the team is told: watch it happen."""
    teller = DemoOutput(as_json)
    # Heard from the first to the last moment: what is set up is always taken down again.
    with stop_signal() as stop, alone(), ExitStack() as stack:
        stage = set_up(stack, port=port)
        teller.introduce(stage)
        if taken:
            stage.sandbox.hold("hello", code=b"somebody else's code")
        for fault in faults:
            stage.sandbox.fault(**fault)
        story = DeliveryLog(stage.relay.ledger, utc_now(), teller.say)
        upload(stage, teller)
        done = follow(story, DEADLINE, stop)
        if stop.came_within(0):
            teller.say("wait", "stopped before the end of the story")
            raise SystemExit(1 if once else 0)
        good = teller.conclude(story, stage, done=done)
        if once:
            raise SystemExit(0 if good else 1)
        teller.invite(stage)
        stay(story, stop)


def upload(stage: DemoEnvironment, teller: DemoOutput) -> None:
    """Makes an export as FunctionGraph does, and puts it into the bucket like anybody would."""
    archive = make_export("hello")
    key = f"prod/{export_name('hello', archive)}"
    teller.say("", f"made an export of function hello ({len(archive)} bytes): YAML and code zip")
    stage.s3.put_object(Bucket=BUCKET, Key=key, Body=archive)
    teller.say("", f"uploaded to s3://{BUCKET}/{key}")


def follow(story: DeliveryLog, seconds: float, stop: Stop) -> bool:
    """Tells the story until everything in it ended; False when time ran out first, or at a stop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stop.came_within(0.05):
        story.tell()
        deliveries = story.deliveries()
        if deliveries and all(delivery.state.finished for delivery in deliveries):
            story.tell()  # what ended since it was last told
            return True
    return False


def stay(story: DeliveryLog, stop: Stop) -> None:
    """Goes on telling until Ctrl-C or SIGTERM."""
    while not stop.came_within(0.1):
        story.tell()
    click.echo()


class DemoOutput:
    """Says things on the terminal, with the seconds since the demo began."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.began = time.monotonic()

    def say(self, mark: str, words: str) -> None:
        seconds = time.monotonic() - self.began
        if self.as_json:
            told = {"seconds": round(seconds, 3), "mark": mark or "note", "words": words}
            click.echo(json.dumps(told))
            return
        sign, colour = MARKS[mark]
        click.echo(f"{seconds:7.2f} s  {style(sign, fg=colour)} {words}")

    def introduce(self, stage: DemoEnvironment) -> None:
        if self.as_json:
            return
        title = "Relay demo: all of it runs here, nothing leaves this machine."
        click.echo(f"{style(title, bold=True)}\n")
        for name, url, words in (
            ("relay", stage.relay_url, "pages, API and worker"),
            ("store", stage.store_url, f'S3 and SQS; bucket "{BUCKET}" announces its uploads'),
            ("sandbox", stage.sandbox.url, "stands in for FunctionGraph"),
            ("inbox", stage.inbox.url, "shows what the team is told"),
        ):
            click.echo(f"  {name:8} {style(url, underline=True)}  {words}")
        click.echo(f"  {'settings':8} {stage.configuration}\n")

    def conclude(self, story: DeliveryLog, stage: DemoEnvironment, *, done: bool) -> bool:
        """The last line; True when the import succeeded and every message was posted."""
        deliveries = story.deliveries()
        imports = [one for one in deliveries if one.kind == Kind.IMPORT]
        messages = [one for one in deliveries if one.kind == Kind.MESSAGE]
        states = {one.state for one in imports}
        posted = all(one.state == State.SUCCEEDED for one in messages)
        good = done and posted and states == {State.SUCCEEDED} and bool(messages)
        if not done:
            open_ = sum(not one.state.finished for one in deliveries)
            self.say("bad", f"{open_} deliveries have not ended after {DEADLINE:.0f} s")
        verified = sum(1 for one in stage.inbox.messages if one.verified)
        self.say("", f"the inbox holds {len(stage.inbox.messages)} messages ({verified} signed)")
        urns = [(one.result or {}).get("func_urn") for one in imports]
        self.say(
            "ok" if good else "bad",
            f"imported and told: {urns[0]}" if good else "the import did not succeed; see above",
        )
        return good

    def invite(self, stage: DemoEnvironment) -> None:
        if self.as_json:
            return
        click.echo(
            f"\nStill up. Put another zip into the bucket and watch (any S3 client, keys demo / "
            f"demo-secret):\n  aws --endpoint-url {stage.store_url} s3 cp FILE.zip "
            f"s3://{BUCKET}/prod/\nPages: {stage.relay_url}   Inbox: {stage.inbox.url}   "
            "Ctrl-C ends it all.\n"
        )
