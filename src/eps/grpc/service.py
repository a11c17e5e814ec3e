"""The two names of the one gRPC service, and which of them a peer knows (PROTOCOL.md sections 3 and 9).

Servers in use call it EPS, the fork Hyper calls it Hyper; the methods and messages are the same. Our server answers to
both. Our client asks for EPS first, and once for the other name when the peer says that it has no such path.
"""

from typing import Final

EPS: Final = "EPS"
HYPER: Final = "Hyper"
OTHER: Final = {EPS: HYPER, HYPER: EPS}

CALL: Final = "Call"
SERVER_CALL: Final = "ServerCall"


def path(service: str, method: str) -> str:
    """What a request's ``:path`` is."""
    return f"/{service}/{method}"


METHODS: Final = {path(service, method): method for service in OTHER for method in (CALL, SERVER_CALL)}
"""What our server answers to, and which method it means."""


def no_such_path(service: str, text: str) -> bool:
    """Whether the text of an UNIMPLEMENTED that came without a message says for certain that the peer looked for the
    service and has none of this name.

    A handler may end with UNIMPLEMENTED, too, after who knows what. So it must be what servers say when they look for
    one: «unknown service EPS» and «unknown method Call for service EPS» (Go), «Method not found!» (Python), or the path
    itself (Java, Node, ours).
    """
    return text == "Method not found!" or f"{service}/" in text or text.endswith(f"service {service}")


class SpokenName:
    """Which name a peer's server knows, as far as it has told. One for each peer, kept from connection to connection.

    Attributes:
        current: what to ask for.
        was_ours: whether the last connection's server was of our kind.
    """

    def __init__(self) -> None:
        self.was_ours = False
        self.current: str = EPS
        self._known = ""
        self._unknown: set[str] = set()

    def understood(self, service: str) -> None:
        """The peer knows ``service``: it answered something else than UNIMPLEMENTED."""
        if self._known != service or self._unknown:
            self.current = self._known = service
            self._unknown.clear()

    def doubted(self, service: str) -> None:
        """The peer answered UNIMPLEMENTED and not why: a server without that name, or a handler that has run. That call
        must not go out again; but if nobody has been understood there yet, the next one asks for the other name."""
        if not self._known:
            self.current = OTHER[service]

    def refused(self, service: str) -> bool:
        """The peer lacks ``service``. Whether the other name is worth a try: not if it lacks that, too."""
        self._unknown.add(service)
        if len(self._unknown) == len(OTHER):
            self._unknown.clear()
            self.current, self._known = EPS, ""
            return False
        self.current = OTHER[service]
        return True
