"""Reads the HTML of a page as a browser does."""

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "img", "br"}


class Reader(HTMLParser):
    """Reads a page: its visible text, its elements, and whether every tag is closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(html)
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open[-1:] == [tag], f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, text):
        self.words.append(text)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def read(answer):
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return Reader(answer.get_data(as_text=True))


def story(web, delivery_id, **options):
    return read(web.client.get(f"/deliveries/{delivery_id}", **options))
