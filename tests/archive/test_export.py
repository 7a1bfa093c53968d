"""Exports: a single YAML file of limited size, and the code file that it names."""

from __future__ import annotations

import time

import pytest

from relay.archive.inspect import inspect
from relay.archive.strict_yaml import as_boolean, as_integer, load
from relay.errors import PermanentFailure
from tests.archive.conftest import File, StoredObject, Zip


def document(**changes):
    """Return the YAML with lines replaced (a value) or omitted (None)."""
    lines = {
        "version": "HcCrmTemplateVersion: v1",
        "resources": "Resources:",
        "function": "  hello:",
        "type": "    Type: HC::Serverless::Function",
        "properties": "    Properties:",
        "handler": "      Handler: index.handler",
        "runtime": "      Runtime: Python3.9",
        "code": "      CodeFileName: index.zip",
        "memory": "      MemorySize: 128",
        "timeout": "      Timeout: 3",
        "more": "",
        **changes,
    }
    return "\n".join(line for line in lines.values() if line is not None).encode()


def report_of(yaml, name="hello.yaml"):
    files = [File("index.zip", b"code"), File(name, yaml, method=8)]
    stored = StoredObject(Zip(files).bytes())
    return inspect(stored.size, stored.read)


BAD = {
    "no version": ("export.template", document(version=None)),
    "a list": ("export.template", b"- a\n- b\n"),
    "nothing": ("export.template", b""),
    "only text": ("export.template", b"hello"),
    "no resources": ("export.resources", b"HcCrmTemplateVersion: v1\n"),
    "resources as text": ("export.resources", b"HcCrmTemplateVersion: v1\nResources: hello\n"),
    "two functions": (
        "export.resources",
        document(more="  other:\n    Type: HC::Serverless::Function\n"),
    ),
    "no name": ("export.function_name", document(function='  "":')),
    "another type": ("export.type", document(type="    Type: HC::Serverless::Trigger")),
    "no type": ("export.type", document(type=None)),
    "an empty resource": (
        "export.properties",
        b"HcCrmTemplateVersion: v1\nResources:\n  hello:\n",
    ),
    "properties as text": (
        "export.properties",
        b"HcCrmTemplateVersion: v1\nResources:\n  hello:\n    Properties: x\n",
    ),
    "no code name": ("export.code_name", document(code=None)),
    "no text as code name": ("export.code_name", document(code="      CodeFileName: [a]")),
    "an empty code name": ("export.code_name", document(code="      CodeFileName: ~")),
    "a code file that does not exist": (
        "export.code_missing",
        document(code="      CodeFileName: b.zip"),
    ),
    "the YAML as code": ("export.code_missing", document(code="      CodeFileName: hello.yaml")),
    "not UTF-8": (
        "export.yaml_encoding",
        document(more="      Description: \xff").decode().encode("latin-1"),
    ),
    "a tab": ("export.yaml_syntax", document(more="\tx: 1")),
    "not closed": ("export.yaml_syntax", document(more="      Description: 'open")),
    "two documents": ("export.yaml_syntax", document(more="---\na: 1")),
    "a duplicate key": ("export.yaml_syntax", document(more="      Timeout: 5")),
    "a control character": ("export.yaml_syntax", document(more='      Description: "\x01"')),
    "a NUL": ("export.yaml_syntax", document(more='      Description: "a\\0b"')),
    "half a character": ("export.yaml_syntax", document(more='      Description: "\\ud800"')),
    "an impossible character": ("export.yaml_syntax", document(more='      A: "\\UFFFFFFFF"')),
    "a merge key": ("export.yaml_merge", document(more="      <<: {Timeout: 5}")),
    "a directive": ("export.yaml_directive", b"%YAML 1.1\n---\n" + document()),
    "a directive after the document": (
        "export.yaml_directive",
        document(more="...") + b"\n%TAG !a! b\n---\na: 1",
    ),
    "many directives": (
        "export.yaml_directive",
        b"\xef\xbb\xbf\xef\xbb\xbf" + b"%TAG !a! b\r" * 60_000 + b"---\r" + document(),
    ),
    "a list as key": ("export.yaml_syntax", document(more="      ? [a]\n      : b")),
    "an alias": ("export.yaml_alias", document(more="      A: &a x\n      B: *a")),
    "an anchor": ("export.yaml_alias", document(more="      A: &a x")),
    "a billion laughs": (
        "export.yaml_alias",
        b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nHcCrmTemplateVersion: v1\n",
    ),
    "a tag": ("export.yaml_tag", document(more="      A: !!python/object/apply:os.system [ls]")),
    "a harmless tag": ("export.yaml_tag", document(more="      A: !!binary aGVsbG8=")),
    "deep": ("export.yaml_deep", document(more="      A: " + "[" * 500 + "]" * 500)),
    "deep by indentation": (
        "export.yaml_deep",
        "\n".join(" " * level + "a:" for level in range(200)).encode(),
    ),
    "endless": ("export.yaml_long", document(more="      A: [" + "x," * 60_000 + "]")),
    "too large": ("export.yaml_size", document(more="# " + "x" * 1_100_000)),
}


