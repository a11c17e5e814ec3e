"""A peer's errors, as they are told to our own callers."""

from typing import Any

import pytest

from eps.channels.peers import from_peer
from eps.core.message import Error, Response


def passed_on(code: int, data: Any) -> Any:
    error = from_peer(Response("1", error=Error(code, "m", data))).error
    assert error is not None and (error.code, error.message) == (code, "m")
    return error.data


@pytest.mark.parametrize("code", [7, 404, 500, -32601])
@pytest.mark.parametrize("data", [{}, None, 0, "", [], "text", {"side": "ours"}, {"hint": "x"}])
def test_an_application_s_own_error_stays_as_it_is(code: int, data: Any) -> None:
    assert passed_on(code, data) == data


def test_what_a_server_calls_its_own_side_is_the_peer_s() -> None:
    data = {"stage": "call", "side": "ours", "outcome": "failed", "hint": "mend it"}
    assert passed_on(500, data) == {**data, "side": "peer"}


def test_a_missing_right_of_which_a_server_says_no_more_failed_there() -> None:
    assert passed_on(403, {}) == {"stage": "permission", "side": "peer", "outcome": "failed"}
    assert passed_on(403, ["theirs"]) == ["theirs"]


def test_an_answer_without_an_error_stays_as_it_is() -> None:
    response = Response("1", {"side": "ours"})
    assert from_peer(response) is response
