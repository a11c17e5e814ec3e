"""The broker of an EPS server: every request, wherever it came from, passes through ``Broker.deliver``.

    who asks, and is it for us → are both in the directory → may they → ``_client`` → ours to answer, or a channel's

(PROTOCOL.md section 2, «Delivery».) The broker decides; channels do the input and output. ``_connectionRequest``,
steps 3 and 4 of a brokered connection on B's side, is in ``internal_methods.py`` beside this file.
"""

import asyncio
import secrets
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from eps.broker.audited import Audit, AuditedCall
from eps.broker.discovery import Discovery
from eps.broker.ending import APPLICATION, CALLER_GONE, LONG_SECONDS, WITHHELD, Ending, ending, given_up
from eps.broker.internal_methods import InternalMethods, proxies_of
from eps.broker.patience import Patience
from eps.broker.refusals import no_directory, unknown_method
from eps.broker.second_look import SecondLook
from eps.channels import Outbound, Way
from eps.core.address import Address
from eps.core.age import TOO_OLD_HINT
from eps.core.brokering import CONNECTION_REQUEST, TUNNEL_METHODS
from eps.core.defaults import CALL_SECONDS, MAX_CALL_SECONDS
from eps.core.descriptions import DESCRIBE
from eps.core.entries import Directory, Entry
from eps.core.event import CallFinished, Emit, Level, Notice
from eps.core.likeness import meant
from eps.core.message import CLIENT_KEY, Error, Request, Response, Unread
from eps.core.names import Object, Operator
from eps.core.permission import Denied, may_call
from eps.core.recent import Recent
from eps.core.removal import is_removed
from eps.core.renewal import RENEW_CONNECTIONS
from eps.core.told import error_response, quoted
from eps.core.trace import CURRENT, NO_TRACE, begin
from eps.core.warn_rate import WarnRate
from eps.core.ways import unasked
from eps.directory import DirectorySource
from eps.errors import (
    DirectoryUnavailable,
    EpsError,
    GivenUp,
    InternalError,
    NoRoute,
    NotPermitted,
    NotSent,
    NoWay,
    OutcomeUnknown,
    Side,
    UnknownOperator,
)
from eps.reasons import Reason

RECIPIENT = "recipient"

DOUBT_SECONDS = 600.0
"""How long an id is not used again after a call under it was given up: servers in use set no deadlines, refuse an id
that is in flight, and answer over a stream late; a client of ours that repeats its call must not get that answer."""

MAX_DOUBTFUL = 10_000
"""Ids that are remembered so, some MB; the oldest is forgotten for the newest."""


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """How long what may take.

    Attributes:
        call_timeout: seconds from a call's arrival to its answer, where its caller says nothing.
        max_call_timeout: that he may give it.
        patience: seconds that a call which was certainly not sent is held and tried again; 0: it fails at once.
        doubt: see :data:`DOUBT_SECONDS`.
        max_doubtful: see :data:`MAX_DOUBTFUL`.
        tells_durations: whether other operators who trace their calls are told how long those took here.
        makes_ids: whether each call that leaves gets an id of ours: other servers of our operator have calls, too.
    """

    call_timeout: float = CALL_SECONDS
    patience: float = 0.0
    doubt: float = DOUBT_SECONDS
    max_doubtful: int = MAX_DOUBTFUL
    tells_durations: bool = True
    max_call_timeout: float = MAX_CALL_SECONDS
    makes_ids: bool = False

    def seconds_for(self, told: float | None) -> float:
        """That a call may take of which its caller told so much."""
        return self.call_timeout if told is None else min(told, self.max_call_timeout)


