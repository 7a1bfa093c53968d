"""Posted messages as HTML: they contain no foreign markup, links or mentions."""

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.channels.samples import OUTCOMES, PROBLEM, digest, message, target_message
from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.plugins import find
from relay.testing.channel_suite import HOSTILE
from tests.channels import card_preview_markup as markup
from tests.channels.card_preview import NAMES, render_page

KINDS = [*NAMES, "webhook"]
SAMPLES = [*map(message, OUTCOMES), digest(), target_message("down"), target_message("up")]
DIALECTS = {name: getattr(markup, name) for name in ("SLACK", "TEAMS", "DISCORD", "FEISHU")}
TAGS = {"br", "a", "code", "em", "h3", "li", "p", "s", "span", "strong", "u", "ul", "blockquote"}
DIALECTS |= {"DINGTALK": markup.DINGTALK, "WECOM": markup.WECOM}


class ParsedPage(HTMLParser):
    """Tags, links, mentions and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.mentions, self.text = [], [], 0, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.mentions += attributes.get("class") == "mention"
        if tag == "a":
            self.links.append(attributes.get("href", ""))

    def handle_data(self, data):
        if not self.tags or self.tags[-1] not in ("style", "script"):
            self.text += data


def preview(kind, sample, language="en"):
    channel_class = find("channels", kind)
    settings = {"kind": kind, "url": "https://example.com/a/secret-path", "language": language}
    channel = channel_class("ops", channel_class.Settings(**settings), HttpClientFactory())
    try:
        return channel.preview(sample)
    finally:
        channel.close()


def show(kind, sample, language="en"):
    return render_page([(kind, preview(kind, sample, language))], language)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_shows_every_message(kind, language):
    for sample in SAMPLES:
        page = ParsedPage(show(kind, sample, language))
        assert "orders" in page.text or "prod" in page.text
        assert ("<pre>" in show(kind, sample, language)) == (kind == "webhook")


@pytest.mark.parametrize("kind", NAMES)
def test_a_failure_shows_code_problem_advice_and_its_links(kind):
    page = ParsedPage(show(kind, message("import.failed")))
    for text in (PROBLEM.code, PROBLEM.message.en, PROBLEM.hint.en):
        assert text in " ".join(page.text.split())
    delivery, retrigger = page.links[-2:]
    assert delivery.startswith("https://relay.example.com/deliveries/")
    assert retrigger.endswith("#retrigger")


@pytest.mark.parametrize("kind", NAMES)
def test_no_markup_characters_remain_visible(kind):
    """Visible escapes or markup characters are mistakes in the card."""
    for sample in SAMPLES:
        text = ParsedPage(show(kind, sample)).text
        assert not re.search(r"\*\*|&amp;|&lt;|<font|\]\(|^#|^>", text, re.MULTILINE)


@pytest.mark.parametrize("longer", [1, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_contains_no_mentions_and_no_links(kind, longer):
    text = HOSTILE * longer
    failed = Failed(Problem("x.y", Localized(text, text), Localized(text, text)))
    failure = message("import.failed", outcome=failed, key=f"{text}/{text}.zip", func_name=text)
    for sample in (failure, digest(key=f"{text}.zip")):
        page = ParsedPage(show(kind, sample))
        assert page.mentions == 0
        assert not [link for link in page.links if "relay.example.com" not in link]


def test_mentions_and_links_are_detected():
    """The test above would detect mentions and links."""
    for name, text in {
        "SLACK": "<!here> <@U1>",
        "DISCORD": "@everyone <@1>",
        "FEISHU": '<at id="all"></at>',
        "DINGTALK": "@all",
        "WECOM": "<@zhang>",
    }.items():
        assert 'class="mention"' in markup.inline(text, DIALECTS[name]), name
    for name in ("TEAMS", "DISCORD", "FEISHU", "DINGTALK", "WECOM"):
        assert ParsedPage(markup.inline("[x](https://evil.example)", DIALECTS[name])).links
    assert ParsedPage(markup.inline("<https://evil.example|x>", markup.SLACK)).links


@pytest.mark.parametrize("dialect", DIALECTS)
@given(text=st.text(alphabet="<>&\"'*_~`[]()@#!|/:ahtpsfonclr= \n-x1", max_size=200))
def test_converted_text_contains_only_known_tags(dialect, text):
    for converted in (
        markup.inline(text, DIALECTS[dialect]),
        markup.blocks(text, DIALECTS[dialect]),
    ):
        page = ParsedPage(converted)
        assert set(page.tags) <= TAGS
        assert all(re.match("https?://", link) for link in page.links)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_long_text_is_converted_quickly(dialect):
    for text in ("`a`" * 2000, "**a** " * 1500, "<font color=red>" * 300, "[" * 2000, "*_" * 1000):
        assert "a" in markup.blocks(f"{text} a", DIALECTS[dialect])


def test_a_script_in_a_webhooks_body_is_text():
    body = {"data": {"key": "</pre><script>alert(1)</script>", "n": 1, "none": None}}
    page = render_page([("webhook", body)], "en")
    assert "<script>alert" not in page
    assert html.escape("</pre><script>alert(1)</script>", quote=False) in page
    assert '<span class="number">1</span>' in page


def test_unknown_elements_are_shown_as_json():
    for kind in NAMES:
        assert ParsedPage(render_page([(kind, {})], "en")).text
    body = {"blocks": [{"type": "image", "alt_text": "x"}]}
    assert "alt_text" in render_page([("slack", body)], "en")


def test_an_invalid_colour_is_ignored():
    converted = markup.inline(
        "<font color=url(x)>a</font> <font color=#ff0000>b</font>", markup.DINGTALK
    )
    assert "url(" not in str(converted).replace("&lt;font color=url(x)&gt;", "")
    assert "color: #ff0000" in converted
