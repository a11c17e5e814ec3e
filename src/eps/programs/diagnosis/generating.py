"""``eps client generate``: our running server is asked, and the code printed."""

import sys

from eps.client import CallError, Client, SetupError
from eps.core.told import quoted
from eps.errors import EpsError, StartError
from eps.programs.diagnosis.typed_client import client_code
from eps.programs.running.runtime import EXIT_FAILED

SECONDS = 15.0
"""For our server to ask another operator what a method takes: it gives it 10 s."""


def generate(operator: str, url: str, *, is_async: bool) -> int:
    """Print a typed client of an operator; the exit code.

    Raises:
        StartError: settings or URL can't be used. EpsError: it can't be asked.
    """
    try:
        with Client(url) if url else Client.from_settings() as client:
            methods = [one for one in client.methods(operator, timeout=SECONDS) if one.described_by != "server"]
    except SetupError as error:
        raise StartError(str(error)) from None
    except CallError as error:
        raise EpsError(error.message, hint=error.hint) from None
    if not methods:
        print(f"we may call no method of {operator} that a client could be made of", file=sys.stderr)
        return EXIT_FAILED
    bare = [one.name for one in methods if one.described_by == "directory"]
    if bare:
        print(f"{operator} describes nothing of {', '.join(map(quoted, bare))}: they have no types", file=sys.stderr)
    print(client_code(operator, methods, is_async=is_async), end="")
    return 0
