"""The other EPS servers of our own operator: what only one of us can take or send, we pass on to each other.

    down a stream   an operator holds its stream to one of us: who has none asks the siblings for theirs (``way_to``)
    up a stream     peers in use know one stream per name: who holds that gives each request to the one of us that has
                    the fewest in hand (``spread``)
    to all          a proxy that is about to stop asks one of us to renew its connections (``leave``)

Siblings dial each other's gRPC port, with our operator's own certificate. A request that is passed on names in
``clientName`` for whom; what was passed on once is not passed on again (``PASSED_ON``). Who they are, and which of us
holds what only one may hold, the leases say (``Leases``; datastores.redis_leases).

A connection that broke off without a word, behind which nobody listens any more, is a process that has died: what it
held is free at once. Any other silence may be a line's, and waits for the lease's end.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol

from eps.channels import Way
from eps.channels.peers import asker_of, encode_request, read_answer
from eps.core.address import Address
from eps.core.brokering import TUNNEL_METHODS
from eps.core.defaults import CALL_SECONDS, MAX_CALL_SECONDS
from eps.core.event import Emit, PeerChanged
from eps.core.message import Asker, Request, Response
from eps.core.names import Fingerprint, Operator
from eps.core.renewal import RENEW_CONNECTIONS
from eps.core.told import TOLD_BY, error_response
from eps.core.trace import IDS
from eps.errors import DeliveryError, EpsError, NoRoute, NotSent, Outcome, OutcomeUnknown
from eps.grpc import codec
from eps.grpc import eps_pb2 as pb
from eps.grpc.connection import ClientConnection
from eps.reasons import Reason, reason_of
from eps.transport.tasks import Tasks
from eps.transport.tls import Pins, no_longer_pinned

LOOK_SECONDS = 0.5
"""Between two looks at who is there, and between two attempts to reach a sibling."""

CUT_SECONDS = 0.05
"""How long a connection that takes no more calls is looked at: is it cut, or does it end what runs?"""

PASSED_ON: ContextVar[bool] = ContextVar("passed_on", default=False)
"""Whether the task works for a request that a sibling has passed on to us."""


class Leases(Protocol):
    """Who is there, and what only one of us may hold; see datastores.redis_leases."""

    instance: str
    siblings: Mapping[str, tuple[str, str]]
    holders: Mapping[str, str]
    failing: str

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def holds(self, peer: str) -> bool: ...

    async def acquire(self, peer: str, again: Callable[[], None]) -> None: ...

    async def lost(self, peer: str) -> None: ...

    def ended(self, peer: str) -> None: ...

    def release(self, peer: str) -> None: ...

    def dead(self, boot: str) -> None: ...

    def take_over(self) -> None: ...


Dial = Callable[[str], Awaitable[ClientConnection]]
"""A connection to the server of our own operator that listens there."""

OWN_WORDS = ""
"""The id of a sibling's answer that says what it knows of the call itself. Whatever comes from elsewhere, up a stream,
has the request's: nobody else can speak for it."""

PUT_OFF_SECONDS = 2.0
"""For how long one that has refused a call is asked last: who refuses at once has none in hand, and would get all."""

Local = Callable[[], Awaitable[pb.Response]]
"""Answers a request here."""


class Passing:
    """Counts calls that are passed on.

    Attributes:
        running: those that are under way.
    """

    def __init__(self) -> None:
        self.running = 0
        self._ended = asyncio.Event()

    @contextmanager
    def one(self) -> Iterator[None]:
        """For as long as one is under way."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._ended.set()

    async def settled(self, timeout: float) -> int:
        """Wait until none is, so many seconds at the most; how many are then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.running:
                    self._ended.clear()
                    await self._ended.wait()
        return self.running


class _Sibling:
    """One of them, and what it is at for us.

    Attributes:
        in_hand: what we have passed on to it, and has no answer.
        used: when it was given the last one, counted in those.
        put_off: until when it is asked last, since it has just refused; by the monotonic clock.
    """

    def __init__(self) -> None:
        self.connection: ClientConnection | None = None
        self.in_hand = 0
        self.used = 0
        self.put_off = 0.0

    @property
    def burden(self) -> tuple[bool, int, int]:
        """What speaks against giving it the next one."""
        return time.monotonic() < self.put_off, self.in_hand, self.used

    async def call(self, message: pb.Request, timeout: float, asker: Asker | None = None) -> pb.Response:
        """Raises NotSent if it certainly has not run; OutcomeUnknown if that is not known."""
        connection = self.connection
        if connection is None:
            raise NotSent("the connection is over")
        self.in_hand += 1
        try:
            answer = await connection.call(message, timeout, asker)
            if answer.id == OWN_WORDS:
                _raise_told(answer)
            return answer
        except NotSent:
            self.put_off = time.monotonic() + PUT_OFF_SECONDS
            raise
        finally:
            self.in_hand -= 1

    @property
    def is_up(self) -> bool:
        return self.connection is not None and self.connection.usable and not self.connection.doubtful


