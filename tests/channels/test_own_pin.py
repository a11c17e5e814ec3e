"""A certificate of ours that the directory does not pin: told at once, and in every refusal."""

import asyncio

import pytest

from eps.channels.own_pin import OwnPin
from eps.core.event import Level, Notice
from eps.core.names import Fingerprint, Operator
from eps.errors import CertificateRefused, Side, TlsFailed
from support.fakes import FakeSource, network_directory
from support.testing import Events

PINNED, OTHER, THIRD = Fingerprint("a" * 64), Fingerprint("b" * 64), Fingerprint("c" * 64)
REFUSED = CertificateRefused("proxy-1 hung up", hint="check")
OURS = network_directory(pins={"hd-1": [PINNED]})


def own_pin(source: FakeSource, *fingerprints: Fingerprint) -> tuple[OwnPin, Events]:
    events = Events()
    return OwnPin(Operator("hd-1"), source, frozenset(fingerprints), events), events


def test_a_refusal_has_its_cause_where_that_is_ours() -> None:
    pin, _ = own_pin(FakeSource(OURS), PINNED, OTHER)
    explained = pin.explained(REFUSED)
    assert explained.side is Side.OURS
    assert explained.message == (
        f"proxy-1 hung up: the directory does not pin {OTHER} for hd-1; the directory is a test's"
    )
    assert "submit its fingerprint" in explained.hint


@pytest.mark.parametrize(
    ("error", "fingerprint", "directory"),
    [
        (REFUSED, PINNED, OURS),
        (TlsFailed("it has expired"), OTHER, OURS),
        (REFUSED, OTHER, network_directory(empty=True)),
        (REFUSED, OTHER, network_directory(without="hd-1")),
    ],
    ids=["pinned", "another failure", "no directory yet", "no entry"],
)
def test_any_other_failure_stays_what_it_is(error: TlsFailed, fingerprint: Fingerprint, directory: object) -> None:
    pin, _ = own_pin(FakeSource(directory), fingerprint)  # type: ignore[arg-type]
    assert pin.explained(error) is error


async def test_it_is_told_once_for_each_state() -> None:
    source = FakeSource(network_directory(empty=True))
    pin, events = own_pin(source, OTHER)
    await pin.start()
    await asyncio.sleep(0)
    (shown,) = events.of(Notice)
    assert shown.text == f"to other operators hd-1 shows the certificate {OTHER}"
    for directory in (OURS, network_directory(pins={"hd-1": [PINNED]}, hd_2=[])):
        source.current = directory
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        (_, told) = events.of(Notice)
        assert (told.level, OTHER in told.text) == (Level.ERROR, True)
        assert (told.reason, told.stage, told.side) == ("own-pin", "tls", "ours")
    pin.renew(frozenset({PINNED}))
    assert [notice.text for notice in events.of(Notice)][2:] == [
        f"to other operators hd-1 shows the certificate {PINNED}",
        "the directory pins our certificate now",
    ]
    pin.renew(frozenset({PINNED}))
    assert len(events.of(Notice)) == 4, "it is the same"
    await pin.close()


async def test_one_that_was_never_started_can_be_closed() -> None:
    await own_pin(FakeSource(OURS), OTHER)[0].close()


@pytest.mark.parametrize(
    ("shown", "following", "lost"),
    [
        ([PINNED], [PINNED], []),
        ([PINNED], [OTHER], [OTHER]),
        ([OTHER], [PINNED], []),
        ([OTHER], [THIRD], []),
        ([PINNED, OTHER], [OTHER], []),
        ([PINNED, OTHER], [OTHER, THIRD], [OTHER, THIRD]),
        ([], [OTHER], []),
    ],
    ids=["the same", "the next", "the pinned one", "none was pinned", "less", "one more", "none was shown"],
)
def test_what_others_would_refuse_and_do_not_refuse_now(
    shown: list[Fingerprint], following: list[Fingerprint], lost: list[Fingerprint]
) -> None:
    assert own_pin(FakeSource(OURS), *shown)[0].would_lose(frozenset(following)) == frozenset(lost)
    assert not own_pin(FakeSource(network_directory(empty=True)), *shown)[0].would_lose(frozenset(following))
