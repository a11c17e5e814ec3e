"""``eps mock``, and the tutorial that begins with it."""

import re
from pathlib import Path
from shutil import which

import pytest

from eps.errors import StartError
from eps.programs.dev.mock import example, service_in
from eps.testing.faults import FAULTS
from support.howto import blocks_of
from support.service_tutorial import PAGE, WEB_PAGE, follow


async def test_the_tutorial_in_an_empty_folder(tmp_path: Path) -> None:
    await follow(tmp_path)


@pytest.mark.chaos
@pytest.mark.skipif(not which("node") or not which("curl"), reason="apt could install no node")
async def test_curl_node_and_what_a_web_page_asks(tmp_path: Path) -> None:
    (places,) = [one for one in blocks_of(PAGE) if one.marks.get("file") == "places.py"]
    (tmp_path / "places.py").write_text(places.text + "\n")
    await follow(tmp_path, page=WEB_PAGE)


def test_the_tutorial_lists_what_can_fail() -> None:
    (listed,) = re.findall(r"<!-- faults -->(.*)<!-- end -->", PAGE.read_text())
    assert listed.replace("`", "").split(", ") == sorted(FAULTS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "makes not one service: none"),
        ("from eps.service import Service\na, b = Service('a'), Service('b')", "makes not one service: a, b"),
        ("raise KeyError('x')", "can't be run: KeyError"),
    ],
    ids=["none", "two", "broken"],
)
def test_files_that_cant_be_served(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "some_service_file.py"
    file.write_text(text)
    with pytest.raises(StartError, match=words):
        service_in(file)
    with pytest.raises(StartError, match="no such Python file"):
        service_in(tmp_path / "missing.py")


def test_the_example_fits_the_hints(tmp_path: Path) -> None:
    file = tmp_path / "another_service_file.py"
    file.write_text(
        "from __future__ import annotations\nfrom eps.service import Caller, Service\nservice = Service('x')\n"
        "@service.method\ndef add(name: str, count: int, more: list[str], caller: Caller) -> None: ...\n"
    )
    shown = example("http://localhost:1/jsonrpc", "hd-2", service_in(file))
    assert '"params": {"name": "text", "count": 1, "more": []}' in shown and "hd-2.add" in shown
