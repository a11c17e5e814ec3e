"""A wrong clock is named before any date is, in every text about TLS."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eps.core.clock import FORGOTTEN_SECONDS, Comparisons, Moment
from eps.core.event import Level, Notice
from eps.errors import StartError
from eps.reasons import Reason
from eps.transport.handshakes import plain_reason, reason_of_handshake
from eps.transport.own_clock import OWN_CLOCK, ClockNews, OwnClock
from eps.transport.tls import client_context
from support.testing import Events, tls_files

EXPIRED, YOUNG = 10, 9
OFF = "our clock is 3 days ahead of that of sd"


@pytest.fixture
def three_days_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OWN_CLOCK, "comparisons", Comparisons())
    OWN_CLOCK.note("sd", 3.1 * 86_400.0)


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


def test_a_wrong_clock_is_told_when_it_goes_wrong_and_when_it_is_right_again() -> None:
    events, at = Events(), [1_000_000.0, 0.0]
    clock = OwnClock(lambda: Moment(*at))
    news = ClockNews(events, "the service directory", clock)
    news.look()
    clock.note("sd", 3.1 * 86_400.0)
    news.look()
    clock.note("sd", 4 * 86_400.0)
    news.look()
    (wrong,) = events.of(Notice)
    assert wrong.text.startswith(f"{OFF}: certificates will seem")
    assert (wrong.level, wrong.reason, wrong.side) == (Level.WARN, "own-clock", "ours")
    at[1] += FORGOTTEN_SECONDS + 1
    at[0] += FORGOTTEN_SECONDS + 1
    news.look()
    assert events.of(Notice) == [wrong], "nobody has told the time lately: that is no agreement"
    clock.note("sd", 1.0)
    news.look()
    news.look()
    assert events.of(Notice)[1].text == "our clock agrees with that of the service directory again"
    assert len(events.of(Notice)) == 2


def test_a_clock_that_was_set_agrees_again_whatever_was_said_unverified() -> None:
    events, at = Events(), [1_000_000.0, 0.0]
    clock = OwnClock(lambda: Moment(*at))
    news = ClockNews(events, "the service directory", clock)
    clock.note("sd", -3 * 86_400.0, verified=False)
    news.look()
    at[0] += 3 * 86_400.0
    news.look()
    assert [notice.text for notice in events.of(Notice)][1:] == [
        "our clock agrees with that of the service directory again"
    ]


def test_the_same_word_verified_in_the_same_second_counts() -> None:
    at = [1_000_000_000.0, 0.0]
    clock = OwnClock(lambda: Moment(*at))
    clock.compare("sd", "Sun, 09 Sep 2001 01:46:39 GMT", verified=False)
    clock.note("liar", 2 * 86_400.0, verified=False)
    assert clock.off() == (
        "our clock is 2 days ahead of that of liar (not verified), but others agree with it, so it may be theirs that "
        "is wrong"
    )
    clock.compare("sd", "Sun, 09 Sep 2001 01:46:39 GMT")
    assert clock.off() == ""
