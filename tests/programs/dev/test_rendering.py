"""What the demo shows, as text."""

from eps.programs.dev.rendering import in_order, render_step
from support.testing import step_line as step

NOW = 1_800_000_000.0


def test_steps_come_in_their_order() -> None:
    logged = [step(6, NOW), step(5, NOW + 0.001), step(1, NOW - 0.1), step(4, NOW - 0.01, operator="p"), step(4, NOW)]
    assert [(line["step"], line["operator"]) for line in in_order(logged)] == [
        (1, "hd-1"), (4, "p"), (4, "hd-1"), (5, "hd-1"), (6, "hd-1"),
    ]  # fmt: skip
    assert in_order([]) == []


def test_what_a_tls_client_causes_ends_in_the_joining() -> None:
    logged = [step(0, NOW, "joined tls:x and b"), step(0, NOW + 0.01, "b has connected"), step(0, NOW - 0.01, "asks")]
    assert [line["text"] for line in in_order(logged)] == ["asks", "b has connected", "joined tls:x and b"]


def test_a_step_is_whole_at_60_columns() -> None:
    line = step(4, NOW + 0.0123, "connected to public-proxy-1.ga at localhost:9999 and sent the token")
    assert render_step(line, NOW, 60).plain.splitlines() == [
        "  4    12.3 ms  hd-1",
        "       connected to public-proxy-1.ga at localhost:9999 and",
        "       sent the token",
    ]


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