@pytest.mark.parametrize(("code", "yaml"), BAD.values(), ids=BAD)
def test_an_invalid_yaml_is_refused_with_a_readable_message(code, yaml):
    began = time.monotonic()
    report = report_of(yaml)
    assert time.monotonic() - began < 2
    assert code in [finding.code for finding in report.errors]
    for finding in report.errors:
        assert finding.message.en
        assert finding.message.en != finding.message.zh
        assert finding.hint.zh
        assert len(finding.message.en) < 400


def test_a_syntax_error_names_the_line():
    report = report_of(document(more="\tx: 1"))
    assert "line 11" in report.errors[0].message.en
    assert "第 11 行" in report.errors[0].message.zh


OWN_SYNTAX_ERRORS = {
    "a duplicate key": ("      Timeout: 5", "第 11 行：键 Timeout 重复"),
    "two documents": ("---\na: 1", "第 11 行：存在第二个文档"),
    "a list as key": ("      ? [a]\n      : b", "第 11 行：存在非文本的键"),
    "a NUL": ('      Description: "a\\0b"', "第 11 行：值中含有非文本字符"),
}


@pytest.mark.parametrize(("line", "chinese"), OWN_SYNTAX_ERRORS.values(), ids=OWN_SYNTAX_ERRORS)
def test_a_syntax_error_is_in_both_languages(line, chinese):
    message = report_of(document(more=line)).errors[0].message
    assert message.zh == f"YAML 文件无法解析：{chinese}"
    assert "line 11: " in message.en


def test_an_error_of_the_parser_is_quoted_in_chinese():
    message = report_of(document(more="\tx: 1")).errors[0].message
    assert "语法错误（解析器提示：" in message.zh
    assert message.en.rpartition(": ")[2] in message.zh


@pytest.mark.parametrize(
    "scalar",
    [
        '"x\u2028%y"',
        "'x\u2029%y'",
        "'x\u2028%TAG !a! b'",
        pytest.param('"x\n%y"', id="a line that starts with %"),
    ],
)
def test_a_quoted_text_may_have_a_line_that_starts_with_percent(scalar):
    (value,) = load(f"a: {scalar}\n").values()
    assert "%" in value


def test_a_quoted_text_with_a_next_line_character_may_have_percent_after_it():
    assert load("a: 'x\u0085%y'\n") == {"a": "x %y"}


def test_a_hostile_yaml_with_percent_takes_no_time():
    began = time.monotonic()
    for hostile in ("[" * 900_000, "\n " + "- " * 450_000, "[" + "[]," * 300_000 + "]"):
        with pytest.raises(PermanentFailure):
            load(f"a: 'x\u2028%'\nb: {hostile}")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("names", [["a.yaml", "b.yml"], ["a.YAML", "deep/b.yaml"]])
def test_two_yaml_files_are_an_error(names):
    files = [File("index.zip"), *[File(name, document()) for name in names]]
    stored = StoredObject(Zip(files).bytes())
    report = inspect(stored.size, stored.read)
    assert [finding.code for finding in report.errors] == ["export.many_yaml"]
    assert report.export is None


UNDOCUMENTED = {
    "runtime": ("export.runtime", document(runtime="      Runtime: Cobol60")),
    "runtime as number": ("export.runtime", document(runtime="      Runtime: 3.9")),
    "runtime as list": ("export.runtime", document(runtime="      Runtime: [Python3.9]")),
    "memory as hex": ("export.memory", document(memory="      MemorySize: 0x80")),
    "timeout as time": ("export.timeout", document(timeout="      Timeout: 1:30")),
    "a timeout without end": (
        "export.timeout",
        document(timeout="      Timeout: " + "9" * 5000),
    ),
    "memory": ("export.memory", document(memory="      MemorySize: 129")),
    "memory as text": ("export.memory", document(memory="      MemorySize: 128M")),
    "timeout": ("export.timeout", document(timeout="      Timeout: 259201")),
    "handler": ("export.handler", document(handler="      Handler: handler")),
}


@pytest.mark.parametrize(("code", "yaml"), UNDOCUMENTED.values(), ids=UNDOCUMENTED)
def test_undocumented_values_are_only_notes(code, yaml):
    report = report_of(yaml)
    assert [(finding.code, finding.level) for finding in report.findings] == [(code, "note")]
    assert report.export.code.name == "index.zip"


