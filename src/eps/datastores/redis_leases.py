"""Who of several servers of one operator runs, and which of them holds what only one may hold: kept in a Redis hash.

    beat   every second, and at once where something changes, one script: I am here, want or hold these, let those go
           → who else is here, what I have, and until when
    lease  ours for LEASE_SECONDS from the moment at which it was asked for, less MARGIN_SECONDS for the clocks

All times are compared by Redis' own clock but for one: how long a lease of ours still lasts, ours says, counted from
before the question was sent. So whoever can't reach Redis lets go before anybody else may begin. A sibling that is
known to be dead (``dead``) loses its leases at once. A hash that has just come into being (the first start, a flush)
gives nothing new for FRESH_SECONDS: who held something says so first. Where two have held one all the same (a failover
that lost a change, clocks that jumped), the one that had to let go says when it has (``ended``), and the other begins
anew.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from eps.core.event import Emit, Level, Notice, ignore
from eps.datastores.redis_link import RedisConnection, RedisLink, RedisPlace
from eps.errors import StoreFailed
from eps.transport.tasks import Tasks

BEAT_SECONDS = 1.0
"""Between two questions: how late a server learns that a lease was let go. One takes Redis some 50 µs."""

LEASE_SECONDS = 45.0
"""How long a lease lasts that is not renewed: longer than Redis is away when it is restarted, or fails over (30 s by
Sentinel's usual settings). A sibling that dies while its machine goes on is noticed at once; one whose machine dies,
after this time."""

MARGIN_SECONDS = 5.0
"""How much sooner the holder lets go: ending what it held takes far less, and clocks run apart by far less."""

FRESH_SECONDS = 2.5
"""How long a new hash waits for those who held leases before: they ask every second."""

PRESENT_SECONDS = 5.0
"""A server that has not been heard of for so long is not passed anything; its leases stay its own until they end."""

FORGOTTEN_SECONDS = 3600.0
"""After which the name of one that is gone is dropped from the hash."""

LAST_SECONDS = 1.0
"""How long closing tries to say goodbye."""

# KEYS: the hash. ARGV: what one server asks, as JSON.
BEAT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ask = cjson.decode(ARGV[1])
local kept, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do kept[all[i]] = cjson.decode(all[i + 1]) end
local function put(field, value)
    kept[field] = value
    redis.call('HSET', KEYS[1], field, cjson.encode(value))
end
local function drop(field)
    kept[field] = nil
    redis.call('HDEL', KEYS[1], field)
end
if not kept['since'] then put('since', {at = now}) end
local fresh = now - kept['since'].at < ask.fresh
local dead = {}
for _, boot in ipairs(ask.dead) do dead[boot] = true end
for _, peer in ipairs(ask.free) do
    local lease = kept['l:' .. peer]
    if lease and lease.by == ask.instance and lease.boot == ask.boot then drop('l:' .. peer) end
end
local granted, again, by = {}, {}, {}
for _, wish in ipairs(ask.want) do
    local peer, held = wish[1], wish[2]
    local lease = kept['l:' .. peer]
    local mine = lease and lease.by == ask.instance
    local is_free = not lease or lease.ends < now or dead[lease.boot]
    if mine or (is_free and (held or not fresh)) then
        if mine and lease.again then table.insert(again, peer) end
        local boot = mine and held and lease.boot or ask.boot  -- of two processes in turn, the later one's
        put('l:' .. peer, {by = ask.instance, boot = boot, ends = now + ask.lease})
        table.insert(granted, peer)
    elseif not is_free then
        by[peer] = lease.by
    end
end
for _, peer in ipairs(ask.ended) do
    local lease = kept['l:' .. peer]
    if lease and lease.by ~= ask.instance then
        lease.again = true
        put('l:' .. peer, lease)
    end
end
local here = kept['i:' .. ask.instance]
if ask.leaves then
    if here and here.boot == ask.boot then drop('i:' .. ask.instance) end
else put('i:' .. ask.instance, {address = ask.address, boot = ask.boot, ends = now + ask.present}) end
local siblings = {}
for field, value in pairs(kept) do
    local name = field:match('^i:(.*)')
    if name and (value.ends + ask.forgotten < now or dead[value.boot]) then redis.call('HDEL', KEYS[1], field)
    elseif name and name ~= ask.instance and value.ends > now then siblings[name] = {value.address, value.boot} end
end
return cjson.encode({granted = granted, again = again, by = by, siblings = siblings})
"""


class RedisLeases:
    """The leases of one server, and who its siblings are.

    Args:
        place: of the Redis that all of them use.
        key: of the hash.
        instance: this server's name among them.
        address: where siblings reach it; empty: nowhere.
        emit: told when Redis can't be reached, or refuses, and when that is over.

    Attributes:
        instance: see above.
        siblings: who else is there now, by name: where each is reached (empty: nowhere), and its process.
        holders: of what we want, which sibling has it.
        failing: why Redis can't be asked now; empty while it can.
    """

    def __init__(self, place: RedisPlace, key: str, *, instance: str, address: str, emit: Emit) -> None:
        self.instance = instance
        self.siblings: Mapping[str, tuple[str, str]] = {}
        self.holders: Mapping[str, str] = {}
        self.failing = "it was not asked yet"
        self._address = address
        self._boot = secrets.token_hex(8)
        self._key = key
        self._emit = emit
        self._where = f"{place.describe()}, key {key}"
        self._link = RedisLink(place, self._where, ignore)  # its words are those of a store
        self._wanted: set[str] = set()
        self._granted: set[str] = set()
        self._until = 0.0
        self._freed: set[str] = set()
        self._ended: set[str] = set()
        self._dead: set[str] = set()
        self._again: dict[str, Callable[[], None]] = {}
        self._beat_now = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks = Tasks()
        self._told = False

    async def start(self) -> None:
        """Begin to ask; that Redis is away keeps nobody from starting."""
        self._tasks.start(self._run(), f"leases at {self._where}")

    async def close(self) -> None:
        """Let everything go, and say so if that takes no time."""
        await self._tasks.close()
        with suppress(StoreFailed, TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                self._freed |= self._wanted
                self._wanted.clear()
                await self._beat(leaves=True)
        await self._link.close()

    def holds(self, peer: str) -> bool:
        """Whether the lease for ``peer`` is ours now."""
        return peer in self._granted and time.monotonic() < self._until

    async def acquire(self, peer: str, again: Callable[[], None]) -> None:
        """Wait until the lease for ``peer`` is ours. It is renewed until :meth:`release`.

        Args:
            again: called if another one has held it, too, and has let go since: what it is for must begin anew.
        """
        self._freed.discard(peer)
        self._again[peer] = again
        if peer not in self._wanted:
            self._wanted.add(peer)
            self._beat_now.set()
        while not self.holds(peer):
            await self._next(None)

    async def lost(self, peer: str) -> None:
        """Wait until the lease for ``peer`` is not ours any more."""
        while self.holds(peer):
            await self._next(self._until - time.monotonic())

    def ended(self, peer: str) -> None:
        """What the lease was for, which is lost, has ended by now: whoever has it must begin anew."""
        self._ended.add(peer)
        self._beat_now.set()

    def release(self, peer: str) -> None:
        """Let the lease go, or the wish for it."""
        self._again.pop(peer, None)
        if peer in self._wanted:
            self._wanted.discard(peer)
            self._granted.discard(peer)
            self._freed.add(peer)
            self._beat_now.set()

    def dead(self, boot: str) -> None:
        """This process of a sibling has certainly ended: what it held is free."""
        self._dead.add(boot)
        self._beat_now.set()

    async def _next(self, seconds: float | None) -> None:
        """Wait for the next answer, so many seconds at the most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _run(self) -> None:
        while True:
            try:
                await self._beat()
                self._works()
            except StoreFailed as error:
                self._fails(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._beat_now.wait()
            self._beat_now.clear()

    async def _beat(self, *, leaves: bool = False) -> None:
        """Ask once."""
        freed, ended, dead = set(self._freed), set(self._ended), set(self._dead)
        asked = sorted(self._wanted)
        question = json.dumps(
            {
                "instance": self.instance,
                "boot": self._boot,
                "address": self._address,
                "leaves": leaves,
                "want": [[peer, self.holds(peer)] for peer in asked],
                "free": sorted(freed),
                "ended": sorted(ended),
                "dead": sorted(dead),
                "lease": LEASE_SECONDS * 1000,
                "fresh": FRESH_SECONDS * 1000,
                "present": PRESENT_SECONDS * 1000,
                "forgotten": FORGOTTEN_SECONDS * 1000,
            }
        )

        async def work(connection: RedisConnection) -> tuple[float, bytes]:
            sent = time.monotonic()
            return sent, await connection.execute("EVAL", BEAT, 1, self._key, question)

        sent, answer = await self._link.run(work, patience=0, probe=True)
        self._freed -= freed
        self._ended -= ended
        self._dead -= dead
        self._heard(json.loads(answer), set(asked), sent + LEASE_SECONDS - MARGIN_SECONDS)

    def _heard(self, answer: Mapping[str, Any], asked: set[str], until: float) -> None:
        """Lua writes an empty list as an empty object."""
        self.siblings = {name: (address, boot) for name, (address, boot) in dict(answer["siblings"]).items()}
        self.holders = dict(answer["by"])
        # What was let go, or wished for, while the question was under way is another question's.
        self._granted = set(answer["granted"]) & self._wanted
        self._until = until
        for peer in answer["again"]:
            if peer in self._granted and peer in self._again:
                self._again[peer]()
        if self._wanted - asked:
            self._beat_now.set()
        self._news.set()
        self._news = asyncio.Event()

    def _works(self) -> None:
        if self._told:
            self._emit(Notice(text=f"{self._where}, can be reached again: which server holds what is decided there"))
        self.failing, self._told = "", False

    def _fails(self, error: StoreFailed) -> None:
        self.failing = error.message
        if not self._told:
            text = f"{error.message}; what this server holds it keeps for {LEASE_SECONDS - MARGIN_SECONDS:g} s more"
            self._emit(Notice(level=Level.ERROR, text=text, hint=error.hint))
        self._told = True
