"""channels/stdout: prints a line and answers."""

import io
import json
import os
import threading

import pytest

from eps.channels.stdout import StdoutChannel
from eps.core.address import Address
from eps.core.message import Request, Response
from eps.core.names import Operator
from eps.errors import NotSent

HD_1 = Operator("hd-1")
REQUEST = Request(Address(HD_1, "add", "1"), {"text": "ü\n"})


async def test_a_request_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    channel = StdoutChannel(HD_1)
    assert channel.way_to(HD_1) == channel.deliver
    assert channel.way_to(Operator("hd-2")) is None
    for _ in range(2):
        assert await channel.deliver(REQUEST, HD_1, 5) == Response("hd-1.add(1)", {"message": "submitted"})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    expected = {"jsonrpc": "2.0", "method": "hd-1.add", "params": {"text": "ü\n"}, "id": "hd-1.add(1)"}
    assert json.loads(lines[1]) == expected
    await channel.close()


async def test_a_closed_stream_is_an_error() -> None:
    stream = io.StringIO()
    stream.close()
    with pytest.raises(NotSent, match="can't be printed") as caught:
        await StdoutChannel(HD_1, stream).deliver(REQUEST, HD_1, 5)
    assert caught.value.data()["side"] == "ours"


async def test_a_pipe_that_nobody_reads_blocks_only_its_own_calls() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "r") as reader, os.fdopen(writing, "w") as writer:
        channel = StdoutChannel(HD_1, writer)
        large = Request(REQUEST.address, {"text": "x" * 200_000})  # more than a pipe holds
        for _ in range(3):
            with pytest.raises(NotSent, match="nobody reads it"):
                await channel.deliver(large, HD_1, 0.05)
        assert len([thread for thread in threading.enumerate() if thread.name == "stdout"]) == 1
        drained = threading.Thread(target=lambda: [reader.readline() for _ in range(2)])
        drained.start()
        assert (await channel.deliver(REQUEST, HD_1, 5)).result == {"message": "submitted"}
        drained.join()
