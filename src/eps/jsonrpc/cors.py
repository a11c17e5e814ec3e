"""Which web pages may call a JSON-RPC server (CORS, in the Fetch standard)."""

import re
from dataclasses import dataclass

from aiohttp import hdrs

from eps.errors import StartError

DEFAULT_METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS")
FIELDS = ("content-type", "eps-timeout", "traceparent")
"""That calls have, for pages of ``allowed_origins``."""

CORS_MAX_AGE = "60"
"""As recorded from servers in use (vectors/jsonrpc_http.json)."""


@dataclass(frozen=True, slots=True)
class Cors:
    """Which web pages may call.

    Attributes:
        allowed_origins: of pages that may call, as browsers write them; they may POST calls, with the fields of calls.
        allowed_hosts: regular expressions, searched in the Origin header.
        allowed_headers: of those that the browser asks for; empty: all of them.
        allowed_methods: what a browser is told; empty: the usual ones.
    """

    allowed_hosts: tuple[str, ...] = ()
    allowed_headers: tuple[str, ...] = ()
    allowed_methods: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()

    def headers(self, origin: str, asked: str) -> dict[str, str]:
        """The answer's headers for a page from ``origin``; none if it isn't allowed.

        Args:
            asked: the request's Access-Control-Request-Headers.
        """
        if origin in self.allowed_origins:
            methods, fields = self.allowed_methods or ("POST",), self.allowed_headers or FIELDS
            return self._answer(origin, ", ".join(methods), ", ".join(fields))
        if not origin or not any(re.search(pattern, origin) for pattern in self.allowed_hosts):
            return {}
        known = {name.lower() for name in self.allowed_headers}
        names = [name.strip() for name in asked.split(",")]
        allowed = [name for name in names if not known or "*" in known or name.lower() in known]
        return self._answer(origin, ", ".join(self.allowed_methods or DEFAULT_METHODS), ", ".join(allowed))

    @staticmethod
    def _answer(origin: str, methods: str, fields: str) -> dict[str, str]:
        return {
            hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin,
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: methods,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: fields,
            hdrs.ACCESS_CONTROL_MAX_AGE: CORS_MAX_AGE,
            hdrs.VARY: hdrs.ORIGIN,
        }

    def check(self) -> None:
        """Raises:
        StartError: an expression isn't one.
        """
        for pattern in self.allowed_hosts:
            try:
                re.compile(pattern)
            except re.error as error:
                raise StartError(
                    f"cors.allowed_hosts: {pattern!r} is no regular expression: {error}",
                    hint="write it like ^https://app\\.example\\.org$",
                ) from error
