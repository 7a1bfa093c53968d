"""XML from Azure Storage, read with care: no document type, so no entity that grows or fetches."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, XMLParser

import requests

from relay.sources.errors import not_understood


def read_xml(answer: requests.Response, thing: str) -> Element:
    """The root of a document. TemporaryFailure: it is none, or has a document type."""
    code = str(answer.status_code)
    try:
        text = answer.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_understood(thing, code) from error
    # Whatever encoding it claims, it is read as the text that is looked at here.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise not_understood(thing, code)
    try:
        parser = XMLParser()  # noqa: S314 - document types were refused
        parser.feed(text)
        return parser.close()
    except (ValueError, ParseError) as error:
        raise not_understood(thing, code) from error


def text_in(element: Element, *path: str) -> str:
    """The text at a path; "" when there is none."""
    return element.findtext("/".join(path)) or ""