class Broker:
    """Decides for each request whether it may pass and where to.

    Args:
        name: our operator.
        source: the directory.
        outbound: the channels that can deliver, in their configured order; the first that can, does.
        internal: the methods that this server answers itself.
        audit: where each call has its line; None: nowhere.
    """

    def __init__(
        self,
        name: Operator,
        source: DirectorySource,
        outbound: Sequence[Outbound],
        internal: InternalMethods,
        *,
        emit: Emit,
        limits: BrokerLimits | None = None,
        audit: Audit | None = None,
    ) -> None:
        self._name = name
        self._source = source
        self._outbound = tuple(outbound)
        self._internal = internal
        self._emit = emit
        self._audit = audit
        self._limits = limits = limits or BrokerLimits()
        self._patience = Patience(limits.patience)
        self._discovery = Discovery(name, self._ask)
        self._second_look = SecondLook(source)
        self._outstanding: set[Address] = set()
        self._doubtful: Recent[Address, float] = Recent(limits.max_doubtful)  # until when
        self._warnings = WarnRate()
        self._running = 0
        self._ended = asyncio.Event()

    def limit(self, limits: BrokerLimits) -> None:
        """Other limits from the next call on; ``patience`` stays what it is."""
        self._limits = limits

    @property
    def running(self) -> int:
        """Calls that have no answer yet."""
        return self._running

    @property
    def held(self) -> int:
        """Those that wait until their peer can be reached again."""
        return self._patience.waiting

    async def settled(self, timeout: float) -> int:
        """Wait until no call is running, ``timeout`` seconds at the most; how many run then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._running:
                    self._ended.clear()
                    await self._ended.wait()
        return self._running

    async def close(self) -> None:
        """End what it does of its own accord."""
        await self._discovery.close()

    async def deliver(self, request: Request | Unread, sender: Operator) -> Response:
        """Answer ``request`` of the authenticated ``sender``. Failures are answers; only cancellation is raised."""
        self._running += 1
        try:
            return await self._answer(request, sender)
        finally:
            self._running -= 1
            self._ended.set()

    async def _answer(self, request: Request | Unread, sender: Operator) -> Response:
        started = time.monotonic()  # uvloop's own clock counts whole milliseconds
        brokering = request.address.id if request.address.method in TUNNEL_METHODS else ""
        begin(brokering, is_ours=sender == self._name, tells=self._limits.tells_durations)
        failure: EpsError | None = None
        audited: AuditedCall | None = None
        try:
            if self._audit is not None:
                audited = self._audit.begin()
            seconds = self._limits.seconds_for(request.asker.timeout)
            response = await self._deliver(request, sender, started + seconds, audited)
            if audited is not None and (work := audited.answered(response)) is not None:
                await work
        except EpsError as error:
            failure = error.with_traceback(None)  # whose frames hold the params, this one, and so each other
            response = error_response(str(request.address), error, self._name, abroad=sender != self._name)
        except Exception as error:  # noqa: BLE001 - a bug in one call must not end the server or leave its caller waiting
            failure = InternalError(
                f"{self._name} failed to handle the call",
                hint=f"look into {self._name}'s log; this is a defect of the server",
            )
            self._emit(Notice(level=Level.ERROR, text=f"unexpected {error!r} in {request.address.target}"))
            response = error_response(str(request.address), failure, self._name, abroad=sender != self._name)
        except asyncio.CancelledError:
            self._note(audited, request, self._left(request, sender, time.monotonic() - started))
            raise
        if audited is not None and failure is not None:
            audited.answered(response)  # which is short, as all that servers say
        self._note(audited, request, self._report(request, sender, response, failure, time.monotonic() - started))
        return response

    def _note(self, audited: AuditedCall | None, request: Request | Unread, event: CallFinished) -> None:
        """Write the call's line into the audit log, if it has begun there."""
        if audited is not None and self._audit is not None:
            self._audit.ended(audited, event, request.address.id)

    async def _deliver(
        self, request: Request | Unread, sender: Operator, deadline: float, audited: AuditedCall | None
    ) -> Response:
        recipient = request.address.operator
        if sender != self._name and recipient != self._name:
            raise NotPermitted(
                f"{sender} asked {self._name} to pass a call on to {recipient}; a server answers only for itself",
                hint=f"send the call to {recipient}'s own server",
            )
        directory = await self._directory_with(sender, recipient)
        if sender != self._name and request.address.method == CONNECTION_REQUEST:
            directory = await self._directory_for_tunnel(directory, sender)
        sender_entry = self._entry(directory, sender, "sender")
        recipient_entry = self._entry(directory, recipient, RECIPIENT)
        if request.address.method == RENEW_CONNECTIONS and recipient == self._name:
            self._internal.check_broker(sender)  # it needs no right in the directory
        elif sender != self._name and request.address.method == DESCRIBE and recipient == self._name:
            self._discovery.check(sender_entry, recipient_entry)
        elif sender != self._name:
            self._check_right(sender_entry, recipient_entry, request.address.method)
        if isinstance(request, Unread):
            request = await request.read()
        if audited is not None and (work := audited.asked(request.params)) is not None:
            await work
        if recipient != self._name:
            return await self._send_out(request, recipient_entry, deadline)
        ours = with_client(request, sender_entry)  # request stays: transport.large_values is to have the last of it
        if ours.address.method == DESCRIBE:
            return Response(str(ours.address), await self._describe(ours, sender_entry, directory, deadline))
        if self._internal.handles(ours.address.method):
            result = await self._internal.handle(ours, sender, directory)
            return Response(str(ours.address), result)
        return await self._through_channel(ours, recipient_entry, sender, deadline)

    async def _describe(self, request: Request, sender: Entry, directory: Directory, deadline: float) -> Object:
        return await self._discovery.describe(request.params, sender, directory, deadline - time.monotonic())

    async def _ask(self, request: Request, seconds: float) -> Response:
        """A question of our own, to our application or to another operator."""
        directory, deadline = self._source.current, time.monotonic() + seconds
        own = self._entry(directory, self._name, "sender")
        recipient = self._entry(directory, request.address.operator, RECIPIENT)
        if recipient is own:
            return await self._try_channels(with_client(request, own), own, self._name, deadline)
        return await self._send_out(request, recipient, deadline)

    async def _directory_with(self, *operators: Operator) -> Directory:
        """The directory; asked for news once if it lacks one of ``operators``."""
        directory = self._source.current
        if any(directory.entry(operator) is None for operator in operators):
            await self._source.refresh()
            directory = self._source.current
        return directory

    async def _directory_for_tunnel(self, directory: Directory, proxy: Operator) -> Directory:
        """The directory; asked for news if it speaks against a tunnel of ``proxy``, who may know a newer one."""

        def is_contradicted(known: Directory) -> bool:
            sender, own = known.entry(proxy), known.entry(self._name)
            may = sender and own and not isinstance(may_call(sender, own, CONNECTION_REQUEST), Denied)
            return not may or proxy not in proxies_of(known, self._name)

        if not is_contradicted(directory):
            return directory
        return await self._second_look(proxy, is_contradicted, time.monotonic())

    def _entry(self, directory: Directory, operator: Operator, role: str) -> Entry:
        entry = directory.entry(operator)
        if entry is not None:
            return entry
        if too_old := self._source.too_old():
            text = f"{self._name} knows no operator at present, not even {operator}: {too_old}"
            raise DirectoryUnavailable(text, hint=TOO_OLD_HINT, reason=Reason.DIRECTORY_TOO_OLD)
        if not directory.entries:
            raise no_directory(self._name, operator, self._source.failing())
        if operator == self._name:
            raise UnknownOperator(
                f"the server of {operator} finds no records of it in the directory yet; until then no call passes",
                hint=f"submit the records of {operator} (eps sd submit-records), and check «name» in the settings; "
                "list the operators with: eps directory show",
                reason=Reason.OWN_ENTRY,
            )
        similar = meant(operator, directory.entries) if role == RECIPIENT else ""
        raise UnknownOperator(
            f"the {role} {operator} is not in the directory that {self._name} has",
            hint=(f"did you mean {similar}? " if similar else "check the spelling; ")
            + "list the operators with: eps directory show",
            side=Side.OURS if role == RECIPIENT else Side.DIRECTORY,
        )

    def _check_right(self, sender: Entry, recipient: Entry, method: str) -> None:
        verdict = may_call(sender, recipient, method)
        if isinstance(verdict, Denied) and verdict.is_unknown:
            raise unknown_method(sender, recipient, method, verdict)
        if isinstance(verdict, Denied):
            raise NotPermitted(
                f"{sender.name} may not call {method} on {recipient.name}: {verdict.reason}",
                hint=f"the operator of {recipient.name} grants rights in the section «services» of its directory entry",
            )

    async def _send_out(self, request: Request, recipient: Entry, deadline: float) -> Response:
        """To another operator, under an id that no other call of ours in flight has (PROTOCOL.md section 9): of none
        of our operator's servers. Ids of questions about tunnels are made, and nobody else's, already."""
        address = request.address
        makes = self._limits.makes_ids and address.method not in TUNNEL_METHODS
        if makes or address in self._outstanding or self._is_doubtful(address):
            address = replace(address, id=secrets.token_hex(16))
        self._outstanding.add(address)
        try:
            sent = request if address is request.address else replace(request, address=address)
            response = await self._through_channel(sent, recipient, self._name, deadline)
        except (OutcomeUnknown, asyncio.CancelledError):
            # The other side may still be at the call that we have given up.
            self._doubtful.put(address, time.monotonic() + self._limits.doubt)
            raise
        finally:
            self._outstanding.discard(address)
        return response if sent is request else replace(response, id=str(request.address))

    def _is_doubtful(self, address: Address) -> bool:
        until = self._doubtful.get(address)
        if until is not None and until < time.monotonic():
            self._doubtful.drop(address)
            return False
        return until is not None

    def _through_channel(
        self, request: Request, recipient: Entry, sender: Operator, deadline: float
    ) -> Coroutine[None, None, Response]:
        """Held and tried again for as long as it is certain that it was not sent (``patience``).

        What a proxy asks for somebody else's call is not: who makes that call holds it, and would wait for both.
        """
        if request.address.method == CONNECTION_REQUEST:
            return self._try_channels(request, recipient, sender, deadline)
        attempt = partial(self._try_channels, request, recipient, sender, deadline)
        return self._patience.call(recipient.name, attempt, deadline)

    async def _try_channels(self, request: Request, recipient: Entry, sender: Operator, deadline: float) -> Response:
        if not request.asker.waits():
            raise GivenUp
        for channel in self._outbound:
            way = channel.way_to(recipient.name)
            if way is not None:
                return await self._along(way, request, sender, deadline)
        # Since the call was held, the directory may have named another way, or none.
        raise self._no_route(self._source.current.entry(recipient.name) or recipient)

    async def _along(self, way: Way, request: Request, sender: Operator, deadline: float) -> Response:
        try:
            return await way(request, sender, max(deadline - time.monotonic(), 0.0))
        except NotSent:
            request.asker.sent = False
            raise

    def _no_route(self, recipient: Entry) -> NoRoute:
        if recipient.name == self._name:
            return NoWay(
                f"{self._name} has no channel that takes calls for its own services",
                hint="add a jsonrpc_client channel with the endpoint of your service to the settings",
            )
        server = recipient.grpc_server
        if is_removed(recipient):
            text, hint = f"{recipient.name} was removed from the directory", "eps directory log says when, and by whom"
            return NoWay(text, hint=hint, reason=Reason.OPERATOR_UNKNOWN)
        if server is None or server.internal:
            why = "its directory entry has no gRPC server that others may dial"
            hint = f"{recipient.name} must hold a stream to us; check that its server runs and may call or be called"
        elif self._name in recipient.proxies:
            unwanted, hint = unasked(self._source.current, recipient.name, self._name)
            if unwanted:
                text = f"{recipient.name} is not connected: {unwanted}"
                return NoRoute(text, hint=hint, side=Side.PEER, reason=Reason.NO_WAY)
            why = f"it is reached through {self._name}, but holds no stream to it now"
            hint = (
                f"check that the server of {recipient.name} runs and what its log says of {self._name}; "
                "it connects again by itself, within a minute at the latest"
            )
        else:
            return NoWay(
                f"{recipient.name} is not connected: {self._name} has no grpc_client channel that may dial it",
                hint="add a grpc_client channel to the settings (with useProxy, if the operator is behind a proxy)",
            )
        return NoRoute(f"{recipient.name} is not connected: {why}", hint=hint)

    def _report(
        self, request: Request | Unread, sender: Operator, response: Response, failure: EpsError | None, seconds: float
    ) -> CallFinished:
        trace, error = CURRENT.get() or NO_TRACE, response.error
        end = ending(error, failure, request.address.operator if trace.of_our_kind else "")
        if failure is None and response.error is not None and request.address.operator == self._name:
            # Our application's words, whatever they look like, are between it and its caller.
            end = end._replace(outcome="error", fault=APPLICATION, reason="", level=Level.DEBUG, side="")
        if error is not None and end.detail == WITHHELD:
            words = f"{request.address.target} was answered: {quoted(error.message)}"
            self._emit(Notice(level=Level.DEBUG, text=words))
        if end.level is Level.WARN:
            end = self._sparing(end, sender)
        return self._tell_finished(request, sender, end, seconds, error)

    def _left(self, request: Request | Unread, sender: Operator, seconds: float) -> CallFinished:
        """Nobody waits for the answer any more."""
        is_ours = request.address.operator == self._name and not self._internal.handles(request.address.method)
        end = (
            self._sparing(given_up(self._name, seconds), sender) if is_ours and seconds >= LONG_SECONDS else CALLER_GONE
        )
        return self._tell_finished(request, sender, end, seconds)

    def _sparing(self, end: Ending, sender: Operator) -> Ending:
        """What one sender's failures make us warn of has a rate."""
        level, left_out = self._warnings.judge(time.monotonic(), sender)
        return end._replace(level=level, left_out=left_out)

    def _tell_finished(
        self, request: Request | Unread, sender: Operator, end: Ending, seconds: float, error: Error | None = None
    ) -> CallFinished:
        trace = CURRENT.get() or NO_TRACE
        event = CallFinished(
            level=end.level,
            left_out=end.left_out,
            direction="local" if sender == self._name else "incoming",
            sender=sender,
            recipient=request.address.operator,
            method=request.address.method,
            outcome=end.outcome,
            seconds=seconds,
            trace=trace.id,
            opened_by=trace.opened_by if trace.opened_by != trace.id else "",
            there=trace.there,
            stage=end.stage,
            side=end.side,
            code=error.code if error is not None else 0,
            fault=end.fault,
            reason=end.reason,
            detail=end.detail,
            call_id=quoted(request.address.id),
        )
        self._emit(event)
        return event


def with_client(request: Request, sender: Entry) -> Request:
    """``request`` with ``params._client`` = the sender as this server knows it, whatever the caller had put there."""
    return Request(request.address, {**request.params, CLIENT_KEY: sender.as_client}, request.asker)
