"""DingTalk: what a card says, the signature, and what the answers of a custom robot mean."""

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
from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import OUTCOMES, ChannelSuite, digest, message, turned
from relay.testing.fake_server import Reply

HOST = "oapi.dingtalk.com"
TOKEN = "566cc69da782ec33e42541b09b08551f09fbe864eb8008112e994b43887"
URL = f"https://{HOST}/robot/send?access_token={TOKEN}"
SECRET = "SECb26a8c2f8fbb8c22f4ff3b0e5ed2d4e4e3b1a0e2d5c6f7a8"
NOW = datetime(2026, 3, 4, 5, 6, 7, 890000, UTC)


def hmac_of(key, signed):
    """Computed by another library than the one under test."""
    mac = HMAC(key, hashes.SHA256())
    mac.update(signed)
    return base64.b64encode(mac.finalize()).decode()


class Group:
    """A robot as DingTalk documents it: checks everything itself, answers 200 to all of it."""

    def __init__(self, *, secret="", keyword="", most=20):
        self.secret, self.keyword, self.most = secret, keyword, most
        self.messages = []

    def __call__(self, request):
        code, words = self.answer(request)
        return json.dumps({"errcode": code, "errmsg": words}, ensure_ascii=False).encode()

    def answer(self, request):
        query = {name: one[0] for name, one in parse_qs(urlsplit(request.path).query).items()}
        told = json.loads(request.body)
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
        shown = told[told["msgtype"]]
        if self.keyword not in f"{shown['title']}{shown['text']}":
            return 310000, "keywords not in content"
        if len(self.messages) >= self.most:
            return 130101, "send too fast, exceed 20 times per minute"
        self.messages.append(told)
        return 0, "ok"

    def verified(self, query):
        timestamp = query.get("timestamp", "")
        signed = f"{timestamp}\n{self.secret}".encode()
        near = timestamp.isdigit() and abs(int(timestamp) / 1000 - NOW.timestamp()) < 3600
        return near and query.get("sign") == hmac_of(self.secret.encode(), signed)


def made(url, outbound, clock=lambda: NOW, **told):
    settings = DingTalkSettings(kind="dingtalk", url=url, **told)
    return Channel("ops", settings, outbound, clock=clock)


@pytest.fixture
def post(internet):
    """post(group, message, **settings): what the channel says, with the real address."""

    def post(group, told, url=URL, **settings):
        internet.serve(HOST, group)
        channel = made(url, HttpClientFactory(allow_private=internet.allowed), **settings)
        try:
            return channel.post(told)
        finally:
            channel.close()

    return post


@pytest.fixture
def channel(stand_in, outbound):
    channel = made(stand_in.url, outbound)
    yield channel
    channel.close()


def rendered(type_, language="en", keyword="", **told):
    posted = message(type_, **told)
    return render(build_card(posted.type, posted.body, language), language, keyword)


def text_of(told):
    return told[told["msgtype"]]["text"]


def assert_no_foreign_markup(told):
    assert told["at"] == {}
    for line in text_of(told).splitlines():
        ours = re.sub(r"\[(?:open|查看)\]\(https://relay\.example\.com/[^()\s]*\)", "", line)
        ours = re.sub(r"<font color=#[0-9A-F]{6}>|</font>", "", ours)
        ours = re.sub(r"\*\*[^*]*\*\*", "", re.sub(r"^(?:### |- |> )", "", ours))
        assert not set(ours) & set("<>*~`[]"), line
        assert not re.search(r"&\w|://|@\w", ours), line
        assert not re.match(r"[#>+-]|\d+[.)]", ours), line


class TestDingTalk(ChannelSuite):
    accepts = Reply(200, '{"errcode":0,"errmsg":"ok"}')
    refuses = Reply(200, '{"errcode":300005,"errmsg":"token is not exist"}')
    secrets = (SECRET,)

    def make(self, url, language, outbound):
        return made(url, outbound, language=language, secret=SECRET)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        assert_no_foreign_markup(received.json())
        assert len(received.body) <= 20_000


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_robot_takes_every_message_signed(post, internet, language):
    group = Group(secret=SECRET)
    for one in [*map(message, OUTCOMES), digest(), turned("down"), turned("up")]:
        told = post(group, one, secret=SECRET, language=language)
        assert told.answer == '200 {"errcode": 0, "errmsg": "ok"}'
    assert len(group.messages) == 6
    sent = internet.to(HOST)[0]
    assert sent.headers["content-type"] == "application/json; charset=utf-8"
    assert f"access_token={TOKEN}&timestamp=1772600767890&sign=" in sent.path


