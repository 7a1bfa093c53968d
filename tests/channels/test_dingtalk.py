"""The DingTalk channel: cards, signature, and errors of the robot."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from relay.channels.card import build_card
from relay.channels.dingtalk.card import LONGEST_TITLE, render
from relay.channels.dingtalk.channel import Channel, DingTalkSettings, signature
from relay.channels.samples import OUTCOMES, digest, message, target_message
from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import ChannelSuite
from relay.testing.fake_server import Reply

HOST = "oapi.dingtalk.com"
TOKEN = "566cc69da782ec33e42541b09b08551f09fbe864eb8008112e994b43887"
URL = f"https://{HOST}/robot/send?access_token={TOKEN}"
SECRET = "SECb26a8c2f8fbb8c22f4ff3b0e5ed2d4e4e3b1a0e2d5c6f7a8"
NOW = datetime(2026, 3, 4, 5, 6, 7, 890000, UTC)


def hmac_of(key, data):
    """Compute the HMAC with a different library than the code under test."""
    mac = HMAC(key, hashes.SHA256())
    mac.update(data)
    return base64.b64encode(mac.finalize()).decode()


class FakeRobot:
    """A robot as DingTalk documents it: checks every request and always responds with 200."""

    def __init__(self, *, secret="", keyword="", most=20):
        self.secret, self.keyword, self.most = secret, keyword, most
        self.messages = []

    def __call__(self, request):
        code, text = self.answer(request)
        return json.dumps({"errcode": code, "errmsg": text}, ensure_ascii=False).encode()

    def answer(self, request):
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        body = json.loads(request.body)
        if query.get("access_token") != TOKEN:
            return 300005, "token is not exist"
        if len(request.body) > 20_000:
            return 460101, "message too long, exceed 20000 bytes"
        if self.secret and not self.verified(query):
            return 310000, (
                "description:机器人发送签名不匹配;solution:请确认签名和生成签名的时间戳必须都放在"
                "调用的网址中，请确认机器人的密钥加密和填写正确;link:请参考本接口对应文档获得具体要求，"
                "或者在https://open.dingtalk.com/document/  搜索相关文档;"
            )
        content = body[body["msgtype"]]
        if self.keyword not in f"{content['title']}{content['text']}":
            return 310000, "keywords not in content"
        if len(self.messages) >= self.most:
            return 130101, "send too fast, exceed 20 times per minute"
        self.messages.append(body)
        return 0, "ok"

    def verified(self, query):
        timestamp = query.get("timestamp", "")
        data = f"{timestamp}\n{self.secret}".encode()
        recent = timestamp.isdigit() and abs(int(timestamp) / 1000 - NOW.timestamp()) < 3600
        return recent and query.get("sign") == hmac_of(self.secret.encode(), data)


def build_channel(url, outbound, clock=lambda: NOW, **fields):
    settings = DingTalkSettings(kind="dingtalk", url=url, **fields)
    return Channel("ops", settings, outbound, clock=clock)


@pytest.fixture
def post(internet):
    """post(robot, message, **settings): post through a channel with DingTalk's real address"""

    def post(robot, message, url=URL, **settings):
        internet.serve(HOST, robot)
        channel = build_channel(url, HttpClientFactory(allow_private=internet.allowed), **settings)
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


def render_message(type_, language="en", keyword="", **fields):
    sample = message(type_, **fields)
    return render(build_card(sample.type, sample.body, language), language, keyword)


def text_of(body):
    return body[body["msgtype"]]["text"]


def assert_no_foreign_markup(body):
    assert body["at"] == {}
    for line in text_of(body).splitlines():
        foreign = re.sub(r"\[(?:open|查看)\]\(https://relay\.example\.com/[^()\s]*\)", "", line)
        foreign = re.sub(r"<font color=#[0-9A-F]{6}>|</font>", "", foreign)
        foreign = re.sub(r"\*\*[^*]*\*\*", "", re.sub(r"^(?:### |- |> )", "", foreign))
        assert not set(foreign) & set("<>*~`[]"), line
        assert not re.search(r"&\w|://|@\w", foreign), line
        assert not re.match(r"[#>+-]|\d+[.)]", foreign), line


