"""Finding plug-ins by kind, and making those that are configured."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from relay.config.load import Settings, SourceSettings, load
from relay.errors import ConfigError
from relay.outbound.session import HttpClientFactory
from relay.plugins import Plugins, build, find, known, settings_class
from relay.sources.contract import StorageHandler
from relay.targets.contract import Target

STRANGER = """
from pydantic import SecretStr
from relay.channels.contract import Channel
from relay.errors import ConfigError
from relay.sources.contract import StorageHandler
from relay.config.load import ChannelSettings, SourceSettings


class Shelf(StorageHandler):
    class Settings(SourceSettings):
        secret: SecretStr = SecretStr("none")
        broken: str = ""

    def __init__(self, name, settings):
        super().__init__(name, settings)
        self.closed = False
        if settings.broken == "config":
            raise ConfigError("secret", "is not enough", "Set more.")
        if settings.broken:
            raise RuntimeError(settings.secret.get_secret_value())

    def parse(self, record):
        return ()

    def open(self, ref, start=0, end=None):
        raise NotImplementedError

    def close(self):
        self.closed = True
        if self.settings.token:
            raise RuntimeError("cannot close")


class Odd(StorageHandler):
    Settings = ChannelSettings


class Bell(Channel):
    def post(self, message):
        return "ding"


