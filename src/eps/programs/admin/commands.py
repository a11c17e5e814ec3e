"""The administrator's commands of the ``eps`` program: from settings to what they print."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from eps.client.own_settings import endpoint_of
from eps.core import record_text
from eps.core.exact import is_fingerprint
from eps.core.jsonrpc_text import strict_loads
from eps.core.message import Error
from eps.core.names import Fingerprint, Object, RecordHash
from eps.core.new_root import TrustedRoot
from eps.core.signature import Signer, TrustStore, load_signer
from eps.core.told import error_response
from eps.core.wording import counted
from eps.directory import trusted_roots
from eps.directory.endpoints import ServiceDirectoryClients
from eps.directory.json_files import FileRecord
from eps.directory.trusted_roots import TrustedRootsFile
from eps.errors import BadParams, DeliveryError, EpsError, Outcome, SettingsError, Side
from eps.jsonrpc.callee import Callee
from eps.jsonrpc.client import JsonRpcClient
from eps.programs.admin import records as directory_commands
from eps.programs.admin import review, roots
from eps.programs.admin.check import check
from eps.programs.admin.directory_calls import DirectoryCalls
from eps.programs.admin.plan import Plan, plan_of, read_files
from eps.programs.admin.recovery import verified_copy
from eps.programs.admin.screen import PIPE, show, show_lines
from eps.programs.admin.set_back import OwnServer
from eps.programs.admin.store_owners import tell_warnings
from eps.programs.admin.stores import say
from eps.programs.running.runtime import EXIT_FAILED, run
from eps.programs.wiring.credentials import directory_trust, trust_store
from eps.programs.wiring.parts import directory_clients, now
from eps.settings import PROGRAMS, EpsSettings, SdSettings, load_eps, load_sd, models
from eps.transport.credentials import read_file
from eps.transport.tls import TlsFiles


def own_settings(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> EpsSettings:
    """The EPS server's settings; warnings go to standard error."""
    loaded = load_eps(os.environ if environment is None else environment, folder or Path.cwd())
    tell_warnings(loaded.warnings)
    return loaded.settings


def sd_settings() -> SdSettings:
    """The service directory's settings; warnings go to standard error."""
    loaded = load_sd(os.environ, Path.cwd())
    tell_warnings(loaded.warnings)
    return loaded.settings


# The service directory


@asynccontextmanager
async def directory_of(settings: EpsSettings, wait: float = 0.0) -> AsyncIterator[DirectoryCalls]:
    """Calls the service directories that the settings name, the first that can be reached; for ``wait`` seconds, if
    none can be yet."""
    async with clients_of(settings) as clients:
        calls = [partial(clients.call, index) for index in range(len(clients.names))]
        yield DirectoryCalls(*calls, wait=wait)


@asynccontextmanager
async def clients_of(settings: EpsSettings) -> AsyncIterator[ServiceDirectoryClients]:
    """Clients of all service directories that the settings name."""
    clients = directory_clients(api_settings(settings))
    try:
        yield clients
    finally:
        await clients.close()


def api_settings(settings: EpsSettings) -> models.ApiDirectorySettings:
    """How the service directory is followed; raises SettingsError if there is none."""
    if not isinstance(settings.directory, models.ApiDirectory):
        raise SettingsError(
            f"directory.type is {settings.directory.type}: there is no service directory to ask",
            hint="set directory.type to api, with its endpoints",
        )
    return settings.directory.settings


def signer_of(settings: EpsSettings) -> Signer:
    """Our signing key; raises StartError naming the files if they are unfit."""
    given = signing_of(settings)
    certificate, key = given.certificate_file, given.key_file
    return load_signer(
        read_file(certificate, "signing.certificate_file"),
        read_file(key, "signing.key_file"),
        certificate_file=certificate,
        key_file=key,
    )


def signing_of(settings: EpsSettings) -> models.SigningSettings:
    """The section «signing»; raises SettingsError if there is none."""
    if settings.signing is None:
        raise SettingsError(
            "the settings have no section «signing»", hint="add signing with certificate_file and key_file"
        )
    return settings.signing


@dataclass(frozen=True, slots=True)
class Submission:
    """How records are to be submitted.

    Attributes:
        reset: they replace the whole directory.
        wait: seconds for which a service directory that can't be reached yet is tried again.
        strict: what is doubtful is refused.
        dry_run: nothing is signed: what would change is all that is wanted.
        question: whoever sits at a terminal is asked in any case.
        foreign: keys of settings that servers of another make read.
    """

    reset: bool = False
    wait: float = 0.0
    as_json: bool = False
    strict: bool = False
    dry_run: bool = False
    question: str = ""
    foreign: Sequence[str] = ()


Judge = Callable[[Plan], Sequence[str]]
"""Says what else is doubtful; raises EpsError where something is wrong."""


