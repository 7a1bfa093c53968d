"""The exports created for the demo and the tests have the documented format."""

from __future__ import annotations

import hashlib
import io
import zipfile

import yaml

from relay.testing.sandbox.exports import export_name, make_export, write_export
from tests.archive.conftest import StoredObject


def open_zip(export):
    return zipfile.ZipFile(io.BytesIO(export))


def test_an_export_contains_a_code_zip_and_a_yaml():
    with open_zip(make_export("hello")) as export:
        assert export.namelist() == ["index.zip", "hello.yaml"]
        document = yaml.safe_load(export.read("hello.yaml"))
        assert document["HcCrmTemplateVersion"] == "v1"
        properties = document["Resources"]["hello"]["Properties"]
        assert properties["CodeFileName"] == "index.zip"
        with open_zip(export.read("index.zip")) as code:
            assert b"def handler" in code.read("index.py")
            assert code.testzip() is None
    assert StoredObject(make_export("hello")).archive().report.findings == ()


def test_the_arguments_of_make_export_are_applied():
    export_bytes = make_export(
        "f", Runtime="Node.js20.15", Handler="a.b", code={"a.js": b"1"}, Timeout=9
    )
    with open_zip(export_bytes) as export:
        document = yaml.safe_load(export.read("f.yaml"))
        properties = document["Resources"]["f"]["Properties"]
        assert (properties["Runtime"], properties["Handler"]) == ("Node.js20.15", "a.b")
        assert properties["Timeout"] == 9
        with open_zip(export.read("index.zip")) as code:
            assert code.namelist() == ["a.js"]


def test_exports_are_reproducible_and_padding_is_incompressible(tmp_path):
    export_bytes = make_export("hello", code_size=2_000_001)
    assert 2_000_001 < len(export_bytes) < 2_002_000
    assert export_bytes == make_export("hello", code_size=2_000_001)
    write_export(tmp_path / "hello.zip", "hello", code_size=2_000_001)
    assert (tmp_path / "hello.zip").read_bytes() == export_bytes


def test_the_file_name_matches_that_of_the_console():
    assert export_name("hello", b"code") == f"hello{hashlib.md5(b'code').hexdigest()}.zip"
