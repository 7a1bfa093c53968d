"""The exports that the demo and the tests are made with are genuine."""

from __future__ import annotations

import hashlib
import io
import zipfile

import yaml

from relay.testing.sandbox.exports import export_name, make_export, write_export
from tests.archive.conftest import StoredObject


def opened(export):
    return zipfile.ZipFile(io.BytesIO(export))


def test_an_export_is_a_code_zip_beside_its_yaml():
    with opened(make_export("hello")) as export:
        assert export.namelist() == ["index.zip", "hello.yaml"]
        document = yaml.safe_load(export.read("hello.yaml"))
        assert document["HcCrmTemplateVersion"] == "v1"
        properties = document["Resources"]["hello"]["Properties"]
        assert properties["CodeFileName"] == "index.zip"
        with opened(export.read("index.zip")) as code:
            assert b"def handler" in code.read("index.py")
            assert code.testzip() is None
    assert StoredObject(make_export("hello")).archive().report.findings == ()


def test_an_export_is_what_was_asked_for():
    made = make_export("f", runtime="Node.js20.15", handler="a.b", code={"a.js": b"1"}, Timeout=9)
    with opened(made) as export:
        document = yaml.safe_load(export.read("f.yaml"))
        properties = document["Resources"]["f"]["Properties"]
        assert (properties["Runtime"], properties["Handler"]) == ("Node.js20.15", "a.b")
        assert properties["Timeout"] == 9
        with opened(export.read("index.zip")) as code:
            assert code.namelist() == ["a.js"]


def test_the_same_is_the_same_and_big_ones_do_not_shrink(tmp_path):
    made = make_export("hello", code_size=2_000_001)
    assert 2_000_001 < len(made) < 2_002_000
    assert made == make_export("hello", code_size=2_000_001)
    write_export(tmp_path / "hello.zip", "hello", code_size=2_000_001)
    assert (tmp_path / "hello.zip").read_bytes() == made


def test_it_is_named_as_the_console_names_it():
    assert export_name("hello", b"code") == f"hello{hashlib.md5(b'code').hexdigest()}.zip"