def test_the_signature_is_openssls():
    timestamp = "1772600767890"
    key = f"hexkey:{SECRET.encode().hex()}"
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", key, "-binary"]
    signed = f"{timestamp}\n{SECRET}".encode()
    expected = subprocess.run(command, input=signed, capture_output=True, check=True).stdout
    assert signature(timestamp, SECRET) == base64.b64encode(expected).decode()


def test_every_character_of_base64_survives_the_url(internet):
    """Signatures with + / and = arrive as they were: what is not quoted would be read otherwise."""
    group = Group(secret=SECRET)
    internet.serve(HOST, group)
    moments = [NOW + timedelta(milliseconds=n) for n in range(12)]
    signs = [signature(str(int(one.timestamp() * 1000)), SECRET) for one in moments]
    assert set("+/=") <= set("".join(signs))
    times = iter(moments)
    channel = made(
        URL,
        HttpClientFactory(allow_private=internet.allowed),
        clock=lambda: next(times),
        secret=SECRET,
    )
    for _ in moments:
        channel.post(message("import.succeeded"))
    channel.close()
    assert len(group.messages) == len(moments)


def test_without_a_secret_it_is_not_signed(post, internet):
    post(Group(), message("import.failed"))
    assert internet.to(HOST)[0].path == f"/robot/send?access_token={TOKEN}"


def test_neither_signature_nor_token_is_kept_where_an_answer_echoes_them(post, internet):
    def echo(request):
        return f"<html>{request.path}</html>".encode()

    with pytest.raises(TemporaryFailure) as caught:
        post(echo, message("import.failed"), secret=SECRET)
    [sent] = internet.to(HOST)
    sign = parse_qs(urlsplit(sent.path).query)["sign"][0]
    assert caught.value.code == "dingtalk.not_ok"
    assert TOKEN not in caught.value.answer
    assert sign not in caught.value.answer
    assert sent.path.rpartition("sign=")[2] not in caught.value.answer


@pytest.mark.parametrize(
    ("group", "settings", "name"),
    [
        (Group(secret=SECRET), {}, "sign"),
        (Group(secret=SECRET), {"secret": "SECanother"}, "sign"),
        (
            Group(secret=SECRET),
            {"secret": SECRET, "clock": lambda: NOW + timedelta(hours=2)},
            "sign",
        ),
        (Group(keyword="部署"), {}, "keyword"),
        (Group(), {"url": URL.replace("566", "567")}, "url"),
    ],
    ids=["unsigned", "wrong key", "clock off", "keyword", "wrong token"],
)
def test_what_the_robot_refuses_is_final_and_says_what_to_do(post, group, settings, name):
    with pytest.raises(PermanentFailure) as caught:
        post(group, message("import.failed"), **settings)
    assert caught.value.code == f"dingtalk.{name}"
    assert "retrigger" in caught.value.hint.en
    assert "重新触发" in caught.value.hint.zh
    assert group.messages == []


def test_more_than_twenty_in_a_minute_hold_the_channel_for_the_ten_that_dingtalk_does(post):
    group = Group(most=2)
    post(group, message("import.succeeded"))
    post(group, message("import.succeeded"))
    with pytest.raises(Throttled) as caught:
        post(group, message("import.succeeded"))
    assert caught.value.retry_after == timedelta(minutes=10)
    assert "频率限制" in caught.value.message.zh


@pytest.mark.parametrize("type_", ["import.failed", "digest"])
def test_a_keyword_that_the_robot_demands_is_in_every_card(post, type_):
    group = Group(keyword="部署通知")
    told = digest() if type_ == "digest" else message(type_)
    post(group, told, keyword="部署通知", language="zh")
    assert text_of(group.messages[0]).endswith(" · 部署通知")


def test_a_keyword_with_markup_in_it_stands_as_it_is(post):
    group = Group(keyword="[监控]")
    post(group, message("import.failed"), keyword="[监控]")
    assert text_of(group.messages[0]).endswith(" · [监控]")


