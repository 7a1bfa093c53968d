"""The WeCom channel: cards within 4096 bytes, and errors of the group robot."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from relay.channels.card import build_card
from relay.channels.samples import OUTCOMES, digest, message, target_message
from relay.channels.wecom.card import LONGEST_TEXT, render
from relay.channels.wecom.channel import Channel, WeComSettings
from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import ChannelSuite
from relay.testing.fake_server import Reply

HOST = "qyapi.weixin.qq.com"
KEY = "693a91f6-7a0c-4bc4-97a0-0ec2f1fa5aaa"
URL = f"https://{HOST}/cgi-bin/webhook/send?key={KEY}"
MORE = "more info at https://open.work.weixin.qq.com/devtool/query?e="


class FakeRobot:
    """A group robot as WeCom documents it: always responds with 200."""

    def __init__(self, most=20):
        self.most = most
        self.messages = []

    def __call__(self, request):
        code, text = self.answer(request)
        body = {"errcode": code, "errmsg": text}
        return json.dumps(body).encode()

    def answer(self, request):
        url = urlsplit(request.path)
        hint = "hint: [1592021214_50_551fc8807c11f27ed0e6714d0c267ba4], from ip: 203.0.113.7, "
        if (url.path, parse_qs(url.query).get("key")) != ("/cgi-bin/webhook/send", [KEY]):
            return 93000, f"invalid webhook url, {hint}{MORE}93000"
        if b"\\u" in request.body:
            return 40033, f"invalid charset. {hint}{MORE}40033"
        body = json.loads(request.body)
        if body.get("msgtype") != "markdown":
            return 40008, f"invalid message type, {hint}{MORE}40008"
        if len(body["markdown"]["content"].encode()) > 4096:
            return 40058, f"markdown.content exceed max length 4096. {hint}{MORE}40058"
        if len(self.messages) >= self.most:
            return 45009, f"api freq out of limit, {hint}{MORE}45009"
        self.messages.append(body["markdown"]["content"])
        return 0, "ok"


def build_channel(url, outbound, language="en"):
    return Channel("ops", WeComSettings(kind="wecom", url=url, language=language), outbound)


@pytest.fixture
def post(internet):
    """post(robot, message, ...): post through a channel with WeCom's real address"""

    def post(robot, message, url=URL, language="en"):
        internet.serve(HOST, robot)
        channel = build_channel(url, HttpClientFactory(allow_private=internet.allowed), language)
        try:
            return channel.post(message)
        finally:
            channel.close()

    return post


@pytest.fixture
def channel(stand_in, outbound):
    channel = build_channel(stand_in.url, outbound)
    yield channel
    channel.close()


def content(sample, language="en"):
    card = build_card(sample.type, sample.body, language)
    return render(card, language)["markdown"]["content"]


def assert_no_foreign_markup(text):
    for line in text.splitlines():
        foreign = re.sub(r"\[[^][]*\]\(https://relay\.example\.com/[^()\s]*\)", "", line)
        foreign = re.sub(r'<font color="(?:info|warning|comment)">|</font>', "", foreign)
        foreign = re.sub(r"\*\*[^*]*\*\*", "", re.sub(r"^(?:### |> )", "", foreign))
        assert "<" not in foreign, line
        assert ">" not in foreign, line
        assert foreign.count("`") in (0, 2), line
        assert not set(foreign) & set("[]"), line
        foreign = re.sub(r"`[^`]*`", "", foreign)
        assert not set(foreign) & set("*~"), line
        assert not re.search(r"&\w|://|@\w", foreign), line
        assert not re.match(r"[#>+-]|\d+[.)]", foreign), line


class TestWeCom(ChannelSuite):
    accepts = Reply(200, '{"errcode":0,"errmsg":"ok"}')
    refuses = Reply(200, '{"errcode":93000,"errmsg":"invalid webhook url, hint: [1]"}')

    def make(self, url, language, outbound):
        return build_channel(url, outbound, language)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        assert set(received.json()) == {"msgtype", "markdown"}
        text = received.json()["markdown"]["content"]
        assert_no_foreign_markup(text)
        assert len(text.encode()) <= 4096


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_robot_accepts_every_message(post, language):
    robot = FakeRobot()
    for sample in [*map(message, OUTCOMES), digest(), target_message("down"), target_message("up")]:
        posted = post(robot, sample, language=language)
        assert posted.answer == '200 {"errcode": 0, "errmsg": "ok"}'
    colours = [re.search(r'^### \S+ <font color="(\w+)">', text)[1] for text in robot.messages]
    assert colours == ["info", "warning", "comment", "warning", "warning", "info"]


def test_a_wrong_key_is_a_permanent_failure_with_a_hint(post):
    robot = FakeRobot()
    with pytest.raises(PermanentFailure) as caught:
        post(robot, message("import.failed"), url=URL.replace("693a", "693b"))
    assert caught.value.code == "wecom.url"
    assert "重新触发" in caught.value.hint.zh
    assert "693b91f6" not in caught.value.answer


def test_the_rate_limit_holds_the_channel_for_a_minute(post):
    robot = FakeRobot(most=1)
    post(robot, message("import.failed"))
    with pytest.raises(Throttled) as caught:
        post(robot, message("import.failed"))
    assert caught.value.retry_after == timedelta(minutes=1)


