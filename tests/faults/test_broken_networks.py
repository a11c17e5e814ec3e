"""Broken networks (``tests/vectors/broken_networks.json``): what is told of each; docs/reference-broken-networks.md.

The programs run once, through all of the networks (``support.broken_networks``); each test then reads what was told of
one. ``EPS_WRITE_PAGE=1`` writes the page.
"""

import asyncio
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from eps.core.certificate import OWN
from eps.core.event import Refused
from eps.core.message import Request, Response
from eps.core.names import TOKEN_BYTES
from eps.reasons import Reason
from eps.transport.tls import examine
from support.broken_networks import Tour, toured
from support.broken_networks_doctors import DOCTORS, QUICK, named
from support.broken_networks_page import BY_ID, EXECUTED, check_page, rows_of_page
from support.faults import late_for_the_first
from support.network import HD_1, HD_2, PROXY, Network, Node
from support.testing import certificates, tls_files

TELLS: dict[str, tuple[str, str, str]] = {
    # id: the word; what the cause says; what the fix says
    "sd-down-cached": ("directory-unreachable", "connection refused", "check the endpoint, and that the server runs"),
    "sd-down-fresh": ("no-directory", "no verified directory yet.*connection refused", "start the service directory"),
    "ca-wrong-everywhere": ("own-ca", "not from one of our ca_certificate_files", "ca_certificate_files"),
    "ca-wrong-grpc-client": ("own-ca", "not from one of our ca_certificate_files", "ca_certificate_files"),
    "own-unpinned": ("own-pin", "does not pin [0-9a-f]{64} for hd-1", "submit its fingerprint.*the pinned file"),
    "peer-unpinned": ("peer-pin", "refuses its certificate.*[0-9a-f]{64}", "hd-2's administrators: submit"),
    "no-permission": ("no-permission", "hd-2 reports: .*is for the group laboratories", "section «services»"),
    "peer-off": ("peer-off", "holds no stream to it", "server of hd-2 runs"),
    "proxy-program-down": ("proxy-program-down", "EPS server does not reach its proxy program", "start proxy run"),
    "proxy-eps-down": ("proxy-unreachable", "localhost:[0-9]+: connection refused", "that the server runs"),
    "relay-nothing-listens": ("relay-unreachable", "hd-2 reports: the relay refuses", "internal_endpoint"),
    "endpoint-not-listed": ("relay-not-listed", "not among the proxy's internal_endpoints", "list it under"),
    "directory-stale": ("directory-stale", "hd-2 is not who answers.*confirmed.*ago.*connection refused", "our link"),
    "key-misfit": ("key-misfit", "hd-2.key: the key does not fit the certificate in .*hd-1.crt", "its own key"),
    "port-taken": ("port-taken", r"localhost:[0-9]+: another program uses that port: .*\(process [0-9]+", "stop it"),
    "operator-unknown": ("operator-unknown", "hd-3 is not in the directory", "did you mean hd-2"),
    "peer-hangs-new": ("peer-hangs", "hd-2 did not answer within 2 s", "the server of hd-2 hangs"),
    "peer-hangs-kept": ("no-answer", "did not answer within", "may have been executed"),
    "application-down": ("application-down", "hd-2 reports: its application refuses connections", "start the app"),
    "http-proxy-refuses": ("http-proxy-refuses", "the HTTP proxy .* answered 'HTTP/1.1 403.*CONNECT", "proxy's rules"),
    "http-proxy-down": ("http-proxy-down", "the HTTP proxy .*connection refused", "check proxy_url"),
    "method-unknown": ("method-unknown", "no service of hd-2 .*'_pin'; hd-1 may call there: _ping, work", "mean _ping"),
    "application-html": ("application-answer", "hd-2 reports: its application answers no JSON-RPC", "endpoint"),
    "application-crashes": ("application-broke-off", "hd-2 reports: its application broke off", "application's log"),
    "settings-type": ("settings", "001_default.yml: name: must be text", "line 2"),
    "settings-variable": ("settings", r"\$NOWHERE is not defined", "line 2; define it"),
    "key-readable": ("key-readable", r"hd-1.key: every user .* \(mode 0644\)", "chmod 600"),
    "second-server": ("second-server", "two servers of hd-2 replace each other's streams", "stop one of the two"),
    "fingerprint-colons": ("", r"records\[0\].data\[0\].fingerprint: must be 64", "write (ab){32}"),
}

SOON = 0.5
"""Seconds for a dial, in place of 6 and 10."""

LATE = 1.0
"""Seconds that a token lives, in place of 10."""

