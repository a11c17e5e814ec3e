"""The way to others, taken by the doctor itself: what our server would do, with its certificates, in another process.

proxies      name, TCP, TLS of their EPS servers, and a call there: chain, name, pin
relay port   TCP to what the directory lists for them
PEER         the whole way, step by step (PROTOCOL.md section 7), with the time of each
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from eps.channels.grpc_client import Dialling, GrpcClientChannel
from eps.channels.own_pin import OwnPin
from eps.channels.peers import relay_trust_of
from eps.core.address import Address
from eps.core.entries import Directory, Entry
from eps.core.event import Event, Step, ignore
from eps.core.host_port import render_host_port
from eps.core.message import Error, Request
from eps.core.names import Fingerprint, Operator
from eps.core.permission import callable_by
from eps.core.removal import is_removed
from eps.core.told import TOLD_BY
from eps.core.ways import NOBODY, Way, way_between
from eps.errors import EpsError
from eps.programs.diagnosis.explain import BUILT_IN, way_text
from eps.programs.diagnosis.finding import Failure, Finding, Mark, unknown, well
from eps.programs.diagnosis.ping import NOT_TOLD, Pinged, is_refusal, version_in
from eps.programs.diagnosis.probes import Reached
from eps.reasons import TABLE, Reason

PROXIES, RELAY = "proxies", "relay port"

MAX_PROXIES = 8
"""That are looked at: each costs a connection, and operators are mostly behind two or three."""

MAX_RELAYS = 8
"""Of each proxy: the list is the proxy's own, of any length, and each costs a connection."""

WAY_SECONDS = 13.0
"""For the whole way to a peer. A proxy may take 8 s to learn that the peer hangs, and we wait 12 s for its answer: so
whoever knows best is heard."""

PING_ID = "doctor"


class Fixed:
    """A ``directory.DirectorySource`` that never changes."""

    def __init__(self, directory: Directory) -> None:
        self.current = self.verified = directory

    async def loaded(self) -> bool:
        return True

    def as_of(self) -> str:
        return ""

    def failing(self) -> EpsError | None:
        return None

    def too_old(self) -> str:
        return ""

    async def start(self) -> None:
        """It is there."""

    async def refresh(self) -> None:
        """There is nobody to ask."""

    async def changed(self, seen: Directory) -> Directory:
        await asyncio.get_running_loop().create_future()  # never: whoever waits is cancelled
        raise AssertionError

    async def close(self) -> None:
        """Nothing runs."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a way.

    Attributes:
        seconds: it took.
    """

    what: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Taken:
    """A way that was taken.

    Attributes:
        stages: how far it went.
        version: what answered; "" where it does not say.
        failure: why it led nowhere.
    """

    operator: str
    stages: tuple[Stage, ...]
    version: str = ""
    failure: Failure | None = None


class Steps:
    """The events of one way, with the time of each."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self.stages: list[Stage] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Step):
            now = time.monotonic()
            if event.step > 2:  # the first two say what is about to be done
                self.stages.append(Stage(event.text, now - self._last))
            self._last = now

    def end(self, what: str) -> None:
        """The last part."""
        now = time.monotonic()
        self.stages.append(Stage(what, now - self._last))


Open = Callable[[Steps], GrpcClientChannel]
"""A channel of our own, whose events go there."""


async def take(open_channel: Open, own: Operator, operator: Operator) -> Taken:
    """Ping ``operator`` as our server would; never raises but for cancellation."""
    steps = Steps()
    channel = open_channel(steps)
    try:
        way = channel.way_to(operator)
        if way is None:
            return Taken(operator, (), failure=_NO_WAY)
        response = await way(Request(Address(operator, "_ping", PING_ID), {}), own, WAY_SECONDS)
    except EpsError as error:
        return Taken(operator, tuple(steps.stages), failure=Failure.of(error))
    finally:
        await channel.close()
    if response.error is not None and not is_refusal(response.error):
        return Taken(operator, tuple(steps.stages), failure=Failure.told(response.error))
    steps.end("answered a _ping" if response.error is None else "answered: it does not let us call _ping")
    return Taken(operator, tuple(steps.stages), version_in(response.result))


_NO_WAY = Failure(
    "no channel of ours leads there: there is no grpc_client in the settings, or it may use no proxy (useProxy)",
    "add one to channels",
    "ours",
    "broker",
    Reason.NO_WAY,
)


def is_our_clients(error: Error) -> bool:
    """Whether an error was made on the way to our own server, and not by it."""
    return not isinstance(error.data, dict) or TOLD_BY not in error.data


def proxies_of_interest(directory: Directory, own: str, peer: str) -> list[Operator]:
    """Ours, the peer's, and those of whom we may call; the first ones of them."""
    mine = directory.entry(own)
    found: dict[Operator, None] = {}
    for entry in filter(None, (mine, directory.entry(peer), *directory.entries.values())):
        proxies = [proxy for proxy in entry.proxies_for(own) if proxy != own and _has_address(directory, proxy)]
        if proxies and (entry.name in (own, peer) or _calls(mine, entry)):
            found |= dict.fromkeys(proxies)
    return list(found)[:MAX_PROXIES]


