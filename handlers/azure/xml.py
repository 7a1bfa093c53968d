"""Safe XML parsing: document types are rejected, and with them entity expansion and fetching."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, XMLParser

import requests

from relay.sources.errors import not_understood


def read_xml(response: requests.Response, resource: str) -> Element:
    """Parse a document. TemporaryFailure if it is malformed or has a document type."""
    code = str(response.status_code)
    try:
        text = response.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_understood(resource, code) from error
    # The parser receives decoded text, so the declared encoding has no effect.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise not_understood(resource, code)
    try:
        parser = XMLParser()  # noqa: S314 - document types are rejected above
        parser.feed(text)
        return parser.close()
    except (ValueError, ParseError) as error:
        raise not_understood(resource, code) from error


def child_text(element: Element, *path: str) -> str:
    """The text at a path; "" if there is none."""
    return element.findtext("/".join(path)) or ""
