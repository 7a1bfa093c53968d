"""Feishu and Lark: what a card says, the signature, and what the answers of a custom bot mean."""

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
from relay.errors import PermanentFailure, TemporaryFailure, Throttled
from relay.model import Failed, Localized, Problem
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import OUTCOMES, ChannelSuite, digest, message, turned
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


def hmac_of(key, signed):
    """Computed by another library than the one under test."""
    mac = HMAC(key, hashes.SHA256())
    mac.update(signed)
    return base64.b64encode(mac.finalize()).decode()


class Bot:
    """A custom bot as Feishu documents it: checks everything itself, answers 200 to all of it."""

    def __init__(self, *, secret="", keywords=(), path=HOOK, now=NOW):
        self.secret, self.keywords, self.path, self.now = secret, keywords, path, now
        self.cards = []

    def __call__(self, request):
        return json.dumps(self.answer(request)).encode()

    def answer(self, request):
        if (request.method, request.path) != ("POST", self.path):
            return TOKEN_INVALID
        told = json.loads(request.body)
        if len(request.body) > 20 * 1024:
            return {"code": 19036, "data": {}, "msg": "request body too large"}
        if self.secret and not self.verified(told):
            words = "sign match fail or timestamp is not within one hour from current time"
            return {"code": 19021, "data": {}, "msg": words}
        if self.keywords and not any(one in request.body.decode() for one in self.keywords):
            return {"code": 19024, "data": {}, "msg": "Key Words Not Found"}
        if told.get("msg_type") != "interactive" or "elements" not in told["card"]:
            return {"code": 9499, "msg": "Bad Request", "data": {}}
        self.cards.append(told["card"])
        return SUCCESS

    def verified(self, told):
        timestamp = told.get("timestamp", "")
        key = f"{timestamp}\n{self.secret}".encode()
        near = timestamp.isdigit() and abs(int(timestamp) - self.now.timestamp()) < 3600
        return near and told.get("sign") == hmac_of(key, b"")


def made(url, outbound, *, kind=feishu, clock=lambda: NOW, **told):
    settings = kind.Channel.Settings(kind=kind.__name__.rpartition(".")[2], url=url, **told)
    return kind.Channel("ops", settings, outbound, clock=clock)


@pytest.fixture
def post(internet):
    """post(bot, message, **settings): what the channel says, with the real address."""

    def post(bot, told, host="open.feishu.cn", **settings):
        internet.serve(host, bot)
        outbound = HttpClientFactory(allow_private=internet.allowed)
        channel = made(f"https://{host}{HOOK}", outbound, **settings)
        try:
            return channel.post(told)
        finally:
            channel.close()

    return post


def rendered(type_, language="en", **told):
    posted = message(type_, **told)
    return render(build_card(posted.type, posted.body, language), language)


def texts(told):
    """Every text of a card's body: (tag, content)."""
    for element in told["card"]["elements"]:
        inside = [element.get("text"), *element.get("elements", ())]
        inside += [field["text"] for field in element.get("fields", ())]
        inside += [button["text"] for button in element.get("actions", ())]
        yield from ((one["tag"], one["content"]) for one in inside if one)


def assert_no_foreign_markup(told):
    for tag, content in texts(told):
        if tag == "lark_md":
            ours = re.sub(r"\[(?:open|查看)\]\(https://relay\.example\.com/[^()\s]*\)", "", content)
            ours = re.sub(r"\*\*[^*]*\*\*", "", ours)
            assert not set(ours) & set("<>*~`[]"), content
            assert not re.search(r"&\w|://|@\w|(?<!\w):\w+:", ours), content


class TestFeishu(ChannelSuite):
    accepts = Reply(200, json.dumps(SUCCESS))
    refuses = Reply(200, json.dumps(TOKEN_INVALID))
    secrets = (SECRET,)

    def make(self, url, language, outbound):
        return made(url, outbound, language=language, secret=SECRET)

    def assert_harmless(self, received):
        super().assert_harmless(received)
        assert_no_foreign_markup(received.json())
        assert len(received.body) <= 20_000


class TestLark(TestFeishu):
    def make(self, url, language, outbound):
        return made(url, outbound, kind=lark, language=language, secret=SECRET)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_bot_takes_every_message_signed(post, language):
    bot = Bot(secret=SECRET)
    told = [*map(message, OUTCOMES), digest(), turned("down"), turned("up")]
    for one in told:
        assert post(bot, one, secret=SECRET, language=language).answer.startswith("200 ")
    assert [one["header"]["template"] for one in bot.cards] == [
        "green",
        "red",
        "grey",
        "red",
        "red",
        "green",
    ]


