"""No channel sends anything to a server with an untrusted certificate."""

from __future__ import annotations

import pytest

from relay.channels.samples import message
from relay.errors import TemporaryFailure
from relay.outbound.session import HttpClientFactory
from relay.plugins import find

ROBOT = "0123456789abcdef" * 4
ADDRESSES = {
    "apprise": "ntfys://relay-topic",
    "dingtalk": f"https://oapi.dingtalk.com/robot/send?access_token={ROBOT}",
    "discord": f"https://discord.com/api/webhooks/223704706495545344/{ROBOT}",
    "feishu": "https://open.feishu.cn/open-apis/bot/v2/hook/0b1d2f3a-4c5e-4789-8abc-0d1e2f3a4b5c",
    "lark": "https://open.larksuite.com/open-apis/bot/v2/hook/0b1d2f3a-4c5e-4789-8abc-0d1e2f3a4b5c",
    "slack": "https://hooks.slack.com/services/T0AAAA/B0BBBB/s3cretword",
    "teams": "https://prod-7.westeurope.logic.azure.com/workflows/0a1b/triggers/manual/paths/invoke"
    "?api-version=2016-06-01&sig=s3cretword",
    "webhook": "https://hooks.example.com/relay/s3cretword",
    "wecom": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"
    "?key=693a91f6-7aea-4bc4-97a0-0ec2aaaaaaaa",
}
HOSTS = [
    "ntfy.sh",
    "oapi.dingtalk.com",
    "discord.com",
    "open.feishu.cn",
    "open.larksuite.com",
    "hooks.slack.com",
    "prod-7.westeurope.logic.azure.com",
    "hooks.example.com",
    "qyapi.weixin.qq.com",
]


@pytest.mark.parametrize("kind", ADDRESSES)
def test_nothing_is_sent_to_a_server_with_an_untrusted_certificate(internet, kind):
    for host in HOSTS:
        internet.serve(host, lambda _: b"{}")
    internet.trusted = False
    plug_in = find("channels", kind)
    settings = plug_in.Settings(kind=kind, url=ADDRESSES[kind])
    channel = plug_in("ops", settings, HttpClientFactory(allow_private=internet.allowed))
    with pytest.raises(TemporaryFailure):
        channel.post(message("import.failed"))
    channel.close()
    assert internet.names, "no connection was attempted"
    assert internet.requests == []