def _has_address(directory: Directory, proxy: Operator) -> bool:
    entry = directory.entry(proxy)
    return entry is not None and entry.grpc_server is not None


def _calls(mine: Entry | None, other: Entry) -> bool:
    return mine is not None and bool(callable_by(mine, other))


def relays_of(directory: Directory, proxy: Operator, own: Operator, ours: Sequence[str]) -> list[str]:
    """The relay endpoints that are listed for a proxy, in the directory or in our settings; the first ones of them."""
    listed = relay_trust_of(Fixed(directory), proxy, own, ours).listed
    return [render_host_port(host, port) for host, port in sorted(listed or ())[:MAX_RELAYS]]


# What follows


def as_known(taken: Taken, *, fresh: bool) -> Taken:
    """``taken``, unless we refuse somebody by a directory that may not be the newest: then that is what is wrong.

    Args:
        fresh: a service directory has just shown it.
    """
    failure = taken.failure
    if fresh or failure is None or failure.reason != Reason.PEER_PIN or failure.stage != "tls":
        return taken
    fix = TABLE[Reason.DIRECTORY_STALE].do
    return replace(taken, failure=replace(failure, side="ours", hint=fix, reason=Reason.DIRECTORY_STALE))


UNLOOKED = "not looked at: no directory is known"


def judge_own_way(directory: Directory | None, own: str) -> list[Finding]:
    """Of the proxy that our entry names for those who call us, if it can't be asked at all."""
    way = way_between(directory, NOBODY, Operator(own)) if directory is not None else None
    if way is None or not _leads_nowhere(way) or not way.proxy:
        return []
    what = f"nobody can reach us: our entry says that we are behind the proxy {way.proxy}"
    return [Finding(PROXIES, Mark.WRONG, what, way.why, "ours", way.fix, Reason.NO_WAY)]


def judge_proxies(found: Sequence[tuple[Reached, Taken]] | None) -> list[Finding]:
    """Of the EPS servers of proxies; None: it isn't known which there are."""
    if found is None:
        return [unknown(PROXIES, UNLOOKED)]
    if not found:
        return [well(PROXIES, "none is needed")]
    return [_proxy(reached, taken) for reached, taken in found]


def _proxy(reached: Reached, taken: Taken) -> Finding:
    where = f"{taken.operator} at {reached.target.address}"
    if taken.failure is None:
        return well(PROXIES, f"{where} takes us: chain, name and pin fit", reached.times())
    times = f" (as far as: {reached.times()})" if reached.stages else ""
    failure = replace(taken.failure.of_a_proxy(), text=taken.failure.text + times)
    return failure.found(PROXIES, f"{where} is not reached")


def judge_relays(proxies: Sequence[Operator] | None, found: Sequence[Reached]) -> list[Finding]:
    """Of the ports at which tunnels meet; None: it isn't known through which proxies."""
    if proxies is None:
        return [unknown(RELAY, UNLOOKED)]
    if not proxies:
        return [well(RELAY, "none is needed")]
    if not found:
        return [unknown(RELAY, "not looked at: the directory lists no internal_endpoints of these proxies")]
    return [_relay(reached) for reached in found]


def _relay(reached: Reached) -> Finding:
    address = reached.target.address
    if reached.failure is None:
        return well(RELAY, f"{address} of {reached.target.who} takes connections", reached.times())
    what = f"{address} of {reached.target.who} is not reached"
    if reached.failure.side == "ours":  # an HTTP proxy, say
        return reached.failure.found(RELAY, what)
    silent = "no answer" in reached.failure.text
    side = "ours" if silent else "proxy"
    fix = (
        f"our firewall: let us out to {address}"
        if silent
        else f"the administrator of {reached.target.who}: is the proxy up, and internal_endpoint right?"
    )
    return Finding(
        RELAY,
        Mark.WRONG,
        what,
        reached.failure.text,
        side,
        fix,
        Reason.RELAY_SILENT if silent else Reason.RELAY_UNREACHABLE,
    )


