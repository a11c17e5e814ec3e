"""``eps mock``: a service of somebody's file, in a network of this process, until Ctrl-C."""

import importlib.util
import json
import logging
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eps.errors import StartError
from eps.service import Service
from eps.testing.network import Network
from eps.testing.node import Entrance

Tell = Callable[[str], None]


def mock(file: Path, operator: str, caller: str, groups: Sequence[str], entrance: Entrance, tell: Tell) -> int:
    """Serve what ``file`` offers as ``operator``, and give ``caller``'s applications a port; the exit code.

    Args:
        groups: of the caller; if there are any, only their members may call.
        entrance: of the caller's applications.

    Raises:
        StartError: the file holds no service, or can't be run; or the port is taken.
    """
    service = service_in(file)
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(message)s", level=logging.INFO)
    with until_stopped() as stopped, Network() as network:
        network.operator(operator, service, callers=groups or ("*",))
        url = network.operator(caller, groups=groups, port=entrance.port, origins=entrance.origins).url
        tell(f"{operator} offers {', '.join(service.methods) or 'nothing'}; {caller}'s applications call at {url}")
        if service.methods:
            tell(f"for example: {example(url, operator, service)}")
        tell("Ctrl-C ends it")
        stopped.wait()
    return 0


def service_in(file: Path) -> Service:
    """The one service that a Python file makes.

    Raises:
        StartError: it makes none, or several, or can't be run.
    """
    spec = importlib.util.spec_from_file_location(f"eps_mock_{file.stem}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise StartError(f"{file}: no such Python file", hint="name the file that makes a Service")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where hints that are written as texts are looked up
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise StartError(f"{file} can't be run: {type(error).__name__}: {error}") from error
    found = list(dict.fromkeys(value for value in vars(module).values() if isinstance(value, Service)))
    if len(found) != 1:
        names = ", ".join(one.name for one in found) or "none"
        raise StartError(f"{file} makes not one service: {names}", hint='service = Service("NAME"), once in the file')
    return found[0]


def example(url: str, operator: str, service: Service) -> str:
    """A command that calls its first method."""
    name = service.methods[0]
    params = {key: _sample(one) for key, one in service.schema()[name]["params"].get("properties", {}).items()}
    call = {"jsonrpc": "2.0", "id": 1, "method": f"{operator}.{name}", "params": params}
    return shlex.join(["curl", "-s", "-H", "Content-Type: application/json", "-d", json.dumps(call), url])


def _sample(schema: dict[str, Any]) -> Any:
    """A value of that type, for somebody to change."""
    kind = schema.get("type")
    return {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "array": [], "null": None}.get(
        kind if isinstance(kind, str) else "", {}
    )


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set."""
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
