"""The documentation as a site: every page is in it, every link leads somewhere, the search finds, and nothing comes
from elsewhere; on a phone and on a desk, in Debian's Chromium."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from support.browser import axe, browser, needs_chromium

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "docs" / "site" / "build.py"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_site_build", BUILD)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def site(build: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "docs"
    build.Site().write(folder)
    return folder


def test_every_page_is_there_and_in_the_menu(site: Path) -> None:
    pages = [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / f"{name}.md" for name in ("ARCHITECTURE", "PROTOCOL", "CHANGELOG")),
    ]
    menu = (site / "index.html").read_text()
    for page in pages:
        assert (site / f"{page.stem.lower()}.html").exists(), page
        assert f'<a href="{page.stem.lower()}.html"' in menu, page


def test_every_link_leads_to_a_file_and_a_heading(site: Path) -> None:
    ids = {page.name: set(re.findall(r' id="([^"]+)"', page.read_text())) for page in site.glob("*.html")}
    for page in sorted(site.glob("*.html")):
        for target in re.findall(r'(?:href|src)="([^"]+)"', page.read_text()):
            if target.startswith(("https:", "http:", "mailto:")):
                continue
            path, _, anchor = target.partition("#")
            file = site / path if path else page
            assert file.is_file(), (page.name, target)
            assert not anchor or anchor in ids[file.name], (page.name, target)


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text()
        assert "default-src 'none'" in text
        loaded = re.findall(r'<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)="([^"]+)"', text)
        assert loaded and not any("://" in target for target in loaded), page.name
        assert not re.search(r"\bon\w+=\"|<style|style=\"", text), page.name
    assert "://" not in (site / "site.css").read_text() + (site / "site.js").read_text()


def test_comments_of_the_sources_are_not_in_it(site: Path) -> None:
    assert not any("<!--" in page.read_text() for page in site.glob("*.html"))


def test_the_search_knows_every_heading(site: Path) -> None:
    text = (site / "search.js").read_text()
    rows = json.loads(text.removeprefix("window.found_in = ").removesuffix(";\n"))
    assert len(text) < 1_000_000
    assert {row[0] for row in rows} == {page.name for page in site.glob("*.html")}
    known = {(row[0], row[1]) for row in rows}
    for page in site.glob("*.html"):
        for anchor in re.findall(r'<h\d id="([^"]+)"', page.read_text()):
            assert (page.name, anchor) in known
    assert any(row[0] == "howto-audit.html" and "eps audit verify" in row[4] for row in rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[x](missing.md)", "missing.md: no such page or file"),
        ("[x](#none)", "#none: no such heading"),
        ("[x](../..)", "no such page or file"),
        ("![x](none.svg)", "none.svg: no such page or file"),
    ],
    ids=["page", "heading", "folder", "picture"],
)
def test_a_broken_link_ends_it(build: ModuleType, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "README.md").write_text(f"# Title\n\n{text}\n")
    with pytest.raises(build.BrokenLink, match=re.escape(said)):
        build.Site(tmp_path, {})


def test_pictures_of_the_status_page_have_a_page(build: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "status-375-dark.png").write_bytes(b"PNG")
    made = build.Site()
    made.show([tmp_path / "status-375-dark.png"])
    made.write(tmp_path / "out")
    assert (tmp_path / "out" / "files" / "status-375-dark.png").read_bytes() == b"PNG"
    assert 'src="files/status-375-dark.png"' in (tmp_path / "out" / "status-page.html").read_text()
    assert '<a href="status-page.html"' in (tmp_path / "out" / "index.html").read_text()


def test_what_pages_hold_is_text(build: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# A `<b>` & c\n\n## Same\n\ntext\n\n## Same\n\n[up](#same-1)\n\n<!-- no -->\n")
    site = build.Site(tmp_path, {})
    page = site.home
    assert page.title == "A <b> & c"
    assert page.anchors == {"a-b--c", "same", "same-1"}
    assert "<title>A &lt;b&gt; &amp; c</title>" in site.document(page)


def test_the_picture_of_the_six_steps_is_drawn(site: Path, build: ModuleType) -> None:
    text = (site / "index.html").read_text()
    (drawn,) = re.findall(r"<svg class=.sequence.*?</svg>", text)
    for said in ("A (hd-1)", "P (public proxy)", "6 joins the two sockets", "B is reached through P"):
        assert said in drawn
    assert "sequenceDiagram" not in text
    assert build.picture("flowchart LR\na-->b") == build.picture("sequenceDiagram\nloop x") == ""


@needs_chromium
@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_it_is_readable_and_searchable_on_every_screen(site: Path) -> None:
    async with browser() as page:
        for name in ("index.html", "reference-settings.html", "howto-audit.html"):
            for width, dark in ((375, True), (1440, False)):
                await page.show(width, dark=dark)
                await page.open((site / name).as_uri())
                await page.until("document.readyState === 'complete'")
                assert await page.value("document.documentElement.scrollWidth <= innerWidth"), (name, width)
                assert await page.value("document.getElementById('menu').open") is (width == 1440)
                assert await axe(page) == [], (name, width)
        await page.value("words.focus(); words.value = 'audit verify'; words.dispatchEvent(new Event('input')); 1")
        await page.until("!found.hidden")
        assert "howto-audit.html" in await page.value("[...found.querySelectorAll('a')].map(a => a.href).join(' ')")
        await page.value("words.value = 'xyzzy'; words.dispatchEvent(new Event('input')); 1")
        await page.until("found.textContent.includes('Nothing has all of these words')")
        assert page.complaints == []
