"""Commands of ``eps`` in a development network's folder, and a service directory in this process that they reach."""

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from typer.testing import CliRunner

from eps.core.jsonrpc_text import Call
from eps.core.message import Response
from eps.core.names import Object
from eps.datastores.memory import MemoryDatastore
from eps.datastores.sqlite import SqliteDatastore
from eps.directory.cache import entries_of
from eps.directory.service import ServiceDirectory
from eps.errors import EpsError
from eps.programs.admin import commands as admin
from eps.programs.eps import app
from eps.programs.running.runtime import run
from eps.programs.wiring.credentials import directory_trust
from eps.programs.wiring.parts import directory_cache, now
from support.machine import Done


@dataclass
class Network:
    """The commands of operators in one folder; the service directory is this object, seen as its client."""

    folder: Path
    service: ServiceDirectory
    names: tuple[str, ...] = ("the service directory",)
    down: EpsError | None = None
    asked: list[str] = field(default_factory=list)

    async def call(self, index: int, method: str, params: Object) -> Response:
        self.asked.append(method)
        if self.down is not None:
            raise self.down
        response = await self.service.handle(Call(method, orjson.loads(orjson.dumps(params)), "1"))
        return Response("1", orjson.loads(orjson.dumps(response.result)), response.error)

    async def close(self) -> None:
        """Nothing is open."""

    def eps(self, *words: str, role: str = "hd-1", stdin: str | None = None) -> Done:
        """What ``eps`` with these words prints, with the settings of ``role``."""
        os.environ["EPS_SETTINGS"] = f"settings/dev/roles/{role}"
        done = CliRunner().invoke(app, list(words), input=stdin, catch_exceptions=False)
        return Done(done.exit_code, done.stdout, done.stderr)

    def file(self, value: Any, name: str = "change.json") -> str:
        """The name of a file that holds ``value``."""
        (self.folder / name).write_text(value if isinstance(value, str) else json.dumps(value))
        return name

    def records(self, *records: tuple[str, str, Any], name: str = "change.json") -> str:
        """A file of change records: operator, section and data of each."""
        keys = ("name", "section", "data")
        return self.file({"records": [dict(zip(keys, one, strict=True)) for one in records]}, name)

    def submit(self, *records: tuple[str, str, Any]) -> None:
        done = self.eps("sd", "submit-records", self.records(*records, name="submitted.json"))
        assert done.code == 0, done

    def groups(self, name: str) -> tuple[str, ...]:
        entry = self.service.chain.directory.entry(name)
        return entry.groups if entry else ()

    def keep_copy(self) -> None:
        """What a running server of hd-1 does: keep what it has verified."""
        settings = admin.own_settings({"EPS_SETTINGS": "settings/dev/roles/hd-1"}, self.folder)
        chain = self.service.chain

        async def write() -> None:
            path = Path(directory_cache(settings))
            path.parent.mkdir(parents=True, exist_ok=True)
            store = await SqliteDatastore.open(str(path))
            await store.replace(await entries_of(chain.records))
            await store.close()

        run(write())


def made_in(folder: Path, dev_tree: Path) -> Network:
    """A network whose directory is empty yet; the folder must be the working directory."""
    shutil.copytree(dev_tree, folder / "settings" / "dev")
    settings = admin.own_settings({"EPS_SETTINGS": "settings/dev/roles/hd-1"}, folder)
    trust = directory_trust(admin.api_settings(settings))
    return Network(folder, ServiceDirectory(MemoryDatastore(), trust, now, lambda event: None))