class TestDingTalk(ChannelSuite):
    accepts = Reply(200, '{"errcode":0,"errmsg":"ok"}')
    refuses = Reply(200, '{"errcode":300005,"errmsg":"token is not exist"}')
    secrets = (SECRET,)

    def make(self, url, language, outbound):
        return build_channel(url, outbound, language=language, secret=SECRET)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        assert_no_foreign_markup(received.json())
        assert len(received.body) <= 20_000


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_robot_accepts_every_message_with_a_signature(post, internet, language):
    robot = FakeRobot(secret=SECRET)
    for sample in [*map(message, OUTCOMES), digest(), target_message("down"), target_message("up")]:
        posted = post(robot, sample, secret=SECRET, language=language)
        assert posted.answer == '200 {"errcode": 0, "errmsg": "ok"}'
    assert len(robot.messages) == 6
    request = internet.to(HOST)[0]
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert f"access_token={TOKEN}&timestamp=1772600767890&sign=" in request.path


def test_the_signature_equals_that_of_openssl():
    timestamp = "1772600767890"
    key = f"hexkey:{SECRET.encode().hex()}"
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", key, "-binary"]
    signed = f"{timestamp}\n{SECRET}".encode()
    expected = subprocess.run(command, input=signed, capture_output=True, check=True).stdout
    assert signature(timestamp, SECRET) == base64.b64encode(expected).decode()


def test_signatures_are_quoted_in_the_url(internet):
    """The signatures contain + / and =, which have to be quoted in the URL."""
    robot = FakeRobot(secret=SECRET)
    internet.serve(HOST, robot)
    moments = [NOW + timedelta(milliseconds=n) for n in range(12)]
    signs = [signature(str(int(moment.timestamp() * 1000)), SECRET) for moment in moments]
    assert set("+/=") <= set("".join(signs))
    times = iter(moments)
    channel = build_channel(
        URL,
        HttpClientFactory(allow_private=internet.allowed),
        clock=lambda: next(times),
        secret=SECRET,
    )
    for _ in moments:
        channel.post(message("import.succeeded"))
    channel.close()
    assert len(robot.messages) == len(moments)


def test_without_a_secret_the_request_is_not_signed(post, internet):
    post(FakeRobot(), message("import.failed"))
    assert internet.to(HOST)[0].path == f"/robot/send?access_token={TOKEN}"


def test_an_echoed_signature_or_token_is_redacted(post, internet):
    def echo(request):
        return f"<html>{request.path}</html>".encode()

    with pytest.raises(TemporaryFailure) as caught:
        post(echo, message("import.failed"), secret=SECRET)
    [request] = internet.to(HOST)
    sign = parse_qs(urlsplit(request.path).query)["sign"][0]
    assert caught.value.code == "dingtalk.not_ok"
    assert TOKEN not in caught.value.answer
    assert sign not in caught.value.answer
    assert request.path.rpartition("sign=")[2] not in caught.value.answer


@pytest.mark.parametrize(
    ("robot", "settings", "name"),
    [
        (FakeRobot(secret=SECRET), {}, "sign"),
        (FakeRobot(secret=SECRET), {"secret": "SECanother"}, "sign"),
        (
            FakeRobot(secret=SECRET),
            {"secret": SECRET, "clock": lambda: NOW + timedelta(hours=2)},
            "sign",
        ),
        (FakeRobot(keyword="部署"), {}, "keyword"),
        (FakeRobot(), {"url": URL.replace("566", "567")}, "url"),
    ],
    ids=["unsigned", "wrong key", "clock off", "keyword", "wrong token"],
)
def test_refusals_of_the_robot_are_permanent_and_have_a_hint(post, robot, settings, name):
    with pytest.raises(PermanentFailure) as caught:
        post(robot, message("import.failed"), **settings)
    assert caught.value.code == f"dingtalk.{name}"
    assert "retrigger" in caught.value.hint.en
    assert "重新触发" in caught.value.hint.zh
    assert robot.messages == []


