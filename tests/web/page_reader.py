"""Reads the HTML of a page as a browser does."""

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "img", "br"}


class PageReader(HTMLParser):
    """Collects the elements and the visible text of a page; fails if a tag is not closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(html)
        assert self.open == [], f"not closed: {self.open}"

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
        self.texts.append(text)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.texts))

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def read(response):
    assert response.status_code == 200, response.get_data(as_text=True)
    return PageReader(response.get_data(as_text=True))


def delivery_page(web, delivery_id, **options):
    return read(web.client.get(f"/deliveries/{delivery_id}", **options))
