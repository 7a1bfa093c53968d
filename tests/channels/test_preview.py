"""What a channel posts is shown as its service would: its own markup and nothing else."""

import html
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.plugins import find
from relay.testing.messages import HOSTILE, OUTCOMES, PROBLEM, digest, message, target_message
from tests.channels import card_preview_markup as markup
from tests.channels.card_preview import NAMES, render_page

KINDS = [*NAMES, "webhook"]
ONE_OF_EACH = [*map(message, OUTCOMES), digest(), target_message("down"), target_message("up")]
DIALECTS = {name: getattr(markup, name) for name in ("SLACK", "TEAMS", "DISCORD", "FEISHU")}
TAGS = {"br", "a", "code", "em", "h3", "li", "p", "s", "span", "strong", "u", "ul", "blockquote"}
DIALECTS |= {"DINGTALK": markup.DINGTALK, "WECOM": markup.WECOM}


class Seen(HTMLParser):
    """The tags, links and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.mentions, self.text = [], [], 0, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given_ = dict(attrs)
        self.tags.append(tag)
        self.mentions += given_.get("class") == "mention"
        if tag == "a":
            self.links.append(given_.get("href", ""))

    def handle_data(self, data):
        if not self.tags or self.tags[-1] not in ("style", "script"):
            self.text += data


def posted(kind, told, language="en"):
    channel_class = find("channels", kind)
    chosen = {"kind": kind, "url": "https://example.com/a/secret-path", "language": language}
    channel = channel_class("ops", channel_class.Settings(**chosen), HttpClientFactory())
    try:
        return channel.preview(told)
    finally:
        channel.close()


def shown(kind, told, language="en"):
    return render_page([(kind, posted(kind, told, language))], language)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_shows_every_message(kind, language):
    for told in ONE_OF_EACH:
        seen = Seen(shown(kind, told, language))
        assert "orders" in seen.text or "prod" in seen.text
        assert ("<pre>" in shown(kind, told, language)) == (kind == "webhook")


@pytest.mark.parametrize("kind", NAMES)
def test_a_failure_shows_code_problem_advice_and_its_links(kind):
    seen = Seen(shown(kind, message("import.failed")))
    for words in (PROBLEM.code, PROBLEM.message.en, PROBLEM.hint.en):
        assert words in " ".join(seen.text.split())
    page_, again = seen.links[-2:]
    assert page_.startswith("https://relay.example.com/deliveries/")
    assert again.endswith("#retrigger")


@pytest.mark.parametrize("kind", NAMES)
def test_no_markup_of_the_services_is_left_over(kind):
    """An escape or a mark that a reader would see is a mistake in the card."""
    for told in ONE_OF_EACH:
        text = Seen(shown(kind, told)).text
        assert not re.search(r"\*\*|&amp;|&lt;|<font|\]\(|^#|^>", text, re.MULTILINE)


@pytest.mark.parametrize("longer", [1, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_mentions_nobody_and_leads_nowhere(kind, longer):
    text = HOSTILE * longer
    failed = Failed(Problem("x.y", Localized(text, text), Localized(text, text)))
    told = message("import.failed", outcome=failed, key=f"{text}/{text}.zip", func_name=text)
    for one in (told, digest(key=f"{text}.zip")):
        seen = Seen(shown(kind, one))
        assert seen.mentions == 0
        assert not [link for link in seen.links if "relay.example.com" not in link]


def test_what_would_mention_somebody_is_seen():
    """The test above sees what it looks for."""
    for name, text in {
        "SLACK": "<!here> <@U1>",
        "DISCORD": "@everyone <@1>",
        "FEISHU": '<at id="all"></at>',
        "DINGTALK": "@all",
        "WECOM": "<@zhang>",
    }.items():
        assert 'class="mention"' in markup.inline(text, DIALECTS[name]), name
    for name in ("TEAMS", "DISCORD", "FEISHU", "DINGTALK", "WECOM"):
        assert Seen(markup.inline("[x](https://evil.example)", DIALECTS[name])).links
    assert Seen(markup.inline("<https://evil.example|x>", markup.SLACK)).links


@pytest.mark.parametrize("dialect", DIALECTS)
@given(text=st.text(alphabet="<>&\"'*_~`[]()@#!|/:ahtpsfonclr= \n-x1", max_size=200))
def test_no_text_makes_markup_of_its_own(dialect, text):
    for made in (
        markup.inline(text, DIALECTS[dialect]),
        markup.blocks(text, DIALECTS[dialect]),
    ):
        seen = Seen(made)
        assert set(seen.tags) <= TAGS
        assert all(re.match("https?://", link) for link in seen.links)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_much_of_it_takes_no_long(dialect):
    for text in ("`a`" * 2000, "**a** " * 1500, "<font color=red>" * 300, "[" * 2000, "*_" * 1000):
        assert "a" in markup.blocks(f"{text} a", DIALECTS[dialect])


def test_a_script_in_a_webhooks_body_is_text():
    told = {"data": {"key": "</pre><script>alert(1)</script>", "n": 1, "none": None}}
    made = render_page([("webhook", told)], "en")
    assert "<script>alert" not in made
    assert html.escape("</pre><script>alert(1)</script>", quote=False) in made
    assert '<span class="number">1</span>' in made


def test_a_body_of_another_shape_is_shown_as_far_as_it_goes():
    for kind in NAMES:
        assert Seen(render_page([(kind, {})], "en")).text
    strange = {"blocks": [{"type": "image", "alt_text": "x"}]}
    assert "alt_text" in render_page([("slack", strange)], "en")


def test_a_colour_is_a_colour():
    made = markup.inline(
        "<font color=url(x)>a</font> <font color=#ff0000>b</font>", markup.DINGTALK
    )
    assert "url(" not in str(made).replace("&lt;font color=url(x)&gt;", "")
    assert "color: #ff0000" in made
