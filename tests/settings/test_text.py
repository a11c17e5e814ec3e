"""YAML and JSON as trees, and every way in which a file can be refused."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from eps.settings import text as module
from eps.settings.node import locate, plain
from eps.settings.text import TextError, parse_text, read_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        ("# only a comment\n", {}),
        ("---\n", {}),
        ("a: 1\nb: text\nc: [1, 2.5, true, no]\nd:\n", {"a": 1, "b": "text", "c": [1, 2.5, True, False]}),
        ("a: 2026-11-22\nb: 2026-11-22T10:00:00Z", {"a": "2026-11-22", "b": "2026-11-22T10:00:00Z"}),
        ("a: localhost:4444\nb: '5'\nc: 0x10", {"a": "localhost:4444", "b": "5", "c": 16}),
        ("a!: [1]", {"a": [1]}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, c: 1}\nd: {<<: *x, c: 2}", {"a": {"b": 1, "c": 1}, "d": {"b": 1, "c": 2}}),
        (
            "a: &x {b: 1}\nc: &y {b: 2, d: 2}\ne: {<<: [*x, *y]}",
            {"a": {"b": 1}, "c": {"b": 2, "d": 2}, "e": {"b": 1, "d": 2}},
        ),
        ("a: !!str 5", {"a": "5"}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: ü€😀", {"a": "ü€😀"}),
    ],
)
def test_yaml(text: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text(text, encoding="utf-8")
    assert plain(parse_text(read_text(path), "x.yml")) == value


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: 2\na: 3", 3, "duplicate key 'a', first in line 1"),
        ("m:\n  a: 1\n  a: 1", 3, "duplicate key 'a'"),
        ("a!: 1\na!: 2", 2, "duplicate key 'a!'"),
        ("a: [1\n", 2, "is not YAML"),
        ("a: 1\n\tb: 2", 2, "is not YAML"),
        ("a: 'x", 1, "is not YAML"),
        ("a: 1\n---\nb: 2", 2, "is not YAML"),
        ("a: *nothing", 1, "is not YAML"),
        ("a: 1\nb: \x07", 2, "is not YAML"),
        ("a: !!python/object/apply:os.system [x]", 1, "tag .* is not allowed"),
        ("a: !!binary aGk=", 1, "tag .* is not allowed"),
        ("a: !!set {x}", 1, "tag .* is not allowed"),
        ("a: !mine 1", 1, "tag .* is not allowed"),
        ("a: !!int x", 1, "'x' is not a value"),
        ("a: !!bool x", 1, "'x' is not a value"),
        ("a: !!int ''", 1, "'' is not a value"),
        ("1: a", 1, "a key must be text, not a whole number"),
        ("x: 1\n? [a]\n: b", 2, "a key must be text"),
        ("a: &x [*x]", 1, "an alias stands inside the value it names"),
        ('a: "\\UFFFFFFFF"', 0, "is not YAML"),
        ("a: {<<: 1}", 1, "<< takes a map"),
        ('a: "\\ud800"', 1, "lone surrogate"),
        ("a: " + "[" * 70 + "]" * 70, 0, "nested"),
        ("a: " + "[" * 5000 + "]" * 5000, 0, "nested too deeply"),
    ],
)
def test_bad_yaml(text: str, line: int, reason: str) -> None:
    with pytest.raises(TextError, match=reason) as info:
        parse_text(text, "x.yml")
    assert info.value.line == line


def test_aliases_that_multiply() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    with pytest.raises(TextError, match="more than 100000 values"):
        parse_text("\n".join(lines), "x.yml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{}", {}),
        (' {"a" : [ ] , "b":{ } }\n', {"a": [], "b": {}}),
        (
            '{"a": [1, -2.5e3, true, false, null, "x\\u00e9\\n\\/\\ud83d\\ude00"], "b!": {"c": "{[,"}}',
            {"a": [1, -2500.0, True, False, None, "xé\n/😀"], "b": {"c": "{[,"}},
        ),
        ('{\r\n\t"a": 1}', {"a": 1}),
    ],
)
def test_json(text: str, value: Any) -> None:
    assert plain(parse_text(text, "x.json")) == value


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "is not JSON"),
        ("{", 1, "is not JSON"),
        ('{"a": 1,\n}', 2, "is not JSON"),
        ('{"a": 1,\n"a": 2}', 2, "duplicate key 'a', first in line 1"),
        ('{"m": [1, {\n"a": 1,\n\n"a": 2}]}', 4, "duplicate key 'a', first in line 2"),
        ('{"a": NaN}', 0, "NaN is not a JSON number"),
        ('{"a": -Infinity}', 0, "-Infinity is not a JSON number"),
        ('{"a":\n"\\ud800"}', 2, "lone surrogate"),
        ('{"\\udc00": 1}', 1, "lone surrogate"),
        ('{"a": ' + "9" * 5000 + "}", 0, "is not JSON"),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", 0, "64 levels"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", 0, "nested too deeply"),
    ],
)
def test_bad_json(text: str, line: int, reason: str) -> None:
    with pytest.raises(TextError, match=reason) as info:
        parse_text(text, "x.json")
    assert info.value.line == line


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text().filter(lambda k: k[-1:] != "!"), inner),
    max_leaves=20,
)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


@given(json_values, st.sampled_from([None, 1]), st.booleans())
def test_json_reads_what_the_standard_library_wrote(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps({"v": value}, indent=indent, ensure_ascii=ascii_only)
    assert plain(parse_text(text, "x.json")) == _without_nulls({"v": value})


yaml_values = st.recursive(
    st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text().filter(lambda k: k[-1:] != "!"), inner),
    max_leaves=20,
)


@given(yaml_values)
def test_yaml_reads_what_pyyaml_reads(value: Any) -> None:
    text = yaml.safe_dump({"v": value})
    assert plain(parse_text(text, "x.yml")) == yaml.safe_load(text)


@given(st.text(), st.sampled_from(["x.yml", "x.json"]))
def test_any_text_is_read_or_refused(text: str, name: str) -> None:
    with contextlib.suppress(TextError):
        parse_text(text, name)


@pytest.mark.parametrize("name", ["x.json", "x.yml"])
def test_lines(name: str) -> None:
    text = '{\n "a": {\n  "b": [\n   1,\n   {"c": 2}]},\n "d": 3}'
    node = parse_text(text, name)
    lines = {("a",): 2, ("a", "b"): 3, ("a", "b", 0): 4, ("a", "b", 1, "c"): 5, ("d",): 6}
    assert {loc: locate(node, loc)[1].origin.line for loc in lines} == lines


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TextError, match="no such file"):
        read_text(tmp_path / "x.yml")
    with pytest.raises(TextError, match="can't be read: Is a directory"):
        read_text(tmp_path)
    path = tmp_path / "x.yml"
    path.write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(TextError, match="not UTF-8") as info:
        read_text(path)
    assert info.value.line == 2
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 8)
    path.write_bytes(b"a: 1\n# ..")
    with pytest.raises(TextError, match="larger than 8 bytes"):
        read_text(path)
    path.write_bytes(b"a: 1\n# .")
    assert read_text(path) == "a: 1\n# ."
