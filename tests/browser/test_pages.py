"""What a person does with the pages, in a real browser."""

import hashlib
import os
from pathlib import Path

import pytest
from playwright.sync_api import expect
from web_ledger import SLOW

from relay.model import Localized, Problem

TOKEN = "token-of-the-browser-tests"
SHOTS = Path(__file__).parent / "screenshots"
TRUNCATED = Problem(
    "archive.truncated",
    Localized("The archive ends early: its directory is missing", "压缩包不完整：缺少目录"),
    Localized(
        "Upload it again; the upload was probably cut off.", "请重新上传，上次上传可能中断了。"
    ),
)


def shoot(page, name):
    """A picture for the README, only when asked for."""
    if os.environ.get("RELAY_SCREENSHOTS") == "1":
        SHOTS.mkdir(exist_ok=True)
        # A machine without Chinese fonts would show the language link as boxes.
        page.locator("[hreflang]").evaluate("one => { one.style.visibility = 'hidden' }")
        page.screenshot(path=SHOTS / f"{name}.png")


def morning(hand):
    """A morning as a team has it. Returns ids by name."""
    made = {}

    def came(name, key, source="exports", **more):
        made[name] = hand.announce(key, source, etag=hashlib.md5(key.encode()).hexdigest(), **more)
        return made[name]

    size = 1_843_200
    hand.skip(came("geo", "prod/geo-lookup.zip", size=size))
    hand.clock.forward(hours=1)
    hand.succeed(came("thumbs", "prod/image-thumbnailer.zip", size=size), "image-thumbnailer")
    hand.clock.forward(minutes=47)
    came("readme", "prod/README.txt")
    hand.succeed(came("mailer", "prod/order-mailer.zip", size=size), "order-mailer", seconds=2)
    hand.clock.forward(minutes=21)
    hand.fail(came("nightly", "prod/nightly-report.zip", size=402), TRUNCATED, answer=None)
    hand.clock.forward(minutes=9)
    hand.succeed(came("pay", "team-a/payments-webhook.zip", "archive"), "payments-webhook")
    hand.clock.forward(minutes=3)
    invoice = came("invoice", "prod/invoice-export.zip", version="3HL4kqtJvjVBH40Nrjfkd", size=size)
    hand.clock.forward(milliseconds=120)
    hand.retry(invoice, seconds=10, after=12)
    hand.clock.forward(seconds=12)
    more = {
        "runtime": "Python3.9",
        "handler": "index.handler",
        "code_size": 1_840_917,
        "size": size,
        "digest": "7d3a9c41e0b2f865" * 8,
    }
    hand.succeed(invoice, "invoice-export", seconds=1.8, **more)
    message = hand.message_of(invoice)
    hand.post(message)
    hand.clock.forward(seconds=50)
    hand.retry(came("ledger", "prod/ledger-sync.zip", size=size), seconds=10, after=40)
    hand.clock.forward(seconds=4)
    hand.claim(came("search", "prod/search-indexer.zip", size=size))
    hand.clock.forward(seconds=3)
    came("cart", "prod/cart-cleanup.zip", size=size)
    return made


def test_the_list_and_a_story_are_read_and_retriggered(web, page):
    made = morning(web.hand)
    page.goto(web.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Deliveries")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(10)
    expect(rows.first).to_contain_text("cart-cleanup")
    shoot(page, "deliveries")

    page.locator("select[name=state]").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="nightly-report").click()
    expect(page.get_by_text("The archive ends early").first).to_be_visible()
    expect(page.get_by_text("Upload it again").first).to_be_visible()

    button = page.get_by_role("button", name="Yes, retrigger now")
    expect(button).to_be_hidden()
    page.locator("#retrigger > summary").click()
    page.get_by_label("If the name is taken").select_option("update")
    button.click()
    expect(page.get_by_role("status")).to_contain_text("Retriggered")
    again = web.ledger.history.delivery(made["nightly"])
    assert (again.state, again.trigger) == ("pending", "manual")
    assert again.options["on_conflict"] == "update"


