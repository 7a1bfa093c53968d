"""The pages in a real browser: typical use, keyboard, contrast, hostile names."""

import hashlib
import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from relay.model import Localized, Problem
from tests.web.web_ledger import UNREACHABLE

TOKEN = "token-of-the-browser-tests"
SHOTS = Path(__file__).parent / "screenshots"
TRUNCATED = Problem(
    "archive.truncated",
    Localized("The archive ends early: its directory is missing", "压缩包不完整：缺少目录"),
    Localized(
        "Upload it again; the upload was probably cut off.", "请重新上传，上次上传可能中断了。"
    ),
)
INVOICE_RESULT = {
    "runtime": "Python3.9",
    "handler": "index.handler",
    "code_size": 1_840_917,
    "size": 1_843_200,
    "digest": "7d3a9c41e0b2f865" * 8,
}


def save_screenshot(page, name):
    """Save a picture for the README if RELAY_SCREENSHOTS=1."""
    if os.environ.get("RELAY_SCREENSHOTS") == "1":
        SHOTS.mkdir(exist_ok=True)
        # A machine without Chinese fonts would show the language link as boxes.
        page.locator("[hreflang]").evaluate("link => { link.style.visibility = 'hidden' }")
        page.screenshot(path=SHOTS / f"{name}.png")


def create_deliveries(driver):
    """Create deliveries in all states over a morning. Returns their ids by name."""
    ids = {}

    def announce(name, file, source="exports", size=1_843_200, **fields):
        etag = hashlib.md5(file.encode()).hexdigest()
        ids[name] = driver.announce(file, source, etag=etag, size=size, **fields)
        return ids[name]

    forward = driver.clock.forward
    driver.skip(announce("geo", "prod/geo-lookup.zip"))
    forward(hours=1)
    driver.succeed(announce("thumbs", "prod/image-thumbnailer.zip"), "image-thumbnailer")
    forward(minutes=47)
    announce("readme", "prod/README.txt")
    driver.succeed(announce("mailer", "prod/order-mailer.zip"), "order-mailer", seconds=2)
    forward(minutes=21)
    driver.fail(announce("nightly", "prod/nightly-report.zip", size=402), TRUNCATED, response=None)
    forward(minutes=9)
    driver.succeed(announce("pay", "team-a/payments-webhook.zip", "archive"), "payments-webhook")
    forward(minutes=3)
    announce("invoice", "prod/invoice-export.zip", version="3HL4kqtJvjVBH40Nrjfkd")
    forward(milliseconds=120)
    driver.retry(ids["invoice"], seconds=10, retry_after=12)
    forward(seconds=12)
    driver.succeed(ids["invoice"], "invoice-export", seconds=1.8, **INVOICE_RESULT)
    driver.post(driver.message_of(ids["invoice"]))
    forward(seconds=50)
    driver.retry(announce("ledger", "prod/ledger-sync.zip"), seconds=10, retry_after=40)
    forward(seconds=4)
    driver.claim(announce("search", "prod/search-indexer.zip"))
    forward(seconds=3)
    announce("cart", "prod/cart-cleanup.zip")
    return ids


def test_a_failed_delivery_is_found_and_retriggered(web, page):
    ids = create_deliveries(web.driver)
    page.goto(web.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Deliveries")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(10)
    expect(rows.first).to_contain_text("cart-cleanup")
    save_screenshot(page, "deliveries")

    page.locator("select[name=state]").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="nightly-report").click()
    expect(page.get_by_text("The archive ends early").first).to_be_visible()
    expect(page.get_by_text("Upload it again").first).to_be_visible()

    button = page.get_by_role("button", name="Retrigger now")
    expect(button).to_be_hidden()
    page.locator("#retrigger > summary").click()
    page.get_by_label("If the name is taken").select_option("update")
    button.click()
    expect(page.get_by_role("status")).to_contain_text("Retriggered")
    delivery = web.ledger.history.delivery(ids["nightly"])
    assert (delivery.state, delivery.trigger) == ("pending", "manual")
    assert delivery.options["on_conflict"] == "update"


