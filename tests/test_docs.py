"""The documentation says what is so: links lead somewhere, commands and options exist, tables match the code."""

import ast
import http.client
import importlib.util
import json
import re
import shlex
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest
import yaml
from pydantic import TypeAdapter

from eps import errors
from eps.core.event import Event
from eps.core.record import parse_change_record
from eps.core.rendezvous import TunnelOutcome
from eps.directory.json_files import read_record_file
from eps.errors import EpsError, Outcome, Side, Stage
from eps.programs.running.families import FAMILIES
from eps.programs.running.metrics import Metrics
from support.command_lines import APPS, command_of
from support.promises import GROUPS as FAULTS
from support.promises import NOT_PROMISED

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    [*DOCS.glob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "SECURITY"))]
)

REFERENCE = (DOCS / "reference.md").read_text()


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


# --- links ---


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["reference-reliability.md", "reference-security.md"])
def test_tests_that_are_named_exist(page: str) -> None:
    """A link to a test's file has the test's name as its text."""
    named = re.findall(r"\[([^\]]+)\]\(\.\./tests/([^)]+)\)", (DOCS / page).read_text())
    assert named
    missing = [(file, text) for text, file in named if f"test_{text.replace(' ', '_')}" not in functions_of(file)]
    assert missing == []


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_a_fault_without_a_test_promises_nothing() -> None:
    for fault in (fault for group in FAULTS.values() for fault in group):
        assert fault.tests or fault.promised.startswith(NOT_PROMISED), fault.what


def test_every_test_that_breaks_something_is_named() -> None:
    named = {test for group in FAULTS.values() for fault in group for test in fault.tests}
    for path in sorted((ROOT / "tests" / "faults").glob("test_*.py")):
        tests = {name for name in functions_of(f"faults/{path.name}") if name.startswith("test_")}
        assert path.name == "test_tools.py" or any(f"faults/{path.name}::{name}" in named for name in tests), path.name


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [page.name for page in DOCS.glob("*.md") if f"docs/{page.name}" not in readme]
    assert missing == []


# --- commands ---


def command_lines(text: str) -> Iterator[list[str]]:
    """What readers are told to type: the programs' command lines in code blocks and between backticks."""
    blocks = [line.strip() for line in re.findall(r"^    .*$", re.sub(r" *\\\n +", " ", text), re.MULTILINE)]
    fenced = [line for block in re.findall(r"```(?:sh|ini)\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    for line in [*blocks, *fenced, *re.findall(r"`([^`\n]+)`", text)]:
        found = re.match(r"(?:[A-Z]+_SETTINGS=\S+ |Exec\w+=/\S+/)*((?:eps|sd|proxy) [^|#…\\\\]+)", line)
        if found:
            yield shlex.split(found[1])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    for words in command_lines(page.read_text()):
        check_command(words)


def check_command(words: list[str]) -> None:
    command = command_of(words[0])
    rest = words[1:]
    while rest:
        word, *rest = rest
        if word.startswith("-"):
            option = next((param for param in command.params if word in param.opts), None)
            assert option is not None or word in ("-", "-h", "--help"), f"{' '.join(words)}: no option {word}"
            if option is not None and not option.is_flag:
                rest = rest[1:]
        elif hasattr(command, "commands"):
            assert word in command.commands, f"{' '.join(words)}: no command {word}"
            command = command.commands[word]


def leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, f"{path} {name}")
    else:
        yield path, command


@pytest.mark.parametrize("program", APPS)
def test_every_command_and_option_is_in_the_reference(program: str) -> None:
    app = command_of(program)
    for path, command in leaves(app, program):
        shown = path if not path.endswith("version") else "version"
        assert f"`{shown}" in REFERENCE, path
        for param in [*app.params, *command.params]:
            for option in (opt for opt in param.opts if opt.startswith("--") and opt != "--help"):
                assert f"`{option}" in REFERENCE, f"{path} {option}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:^    |`)make ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert target in targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    made = (
        "settings/dev/certs",
        "settings/test/certs",
        "settings/dev/directory/002_",
        "settings/dev/roles/hd-1-wrong",
        "settings/dev/roles/clinic-9",
        "settings/dev/directory/clinic-9",
    )
    for path in re.findall(r"\b(?:settings|examples|tests|src|docs|bench|fuzz)/[\w./-]*\w", page.read_text()):
        assert path.startswith(made) or (ROOT / path).exists() or (ROOT / "src" / "eps" / path).exists(), path