not_a_class = 3
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules of a stranger, importable while the test runs."""
    before = set(sys.modules)
    (tmp_path / "stranger.py").write_text(STRANGER)
    (tmp_path / "needy.py").write_text("import no_such_sdk_of_anybody\n")
    (tmp_path / "torn.py").write_text("import relay.sources.no_such\n")
    (tmp_path / "crashing.py").write_text("raise RuntimeError('s3cr3t')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in {"stranger", "needy", "torn", "crashing"} & (set(sys.modules) - before):
        del sys.modules[name]


@pytest.fixture
def entry_points(modules: Path) -> None:
    """The same modules as an installed distribution announces them."""
    metadata = modules / "stranger-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[relay.handlers]\nshelf = stranger:Shelf\nneedy = needy:Handler\ns3 = stranger:Shelf\n"
        "[relay.channels]\nbell = stranger:Bell\n"
    )


def settings(text: str, tmp_path: Path) -> Settings:
    file = tmp_path / "relay.toml"
    file.write_text(text)
    return load(file, {}, settings_class)


def made(text: str, tmp_path: Path) -> Plugins:
    return build(settings(text, tmp_path), HttpClientFactory())


def test_our_own_kinds_are_their_modules() -> None:
    for group, kind in [("handlers", "s3"), ("targets", "functiongraph"), ("channels", "slack")]:
        assert kind in find(group, kind).__module__.split(".")
        assert kind in known(group)


def test_every_kind_that_is_known_can_be_found() -> None:
    for group in ("handlers", "targets", "channels"):
        for kind in known(group):
            assert find(group, kind).__name__ == group[:-1].title()


def test_modules_that_plug_ins_share_are_no_kinds() -> None:
    assert known("targets") == ["functiongraph"]
    assert "card" not in known("channels")
    for group, module in (("targets", "contract"), ("channels", "card")):
        with pytest.raises(ConfigError, match="no plug-in has this name"):
            find(group, module)


@pytest.mark.usefixtures("entry_points")
def test_foreign_plug_ins_are_found_by_entry_point() -> None:
    assert issubclass(find("handlers", "shelf"), StorageHandler)
    assert "shelf" in known("handlers")
    assert "bell" in known("channels")


@pytest.mark.usefixtures("entry_points")
def test_a_foreign_plug_in_cannot_replace_a_built_in_kind() -> None:
    assert find("handlers", "s3").__module__ == "relay.handlers.s3.handler"


def test_foreign_plug_ins_are_found_by_dotted_path() -> None:
    assert find("handlers", "stranger:Shelf").__name__ == "Shelf"
    assert settings_class("handlers", "stranger:Shelf").__name__ == "Settings"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nosuch", "no plug-in has this name. Known: .*s3"),
        ("", "no plug-in has this name"),
        ("S3", "no plug-in has this name"),
        ("../s3", "no plug-in has this name"),
        ("s3.x", "no plug-in has this name"),
        ("__init__", "no plug-in has this name"),
        ("os.path:join:x", "no plug-in has this name"),
        ("nosuch_module:Handler", "a module that is not installed"),
        ("stranger.deep:Handler", "a module that is not installed"),
        ("stranger:Nosuch", "names a module that has no class Nosuch"),
        ("stranger:Bell", r"not name a subclass of relay\.sources\.contract\.StorageHandler"),
        (
            "stranger:not_a_class",
            r"not name a subclass of relay\.sources\.contract\.StorageHandler",
        ),
        ("needy:Handler", "needs the Python package no_such_sdk_of_anybody"),
        ("torn:Handler", r"needs the file relay/sources/no_such\.py, which is missing"),
        ("crashing:Handler", "cannot be imported: RuntimeError"),
    ],
)
def test_what_is_no_plug_in_says_so_in_words(kind: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        find("handlers", kind)
    assert "s3cr3t" not in str(raised.value)


def test_a_kind_that_is_no_identifier_imports_nothing(modules: Path) -> None:
    (modules / "handlers" / "sub").mkdir(parents=True)
    before = set(sys.modules)
    for kind in ("sub/evil", "sub.evil", "evil-kind", "..evil", "_evil"):
        with pytest.raises(ConfigError):
            find("handlers", kind)
    assert {name for name in set(sys.modules) - before if "evil" in name} == set()


@pytest.mark.usefixtures("entry_points")
def test_a_missing_package_names_the_extra_to_install() -> None:
    with pytest.raises(ConfigError, match=r'pip install "ziprelay\[needy\]"'):
        find("handlers", "needy")


def test_settings_of_the_wrong_sort_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"do not inherit relay\.config\.settings\.SourceSettings"
    ):
        settings_class("handlers", "stranger:Odd")


def test_everything_configured_is_made(tmp_path: Path) -> None:
    plugins = made(
        """
        [sources.shelf]
        kind = "stranger:Shelf"
        [channels.bell]
        kind = "stranger:Bell"
        [targets.prod]
        kind = "functiongraph"
        region = "cn-north-4"
        project_id = "0123456789abcdef0123456789abcdef"
        access_key = "ak"
        secret_key = "sk"
        """,
        tmp_path,
    )
    assert plugins.errors == ()
    assert plugins.sources["shelf"].name == "shelf"
    assert isinstance(plugins.sources["shelf"].settings, SourceSettings)
    assert isinstance(plugins.targets["prod"], Target)
    assert plugins.channels["bell"].outbound
    plugins.close()


def test_a_plug_in_that_fails_does_not_prevent_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plugins = made(
        """
        [sources.good]
        kind = "stranger:Shelf"
        [sources.wrong]
        kind = "stranger:Shelf"
        broken = "config"
        [sources.crashing]
        kind = "stranger:Shelf"
        broken = "yes"
        secret = "s3cr3t"
        """,
        tmp_path,
    )
    assert list(plugins.sources) == ["good"]
    assert [str(error) for error in plugins.errors] == [
        "sources.wrong.secret: is not enough. Set more.",
        "sources.crashing: the plug-in cannot be created: RuntimeError.",
    ]
    assert [record.path for record in caplog.records] == [
        "sources.wrong.secret",
        "sources.crashing",
    ]


def test_closing_reaches_all_of_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = '[sources.{}]\nkind = "stranger:Shelf"\ntoken = "{}"\n'
    plugins = made(source.format("a", "breaks") + source.format("b", ""), tmp_path)
    with caplog.at_level(logging.ERROR):
        plugins.close()
    assert [source.closed for source in plugins.sources.values()] == [True, True]
    assert caplog.records[0].plug_in == "a"


def test_a_plug_in_that_disappeared_after_loading_is_reported(tmp_path: Path) -> None:
    read = settings('[sources.s]\nkind = "stranger:Shelf"\n', tmp_path)
    gone = read.model_copy(update={"sources": {"s": SimpleNamespace(kind="nosuch")}})
    plugins = build(gone, HttpClientFactory())
    assert "no plug-in has this name" in str(plugins.errors[0])
    assert plugins.errors[0].path == "sources.s"
