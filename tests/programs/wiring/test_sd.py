"""A service directory from its settings, in process."""

import pytest

from eps.core.certificate import fingerprint_of
from eps.core.event import DirectoryChanged, Notice
from eps.core.pem import certificates_in
from eps.core.wording import shows
from eps.programs.running.metrics import Metrics
from eps.programs.wiring.sd import SdServer
from eps.settings import load_sd
from support.machine import Machine
from support.testing import Events


async def test_a_service_directory_from_the_settings(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine.folder)
    events = Events()
    loaded = load_sd(machine.environment("sd-1"), machine.folder)
    for records in (30, 30):  # again: they are on disk
        server = SdServer(loaded.settings, events, Metrics())
        await server.start()
        try:
            assert server.started().message() == (
                f"the service directory is running: JSON-RPC localhost:{machine.ports.of[3322]}, "
                f"metrics localhost:{machine.ports.of[2114]}, status localhost:{machine.ports.of[2134]}"
            )
            leaf = (machine.dev / "certs" / "sd-1.crt").read_bytes()
            told = shows(
                "the service directory", "those who connect", [fingerprint_of(certificates_in(leaf, "", "")[0])]
            )
            assert events.of(Notice)[-1].text == told
            if not events.of(DirectoryChanged):
                await machine.setup_directory()
            assert events.of(DirectoryChanged)[-1].records == records
        finally:
            await server.close()
