"""Common behaviour of the group robots of Feishu, Lark, DingTalk and WeCom."""

from __future__ import annotations

import importlib
import json
import re
from datetime import timedelta

import pytest
from hypothesis import given

from relay.channels.card import encode
from relay.channels.dingtalk import errors as dingtalk_errors
from relay.channels.feishu import errors as feishu_errors
from relay.channels.samples import message
from relay.errors import TemporaryFailure
from relay.outbound.session import HttpClientFactory
from relay.testing.fake_server import Reply
from tests.channels.cards import cards

KINDS = {
    "feishu": "https://open.feishu.cn/open-apis/bot/v2/hook/x",
    "lark": "https://open.larksuite.com/open-apis/bot/v2/hook/x",
    "dingtalk": "https://oapi.dingtalk.com/robot/send?access_token=x",
    "wecom": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x",
}
CODES = {"feishu": "code", "lark": "code", "dingtalk": "errcode", "wecom": "errcode"}


def build_channel(kind, outbound, url=None, language="en", **fields):
    channel_class = importlib.import_module(f"relay.channels.{kind}").Channel
    settings = channel_class.Settings(
        kind=kind, url=url or KINDS[kind], language=language, **fields
    )
    return channel_class("ops", settings, outbound)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def channel(kind, stand_in, outbound):
    channel = build_channel(kind, outbound, stand_in.url)
    yield channel
    channel.close()


def render_signed(kind, card, **fields):
    """Return the body that shows the card, signed if there is a secret."""
    channel = build_channel(kind, HttpClientFactory(), language="zh", **fields)
    body, _ = channel.sign(channel.render(card))
    channel.close()
    return body


@given(card=cards)
def test_every_feishu_card_fits_20_kb(card):
    body = render_signed("feishu", card, secret="s" * 32, keyword="部署通知")
    assert "sign" in body
    assert len(encode(body)) <= 20_000
    assert "部署通知" in json.dumps(body, ensure_ascii=False)


@given(card=cards)
def test_every_dingtalk_card_fits_20000_bytes(card):
    body = render_signed("dingtalk", card, keyword="部署通知")
    assert len(encode(body)) <= 20_000
    assert "部署通知" in body[body["msgtype"]]["text"]


@given(card=cards)
def test_every_wecom_card_fits_4096_bytes(card):
    content = render_signed("wecom", card)["markdown"]["content"]
    assert len(content.encode()) <= 4096
    assert card.sign in content
    assert all(link.url in content for link in card.links)


@given(card=cards)
def test_foreign_text_contains_no_markup_in_any_card(card):
    for kind in ("feishu", "dingtalk", "wecom"):
        for text in marked_up(kind, render_signed(kind, card)):
            foreign = re.sub(r"\[[^][]*\]\(https://relay\.example\.com/deliveries/\d+\)", "", text)
            foreign = re.sub(r'<font color=(?:"\w+"|#\w+)>|</font>', "", foreign)
            foreign = re.sub(r"\*\*[^*\n]*\*\*", "", re.sub(r"(?m)^(?:### |- |> )", "", foreign))
            assert not set(foreign) & set("<>[]"), (kind, text)
            assert not set(re.sub(r"`[^`\n]*`", "", foreign)) & set("*~`"), (kind, text)


def marked_up(kind, body):
    if kind == "wecom":
        return [body["markdown"]["content"]]
    if kind == "dingtalk":
        return [body[body["msgtype"]]["text"]]
    texts = [element.get("text") for element in body["card"]["elements"]]
    texts += [
        field["text"] for element in body["card"]["elements"] for field in element.get("fields", ())
    ]
    return [element["content"] for element in texts if element and element["tag"] == "lark_md"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "ok",
        "[]",
        "0",
        "null",
        "{}",
        '{"errcode": "0", "code": "0"}',
        '{"errcode": false, "code": false}',
        '{"errcode": null, "code": null}',
        '{"errmsg": "ok", "msg": "success"}',
        "<html>Sign in to the hotel's network</html>",
        "[" * 100_000,
        '{"errcode": 0, "code": 0',
    ],
)
def test_200_without_error_code_0_is_not_a_success(channel, stand_in, kind, body):
    stand_in.replies.append(Reply(200, body))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"{kind}.not_ok"