def test_a_keyword_that_the_card_holds_is_not_said_twice():
    assert "·" not in text_of(rendered("import.failed", "zh", keyword="导入失败"))


@pytest.mark.parametrize(
    ("words", "name"),
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
def test_310000_is_told_apart_by_its_words(channel, stand_in, words, name):
    told = {"errcode": 310000, "errmsg": words}
    stand_in.replies.append(Reply(200, json.dumps(told)))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"dingtalk.{name}"


@pytest.mark.parametrize(
    ("code", "words", "name"),
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
def test_each_known_refusal_is_final(channel, stand_in, code, words, name):
    stand_in.replies.append(Reply(200, json.dumps({"errcode": code, "errmsg": words})))
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
def test_limits_and_troubles_hold_the_channel_for_a_while(channel, stand_in, code, wait):
    stand_in.replies.append(Reply(200, json.dumps({"errcode": code, "errmsg": "x"})))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == wait


def test_a_failure_is_told_with_its_code_its_meaning_and_the_next_step():
    told = rendered("import.failed", "zh")
    assert told["msgtype"] == "actionCard"
    assert told["actionCard"]["title"] == "❌ 导入失败：orders"
    blocks = text_of(told).split("\n\n")
    assert blocks[0] == "### ❌ <font color=#D93026>导入失败</font>：orders"
    assert "- **对象**：exports/prod/orders.zip" in blocks[1].splitlines()
    assert blocks[2:] == [
        "**出了什么问题**：压缩包的末尾缺失（archive.truncated）",
        "**下一步怎么做**：请重新上传。",
        "> 投递 01kq3v0m5n6p7q8r9s0t1v2w3x",
    ]


def test_names_can_be_copied_as_they_are():
    told = json.dumps(rendered("import.succeeded", key="a_b-1.4/my_func.zip"), ensure_ascii=False)
    assert "urn:fss:cn-north-4:0123456789abcdef:function:default:orders:latest" in told
    assert "exports/a_b-1.4/my_func.zip" in told
    assert "\u2060" not in told


def test_the_links_are_buttons():
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert rendered("import.failed", "zh")["actionCard"]["btns"] == [
        {"title": "查看投递详情", "actionURL": page},
        {"title": "重新触发", "actionURL": f"{page}#retrigger"},
    ]


def test_one_link_is_one_button():
    posted = digest()
    told = render(build_card(posted.type, posted.body, "zh"), "zh")["actionCard"]
    assert told["singleTitle"] == "查看全部投递"
    assert told["singleURL"] == "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2wdg"
    assert "btns" not in told


def test_without_links_it_is_a_markdown_message():
    posted = message("import.failed")
    posted.body["links"] = {"delivery": None, "retrigger": None}
    told = render(build_card(posted.type, posted.body, "zh"), "zh")
    assert told["msgtype"] == "markdown"
    assert set(told["markdown"]) == {"title", "text"}
    assert text_of(told).endswith("> 投递 01kq3v0m5n6p7q8r9s0t1v2w3x")


def test_a_digest_lists_its_deliveries_with_their_links():
    posted = digest()
    rows = text_of(render(build_card(posted.type, posted.body, "zh"), "zh")).splitlines()
    listed = [row for row in rows if "查看](" in row]
    assert len(listed) == 12
    assert listed[0] == (
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
def test_hostile_words_only_stand_there(hostile, shown):
    failed = Failed(Problem("x.y", Localized(hostile, hostile), Localized(hostile, hostile)))
    told = rendered("import.failed", outcome=failed)
    assert f"**What happened**: {shown} (x.y)" in text_of(told).split("\n\n")
    assert_no_foreign_markup(told)


def test_the_title_in_the_list_of_chats_is_short():
    told = rendered("import.failed", key=f"{'名' * 10_000}.zip", func_name="{function}")
    assert len(told["actionCard"]["title"]) == LONGEST_TITLE


def test_a_url_of_another_host_is_advised_of():
    def advised(url):
        return list(DingTalkSettings(kind="dingtalk", url=url).advise())

    assert not advised(URL)
    [(words, hint)] = advised("https://oapi.example.com/robot/send?access_token=s3cret")
    assert "oapi.example.com" in words
    assert "s3cret" not in words + hint
