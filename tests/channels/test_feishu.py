"""The Feishu and Lark channels: cards, signature, and errors of the bot."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from pydantic import ValidationError

from relay.channels import feishu
from relay.channels.card import build_card
from relay.channels.feishu.card import render
from relay.channels.feishu.channel import FeishuSettings, signature
from relay.channels.lark import channel as lark
from relay.channels.lark.channel import LarkSettings
from relay.channels.samples import OUTCOMES, digest, message, target_message
from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import ChannelSuite
from relay.testing.fake_server import Reply

HOOK = "/open-apis/bot/v2/hook/0f3a9d52-1c1e-4c0e-9f2b-5d0b8f6a7c31"
SECRET = "zs0TBFMkYVeDQEXMPLEsecret"
NOW = datetime(2026, 3, 4, 5, 6, 7, 890000, UTC)
SUCCESS = {"StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success"}
TOKEN_INVALID = {
    "code": 19001,
    "data": {},
    "msg": "param invalid: incoming webhook access token invalid",
}


def hmac_of(key, data):
    """Compute the HMAC with a different library than the code under test."""
    mac = HMAC(key, hashes.SHA256())
    mac.update(data)
    return base64.b64encode(mac.finalize()).decode()


class FakeBot:
    """A custom bot as Feishu documents it: checks every request and always responds with 200."""

    def __init__(self, *, secret="", keywords=(), path=HOOK, now=NOW):
        self.secret, self.keywords, self.path, self.now = secret, keywords, path, now
        self.cards = []

    def __call__(self, request):
        return json.dumps(self.answer(request)).encode()

    def answer(self, request):
        if (request.method, request.path) != ("POST", self.path):
            return TOKEN_INVALID
        body = json.loads(request.body)
        if len(request.body) > 20 * 1024:
            return {"code": 19036, "data": {}, "msg": "request body too large"}
        if self.secret and not self.verified(body):
            text = "sign match fail or timestamp is not within one hour from current time"
            return {"code": 19021, "data": {}, "msg": text}
        if self.keywords and not any(keyword in request.body.decode() for keyword in self.keywords):
            return {"code": 19024, "data": {}, "msg": "Key Words Not Found"}
        if body.get("msg_type") != "interactive" or "elements" not in body["card"]:
            return {"code": 9499, "msg": "Bad Request", "data": {}}
        self.cards.append(body["card"])
        return SUCCESS

    def verified(self, body):
        timestamp = body.get("timestamp", "")
        key = f"{timestamp}\n{self.secret}".encode()
        recent = timestamp.isdigit() and abs(int(timestamp) - self.now.timestamp()) < 3600
        return recent and body.get("sign") == hmac_of(key, b"")


def build_channel(url, outbound, *, kind=feishu, clock=lambda: NOW, **fields):
    settings = kind.Channel.Settings(kind=kind.__name__.rpartition(".")[2], url=url, **fields)
    return kind.Channel("ops", settings, outbound, clock=clock)


@pytest.fixture
def post(internet):
    """post(bot, message, **settings): post through a channel with Feishu's real address"""

    def post(bot, message, host="open.feishu.cn", **settings):
        internet.serve(host, bot)
        outbound = HttpClientFactory(allow_private=internet.allowed)
        channel = build_channel(f"https://{host}{HOOK}", outbound, **settings)
        try:
            return channel.post(message)
        finally:
            channel.close()

    return post


def render_message(type_, language="en", **fields):
    sample = message(type_, **fields)
    return render(build_card(sample.type, sample.body, language), language)


def texts(body):
    """Yield every text in the body of a card: (tag, content)."""
    for element in body["card"]["elements"]:
        parts = [element.get("text"), *element.get("elements", ())]
        parts += [field["text"] for field in element.get("fields", ())]
        parts += [button["text"] for button in element.get("actions", ())]
        yield from ((part["tag"], part["content"]) for part in parts if part)


