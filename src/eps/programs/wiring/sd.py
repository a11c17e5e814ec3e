"""The service directory: datastore → service → JSON-RPC server."""

from pathlib import Path

from eps.core.chain import Chain
from eps.core.event import Emit
from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.core.names import Object
from eps.core.record_text import loads
from eps.datastores import Datastore
from eps.datastores.watched import watched
from eps.directory.service import ServiceDirectory
from eps.errors import NotSent
from eps.jsonrpc.callers import Callers
from eps.jsonrpc.large_bodies import LargeBodies
from eps.programs.running.metrics import Metrics
from eps.programs.status.pictures import changes_of, operators_of
from eps.programs.wiring.composite import Apply, Composite
from eps.programs.wiring.credentials import Shown, directory_trust
from eps.programs.wiring.parts import (
    Reads,
    add_jsonrpc_server,
    add_metrics,
    add_status,
    now,
    open_datastore,
    renewed_jsonrpc_server,
    renewed_status,
    serving_of,
    use_keepalive,
)
from eps.settings import SdSettings, models


class SdServer(Composite):
    """A service directory and its JSON-RPC server.

    Raises:
        StartError: naming the file that can't be used.
    """

    def __init__(self, settings: SdSettings, emit: Emit, metrics: Metrics) -> None:
        super().__init__("the service directory")
        use_keepalive(settings.keepalive)
        given = settings.directory
        self._given_store = given.datastore
        self._trust = directory_trust(given)
        self._foreign_peers = given.foreign_peers
        self._mark = high_water_file(settings)
        self._emit = emit
        self._store: Datastore | None = None
        self._is_let_go = False
        self._service: ServiceDirectory | None = None
        self._shown_chain: tuple[Chain | None, Object] = (None, {})
        self.add_steps(self._load, self._unload)
        add_metrics(self, settings.metrics, metrics, emit)
        add_status(self, settings.status, metrics, Callers(), emit)
        rpc = settings.jsonrpc_server
        self._shown = Shown(self.title, "those who connect", [rpc], emit)
        self.add(self._shown)
        self._large = LargeBodies(loads)
        serving = serving_of(rpc, Callers(), self._reads(rpc))
        self.rpc = add_jsonrpc_server(self, rpc, self._handle, serving, emit)

    def _reads(self, given: models.SdJsonRpcServerSettings) -> Reads:
        return Reads(given.max_request_body, loads, self._large)

    def picture(self) -> Object:
        if self._service is None:
            return {}
        chain = self._service.chain
        if self._shown_chain[0] is not chain:  # what it says is worked out once for each chain
            self._shown_chain = chain, {"operators": operators_of(chain.directory), "changes": changes_of(chain)}
        return self._shown_chain[1]

    async def let_go(self) -> None:
        """Nothing can be submitted from now on; what was, can be asked for."""
        self.rpc.send_away()
        self._is_let_go = True
        await self._unload()

    async def take_back(self) -> None:
        await self._load()
        self._is_let_go = False

    async def prepare(self, settings: SdSettings) -> Apply:
        """As :meth:`eps.programs.wiring.eps.EpsServer.prepare`."""
        assert self._service is not None, "nothing is renewed before the start"
        given, rpc = settings.directory, settings.jsonrpc_server
        trust = directory_trust(given)
        serve = renewed_jsonrpc_server(self.rpc, rpc, Callers(), self._reads(rpc))
        service, show = self._service, self._shown.renewed(rpc)
        page = renewed_status(self, settings.status, Callers())

        async def apply() -> None:
            await service.renew(trust, foreign_peers=given.foreign_peers)
            self._trust, self._foreign_peers = trust, given.foreign_peers
            serve()
            show()
            for renew in page:
                renew()

        return apply

    async def _load(self) -> None:
        self._store = watched(await open_datastore(self._given_store, self._emit, continued=True), self._emit)
        self._service = ServiceDirectory(
            self._store, self._trust, now, self._emit, foreign_peers=self._foreign_peers, mark=self._mark
        )
        await self._service.load()

    async def _unload(self) -> None:
        if self._service is not None:
            await self._service.close()
        if self._store is not None:
            await self._store.close()

    async def _handle(self, call: Call) -> Response:
        assert self._service is not None, "the server accepts nothing before the store is loaded"
        if self._is_let_go and call.method == "submitRecords":
            raise NotSent("the service directory is being restarted; nothing was stored", hint="submit again now")
        return await self._service.handle(call)


def high_water_file(settings: SdSettings) -> Path | None:
    """Where a service directory keeps how far its store had come; None for one that is to forget everything."""
    if isinstance(settings.directory.datastore, models.MemoryDatastore):
        return None
    return Path(settings.state_path) / "high-water.json"
