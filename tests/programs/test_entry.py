"""Where the console scripts begin: Ctrl-C and SIGTERM at any moment, also amid imports, end them quietly."""

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import eps as package
from eps.programs import entry

INTERRUPTED_AT = """
import os, signal, sys
from eps.programs import entry

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            Dying() if how == "amid a destructor" else os.kill(os.getpid(), number)

class Dying:
    def __del__(self):  # what is raised in here is printed and lost
        os.kill(os.getpid(), number)

number = signal.Signals[sys.argv[1]]
wanted, how, *sys.argv = sys.argv[2:]
sys.meta_path.insert(0, Watch())
getattr(entry, sys.argv[0])()
"""
"""Sends itself a signal when a module is looked for; argv: the signal, the module, how, the program, its arguments."""

WITHOUT_SETTINGS = {name: value for name, value in os.environ.items() if not name.endswith("_SETTINGS")}


def run(*arguments: str, shell: str = "", starter: Sequence[str] = ()) -> tuple[int, str, str]:
    command = [*starter, sys.executable, *arguments]
    done = subprocess.run(
        ["/bin/sh", "-c", f'{shell}; exec "$@"', "sh", *command] if shell else command,
        env=WITHOUT_SETTINGS,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


AMID = pytest.mark.parametrize("how", ["amid an import", "amid a destructor"])
LOADING = pytest.mark.parametrize(
    ("module", "command"),
    [
        ("eps.programs.direct", "eps server run"),
        ("eps.programs.eps", "eps version"),
        ("eps.programs.sd", "sd version"),
        ("eps.programs.proxy", "proxy version"),
        ("eps.programs.serving", "sd run"),
        ("typer", "eps version"),
        ("eps.programs.running.metrics", "sd run"),
        ("eps.programs.wiring.eps", "eps server run"),
        ("eps.programs.wiring.proxy", "proxy run private"),
        ("eps.programs.admin.commands", "eps config check"),
        ("eps.programs.dev.demo", "eps demo"),
    ],
)


@AMID
@LOADING
def test_ctrl_c_while_it_is_loaded(module: str, command: str, how: str) -> None:
    assert run("-c", INTERRUPTED_AT, "SIGINT", module, how, *command.split()) == (130, "", "")


@AMID
@LOADING
def test_sigterm_while_it_is_loaded(module: str, command: str, how: str) -> None:
    """It dies of the signal, as programs do that know nothing of it: a clean end for systemd, 143 for a shell."""
    assert run("-c", INTERRUPTED_AT, "SIGTERM", module, how, *command.split()) == (-signal.SIGTERM, "", "")


PROCESS_1 = [
    "unshare",
    "--pid",
    "--fork",
    "--kill-child",
    *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
]
"""Runs what follows as process 1, as in a container."""


def has_namespaces() -> bool:
    try:
        return subprocess.run([*PROCESS_1, "true"], capture_output=True, timeout=20).returncode == 0
    except OSError:
        return False


as_process_1 = pytest.mark.skipif(not has_namespaces(), reason="this machine does not let us have a PID namespace")


@as_process_1
@AMID
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
@LOADING
def test_process_1_while_it_is_loaded(module: str, command: str, name: str, code: int, how: str) -> None:
    """Nobody else could end it: the kernel keeps signals without a handler from process 1."""
    assert run("-c", INTERRUPTED_AT, name, module, how, *command.split(), starter=PROCESS_1) == (code, "", "")


WAITING = """
import sys
from eps.programs import entry, eps
from eps.programs.cli import guarded
from eps.programs.running.runtime import run

async def wait():
    import asyncio
    print(flush=True)
    await asyncio.sleep(60)

@eps.app.command()
def wait_in_a_loop():
    guarded(lambda: run(wait()))

@eps.app.command()
def wait_for_input():
    print(flush=True)
    guarded(lambda: print(sys.stdin.read()))

entry.eps()
"""


@as_process_1
@pytest.mark.parametrize("command", ["wait-in-a-loop", "wait-for-input"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_process_1_at_work(command: str, number: signal.Signals, code: int) -> None:
    """A command that waits, ended from outside."""
    with subprocess.Popen([*PROCESS_1, sys.executable, "-c", WAITING, command], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=WITHOUT_SETTINGS) as outer:  # fmt: skip
        assert outer.stdout is not None and outer.stderr is not None
        assert outer.stdout.readline() == b"\n"
        (inner,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        os.kill(int(inner), number)
        assert outer.wait(20) == code
        assert outer.stderr.read() == b""


@pytest.mark.parametrize("program", ["eps", "sd", "proxy"])
def test_the_console_scripts_begin_here(program: str) -> None:
    (script,) = entry_points(group="console_scripts", name=program)
    assert script.load() is getattr(entry, program)


def test_ctrl_c_before_it_is_caught() -> None:
    code = """
from eps.programs import entry
def getsignal(number):
    raise KeyboardInterrupt
entry.signal.getsignal = getsignal
entry.eps()
"""
    assert run("-c", code) == (130, "", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_where_a_signal_was_ignored_it_stays_so(name: str) -> None:
    """As in the background jobs of a shell script."""
    done = run("-c", INTERRUPTED_AT, name, "typer", "amid an import", "eps", "version", shell=f"trap '' {name[3:]}")
    assert done == (0, f"{package.__version__}\n", "")


ASKING = """
import getpass
from eps.programs import entry, eps
from eps.programs.cli import guarded

@eps.app.command()
def ask():
    guarded(lambda: getpass.getpass("password: "))

entry.eps()
"""


def test_ctrl_c_at_a_prompt_leaves_the_terminal_as_it_was() -> None:
    """What is typed was not shown, and must be again."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", ASKING, "ask"], stdin=theirs, stdout=theirs, stderr=theirs,
                          env=WITHOUT_SETTINGS, start_new_session=True) as asking:  # fmt: skip
        said = b""
        while b"password: " not in said:
            said += os.read(ours, 1000)
        assert not termios.tcgetattr(theirs)[3] & termios.ECHO
        asking.send_signal(signal.SIGINT)
        asking.wait(20)
    assert termios.tcgetattr(theirs)[3] & termios.ECHO
    os.close(theirs)
    with suppress(OSError):  # Linux' word for the end of a terminal
        while part := os.read(ours, 1000):
            said += part
    os.close(ours)
    assert (asking.returncode, said.strip()) == (130, b"password:")


@pytest.fixture
def quiet() -> Iterator[None]:
    """Ctrl-C as the console scripts have it."""
    before = signal.signal(signal.SIGINT, entry.leave)
    yield
    signal.signal(signal.SIGINT, before)


def test_work_can_be_interrupted(quiet: None) -> None:
    with pytest.raises(KeyboardInterrupt), entry.interruptible():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is entry.leave


def test_who_starts_it_otherwise_decides_about_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGINT)
    with entry.interruptible():
        assert signal.getsignal(signal.SIGINT) is before


def test_the_package_has_a_version_and_nothing_more() -> None:
    assert package.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="has no attribute 'versions'"):
        package.versions  # noqa: B018
