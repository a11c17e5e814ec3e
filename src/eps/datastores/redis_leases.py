"""Who of several servers of one operator runs, and which of them holds what only one may hold: kept in a Redis hash.

    beat   every second, and at once where something changes, one script: I am here, want or hold these, let those go
           → who else is here, what I have, and until when
    lease  ours for LEASE_SECONDS from the moment at which it was asked for, less MARGIN_SECONDS for the clocks

All times are compared by Redis' own clock but for one: how long a lease of ours still lasts, ours says, counted from
before the question was sent. So whoever can't reach Redis lets go before anybody else may begin. A sibling that is
known to be dead (``dead``) loses its leases at once. A hash that has just come into being (the first start, a flush)
gives nothing new for FRESH_SECONDS: who held something says so first. Where two have held one all the same (a failover
that lost a change, clocks that jumped), the one that had to let go says when it has (``ended``), and the other begins
anew. So it does after ANEW_SECONDS where nobody can say so, since the lease had run out.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from eps.core.event import Emit, Level, Notice, ignore
from eps.datastores.redis_link import RedisConnection, RedisLink, RedisPlace
from eps.errors import StoreFailed
from eps.transport.tasks import Tasks

BEAT_SECONDS = 1.0
"""Between two questions: how late a server learns that a lease was let go. One takes Redis some 50 µs, and as much more
for some five leases that are wanted or renewed."""

RENEWED_SECONDS = 5.0
"""After which a lease that is held is renewed; at once where the hash is another than it was."""

LEASE_SECONDS = 45.0
"""How long a lease lasts that is not renewed: longer than Redis is away when it is restarted, or fails over (30 s by
Sentinel's usual settings). A sibling that dies while its machine goes on is noticed at once; one whose machine dies,
after this time."""

MARGIN_SECONDS = 5.0
"""How much sooner the holder lets go: ending what it held takes far less, and clocks run apart by far less."""

FRESH_SECONDS = 2.5
"""How long a new hash waits for those who held leases before: they ask every second."""

ANEW_SECONDS = 90.0
"""After which the stream that a lease is for is opened anew, if the lease had run out in another's hands: that one's
machine may have died without a word. Peers in use notice it after 80 s (a ping after 60 s, 20 s for its answer), end
what they had of it, and forget the newer stream with it."""

PRESENT_SECONDS = 5.0
"""A server that has not been heard of for so long is not passed anything; its leases stay its own until they end."""

TWIN_SECONDS = 15.0
"""After which another process of our name is told of: more than a hand-over takes by its usual settings (10 s), and
longer than one that has crashed counts as present."""

FORGOTTEN_SECONDS = 3600.0
"""After which the name of one that is gone is dropped from the hash."""

ODD_HINT = "does another program use this key? Delete it, and all is asked anew"

LAST_SECONDS = 1.0
"""How long closing tries to say goodbye."""

# KEYS: the hash. ARGV: what one server asks, as JSON. What can't be read in the hash counts as not there.
BEAT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ask = cjson.decode(ARGV[1])
local function get(field)
    local ok, value = pcall(cjson.decode, redis.call('HGET', KEYS[1], field) or '')
    return ok and type(value) == 'table' and value or nil
end
local function put(field, value) redis.call('HSET', KEYS[1], field, cjson.encode(value)) end
local function lease_of(peer)
    local lease = get('l:' .. peer)
    if not lease or type(lease.ends) ~= 'number' or type(lease.by) ~= 'string' then return nil end
    lease.ends = math.min(lease.ends, now + ask.lease)
    return lease
end
local since = get('since')
if not since or type(since.at) ~= 'number' or since.at > now then
    since = {at = now}
    put('since', since)
end
local fresh = now - since.at < ask.fresh
local dead = {}
for _, boot in ipairs(ask.dead) do dead[boot] = true end
for _, peer in ipairs(ask.free) do
    local lease = lease_of(peer)
    if lease and lease.by == ask.instance and lease.boot == ask.boot then redis.call('HDEL', KEYS[1], 'l:' .. peer) end
end
local kept, siblings, alive, twin = {}, {}, {}, false
for boot, one in pairs(get('siblings') or {}) do
    local fits = type(one) == 'table' and type(one.ends) == 'number' and type(one.address) == 'string'
    if fits and type(one.name) == 'string' and one.ends + ask.forgotten > now and not dead[boot] then
        one.ends = math.min(one.ends, now + ask.present)
        kept[boot] = one
        if one.ends > now then
            alive[boot] = true
            if one.name ~= ask.instance then siblings[one.name] = {one.address, boot}
            elseif boot ~= ask.boot then twin = true end
        end
    end
end
local granted, late, again, by = {}, {}, {}, {}
for _, wish in ipairs(ask.want) do
    local peer, held = wish[1], wish[2]
    local lease = lease_of(peer)
    local mine = lease and lease.by == ask.instance
    if mine and not held and lease.boot ~= ask.boot and alive[lease.boot] and not ask.takes then mine = false end
    local is_over = lease and (lease.ends < now or dead[lease.boot])
    if mine or ((not lease or is_over) and (held or not fresh)) then
        local renew = mine and lease.again and not ask.told[peer] or nil  -- until the holder says that it has heard it
        if renew then table.insert(again, peer) end
        if is_over and not mine and not dead[lease.boot] then table.insert(late, peer) end
        local boot = mine and held and lease.boot or ask.boot  -- of two processes in turn, the later one's
        put('l:' .. peer, {by = ask.instance, boot = boot, ends = now + ask.lease, again = renew})
        table.insert(granted, peer)
    elseif lease and not is_over then
        by[peer] = lease.by
    end
end
for _, peer in ipairs(ask.ended) do
    local lease = lease_of(peer)
    if lease and lease.by ~= ask.instance then
        lease.again = true
        put('l:' .. peer, lease)
    end
end
if ask.leaves then kept[ask.boot] = nil
else kept[ask.boot] = {name = ask.instance, address = ask.address, ends = now + ask.present} end
put('siblings', kept)
return cjson.encode({
    granted = granted, late = late, again = again, by = by, siblings = siblings, twin = twin,
    since = string.format('%d', since.at)
})
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
        self._granted: dict[str, float] = {}  # until when, by our clock
        self._since, self._says_all = "", False
        self._freed: set[str] = set()
        self._ended: set[str] = set()
        self._dead: set[str] = set()
        self._told_anew: set[str] = set()
        self._takes_over = False
        self._twin_since: float | None = None
        self._twin_told = False
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
        return time.monotonic() < self._granted.get(peer, 0.0)

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
            await self._next(self._granted[peer] - time.monotonic())

    def ended(self, peer: str) -> None:
        """What the lease was for, which is lost, has ended by now: whoever has it must begin anew."""
        self._ended.add(peer)
        self._beat_now.set()

    def release(self, peer: str) -> None:
        """Let the lease go, or the wish for it."""
        self._again.pop(peer, None)
        if peer in self._wanted:
            self._wanted.discard(peer)
            self._granted.pop(peer, None)
            self._freed.add(peer)
            self._beat_now.set()

    def take_over(self) -> None:
        """A process of our name lives, in whose place we come: its leases are ours from the start."""
        self._takes_over = True

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
            except Exception as error:  # noqa: BLE001 - whatever is wrong, nobody else asks for us again
                self._fails(StoreFailed(f"{self._where}, answers what can't be read: {error!r}", hint=ODD_HINT))
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._beat_now.wait()
            self._beat_now.clear()

    def _is_due(self, peer: str) -> bool:
        """Whether it is to be asked for, or renewed, with the next question."""
        left, last = self._granted.get(peer, 0.0) - time.monotonic(), LEASE_SECONDS - MARGIN_SECONDS
        return self._says_all or peer in self._told_anew or left < last - min(RENEWED_SECONDS, LEASE_SECONDS / 4)

    async def _beat(self, *, leaves: bool = False) -> None:
        """Ask once."""
        freed, ended, dead, told = set(self._freed), set(self._ended), set(self._dead), set(self._told_anew)
        asked = [peer for peer in sorted(self._wanted) if self._is_due(peer)]
        question = json.dumps(
            {
                "instance": self.instance,
                "boot": self._boot,
                "address": self._address,
                "leaves": leaves,
                "takes": self._takes_over,
                "told": dict.fromkeys(told, True),
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
        self._told_anew -= told
        self._heard(json.loads(answer), asked, sent + LEASE_SECONDS - MARGIN_SECONDS)

    def _heard(self, answer: Mapping[str, Any], asked: Sequence[str], until: float) -> None:
        """Lua writes an empty list as an empty object."""
        siblings, by = dict(answer["siblings"]), dict(answer["by"])
        self.siblings = {name: (str(address), str(boot)) for name, (address, boot) in siblings.items()}
        self.holders = {peer: name for peer, name in self.holders.items() if peer not in asked} | by
        for peer in asked:
            self._granted.pop(peer, None)
        # What was let go, or wished for, while the question was under way is another question's.
        self._granted |= dict.fromkeys(set(answer["granted"]) & self._wanted, until)
        for peer in answer["again"]:
            self._told_anew.add(peer)
            self._begin_anew(peer)
        self._look_for_twin(bool(answer["twin"]))
        for peer in answer["late"]:
            self._tasks.start(self._anew_later(peer), f"lease for {peer}: anew")
        is_another = bool(self._since) and answer["since"] != self._since
        self._since, self._says_all = answer["since"], is_another  # after a flush, what is ours is said at once
        if is_another or self._wanted - self._granted.keys() - set(asked):
            self._beat_now.set()
        self._news.set()
        self._news = asyncio.Event()

    def _begin_anew(self, peer: str) -> None:
        if self.holds(peer) and peer in self._again:
            self._again[peer]()

    async def _anew_later(self, peer: str) -> None:
        await asyncio.sleep(ANEW_SECONDS)
        self._begin_anew(peer)

    def _look_for_twin(self, twin: bool) -> None:
        """Another process has our name: at a hand-over, or just after a crash, that is soon over."""
        now = time.monotonic()
        if not twin:
            self._twin_since, self._twin_told = None, False
            return
        self._twin_since = self._twin_since or now
        if not self._twin_told and now - self._twin_since > TWIN_SECONDS:
            self._twin_told = True
            text = (
                f"another server names itself {self.instance}, too (siblings.instance): it gets no stream of this one's"
            )
            self._emit(Notice(level=Level.ERROR, text=text, hint="give each another siblings.instance"))

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
