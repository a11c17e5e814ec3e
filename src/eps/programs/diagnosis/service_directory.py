"""The service directory: who answers, whether what it shows is to be believed, how old what we know is, and whether it
pins the certificates that we show."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eps.channels.own_pin import HINT
from eps.core.age import spoken
from eps.core.chain import Chain
from eps.core.entries import Directory, Entry
from eps.core.names import RecordHash
from eps.core.removal import is_removed
from eps.core.signature import TrustStore
from eps.core.told import quoted
from eps.core.wording import counted
from eps.directory import trusted_roots
from eps.directory.endpoints import ServiceDirectoryClients
from eps.directory.trusted_roots import TrustedRootsFile
from eps.errors import EpsError
from eps.programs.admin.recovery import copy_of
from eps.programs.admin.roots import record_values, verified_chain
from eps.programs.admin.set_back import check_not_set_back
from eps.programs.admin.stores import say
from eps.programs.diagnosis.finding import Failure, Finding, Mark, unknown, well
from eps.programs.diagnosis.known import confirmed_age
from eps.programs.diagnosis.local import Shown
from eps.programs.diagnosis.probes import Reached
from eps.programs.wiring.parts import now
from eps.reasons import TABLE, Reason
from eps.settings import EpsSettings, models

DIRECTORY, PIN = "service directory", "our pin"


@dataclass(frozen=True, slots=True)
class Answered:
    """What one endpoint answered.

    Attributes:
        tip: of its chain; "" for an empty one.
        failure: why it gave no answer.
    """

    endpoint: str
    tip: str = ""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Followed:
    """The facts about a directory.

    Attributes:
        answers: of each endpoint.
        directory: the newest that was verified: the service directory's, else our copy; None: there is none.
        records: of it.
        fresh: whether a service directory has just shown it.
        doubt: why what it shows is not believed.
        age: seconds since it was confirmed to our server, as that wrote it down; None: never.
        copy_failure: why there is no copy.
    """

    answers: tuple[Answered, ...]
    directory: Directory | None = None
    records: int = 0
    fresh: bool = False
    doubt: Failure | None = None
    age: float | None = None
    copy_failure: Failure | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it is known that nothing was submitted yet."""
        return self.fresh and self.doubt is None and not self.records and any(not one.failure for one in self.answers)


async def ask_endpoint(clients: ServiceDirectoryClients, index: int) -> Answered:
    """Its tip; never raises but for cancellation."""
    endpoint = clients.names[index]
    try:
        response = await clients.call(index, "getTip", {})
    except EpsError as error:
        return Answered(endpoint, failure=Failure.of(error))
    if response.error is not None:
        text = f"it answered with error {response.error.code}: {quoted(response.error.message)}"
        return Answered(endpoint, failure=Failure(text, "check the endpoint", "directory"))
    tip = response.result.get("hash", "") if isinstance(response.result, dict) else ""
    return Answered(endpoint, tip if isinstance(tip, str) else "")


async def own_copy(settings: EpsSettings) -> Chain | Failure:
    """What our server has verified."""
    try:
        return await copy_of(settings)
    except EpsError as error:
        return Failure.of(error)


async def follow(
    settings: EpsSettings,
    trust: TrustStore,
    clients: ServiceDirectoryClients,
    answers: Sequence[Answered],
    copy: Chain | Failure,
) -> Followed:
    """Verify what the first endpoint shows that answers, on top of our copy; never raises but for cancellation."""
    chain, failure = (copy, None) if isinstance(copy, Chain) else (None, copy)
    fresh, doubt = False, None
    answering = next((index for index, answer in enumerate(answers) if answer.failure is None), None)
    if answering is not None:
        try:
            chain = await _verified(settings, trust, clients, answering, RecordHash(answers[answering].tip), chain)
            fresh = True
        except EpsError as error:
            doubt = replace(Failure.of(error), hint=TABLE[error.reason].do)  # nothing is signed here
    return Followed(
        tuple(answers),
        chain.directory if chain is not None else None,
        len(chain.records) if chain is not None else 0,
        fresh,
        doubt,
        confirmed_age(settings, now()),
        failure,
    )


async def _verified(
    settings: EpsSettings,
    trust: TrustStore,
    clients: ServiceDirectoryClients,
    index: int,
    tip: RecordHash,
    copy: Chain | None,
) -> Chain:
    async def records(after: str) -> list[object]:
        return record_values(await clients.call(index, "getRecords", {"after": after}))

    if copy is None:
        return await verified_chain(await records(""), trust, now())
    accepted = TrustedRootsFile(Path(settings.state_path) / trusted_roots.FILE, say)
    return await check_not_set_back(copy, tip, records, now(), await accepted.read())


# What follows


def judge_directory(facts: Followed, reached: Sequence[Reached], given: models.ApiDirectorySettings) -> list[Finding]:
    """Of the service directories, and what they show."""
    found = [_endpoint(answer, way) for answer, way in zip(facts.answers, reached, strict=True)]
    if facts.doubt is not None:
        found.append(facts.doubt.found(DIRECTORY, "what it shows is not believed, or less than we verified"))
    elif facts.is_empty:
        return [*found, empty("directory", Mark.WRONG)]
    elif facts.fresh and facts.directory is not None:
        size = f"{counted(facts.records, 'record')} about {counted(len(facts.directory.entries), 'operator')}"
        found.append(well(DIRECTORY, f"verified: {size}"))
    return [*found, *_age(facts, given)]


