"""Cards as their services show them: each fits, and deploy/README.md has their pictures."""

import base64
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.cli.channels_samples import sample_message
from relay.outbound.session import HttpClientFactory
from relay.plugins import find
from tests.channels.card_preview import render_page

PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"
LARGEST = 400_000
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DELIVERY = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
LINKS = {"delivery": DELIVERY, "retrigger": f"{DELIVERY}#retrigger"}
SHEETS = {
    "cards-en": ("en", ("slack", "teams", "discord"), ("succeeded", "failed", "digest")),
    "cards-zh": ("zh", ("feishu", "dingtalk", "wecom"), ("succeeded", "failed", "digest")),
    "card": ("en", ("slack", "teams"), ("failed",)),
}
"""What each picture shows: language, kinds, types."""

AS_WEBP = """async (png) => {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", 0.5).split(",")[1];
}"""


def posted(kind, language, word):
    channel_class = find("channels", kind)
    chosen = {"kind": kind, "url": "https://example.com/a/secret-path", "language": language}
    channel = channel_class("ops", channel_class.Settings(**chosen), HttpClientFactory())
    try:
        return kind, channel.preview(sample_message(word, NOW, LINKS, test=False))
    finally:
        channel.close()


def sheet(name):
    language, kinds, words = SHEETS[name]
    return render_page([posted(kind, language, word) for word in words for kind in kinds], language)


@pytest.mark.parametrize("name", SHEETS)
def test_every_card_is_shown_whole(page, name):
    page.set_viewport_size({"width": 1280, "height": 800})
    page.set_content(sheet(name))
    cards = page.locator(".message")
    assert cards.count() == len(SHEETS[name][1]) * len(SHEETS[name][2])
    wide = cards.evaluate_all("all => all.filter((one) => one.scrollWidth > one.clientWidth)")
    assert wide == []
    assert page.locator(".mention").count() == 0
    for word in {"en": ("Import", "Try again"), "zh": ("导入", "重新触发")}[SHEETS[name][0]]:
        assert page.get_by_text(word).count() > 0
    shot = page.locator("body").screenshot()
    if os.environ.get("RELAY_SCREENSHOTS") == "1":
        PICTURES.mkdir(exist_ok=True)
        small = page.evaluate(AS_WEBP, base64.b64encode(shot).decode())
        (PICTURES / f"{name}.webp").write_bytes(base64.b64decode(small))


def test_the_pictures_are_there_and_small():
    sizes = {one.stem: one.stat().st_size for one in PICTURES.glob("*")}
    assert sizes.keys() == SHEETS.keys()
    assert sum(sizes.values()) <= LARGEST