pytestmark = [pytest.mark.xdist_group("broken networks"), pytest.mark.timeout(580)]
"""The first test makes all networks, which takes minutes on a loaded machine; the others read what it has seen."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, dev_tree: Path) -> Tour:
    return toured(Tour, tmp_path_factory.mktemp("broken") / "network", dev_tree)


@pytest.mark.parametrize("name", TELLS)
def test_what_is_told(seen: Tour, name: str) -> None:
    reason, cause, fix = TELLS[name]
    said, wanted = seen.told[name], BY_ID[name]
    assert re.search(cause, said.text, re.DOTALL), said
    assert re.search(fix, said.text, re.DOTALL), said
    assert said.reason == reason
    assert "/secret" not in said.text and "<html>" not in said.text, "what is inside hd-2"
    assert said.outcome != "not_sent" or "executed" not in said.text, "what is certain, and what may be, in one message"
    if said.where in ("call", "start"):
        assert (said.stage, said.side) == (wanted["stage"], wanted["side"]), said
        assert EXECUTED[said.outcome] == wanted["executed"], said


@pytest.mark.parametrize("whose", ["relay-dropped-a", "relay-dropped-b"])
async def test_packets_to_the_relay_are_dropped(whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eps.channels.grpc_client.CONNECT_TIMEOUT", SOON)
    monkeypatch.setattr("eps.channels.grpc_server.TUNNEL_TIMEOUT", SOON)
    with swallows() as endpoint:
        async with Network() as network:
            for name in (HD_1, HD_2):
                await network.node(name)
            await network.proxy(**({"endpoint": endpoint} if whose == "relay-dropped-b" else {}))
            await network.ready()
            if whose == "relay-dropped-a":
                _answer_with(network.nodes[PROXY], endpoint)
            error = (await network.nodes[HD_1].call("hd-2._ping")).error
    assert error is not None
    wanted = BY_ID[whose]
    assert (error.data["stage"], error.data["side"], error.data["outcome"]) == ("relay", wanted["side"], "not_sent")
    assert error.data["reason"] == "relay-silent"
    says = "hd-2 reports: the relay does not answer in time" if whose[-1] == "b" else f"no answer within {SOON} s"
    assert says in error.message and "firewall" in f"{error.message} {error.data['hint']}"


async def test_the_callees_token_comes_too_late() -> None:
    async with Network() as network:
        for name in (HD_1, HD_2):
            await network.node(name)
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        listening.close()
        async with late_for_the_first(port, 2 * LATE) as late:
            await network.proxy(port=port, endpoint=f"127.0.0.1:{late}", accept_timeout=LATE)
            await network.ready()
            error = (await network.nodes[HD_1].call("hd-2._ping")).error
            assert error is not None
            data, wanted = error.data, BY_ID["token-expired"]
            told = (data["stage"], data["side"], data["outcome"], data["reason"])
            assert told == (wanted["stage"], wanted["side"], "not_sent", "token-late"), error
            assert re.search(r"hd-2 came too late: \d+\.\d s after it was asked", error.message), error
            refused = await network.relay_events.wait_for(Refused, lambda event: event.why == "token", timeout=60)
            assert "hd-2 came too late" in refused.detail


@pytest.mark.parametrize(
    ("comes", "reason"),
    [(b"", "token-late"), (b"\x16\x03\x03\x00\x7a", "unreachable")],
    ids=["nothing", "half a record"],
)
async def test_only_a_callee_of_which_nothing_has_come_is_late(comes: bytes, reason: str) -> None:
    """The relay ends the connection when its tokens are over, be it that the callee came, and broke off just then."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(TOKEN_BYTES)
        await asyncio.sleep(1.2 * LATE)
        writer.write(comes)
        writer.close()

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with Network() as network:
        for name in (HD_1, HD_2):
            await network.node(name)
        await network.proxy(endpoint=f"127.0.0.1:{server.sockets[0].getsockname()[1]}", accept_timeout=LATE)
        await network.ready()
        error = (await network.nodes[HD_1].call("hd-2._ping")).error
    server.close()
    await server.wait_closed()
    assert error is not None
    assert error.data["reason"] == reason, error


def _answer_with(proxy: Node, endpoint: str) -> None:
    """The proxy names another endpoint to whoever asks it."""
    ask = proxy.application.answer

    async def answer(request: Request) -> Response:
        answered: Response = await ask(request)
        return Response(answered.id, {**answered.result, "endpoint": endpoint})

    proxy.application.answer = answer


@contextmanager
def swallows() -> Iterator[str]:
    """A port that answers no connection: its backlog is full, and stays so."""
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield f"127.0.0.1:{full.getsockname()[1]}"


DATES = {
    # id: days from the end of our certificate; the word; what is said
    "own-expired-start": (1, Reason.OWN_EXPIRED, "has expired on .* UTC .*renew it.*our clock says"),
    "own-expires-running": (-19.5, None, "expires in 19 days.*get a new one"),
    "clock-ahead": (3 * 365, Reason.OWN_EXPIRED, "has expired.*our clock says 20.*if it is wrong, set it first"),
    "clock-behind": (-10_000, Reason.OWN_CLOCK, "is not valid before.*check this machine's clock; our clock says"),
}


@pytest.mark.parametrize("name", DATES)
def test_dates_of_our_own(name: str) -> None:
    """What a start ends with, or warns of, at such a date; ``config check`` says the same."""
    assert name in BY_ID
    days, reason, text = DATES[name]
    now = certificates().issued(HD_1).certificate.not_valid_after_utc + timedelta(days=days)
    doubts = [one for one in examine(tls_files(HD_1), server=True, now=now) if one.setting == OWN]
    assert doubts[0].reason is reason
    assert re.search(text, f"{doubts[0].text} ({doubts[0].hint})")


@pytest.mark.parametrize("name", QUICK)
def test_what_doctors_say(seen: Tour, name: str) -> None:
    for names in QUICK[name]:
        assert named(names, seen.doctors[name]), (names, seen.doctors[name])


def test_doctors_look_at_all_of_them() -> None:
    assert {*DOCTORS} == {*BY_ID}


def test_the_page_has_all_of_them() -> None:
    """Those that take long to make, too (``test_broken_networks_late``, which reads the rest of their rows)."""
    assert list(rows_of_page()[1]) == list(BY_ID)


def test_the_page_says_what_is_told(seen: Tour) -> None:
    check_page(seen, TELLS)