def judge_peer(
    directory: Directory | None, own: str, peer: str, taken: Taken | None, served: Pinged | None
) -> list[Finding]:
    """Of the whole way to ``peer``.

    Args:
        taken: the way that the doctor took; None: it can't take that one.
        served: what came of a ping by our running server; None: none runs.
    """
    group = f"the way to {peer}"
    if directory is None or not directory.entries:
        return [unknown(group, UNLOOKED if directory is None else "not looked at: nobody is in the directory")]
    found = [*_on_paper(group, directory, own, peer), *_in_fact(group, peer, taken)]
    return [*found, *_by_server(group, peer, served, taken.failure if taken is not None else None)]


def _on_paper(group: str, directory: Directory, own: str, peer: str) -> Iterator[Finding]:
    mine, entry = directory.entry(own), directory.entry(peer)
    if mine is None or entry is None:
        return  # told elsewhere
    if is_removed(entry):
        fix = "eps directory log says when, and by whom"
        what = f"{peer} was removed from the directory: nobody can call it"
        yield Finding(group, Mark.WRONG, what, "", "peer", fix, Reason.OPERATOR_UNKNOWN)
        return
    way = way_between(directory, Operator(own), Operator(peer))
    if _leads_nowhere(way):
        fix = way.fix or f"the channels of {own} and of {peer} in the directory"
        yield Finding(group, Mark.WRONG, "the directory names no way", way.why, "directory", fix, Reason.NO_WAY)
    else:
        yield well(group, way_text(way, own, peer))
    if own != peer:
        yield _rights(group, own, entry, callable_by(mine, entry))


def _leads_nowhere(way: Way) -> bool:
    return all(bool(one.why) for one in (way, *way.others))


def _in_fact(group: str, peer: str, taken: Taken | None) -> Iterator[Finding]:
    if taken is None:
        return
    for stage in taken.stages:
        yield well(group, stage.what, seconds=stage.seconds)
    if taken.failure is not None:
        yield taken.failure.found(group, f"{peer} is not reached, tried apart from our server")
    else:
        yield well(group, f"{peer} is reached: {f'version {taken.version}' if taken.version else NOT_TOLD}")


def _by_server(group: str, peer: str, served: Pinged | None, apart: Failure | None) -> Iterator[Finding]:
    if served is None:
        yield unknown(group, "not tried through our server, which does not answer")
    elif served.error is not None and is_our_clients(served.error):
        text = f"our running server has not answered for {peer} in time"
        yield unknown(group, text, "it holds calls that were not sent, and tries again (patience)", "see its log")
    elif served.error is not None:
        failure = Failure.told(served.error)
        if apart is not None and (apart.reason, apart.side) == (failure.reason, failure.side):
            failure = replace(failure, text="for the same reason")
        yield failure.found(group, f"our running server does not reach {peer}")
    else:
        yield well(group, f"our running server reaches {peer}", seconds=min(served.seconds))


def _rights(group: str, own: str, entry: Entry, methods: Sequence[str]) -> Finding:
    peer = entry.name
    if methods:
        return well(group, f"{own} may call {_listed(methods)}", _refused(own, peer, entry.callers, methods))
    fix = f"{peer}'s administrator grants rights in its entry; eps explain {own} {peer} METHOD says what is missing"
    return Finding(group, Mark.WRONG, f"{own} may call nothing of {peer}", "", "peer", fix, Reason.NO_PERMISSION)


MAX_LISTED = 8
"""Methods in a line; ``eps methods`` and ``eps explain`` say all."""


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:MAX_LISTED]) + (", …" if len(texts) > MAX_LISTED else "")


def _refused(own: str, peer: str, callers: Mapping[str, frozenset[str]], methods: Sequence[str]) -> str:
    """What else there is, and for whom; servers ask each other for connections without us."""
    others = [
        f"{name} (for {' and '.join(sorted(groups)) or 'nobody'})"
        for name, groups in callers.items()
        if name not in methods and name not in BUILT_IN
    ]
    return f"not {_listed(others)}: eps explain {own} {peer} METHOD says why" if others else ""


def channel_of(
    own: Operator, directory: Directory, context: ssl.SSLContext, dialling: Dialling, marks: frozenset[Fingerprint]
) -> Open:
    """Makes channels like our server's."""
    source = Fixed(directory)

    def opened(steps: Steps) -> GrpcClientChannel:
        pin = OwnPin(own, source, marks, ignore)
        return GrpcClientChannel(own, source, context, emit=steps, dialling=dialling, own_pin=pin)

    return opened