@pytest.mark.parametrize("status", [201, 202, 302, 404, 502])
def test_error_code_0_with_another_status_is_not_a_success(channel, stand_in, kind, status):
    stand_in.replies.append(Reply(status, json.dumps({CODES[kind]: 0})))
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))


def test_an_unknown_error_is_temporary_and_its_text_is_stored(channel, stand_in, kind):
    body = json.dumps({CODES[kind]: 123456, "errmsg": "brand new", "msg": "brand new"})
    stand_in.replies.append(Reply(200, body))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"{kind}.refused"
    assert "123456" in caught.value.message.zh
    assert "brand new" in caught.value.answer


def test_an_error_in_a_long_response_is_recognised(channel, stand_in, kind):
    body = json.dumps({"errmsg": "x" * 20_000, CODES[kind]: 123456})
    stand_in.replies.append(Reply(200, body))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"{kind}.refused"
    assert len(caught.value.answer) <= 310


def test_retry_after_of_the_service_takes_precedence(channel, stand_in, kind):
    code = {"feishu": 11232, "lark": 11232, "dingtalk": 130101, "wecom": 45009}[kind]
    stand_in.replies.append(Reply(429, json.dumps({CODES[kind]: code}), {"Retry-After": "7"}))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == timedelta(seconds=7)


def test_a_preview_equals_the_posted_body(channel, stand_in):
    preview = channel.preview(message("import.failed"))
    assert stand_in.received == []
    stand_in.accepts = Reply(200, '{"code": 0, "errcode": 0}')
    channel.post(message("import.failed"))
    assert stand_in.received[0].json() == preview


def test_the_default_rate_stays_below_the_limit_of_the_service(kind):
    """The allowance of a period may be used up twice within that time."""
    rate = (
        importlib.import_module(f"relay.channels.{kind}")
        .Channel.Settings(kind=kind, url=KINDS[kind])
        .rate
    )
    per_minute = rate.count + rate.count * (timedelta(minutes=1) / rate.period)
    assert per_minute <= {"feishu": 100, "lark": 100}.get(kind, 20)
    if kind in ("feishu", "lark"):
        assert rate.count + rate.count * (timedelta(seconds=1) / rate.period) <= 5


def known_errors(kind):
    if kind in ("feishu", "lark"):
        product = importlib.import_module(f"relay.channels.{kind}").Channel.PRODUCT
        return list(feishu_errors.error_table(product).values())
    errors = list(importlib.import_module(f"relay.channels.{kind}.errors").ERRORS.values())
    if kind == "dingtalk":
        errors += [dingtalk_errors.KEYWORD, dingtalk_errors.SIGNATURE]
        errors += [dingtalk_errors.IP_ADDRESS, dingtalk_errors.SECURITY]
    return errors


def test_every_error_has_well_formed_english_and_chinese_texts(kind):
    for error in known_errors(kind):
        for text in (error.message.zh, error.hint.zh):
            assert text == text.strip()
            assert not re.search(r"[\u4e00-\u9fff] ?[,;:()!?]|[,;:()!?] ?[\u4e00-\u9fff]", text)
            assert re.search(r"[\u4e00-\u9fff]", text)
        for text in (error.message.en, error.hint.en):
            assert text.isascii()
        assert error.hint.en.endswith(".")
        assert error.hint.zh.endswith("。")


def test_cards_are_in_the_language_of_the_channel(kind, outbound):
    channel = build_channel(kind, outbound, language="zh")
    text = json.dumps(channel.preview(message("import.failed")), ensure_ascii=False)
    channel.close()
    assert "导入失败：orders" in text or "导入失败</font>：orders" in text
    assert "压缩包的末尾缺失（archive.truncated）" in text