def test_the_rate_limit_holds_the_channel_for_ten_minutes(post):
    robot = FakeRobot(most=2)
    post(robot, message("import.succeeded"))
    post(robot, message("import.succeeded"))
    with pytest.raises(Throttled) as caught:
        post(robot, message("import.succeeded"))
    assert caught.value.retry_after == timedelta(minutes=10)
    assert "频率限制" in caught.value.message.zh


@pytest.mark.parametrize("type_", ["import.failed", "digest"])
def test_the_keyword_is_in_every_card(post, type_):
    robot = FakeRobot(keyword="部署通知")
    sample = digest() if type_ == "digest" else message(type_)
    post(robot, sample, keyword="部署通知", language="zh")
    assert text_of(robot.messages[0]).endswith(" · 部署通知")


def test_a_keyword_with_markup_characters_is_not_escaped(post):
    robot = FakeRobot(keyword="[监控]")
    post(robot, message("import.failed"), keyword="[监控]")
    assert text_of(robot.messages[0]).endswith(" · [监控]")


def test_a_keyword_that_the_card_contains_is_not_repeated():
    assert "·" not in text_of(render_message("import.failed", "zh", keyword="导入失败"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("keywords not in content", "keyword"),
        ("keywords not in content, more: [https://ding-doc.dingtalk.com/doc#/x]", "keyword"),
        ("description:关键词不匹配;solution:请联系群管理员查看此机器人的关键词", "keyword"),
        ("sign not match", "sign"),
        ("invalid timestamp", "sign"),
        ("description:机器人发送签名不匹配;solution:请确认机器人的密钥加密和填写正确", "sign"),
        ("ip 203.0.113.7 not in whitelist", "ip"),
        ("description:机器人发送IP不在白名单;solution:请检查", "ip"),
        ("something new", "security"),
    ],
)
def test_error_310000_is_classified_by_the_text(channel, stand_in, text, name):
    body = {"errcode": 310000, "errmsg": text}
    stand_in.replies.append(Reply(200, json.dumps(body)))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"dingtalk.{name}"


@pytest.mark.parametrize(
    ("code", "text", "name"),
    [
        (40035, "缺少参数 json", "invalid"),
        (43004, "无效的HTTP HEADER Content-Type", "invalid"),
        (300001, "token is not exist", "url"),
        (300005, "token is not exist", "url"),
        (400013, "群已被解散", "url"),
        (400101, "access_token不存在", "url"),
        (400102, "机器人已停用", "stopped"),
        (400105, "不支持的消息类型", "invalid"),
        (400106, "机器人不存在", "url"),
        (430101, "含有不安全的外链", "content"),
        (430102, "含有不合适的文本", "content"),
        (460101, "message too long, exceed 20000 bytes", "invalid"),
    ],
)
def test_each_known_error_is_permanent(channel, stand_in, code, text, name):
    stand_in.replies.append(Reply(200, json.dumps({"errcode": code, "errmsg": text})))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"dingtalk.{name}"
    assert str(code) in caught.value.answer


@pytest.mark.parametrize(
    ("code", "wait"),
    [
        (-1, timedelta(seconds=30)),
        (130101, timedelta(minutes=10)),
        (410100, timedelta(minutes=10)),
        (660026, timedelta(minutes=10)),
    ],
)
def test_rate_limits_and_overload_hold_the_channel(channel, stand_in, code, wait):
    stand_in.replies.append(Reply(200, json.dumps({"errcode": code, "errmsg": "x"})))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == wait