def test_lark_is_at_its_own_host_and_signs_alike(post):
    bot = Bot(secret=SECRET)
    post(bot, message("import.failed"), "open.larksuite.com", kind=lark, secret=SECRET)
    assert len(bot.cards) == 1


def test_the_signature_is_openssls():
    timestamp = "1772600767"
    key = f"{timestamp}\n{SECRET}".encode().hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    expected = subprocess.run(command, input=b"", capture_output=True, check=True).stdout
    assert signature(timestamp, SECRET) == base64.b64encode(expected).decode()
    assert signature(timestamp, SECRET) == hmac_of(f"{timestamp}\n{SECRET}".encode(), b"")


def test_every_repeat_is_signed_anew(internet):
    seen = []
    internet.serve("open.feishu.cn", lambda request: seen.append(json.loads(request.body)) or b"{}")
    times = iter([NOW, NOW + timedelta(hours=2)])
    channel = made(
        f"https://open.feishu.cn{HOOK}",
        HttpClientFactory(allow_private=internet.allowed),
        secret=SECRET,
        clock=lambda: next(times),
    )
    for _ in range(2):
        with pytest.raises(TemporaryFailure):
            channel.post(message("import.failed"))
    channel.close()
    assert [one["timestamp"] for one in seen] == ["1772600767", "1772607967"]
    assert seen[0]["sign"] != seen[1]["sign"]
    assert seen[0]["card"] == seen[1]["card"]


def test_without_a_secret_it_is_not_signed(internet, post):
    bot = Bot()
    post(bot, message("import.failed"))
    [request] = internet.requests
    assert set(json.loads(request.body)) == {"msg_type", "card"}


@pytest.mark.parametrize(
    ("bot", "settings", "code"),
    [
        (Bot(secret=SECRET), {}, "sign"),
        (Bot(secret=SECRET), {"secret": "another"}, "sign"),
        (Bot(secret=SECRET, now=NOW + timedelta(hours=2)), {"secret": SECRET}, "sign"),
        (Bot(keywords=["部署"]), {}, "keyword"),
        (Bot(path="/elsewhere"), {}, "url"),
    ],
    ids=["unsigned", "wrong key", "clock off", "keyword", "wrong address"],
)
def test_what_the_bot_refuses_is_final_and_says_what_to_do(post, bot, settings, code):
    with pytest.raises(PermanentFailure) as caught:
        post(bot, message("import.failed"), **settings)
    assert caught.value.code == f"feishu.{code}"
    assert "retrigger" in caught.value.hint.en
    assert "重新触发" in caught.value.hint.zh
    assert bot.cards == []


@pytest.mark.parametrize("type_", ["import.failed", "digest"])
def test_a_keyword_that_the_bot_demands_is_in_every_card(post, type_):
    bot = Bot(keywords=["部署通知"])
    told = digest() if type_ == "digest" else message(type_)
    post(bot, told, keyword="部署通知", language="zh")
    assert bot.cards[0]["elements"][-1]["elements"][0]["content"].endswith(" · 部署通知")


def test_a_keyword_that_the_title_holds_is_not_said_twice(post):
    bot = Bot(keywords=["导入"])
    post(bot, message("import.failed"), keyword="导入", language="zh")
    assert "·" not in bot.cards[0]["elements"][-1]["elements"][0]["content"]


@pytest.mark.parametrize("keyword", ["a\nb", " x", "x" * 51])
def test_a_keyword_is_one_short_line(keyword):
    with pytest.raises(ValidationError, match="one line"):
        FeishuSettings(kind="feishu", url="https://open.feishu.cn/x", keyword=keyword)


@pytest.fixture
def channel(stand_in, outbound):
    channel = made(stand_in.url, outbound)
    yield channel
    channel.close()


@pytest.mark.parametrize(
    ("code", "words", "seconds"),
    [
        (11232, "frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]", 60),
        (11233, "frequency limited", 60),
        (99991400, "request trigger frequency limit", 60),
        (9499, "too many request", 60),
        (2200, "internal error", 30),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 429])
def test_limits_and_troubles_hold_the_channel_for_a_while(
    channel, stand_in, status, code, words, seconds
):
    stand_in.replies.append(Reply(status, json.dumps({"code": code, "msg": words})))
    with pytest.raises(Throttled) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("code", "words", "name"),
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
def test_each_known_refusal_is_final(channel, stand_in, status, code, words, name):
    told = {"code": code, "msg": words, "data": {}}
    stand_in.replies.append(Reply(status, json.dumps(told)))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"feishu.{name}"
    assert str(code) in caught.value.answer


