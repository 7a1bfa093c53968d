"""Settings of the built-in plug-ins: errors explain a wrong value without quoting it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.config.load import PLUG_INS, load
from relay.errors import ConfigErrors
from relay.plugins import known, settings_class
from relay.sources.envelopes import ENVELOPES

ConfigErrorsOf = Callable[..., dict[str, str]]


@pytest.fixture
def wrong(file: Path) -> ConfigErrorsOf:
    """wrong("sources", "s3", 'region = "x"') -> what is wrong with it: path -> words and hint."""

    def wrong(group: str, kind: str, lines: str, **environ: str) -> dict[str, str]:
        file.write_text(f'[{group}.x]\nkind = "{kind}"\n{lines}\n', encoding="utf-8")
        with pytest.raises(ConfigErrors) as raised:
            load(file, environ, settings_class)
        return {error.path: f"{error.message.en}. {error.hint.en}" for error in raised.value.errors}

    return wrong


def patterned() -> Iterator[tuple[str, str, str, str]]:
    for group, plug_ins in PLUG_INS.items():
        for kind in known(plug_ins):
            for name, field in settings_class(plug_ins, kind).model_fields.items():
                if any(getattr(one, "pattern", None) for one in field.metadata):
                    yield group, kind, name, str(field.description)


@pytest.mark.parametrize(("group", "kind", "name", "described"), list(patterned()))
def test_an_error_about_a_malformed_text_shows_the_correct_form(
    wrong: ConfigErrorsOf, group: str, kind: str, name: str, described: str
) -> None:
    error = wrong(group, kind, f'{name} = "s3cret !"')[f"{group}.x.{name}"]
    assert error == f"is not of the right form. {described[0].upper()}{described[1:]}."


def test_an_error_names_the_origin_of_the_value(wrong: ConfigErrorsOf) -> None:
    errors = wrong("sources", "s3", "", RELAY_SOURCES__X__REGION="!")
    assert errors["sources.x.region"] == (
        "is not of the right form. "
        "Such as us-east-1; for AWS hosts, the default is in the host name. "
        "It comes from the environment: RELAY_SOURCES__X__REGION."
    )


@pytest.mark.parametrize(
    ("group", "kind", "name", "example"),
    [
        ("sources", "s3", "endpoint_url", "https://s3.example.com"),
        ("sources", "s3", "sqs_queue_url", "https://sqs.us-east-1.amazonaws.com/123456789012/"),
        ("sources", "azure", "queue_url", "https://ACCOUNT.queue.core.windows.net/NAME"),
        ("sources", "gcs", "endpoint_url", "https://"),
        ("targets", "functiongraph", "endpoint", "https:// and a host"),
        ("channels", "webhook", "url", "https:// and names a host"),
    ],
)
@pytest.mark.parametrize(
    "url",
    [
        "nowhere",
        "https://u:p℀S3CRET@h",
        "https://u:p[S3CRET@h",
        "https://S3CRET:99999",
        "https://S3CRET:0",
    ],
)
def test_an_error_about_an_invalid_address_shows_a_valid_one(
    wrong: ConfigErrorsOf, group: str, kind: str, name: str, example: str, url: str
) -> None:
    error = wrong(group, kind, f'{name} = "{url}"')[f"{group}.x.{name}"]
    assert example in error
    assert "S3CRET" not in error


def test_an_envelope_that_does_not_exist_is_an_error(wrong: ConfigErrorsOf) -> None:
    assert wrong("sources", "s3", 'accept = ["sns", "bares"]') == {
        "sources.x.accept[1]": "no envelope has this name. Did you mean `bare`?"
    }
    error = wrong("sources", "gcs", 'accept = ["?"]')["sources.x.accept[0]"]
    assert f"Known here: {', '.join(sorted(ENVELOPES))}." in error


def test_an_sns_topic_must_be_an_sns_arn(wrong: ConfigErrorsOf, file: Path) -> None:
    errors = wrong("sources", "s3", 'sns_topic_arns = ["arn:aws:sqs:x"]')
    assert "arn:aws:sns:REGION:ACCOUNT:TOPIC" in errors["sources.x.sns_topic_arns[0]"]
    for partition in ("aws", "aws-cn", "aws-us-gov"):
        arn = f"arn:{partition}:sns:region:123456789012:uploads"
        file.write_text(f'[sources.x]\nkind = "s3"\nsns_topic_arns = ["", "{arn}"]\n')
        assert load(file, {}, settings_class).sources["x"].sns_topic_arns == (arn,)
