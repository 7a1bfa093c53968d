"""What holds for the group robots of Feishu, Lark, DingTalk and WeCom alike."""

from __future__ import annotations

import importlib
import json
import re
from datetime import timedelta

import pytest
from hypothesis import given

from relay.channels.dingtalk import errors as dingtalk_errors
from relay.channels.feishu import errors as feishu_errors
from relay.channels.group_robot import encode
from relay.errors import TemporaryFailure
from relay.outbound.session import HttpClientFactory
from relay.testing.channel_suite import message
from relay.testing.fake_server import Reply
from tests.channels.cards import cards

KINDS = {
    "feishu": "https://open.feishu.cn/open-apis/bot/v2/hook/x",
    "lark": "https://open.larksuite.com/open-apis/bot/v2/hook/x",
    "dingtalk": "https://oapi.dingtalk.com/robot/send?access_token=x",
    "wecom": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=x",
}
CODES = {"feishu": "code", "lark": "code", "dingtalk": "errcode", "wecom": "errcode"}


def made(kind, outbound, url=None, language="en", **told):
    plug_in = importlib.import_module(f"relay.channels.{kind}").Channel
    settings = plug_in.Settings(kind=kind, url=url or KINDS[kind], language=language, **told)
    return plug_in("ops", settings, outbound)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def channel(kind, stand_in, outbound):
    channel = made(kind, outbound, stand_in.url)
    yield channel
    channel.close()


def laid_out(kind, shown, **told):
    """The body that would show the card, signed where there is a secret."""
    channel = made(kind, HttpClientFactory(), language="zh", **told)
    body, _ = channel.sign(channel.render(shown))
    channel.close()
    return body


@given(shown=cards)
def test_no_card_of_feishu_is_longer_than_20_kb(shown):
    told = laid_out("feishu", shown, secret="s" * 32, keyword="部署通知")
    assert "sign" in told
    assert len(encode(told)) <= 20_000
    assert "部署通知" in json.dumps(told, ensure_ascii=False)


@given(shown=cards)
def test_no_card_of_dingtalk_is_longer_than_20000_bytes(shown):
    told = laid_out("dingtalk", shown, keyword="部署通知")
    assert len(encode(told)) <= 20_000
    assert "部署通知" in told[told["msgtype"]]["text"]


@given(shown=cards)
def test_no_card_of_wecom_is_longer_than_4096_bytes(shown):
    told = laid_out("wecom", shown)["markdown"]["content"]
    assert len(told.encode()) <= 4096
    assert shown.sign in told
    assert all(link.url in told for link in shown.links)


@pytest.mark.no_cover  # much of the same
@given(shown=cards)
def test_foreign_words_are_no_markup_in_any_card(shown):
    for kind in ("feishu", "dingtalk", "wecom"):
        for text in marked_up(kind, laid_out(kind, shown)):
            ours = re.sub(r"\[[^][]*\]\(https://relay\.example\.com/deliveries/\d+\)", "", text)
            ours = re.sub(r'<font color=(?:"\w+"|#\w+)>|</font>', "", ours)
            ours = re.sub(r"\*\*[^*\n]*\*\*", "", re.sub(r"(?m)^(?:### |- |> )", "", ours))
            assert not set(ours) & set("<>[]"), (kind, text)
            assert not set(re.sub(r"`[^`\n]*`", "", ours)) & set("*~`"), (kind, text)


def marked_up(kind, told):
    if kind == "wecom":
        return [told["markdown"]["content"]]
    if kind == "dingtalk":
        return [told[told["msgtype"]]["text"]]
    inside = [one.get("text") for one in told["card"]["elements"]]
    inside += [f["text"] for one in told["card"]["elements"] for f in one.get("fields", ())]
    return [one["content"] for one in inside if one and one["tag"] == "lark_md"]


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
def test_200_without_the_number_0_in_a_json_object_is_no_success(channel, stand_in, kind, body):
    stand_in.replies.append(Reply(200, body))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"{kind}.not_ok"


