"""The route that matches an event, and the resulting function name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.load import Route
from relay.config.routing import match, names, stem
from relay.errors import PermanentFailure
from relay.model import Event, NewDelivery, ObjectRef, State

MD5 = "0123456789abcdef0123456789ABCDEF"


def event(key: str = "prod/hello.zip", bucket: str = "exports") -> Event:
    return Event(ObjectRef(bucket, key), "etag:1", "created")


def route(source: str = "exports", target: str = "prod", **more: Any) -> Route:
    return Route(source=source, target=target, **more)


class TestMatch:
    def test_the_first_match_wins(self) -> None:
        routes = [route(key="dev/*"), route(key="prod/*", target="a"), route(key="*", target="b")]
        found = match(routes, "exports", event())
        assert (found.route, found.destination) == ("exports#2", "a")

    def test_it_brings_the_routes_options_and_channels(self) -> None:
        one = route(
            key="*/*.zip", func_name="f_{1}", package="p", on_conflict="update", channels=("ops",)
        )
        assert match([one], "exports", event()) == NewDelivery(
            "exports#1",
            "prod",
            {
                "func_name": "f_{1}",
                "package": "p",
                "on_conflict": "update",
                "replace_environment": False,
                "export_shape": "require",
                "groups": ["prod", "hello"],
            },
            ("ops",),
            function="f_prod",
        )

    @pytest.mark.parametrize(
        "other",
        [
            route(source="elsewhere"),
            route(bucket="other-*"),
            route(key="dev/*"),
            route(key="PROD/*"),
            route(key="hello.zip"),
        ],
    )
    def test_what_no_route_takes_is_skipped_with_the_reason(self, other: Route) -> None:
        found = match([other], "exports", event())
        assert found == NewDelivery("", "", {}, (), State.SKIPPED, "no route")

    def test_without_a_key_every_zip_is_taken_and_nothing_else(self) -> None:
        assert match([route()], "exports", event("a/b.zip")).destination == "prod"
        assert match([route()], "exports", event("a/readme.txt")).state == State.SKIPPED

    def test_a_route_goes_by_its_name_if_it_has_one(self) -> None:
        assert match([route(name="live")], "exports", event()).route == "live"

    def test_a_route_of_another_source_moves_no_numbers(self) -> None:
        routes = [route(source="other"), route(key="x"), route(source="other"), route()]
        assert match(routes, "exports", event()).route == "exports#2"

    @given(st.text())
    def test_any_key_goes_somewhere(self, key: str) -> None:
        assert match([route(key="*")], "exports", event(key)).destination == "prod"


class TestNames:
    @pytest.mark.parametrize(
        ("template", "name"),
        [
            ("{function}", "hello"),
            ("fixed", "fixed"),
            ("{bucket}-{stem}", "exports-world"),
            ("{key}", f"prod/eu/world{MD5}.zip"),
            ("{1}_{2}", f"prod_eu/world{MD5}"),
        ],
    )
    def test_each_field_is_filled(self, template: str, name: str) -> None:
        one = event(f"prod/eu/world{MD5}.zip")
        options = match([route(key="*/*.zip", func_name=template)], "exports", one).options
        assert names(options, one, "hello") == (name, "default")

    def test_the_package_is_a_template_too(self) -> None:
        options = match([route(key="*/*", package="team_{1}")], "exports", event()).options
        assert names(options, event(), "hello") == ("hello", "team_prod")

    def test_what_is_filled_in_is_no_template(self) -> None:
        one = event("{function}/x.zip")
        options = match([route(key="*/*", func_name="{1}")], "exports", one).options
        assert names(options, one, "hello")[0] == "{function}"

    @pytest.mark.parametrize(
        ("template", "key", "function"),
        [
            ("{function}", "x.zip", None),
            ("{function}", "x.zip", ""),
            ("a-{function}", "x.zip", None),
            ("{stem}", "prod/.zip", "hello"),
            ("{1}", ".zip", "hello"),
        ],
    )
    def test_an_empty_name_is_a_failure_in_words(
        self, template: str, key: str, function: str | None
    ) -> None:
        options = match([route(func_name=template)], "exports", event(key)).options
        with pytest.raises(PermanentFailure, match="comes out empty for this object") as raised:
            names(options, event(key), function)
        assert raised.value.code == "route.empty_name"
        assert raised.value.message.zh != raised.value.message.en

    def test_an_unknown_field_is_a_failure_in_words(self) -> None:
        with pytest.raises(PermanentFailure, match=r"has \{3\}, which is not known") as raised:
            names({"func_name": "{3}", "groups": ["a"]}, event(), "hello")
        assert "{1}, {bucket}, {function}, {key}, {stem}" in raised.value.hint.en


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("hello.zip", "hello"),
        ("a/b/hello.ZIP", "hello"),
        (f"a/hello{MD5}.zip", "hello"),
        (f"hello_{MD5}.zip", "hello"),
        (f"{MD5}.zip", MD5),
        (f"hello{MD5[:-1]}.zip", f"hello{MD5[:-1]}"),
        ("hello", "hello"),
        ("a/", ""),
        ("hello.zip.zip", "hello.zip"),
    ],
)
def test_the_stem_is_the_name_without_zip_and_digest(key: str, expected: str) -> None:
    assert stem(key) == expected
