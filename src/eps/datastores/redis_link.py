"""One connection to the Redis server that holds a store: found, kept, given up at a deadline, made anew.

    run(work)   connected? → work, within COMMAND_SECONDS ─┬ answered
                                                           ├ refused for good: StoreFailed, the connection stays
                                                           └ broken, late, no master: dropped → pause → again
                                                             … for PATIENCE_SECONDS; then StoreLost

Who takes over at a failover is asked anew for each connection: Sentinel, or else the addresses in their order. An
outage is told once, and so is its end.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from eps.core.event import Emit, Level, Notice
from eps.core.host_port import parse_host_port, render_host_port
from eps.datastores.redis_errors import Passing, broken, passing_refusal, refusal
from eps.errors import StoreFailed, StoreLost
from eps.transport.dial import connect
from eps.transport.tls import TlsFiles, client_context

COMMAND_SECONDS = 3.0
"""How long one command may take. Redis answers in a millisecond, or in some hundred of them where its disk is slow."""

DIAL_SECONDS = 2.0
"""How long connecting to one address may take: TCP, TLS, and the first commands."""

PATIENCE_SECONDS = 8.0
"""How long a change is tried anew. Sentinel's usual failover takes longer (30 s); a restart takes less."""

FIRST_PAUSE, MAX_PAUSE = 0.1, 2.0
"""Seconds between attempts, doubled each time: a hundred programs must not keep a server from coming up."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Which database, with plain values.

    Attributes:
        addresses: ``HOST:PORT`` of the server, or of Sentinels if ``master_name`` is given.
        master_name: under which Sentinel knows the server; empty without Sentinel.
        database: its number.
        username: of an ACL user; empty for the default one.
        password: of that user; empty without one.
        sentinel_username, sentinel_password: what the Sentinels want; empty without.
        tls: None for plain TCP; otherwise for servers and Sentinels.
        replicas: how many have to confirm a change before it counts as stored.
    """

    addresses: Sequence[str]
    master_name: str = ""
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    tls: TlsFiles | None = None
    replicas: int = 0

    def describe(self) -> str:
        """For messages; without secrets."""
        where = ", ".join(self.addresses)
        found = f"{self.master_name}, found through Sentinel at {where}" if self.master_name else where
        return f"Redis {found}, database {self.database}"


class _Connection(AbstractConnection):
    """redis-py's connection, dialled our way: with deadline, plain errors and our TLS contexts."""

    def __init__(self, address: str, tls: ssl.SSLContext | None, server_name: str | None, **options: Any) -> None:
        self.address = address
        self._tls = tls
        self._server_name = server_name
        super().__init__(
            socket_timeout=None, socket_connect_timeout=None, driver_info=None, protocol=2, **options
        )  # deadlines are the link's

    def repr_pieces(self) -> list[tuple[str, str]]:
        return [("address", self.address)]

    def _host_error(self) -> str:
        return self.address

    async def _connect(self) -> None:
        sock = await connect(self.address, DIAL_SECONDS)
        host, _ = parse_host_port(self.address)
        name = (self._server_name or host) if self._tls is not None else None
        try:
            self._reader, self._writer = await asyncio.open_connection(sock=sock, ssl=self._tls, server_hostname=name)
        except BaseException:
            sock.close()
            raise


class RedisConnection:
    """A connection to a master.

    Attributes:
        address: whose.
    """

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self.address = connection.address
        self.used = False
        self._ahead = 0.0

    async def execute(self, *command: str | bytes | int) -> Any:
        """Send one command and wait for its answer; raises redis-py's errors."""
        await self._connection.send_command(*command)
        return await self._connection.read_response()

    async def set_clock(self) -> None:
        """Learn how far the server's clock is ahead of our loop's; rather too little than too much."""
        seconds, micros = await self.execute("TIME")
        self._ahead = int(seconds) + int(micros) / 1e6 - asyncio.get_running_loop().time()

    def server_time(self, seconds: float) -> int:
        """What the server's clock shows in so many seconds, in milliseconds since the epoch; not later."""
        return int((asyncio.get_running_loop().time() + self._ahead + seconds) * 1000)

    async def listen(self, channel: str, heard: Callable[[], None]) -> None:
        """Call ``heard`` for each message that is published in a channel, until the connection breaks."""
        await self._connection.send_command("SUBSCRIBE", channel)
        while True:
            kind, *_ = await self._connection.read_response()
            if kind == b"message":
                heard()

    async def drop(self) -> None:
        """Close it, without waiting for the other side."""
        await self._connection.disconnect(nowait=True)


