"""The documentation as a static site: python docs/site/build.py FOLDER [PICTURES]

Pages are those of docs/ and the repository's own; what they link to comes along, and a link that leads nowhere ends it.
Nothing is loaded from elsewhere; the search is a file beside the pages, and works where they are opened as files, too.
"""

import html
import itertools
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

from sequence import picture  # noqa: E402 - found through the line above

ROOT = HERE.parents[1]

GROUPS = {
    "Tutorials": ("docs/tutorial*.md",),
    "How to": ("docs/howto-*.md",),
    "Reference": ("docs/reference*.md", "PROTOCOL.md"),
    "Explanation": ("docs/explanation-*.md", "docs/performance.md"),
    "The project": ("ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"),
}
"""The pages besides the README, by what they are for; in the order of the menu."""

ASSETS = ("site.css", "site.js")

POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
"""What browsers may load for a page: what lies beside it."""

PICTURES = frozenset({".svg", ".png"})

MAX_SECTION_CHARS = 6_000
"""Of a section that the search knows: the longest tables are found by their beginning."""


class BrokenLink(Exception):
    """A page links to what is not there."""


@dataclass
class Page:
    """One page.

    Attributes:
        source: its file.
        name: that of its file in the site.
        title: its first heading.
        body: its text as HTML.
        anchors: what links may lead to.
        contents: its second-level headings: anchor and text.
        sections: what the search knows: anchor, heading, text.
    """

    source: Path
    name: str
    title: str = ""
    body: str = ""
    anchors: set[str] = field(default_factory=set)
    contents: list[tuple[str, str]] = field(default_factory=list)
    sections: list[tuple[str, str, str]] = field(default_factory=list)


class Site:
    """All pages, read, and what they link to."""

    def __init__(self, root: Path = ROOT, groups: dict[str, tuple[str, ...]] | None = None) -> None:
        self.root = root
        self.groups = {
            name: [
                Page(path, f"{path.stem.lower()}.html") for pattern in patterns for path in sorted(root.glob(pattern))
            ]
            for name, patterns in (groups or GROUPS).items()
        }
        self.home = Page(root / "README.md", "index.html")
        self.pages = [self.home, *(page for pages in self.groups.values() for page in pages)]
        self._by_source = {page.source: page for page in self.pages}
        self.files: dict[Path, str] = {}
        self._links: list[tuple[Page, str, Page, str]] = []
        self._markdown = MarkdownIt("commonmark").enable("table")
        for page in self.pages:
            self._read(page)
        for page, target, other, anchor in self._links:
            if anchor not in other.anchors:
                raise BrokenLink(f"{page.source.relative_to(root)}: {target}: no such heading")

    def show(self, pictures: Sequence[Path]) -> None:
        """Add a page with pictures of the status page, which a test has made."""
        page = Page(self.root / "status-page", "status-page.html", "The status page")
        parts = [f"<h1>{page.title}</h1>\n<p>At a desk's width and at a phone's, light and dark, of made-up facts.</p>"]
        for shot in pictures:
            self.files[shot] = f"files/{shot.name}"
            words = shot.stem.replace("-", " ")
            parts.append(f'<h2 id="{shot.stem}">{words}</h2>\n<p><img src="files/{shot.name}" alt="{words}"></p>')
            page.contents.append((shot.stem, words))
            page.sections.append((shot.stem, words, page.title))
        page.body = "\n".join(parts)
        self.groups["Reference"].append(page)
        self.pages.append(page)

    def _read(self, page: Page) -> None:
        tokens = self._markdown.parse(re.sub(r"<!--.*?-->\n?", "", page.source.read_text(), flags=re.DOTALL))
        self._name_headings(page, tokens)
        for token in tokens:
            for inner in token.children or ():
                self._lead(page, inner)
        page.sections = list(_sections(tokens))
        for token in tokens:
            if token.type == "fence" and token.info == "mermaid" and (drawn := picture(token.content)):
                token.type, token.content = "html_block", drawn
        body = self._markdown.renderer.render(tokens, self._markdown.options, {})
        body = body.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")
        page.body = body.replace("<pre>", '<pre tabindex="0">')

    def _name_headings(self, page: Page, tokens: Sequence[Token]) -> None:
        seen: Counter[str] = Counter()
        for opening, inline in itertools.pairwise(tokens):
            if opening.type != "heading_open":
                continue
            text = plain(inline)
            base = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            anchor = f"{base}-{seen[base]}" if seen[base] else base
            seen[base] += 1
            opening.attrSet("id", anchor)
            page.anchors.add(anchor)
            if opening.tag == "h1" and not page.title:
                page.title = text
            elif opening.tag == "h2":
                page.contents.append((anchor, text))

    def _lead(self, page: Page, token: Token) -> None:
        """Have a link or a picture lead to where its target is in the site."""
        name = {"link_open": "href", "image": "src"}.get(token.type)
        target = str(token.attrGet(name)) if name else ""
        if not name or "://" in target or target.startswith("mailto:"):
            return
        path, _, anchor = target.partition("#")
        source = (page.source.parent / path).resolve() if path else page.source
        other = self._by_source.get(source)
        if other is not None:
            if anchor:
                self._links.append((page, target, other, anchor))
            token.attrSet(
                name, (other.name if other is not page else "") + (f"#{anchor}" if anchor else "") or other.name
            )
        elif source.is_file() and source.is_relative_to(self.root):
            token.attrSet(name, self._file(source))
        else:
            raise BrokenLink(f"{page.source.relative_to(self.root)}: {target}: no such page or file")

    def _file(self, source: Path) -> str:
        """Where a file that is no page is: texts as such, which browsers show."""
        path = source.relative_to(self.root)
        where = f"files/{path}" if path.suffix in PICTURES else f"files/{path}.txt"
        self.files[source] = where
        return where

    # The site

    def write(self, folder: Path) -> None:
        """Write all of it into ``folder``, which is emptied before."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for page in self.pages:
            (folder / page.name).write_text(self.document(page))
        for source, where in self.files.items():
            (folder / where).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / where)
        for asset in ASSETS:
            shutil.copyfile(HERE / asset, folder / asset)
        (folder / "search.js").write_text(f"window.found_in = {json.dumps(self.index(), ensure_ascii=False)};\n")

    def index(self) -> list[list[str]]:
        """What the search knows: page, anchor, the page's title, the heading, the text."""
        return [
            [page.name, anchor, page.title, heading, text]
            for page in self.pages
            for anchor, heading, text in page.sections
        ]

    def document(self, page: Page) -> str:
        """A page as HTML."""
        places = {
            "POLICY": POLICY,
            "TITLE": html.escape(page.title if page is self.home else f"{page.title} · eps"),
            "MENU": self._menu(page),
            "CONTENTS": _contents(page),
            "BODY": page.body,
        }
        return re.sub(r"@([A-Z]+)@", lambda match: places[match[1]], (HERE / "page.html").read_text())

    def _menu(self, current: Page) -> str:
        lines = [_entry(self.home, current, "Begin here")]
        for name, pages in self.groups.items():
            inner = "".join(_entry(page, current, page.title) for page in pages)
            lines.append(f"<li><span>{html.escape(name)}</span><ul>{inner}</ul></li>")
        return "\n".join(lines)


