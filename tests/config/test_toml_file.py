"""Where values come from: the file, the environment over it, and what ${...} puts in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from relay.config.load import config_path, load, secrets
from relay.config.toml_file import expand
from relay.errors import ConfigErrors

from .conftest import ConfigErrorsOf, Loader, resolve

SOURCE = '[sources.exports]\nkind = "bucket"\n'
TARGET = '[targets.prod]\nkind = "cloud"\nregion = "cn-north-4"\n'


def test_without_a_file_there_are_defaults_and_the_environment() -> None:
    settings = load(None, {"RELAY_DATABASE__URL": "postgresql://relay@db/relay"}, resolve)
    assert settings.database.url == "postgresql://relay@db/relay"
    assert settings.delivery.attempts == 20


def test_the_file_asked_for_beats_the_environments_and_that_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"RELAY_CONFIG": "/etc/relay.toml"}
    assert config_path(Path("mine.toml"), environ) == Path("mine.toml")
    assert config_path(None, environ) == Path("/etc/relay.toml")
    assert config_path(None, {}) is None
    Path("relay.toml").touch()
    assert config_path(None, {}) == Path("relay.toml")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"public_url = = 1", "is not TOML. Look at line 1"),
        (b"a = 1\nb = '\xff'", "is not UTF-8 text at line 2"),
        (b"\xef\xbb\xbf\xff\n\n", "is not UTF-8 text at line 1"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"#" * (2**20 + 1), "is larger than 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(file: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigErrors, match=words):
        load(file, {}, resolve)


def test_a_byte_order_mark_is_no_part_of_the_file(file: Path) -> None:
    file.write_text('public_url = "https://relay.example.com"\n', encoding="utf-8-sig")
    assert load(file, {}, resolve).public_url == "https://relay.example.com"


class TestEnvironment:
    def test_it_beats_the_file(self, loaded: Loader) -> None:
        text = '[database]\nurl = "sqlite:///a.db"\n'
        assert loaded(text, RELAY_DATABASE__URL="sqlite:///b.db").database.url == "sqlite:///b.db"

    def test_it_reaches_a_source_whatever_the_case_of_its_name(self, loaded: Loader) -> None:
        text = '[sources.My-Exports]\nkind = "bucket"\n'
        settings = loaded(text, RELAY_SOURCES__MY_EXPORTS__TOKEN="t0ken")
        assert list(secrets(settings)) == ["t0ken"]
        assert set(settings.sources) == {"My-Exports"}

    def test_it_can_make_a_source_of_its_own(self, loaded: Loader) -> None:
        settings = loaded(RELAY_SOURCES__NEW__KIND="bucket", RELAY_SOURCES__NEW__REGION="eu")
        assert settings.sources["new"].region == "eu"

    def test_its_text_becomes_the_type_of_the_setting(self, loaded: Loader) -> None:
        settings = loaded(
            TARGET,
            RELAY_DELIVERY__ATTEMPTS="7",
            RELAY_SERVER__WORKER="false",
            RELAY_DELIVERY__LEASE="45s",
            RELAY_TARGETS__PROD__MAX_SIZE="50MB",
        )
        assert settings.delivery.attempts == 7
        assert settings.server.worker is False
        assert settings.delivery.lease == timedelta(seconds=45)
        assert settings.targets["prod"].max_size == 50_000_000

    @pytest.mark.parametrize("text", ["a,b", " a , b ,", '["a", "b"]'])
    def test_a_list_is_json_or_has_commas(self, loaded: Loader, text: str) -> None:
        settings = loaded(SOURCE, RELAY_SOURCES__EXPORTS__BUCKETS=text)
        assert settings.sources["exports"].buckets == ("a", "b")

    def test_a_secret_that_looks_like_json_stays_text(self, loaded: Loader) -> None:
        key = '{"type": "service_account"}'
        settings = loaded(SOURCE, RELAY_SOURCES__EXPORTS__SECRET_ACCESS_KEY=key)
        assert list(secrets(settings)) == [key]

    def test_all_routes_can_come_as_json(self, loaded: Loader) -> None:
        routes = '[{"source": "exports", "target": "prod", "key": "x/*"}]'
        assert loaded(SOURCE + TARGET, RELAY_ROUTES=routes).routes[0].key == "x/*"

    def test_what_kubernetes_sets_for_a_service_called_relay_is_no_setting(
        self, loaded: Loader
    ) -> None:
        loaded(
            RELAY_SERVICE_HOST="10.0.0.1",
            RELAY_SERVICE_PORT_HTTP="80",
            RELAY_PORT="tcp://10.0.0.1:80",
            RELAY_PORT_80_TCP_ADDR="10.0.0.1",
            RELAY_CONFIG="relay.toml",
        )

    def test_a_variable_that_the_file_refers_to_is_known(self, loaded: Loader) -> None:
        text = '[api]\ntokens = ["${RELAY_API_TOKEN}"]\n'
        settings = loaded(text, RELAY_API_TOKEN="abcdefgh")
        assert list(secrets(settings)) == ["abcdefgh"]

    @pytest.mark.parametrize(
        ("variable", "meant"),
        [
            ("RELAY_DATABSE__URL", "RELAY_DATABASE__URL"),
            ("RELAY_DATABASE_URL", "RELAY_DATABASE__URL"),
            ("RELAY_DATABASE__ULR", "RELAY_DATABASE__URL"),
            ("RELAY_PUBLIC_ULR", "RELAY_PUBLIC_URL"),
            ("RELAY_API_TOKEN", "RELAY_API__TOKENS"),
            ("RELAY_SOURCE__EXPORTS__TOKEN", "RELAY_SOURCES__EXPORTS__TOKEN"),
            ("RELAY_SOURCES__EXPORTS__REGOIN", "RELAY_SOURCES__EXPORTS__REGION"),
            ("RELAY_SOURCES_EXPORTS_KIND", "RELAY_SOURCES__EXPORTS__KIND"),
            ("RELAY_CONFG", "RELAY_CONFIG"),
            ("RELAY_CONFIG_FILE", "RELAY_CONFIG"),
        ],
    )
    def test_an_error_about_an_unknown_variable_suggests_a_known_variable(
        self, wrong: ConfigErrorsOf, variable: str, meant: str
    ) -> None:
        assert wrong(SOURCE, **{variable: "x"}) == {
            variable: f"no setting has this name. Did you mean `{meant}`?"
        }

    def test_an_error_about_a_strange_variable_explains_the_format(
        self, wrong: ConfigErrorsOf
    ) -> None:
        error = wrong(RELAY_WWWWWW="x")["RELAY_WWWWWW"]
        assert "such as RELAY_DATABASE__URL; RELAY_CONFIG names the file" in error

    @pytest.mark.parametrize("variable", ["RELAY_ROUTES__0__TARGET", "RELAY_ROUTES__KEY"])
    @pytest.mark.parametrize("text", ["", '[[routes]]\nsource = "exports"\ntarget = "prod"\n'])
    def test_a_single_route_cannot_be_set(
        self, wrong: ConfigErrorsOf, text: str, variable: str
    ) -> None:
        errors = wrong(SOURCE + TARGET + text, **{variable: "x"})
        assert set(errors) == {variable}
        assert (
            "a single route cannot be set by a variable. Write it as [[routes]]" in errors[variable]
        )

    def test_a_wrong_value_says_that_it_came_from_the_environment(
        self, wrong: ConfigErrorsOf
    ) -> None:
        errors = wrong(RELAY_DELIVERY__ATTEMPTS="many")
        assert errors["delivery.attempts"] == (
            "should be a whole number. It comes from the environment: RELAY_DELIVERY__ATTEMPTS."
        )

    @pytest.mark.parametrize("variable", ["RELAY_", "RELAY_DATABASE__", "RELAY___URL"])
    def test_a_name_with_nothing_in_it_is_no_setting(
        self, wrong: ConfigErrorsOf, variable: str
    ) -> None:
        assert variable in wrong(**{variable: "x"})

    def test_a_table_cannot_be_both_a_value_and_a_table(self, wrong: ConfigErrorsOf) -> None:
        errors = wrong(RELAY_DATABASE="x", RELAY_DATABASE__URL="sqlite:///x")
        assert "inside a value that is not a table" in errors["RELAY_DATABASE__URL"]


class TestReferences:
    def test_each_form(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("s3cret\n")
        environ = {"NAME": "value", "EMPTY": ""}
        for text, expanded in {
            "${NAME}": "value",
            "a ${NAME} b ${NAME}": "a value b value",
            "${GONE:-else}": "else",
            "${EMPTY:-else}": "else",
            "${EMPTY}": "",
            "${GONE:-}": "",
            f"${{file:{secret}}}": "s3cret",
            "$${NAME}": "${NAME}",
            "$NAME costs $5": "$NAME costs $5",
        }.items():
            assert expand(text, environ) == expanded

    def test_what_is_put_in_is_not_looked_at_again(self) -> None:
        assert expand("${A}", {"A": "${B}", "B": "no"}) == "${B}"

    def test_a_secret_file_loses_its_last_newline_only(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_bytes(b"-----\nabc\r\n")
        assert expand(f"${{file:{tmp_path}/key}}", {}) == "-----\nabc"

    @pytest.mark.parametrize(
        ("reference", "words"),
        [
            ("${GONE}", "needs the environment variable GONE, which is not set"),
            ("${file:/nowhere/at/all}", "a file that cannot be read: No such file"),
            ("${file:/}", "a file that cannot be read: Is a directory"),
            ("${NAME", "has a ${ that no } closes"),
            ("${}", "not ${NAME}, ${NAME:-default} or ${file:/path}"),
            ("${a-b}", "not ${NAME}, ${NAME:-default} or ${file:/path}"),
        ],
    )
    def test_a_reference_that_cannot_be_replaced_is_an_error_at_that_path(
        self, wrong: ConfigErrorsOf, reference: str, words: str
    ) -> None:
        errors = wrong(f"[sources.exports]\nkind = 'bucket'\ntoken = '{reference}'\n")
        assert words in errors.pop("sources.exports.token")
        assert not errors

    def test_secret_files_are_read_up_to_a_bound(self, tmp_path: Path) -> None:
        big = tmp_path / "big"
        big.write_bytes(b"x" * 70_000)
        with pytest.raises(ValueError, match="larger than 65536 bytes"):
            expand(f"${{file:{big}}}", {})

    def test_they_are_replaced_deep_in_lists_and_in_the_environments_values(
        self, loaded: Loader
    ) -> None:
        routes = '[{"source": "exports", "target": "prod", "key": "${PREFIX}/*"}]'
        settings = loaded(
            SOURCE + TARGET,
            RELAY_ROUTES=routes,
            PREFIX="prod",
            RELAY_PUBLIC_URL="https://${PREFIX}",
        )
        assert settings.routes[0].key == "prod/*"
        assert settings.public_url == "https://prod"

    def test_the_environment_beats_a_reference_that_leads_nowhere(self, loaded: Loader) -> None:
        text = SOURCE + 'token = "${GONE}"\n'
        assert list(secrets(loaded(text, RELAY_SOURCES__EXPORTS__TOKEN="here"))) == ["here"]

    def test_errors_quote_no_part_of_a_value_in_the_environment(
        self, wrong: ConfigErrorsOf
    ) -> None:
        errors = wrong(SOURCE, RELAY_SOURCES__EXPORTS__TOKEN="pass${WORD}")
        assert errors == {"RELAY_SOURCES__EXPORTS__TOKEN": "has a ${...} that cannot be replaced. "}