def test_a_failure_card_has_code_problem_and_advice():
    body = render_message("import.failed", "zh")
    assert body["msgtype"] == "actionCard"
    assert body["actionCard"]["title"] == "❌ 导入失败：orders"
    blocks = text_of(body).split("\n\n")
    assert blocks[0] == "### ❌ <font color=#D93026>导入失败</font>：orders"
    assert "- **对象**：exports/prod/orders.zip" in blocks[1].splitlines()
    assert blocks[2:] == [
        "**出了什么问题**：压缩包的末尾缺失（archive.truncated）",
        "**下一步怎么做**：请重新上传。",
        "> 投递 01kq3v0m5n6p7q8r9s0t1v2w3x",
    ]


def test_names_are_not_altered():
    body = render_message("import.succeeded", key="a_b-1.4/my_func.zip")
    text = json.dumps(body, ensure_ascii=False)
    assert "urn:fss:cn-north-4:0123456789abcdef:function:default:orders:latest" in text
    assert "exports/a_b-1.4/my_func.zip" in text
    assert "\u2060" not in text


def test_the_links_are_buttons():
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert render_message("import.failed", "zh")["actionCard"]["btns"] == [
        {"title": "查看投递详情", "actionURL": page},
        {"title": "重新触发", "actionURL": f"{page}#retrigger"},
    ]


def test_a_single_link_is_a_single_button():
    sample = digest()
    card = render(build_card(sample.type, sample.body, "zh"), "zh")["actionCard"]
    assert card["singleTitle"] == "查看全部投递"
    assert card["singleURL"] == "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2wdg"
    assert "btns" not in card


def test_a_card_without_links_is_a_markdown_message():
    sample = message("import.failed")
    sample.body["links"] = {"delivery": None, "retrigger": None}
    body = render(build_card(sample.type, sample.body, "zh"), "zh")
    assert body["msgtype"] == "markdown"
    assert set(body["markdown"]) == {"title", "text"}
    assert text_of(body).endswith("> 投递 01kq3v0m5n6p7q8r9s0t1v2w3x")


def test_a_digest_lists_deliveries_with_links():
    sample = digest()
    rows = text_of(render(build_card(sample.type, sample.body, "zh"), "zh")).splitlines()
    links = [row for row in rows if "查看](" in row]
    assert len(links) == 12
    assert links[0] == (
        "- ❌ **orders** 导入失败：压缩包的末尾缺失 "
        "[查看](https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x)"
    )
    assert "另有 18 个" in rows


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("@13800001111 @所有人", "@\u206013800001111 @\u2060所有人"),
        ("![x](https://evil.example/p.png)", "!［x］(https:\u2060//evil.example/p.png)"),
        ("[click](dingtalk://dingtalkclient)", "［click］(dingtalk:\u2060//dingtalkclient)"),
        ("<font color=#fff>x</font>", "‹font color=#fff›x‹/font›"),
        ("# h\r\n> q\n- l **b**", "\u2060# h › q - l ∗∗b∗∗"),
        ("my_func_name www.evil.example", "my_func_name www\u2060.evil.example"),
    ],
)
def test_hostile_text_is_shown_as_text(hostile, shown):
    failed = Failed(Problem("x.y", Localized(hostile, hostile), Localized(hostile, hostile)))
    body = render_message("import.failed", outcome=failed)
    assert f"**What happened**: {shown} (x.y)" in text_of(body).split("\n\n")
    assert_no_foreign_markup(body)


def test_the_title_is_shortened():
    body = render_message("import.failed", key=f"{'名' * 10_000}.zip", func_name="{function}")
    assert len(body["actionCard"]["title"]) == LONGEST_TITLE


def test_a_url_of_another_host_causes_a_warning():
    def advice(url):
        return list(DingTalkSettings(kind="dingtalk", url=url).advise())

    assert not advice(URL)
    [(warning, hint)] = advice("https://oapi.example.com/robot/send?access_token=s3cret")
    assert "oapi.example.com" in warning
    assert "s3cret" not in warning + hint