# --- tables made from the code ---


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_up_to_date() -> None:
    made = generator()
    assert made.faults() == []
    for page in made.PAGES:
        assert made.filled(page.read_text()) == page.read_text(), "run: python docs/generate.py"


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        ("core.announcement.MAX_AHEAD days", "7 days"),
        ("core.limits.MAX_MESSAGE_BYTES B", "4 MiB"),
        ("core.clienthello.MAX_HELLO_BYTES B", "16 KiB"),
        ("settings.proxies.PublicProxySettings.idle_timeout h", "1 h"),
        ("grpc.guard.GuardLimits.resets", "5,000"),
    ],
)
def test_limits_in_sentences_come_from_the_code(limit: str, text: str) -> None:
    filled = generator().filled
    sentence = f"At most <!-- limit: {limit} -->{{}}<!-- end -->, not <!-- limit: {limit} -->{text}<!-- end -->."
    assert filled(sentence.format("9")) == sentence.format(text)


def test_limits_that_are_none() -> None:
    filled = generator().filled
    with pytest.raises(AttributeError):
        filled("<!-- limit: core.limits.NONE -->1<!-- end -->")


@pytest.mark.parametrize("page", sorted(DOCS.glob("howto-*.md")), ids=name_of)
def test_tables_of_limits_copy_no_number(page: Path) -> None:
    for table in re.findall(r"^\| limit \|.*\n\|[ -|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE):
        for row in table.splitlines():
            assert "<!-- limit: " in row or row.split("|")[2].strip() == "none", row


def test_generator_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = generator()
    monkeypatch.setitem(made.MEANINGS, "NoSuchSettings", {"burst": "no such thing"})
    monkeypatch.delitem(made.MEANINGS["RateLimitSettings"], "limit")
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert made.main() == 1
    told = capsys.readouterr().err
    assert "RateLimitSettings.limit: has no text under it" in told
    assert "NoSuchSettings: no such model" in told


def test_examples_of_settings_can_be_used() -> None:
    for model in generator().documented_models().values():
        for name, info in model.model_fields.items():
            kind = TypeAdapter(get_type_hints(model, include_extras=True)[name])
            for example in info.examples or ():
                kind.validate_python(example)


def test_meanings_of_settings_stay_in_the_source() -> None:
    """Read from there at every start, as pydantic could, they would cost 20 ms."""
    models = generator().documented_models().values()
    assert [info.description for model in models for info in model.model_fields.values() if info.description] == []


# --- errors ---


def table(heading: str, column: str) -> dict[str, str]:
    """First column (backticks removed) → second, of the table in reference.md whose first column is ``column``."""
    section = REFERENCE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.search(rf"^\| {re.escape(column)} \|.*\n\|[ -|]+\n((?:\|.*\n)+)", section, re.MULTILINE)
    assert rows is not None, (heading, column)
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[1].splitlines()]
    return {row[0].strip("`"): " | ".join(row[1:]) for row in cells}


