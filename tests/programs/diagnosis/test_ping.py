"""Whether an operator is reached."""

from collections.abc import Sequence
from typing import Any

import pytest

from eps.core.message import Error, Response
from eps.errors import Unreachable
from eps.programs.diagnosis.known import Known
from eps.programs.diagnosis.paper import Paper
from eps.programs.diagnosis.ping import Pinged, path_of, ping, rendered, spread
from support.fakes import network_directory

KNOWN = Known(network_directory(), "")
REFUSAL = Error(403, "no", {"stage": "permission", "side": "peer", "outcome": "failed"})
OWN_REFUSAL = Error(403, "no", {"stage": "permission", "side": "ours", "outcome": "not_sent"})


async def pinged(answers: Sequence[Response | Exception]) -> Pinged:
    left = iter(answers)

    async def ask() -> Response:
        answer = next(left)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return await ping("hd-2", "a way", len(answers), ask)


def answer(result: Any = None, error: Error | None = None) -> Response:
    return Response("1", result, error)


@pytest.mark.parametrize(
    ("answers", "version", "answered", "code"),
    [
        ([answer({"version": "1.2"}), answer({"version": "1.2"})], "1.2", 2, 0),
        ([answer({})], "", 1, 0),
        ([answer({"version": "a\nb"})], "", 1, 0),
        ([answer("odd")], "", 1, 0),
        ([answer(error=REFUSAL)], "", 1, 0),
        ([answer(error=OWN_REFUSAL)], "", 0, 403),
        ([answer({"version": "1"}), Unreachable("gone"), answer({})], "1", 1, 500),
        ([answer(error=Error(7, "odd", None))], "", 0, 7),
    ],
    ids=["well", "stream", "ugly", "no object", "refused there", "refused here", "gone", "odd"],
)
async def test_what_comes_of_it(answers: list[Response | Exception], version: str, answered: int, code: int) -> None:
    found = await pinged(answers)
    assert (found.version, len(found.seconds)) == (version, answered)
    assert (found.error.code if found.error is not None else 0) == code


def test_three_lines() -> None:
    found = Pinged("hd-2", path_of(KNOWN, "hd-1", "hd-2"), 3, "0.1.0", (0.0411, 0.0012, 0.0014))
    assert rendered(found, Paper(80)) == (
        "path        hd-1 → hd-2, behind the proxy public-proxy-1.ga\n"
        "version     0.1.0\n"
        "times       3 of 3 answered; min 1.2 ms, median 1.4 ms, max 41.1 ms"
    )
    assert "reached; version not told" in rendered(Pinged("hd-2", "", 1, "", (0.1,)), Paper())
    none = rendered(Pinged("hd-2", "", 1, "", (), REFUSAL), Paper(colour=True))
    assert "not reached" in none
    assert "\x1b[31mnone answered\x1b[0m" in none


@pytest.mark.parametrize(
    ("peer", "says"),
    [
        ("hd-1", "hd-1 is asked by its own applications: nothing leaves its server"),
        ("public-proxy-1.ga", "hd-1 → public-proxy-1.ga, direct, at localhost:5556"),
        ("nobody", "none: nobody is not in the directory"),
    ],
)
def test_the_path(peer: str, says: str) -> None:
    assert path_of(KNOWN, "hd-1", peer) == says


def test_other_paths() -> None:
    down = path_of(KNOWN, "public-proxy-1.ga", "hd-1")
    assert down == "public-proxy-1.ga → hd-1, down the stream that hd-1 holds"
    assert path_of(None, "hd-1", "hd-2").startswith("not known here")


def test_json() -> None:
    found = Pinged("hd-2", "a way", 2, "", (0.5,), REFUSAL).to_json()
    assert found["seconds"] == {"min": 0.5, "median": 0.5, "max": 0.5}
    assert (found["asked"], found["answered"], found["version"]) == (2, 1, None)
    assert found["error"]["code"] == 403
    assert Pinged("hd-2", "", 1, "", (), REFUSAL).to_json()["seconds"] is None
    assert spread([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)