def _nobody(_operator: Operator) -> frozenset[Fingerprint]:
    """Before the start."""
    return frozenset()


class Siblings:
    """See the module's text.

    Args:
        name: our operator.
        leases: who is there.
        emit: told of connections that come up and go down.

    Attributes:
        leases: see above.
        passing: requests that came to us, and that siblings are at.
    """

    def __init__(self, name: Operator, leases: Leases, emit: Emit) -> None:
        self._name = name
        self.leases = leases
        self._emit = emit
        self._siblings: dict[str, _Sibling] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks()
        self._here = _Sibling()
        self.passing = Passing()
        self._pins: Pins = _nobody
        self._used = 0

    async def start(self, dial: Dial, pins: Pins) -> None:
        """Begin to keep a connection to each.

        Args:
            pins: whose certificates are known, now.
        """
        self._pins = pins
        self._tasks.start(self._follow(dial), "siblings")

    def renew(self) -> None:
        """Dial anew, with another certificate of ours; what runs ends where it is."""
        for sibling in self._siblings.values():
            if sibling.connection is not None:
                self._tasks.start(sibling.connection.drain(CALL_SECONDS), "sibling: renewal")

    async def close(self) -> None:
        """End them."""
        await self._tasks.close()
        for sibling in self._siblings.values():
            if sibling.connection is not None:
                sibling.connection.abort(f"{self._name} is stopping")

    @property
    def up(self) -> Mapping[str, bool]:
        """Whom we know, and whether each can be reached."""
        return {name: self._may_use(self._siblings[name]) for name in sorted(self._siblings)}

    # Keeping connections

    async def _follow(self, dial: Dial) -> None:
        while True:
            for name in self.leases.siblings.keys() - self._keepers.keys():
                self._siblings[name] = _Sibling()
                keeper = self._tasks.start(self._keep(name, self._siblings[name], dial), f"sibling {name}")
                self._keepers[name] = keeper
            for name in [name for name, keeper in self._keepers.items() if keeper.done()]:
                del self._keepers[name], self._siblings[name]
            for sibling in self._siblings.values():
                if sibling.connection is not None and not self._is_pinned(sibling):
                    sibling.connection.abort(no_longer_pinned(self._pins))
            await asyncio.sleep(LOOK_SECONDS)

    async def _keep(self, name: str, sibling: _Sibling, dial: Dial) -> None:
        """Until it is there no more."""
        had = ""  # the process that we were connected with until a moment ago, which said no goodbye
        while (found := self.leases.siblings.get(name)) and found[0]:
            address, boot = found
            try:
                connection = sibling.connection = await dial(address)
            except EpsError as error:
                if had == boot and isinstance(error.__cause__, ConnectionRefusedError):
                    self.leases.dead(boot)
                had = ""
                await asyncio.sleep(LOOK_SECONDS)
                continue
            self._emit(PeerChanged(link="sibling", peer=name, up=True))
            reason = await asyncio.shield(connection.leaving)
            await asyncio.wait({connection.closed}, timeout=CUT_SECONDS)
            sibling.connection = None
            had = boot if connection.was_cut else ""
            self._emit(PeerChanged(link="sibling", peer=name, up=False, detail=reason))

    # Passing on

    def way_to(self, operator: Operator) -> Way | None:
        """Down the stream that ``operator`` holds to a sibling, if it holds one; see ``channels.Outbound``."""
        if PASSED_ON.get() or operator == self._name or not any(self.up.values()):
            return None
        return self._ask_all

    async def _ask_all(self, request: Request, sender: Operator, timeout: float) -> Response:
        message = await encode_request(request, sender)
        operator, failure = request.address.operator, None
        until = time.monotonic() + timeout
        for sibling in self._in_turn():
            try:
                left = max(until - time.monotonic(), 0.0)
                answer = await sibling.call(message, left, request.asker)
                return await read_answer(answer, request, (operator,))
            except NotSent as error:
                failure = error
        if failure is not None:
            raise failure
        raise NoRoute(f"{operator} is not connected: it holds no stream to any server of {self._name}")

    async def spread(self, message: pb.Request, sender: Operator, local: Local | None) -> pb.Response:
        """Give a request that came to us to the one of us with the fewest in hand; what certainly did not run there is
        done here.

        Args:
            sender: whose it is, as its certificate says.
            local: answers it here; None while we take no more.

        Raises:
            NotSent: we take no more, and there is nobody else.
        """
        here = [] if local is None else [self._here]
        chosen = min([*here, *self._in_turn()], key=lambda one: one.burden, default=None)
        if chosen is None:
            raise NotSent(f"{self._name} is stopping", hint="try again when it runs again", reason=Reason.STOPPING)
        self._used += 1
        chosen.used = self._used
        if chosen is not self._here:
            began, asker = time.monotonic(), asker_of(message)
            try:
                with self.passing.one():
                    return await chosen.call(_on_behalf(message, sender), seconds_of(asker), asker)
            except NotSent:
                if local is None:
                    raise
            except EpsError as error:
                return codec.encode_response(error_response("", error, self._name, abroad=True), message.id)
            if asker.timeout is not None:
                codec.tell_timeout(message, max(asker.timeout - (time.monotonic() - began), 0.0))
        assert local is not None
        self._here.in_hand += 1
        try:
            return await local()
        finally:
            self._here.in_hand -= 1

    def _in_turn(self) -> list[_Sibling]:
        """Those that can be reached; first whom we have asked least lately."""
        return sorted((one for one in self._siblings.values() if self._may_use(one)), key=lambda one: one.used)

    def _may_use(self, sibling: _Sibling) -> bool:
        """Whether it can be reached, and is one of us: its certificate may have been withdrawn since."""
        return sibling.is_up and self._is_pinned(sibling)

    def _is_pinned(self, sibling: _Sibling) -> bool:
        connection = sibling.connection
        return connection is None or connection.peer.fingerprint in self._pins(self._name)

    # channels.Brokered

    def through(self, proxy: Operator) -> bool:
        """Whether a sibling may have connections that ``proxy`` has brokered: it decides itself, when it is asked."""
        return not PASSED_ON.get() and any(self.up.values())

    def leave(self, proxy: Operator) -> int:
        """Have all of them leave what ``proxy`` has brokered."""
        if PASSED_ON.get():
            return 0
        for sibling in self._in_turn():
            address = Address(self._name, RENEW_CONNECTIONS, IDS.span())
            message = pb.Request(method=address.target, id=str(address), clientName=proxy)
            self._tasks.start(_told(sibling, message), "siblings: renewal")
        return 0


