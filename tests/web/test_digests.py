"""A digest and the messages in it link to each other, on the pages and in the API."""

from functools import partial

import pytest

from relay.channels.messages import digest_body
from relay.config.load import ChannelSettings
from tests.web.page_reader import delivery_page, read

CHINESE = {"Accept-Language": "zh-CN"}


@pytest.fixture
def digest(web, driver):
    """The id of a digest of three imports, of which the second failed."""
    for number in range(3):
        delivery_id = driver.announce(f"prod/{number}.zip", etag=f"e{number}")
        if number == 1:
            driver.fail(delivery_id)
        else:
            driver.succeed(delivery_id, name=f"<b>{number}")
    claim = driver.claim(driver.message_of(delivery_id))
    channel = ChannelSettings(kind="slack", burst=1)
    decision = web.ledger.batching.decide_post(
        claim, channel, partial(digest_body, None), web.clock()
    )
    assert decision == "digest"
    return web.ledger.history.delivery(claim.delivery.id).result["digest"]


def test_the_page_of_a_digest_links_to_its_imports(web, driver, digest):
    page = delivery_page(web, digest)
    assert "Digest of 3 imports" in page.text
    assert "<b>0" in page.text
    links = {link.get("href") for link in page.all("a")}
    assert {f"/deliveries/{delivery.id}" for delivery in driver.imports()} <= links
    assert "3 次导入的汇总消息" in delivery_page(web, digest, headers=CHINESE).text


def test_the_pages_of_an_import_and_of_its_message_link_to_the_digest(web, driver, digest):
    for delivery in driver.imports():
        for delivery_id in (delivery.id, driver.message_of(delivery.id)):
            page = delivery_page(web, delivery_id)
            assert {"href": f"/deliveries/{digest}"} in page.all("a")
            assert "included in a digest" in page.text


@pytest.mark.usefixtures("digest")
def test_the_list_of_messages_shows_digests_and_their_parts(web):
    page = read(web.client.get("/?kind=message"))
    assert "Digest of 3 imports" in page.text
    assert page.text.count("included in a digest") == 3


def test_the_api_shows_the_type_and_size_of_a_message(web, driver, digest):
    shown = web.client.get(f"/api/v1/deliveries/{digest}").json
    assert shown["message"] == {"type": "digest", "count": 3}
    assert (shown["state"], shown["parent"]) == ("pending", None)
    message_id = driver.message_of(driver.imports()[0].id)
    single = web.client.get(f"/api/v1/deliveries/{message_id}").json
    assert single["message"] == {"type": "import.succeeded", "count": None}
    assert (single["state"], single["reason"]) == ("skipped", "digest")
    assert single["result"] == {"digest": digest}