@pytest.mark.parametrize(
    ("code", "text", "name"),
    [
        (40008, "invalid message type", "invalid"),
        (40033, "invalid charset", "invalid"),
        (40058, "markdown.content exceed max length 4096. invalid Request Parameter", "invalid"),
        (44004, "empty content", "invalid"),
        (93000, "Invalid input : content exceed max length. invalid Request Parameter", "invalid"),
        (93000, "invalid webhook url", "url"),
        (93004, "robot is stopped", "stopped"),
        (93008, "not in group", "url"),
    ],
)
def test_each_known_error_is_permanent(channel, stand_in, code, text, name):
    stand_in.replies.append(Reply(200, json.dumps({"errcode": code, "errmsg": text})))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"wecom.{name}"
    assert str(code) in caught.value.answer


@pytest.mark.parametrize(("code", "seconds"), [(-1, 30), (45009, 60), (45033, 10)])
def test_rate_limits_and_overload_hold_the_channel(channel, stand_in, code, seconds):
    stand_in.replies.append(Reply(200, json.dumps({"errcode": code, "errmsg": "x"})))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == timedelta(seconds=seconds)


def test_a_failure_card_has_code_problem_and_advice():
    rows = content(message("import.failed"), "zh").splitlines()
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert rows[0] == '### ❌ <font color="warning">导入失败</font>：orders'
    assert '> <font color="comment">对象：</font>exports/prod/orders.zip' in rows
    assert rows[-5:] == [
        "",
        "**出了什么问题**：压缩包的末尾缺失（archive.truncated）",
        "**下一步怎么做**：请重新上传。",
        f"[查看投递详情]({page})　[重新触发]({page}#retrigger)",
        '<font color="comment">投递 01kq3v0m5n6p7q8r9s0t1v2w3x</font>',
    ]


def test_a_name_with_markup_characters_is_a_code_span():
    rows = content(message("import.succeeded", key="my_new_func.zip"), "zh").splitlines()
    urn = "urn:fss:cn-north-4:0123456789abcdef:function:default:orders:latest"
    assert '> <font color="comment">对象：</font>`exports/my_new_func.zip`' in rows
    assert f'> <font color="comment">URN：</font>{urn}' in rows


def test_a_change_is_not_a_code_span():
    rows = content(message("import.succeeded"), "zh").splitlines()
    assert '> <font color="comment">变更：</font>新建函数' in rows


def test_without_a_public_url_there_are_no_links_but_the_delivery_id():
    sample = message("import.failed")
    sample.body["links"] = {"delivery": None, "retrigger": None}
    assert "](" not in content(sample, "zh")
    assert "01kq3v0m5n6p7q8r9s0t1v2w3x" in content(sample, "zh")


def test_a_digest_lists_deliveries_with_links():
    rows = content(digest(), "zh").splitlines()
    links = [row for row in rows if "[查看](" in row]
    assert len(links) == 12
    assert links[0] == (
        "❌ **orders** 导入失败：压缩包的末尾缺失 "
        "[查看](https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x)"
    )
    assert "另有 18 个" in rows


def test_long_values_are_shortened_before_facts_are_dropped():
    long = "很长的名字" * 2_000
    failed = Failed(Problem(f"x.{long}", Localized(long, long), Localized(long, long)))
    sample = message("import.failed", outcome=failed, key=f"{long}/{long}.zip", func_name=long)
    text = content(sample, "zh")
    assert LONGEST_TEXT // 2 < len(text.encode()) <= LONGEST_TEXT
    for label in ("函数", "应用", "对象", "版本", "尝试次数", "出了什么问题", "下一步怎么做"):
        assert label in text
    assert ".zip\n" in text
    assert "#retrigger)" in text


def test_a_digest_of_long_names_keeps_the_failures():
    text = content(digest(key=f"{'很长的名字' * 100}.zip"), "zh")
    links = [row for row in text.splitlines() if "[查看](" in row]
    assert len(text.encode()) <= LONGEST_TEXT
    assert [row[0] for row in links[:3]] == ["❌"] * 3


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<@all> @all", "‹@\u2060all› @\u2060all"),
        ("<@zhangsan>", "‹@\u2060zhangsan›"),
        ("[click](https://evil.example)", "［click］(https:\u2060//evil.example)"),
        ('<font color="info">ok</font>', '‹font color="info"›ok‹/font›'),
        ("**b** `c`\n> q", "∗∗b∗∗ ˋcˋ › q"),
    ],
)
def test_hostile_text_is_shown_as_text(hostile, shown):
    failed = Failed(Problem("x.y", Localized(hostile, hostile), Localized(hostile, hostile)))
    text = content(message("import.failed", outcome=failed))
    assert f"**What happened**: {shown} (x.y)" in text.splitlines()
    assert_no_foreign_markup(text)


def test_a_hostile_name_cannot_end_the_code_span():
    text = content(message("import.failed", key="`<@all>` [x](https://evil.example).zip"))
    assert "`exports/ˋ‹@all›ˋ ［x］(https://evil.example).zip`" in text
    assert_no_foreign_markup(text)


def test_a_response_of_another_server_is_not_a_success(post):
    with pytest.raises(TemporaryFailure) as caught:
        post(lambda request: b"<html>ok</html>", message("import.failed"))
    assert caught.value.code == "wecom.not_ok"


def test_a_url_of_another_host_causes_a_warning():
    def advice(url):
        return list(WeComSettings(kind="wecom", url=url).advise())

    assert not advice(URL)
    [(warning, hint)] = advice("https://qyapi.example.com/send?key=s3cret")
    assert "qyapi.example.com" in warning
    assert "s3cret" not in warning + hint
