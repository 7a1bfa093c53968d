"""Draws a page of ours into a file, with the Chromium that is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SIZE = re.compile(r'data-size="(\d{1,5}),(\d{1,5})"')
_SECONDS = 60
_ARGUMENTS = (
    *("--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions"),
    *("--disable-background-networking", "--disable-component-update"),
)


def draw(html: str, picture: Path) -> Path:
    """Writes the picture; without Chromium, or where it fails, the page beside it. What was
    written."""
    with tempfile.TemporaryDirectory(prefix="relay-") as folder:
        page, drawn = Path(folder, "page.html"), Path(folder, "page.png")
        page.write_text(html, "utf-8")
        told = _chromium(folder, "--dump-dom", page.as_uri())
        if size := _SIZE.search(told):
            width, height = size.groups()
            window = f"--window-size={width},{height}"
            _chromium(folder, f"--screenshot={drawn}", window, page.as_uri())
        if drawn.exists():
            shutil.copyfile(drawn, picture)
            return picture
    instead = picture.with_suffix(".html")
    instead.write_text(html, "utf-8")
    return instead


def _chromium(folder: str, *arguments: str) -> str:
    """What it printed; nothing where it is not there or did not end well."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        return ""
    # As root it refuses to start in its sandbox. What it shows is ours, and escaped.
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command = [found, *_ARGUMENTS, f"--user-data-dir={folder}/profile", *root, *arguments]
    try:
        ended = subprocess.run(  # noqa: S603 - a browser by its name, arguments of ours
            command, capture_output=True, timeout=_SECONDS, check=True, cwd=folder
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return ended.stdout.decode("utf-8", "replace")
