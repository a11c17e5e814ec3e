"""Where the console scripts begin: Ctrl-C at any moment, also amid imports, ends them quietly."""

import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import entry_points

import pytest

import eps as package
from eps.programs import entry

INTERRUPTED_AT = """
import os, signal, sys
from eps.programs import entry

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            Dying() if how == "amid a destructor" else os.kill(os.getpid(), signal.SIGINT)

class Dying:
    def __del__(self):  # what is raised in here is printed and lost
        os.kill(os.getpid(), signal.SIGINT)

wanted, how, *sys.argv = sys.argv[1:]
sys.meta_path.insert(0, Watch())
getattr(entry, sys.argv[0])()
"""
"""Presses Ctrl-C when a certain module is looked for; argv: that module, how, the program, its arguments."""

WITHOUT_SETTINGS = {name: value for name, value in os.environ.items() if not name.endswith("_SETTINGS")}


def run(*arguments: str, shell: str = "") -> tuple[int, str, str]:
    command = [sys.executable, *arguments]
    done = subprocess.run(
        ["/bin/sh", "-c", f'{shell}; exec "$@"', "sh", *command] if shell else command,
        env=WITHOUT_SETTINGS,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("how", ["amid an import", "amid a destructor"])
@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("eps.programs.eps", "eps server run"),
        ("eps.programs.sd", "sd run"),
        ("eps.programs.proxy", "proxy run public"),
        ("typer", "eps version"),
        ("eps.programs.running.metrics", "sd run"),
        ("eps.programs.wiring.eps", "eps server run"),
        ("eps.programs.wiring.proxy", "proxy run private"),
        ("eps.programs.admin.commands", "eps config check"),
        ("eps.programs.dev.demo", "eps demo"),
    ],
)
def test_ctrl_c_while_it_is_loaded(module: str, command: str, how: str) -> None:
    assert run("-c", INTERRUPTED_AT, module, how, *command.split()) == (130, "", "")


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


def test_where_ctrl_c_was_ignored_it_stays_so() -> None:
    """As in the background jobs of a shell script."""
    done = run("-c", INTERRUPTED_AT, "typer", "amid an import", "eps", "version", shell="trap '' INT")
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
