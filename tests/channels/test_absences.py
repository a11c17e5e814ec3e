"""Why an operator holds no stream to us."""

from eps.channels.absences import REMEMBERED_SECONDS, REPLACED_OFTEN, REPLACED_SECONDS, TOLD_EVERY, Absences
from eps.core.names import Operator
from eps.errors import Side, Stage
from eps.reasons import Reason
from support.testing import FakeClock

B, P = Operator("hd-2"), Operator("p")


def test_an_operator_whose_certificate_was_refused_is_told_as_that_for_a_while() -> None:
    clock = FakeClock()
    absences = Absences(clock)
    assert absences.why(B, P) is None
    absences.refused(("hd-2", "*.hd-2.local"), "the directory pins certificate ab for none of its names")
    why = absences.why(B, P)
    assert why is not None
    assert why.message == (
        "hd-2 is not connected: p refuses its certificate: the directory pins certificate ab for none of its names"
    )
    assert (why.reason, why.side, why.stage, why.final) == (Reason.PEER_PIN, Side.PEER, Stage.BROKER, False)
    absences.came(B)
    assert absences.why(B, P) is None
    absences.refused(("hd-2",), "no")
    clock.advance(REMEMBERED_SECONDS + 1)
    assert absences.why(B, P) is None


def test_streams_that_replace_each_other_are_told_now_and_then() -> None:
    clock = FakeClock()
    absences = Absences(clock)
    first = [absences.replaced(B) for _ in range(REPLACED_OFTEN + 2)]
    assert first == [False] * (REPLACED_OFTEN - 1) + [True, False, False]
    clock.advance(TOLD_EVERY)
    assert [absences.replaced(B) for _ in range(REPLACED_OFTEN)] == [False] * (REPLACED_OFTEN - 1) + [True]


def test_a_restart_now_and_then_is_none() -> None:
    clock = FakeClock()
    absences = Absences(clock)
    for _ in range(20):
        clock.advance(REPLACED_SECONDS)
        assert not absences.replaced(B)
