"""What a directory says of the certificates at a JSON-RPC port."""

from dataclasses import replace

import pytest

from eps.core.entries import Directory
from eps.core.names import Fingerprint
from eps.directory.callers import DirectoryRegistry
from eps.errors import NotPermitted
from support.fakes import FakeSource, network_directory

MARK = "a" * 64
NAMES = ["hd-1", "*.hd-1.local", "nobody"]


class Source(FakeSource):
    """One that can be still loading, or too old to be used."""

    def __init__(self, verified: Directory, current: Directory | None = None) -> None:
        super().__init__(verified if current is None else current)
        self.last = verified
        self.is_loaded = True

    @property
    def verified(self) -> Directory:
        return self.last

    async def loaded(self) -> bool:
        return self.is_loaded


async def test_operators_among_the_names() -> None:
    registry = DirectoryRegistry(Source(network_directory(pins={"hd-1": [MARK]})))
    known = await registry.known(NAMES)
    assert known is not None and set(known) == {"hd-1"}
    assert known["hd-1"].pins == {Fingerprint(MARK)}
    assert [c.fingerprint for c in known["hd-1"].certificates] == [MARK]
    assert registry.as_of() == "the directory is a test's"


async def test_none_was_ever_verified() -> None:
    assert await DirectoryRegistry(Source(Directory.empty())).known(NAMES) is None


async def test_the_first_one_is_asked_for_before_names_alone_decide() -> None:
    """The broker would ask for it, too, and then run what was let in without it."""
    source = FakeSource(Directory.empty())
    source.next = network_directory(pins={"hd-1": [MARK]})
    known = await DirectoryRegistry(source).known(NAMES)
    assert known is not None and source.refreshes == 1


async def test_one_that_must_not_be_used_still_says_whose_names_these_are() -> None:
    registry = DirectoryRegistry(Source(network_directory(pins={"hd-1": [MARK]}), Directory.empty()))
    known = await registry.known(NAMES)
    assert known is not None and not known["hd-1"].pins and known["hd-1"].certificates


async def test_while_it_is_read_nobody_is_judged() -> None:
    source = Source(Directory.empty())
    source.is_loaded = False
    with pytest.raises(NotPermitted, match="still being read"):
        await DirectoryRegistry(source).known(NAMES)


async def test_the_state_changes_with_either() -> None:
    """And is never compared entry by entry: an equal directory is another one."""
    source = Source(network_directory())
    registry = DirectoryRegistry(source)
    first = registry.state
    assert registry.state == first
    source.last = replace(source.last)
    second = registry.state
    assert second != first and registry.state == second
    source.current = Directory.empty()
    assert registry.state not in (first, second)
