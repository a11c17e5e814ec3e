"""What ``import eps.client`` loads, which every program that calls pays for."""

import subprocess
import sys

HEAVY = ("pydantic", "aiohttp", "asyncio", "cryptography", "yaml", "eps.settings", "eps.transport", "eps.programs",
         "opentelemetry", "multiprocessing")  # fmt: skip

LIGHT = """
import sys
import eps.client
heavy = [name for name in sys.modules if name.startswith(tuple(sys.argv[1:]))]
assert not heavy, heavy
ours = [name for name in sys.modules if name.startswith("eps")]
others = [name for name in sys.modules if name.partition(".")[0] not in sys.stdlib_module_names | {"eps", "__main__"}]
print(len(ours), sorted(others))
"""


def run(program: str, *arguments: str) -> str:
    """What a fresh interpreter prints, which runs nothing at its start but the standard library's own."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_nothing_heavy_is_loaded() -> None:
    number, others = run(LIGHT, *HEAVY).split(" ", 1)
    assert int(number) <= 33, "modules of ours; a new one needs a reason"
    assert "h11" not in others and "orjson" not in others and "jiter" not in others


def test_the_asynchronous_client_is_loaded_by_who_asks_for_it() -> None:
    asked = "import sys, eps.client; eps.client.AsyncClient; eps.client.AsyncOperator; print('aiohttp' in sys.modules)"
    assert run(asked) == "True\n"
    assert run("import eps.client\ntry: eps.client.Nothing\nexcept AttributeError as error: print(error)").startswith(
        "module 'eps.client' has no"
    )