@pytest.mark.parametrize(
    "answer",
    [
        '{"StatusCode": 0, "StatusMessage": "success", "Extra": null}',
        '{"code": 0, "msg": "success", "data": {}}',
    ],
)
def test_both_generations_of_success_count(channel, stand_in, answer):
    stand_in.replies.append(Reply(200, answer))
    assert channel.post(message("import.failed")).answer == f"200 {answer}"


@pytest.mark.parametrize(
    "answer", ['{"StatusCode": 0, "code": 19021}', '{"code": 0, "StatusCode": 19021}']
)
def test_an_error_in_either_place_is_one(channel, stand_in, answer):
    stand_in.replies.append(Reply(200, answer))
    with pytest.raises(PermanentFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == "feishu.sign"


def test_a_success_shows_at_a_glance_what_became_what():
    told = rendered("import.succeeded", "zh")["card"]
    assert told["header"] == {
        "template": "green",
        "title": {"tag": "plain_text", "content": "✅ 导入成功：orders"},
    }
    fields = [field["text"]["content"] for field in told["elements"][0]["fields"]]
    assert "**函数**\norders" in fields
    assert "**对象**\nexports/prod/orders.zip" in fields
    assert "**变更**\n新建函数" in fields
    short = {f["text"]["content"]: f["is_short"] for f in told["elements"][0]["fields"]}
    assert short["**函数**\norders"] is True
    assert short["**对象**\nexports/prod/orders.zip"] is False


def test_a_failure_shows_the_code_what_it_means_and_what_to_do():
    told = rendered("import.failed", "zh")
    assert told["card"]["header"]["template"] == "red"
    shown = [content for _, content in texts(told)]
    assert "**出了什么问题**\n压缩包的末尾缺失（archive.truncated）" in shown
    assert "**下一步怎么做**\n请重新上传。" in shown


def test_names_can_be_copied_as_they_are():
    told = json.dumps(rendered("import.succeeded", key="a_b-1.4/my_func.zip"), ensure_ascii=False)
    assert "urn:fss:cn-north-4:0123456789abcdef:function:default:orders:latest" in told
    assert "exports/a_b-1.4/my_func.zip" in told
    assert "\u2060" not in told


def test_the_links_are_buttons():
    told = rendered("import.failed", "zh")["card"]
    [actions] = [one["actions"] for one in told["elements"] if one["tag"] == "action"]
    page = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
    assert [(one["text"]["content"], one["url"]) for one in actions] == [
        ("查看投递详情", page),
        ("重新触发", f"{page}#retrigger"),
    ]


def test_without_a_public_url_there_are_no_buttons_and_still_the_deliverys_id():
    posted = message("import.failed")
    posted.body["links"] = {"delivery": None, "retrigger": None}
    told = render(build_card(posted.type, posted.body, "zh"), "zh")
    assert [one["tag"] for one in told["card"]["elements"]].count("action") == 0
    assert told["card"]["elements"][-1]["elements"][0]["content"] == (
        "投递 01kq3v0m5n6p7q8r9s0t1v2w3x"
    )


def test_a_digest_lists_its_deliveries_with_their_links():
    posted = digest()
    told = render(build_card(posted.type, posted.body, "zh"), "zh")
    assert told["card"]["header"]["title"]["content"] == "🗂️ 30 次导入：3 个失败，27 个成功"
    [lines] = [content for _, content in texts(told) if "查看](" in content]
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
def test_hostile_words_only_stand_there(hostile, shown):
    failed = Failed(Problem("x.y", Localized(hostile, hostile), Localized(hostile, hostile)))
    told = rendered("import.failed", outcome=failed)
    assert f"**What happened**\n{shown} (x.y)" in [content for _, content in texts(told)]
    assert_no_foreign_markup(told)


def test_a_name_in_the_title_is_plain_text():
    told = rendered("import.failed", key="<at id=all></at>*b*.zip", func_name="{function}")
    assert told["card"]["header"]["title"] == {
        "tag": "plain_text",
        "content": "❌ Import failed: at>*b*.zip",
    }


@pytest.mark.parametrize(
    ("settings", "url", "advised"),
    [
        (FeishuSettings, "https://open.feishu.cn/open-apis/bot/v2/hook/x", False),
        (FeishuSettings, "https://open.larksuite.com/open-apis/bot/v2/hook/x", True),
        (LarkSettings, "https://open.larksuite.com/open-apis/bot/v2/hook/x", False),
        (LarkSettings, "https://open.feishu.cn/open-apis/bot/v2/hook/s3cret", True),
    ],
)
def test_a_url_of_another_host_is_advised_of_and_not_shown(settings, url, advised):
    kind = "lark" if settings is LarkSettings else "feishu"
    said = list(settings(kind=kind, url=url).advise())
    assert bool(said) is advised
    assert "s3cret" not in str(said)