def empty(side: str, mark: Mark) -> Finding:
    """Of a service directory without records."""
    what = "it holds no records yet: nobody is in the directory, and no call passes"
    fix = "submit the first ones: eps sd submit-records --reset FILE (development network: make sd-setup)"
    return Finding(DIRECTORY, mark, what, "", side, fix, Reason.NO_DIRECTORY)


def _endpoint(answer: Answered, reached: Reached) -> Finding:
    if answer.failure is None:
        return well(DIRECTORY, f"{answer.endpoint} answers", reached.times())
    times = f" ({reached.times()})" if reached.times() else ""
    failure = answer.failure
    if failure.stage == "tls" and reached.shown:
        times = f"; what answers there shows a certificate of {reached.shown}{times}"
        if failure.reason == Reason.TLS_FAILED and reached.target.server_name not in reached.shown.split(", "):
            fix = "it is somebody else: correct directory.settings.endpoints, or the name in server_names"
            failure = replace(failure, side="ours", hint=fix)
    if failure.reason == Reason.SILENT and any(name == "TCP" for name, _ in reached.stages):
        fix = "it hangs, or has too much to do: its administrators look into its log (sd doctor)"
        failure = replace(failure, text=f"{failure.text}, though it takes connections", side="directory", hint=fix)
    if failure.reason == Reason.BROKE_OFF and answer.endpoint.startswith("http:"):
        fix = "it most likely speaks https: correct directory.settings.endpoints"
        failure = replace(failure, side="ours", hint=fix)
    return Finding(
        DIRECTORY,
        Mark.WRONG,
        f"{answer.endpoint} does not answer us",
        failure.text + times,
        failure.side or "directory",
        failure.hint,
        failure.reason,
    )


def _age(facts: Followed, given: models.ApiDirectorySettings) -> Iterator[Finding]:
    if facts.copy_failure is not None:
        mark = Mark.DOUBTFUL if facts.fresh else Mark.WRONG
        fix = facts.copy_failure.hint
        yield Finding(DIRECTORY, mark, "our server has no verified copy", facts.copy_failure.text, "ours", fix)
        return
    age = (
        "it was never confirmed"
        if facts.age is None
        else f"our server's copy was confirmed {spoken(facts.age)} ago, or later"
    )
    if facts.age is not None and facts.age < given.maximum_age:
        yield well(DIRECTORY, age)
        return
    refused = given.when_too_old == "refuse"
    why = "longer than maximum_age: " + (
        "nobody is trusted until it is" if refused else "revocations since are not known here"
    )
    fix = "start our server where a service directory answers; it asks by itself"
    yield Finding(DIRECTORY, Mark.WRONG if refused else Mark.DOUBTFUL, age, why, "ours", fix, Reason.DIRECTORY_TOO_OLD)


def judge_pins(directory: Directory | None, own: str, shown: Sequence[Shown]) -> list[Finding]:
    """Whether the directory pins what we show, and with what we sign."""
    if directory is None or not directory.entries:
        return [unknown(PIN, f"not looked at: {'no directory is known' if directory is None else 'nobody is in it'}")]
    entry = directory.entry(own)
    if entry is None:
        fix = "have our records submitted (eps sd submit-records), and check «name» in the settings"
        return [Finding(PIN, Mark.WRONG, f"the directory has no entry of {own}", "", "ours", fix, Reason.OWN_ENTRY)]
    if is_removed(entry):
        what = f"{own} was removed from the directory: other operators refuse us"
        fix = "eps directory log says when, and by whom; to come back, have our records submitted again"
        return [Finding(PIN, Mark.WRONG, what, "", "ours", fix, Reason.OWN_ENTRY)]
    return [_signing_pin(one, entry) if one.signing else _pin(one, entry) for one in shown]


def _pin(one: Shown, entry: Entry) -> Finding:
    fingerprint = one.subject.fingerprint
    if fingerprint in entry.pins:
        return well(PIN, f"{Path(one.file).name} is pinned for {entry.name}")
    pinned = ", ".join(sorted(pin[:12] + "…" for pin in entry.pins)) or "none at all"
    why = f"the directory does not pin {fingerprint}; it pins {pinned}: other operators refuse us"
    whose = ", ".join(one.subject.tls_names[:3])
    is_ours = entry.name in one.subject.tls_names
    fix = HINT if is_ours else f"it is a certificate of {whose}: have the settings name ours, or correct «name»"
    what = f"{Path(one.file).name} is not pinned for {entry.name}"
    return Finding(PIN, Mark.WRONG, what, why, "ours", fix, Reason.OWN_PIN)


def _signing_pin(one: Shown, entry: Entry) -> Finding:
    file = Path(one.file).name
    if entry.signing_pin == one.subject.fingerprint:
        return well(PIN, f"{file} is pinned for {entry.name}, for signing")
    if entry.signing_pin is None:
        return well(PIN, f"{file} signs; no certificate is pinned for {entry.name} for signing")
    why = f"the directory pins {entry.signing_pin}, this is {one.subject.fingerprint}: its records are refused"
    fix = (
        "name the pinned file under «signing», or have an administrator submit the new fingerprint (key_usage signing)"
    )
    return Finding(PIN, Mark.WRONG, f"{file} is not what {entry.name} may sign with", why, "ours", fix, Reason.OWN_PIN)
