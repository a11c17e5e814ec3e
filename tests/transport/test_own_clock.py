"""A wrong clock is named before any date is, in every text about TLS."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eps.core.clock import Comparisons
from eps.errors import StartError
from eps.reasons import Reason
from eps.transport.handshakes import plain_reason, reason_of_handshake
from eps.transport.own_clock import OWN_CLOCK
from eps.transport.tls import client_context
from support.testing import tls_files

EXPIRED, YOUNG = 10, 9
OFF = "our clock is 3 days ahead of that of sd"


@pytest.fixture
def three_days_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OWN_CLOCK, "comparisons", Comparisons())
    OWN_CLOCK.note("sd", 3 * 86_400.0)


def refused(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "no")
    error.verify_code, error.verify_message = code, "no"
    return error


@pytest.mark.parametrize("code", [EXPIRED, YOUNG])
def test_a_peers_certificate(code: int, three_days_ahead: None) -> None:
    assert plain_reason(refused(code)).startswith(f"{OFF}; by our clock, its certificate ")
    assert reason_of_handshake(refused(code)) is Reason.OWN_CLOCK


def test_what_is_no_matter_of_dates(three_days_ahead: None) -> None:
    assert plain_reason(refused(20)) == "its certificate is not from one of our ca_certificate_files"
    assert reason_of_handshake(refused(20)) is Reason.OWN_CA


def test_a_clock_that_agrees() -> None:
    assert plain_reason(refused(EXPIRED)).startswith("by our clock, its certificate has expired")
    assert reason_of_handshake(refused(EXPIRED)) is Reason.PEER_EXPIRED


def test_the_peer_says_that_ours_has_expired(three_days_ahead: None) -> None:
    error = ssl.SSLError(1, "alert")
    error.reason = "SSLV3_ALERT_CERTIFICATE_EXPIRED"
    assert plain_reason(error) == f"{OFF}; it says that our certificate has expired"


def test_our_own_certificate(three_days_ahead: None) -> None:
    files = tls_files("hd-1")
    with pytest.raises(StartError) as caught:
        client_context(files, now=datetime.now(UTC) + timedelta(days=100_000))
    assert caught.value.message.startswith(f"{OFF}; {files.certificate_file}: the certificate of hd-1 has expired on ")
    assert caught.value.reason is Reason.OWN_CLOCK
    assert "set the clock" in caught.value.hint


def test_other_faults_of_our_files_stay_what_they_are(three_days_ahead: None, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"^/.*: no such file"):
        client_context(tls_files("hd-1", certificate_file=str(tmp_path / "none")))


def test_a_date_that_is_no_date_says_nothing(three_days_ahead: None) -> None:
    OWN_CLOCK.compare("sd", "soon")
    assert OWN_CLOCK.off() == OFF
    OWN_CLOCK.compare("sd", datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"))
    assert OWN_CLOCK.off() == ""
