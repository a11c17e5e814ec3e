"""A client for applications: ``hd-2.lookup`` from Python, through the EPS server of one's own operator.

    from eps.client import Client, Endpoint

    with Client(Endpoint("https://localhost:5555", operator="hd-1", ca_certificate_files=("root.crt",))) as network:
        network.call("hd-2.lookup", {"name": "office"}, timeout=5)
        network.operator("hd-2").lookup(name="office")

What decides is plain functions and values; ``blocking`` and ``asynchronous`` do the input and output around them.

    endpoint      where the EPS server is, and what to show there    profiles, own_settings   the same from files
    requests      a call as bytes                                    answers    what came back: a result, or an error
    errors        their tree                                         failures   those between us and our EPS server
    policy        deadlines and repetitions                          course     a call, however often it is sent
    described     what may be called                           cancelling    of calls whose tasks are cancelled
    models        dataclasses and pydantic models                    telling    log lines, hook, trace
    given         what both clients are made of                      credentials   TLS contexts, new when a file changes
    fate          could a lost request be read?
    dialling      sockets                                            connection, pool   of the blocking client
    blocking      Client                                             asynchronous, kept AsyncClient, its connections

To import this loads nothing but the standard library and a few small modules of ours: neither pydantic nor aiohttp nor
asyncio nor cryptography; each is loaded by what needs it. What ``__all__`` lists is kept as CHANGELOG.md promises.
"""

from typing import TYPE_CHECKING, Any

from eps.client.blocking import Client, Operator
from eps.client.endpoint import Endpoint
from eps.client.errors import (
    AnswerRefused,
    BadCall,
    Busy,
    CallError,
    Details,
    NotPermitted,
    OutcomeUnknown,
    ServiceError,
    SetupError,
    UnexpectedResult,
    UnknownOperator,
    Unreachable,
)
from eps.client.policy import Policy
from eps.client.telling import CallReport

if TYPE_CHECKING:
    from eps.client.asynchronous import AsyncClient, AsyncOperator
    from eps.client.described import MethodDescription

__all__ = [
    "AnswerRefused",
    "AsyncClient",
    "AsyncOperator",
    "BadCall",
    "Busy",
    "CallError",
    "CallReport",
    "Client",
    "Details",
    "Endpoint",
    "MethodDescription",
    "NotPermitted",
    "Operator",
    "OutcomeUnknown",
    "Policy",
    "ServiceError",
    "SetupError",
    "UnexpectedResult",
    "UnknownOperator",
    "Unreachable",
]


_LATER = {
    "AsyncClient": "eps.client.asynchronous",
    "AsyncOperator": "eps.client.asynchronous",
    "MethodDescription": "eps.client.described",
}


def __getattr__(name: str) -> Any:
    """The asynchronous client, which needs asyncio and aiohttp, and what few need, only where it is asked for."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATER[name]), name)