async def _told(sibling: _Sibling, message: pb.Request) -> None:
    """A sibling that does not hear it keeps its tunnels until they are cut."""
    try:
        await sibling.call(message, CALL_SECONDS)
    except EpsError:
        return


def seconds_of(asker: Asker) -> float:
    """How long an answer is waited for. Where the caller doesn't say, whoever runs the call, or asks for it, knows."""
    return MAX_CALL_SECONDS if asker.timeout is None else asker.timeout


def _on_behalf(message: pb.Request, sender: Operator) -> pb.Request:
    passed = pb.Request()
    passed.CopyFrom(message)
    passed.clientName = sender
    return passed


def own_words(response: Response) -> pb.Response:
    """What one of us tells a sibling of a call that it was to pass on, or to run."""
    return codec.encode_response(response, OWN_WORDS)


def as_own_words(answer: pb.Response, own: Operator, message: pb.Request) -> pb.Response:
    """The answer of our own broker to a request that was passed on, marked where it says that the call was not begun:
    what an application says of itself has lost ``told_by`` by then, but for a proxy's answers about tunnels."""
    if not answer.HasField("error") or codec.decode_address(message).method in TUNNEL_METHODS:
        return answer
    error = codec.decode_response(answer, "").error
    data = error.data if error is not None and isinstance(error.data, dict) else {}
    if data.get(TOLD_BY) == own and data.get("outcome") == Outcome.NOT_SENT and message.clientName != own:
        answer.id = OWN_WORDS
    return answer


def _raise_told(answer: pb.Response) -> None:
    error = codec.decode_response(answer, "").error
    data = error.data if error is not None and isinstance(error.data, dict) else {}
    text, reason = error.message if error is not None else "it has not said why", reason_of(data.get("reason"))
    kinds = {Outcome.NOT_SENT.value: NotSent, Outcome.UNKNOWN.value: OutcomeUnknown}
    raise kinds.get(str(data.get("outcome")), DeliveryError)(text, hint=str(data.get("hint", "")), reason=reason)
