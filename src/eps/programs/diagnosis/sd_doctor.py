"""``sd doctor``: facts about a service directory, and what follows."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from eps.core.chain import Chain
from eps.core.high_water import HighWater
from eps.core.wording import counted
from eps.datastores.state_file import read_state
from eps.directory.high_water import VERSION
from eps.errors import EpsError
from eps.jsonrpc.client import JsonRpcClient
from eps.programs.admin.commands import client_of
from eps.programs.admin.roots import record_values, verified_chain
from eps.programs.diagnosis import own_server
from eps.programs.diagnosis.finding import Failure, Finding, Mark, unknown, well
from eps.programs.diagnosis.lately import Seen, ask_lately, judge_lately
from eps.programs.diagnosis.local import Local, judge_certificates, judge_modes, judge_settings
from eps.programs.diagnosis.own_server import Asked, judge_server
from eps.programs.diagnosis.service_directory import DIRECTORY, empty
from eps.programs.wiring.credentials import directory_trust
from eps.programs.wiring.parts import now
from eps.programs.wiring.sd import high_water_file
from eps.reasons import Reason
from eps.settings import SdSettings

VERIFY_SECONDS = 12.0
"""For asking for all records, and verifying them: some thousands in a second."""

NAME = "the service directory"


@dataclass(frozen=True, slots=True)
class SdFacts:
    """All that was gathered.

    Attributes:
        port: why it does not answer; None: it does.
        records: in the chain; None: it could not be had.
        doubt: why the chain is not believed.
        lost: what the store once held and lacks; "" if nothing.
        lately: what it has seen go wrong.
    """

    settings: SdSettings
    local: Local
    asked: Asked
    port: Failure | None = None
    records: int | None = None
    operators: int = 0
    doubt: Failure | None = None
    lost: str = ""
    lately: tuple[Seen, ...] = ()


def judge(facts: SdFacts, at: datetime) -> list[Finding]:
    """Everything that follows ``at`` a time, in the order in which it is to be read. Pure."""
    found = [*judge_settings(facts.local), *judge_modes(facts.local), *judge_certificates(facts.local, at)]
    port_of = f"JSON-RPC at {facts.settings.jsonrpc_server.bind_address}"
    found += judge_server(facts.asked, "sd run", facts.port, port_of, None)
    if facts.doubt is not None:
        found.append(facts.doubt.found(DIRECTORY, "the records are not believed"))
    elif facts.records is None:
        found.append(unknown(DIRECTORY, "not looked at: it does not answer"))
    elif not facts.records:
        found.append(empty("ours", Mark.DOUBTFUL))
    else:
        size = f"{counted(facts.records, 'record')} about {counted(facts.operators, 'operator')}"
        found.append(well(DIRECTORY, f"verified: {size}"))
    if facts.lost:
        fix = "docs/howto-recover-directory.md says how to get it back"
        found.append(
            Finding(DIRECTORY, Mark.WRONG, "the store was set back", facts.lost, "ours", fix, Reason.DIRECTORY_SET_BACK)
        )
    return found + judge_lately(facts.lately, found)


async def gather(settings: SdSettings, local: Local) -> SdFacts:
    """Look at everything; never raises but for cancellation."""
    asked, lately, (chain, port, doubt) = await asyncio.gather(
        own_server.ask_status(Path(settings.state_path), "sd.control", settings.jsonrpc_server.bind_address),
        ask_lately(Path(settings.state_path), "sd.control"),
        _chain(settings),
    )
    if chain is None:
        return SdFacts(settings, local, asked, port, doubt=doubt, lately=lately)
    size = len(chain.records), len(chain.directory.entries)
    return SdFacts(settings, local, asked, port, *size, doubt, _lost(settings, chain), lately)


async def _chain(settings: SdSettings) -> tuple[Chain | None, Failure | None, Failure | None]:
    """What it shows, verified; why its port does not answer; why that isn't believed."""
    try:
        client = client_of(settings.jsonrpc_server, NAME)
    except EpsError as error:
        return None, Failure.of(error), None
    try:
        async with asyncio.timeout(VERIFY_SECONDS):
            return await _verified(client, settings)
    except TimeoutError:
        text = f"its records were not there and verified within {VERIFY_SECONDS:g} s"
        return None, Failure(text, "it is busy, or hangs: look into its log", "ours"), None
    finally:
        await client.close()


async def _verified(client: JsonRpcClient, settings: SdSettings) -> tuple[Chain | None, Failure | None, Failure | None]:
    try:
        answer = await client.call("getRecords", {"after": ""}, timeout=VERIFY_SECONDS)
    except EpsError as error:
        return None, Failure.of(error), None
    try:
        return await verified_chain(record_values(answer), directory_trust(settings.directory), now()), None, None
    except EpsError as error:
        return None, None, Failure.of(error)


def _lost(settings: SdSettings, chain: Chain) -> str:
    path = high_water_file(settings)
    mark = HighWater.from_json(read_state(path, VERSION)) if path is not None else None
    return mark.lost(chain.records) if mark is not None else ""