def assert_no_foreign_markup(body):
    for tag, content in texts(body):
        if tag == "lark_md":
            foreign = re.sub(
                r"\[(?:open|查看)\]\(https://relay\.example\.com/[^()\s]*\)", "", content
            )
            foreign = re.sub(r"\*\*[^*]*\*\*", "", foreign)
            assert not set(foreign) & set("<>*~`[]"), content
            assert not re.search(r"&\w|://|@\w|(?<!\w):\w+:", foreign), content


class TestFeishu(ChannelSuite):
    accepts = Reply(200, json.dumps(SUCCESS))
    refuses = Reply(200, json.dumps(TOKEN_INVALID))
    secrets = (SECRET,)

    def make(self, url, language, outbound):
        return build_channel(url, outbound, language=language, secret=SECRET)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        assert_no_foreign_markup(received.json())
        assert len(received.body) <= 20_000


class TestLark(TestFeishu):
    def make(self, url, language, outbound):
        return build_channel(url, outbound, kind=lark, language=language, secret=SECRET)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_bot_accepts_every_message_with_a_signature(post, language):
    bot = FakeBot(secret=SECRET)
    samples = [*map(message, OUTCOMES), digest(), target_message("down"), target_message("up")]
    for sample in samples:
        assert post(bot, sample, secret=SECRET, language=language).answer.startswith("200 ")
    assert [card["header"]["template"] for card in bot.cards] == [
        "green",
        "red",
        "grey",
        "red",
        "red",
        "green",
    ]


def test_lark_has_another_host_and_the_same_signature(post):
    bot = FakeBot(secret=SECRET)
    post(bot, message("import.failed"), "open.larksuite.com", kind=lark, secret=SECRET)
    assert len(bot.cards) == 1


def test_the_signature_equals_that_of_openssl():
    timestamp = "1772600767"
    key = f"{timestamp}\n{SECRET}".encode().hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    expected = subprocess.run(command, input=b"", capture_output=True, check=True).stdout
    assert signature(timestamp, SECRET) == base64.b64encode(expected).decode()
    assert signature(timestamp, SECRET) == hmac_of(f"{timestamp}\n{SECRET}".encode(), b"")


def test_every_retry_has_a_new_signature(internet):
    internet.serve("open.feishu.cn", lambda _: b"{}")
    times = iter([NOW, NOW + timedelta(hours=2)])
    channel = build_channel(
        f"https://open.feishu.cn{HOOK}",
        HttpClientFactory(allow_private=internet.allowed),
        secret=SECRET,
        clock=lambda: next(times),
    )
    for _ in range(2):
        with pytest.raises(TemporaryFailure):
            channel.post(message("import.failed"))
    channel.close()
    bodies = [json.loads(request.body) for request in internet.requests]
    assert [body["timestamp"] for body in bodies] == ["1772600767", "1772607967"]
    assert bodies[0]["sign"] != bodies[1]["sign"]
    assert bodies[0]["card"] == bodies[1]["card"]


def test_without_a_secret_the_request_is_not_signed(internet, post):
    bot = FakeBot()
    post(bot, message("import.failed"))
    [request] = internet.requests
    assert set(json.loads(request.body)) == {"msg_type", "card"}


@pytest.mark.parametrize(
    ("bot", "settings", "code"),
    [
        (FakeBot(secret=SECRET), {}, "sign"),
        (FakeBot(secret=SECRET), {"secret": "another"}, "sign"),
        (FakeBot(secret=SECRET, now=NOW + timedelta(hours=2)), {"secret": SECRET}, "sign"),
        (FakeBot(keywords=["部署"]), {}, "keyword"),
        (FakeBot(path="/elsewhere"), {}, "url"),
    ],
    ids=["unsigned", "wrong key", "clock off", "keyword", "wrong address"],
)
def test_refusals_of_the_bot_are_permanent_and_have_a_hint(post, bot, settings, code):
    with pytest.raises(PermanentFailure) as caught:
        post(bot, message("import.failed"), **settings)
    assert caught.value.code == f"feishu.{code}"
    assert "retrigger" in caught.value.hint.en
    assert "重新触发" in caught.value.hint.zh
    assert bot.cards == []


