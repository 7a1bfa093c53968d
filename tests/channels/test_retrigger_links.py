"""Signed retrigger links: the grant, the signature, and forged tokens."""

import io
import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.app import logging as app_logging
from relay.channels.retrigger_links import add_signed_link, read_token
from relay.config.load import Settings
from relay.model import Delivery, Kind, State
from relay.outbound.webhook import redactor_for

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
FIRST, SECOND = "the-first-token-of-this-relay", "the-second-token-of-this-relay"
PAGE = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"


def settings(*tokens, **tables):
    return Settings.model_validate(
        {
            "public_url": "https://relay.example.com",
            "api": {"tokens": tokens or (FIRST,), **tables.pop("api", {})},
            **tables,
        }
    )


def message(type_="import.failed", **fields):
    body = {
        "delivery": "01kq3v0m5n6p7q8r9s0t1v2w3x",
        "attempts": 3,
        "links": {"delivery": PAGE, "retrigger": f"{PAGE}#retrigger"},
        **fields,
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


def token_of(configured, sample=None):
    link = add_signed_link(configured, sample or message())["links"]["retrigger"]
    address, token = link.rsplit("/", 1)
    assert address == "https://relay.example.com/links"
    return token


def test_a_link_contains_the_grant_and_the_expiry():
    grant = read_token(settings(), token_of(settings()))
    assert (grant.delivery, grant.attempts, grant.channel) == (
        "01kq3v0m5n6p7q8r9s0t1v2w3x",
        3,
        "ops",
    )
    assert grant.ends == NOW + timedelta(days=7)


def test_a_retry_has_the_same_link_and_the_stored_body_has_none():
    sample = message()
    assert add_signed_link(settings(), sample) == add_signed_link(settings(), sample)
    assert sample.message["body"]["links"]["retrigger"] == f"{PAGE}#retrigger"


def test_the_lifetime_is_a_setting():
    configured = settings(api={"links_last": "2h"})
    assert read_token(configured, token_of(configured)).ends == NOW + timedelta(hours=2)


@pytest.mark.parametrize(
    "configured",
    [
        settings(api={"tokens": ()}),
        settings(api={"links_last": "0"}),
        settings(public_url=""),
    ],
    ids=["no token", "disabled", "no public_url"],
)
def test_without_token_lifetime_or_public_url_the_link_leads_to_the_page(configured):
    assert add_signed_link(configured, message()) == message().message["body"]


@pytest.mark.parametrize(
    "sample",
    [
        message("target.down"),
        message("digest", links={"deliveries": PAGE}),
        message(links={"delivery": None, "retrigger": None}),
        message(links=None),
        message(attempts=None),
    ],
    ids=["a target", "a digest", "no links", "an old body", "no attempts"],
)
def test_a_message_that_is_not_about_a_single_import_has_no_signed_link(sample):
    assert add_signed_link(settings(), sample) == sample.message["body"]


def test_the_first_token_signs_and_all_tokens_verify():
    token = token_of(settings(FIRST))
    assert read_token(settings(SECOND, FIRST), token)
    assert token_of(settings(SECOND, FIRST)) == token_of(settings(SECOND)) != token
    assert read_token(settings(SECOND), token) is None


def test_a_token_with_a_wrong_signature_is_rejected():
    token = token_of(settings())
    assert read_token(settings(api={"tokens": ()}), token) is None
    content, signature = token.rsplit(".", 1)
    other_content = token_of(settings(), message(attempts=4)).rsplit(".", 1)[0]
    for forged in (
        content,
        f"{content}.",
        f"{other_content}.{signature}",
        "",
        "x" * 5000,
        f"{token}a",
    ):
        assert read_token(settings(), forged) is None


@given(st.text(max_size=700))
def test_any_other_text_is_rejected(text):
    assert read_token(settings(), text) is None


@given(position=st.integers(0, 10_000), character=st.sampled_from("abcXYZ019_-."))
def test_changing_any_character_invalidates_the_token(position, character):
    token = token_of(settings())
    position %= len(token) - 1  # base64 ignores some bits of the last character
    changed = token[:position] + character + token[position + 1 :]
    assert changed == token or read_token(settings(), changed) is None


def test_the_link_is_short_and_does_not_contain_the_api_token():
    token = token_of(settings())
    assert len(token) < 160
    assert FIRST not in token


@pytest.mark.parametrize("form", ["{}", "GET {} HTTP/1.1", '{{"url": "{}"}}', "{}?lang=zh"])
def test_log_lines_do_not_contain_the_link(form):
    stream = io.StringIO()
    handler = app_logging.configure(stream, json=True)
    link = f"https://relay.example.com/links/{token_of(settings())}"
    try:
        logging.getLogger("test").error(form.format(link))
        logging.getLogger("test").error("asked", extra={"path": form.format(link)})
    finally:
        logging.getLogger().removeHandler(handler)
    assert "/links/[redacted]" in stream.getvalue()
    assert token_of(settings())[:12] not in stream.getvalue()


@pytest.mark.parametrize("slash", ["/", "\\/", "%2F"])
def test_a_link_in_a_response_is_redacted(slash):
    token = token_of(settings())
    response = f'{{"error": "bad url https:{slash}relay.example.com{slash}links{slash}{token}"}}'
    stored = redactor_for("https://hooks.example.com/secret").known(response)
    assert token[:12] not in stored
    assert "relay.example.com" in stored
