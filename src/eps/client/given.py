"""What both clients are given, and where it may stand."""

import os
from typing import Self

from eps.client.credentials import Credentials
from eps.client.endpoint import Endpoint
from eps.client.policy import Policy
from eps.client.telling import OnCall


class Given:
    """What a client is made of.

    Args:
        endpoint: where our EPS server is, or just its URL.
        policy: deadlines and repetitions.
        on_call: told of every call when it has ended.

    Raises:
        SetupError: a file can't be used, or the URL is none.
    """

    def __init__(
        self, endpoint: Endpoint | str, *, policy: Policy | None = None, on_call: OnCall | None = None
    ) -> None:
        self._endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
        self._endpoint.proxy()  # what is wrong with it is said here
        self._credentials = Credentials(self._endpoint)
        self._policy = policy or Policy()
        self._on_call = on_call

    @classmethod
    def from_profile(
        cls, profile: str | os.PathLike[str] = "", *, policy: Policy | None = None, on_call: OnCall | None = None
    ) -> Self:
        """By a profile: see ``profiles.read_profile``."""
        from eps.client.profiles import read_profile

        return cls(read_profile(profile), policy=policy, on_call=on_call)

    @classmethod
    def from_settings(
        cls, settings: str | os.PathLike[str] = "", *, policy: Policy | None = None, on_call: OnCall | None = None
    ) -> Self:
        """As the EPS server's own operator, by that server's settings: see ``own_settings.read_own``."""
        from eps.client.own_settings import read_own

        return cls(read_own(settings), policy=policy, on_call=on_call)