def test_a_delivery_page_shows_all_steps_from_the_event_to_the_message(web, page):
    ids = create_deliveries(web.driver)
    page.goto(f"{web.url}/deliveries/{ids['invoice']}")
    steps = page.locator(".timeline > li h3")
    expect(steps).to_have_text(
        [
            "Event received",
            "Attempt 1: failed, will be retried",
            "Attempt 2: succeeded",
            "Function imported",
            "Message to ops ✓succeeded",
        ]
    )
    expect(page.locator(".urn")).to_contain_text("function:default:invoice-export")
    save_screenshot(page, "delivery")
    page.get_by_role("link", name="view notification").click()
    expect(page.locator("pre")).to_contain_text("prod/invoice-export.zip")


def test_a_delivery_page_updates_without_a_reload(web, page):
    delivery_id = web.driver.announce()
    page.goto(f"{web.url}/deliveries/{delivery_id}")
    expect(page.locator(".headline .chip")).to_contain_text("pending")
    web.driver.retry(delivery_id)
    expect(page.locator(".headline .chip")).to_contain_text("retrying", timeout=10_000)
    expect(page.locator(".trouble").first).to_contain_text(UNREACHABLE.message.en)


def test_login_and_logout(open_web, page):
    web = open_web(tokens=(TOKEN,))
    delivery_id = web.driver.announce()
    page.goto(f"{web.url}/deliveries/{delivery_id}")
    field = page.get_by_label("Token")
    field.fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("Invalid token")
    # The browser logs the refused login as an error.
    assert "401" in page.errors.pop()
    field.fill(TOKEN)
    field.press("Enter")
    expect(page).to_have_url(f"{web.url}/deliveries/{delivery_id}")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{web.url}/login")
    page.goto(web.url)
    expect(page).to_have_url(f"{web.url}/login?next=/")


def test_a_delivery_can_be_retriggered_by_keyboard(web, page):
    delivery_id = web.driver.announce()
    web.driver.fail(delivery_id)
    page.goto(f"{web.url}/deliveries/{delivery_id}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    summary = page.locator("#retrigger > summary")
    for _ in range(25):
        page.keyboard.press("Tab")
        if summary.evaluate("element => element === document.activeElement"):
            break
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Retriggered")


def test_the_fragment_retrigger_opens_the_form(web, page):
    delivery_id = web.driver.announce()
    web.driver.fail(delivery_id)
    page.goto(f"{web.url}/deliveries/{delivery_id}#retrigger")
    button = page.get_by_role("button", name="Retrigger now")
    expect(button).to_be_visible()
    page.goto(web.url)
    page.goto(f"{web.url}/deliveries/{delivery_id}")
    expect(button).to_be_hidden()
    page.get_by_role("link", name="Retrigger…").click()
    expect(button).to_be_visible()


def test_the_language_link_changes_the_language(web, page):
    web.driver.fail(web.driver.announce())
    page.goto(web.url)
    page.get_by_role("link", name="中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("投递")
    page.get_by_role("link", name="来源", exact=True).click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")


def test_a_hostile_key_runs_no_script_and_does_not_widen_the_page(web, page):
    key = "prod/<img src=x onerror=alert(1)>\u202e" + "long" * 200 + ".zip"
    delivery_id = web.driver.announce(key)
    web.driver.fail(delivery_id)
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    for width in (1200, 380):
        page.set_viewport_size({"width": width, "height": 800})
        for path in ("/", f"/deliveries/{delivery_id}", "/notifications", "/sources"):
            page.goto(f"{web.url}{path}")
            overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0, (path, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast(web, page, scheme):
    ids = create_deliveries(web.driver)
    page.emulate_media(color_scheme=scheme)
    for path in ("/", f"/deliveries/{ids['invoice']}", f"/deliveries/{ids['nightly']}"):
        page.goto(f"{web.url}{path}")
        weak = page.evaluate(CONTRAST)
        assert weak == [], path


def test_a_delivery_can_be_retriggered_without_javascript(chromium, web):
    delivery_id = web.driver.announce()
    web.driver.fail(delivery_id)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{web.url}/deliveries/{delivery_id}")
    page.locator("#retrigger > summary").click()
    page.get_by_role("button", name="Retrigger now").click()
    expect(page.get_by_role("status")).to_contain_text("Retriggered")
    context.close()


CONTRAST = """() => {
  // WCAG 2.2, 1.4.3: 4.5 to 1 for each text against the nearest opaque background.
  const parse = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => {
    const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const background = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const weak = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const colour = parse(getComputedStyle(element).color);
    const [a, b] = [luminance(colour), luminance(background(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push([walker.currentNode.data.trim(), ratio.toFixed(2)]);
  }
  return weak;
}"""