def _entry(page: Page, current: Page, text: str) -> str:
    here = ' aria-current="page"' if page is current else ""
    return f'<li><a href="{page.name}"{here}>{html.escape(text)}</a></li>'


def _contents(page: Page) -> str:
    return "".join(f'<li><a href="#{anchor}">{html.escape(text)}</a></li>' for anchor, text in page.contents)


def _sections(tokens: Sequence[Token]) -> Iterator[tuple[str, str, str]]:
    """Each heading, with what stands behind it up to the next one."""
    anchor, heading, words = "", "", list[str]()
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            if heading:
                yield anchor, heading, " ".join(words)[:MAX_SECTION_CHARS]
            anchor, heading, words = str(token.attrGet("id")), plain(tokens[number + 1]), []
        elif token.type == "inline" and tokens[number - 1].type != "heading_open":
            words.append(plain(token))
        elif token.type in ("fence", "code_block"):
            words.append(" ".join(token.content.split()))
    yield anchor, heading, " ".join(words)[:MAX_SECTION_CHARS]


def plain(inline: Token) -> str:
    """A text without its marks."""
    texts = (child.content if child.type in ("text", "code_inline", "image") else " " for child in inline.children or ()
             if child.type in ("text", "code_inline", "image", "softbreak"))  # fmt: skip
    return "".join(texts).strip()


def main() -> int:
    """Exit code 1: a link leads nowhere."""
    folder = Path(sys.argv[1])
    try:
        site = Site()
    except BrokenLink as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    pictures = sorted(Path(sys.argv[2]).glob("*.png")) if len(sys.argv) > 2 else []
    if pictures:
        site.show(pictures)
    site.write(folder)
    print(f"{len(site.pages)} pages: {folder / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