@pytest.mark.parametrize("status", [201, 202, 302, 404, 502])
def test_the_number_0_with_another_status_is_no_success(channel, stand_in, kind, status):
    stand_in.replies.append(Reply(status, json.dumps({CODES[kind]: 0})))
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))


def test_an_error_that_we_do_not_know_is_tried_again_and_kept(channel, stand_in, kind):
    told = json.dumps({CODES[kind]: 123456, "errmsg": "brand new", "msg": "brand new"})
    stand_in.replies.append(Reply(200, told))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"{kind}.refused"
    assert "123456" in caught.value.message.zh
    assert "brand new" in caught.value.answer


def test_an_error_in_a_long_answer_is_still_understood(channel, stand_in, kind):
    told = json.dumps({"errmsg": "x" * 20_000, CODES[kind]: 123456})
    stand_in.replies.append(Reply(200, told))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.code == f"{kind}.refused"
    assert len(caught.value.answer) <= 310


def test_the_services_own_retry_after_wins(channel, stand_in, kind):
    code = {"feishu": 11232, "lark": 11232, "dingtalk": 130101, "wecom": 45009}[kind]
    stand_in.replies.append(Reply(429, json.dumps({CODES[kind]: code}), {"Retry-After": "7"}))
    with pytest.raises(TemporaryFailure) as caught:
        channel.post(message("import.failed"))
    assert caught.value.retry_after == timedelta(seconds=7)


def test_a_preview_is_what_is_posted(channel, stand_in):
    told = channel.preview(message("import.failed"))
    assert stand_in.received == []
    stand_in.accepts = Reply(200, '{"code": 0, "errcode": 0}')
    channel.post(message("import.failed"))
    assert stand_in.received[0].json() == told


def test_a_burst_never_passes_what_the_service_takes(kind):
    """Twice an allowance, less one, may fall into one period: the ledger keeps an even pace."""
    rate = (
        importlib.import_module(f"relay.channels.{kind}")
        .Channel.Settings(kind=kind, url=KINDS[kind])
        .rate
    )
    in_a_minute = rate.count + rate.count * (timedelta(minutes=1) / rate.period)
    assert in_a_minute <= {"feishu": 100, "lark": 100}.get(kind, 20)
    if kind in ("feishu", "lark"):
        assert rate.count + rate.count * (timedelta(seconds=1) / rate.period) <= 5


def refusals(kind):
    if kind in ("feishu", "lark"):
        product = importlib.import_module(f"relay.channels.{kind}").Channel.PRODUCT
        return list(feishu_errors.error_table(product).values())
    errors = list(importlib.import_module(f"relay.channels.{kind}.errors").ERRORS.values())
    if kind == "dingtalk":
        errors += [dingtalk_errors.KEYWORD, dingtalk_errors.SIGNATURE]
        errors += [dingtalk_errors.IP_ADDRESS, dingtalk_errors.SECURITY]
    return errors


def test_every_refusal_is_told_in_both_languages_as_each_is_written(kind):
    for one in refusals(kind):
        for words in (one.message.zh, one.hint.zh):
            assert words == words.strip()
            assert not re.search(r"[\u4e00-\u9fff] ?[,;:()!?]|[,;:()!?] ?[\u4e00-\u9fff]", words)
            assert re.search(r"[\u4e00-\u9fff]", words)
        for words in (one.message.en, one.hint.en):
            assert words.isascii()
        assert one.hint.en.endswith(".")
        assert one.hint.zh.endswith("。")


def test_words_of_ours_are_told_in_the_channels_language(kind, outbound):
    channel = made(kind, outbound, language="zh")
    told = json.dumps(channel.preview(message("import.failed")), ensure_ascii=False)
    channel.close()
    assert "导入失败：orders" in told or "导入失败</font>：orders" in told
    assert "压缩包的末尾缺失（archive.truncated）" in told
