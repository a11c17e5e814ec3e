"""The store ``redis``: a list under one key, read and written in place as servers in use do (PROTOCOL.md section 6).

    change   one Lua script: too late? → is the last entry still the one we know? → RPUSH all of them
    watch    every WATCH_SECONDS: does it answer, and is the list as we left it?

A change whose answer is lost is sent again: the script finds its own entries at the end, and does nothing. One that was
given up must not take effect afterwards, when a server that stood still goes on and reads what it had been sent. So the
script is told how late it may be, by the server's own clock; and what turns out to have been stored after all, although
its caller was told that it was not, is taken back.

A database that was flushed, replaced or set back is told once. Where the store is this program's alone, it is then
neither read nor written until it is as it was: what is in memory is the better copy.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from eps.core.event import Emit, Level, Notice, ignore
from eps.core.wording import counted
from eps.datastores import DataEntry, decode_entry, encode_entry
from eps.datastores.redis_errors import Passing, unconfirmed
from eps.datastores.redis_link import (
    COMMAND_SECONDS,
    PATIENCE_SECONDS,
    RedisConnection,
    RedisLink,
    RedisPlace,
)
from eps.datastores.redis_state import Change, Doubt, State, connected_replicas, doubts, judge, parse_info
from eps.errors import StartError, StoreFailed, StoreLost
from eps.transport.tasks import Tasks

WATCH_SECONDS = 2.0
"""Between two looks: how late an administrator learns that a database was flushed, and what a look costs is nothing."""

ENTRIES_AT_ONCE = 500
"""Entries that are read at a time. Records have some 2 KB: a megabyte, within one command's deadline on a slow line."""

REPLICA_SECONDS = 2.0
"""How long replicas have to confirm a change: less than COMMAND_SECONDS, and a thousand times what they need."""

READ_ATTEMPTS = 10
"""How often a list is read anew because another program rewrote it meanwhile."""

MAX_ENTRIES = 1_000_000
"""Of one change; Redis refuses commands with more than 1,048,576 parts."""

LATE, NO, DONE_BEFORE = -1, 0, 2
"""What the script says where it changed nothing: it came too late, the list was another, or it was sent before and had
done it then; else 1."""

_GOES_ON = "what is known goes on being served, changes are refused"
_WHAT_TO_DO = "restore a backup (store restore), or start this program anew to go on with what is there now"

# KEYS: the list. ARGV: the last entry that is expected; the latest time in milliseconds; "1" to replace everything;
# "1" if it was sent before; the new entries.
CHANGE = """
local now = redis.call('TIME')
if now[1] * 1000 + now[2] / 1000 > tonumber(ARGV[2]) then return -1 end
if ARGV[4] == '1' then
    if #ARGV == 4 and redis.call('LLEN', KEYS[1]) == 0 then return 2 end
    for _, entry in ipairs(redis.call('LRANGE', KEYS[1], -1000, -1)) do
        if entry == ARGV[#ARGV] then return 2 end
    end
end
if (redis.call('LINDEX', KEYS[1], -1) or '') ~= ARGV[1] then return 0 end
if ARGV[3] == '1' then redis.call('DEL', KEYS[1]) end
for i = 5, #ARGV, 1000 do
    redis.call('RPUSH', KEYS[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.pcall('PUBLISH', KEYS[1], 'changed')
return 1
"""

# ARGV: where the last entry that we know stands.
_LOOK = """
return {redis.call('LLEN', KEYS[1]), redis.call('LINDEX', KEYS[1], -1) or '',
        tonumber(ARGV[1]) >= 0 and redis.call('LINDEX', KEYS[1], ARGV[1]) or ''}
"""

# ARGV: how long the list is with what is to be taken back; how many that are; the last of them.
_TAKE_BACK = """
if redis.call('LLEN', KEYS[1]) ~= tonumber(ARGV[1]) or redis.call('LINDEX', KEYS[1], -1) ~= ARGV[3] then return 0 end
redis.call('LTRIM', KEYS[1], 0, -1 - ARGV[2])
return 1
"""