class RedisLink:
    """See the module's text.

    Args:
        location: of the store, for messages.
        emit: told when the server can't be reached any more, and when it can again.

    Raises:
        StartError: a TLS file can't be used.
    """

    def __init__(self, place: RedisPlace, location: str, emit: Emit) -> None:
        self._place = place
        self._location = location
        self._emit = emit
        self._tls = client_context(place.tls) if place.tls is not None else None
        self._connection: RedisConnection | None = None
        self._lock = asyncio.Lock()
        self._trouble: Passing | None = None
        self._since = 0.0
        self._was_up = False

    async def run(
        self,
        work: Callable[[RedisConnection], Awaitable[T]],
        *,
        patience: float = PATIENCE_SECONDS,
        probe: bool = False,
    ) -> T:
        """Do ``work`` on a connection; again, on another one, if that breaks: it must not matter if it is done twice.

        Args:
            patience: seconds for which it is tried anew; 0 tries once, and not at all while the server is known to
                be down.
            probe: try once also then.

        Raises:
            StoreLost: the server can't be reached.
            StoreFailed: it refuses.
        """
        if self._trouble is not None and not patience and not probe:
            raise self._lost(self._trouble)
        loop = asyncio.get_running_loop()
        # Who comes amid an outage need not wait as if it had just begun.
        until, pause = (loop.time() if self._trouble is None else self._since) + patience, FIRST_PAUSE
        while True:
            try:
                async with self._lock:
                    result = await self._once(work)
            except Passing as trouble:
                if trouble.stale:  # it had broken before: that says nothing of the server
                    continue
                self._fails(trouble)
                if not trouble.worth_waiting or loop.time() + pause > until:
                    raise self._lost(trouble) from trouble
            else:
                self._works()
                return result
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE)

    async def listen(self, channel: str, heard: Callable[[], None]) -> None:
        """Have ``heard`` called for each message in a channel, on a connection of its own, until that breaks.

        Called once when it begins, too: what was said before is not heard.
        """
        try:
            connection = await self._dial()
        except (Passing, ResponseError):
            return
        try:
            heard()
            await connection.listen(channel, heard)
        except (RedisError, OSError):
            return
        finally:
            await connection.drop()

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.drop()

    async def _once(self, work: Callable[[RedisConnection], Awaitable[T]]) -> T:
        try:
            connection = self._connection = self._connection or await self._dial()
            async with asyncio.timeout(COMMAND_SECONDS):
                result = await work(connection)
            connection.used = True
            return result
        except Passing:
            await self.close()
            raise
        except ResponseError as error:
            trouble = passing_refusal(error)
            if trouble is None:
                text, hint = refusal(error)
                raise StoreFailed(f"the datastore {self._location}: {text}", hint=hint) from error
            await self.close()
            raise trouble from error
        except (RedisError, OSError) as error:
            stale = self._connection is not None and self._connection.used and not isinstance(error, TimeoutError)
            await self.close()
            raise broken(error, limit=COMMAND_SECONDS, stale=stale) from error
        except BaseException:  # cancelled: an answer may be on its way that the next command must not take for its own
            await self.close()
            raise

    # Finding the server

    async def _dial(self) -> RedisConnection:
        addresses = [await self._ask_sentinels()] if self._place.master_name else self._place.addresses
        troubles: list[Passing] = []
        for address in addresses:
            try:
                return await self._open(address)
            except Passing as trouble:
                troubles.append(trouble)
        raise Passing(
            "; ".join(dict.fromkeys(trouble.text for trouble in troubles)),
            troubles[0].hint,
            worth_waiting=any(trouble.worth_waiting for trouble in troubles),
        )

    async def _open(self, address: str) -> RedisConnection:
        place = self._place
        made = self._new(address, place.username, place.password, db=place.database)
        connection = RedisConnection(made)
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                (role, *_) = await connection.execute("ROLE")  # connects, too
                await connection.set_clock()
            if role != b"master":
                raise Passing(f"{address} is a replica, and can't be written to", "name the master, or use Sentinel")
            return connection
        except BaseException as error:
            await connection.drop()
            if isinstance(error, ResponseError) or not isinstance(error, RedisError | OSError):
                raise
            raise broken(error, at=address, limit=DIAL_SECONDS) from error

    async def _ask_sentinels(self) -> str:
        reasons: list[str] = []
        for address in self._place.addresses:
            sentinel = self._new(address, self._place.sentinel_username, self._place.sentinel_password)
            try:
                async with asyncio.timeout(DIAL_SECONDS):
                    await sentinel.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._place.master_name)
                    found = await sentinel.read_response()
                if found:
                    return render_host_port(found[0].decode(), int(found[1]))
                reasons.append(f"the Sentinel {address} knows no master {self._place.master_name!r}")
            except (RedisError, OSError) as error:
                reasons.append(f"the Sentinel {broken(error, at=address, limit=DIAL_SECONDS).text}")
            finally:
                await sentinel.disconnect(nowait=True)
        raise Passing("; ".join(reasons), "check addresses and master_name, and that the Sentinels run")

    def _new(self, address: str, username: str, password: str, **options: Any) -> _Connection:
        server_name = self._place.tls.server_name if self._place.tls is not None else None
        return _Connection(
            address, self._tls, server_name, username=username or None, password=password or None, **options
        )

    # Telling

    def _fails(self, trouble: Passing) -> None:
        """Said once, until it works again."""
        first, self._trouble = self._trouble is None, trouble
        if first:
            self._since = asyncio.get_running_loop().time()
        if first and self._was_up:
            text = (
                f"the datastore {self._location} can't be reached: {trouble.text}; what is known goes on being served, "
                "changes are refused until it answers"
            )
            self._emit(Notice(level=Level.ERROR, text=text, hint=trouble.hint))

    def _works(self) -> None:
        if self._trouble is not None and self._was_up and self._connection is not None:
            where = self._connection.address
            self._emit(Notice(text=f"the datastore {self._location} can be reached again, at {where}"))
        self._trouble, self._was_up = None, True

    def _lost(self, trouble: Passing) -> StoreLost:
        return StoreLost(
            f"the datastore {self._location} can't be reached: {trouble.text}",
            hint=trouble.hint or "try again when it answers",
        )
