"""``eps operator init | records`` and ``eps cert inspect``: from what was typed to what is printed and written."""

import json
from collections.abc import Sequence
from pathlib import Path

from eps.core.certificate import fingerprint_of
from eps.core.exact import is_address, is_operator
from eps.errors import BadParams, SettingsError, StartError
from eps.programs.admin import own_certificates as certs
from eps.programs.admin.commands import own_settings
from eps.programs.admin.own_records import Wanted, as_file, entry_records
from eps.programs.admin.own_settings import Plan, settings_of
from eps.programs.running.runtime import EXIT_FAILED
from eps.programs.wiring.credentials import tls_sections
from eps.programs.wiring.parts import now
from eps.settings import EpsSettings

SETTINGS_FILE = "eps.yml"

CONNECTIONS, SIGNATURES = "encryption", "signing"
"""Key usages in the section ``certificates`` (PROTOCOL.md section 4)."""


def init(plan: Plan, folder: Path) -> str:
    """Write settings, keys and requests into ``folder``; what to do with them.

    Raises:
        BadParams: nobody can be called that, or the URL is none.
        StartError: something exists, or can't be written.
    """
    _check_url(plan.directory, "--directory")
    if plan.service:
        _check_url(plan.service, "--service")
    settings = folder / SETTINGS_FILE
    if settings.exists():
        raise StartError(f"{settings} exists", hint="nothing was written; name another --folder")
    wanted = [certs.Request(plan.name)]
    wanted += [certs.Request(plan.name, signing=True)] * plan.signing
    made = [file for each in wanted for file in certs.make_request(each, folder)]
    try:
        settings.write_text(settings_of(plan))
    except OSError as error:
        raise StartError(f"can't write {settings}: {error.strerror}", hint="check the folder's owner") from None
    return next_steps(plan, settings, [settings, *made])


def next_steps(plan: Plan, settings: Path, made: Sequence[Path]) -> str:
    """What was written, and what to type next."""
    requests = " and ".join(file.name for file in made if file.suffix == ".csr")
    signed = " and ".join(file.with_suffix(".crt").name for file in made if file.suffix == ".csr")
    variable = f"EPS_SETTINGS={settings.absolute()}"
    return f"""wrote {", ".join(str(file) for file in made)}

1. Have the network's authority sign {requests}. The keys stay here.
   What you get goes into the same folder: {signed} (with the
   intermediates behind yours), root.crt and intermediate.crt. Then:
    export {variable}
    eps config check

2. Hand your entry to the directory's administrator, who submits it:
    eps operator records --group GROUP --proxy OPERATOR > {plan.name}.json

3. Start the server, and call somebody:
    eps server run
    eps call OPERATOR._ping"""


def records(groups: tuple[str, ...], proxy: str, address: str, methods: tuple[str, ...]) -> str:
    """Our entry of the directory as the text of a file of change records.

    Raises:
        BadParams: an option is none.
        EpsError: the settings, or the certificates that they name, can't be read.
    """
    if address and not is_address(address):
        raise BadParams(f"--address {address!r} is no address", hint="HOST:PORT, for example eps.example.org:4444")
    for name in (*groups, *methods, *([proxy] if proxy else [])):
        if not is_operator(name):
            raise BadParams(f"{name!r} can't be a name in the directory", hint="letters, digits, hyphens and dots")
    settings = own_settings()
    return as_file(entry_records(Wanted(settings.name, groups, pins_of(settings), proxy, address, methods)))


def pins_of(settings: EpsSettings) -> tuple[tuple[str, str], ...]:
    """How the directory has to pin the certificates that settings name: the one that signs first, each once."""
    files = [(SIGNATURES, settings.signing.certificate_file)] if settings.signing is not None else []
    files += [(CONNECTIONS, certificate) for certificate, _ in connection_files(settings)]
    found = [(usage, str(fingerprint_of(certs.read_chain(Path(file))[0]))) for usage, file in files]
    return tuple(dict.fromkeys(found))


def connection_files(settings: EpsSettings) -> list[tuple[str, str]]:
    """Certificate and key of each section ``tls``, each pair once.

    Raises:
        SettingsError: there is none.
    """
    sections = [tls for _, tls, _ in tls_sections(settings)]
    found = [(tls.certificate_file, tls.key_file) for tls in sections if tls.certificate_file and tls.key_file]
    if not found:
        raise SettingsError("the settings name no certificate", hint="set tls.certificate_file of the channels")
    return list(dict.fromkeys(found))


def inspect(files: Sequence[Path], *, as_json: bool) -> int:
    """``eps cert inspect``; the exit code."""
    found = [certs.inspect(file, now()) for file in files]
    print(json.dumps([one.to_json() for one in found]) if as_json else "\n".join(one.describe() for one in found))
    return 0 if all(one.well for one in found) else EXIT_FAILED


def _check_url(url: str, option: str) -> None:
    if not url.startswith(("https://", "http://")):
        raise BadParams(f"{option} {url!r} is no URL", hint="for example https://sd.example.org:3322/jsonrpc")