def submit(files: Sequence[Path], how: Submission) -> int:
    """``eps sd submit-records``; the exit code. Who sits at a terminal is asked where there is doubt."""
    settings = own_settings()
    found = read_files(files, how.foreign)
    if how.reset and not how.dry_run and review.at_terminal():
        present = run(_present_directory(settings, how.wait))
        if present and not review.agrees(f"This replaces the whole directory: {present}. Replace it? [y/N] "):
            return nothing_submitted()
    return submit_found(found, how, settings)


def submit_found(
    found: Sequence[FileRecord], how: Submission, settings: EpsSettings, judge: Judge = lambda plan: ()
) -> int:
    """Show what ``found`` changes, settle what is doubtful, sign and submit it; the exit code."""
    signer = signer_of(settings) if not how.dry_run else None
    plan, own = run(_planned(found, how, settings))
    plan = replace(plan, doubts=[*plan.doubts, *judge(plan)])
    show_plan(plan, how)
    if not review.settle(plan.doubts, strict=how.strict, ask=signer is not None):
        return nothing_submitted()
    if signer is None:
        return nothing_submitted(0)
    if how.question and review.at_terminal() and not review.agrees(how.question):
        return nothing_submitted()
    done = run(_submitted(plan, signer, settings, own, how.wait))
    tell_submitted(done, how, plan)
    return 0


def show_plan(plan: Plan, how: Submission) -> None:
    """What would change: of a dry run the result, else beside it."""
    if how.as_json and how.dry_run:
        print_json(told(plan) | {"submitted": False})
    elif not how.as_json:
        if how.dry_run:
            show_lines(review.lines_of(plan.changes), rest=PIPE)
        else:
            review.tell(*review.lines_of(plan.changes, review.MAX_LINES, review.DRY_RUN))


def tell_submitted(done: directory_commands.Submitted, how: Submission, plan: Plan) -> None:
    """What was stored, on standard output."""
    if how.as_json:
        print(json.dumps({"records": done.count, "tip": done.tip} | told(plan)))
    else:
        print(f"submitted {counted(done.count, 'record')}; the directory's tip is now {done.tip}")


def told(plan: Plan) -> Object:
    """A plan for scripts."""
    return {"changes": [change.to_json() for change in plan.changes], "doubts": list(plan.doubts)}


def nothing_submitted(code: int = EXIT_FAILED) -> int:
    """Say so; the exit code."""
    print("nothing was submitted", file=sys.stderr)
    return code


async def _present_directory(settings: EpsSettings, wait: float) -> str:
    async with directory_of(settings, wait) as calls:
        return await directory_commands.present_directory(calls)


async def _planned(found: Sequence[FileRecord], how: Submission, settings: EpsSettings) -> tuple[Plan, OwnServer]:
    own = await own_server(settings, reset=how.reset)
    async with directory_of(settings, how.wait) as calls:
        return await plan_of(found, reset=how.reset, calls=calls, now=now(), own=own), own


async def _submitted(
    plan: Plan, signer: Signer, settings: EpsSettings, own: OwnServer, wait: float
) -> directory_commands.Submitted:
    async with directory_of(settings, wait) as calls:
        return await directory_commands.submit_plan(
            plan, signer=signer, calls=calls, now=now, tell=review.warn, own=own
        )


async def own_server(settings: EpsSettings, *, reset: bool, warn: Callable[[str], None] = review.warn) -> OwnServer:
    """What our server, running or not, makes of a submission; of one that begins anew, whatever it has verified."""
    given = api_settings(settings)
    trusted = TrustedRootsFile(Path(settings.state_path) / trusted_roots.FILE, say)
    trust = directory_trust(given)
    verified = await verified_copy(settings, warn) if not reset else None
    return OwnServer(verified, await trusted.read(), trust.canonical_from, trust)


async def get_entries(name: str, *, whole: bool = False) -> None:
    """``eps sd get-entries``."""
    settings = own_settings()
    trust = directory_trust(api_settings(settings))
    async with directory_of(settings) as calls:
        show(await directory_commands.get_entries(calls, trust, now(), name or None), whole=whole)


async def trust_root(record_hash: str, signer: str, settings: EpsSettings | None = None) -> None:
    """``eps sd trust-root``: says what it accepts, or fails with the reason."""
    for text, what in ((record_hash, "HASH"), (signer or "0" * 64, "FINGERPRINT")):
        if not is_fingerprint(text):
            raise BadParams(f"{what} must be 64 lower-case hex digits", hint="copy it from the server's log line")
    settings = settings or own_settings()
    given = api_settings(settings)
    if signer:
        root, shown = (
            TrustedRoot(RecordHash(record_hash), Fingerprint(signer)),
            f"root {record_hash}, signed with {signer}",
        )
    else:
        trust = directory_trust(given)
        async with clients_of(settings) as clients:
            found = await roots.find_root(record_hash, clients.names, clients.call, trust, now())
        root, shown = found.root, str(found)
    path = Path(settings.state_path) / trusted_roots.FILE
    try:
        trusted_roots.add(path, root)
    except OSError as error:
        hint = "run the command as the user that the server runs as"
        raise EpsError(f"{path} can't be written: {error.strerror}", hint=hint) from None
    except ValueError as error:
        hint = "nothing that is in it counts now: remove it, then try again"
        raise EpsError(f"{path} can't be read: {error}", hint=hint) from None
    print(f"accepted by hand: {shown}")
    print(
        "if that is not the certificate that the directory's administrators named, remove " + str(path), file=sys.stderr
    )


