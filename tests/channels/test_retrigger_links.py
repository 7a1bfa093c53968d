"""Links by which a delivery is tried again: what they hold, who signs, what is refused."""

import io
import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.app import logging as logs
from relay.channels.retrigger_links import add_signed_link, read_token
from relay.config.load import Settings
from relay.model import Delivery, Kind, State
from relay.outbound.webhook import redactor_for

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
FIRST, SECOND = "the-first-token-of-this-relay", "the-second-token-of-this-relay"
PAGE = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"


def settings(*tokens, **more):
    return Settings.model_validate(
        {
            "public_url": "https://relay.example.com",
            "api": {"tokens": tokens or (FIRST,), **more.pop("api", {})},
            **more,
        }
    )


def message(type_="import.failed", **more):
    body = {
        "delivery": "01kq3v0m5n6p7q8r9s0t1v2w3x",
        "attempts": 3,
        "links": {"delivery": PAGE, "retrigger": f"{PAGE}#retrigger"},
        **more,
    }
    return Delivery(
        id="01kq3v0m5n6p7q8r9s0t1v2wms",
        kind=Kind.MESSAGE,
        state=State.RUNNING,
        source="exports",
        route="exports",
        bucket="exports",
        key="prod/orders.zip",
        destination="ops",
        created=NOW,
        message={"type": type_, "body": body},
    )


def token_of(chosen, told=None):
    link = add_signed_link(chosen, told or message())["links"]["retrigger"]
    address, token = link.rsplit("/", 1)
    assert address == "https://relay.example.com/links"
    return token


def test_a_link_says_what_it_is_for_and_when_it_ends():
    offer = read_token(settings(), token_of(settings()))
    assert (offer.delivery, offer.attempts, offer.channel) == (
        "01kq3v0m5n6p7q8r9s0t1v2w3x",
        3,
        "ops",
    )
    assert offer.ends == NOW + timedelta(days=7)


def test_a_repeat_of_the_message_carries_the_same_link_and_the_ledgers_body_keeps_none():
    told = message()
    assert add_signed_link(settings(), told) == add_signed_link(settings(), told)
    assert told.message["body"]["links"]["retrigger"] == f"{PAGE}#retrigger"


def test_how_long_it_lasts_is_a_setting():
    brief = settings(api={"links_last": "2h"})
    assert read_token(brief, token_of(brief)).ends == NOW + timedelta(hours=2)


@pytest.mark.parametrize(
    "chosen",
    [
        settings(api={"tokens": ()}),
        settings(api={"links_last": "0"}),
        settings(public_url=""),
    ],
    ids=["no token", "not wanted", "no address"],
)
def test_without_what_it_needs_the_link_leads_to_the_page(chosen):
    assert add_signed_link(chosen, message()) == message().message["body"]


@pytest.mark.parametrize(
    "told",
    [
        message("target.down"),
        message("digest", links={"deliveries": PAGE}),
        message(links={"delivery": None, "retrigger": None}),
        message(links=None),
        message(attempts=None),
    ],
    ids=["a target", "a digest", "no links", "an old body", "no attempts"],
)
def test_what_tells_of_no_single_import_gets_no_link(told):
    assert add_signed_link(settings(), told) == told.message["body"]


def test_the_first_token_signs_and_every_one_verifies():
    old = token_of(settings(FIRST))
    assert read_token(settings(SECOND, FIRST), old)
    assert token_of(settings(SECOND, FIRST)) == token_of(settings(SECOND)) != old
    assert read_token(settings(SECOND), old) is None


def test_what_nobody_of_us_signed_is_no_link():
    genuine = token_of(settings())
    assert read_token(settings(api={"tokens": ()}), genuine) is None
    content, signature = genuine.rsplit(".", 1)
    another = token_of(settings(), message(attempts=4)).rsplit(".", 1)[0]
    for forged in (content, f"{content}.", f"{another}.{signature}", "", "x" * 5000, f"{genuine}a"):
        assert read_token(settings(), forged) is None


@given(st.text(max_size=700))
def test_no_text_breaks_the_reader(text):
    assert read_token(settings(), text) is None


@given(place=st.integers(0, 10_000), letter=st.sampled_from("abcXYZ019_-."))
def test_not_one_letter_of_it_can_be_changed(place, letter):
    genuine = token_of(settings())
    place %= len(genuine) - 1  # the last one holds bits that base64 leaves open
    changed = genuine[:place] + letter + genuine[place + 1 :]
    assert changed == genuine or read_token(settings(), changed) is None


def test_it_holds_nothing_of_the_token_and_fits_into_any_message():
    token = token_of(settings())
    assert len(token) < 160
    assert FIRST not in token


@pytest.mark.parametrize("form", ["{}", "GET {} HTTP/1.1", '{{"url": "{}"}}', "{}?lang=zh"])
def test_no_log_line_shows_it(form):
    stream = io.StringIO()
    handler = logs.configure(stream, json=True)
    link = f"https://relay.example.com/links/{token_of(settings())}"
    try:
        logging.getLogger("anybody").error(form.format(link))
        logging.getLogger("anybody").error("asked", extra={"path": form.format(link)})
    finally:
        logging.getLogger().removeHandler(handler)
    assert "/links/[redacted]" in stream.getvalue()
    assert token_of(settings())[:12] not in stream.getvalue()


@pytest.mark.parametrize("slash", ["/", "\\/", "%2F"])
def test_an_answer_that_repeats_the_message_is_kept_without_it(slash):
    token = token_of(settings())
    answer = f'{{"error": "bad url https:{slash}relay.example.com{slash}links{slash}{token}"}}'
    kept = redactor_for("https://hooks.example.com/secret").known(answer)
    assert token[:12] not in kept
    assert "relay.example.com" in kept
