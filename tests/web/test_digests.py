"""A digest and what is told in it: each leads to the other, on the pages and in the API."""

from functools import partial

import pytest

from relay.channels.messages import digest_body
from relay.config.load import ChannelSettings
from tests.web.page_reader import read, story

CHINESE = {"Accept-Language": "zh-CN"}


@pytest.fixture
def told(web, driver):
    """Three imports, one of them failed, whose messages were gathered into a digest: its id."""
    for number in range(3):
        made = driver.announce(f"prod/{number}.zip", etag=f"e{number}")
        _ = driver.fail(made) if number == 1 else driver.succeed(made, name=f"<b>{number}")
    claim = driver.claim(driver.message_of(made))
    channel = ChannelSettings(kind="slack", burst=1)
    assert (
        web.ledger.batching.decide_post(claim, channel, partial(digest_body, None), web.clock())
        == "digest"
    )
    return web.ledger.history.delivery(claim.delivery.id).result["digest"]


def test_the_digests_page_leads_to_all_that_it_tells(web, driver, told):
    page = story(web, told)
    assert "Digest of 3 imports" in page.text
    assert "<b>0" in page.text
    links = [one.get("href") for one in page.all("a")]
    assert {f"/deliveries/{one.id}" for one in driver.imports()} <= set(links)
    assert "3 次导入的汇总消息" in story(web, told, headers=CHINESE).text


def test_what_is_told_in_it_leads_to_it_from_its_import_and_its_own_page(web, driver, told):
    for one in driver.imports():
        for id_ in (one.id, driver.message_of(one.id)):
            page = story(web, id_)
            assert {"href": f"/deliveries/{told}"} in page.all("a")
            assert "included in a digest" in page.text


def test_the_list_of_messages_names_it(web, told):
    page = read(web.client.get("/?kind=message"))
    assert "Digest of 3 imports" in page.text
    assert page.text.count("included in a digest") == 3


def test_the_api_says_what_a_message_is(web, driver, told):
    shown = web.client.get(f"/api/v1/deliveries/{told}").json
    assert shown["message"] == {"type": "digest", "count": 3}
    assert (shown["state"], shown["parent"]) == ("pending", None)
    single = web.client.get(f"/api/v1/deliveries/{driver.message_of(driver.imports()[0].id)}").json
    assert single["message"] == {"type": "import.succeeded", "count": None}
    assert (single["state"], single["reason"]) == ("skipped", "digest")
    assert single["result"] == {"digest": told}
