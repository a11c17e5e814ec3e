"""The running server, its port, its application, and the streams that it holds to others."""

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eps.core.age import spoken
from eps.core.host_port import address_of, parse_host_port
from eps.core.names import Object, Operator
from eps.core.told import quoted
from eps.errors import EpsError, StartError
from eps.jsonrpc.client import JsonRpcClient
from eps.programs.diagnosis.finding import Failure, Finding, Mark, unknown, well
from eps.programs.diagnosis.probes import Reached
from eps.programs.running.control import ask
from eps.programs.running.status import STATUS, STATUS_SECONDS
from eps.reasons import Reason
from eps.transport.port_owner import owner_of

SERVER, STREAMS = "running server", "streams"

FORBIDDEN = 403
"""Our own port refuses us: of a _ping, anything else shows that our server is there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the process says of itself.

    Attributes:
        told: its status; empty: nobody answered.
        failure: why not, where a file is in the way.
        owner: what has the port that ours should have, where that is known: ``nginx (process 123)``.
    """

    told: Mapping[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    owner: str = ""

    @property
    def runs(self) -> bool:
        """Whether a process of ours serves."""
        return bool(self.told)


async def ask_status(folder: Path, socket: str, bind_address: str = "") -> Asked:
    """Ask the process that has the state folder; never raises but for cancellation.

    Args:
        bind_address: where it should listen: if it doesn't run, who has that port is looked up.
    """
    asked = await _asked(folder, socket)
    if asked.runs or not bind_address:
        return asked
    return replace(asked, owner=await asyncio.to_thread(owner_of, parse_host_port(bind_address)[1]))


async def _asked(folder: Path, socket: str) -> Asked:
    try:
        session = ask(folder, socket, {"command": STATUS})
        if session is None:
            return Asked()
        try:
            answer, _ = await session.receive(STATUS_SECONDS)
        finally:
            session.close()
    except StartError as error:
        return Asked(failure=Failure.of(error))
    except OSError as error:
        text = "it does not answer" if isinstance(error, TimeoutError) else f"it does not answer: {error}"
        fix = "it hangs: look into its log, then restart it"
        return Asked(failure=Failure(text, fix, "ours", reason=Reason.SILENT))
    return Asked(answer) if "pid" in answer else Asked({"pid": 0})


async def ask_port(client_of: Callable[[], JsonRpcClient], ping: str, seconds: float) -> Failure | None:
    """Why a JSON-RPC port of ours does not answer; None: it does.

    Args:
        client_of: makes a client for it; raises EpsError if that can't be.
        ping: the method that is called.
    """
    try:
        client = client_of()
        try:
            response = await client.call(ping, {}, timeout=seconds)
        finally:
            await client.close()
    except EpsError as error:
        return Failure.of(error)
    return Failure.told(response.error) if response.error is not None and response.error.code == FORBIDDEN else None


def judge_server(
    asked: Asked, start: str, port: Failure | None, port_of: str, application: Reached | None
) -> list[Finding]:
    """Of the process, its port and what is behind it.

    Args:
        start: the command that starts it.
        port: why its port does not answer; None: it does, or none is set.
        port_of: ``JSON-RPC localhost:5555``; "" if there is none.
        application: what is behind it.
    """
    found = [_process(asked, start)]
    if port_of and port is None:
        found.append(well(SERVER, f"{port_of} answers"))
    elif port_of and port is not None and asked.owner and not asked.runs and asked.failure is None:
        what, fix = f"{port_of} is taken by {asked.owner}", "stop it, or set another bind_address"
        found.append(Finding(SERVER, Mark.WRONG, what, port.text, "ours", fix, Reason.PORT_TAKEN))
    elif port_of and port is not None and (asked.runs or "refused" not in port.text):
        fix = asked.failure.hint if asked.failure is not None else port.hint
        what = f"{port_of} does not answer as our server"
        found.append(Finding(SERVER, Mark.WRONG, what, port.text, "ours", fix, port.reason))
    if application is not None and application.failure is None:
        found.append(well(SERVER, f"our application at {application.target.address} is reached", application.times()))
    elif application is not None and application.failure is not None:
        what = "our application is not reached: calls of others fail"
        fix = "start it, or check endpoint of the jsonrpc_client channel"
        found.append(Finding(SERVER, Mark.WRONG, what, application.failure.text, "ours", fix, Reason.APPLICATION_DOWN))
    return found


def judge_loop(endpoint: str, bind_address: str, behind: str) -> list[Finding]:
    """Whether what a server passes calls on to is the server itself.

    Args:
        endpoint: where calls go; "": nowhere.
        bind_address: of its own JSON-RPC port; "": none.
        behind: what should be there.
    """
    if not endpoint or not bind_address:
        return []
    (host, port), (own_host, own_port) = parse_host_port(address_of(endpoint)), parse_host_port(bind_address)
    if port != own_port or host not in (own_host, "localhost", "127.0.0.1", "::1"):
        return []
    what = f"{endpoint} is our own JSON-RPC port, and not that of {behind}: calls come back to us"
    return [Finding(SERVER, Mark.WRONG, what, "", "ours", "correct endpoint of jsonrpc_client", Reason.SETTINGS)]


def judge_name(asked: Asked, name: str) -> list[Finding]:
    """Whether the process that has the state folder is the one that the settings are of."""
    other = asked.told.get("name", name)
    if other == name:
        return []
    what = f"{quoted(str(other))} runs with this state folder, and not {name}"
    why = "two programs share it: each hides the other from its administrator, and only one can keep what it verifies"
    return [Finding(SERVER, Mark.WRONG, what, why, "ours", "give each a state_path of its own, and restart both")]


def _process(asked: Asked, start: str) -> Finding:
    if asked.failure is not None:
        return asked.failure.found(SERVER, "the server does not tell how it is")
    if not asked.runs:
        fix = f"start it ({start}; systemctl start …), or see its log for why it ended"
        return Finding(SERVER, Mark.WRONG, "no server runs with this state folder", "", "ours", fix, Reason.UNREACHABLE)
    version, pid, seconds = asked.told.get("version"), asked.told.get("pid"), asked.told.get("seconds")
    up = f", for {spoken(float(seconds))}" if isinstance(seconds, int | float) else ""
    what = f"{asked.told.get('name', 'it')} runs: version {version}, process {pid}{up}" if version else "it runs"
    return well(SERVER, what, ", ".join(map(str, asked.told.get("listening", ()))))


def judge_streams(asked: Asked, wanted: Sequence[Operator] | None, proxies: Container[str] = ()) -> list[Finding]:
    """Of the streams that our server holds, on which those call us who can't dial us.

    Args:
        wanted: to whom, as the directory has it; None: that isn't known.
        proxies: those of them through which others reach us.
    """
    if wanted is None or not asked.runs:
        why = "no server runs" if not asked.runs else "no directory is known"
        return [unknown(STREAMS, f"not looked at: {why}")]
    if not wanted:
        return [well(STREAMS, "nobody needs one of us")]
    if "streams" not in asked.told:
        return [unknown(STREAMS, "not looked at: our server is of an older version, which does not tell of them")]
    held: Object = dict(asked.told["streams"])
    return [_stream(operator, held.get(operator), is_proxy=operator in proxies) for operator in wanted]


def _stream(operator: Operator, told: object, *, is_proxy: bool) -> Finding:
    whom = "nobody can call us through it" if is_proxy else "it can't call us"
    if told is None:
        why, fix = "our server has no grpc_client channel, or has not opened one yet", "see its log; then restart it"
        return Finding(STREAMS, Mark.WRONG, f"none to {operator}: {whom}", why, "ours", fix)
    if not isinstance(told, Mapping):
        return unknown(STREAMS, f"to {operator}: our server is of an older version, which does not tell enough of it")
    if not told:
        return well(STREAMS, f"to {operator} is up: it can call us")
    why, fix, side, reason = (str(told.get(key, "")) for key in ("why", "fix", "side", "reason"))
    if not side:
        return unknown(STREAMS, f"to {operator}: {why}", fix="look again in some seconds")
    fix = fix or f"see the groups above for what fails on the way to {operator}; our server tries again by itself"
    failure = Failure(why, fix, side, reason=reason)
    return (failure.of_a_proxy() if is_proxy else failure).found(STREAMS, f"none to {operator}: {whom}")