@pytest.mark.parametrize("runtime", ["Java21", "Custom", "Custom Image", "C#(.NET Core 6.0)"])
def test_documented_values_add_no_note(runtime):
    yaml = document(runtime=f"      Runtime: {runtime}", handler='      Handler: "-"')
    assert report_of(yaml).findings == ()


@pytest.mark.parametrize("runtime", ["http", "Custom", "Go1.x", "Cangjie1.0"])
def test_the_handler_of_some_runtimes_is_a_file(runtime):
    yaml = document(runtime=f"      Runtime: {runtime}", handler="      Handler: bootstrap")
    assert report_of(yaml).findings == ()


@pytest.mark.parametrize("runtime", ["Rust1.0", "Python3.99"])
def test_the_handler_of_an_unknown_runtime_is_not_judged(runtime):
    yaml = document(runtime=f"      Runtime: {runtime}", handler="      Handler: bootstrap2")
    assert [finding.code for finding in report_of(yaml).findings] == ["export.runtime"]


def test_another_template_version_is_a_warning():
    report = report_of(document(version="HcCrmTemplateVersion: v2"))
    assert [finding.code for finding in report.findings] == ["export.template_version"]
    assert report.errors == ()


def test_unknown_keys_are_accepted():
    yaml = document(more="      FuncVpc: {vpc_id: abc}\n      Strategy: [1, 2]")
    report = report_of(yaml)
    assert report.findings == ()
    assert report.export.properties["FuncVpc"] == {"vpc_id": "abc"}


AS_WRITTEN = [
    *("0123456701", "0x1F", "0b11", "0o17", "1_000", "1e3", "1.10", ".inf", ".NaN", "12:30:45"),
    *("190:20:30.15", "+8613800138000", "-0", "2021-01-01", "2001-99-99", "yes", "on", "No", "y"),
    *("=", "<", "9" * 5000, "1:1" * 5000, "0x" + "F" * 5000, "true", "TRUE"),
]


@pytest.mark.parametrize("scalar", AS_WRITTEN, ids=lambda scalar: scalar[:16])
def test_a_scalar_is_the_text_as_written(scalar):
    assert load(f"a: {scalar}\nb: [{scalar}]\n") == {"a": scalar, "b": [scalar]}
    if len(scalar) < 100:  # YAML limits the length of a key
        assert load(f"{scalar}: x\n") == {scalar: "x"}


def test_a_large_number_takes_no_time():
    """A zip of about a kilobyte can hold such a YAML of 1,000,000 bytes."""
    began = time.monotonic()
    load("a: 1" + ":1" * 500_000)
    load("a: " + "9" * 1_000_000)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("null", ["", "~", "null", "Null", "NULL"])
def test_a_null_property_is_absent_and_a_null_variable_is_text(null):
    yaml = document(
        timeout=f"      Timeout: {null}",
        more=f"      Vpc: {{id: {null}, list: [{null or '~'}, a]}}\n      Text: '{null}'\n"
        f"      Environment:\n        Variables:\n          A: {null}\n          on: off",
    )
    properties = report_of(yaml).export.properties
    assert "Timeout" not in properties
    assert properties["Vpc"] == {"list": ["a"]}
    assert properties["Text"] == null
    assert properties["Environment"] == {"Variables": {"A": null, "on": "off"}}


@pytest.mark.parametrize("name", ["on", "null", "12", "yes", "1e3", "~"])
def test_a_function_name_is_text_as_written(name):
    export = report_of(document(function=f"  {name}:")).export
    assert (export.function, export.properties["Timeout"]) == (name, "3")


@pytest.mark.parametrize("number", ["30", "+30", "0030", "'30'", '"30"'])
def test_a_number_may_be_quoted(number):
    assert report_of(document(timeout=f"      Timeout: {number}")).findings == ()


def test_numbers_and_booleans_are_read_where_they_are_expected():
    assert as_integer("9" * 20) == 10**20 - 1
    for text in ("9" * 21, "0x1F", "1_0", "1.0", "", "٣", "1\n", 3, None, True, ["1"]):
        assert as_integer(text) is None
    assert [as_boolean(text) for text in ("true", "No", "ON")] == [True, False, True]
    for text in ("y", "1", "", None, True):
        assert as_boolean(text) is None


def test_a_byte_order_mark_and_crlf_are_accepted():
    yaml = b"\xef\xbb\xbf" + document().replace(b"\n", b"\r\n")
    assert report_of(yaml, "hello.YML").findings == ()