@pytest.mark.parametrize("type_", ["import.failed", "digest"])
def test_the_keyword_is_in_every_card(post, type_):
    bot = FakeBot(keywords=["部署通知"])
    sample = digest() if type_ == "digest" else message(type_)
    post(bot, sample, keyword="部署通知", language="zh")
    assert bot.cards[0]["elements"][-1]["elements"][0]["content"].endswith(" · 部署通知")


def test_a_keyword_that_the_title_contains_is_not_repeated(post):
    bot = FakeBot(keywords=["导入"])
    post(bot, message("import.failed"), keyword="导入", language="zh")
    assert "·" not in bot.cards[0]["elements"][-1]["elements"][0]["content"]


@pytest.mark.parametrize("keyword", ["a\nb", " x", "x" * 51])
def test_a_keyword_is_one_short_line(keyword):
    with pytest.raises(ValidationError, match="one line"):
        FeishuSettings(kind="feishu", url="https://open.feishu.cn/x", keyword=keyword)


@pytest.fixture
def channel(stand_in, outbound):
    channel = build_channel(stand_in.url, outbound)
    yield channel
    channel.close()


@pytest.mark.parametrize(
    ("code", "text", "seconds"),
    [
        (11232, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]", 60),
        (11233, "frequency limited", 60),
        (99991400, "request trigger frequency limit", 60),
        (9499, "too many request", 60),
        (2200, "internal error", 30),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 429])
