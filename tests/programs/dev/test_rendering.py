"""What the demo shows, as text."""

import json
from typing import Any

from eps.programs.dev.rendering import HOLD, compact, render_step, ripe_steps, shortened
from support.testing import step_line as step

NOW = 1_800_000_000.0


def numbers(lines: list[dict[str, Any]]) -> list[int]:
    return [line.get("step", 0) for line in lines]


def test_steps_are_held_back_until_their_turn() -> None:
    old, new = NOW - HOLD - 0.001, NOW - HOLD / 2
    assert numbers(ripe_steps([step(1, old), step(2, new)], 0, NOW)) == [1]
    assert numbers(ripe_steps([step(6, old - 0.001), step(5, old)], 4, NOW)) == [5, 6]
    assert numbers(ripe_steps([step(6, old)], 4, NOW)) == []  # step 5 may still be on its way
    assert numbers(ripe_steps([step(6, old)], 4, NOW + HOLD)) == [6]  # but not for ever
    assert numbers(ripe_steps([step(4, old, operator="p"), step(4, old)], 4, NOW)) == [4, 4]
    assert numbers(ripe_steps([step(0, old)], 6, NOW)) == [0]
    assert ripe_steps([], 0, NOW) == []


def test_a_step_in_one_line_or_on_a_terminal() -> None:
    line = step(4, NOW + 0.0123, "connected to public-proxy-1.ga at localhost:9999 and sent the token")
    assert render_step(line, NOW).plain == (
        "  4    12.3 ms  hd-1               connected to public-proxy-1.ga at localhost:9999 and sent the token"
    )
    rows = render_step(line, NOW, 80).plain.splitlines()
    assert rows == [
        "  4    12.3 ms  hd-1               connected to public-proxy-1.ga at",
        "                                   localhost:9999 and sent the token",
    ]
    assert len(render_step(line, NOW, 10).plain.splitlines()) > 2  # narrower than sense: it goes on all the same
    assert render_step(step(0, NOW, operator="x"), NOW).plain.startswith("  ·     0.0 ms  x ")


def test_the_answer_is_shortened_to_what_people_look_for() -> None:
    answer = {
        "version": "1",
        "params": {"_client": {"entry": {"name": "hd-1"}, "name": "hd-1"}, "x": 1},
        "serverInfo": {
            "settings": [],
            "records": [{}, {}],
            "certificates": [{}],
            "channels": [{"settings": None, "type": "grpc_client"}],
            "services": [{"name": "internals", "permissions": [], "methods": []}],
            "name": "hd-2",
            "properties": {"displayName": ""},
        },
    }
    assert json.dumps(shortened(answer), ensure_ascii=False) == (
        '{"serverInfo": {"name": "hd-2", "services": ["internals"], "channels": [{"type": "grpc_client"}], '
        '"records": "… 2 signed records", "certificates": "… 1 certificates"}, "version": "1", '
        '"params": {"_client": {"name": "hd-1", "entry": "… its directory entry"}, "x": 1}}'
    )
    assert shortened("text") == "text"
    assert shortened([1, {"a": ""}]) == [1, {}]


def test_compact_json_is_json() -> None:
    value = {"short": [1, 2], "long": ["x" * 50, "y" * 50], "deep": {"a": {"b": ["z" * 80]}}, "empty": {}}
    text = compact(value, width=60)
    assert json.loads(text) == value
    assert '  "short": [1, 2]' in text
    assert compact(7) == "7"
    assert compact([]) == "[]"
