"""What doctors are to say of each broken network: whoever's administrator would run one, and the finding that names the
cause, whose it is, and what to do.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from eps.programs.diagnosis.finding import Finding, Mark
from eps.programs.diagnosis.report import root_of
from support.doctors import Doctor, Says, in_report

PROXY, PROXY_EPS = "public-proxy-1", "public-proxy-eps-1"

AT_HD_1: Doctor = ("hd-1", "eps", "hd-2")
ALONE: Doctor = ("hd-1", "eps")
AT_HD_2: Doctor = ("hd-2", "eps")
AT_PROXY: Doctor = (PROXY, "proxy")
AT_SD: Doctor = ("sd-1", "sd")


@dataclass(frozen=True)
class Names:
    """A finding.

    Attributes:
        mark: ``WRONG``: it is what the report has one begin with; ``UNKNOWN``: the command ends with an error.
        word: its reason.
        says: what, why and what to do hold this, as a pattern.
    """

    doctor: Doctor
    mark: Mark
    side: str
    word: str
    says: str


def wrong(doctor: Doctor, side: str, word: str, says: str) -> Names:
    """It is ✗."""
    return Names(doctor, Mark.WRONG, side, word, says)


def warned(doctor: Doctor, side: str, word: str, says: str) -> Names:
    """It is !: it works today, or did not lately."""
    return Names(doctor, Mark.DOUBTFUL, side, word, says)


def well(doctor: Doctor, says: str) -> Names:
    """Nothing is wrong where that doctor looks, and this is said."""
    return Names(doctor, Mark.WELL, "", "", says)


QUICK: dict[str, tuple[Names, ...]] = {
    "sd-down-cached": (wrong(AT_HD_1, "directory", "directory-unreachable", "connection refused.*check the endpoint"),),
    "sd-down-fresh": (wrong(AT_HD_1, "directory", "directory-unreachable", "connection refused.*check the endpoint"),),
    "ca-wrong-everywhere": (wrong(AT_HD_1, "ours", "own-ca", "not from one of our ca_certificate_files"),),
    "ca-wrong-grpc-client": (wrong(AT_HD_1, "ours", "own-ca", "public-proxy-1.ga at .*ca_certificate_files"),),
    "own-unpinned": (wrong(AT_HD_1, "ours", "own-pin", "hd-1-alt.crt is not pinned for hd-1.*submit"),),
    "peer-unpinned": (
        wrong(AT_HD_1, "peer", "peer-pin", "refuses its certificate.*hd-2's administrators: submit"),
        wrong(AT_HD_2, "ours", "own-pin", "hd-2-alt.crt is not pinned for hd-2.*submit"),
    ),
    "no-permission": (
        well(AT_HD_1, r"hd-1 may call work, _ping.* not secret \(for laboratories\)"),
        warned(AT_HD_1, "peer", "no-permission", "hd-2.secret.*is for the group laboratories"),
    ),
    "method-unknown": (
        well(AT_HD_1, "hd-1 may call work, _ping"),
        warned(AT_HD_1, "peer", "method-unknown", "hd-2._pin .*hd-1 may call there: _ping, work"),
    ),
    "operator-unknown": (Names(("hd-1", "eps", "hd-3"), Mark.UNKNOWN, "", "", "hd-3 is not in .*did you mean hd-2"),),
    "peer-off": (wrong(AT_HD_1, "peer", "peer-off", "hd-2 is not connected.*server of hd-2 runs"),),
    "proxy-program-down": (
        wrong(AT_HD_1, "proxy", "proxy-program-down", "does not reach its proxy program.*start proxy run"),
        wrong(AT_PROXY, "ours", "unreachable", "no server runs .*proxy run public"),
    ),
    "proxy-eps-down": (
        wrong(AT_HD_1, "proxy", "proxy-unreachable", "connection refused.*that the server runs"),
        wrong(AT_PROXY, "ours", "unreachable", "EPS server does not answer"),
    ),
    "relay-nothing-listens": (
        wrong(AT_HD_1, "proxy", "relay-unreachable", "connection refused.*internal_endpoint"),
        wrong(AT_PROXY, "ours", "relay-unreachable", "is not reached from here.*internal_bind_address"),
    ),
    "endpoint-not-listed": (
        wrong(AT_HD_1, "proxy", "relay-not-listed", "not among the proxy's internal_endpoints.*list it"),
        wrong(AT_PROXY, "ours", "relay-not-listed", "operators refuse to dial .*internal_endpoints"),
    ),
    "directory-stale": (wrong(AT_HD_1, "directory", "directory-unreachable", "connection refused"),),
    "key-misfit": (wrong(ALONE, "ours", "key-misfit", "does not fit the certificate in"),),
    "port-taken": (wrong(ALONE, "ours", "port-taken", r"is taken by .*\(process \d+\).*stop it"),),
    "settings-type": (wrong(ALONE, "ours", "settings", r"name.*must be text, not a list \(line 2\)"),),
    "settings-variable": (wrong(ALONE, "ours", "settings", r"\$NOWHERE is not defined \(line 2\).*define it"),),
    "key-readable": (warned(ALONE, "ours", "key-readable", "every user .*chmod 600"),),
    "peer-hangs-new": (wrong(AT_HD_1, "peer", "peer-hangs", "hd-2 did not answer .*the server of hd-2 hangs"),),
    "peer-hangs-kept": (wrong(AT_HD_1, "peer", "peer-hangs", "hd-2 did not answer .*the server of hd-2 hangs"),),
    "application-down": (wrong(AT_HD_2, "ours", "application-down", "refused.*start it, or check endpoint"),),
    "application-html": (warned(AT_HD_2, "ours", "application-answer", "hd-2.work .*HTML.*endpoint"),),
    "application-crashes": (warned(AT_HD_2, "ours", "application-broke-off", "hd-2.work .*application's log"),),
    "http-proxy-refuses": (wrong(AT_HD_1, "ours", "http-proxy-refuses", "CONNECT.*proxy's rules"),),
    "http-proxy-down": (wrong(AT_HD_1, "ours", "http-proxy-down", "connection refused.*check proxy_url"),),
    "second-server": (warned(AT_HD_2, "ours", "second-server", "two servers of hd-2 .*stop one"),),
    "fingerprint-colons": (well(ALONE, "hd-1.crt is pinned for hd-1"),),
}
"""Of those that ``support.broken_networks`` makes."""


SLOW: dict[str, tuple[Names, ...]] = {
    "token-expired": (
        warned(ALONE, "peer", "token-late", "hd-2 came too late.*server is slow"),
        warned(AT_PROXY, "", "token-late", "no tunnel hd-1 → hd-2.*came too late"),
    ),
    "relay-dropped-a": (
        wrong(AT_HD_1, "ours", "relay-silent", "no answer within.*our firewall: let us out to"),
        wrong(AT_PROXY, "ours", "relay-unreachable", "is not reached from here.*no answer within.*firewall"),
    ),
    "relay-dropped-b": (wrong(AT_HD_2, "ours", "relay-silent", "no answer within.*our firewall: let us out to"),),
    "own-expired-start": (wrong(ALONE, "ours", "own-expired", "own-expired-start.crt: .*has expired.*renew it"),),
    "own-expires-running": (warned(ALONE, "ours", "", "expires in 19 days.*get a new one"),),
    "clock-ahead": (wrong(ALONE, "ours", "own-clock", "our clock is 109[45] days ahead.*set the clock"),),
    "clock-behind": (wrong(ALONE, "ours", "own-clock", "our clock is 2[34] hours behind.*set the clock"),),
    "signer-clock-ahead": (wrong(ALONE, "ours", "own-clock", "our clock is (59|60) minutes ahead.*set the clock"),),
    "state-disk-full": (wrong(ALONE, "ours", "disk-full", "the disk of .* is full.*make room"),),
    "sd-set-back": (
        wrong(ALONE, "directory", "directory-set-back", "set back.*store import"),
        wrong(AT_SD, "ours", "directory-set-back", "the store was set back.*howto-recover-directory"),
    ),
}
"""Of those that ``support.broken_networks_late`` makes."""

DOCTORS = QUICK | SLOW


def who_looks(name: str) -> tuple[Doctor, ...]:
    """Which doctors are run at that network."""
    return tuple(dict.fromkeys(names.doctor for names in DOCTORS[name]))


def named(names: Names, said: Iterable[Says]) -> str | None:
    """How the finding that has these names stands in the report; None: there is none, or one is told to begin with
    another. Where a doctor has no findings, how its command ends."""
    (says,) = [one for one in said if one.doctor == names.doctor]
    if names.mark is Mark.UNKNOWN:
        return says.error if says.code == 2 and re.search(names.says, says.error, re.DOTALL) else None
    found = next((one for one in says.findings if _fits(one, names)), None)
    is_wrong = names.mark is Mark.WRONG
    if found is None or is_wrong != (says.code != 0 and root_of(says.findings) == found):
        return None
    return in_report(found)


def _fits(finding: Finding, names: Names) -> bool:
    if (finding.mark, finding.side, finding.reason) != (names.mark, names.side, names.word):
        return False
    text = f"{finding.what} {finding.why} {finding.fix}"
    return re.search(names.says, text, re.DOTALL) is not None and (finding.mark is Mark.WELL or bool(finding.fix))
