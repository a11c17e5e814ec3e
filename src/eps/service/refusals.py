"""What a service answers instead of a result."""

from collections.abc import Sequence
from typing import Any


class Answered(Exception):
    """Base of all: an error's ``code``, ``message`` and ``data``."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})"


class Refused(Answered):
    """Raised by a method: its caller gets exactly this, as ``eps.client.ServiceError``.

    Args:
        code: the service's own; 400, 403, 404 and 409 mean what they mean in HTTP.
        message: one sentence for whoever programs the caller.
        data: any JSON value. Best an object: a 403 without data could be the network's own. What the network has
            said of another call (an error's ``data``) is put under ``cause``.

    Raises:
        ValueError: the code is one of the network's: 1, 500, -100, -32768 to -32000.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        if code in (1, 500, -100) or -32768 <= code <= -32000:
            raise ValueError(f"the code {code} is the network's own: callers would take it for that")
        # What the network said to this service of another call says nothing of this one, which has begun.
        is_networks = isinstance(data, dict) and "outcome" in data and "stage" in data
        super().__init__(code, message, {"cause": data} if is_networks else data)


class BadParams(Answered):
    """The params don't fit the method's hints: JSON-RPC's -32602.

    Args:
        flaws: place → what is wrong there. Nothing of the values.
    """

    def __init__(self, method: str, flaws: dict[str, str]) -> None:
        text = "; ".join(f"{place}: {why}" for place, why in flaws.items())
        super().__init__(-32602, f"the params don't fit {method}: {text}", {"flaws": flaws, "executed": "no"})


class NoMethod(Answered):
    """Nothing of that name is offered: JSON-RPC's -32601."""

    def __init__(self, service: str, method: str, methods: Sequence[str]) -> None:
        super().__init__(-32601, f"{service} has no method {method}", {"methods": list(methods), "executed": "no"})


class Defect(Answered):
    """The service itself failed, before or after it had done its work: JSON-RPC's -32603."""

    def __init__(self, service: str) -> None:
        super().__init__(-32603, f"an error inside the service {service}", {})