def error_classes(kind: type[EpsError] = EpsError) -> Iterator[type[EpsError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from error_classes(inner)


def test_error_codes() -> None:
    ours = {kind.code for kind in error_classes() if kind.__module__ == errors.__name__}
    others = {409, -100}  # of one domain in an answer of the public proxy; of servers of others
    assert {int(code) for code in table("Errors", "code")} == ours | others


@pytest.mark.parametrize(("column", "words"), [("`stage`", Stage), ("`side`", Side), ("`outcome`", Outcome)])
def test_words_of_error_data(column: str, words: Any) -> None:
    assert list(table("Errors", column)) == [word.value for word in words]


def test_diagnosis_uses_no_other_words() -> None:
    text = (DOCS / "howto-diagnose.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|", text, re.MULTILINE)
    assert {row[0] for row in rows} == {word.value for word in Stage}
    assert {row[1] for row in rows} == {word.value for word in Side}
    assert {row[2] for row in rows} == {word.value for word in Outcome}


# --- events and metrics ---


def test_kinds_of_events() -> None:
    kinds = table("Logs", "`kind`")
    common = {field.name for field in fields(Event)}
    known = {kind.kind: kind for kind in Event.__subclasses__() if kind.__module__.startswith("eps.")}
    assert set(kinds) == set(known)
    for name, kind in known.items():
        keys = re.findall(r"`(\w+)`", kinds[name].rpartition("|")[2])
        assert set(keys) == {field.name for field in fields(kind)} - common, name


def test_metrics() -> None:
    families = {family.name: family for family in Metrics().registry.collect() if family.name.startswith("eps_")}
    named = {name: family.name for name, family in families.items()}
    documented = table("Metrics", "metric")
    assert {name.removesuffix("_total") for name in documented} == set(named)
    for name, text in documented.items():
        assert text.split(" | ")[0] == families[name.removesuffix("_total")].type, name


def test_labels_of_metrics() -> None:
    labels = table("Metrics", "label")
    outcomes = set(re.findall(r"`(\w+)`", labels["outcome` of tunnels"]))
    assert outcomes == {outcome.value for outcome in TunnelOutcome}
    used = {name for family in FAMILIES.values() for name in family.labels}
    assert {label.partition("`")[0] for label in labels} == used


# --- maps of the code ---


@pytest.mark.parametrize(
    "package", sorted(path.parent for path in (ROOT / "src" / "eps").rglob("*/__init__.py")), ids=name_of
)
def test_packages_open_with_a_map_of_their_modules(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    modules = [path.stem for path in package.glob("*.py") if path.stem != "__init__"]
    assert [name for name in modules if not re.search(rf"\b{name}\b", text)] == []


def test_places_on_the_map_exist() -> None:
    """Each file, and each function that is named behind it in the same line."""
    for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines():
        folder, text = ROOT / "src" / "eps", ""
        for name in re.findall(r"`([^`]+)`", line):
            if re.fullmatch(r"[\w/]+\.py", name):
                file = next(
                    (base / name for base in (ROOT / "src" / "eps", folder, ROOT) if (base / name).exists()), None
                )
                assert file is not None, name
                folder, text = file.parent, file.read_text()
            elif re.fullmatch(r"_?[a-z_]+", name) and text and not (ROOT / "src" / "eps" / name).exists():
                assert re.search(rf"def {name}\b", text), f"{name} in: {line}"


# --- what is to be copied ---


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_that_are_to_be_copied_can_be_read(page: Path) -> None:
    text = page.read_text()
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        assert isinstance(yaml.safe_load(block.replace("…, ", "").replace("…", "")), dict)
    for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
        for record in json.loads(block)["records"]:
            parse_change_record({**record, "created_at": "2026-11-22T00:00:00Z"})


# --- examples ---


def test_records_of_the_example() -> None:
    (found,) = read_record_file(ROOT / "examples" / "offer" / "records.json")
    base = read_record_file(ROOT / "settings" / "dev" / "directory" / "001_base.json")
    kept = next(item.record for item in base if (item.record.name, item.record.section) == ("hd-1", "services"))
    names = [service["name"] for service in found.record.data]
    assert names == [*(service["name"] for service in kept.data), "locations"]


def test_example_service() -> None:
    spec = importlib.util.spec_from_file_location("example_locations", ROOT / "examples" / "locations.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.Service.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), example.Service)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        assert ask(server, "add", {"name": "office", "address": "1 Main Street"}) == (200, {"count": 1})
        found = {"address": "1 Main Street", "added_by": "hd-1"}
        assert ask(server, "lookup", {"name": "office"}) == (200, found)
        assert ask(server, "lookup", {"name": "harbour"}) == (400, None)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(server: ThreadingHTTPServer, method: str, params: dict[str, Any]) -> tuple[int, Any]:
    """One call, as an EPS server posts it: the HTTP status and the result."""
    call = {"jsonrpc": "2.0", "method": method, "params": {**params, "_client": {"name": "hd-1"}}, "id": "7"}
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("POST", "/jsonrpc", json.dumps(call), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    body = json.load(answer)
    connection.close()
    assert body["id"] == "7"
    return answer.status, body.get("result")
