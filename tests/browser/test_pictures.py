"""Pictures of cards for deploy/README.md, made from the previews in tests/channels.

RELAY_SCREENSHOTS=1 writes them; install fonts-noto-color-emoji and fonts-wqy-microhei before.
"""

import base64
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.channels.samples import sample_message
from relay.outbound.session import HttpClientFactory
from relay.plugins import find
from tests.channels.card_preview import render_page

PICTURES = Path(__file__).parents[2] / "deploy" / "pictures"
LARGEST = 400_000
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DELIVERY = "https://relay.example.com/deliveries/01kq3v0m5n6p7q8r9s0t1v2w3x"
SHEETS = {
    "cards-en": ("en", ("slack", "teams", "discord"), ("succeeded", "failed", "digest")),
    "cards-zh": ("zh", ("feishu", "dingtalk", "wecom"), ("succeeded", "failed", "digest")),
    "card": ("en", ("slack", "teams"), ("failed",)),
}
"""Content of each picture: language, kinds, types."""

AS_WEBP = """async (png) => {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0);
  return canvas.toDataURL("image/webp", 0.5).split(",")[1];
}"""


def render_sample(kind, language, type_):
    channel_class = find("channels", kind)
    settings = {"kind": kind, "url": "https://example.com/a/secret-path", "language": language}
    channel = channel_class("ops", channel_class.Settings(**settings), HttpClientFactory())
    try:
        return kind, channel.preview(sample_message(type_, "01kq", NOW, DELIVERY))
    finally:
        channel.close()


def render_sheet(name):
    language, kinds, types = SHEETS[name]
    messages = [render_sample(kind, language, type_) for type_ in types for kind in kinds]
    return render_page(messages, language)


@pytest.mark.parametrize("name", SHEETS)
def test_every_card_fits_into_the_preview(page, name):
    page.set_viewport_size({"width": 1280, "height": 800})
    page.set_content(render_sheet(name))
    cards = page.locator(".message")
    assert cards.count() == len(SHEETS[name][1]) * len(SHEETS[name][2])
    overflowing = "all => all.filter((card) => card.scrollWidth > card.clientWidth)"
    assert cards.evaluate_all(overflowing) == []
    assert page.locator(".mention").count() == 0
    for text in {"en": ("Import", "Try again"), "zh": ("导入", "重新触发")}[SHEETS[name][0]]:
        assert page.get_by_text(text).count() > 0
    screenshot = page.locator("body").screenshot()
    if os.environ.get("RELAY_SCREENSHOTS") == "1":
        PICTURES.mkdir(exist_ok=True)
        webp = page.evaluate(AS_WEBP, base64.b64encode(screenshot).decode())
        (PICTURES / f"{name}.webp").write_bytes(base64.b64decode(webp))


def test_the_pictures_exist_and_are_small():
    sizes = {picture.stem: picture.stat().st_size for picture in PICTURES.glob("*")}
    assert sizes.keys() == SHEETS.keys()
    assert sum(sizes.values()) <= LARGEST