def test_rate_limits_and_overload_hold_the_channel(channel, stand_in, status, code, text, seconds):
    stand_in.replies.append(Reply(status, json.dumps({"code": code, "msg": text})))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("code", "text", "name"),
    [
        (9499, "Bad Request", "invalid"),
        (19001, "param invalid: incoming webhook access token invalid", "url"),
        (19002, "params error, msg_type need", "invalid"),
        (19022, "Ip Not Allowed", "ip"),
        (19024, "Key Words Not Found", "keyword"),
        (19036, "request body too large", "invalid"),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_each_known_error_is_permanent(channel, stand_in, status, code, text, name):
    body = {"code": code, "msg": text, "data": {}}
    stand_in.replies.append(Reply(status, json.dumps(body)))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"feishu.{name}"
    assert str(code) in caught.value.answer


@pytest.mark.parametrize(
    "response",
    [
        '{"StatusCode": 0, "StatusMessage": "success", "Extra": null}',
        '{"code": 0, "msg": "success", "data": {}}',
    ],
)
def test_success_responses_of_old_and_new_bots_are_accepted(channel, stand_in, response):
    stand_in.replies.append(Reply(200, response))
    assert channel.post(message("import.failed")).answer == f"200 {response}"


@pytest.mark.parametrize(
    "response", ['{"StatusCode": 0, "code": 19021}', '{"code": 0, "StatusCode": 19021}']
)
def test_an_error_code_in_either_field_is_an_error(channel, stand_in, response):
    stand_in.replies.append(Reply(200, response))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "feishu.sign"


def test_a_success_card_has_header_and_facts():
    card = render_message("import.succeeded", "zh")["card"]
    assert card["header"] == {
        "template": "green",
        "title": {"tag": "plain_text", "content": "✅ 导入成功：orders"},
    }
    fields = [field["text"]["content"] for field in card["elements"][0]["fields"]]
    assert "**函数**\norders" in fields
    assert "**对象**\nexports/prod/orders.zip" in fields
    assert "**变更**\n新建函数" in fields
    short = {f["text"]["content"]: f["is_short"] for f in card["elements"][0]["fields"]}
    assert short["**函数**\norders"] is True
    assert short["**对象**\nexports/prod/orders.zip"] is False


def test_a_failure_card_has_code_problem_and_advice():
    body = render_message("import.failed", "zh")
    assert body["card"]["header"]["template"] == "red"
    contents = [content for _, content in texts(body)]
    assert "**出了什么问题**\n压缩包的末尾缺失（archive.truncated）" in contents
    assert "**下一步怎么做**\n请重新上传。" in contents


def test_names_are_not_altered():
    body = render_message("import.succeeded", key="a_b-1.4/my_func.zip")
    text = json.dumps(body, ensure_ascii=False)
    assert "urn:fss:cn-north-4:0123456789abcdef:function:default:orders:latest" in text
    assert "exports/a_b-1.4/my_func.zip" in text
    assert "\u2060" not in text


def test_the_links_are_buttons():
    card = render_message("import.failed", "zh")["card"]
    [actions] = [element["actions"] for element in card["elements"] if element["tag"] == "action"]
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert [(button["text"]["content"], button["url"]) for button in actions] == [
        ("查看投递详情", page),
        ("重新触发", f"{page}#retrigger"),
    ]


def test_without_a_public_url_there_are_no_buttons_but_the_delivery_id():
    sample = message("import.failed")
    sample.body["links"] = {"delivery": None, "retrigger": None}
    body = render(build_card(sample.type, sample.body, "zh"), "zh")
    assert [element["tag"] for element in body["card"]["elements"]].count("action") == 0
    assert body["card"]["elements"][-1]["elements"][0]["content"] == (
        "投递 01kq3v0m5n6p7q8r9s0t1v2w3x"
    )


def test_a_digest_lists_deliveries_with_links():
    sample = digest()
    body = render(build_card(sample.type, sample.body, "zh"), "zh")
    assert body["card"]["header"]["title"]["content"] == "🗂️ 30 次导入：3 个失败，27 个成功"
    [lines] = [content for _, content in texts(body) if "查看](" in content]
    rows = lines.splitlines()
    assert len(rows) == 13
    assert rows[0] == (
        "❌ **orders** 导入失败：压缩包的末尾缺失 "
        "[查看](https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x)"
    )
    assert rows[-1] == "另有 18 个"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("<at id=all></at>", "‹at id=all›‹/at›"),
        ('<at user_id="all">所有人</at>', '‹at user_id="all"›所有人‹/at›'),
        ("&lt;at id=all&gt;", "&\u2060lt;at id=all&\u2060gt;"),
        ("[click](https://evil.example)", "［click］(https:\u2060//evil.example)"),
        ("<a href='https://evil.example'>x</a>", "‹a href='https:\u2060//evil.example'›x‹/a›"),
        ("**b** *i* ~~s~~ `c`", "∗∗b∗∗ ∗i∗ ∼∼s∼∼ ˋcˋ"),
        ("my_func_name", "my_func_name"),
        (":OK: 10:30:00", ":\u2060OK: 10:30:00"),
        ("\u202egpj.exe\u2066\r\n# h", "gpj.exe # h"),
        ("# h", "\u2060# h"),
    ],
)
def test_hostile_text_is_shown_as_text(hostile, shown):
    failed = Failed(Problem("x.y", Localized(hostile, hostile), Localized(hostile, hostile)))
    body = render_message("import.failed", outcome=failed)
    assert f"**What happened**\n{shown} (x.y)" in [content for _, content in texts(body)]
    assert_no_foreign_markup(body)


def test_a_name_in_the_title_is_plain_text():
    body = render_message("import.failed", key="<at id=all></at>*b*.zip", func_name="{function}")
    assert body["card"]["header"]["title"] == {
        "tag": "plain_text",
        "content": "❌ Import failed: at>*b*.zip",
    }


@pytest.mark.parametrize(
    ("settings", "url", "warned"),
    [
        (FeishuSettings, "https://open.feishu.cn/open-apis/bot/v2/hook/x", False),
        (FeishuSettings, "https://open.larksuite.com/open-apis/bot/v2/hook/x", True),
        (LarkSettings, "https://open.larksuite.com/open-apis/bot/v2/hook/x", False),
        (LarkSettings, "https://open.feishu.cn/open-apis/bot/v2/hook/s3cret", True),
    ],
)
def test_a_url_of_another_host_causes_a_warning_without_the_url(settings, url, warned):
    kind = "lark" if settings is LarkSettings else "feishu"
    warnings = list(settings(kind=kind, url=url).advise())
    assert bool(warnings) is warned
    assert "s3cret" not in str(warnings)