def signers_trust(given: models.SigningSettings) -> TrustStore:
    """What signatures are checked against on the command line."""
    roots = [given.ca_certificate_file] if given.ca_certificate_file else []
    return trust_store(roots, given.ca_intermediate_certificate_files)


def sign(file: Path) -> None:
    """``eps sd sign``."""
    print_json(directory_commands.sign_file(file, signer_of(own_settings())))


def verify(file: Path, name: str) -> None:
    """``eps sd verify``: says who signed, or fails with the reason."""
    given = signing_of(own_settings())
    directory_commands.verify_file(file, name, signers_trust(given), now())
    print(f"{file}: signed by {name}", file=sys.stderr)


# Settings


def check_config(program: str, *, as_json: bool) -> int:
    """``eps config check``: of one program's settings, or of all whose variable is set."""
    if program and program not in PROGRAMS:
        raise SettingsError(f"there is no program {program!r}", hint=f"one of {', '.join(PROGRAMS)}")
    wanted = [program] if program else [name for name, each in PROGRAMS.items() if os.environ.get(each.variable)]
    if not wanted:
        variables = ", ".join(each.variable for each in PROGRAMS.values())
        raise SettingsError(
            "there is nothing to check: no settings variable is set", hint=f"set one of {variables} to a file or folder"
        )
    reports = [check(name, os.environ, Path.cwd()) for name in wanted]
    if as_json:
        print_json([report.to_json() for report in reports])
    else:
        for report in reports:
            print(f"{report.program}: {report.describe()}")
    return 0 if all(report.ok for report in reports) else EXIT_FAILED


# Calls


async def call(method: str, params: str, timeout: float, *, whole: bool = False) -> int:
    """``eps call``: through our own server's JSON-RPC port; the exit code."""
    value = params_of(params)
    client = own_server_client(own_settings())
    try:
        response = await client.call(method, value, timeout=timeout)
    except DeliveryError as failure:
        response = error_response("", failure)
    finally:
        await client.close()
    if response.error is not None:
        tell_error(response.error)
        return EXIT_FAILED
    show(response.result, whole=whole)
    return 0


def params_of(text: str) -> Object:
    """The params that a command line gives as JSON text; raises BadParams if they are no object."""
    try:
        value = strict_loads(text.encode())
    except EpsError as error:
        raise BadParams(
            f"the params are no usable JSON: {error.message}", hint="an object like '{\"name\": 1}'"
        ) from None
    if not isinstance(value, dict):
        raise BadParams("the params must be a JSON object", hint="an object like '{\"name\": 1}'")
    return value


def own_server_client(settings: EpsSettings) -> JsonRpcClient:
    """A client for our own server's JSON-RPC port, with our server's certificate."""
    server = settings.jsonrpc_server
    if server is None:
        raise SettingsError("the settings have no jsonrpc_server channel to call", hint="add one to channels")
    return client_of(server, f"our EPS server {settings.name}")


def client_of(server: models.JsonRpcServerSettings, called: str) -> JsonRpcClient:
    """A client for a JSON-RPC port of our own, which shows the certificate of that very port.

    Args:
        called: what is there, for messages.
    """
    endpoint, callee = endpoint_of(server), Callee(called, Side.OURS)
    if server.tls is None:
        return JsonRpcClient(endpoint.url, tls=None, callee=callee)
    files = TlsFiles(endpoint.ca_certificate_files, endpoint.certificate_file, endpoint.key_file)
    return JsonRpcClient(endpoint.url, tls=files, server_name=endpoint.operator, callee=callee)


EXECUTED = {
    Outcome.NOT_SENT.value: "it was not executed",
    Outcome.FAILED.value: "it failed",
    Outcome.EXECUTED.value: "it was executed",
    Outcome.UNKNOWN.value: "it may have been executed",
}


def tell_error(error: Error) -> None:
    """A failed call, on standard error: without what could move its cursor, since others chose the words."""
    review.tell(*f"error: {error.message} (code {error.code})".splitlines())
    data: Any = error.data
    if isinstance(data, dict) and "outcome" in data:
        outcome = EXECUTED.get(str(data["outcome"]), str(data["outcome"]))
        reason = f" (reason: {data['reason']})" if data.get("reason") else ""
        review.tell(f"where: stage {data.get('stage')}, side {data.get('side')}; {outcome}{reason}")
        if data.get("hint"):
            review.tell(*f"hint:  {data['hint']}".splitlines())
    elif data:
        review.tell(f"data:  {json.dumps(data, ensure_ascii=False)}")


def print_json(value: Any) -> None:
    """``value`` on standard output."""
    print(record_text.dumps(value, indent=True).decode())
