"""The directory from files of unsigned records."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from eps.directory import DirectorySource
from eps.directory import json_files as module
from eps.directory.json_files import JsonDirectory, read_record_file, record_files
from eps.errors import SettingsError


def write(path: Path, *records: Any) -> Path:
    path.write_text(json.dumps({"records": records}))
    return path


def groups(name: str, *names: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "section": "groups", "data": list(names), **more}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path, encoding: str) -> None:
    file = write(tmp_path / "r.json", groups("a", "ä"))
    file.write_bytes(json.dumps({"records": [groups("a", "g")]}).encode(encoding))
    assert [item.record.name for item in read_record_file(file)] == ["a"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("-----BEGIN CERTIFICATE-----", "holds a certificate or a key, not JSON"),
        ('{"records": [],}', "trailing comma at line 1 column 16"),
    ],
    ids=["empty", "blank", "pem", "comma"],
)
def test_a_file_that_holds_no_json(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "r.json"
    file.write_text(content)
    with pytest.raises(SettingsError) as refused:
        read_record_file(file)
    assert refused.value.message.count(str(file)) == 1 and says in refused.value.message
    assert refused.value.hint and "NaN" not in refused.value.hint


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_file_in_utf_16_is_called_so(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "r.json"
    file.write_bytes("\ufeff".encode(encoding) * (encoding != "utf-16") + '{"records": []}'.encode(encoding))
    with pytest.raises(SettingsError, match="is text in UTF-16") as refused:
        read_record_file(file)
    assert refused.value.hint == "save it as UTF-8"


async def test_a_folder_is_read_in_name_order(tmp_path: Path) -> None:
    write(tmp_path / "002.json", groups("a", "later"), groups("c"))
    write(tmp_path / "001.json", groups("a", "first"), groups("b", "x", created_at="2026-11-22T10:00:00Z"))
    (tmp_path / "README.md").write_text("not a file of records")
    (tmp_path / "sub.json").mkdir()
    directory: DirectorySource = JsonDirectory(tmp_path)
    assert not directory.current.entries
    await directory.start()
    assert list(directory.current.entries) == ["a", "b", "c"]
    entry = directory.current.entry("a")
    assert entry is not None
    assert entry.groups == ("later",)
    assert entry.to_json()["records"] == []
    await directory.refresh()
    await directory.close()


async def test_a_single_file(tmp_path: Path) -> None:
    directory = JsonDirectory(str(write(tmp_path / "records.txt", groups("a", "g"))))
    before = directory.current
    await directory.start()
    assert await directory.changed(before) is directory.current
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(directory.changed(directory.current), 0.01)


def test_the_date_can_be_set(tmp_path: Path) -> None:
    file = write(tmp_path / "r.json", groups("a", created_at="2026-11-22T10:00:00Z"), groups("b"))
    kept = read_record_file(file)
    assert [item.record.created_at for item in kept] == ["2026-11-22T10:00:00Z", module.UNDATED]
    dated = read_record_file(file, "2027-01-01T00:00:00Z")
    assert {item.record.created_at for item in dated} == {"2027-01-01T00:00:00Z"}
    assert str(dated[1]) == f"{file}: records[1]"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "this is not JSON"),
        ('{"records": [], "records": []}', "duplicate key"),
        ("[]", "records: must be a list of change records"),
        ('{"records": {}}', "must be a list"),
        ('{"records": [1]}', r"records\[0\]: must be an object"),
        ('{"records": [{"name": "a"}]}', r"records\[0\]\.section: .* \(operator 'a'\)"),
        (
            '{"records": [{"name": "a", "section": "services", "data": [{"name": 3}]}]}',
            r"records\[0\]\.data\[0\]\.name: must be a string.* \(operator 'a'\)",
        ),
        ('{"records": [{"name": "a", "section": "groups", "data": [], "created_at": "today"}]}', "created_at"),
    ],
)
async def test_errors_name_file_and_record(tmp_path: Path, content: str, complaint: str) -> None:
    file = tmp_path / "r.json"
    file.write_text(content)
    with pytest.raises(SettingsError, match=complaint) as caught:
        await JsonDirectory(tmp_path).start()
    assert caught.value.message.startswith(f"{file}: ")


async def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        await JsonDirectory(tmp_path / "none").start()
    with pytest.raises(SettingsError, match=r"no \.json files"):
        record_files(tmp_path)


def test_a_file_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 3)
    with pytest.raises(SettingsError, match="the limit is 3"):
        read_record_file(write(tmp_path / "r.json"))