def test_a_story_tells_the_way_from_the_notification_to_the_message(web, page):
    made = morning(web.hand)
    page.goto(f"{web.url}/deliveries/{made['invoice']}")
    steps = page.locator(".timeline > li h3")
    expect(steps).to_have_text(
        [
            "The object was announced",
            "Attempt 1: failed, will be tried again",
            "Attempt 2: succeeded",
            "The function is imported",
            "Message to ops ✓succeeded",
        ]
    )
    expect(page.locator(".urn")).to_contain_text("function:default:invoice-export")
    shoot(page, "delivery")
    page.get_by_role("link", name="notification", exact=True).click()
    expect(page.locator("pre")).to_contain_text("prod/invoice-export.zip")


def test_a_story_follows_what_happens_without_a_reload(web, page):
    made = web.hand.announce()
    page.goto(f"{web.url}/deliveries/{made}")
    expect(page.locator(".headline .chip")).to_contain_text("pending")
    web.hand.retry(made)
    expect(page.locator(".headline .chip")).to_contain_text("retrying", timeout=10_000)
    expect(page.locator(".trouble").first).to_contain_text(SLOW.message.en)


def test_login_and_logout(open_web, page):
    web = open_web(tokens=(TOKEN,))
    made = web.hand.announce()
    page.goto(f"{web.url}/deliveries/{made}")
    field = page.get_by_label("Token")
    field.fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not one of the tokens")
    complaint = page.complaints.pop()
    assert "401" in complaint  # the browser's own word for the refused login
    field.fill(TOKEN)
    field.press("Enter")
    expect(page).to_have_url(f"{web.url}/deliveries/{made}")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{web.url}/login")
    page.goto(web.url)
    expect(page).to_have_url(f"{web.url}/login?next=/")


def test_the_page_can_be_used_by_the_keyboard_alone(web, page):
    made = web.hand.announce()
    web.hand.fail(made)
    page.goto(f"{web.url}/deliveries/{made}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    summary = page.locator("#retrigger > summary")
    for _ in range(25):
        page.keyboard.press("Tab")
        if summary.evaluate("one => one === document.activeElement"):
            break
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Retriggered")


def test_a_messages_link_opens_the_question(web, page):
    made = web.hand.announce()
    web.hand.fail(made)
    page.goto(f"{web.url}/deliveries/{made}#retrigger")
    asked = page.get_by_role("button", name="Yes, retrigger now")
    expect(asked).to_be_visible()
    page.goto(web.url)
    page.goto(f"{web.url}/deliveries/{made}")
    expect(asked).to_be_hidden()
    page.get_by_role("link", name="Retrigger…").click()
    expect(page.get_by_role("button", name="Yes, retrigger now")).to_be_visible()


def test_the_language_link_changes_the_language(web, page):
    web.hand.fail(web.hand.announce())
    page.goto(web.url)
    page.get_by_role("link", name="中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("投递")
    page.get_by_role("link", name="来源", exact=True).click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")


def test_a_hostile_key_runs_nothing_and_widens_nothing(web, page):
    key = "prod/<img src=x onerror=alert(1)>\u202e" + "long" * 200 + ".zip"
    made = web.hand.announce(key)
    web.hand.fail(made)
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    for width in (1200, 380):
        page.set_viewport_size({"width": width, "height": 800})
        for path in ("/", f"/deliveries/{made}", "/notifications", "/sources"):
            page.goto(f"{web.url}{path}")
            overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0, (path, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(web, page, scheme):
    made = morning(web.hand)
    page.emulate_media(color_scheme=scheme)
    for path in ("/", f"/deliveries/{made['invoice']}", f"/deliveries/{made['nightly']}"):
        page.goto(f"{web.url}{path}")
        weak = page.evaluate(CONTRAST)
        assert weak == [], path


def test_it_works_without_script(chromium, web):
    made = web.hand.announce()
    web.hand.fail(made)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{web.url}/deliveries/{made}")
    page.locator("#retrigger > summary").click()
    page.get_by_role("button", name="Yes, retrigger now").click()
    expect(page.get_by_role("status")).to_contain_text("Retriggered")
    context.close()


CONTRAST = """() => {
  // WCAG 2.2, 1.4.3: 4.5 to 1, each text against the nearest ground that is not transparent.
  const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const weak = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !one.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(ground(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push([walker.currentNode.data.trim(), ratio.toFixed(2)]);
  }
  return weak;
}"""
