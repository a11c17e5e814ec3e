"""Finding the root that is to be accepted by hand."""

from typing import Any

import pytest

from eps.core.message import Error, Response
from eps.core.names import Object
from eps.errors import RecordError, Unreachable
from eps.programs.admin.directory_calls import DirectoryCalls
from eps.programs.admin.records import present_directory
from eps.programs.admin.roots import find_root
from support.record_tools import ADMIN, NOW, as_json, chain_of, signer, trust

CHAIN = chain_of(3)


async def find(*answers: Any) -> Any:
    """Service directories that answer so."""

    async def call(index: int, method: str, params: Object) -> Response:
        assert (method, params) == ("getRecords", {"after": ""})
        answer = answers[index]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Response) else Response("1", answer)

    return await find_root(CHAIN[0].hash, [f"sd-{i}" for i in range(len(answers))], call, trust(), NOW)


async def test_the_one_that_shows_it_is_found_among_others() -> None:
    found = await find(Unreachable("down"), None, as_json(chain_of(1, name="x")), as_json(CHAIN))
    assert found.root == (CHAIN[0].hash, ADMIN.subject.fingerprint)
    text = f"signed by admin with certificate {ADMIN.subject.fingerprint}; 3 records of 3 operators"
    assert str(found).endswith(text)


async def test_nobody_shows_it() -> None:
    unverified = as_json([*CHAIN[:1], *chain_of(1, parent=CHAIN[0].hash, by=signer("eve", ()))])
    error = Response("1", error=Error(-32603, "out of order"))
    with pytest.raises(RecordError, match="no service directory shows a usable chain") as caught:
        await find(Unreachable("down"), {}, "<html>", [1], error, unverified)
    for part in ("sd-0: down", "it is empty", "not a list", "records[0]", "out of order", "sd-admin"):
        assert part in caught.value.message


async def test_the_same_hash_by_two_signers() -> None:
    other = signer("admin")
    with pytest.raises(RecordError, match="is shown with different signers") as caught:
        await find(as_json(CHAIN), as_json(chain_of(2, by=other)))
    assert other.subject.fingerprint in caught.value.message
    assert "--signer" in caught.value.hint


async def test_what_a_reset_would_replace() -> None:
    async def call(answer: Any) -> str:
        async def one(method: str, params: Object) -> Response:
            return Response("1", answer)

        return await present_directory(DirectoryCalls(one))

    assert await call(None) == ""
    assert (await call(as_json(CHAIN))).startswith("3 records of 3 operators, from 2026-")
    assert await call([1, 2]) == "2 records, not all of which can be read"