class RedisDatastore:
    """See :class:`eps.datastores.Datastore`. Made by :meth:`open`.

    Args:
        shared: other programs of ours may change the list, too, as several public proxies do.

    Attributes:
        link: runs what is asked of the server, again where a connection was lost.
    """

    def __init__(self, place: RedisPlace, key: str, *, shared: bool, emit: Emit) -> None:
        self.location = f"{place.describe()}, key {key}"
        self._key = key
        self._shared = shared
        self._emit = emit
        self._sentinel = bool(place.master_name)
        self._replicas = place.replicas
        self.link = RedisLink(place, self.location, emit)
        self._tasks = Tasks()
        self._writing = asyncio.Lock()
        self._closed = False
        self._seen: State | None = None
        self._ids: set[bytes] = set()
        self._change = Change.NONE
        self._unsettled: list[bytes] = []

    @classmethod
    async def open(
        cls,
        place: RedisPlace,
        key: str = "entries",
        *,
        shared: bool = False,
        emit: Emit = ignore,
        patience: float = PATIENCE_SECONDS,
    ) -> "RedisDatastore":
        """Connect, and say what the server's settings mean for what is kept there.

        Args:
            emit: told of that, of outages, and of a database that was flushed, replaced or set back.
            patience: seconds to wait for a server that is just starting.

        Raises:
            StartError: it can't be reached, it refuses, or a TLS file can't be used.
        """
        store = cls(place, key, shared=shared, emit=emit)
        try:
            found = await store.link.run(store._doubts, patience=patience)
            await store.link.run(store.look, patience=patience)
        except StoreFailed as error:
            await store.close()
            raise StartError(error.message, hint=error.hint) from error
        except BaseException:
            await store.close()
            raise
        for doubt in found:
            emit(Notice(level=Level.WARN, text=f"the datastore {store.location}: {doubt.text}", hint=doubt.hint))
        store._tasks.start(store._watch(), f"watch of {store.location}")
        return store

    # Reading

    async def read_all(self) -> list[DataEntry]:
        self._check_open()
        state, entries = await self._read_from(0)
        self._seen = state
        self._ids = {entry.id for entry in entries}
        return entries

    async def last_id(self) -> bytes | None:
        self._check_open()
        state = await self._observed(0)
        return self._decoded(state.last, state.length).id if state.length else None

    async def _read_from(self, first: int) -> tuple[State, list[DataEntry]]:
        """The list's state, and its entries from the number ``first`` on; none, where it isn't that long."""
        for _ in range(READ_ATTEMPTS):
            state = await self._observed(PATIENCE_SECONDS)
            encoded = await self._read(state, first) if state.length > first else []
            if encoded is not None:
                return state, [self._decoded(each, number) for number, each in enumerate(encoded, first + 1)]
        raise StoreFailed(f"the datastore {self.location} is changed by others all the time", hint="try again")

    async def _read(self, state: State, first: int) -> list[bytes] | None:
        """What the list held at ``state``, from the number ``first`` on; None if it was rewritten meanwhile."""
        encoded: list[bytes] = []
        while first + len(encoded) < state.length:
            wanted = min(ENTRIES_AT_ONCE, state.length - first - len(encoded))
            found = await self.read_slice(first + len(encoded), wanted)
            if len(found) != wanted:
                return None
            encoded += found
        now, at = await self.link.run(lambda link: self._look_at(link, state))
        unchanged = now == state or judge(state, now, at, old=False) is Change.GROWN
        return encoded if unchanged and (encoded[-1:] or [b""])[0] == state.last else None

    async def read_slice(self, first: int, count: int) -> list[bytes]:
        """``count`` entries from the number ``first`` on, as they stand in the list."""

        async def work(connection: RedisConnection) -> list[bytes]:
            found: list[bytes] = await connection.execute("LRANGE", self._key, first, first + count - 1)
            return found

        return await self.link.run(work)

    def _decoded(self, encoded: bytes, number: int) -> DataEntry:
        try:
            return decode_entry(encoded)
        except ValueError as error:
            raise StoreFailed(
                f"the datastore {self.location} holds something that is no entry, as number {number}: {error}",
                hint="does another program use this key? Name another one, or restore a backup",
            ) from error

    # Changing

    async def append(self, entries: Sequence[DataEntry]) -> None:
        await self._change_known(entries, replace=False)

    async def replace(self, entries: Sequence[DataEntry]) -> None:
        await self._change_known(entries, replace=True)

    async def append_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        return await self._change_if(last, entries, replace=False)

    async def replace_if(self, last: bytes | None, entries: Sequence[DataEntry]) -> bool:
        return await self._change_if(last, entries, replace=True)

    async def _change_known(self, entries: Sequence[DataEntry], *, replace: bool) -> None:
        """Change the list if it is as this program left it, or else say what has become of it."""
        if not entries and not replace:
            return
        self._check_open()
        async with self._writing:
            if self._unsettled:
                await self._observed(PATIENCE_SECONDS)
            if not await self._send(self._known, entries, replace=replace):
                await self._observed(PATIENCE_SECONDS)  # says what has happened
                raise StoreFailed(
                    f"the datastore {self.location} was changed by another program; nothing was stored",
                    hint="try again",
                )

    async def _change_if(self, last: bytes | None, entries: Sequence[DataEntry], *, replace: bool) -> bool:
        self._check_open()
        async with self._writing:
            state = await self._observed(PATIENCE_SECONDS)
            present = self._decoded(state.last, state.length).id if state.length else None
            if present != last:
                return False
            return await self._send(state, entries, replace=replace)

    async def _send(self, state: State, entries: Sequence[DataEntry], *, replace: bool) -> bool:
        encoded = [encode_entry(entry) for entry in entries]
        if len(encoded) > MAX_ENTRIES:
            raise StoreFailed(f"{len(encoded)} entries at once are too many for {self.location}: {MAX_ENTRIES}")
        sent = False

        async def work(connection: RedisConnection) -> int:
            nonlocal sent
            latest, again = connection.server_time(COMMAND_SECONDS), int(sent)
            sent = True
            done: int = await connection.execute(
                "EVAL", CHANGE, 1, self._key, state.last, latest, int(replace), again, *encoded
            )
            if done == LATE:
                # Its clock was set, or it is slow: a new connection compares the clocks anew.
                raise Passing("it answers too late", stale=connection.used)
            if done != NO:
                await self._confirmed(connection, done)
            return done

        try:
            await self._check_replicas()
            done = await self.link.run(work)
        except BaseException as error:
            if sent and not self._shared and not replace:
                self._unsettled = encoded
            elif sent and self._shared and isinstance(error, StoreLost):
                raise unconfirmed(self.location, error.message) from error
            raise
        if done == NO:
            return False
        self._knows(state, entries, encoded, replace=replace)
        return True

    async def _check_replicas(self) -> None:
        """Refuse to send what no replica could confirm."""
        if not self._replicas:
            return

        async def work(connection: RedisConnection) -> int:
            return connected_replicas(parse_info((await connection.execute("INFO", "replication")).decode()))

        there = await self.link.run(work)
        if there < self._replicas:
            wanted = counted(self._replicas, "replica")
            raise StoreFailed(
                f"the datastore {self.location} has {there} of the {wanted} that are to confirm each change "
                "(wait_for_replicas); nothing was stored",
                hint="start the replica, or set wait_for_replicas to what there is",
            )

    async def _confirmed(self, connection: RedisConnection, done: int) -> None:
        """Wait until as many replicas as are wanted have all that was stored.

        Raises:
            StoreUnsure: they don't; what was sent is stored at the master.
        """
        if not self._replicas:
            return
        if done == DONE_BEFORE:  # WAIT waits for what its own connection has written, and this one has written nothing
            raise unconfirmed(
                self.location, "it is at the master, but its connection broke before replicas confirmed it"
            )
        have: int = await connection.execute("WAIT", self._replicas, int(REPLICA_SECONDS * 1000))
        if have < self._replicas:
            wanted = counted(self._replicas, "replica")
            why = f"{have} of {wanted} confirmed it within {REPLICA_SECONDS:g} s"
            raise unconfirmed(self.location, f"it is at the master, but {why}: a failover now could lose it")

    def _knows(self, state: State, entries: Sequence[DataEntry], encoded: Sequence[bytes], *, replace: bool) -> None:
        """Remember what a change has made of the list."""
        ids = {entry.id for entry in entries}
        self._ids = ids if replace else self._ids | ids
        last = encoded[-1] if encoded else b"" if replace else state.last
        self._seen = State(len(encoded) + (0 if replace else state.length), last)

    @property
    def _known(self) -> State:
        return self._seen or State()

    # Watching

    async def _observed(self, patience: float) -> State:
        """The list's state now; says what has become of it.

        Raises:
            StoreLost: the store is this program's alone, and is not as it was left.
        """
        state, change = await self.link.run(self.look, patience=patience)
        if change is not Change.NONE and not self._shared:
            raise StoreLost(
                f"the datastore {self.location} {change.value}; nothing was read or stored",
                hint=_WHAT_TO_DO,
            )
        return state

    async def look(self, connection: RedisConnection) -> tuple[State, Change]:
        """What the list is now, and what became of it since we saw it last; for ``link.run``."""
        state, at_seen = await self._look_at(connection, self._known)
        if self._unsettled:
            state, at_seen = await self._settle(connection, state, at_seen)
        change = self._judged(state, at_seen)
        self._tell(change, state)
        if self._shared or self._seen is None:
            self._seen = state
        return state, change

    async def _look_at(self, connection: RedisConnection, seen: State) -> tuple[State, bytes]:
        found: list[Any] = await connection.execute("EVAL", _LOOK, 1, self._key, seen.length - 1)
        length, last, at_seen = found
        return State(length, last), at_seen

    async def _settle(self, connection: RedisConnection, state: State, at_seen: bytes) -> tuple[State, bytes]:
        """Take back what was stored although its caller was told that it was not."""
        late, self._unsettled = self._unsettled, []
        whole = self._known.length + len(late)
        try:
            taken = await connection.execute("EVAL", _TAKE_BACK, 1, self._key, whole, len(late), late[-1])
        except BaseException:
            self._unsettled = late
            raise
        if not taken:
            return state, at_seen
        what = counted(len(late), "entry", "entries")
        text = f"the datastore {self.location} had stored {what} whose sender was told that they were not"
        self._emit(Notice(level=Level.WARN, text=f"{text}; they were taken back"))
        return await self._look_at(connection, self._known)

    def _judged(self, state: State, at_seen: bytes) -> Change:
        if self._seen is None:
            return Change.NONE
        old = state.last != self._seen.last and self._id_of(state.last) in self._ids
        change = judge(self._seen, state, at_seen, old=old)
        if self._shared and change in (Change.GROWN, Change.REPLACED):  # other proxies append and write anew
            return Change.NONE
        return change

    def _id_of(self, encoded: bytes) -> bytes | None:
        try:
            return decode_entry(encoded).id
        except ValueError:
            return None

    def _tell(self, change: Change, state: State) -> None:
        """Say once what has become of the list, and once that it is as it was."""
        before, self._change = self._change, Change.NONE if self._shared else change
        if change in (before, Change.NONE):
            if before is not change:
                self._emit(Notice(text=f"the datastore {self.location} is again as this program left it"))
            return
        text = f"the datastore {self.location} {change.value}"
        text += f" (entries that were known: {self._known.length}, that are there: {state.length})"
        hint = "operators will announce their domains anew" if self._shared else f"{_GOES_ON}; {_WHAT_TO_DO}"
        self._emit(Notice(level=Level.ERROR, text=text, hint=hint))

    async def _watch(self) -> None:
        said = ""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                await self.link.run(self.look, patience=0, probe=True)
                if said:
                    self._emit(Notice(text=f"the datastore {self.location} does what it is told again"))
                said = ""
            except StoreLost:
                pass  # the link has said so
            except StoreFailed as error:  # it refuses
                if error.message != said:
                    said = error.message
                    self._emit(Notice(level=Level.ERROR, text=said, hint=error.hint))

    async def _doubts(self, connection: RedisConnection) -> list[Doubt]:
        config: dict[str, str] = {}
        try:
            for name in ("appendonly", "appendfsync", "save", "maxmemory", "maxmemory-policy", "min-replicas-to-write"):
                found: list[bytes] = await connection.execute("CONFIG", "GET", name)
                config |= {found[0].decode(): found[1].decode()} if found else {}
        except ResponseError:  # renamed, or not allowed
            config = {}
        return list(doubts(config, await self._replication(connection), sentinel=self._sentinel))

    async def _replication(self, connection: RedisConnection) -> dict[str, str]:
        try:
            return parse_info((await connection.execute("INFO", "replication")).decode())
        except ResponseError:  # not allowed
            return {}

    # The end

    def _check_open(self) -> None:
        if self._closed:
            raise StoreFailed(f"the datastore {self.location} is closed")

    async def close(self) -> None:
        self._closed = True
        async with self._writing:
            await self._tasks.close()
            await self.link.close()
