"""Settings of all three programs: from files to frozen models (PROTOCOL.md section 6). Only ``programs`` reads them.

load_eps, load_sd, load_proxy          what programs call
  loader     places, files, $include, $ref
    text       YAML and JSON, with lines, nothing surprising
    variables  vars, $NAME
    node       trees that know their origin; how they merge
  validate   the tree against a model: errors, unknown keys, advice
    models     what can be set: eps_server, service_directory and proxies, and parts, which several of them share
    fields     kinds of values: files, addresses, times
  problems   the one form of errors and warnings
changes    what differs between two readings, and what of it a running program takes over
answers    what was asked for at the terminal, for the second reading
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from eps.errors import SettingsError
from eps.settings.fields import Model
from eps.settings.loader import places_in, read_settings
from eps.settings.models import EpsSettings, ProxySettings, SdSettings
from eps.settings.node import Node, child
from eps.settings.problems import Problem, Severity, describe_problems
from eps.settings.validate import validate
from eps.settings.variables import Prompt, terminal_prompt

__all__ = [
    "PROGRAMS",
    "EpsSettings",
    "Loaded",
    "Problem",
    "Prompt",
    "ProxySettings",
    "SdSettings",
    "Severity",
    "describe_problems",
    "load_eps",
    "load_proxy",
    "load_sd",
    "places_of",
    "read_program",
]

S = TypeVar("S", bound=Model)


@dataclass(frozen=True, slots=True)
class Program:
    """How one of the programs finds its settings.

    Attributes:
        variable: the environment variable that names its files and folders.
        model: what they hold.
        names: where in them the operator's name stands, in the order of preference.
    """

    variable: str
    model: type[Model]
    names: tuple[tuple[str, ...], ...]


PROGRAMS: Mapping[str, Program] = {
    "eps": Program("EPS_SETTINGS", EpsSettings, (("name",),)),
    "sd": Program("SD_SETTINGS", SdSettings, ()),
    "proxy": Program("PROXY_SETTINGS", ProxySettings, (("public", "name"), ("private", "name"))),
}


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """Settings a program can start with.

    Attributes:
        warnings: what the program should log once it can.
    """

    settings: S
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Reading(Generic[S]):
    """What came of reading settings, good or bad: ``settings`` is None if there is an error among the problems."""

    settings: S | None
    tree: Node
    problems: tuple[Problem, ...]
    files: tuple[str, ...]


def load_eps(environment: Mapping[str, str], folder: Path, prompt: Prompt | None = None) -> Loaded[EpsSettings]:
    """The EPS server's settings, from ``EPS_SETTINGS``.

    Args:
        environment: the process's environment.
        folder: the working directory; all relative paths start there.
        prompt: asks for variables with ``source: prompt``; by default at the terminal, if there is one.

    Raises:
        SettingsError: all that is wrong, one line for each problem.
    """
    return _loaded(read_program("eps", EpsSettings, environment, folder, prompt))


def load_sd(environment: Mapping[str, str], folder: Path, prompt: Prompt | None = None) -> Loaded[SdSettings]:
    """The service directory's settings, from ``SD_SETTINGS``. See :func:`load_eps`."""
    return _loaded(read_program("sd", SdSettings, environment, folder, prompt))


def load_proxy(environment: Mapping[str, str], folder: Path, prompt: Prompt | None = None) -> Loaded[ProxySettings]:
    """The proxy's settings, from ``PROXY_SETTINGS``. See :func:`load_eps`."""
    return _loaded(read_program("proxy", ProxySettings, environment, folder, prompt))


def places_of(program: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The files and folders that a program's variable names."""
    return tuple(places_in(PROGRAMS[program].variable, environment))


def _loaded(reading: Reading[S]) -> Loaded[S]:
    errors = [problem for problem in reading.problems if problem.severity is Severity.ERROR]
    if errors or reading.settings is None:
        raise SettingsError(describe_problems(errors))
    return Loaded(reading.settings, reading.problems)


def read_program(
    name: str, model: type[S], environment: Mapping[str, str], folder: Path, prompt: Prompt | None = None
) -> Reading[S]:
    """Read and validate the settings of the program ``name`` (a key of PROGRAMS). Raises nothing for their contents."""
    program = PROGRAMS[name]
    tree, report = read_settings(program.variable, environment, folder, prompt or terminal_prompt())
    settings: S | None = None
    problems = list(report.problems)
    if not report.unreadable:
        default = _default_state_path(name, program, tree, environment)
        given = _text(tree, ("state_path",))
        state_path = folder / (given or default)
        settings, found = validate(model, tree, folder, state_path, {"state_path": default})
        problems += found
    if any(problem.severity is Severity.ERROR for problem in problems):
        settings = None
        others = _whose(name, tree)
        if others and not report.unreadable:
            problems = [_not_ours(name, others, tree)]
    return Reading(settings, tree, tuple(problems), tuple(report.files))


def _default_state_path(name: str, program: Program, tree: Node, environment: Mapping[str, str]) -> str:
    """``$STATE_DIRECTORY`` (systemd may list several there), else ``.eps/NAME`` in the working directory."""
    state_directory = environment.get("STATE_DIRECTORY", "").split(":")[0]
    if state_directory:
        return state_directory
    operator = next((found for way in program.names if (found := _text(tree, way))), name)
    # An operator's EPS server and its proxy have one name, and must not share files.
    return f".eps/{operator}" + ("-proxy" if name == "proxy" else "")


def _whose(name: str, tree: Node) -> str:
    """Which other program's the settings look like, by their keys; empty if they look most like those of ``name``."""
    keys = set(tree.children or {})
    unknown = {other: len(keys - _keys(program.model)) for other, program in PROGRAMS.items()}
    best = min(unknown, key=unknown.__getitem__)
    return best if unknown[best] < unknown[name] else ""


def _keys(model: type[Model]) -> set[str]:
    return {field.alias or key for key, field in model.model_fields.items()}


def _not_ours(name: str, others: str, tree: Node) -> Problem:
    """All else that could be said of another program's settings would only hide this."""
    ours, theirs = PROGRAMS[name].variable, PROGRAMS[others].variable
    hint = f"{ours} must name {name}'s settings; the variable for these is {theirs}"
    return Problem(tree.origin.file or ours, 0, "", f"these look like {others}'s settings, not {name}'s", hint)


def _text(tree: Node, way: tuple[str, ...]) -> str:
    node: Node | None = tree
    for step in way:
        node = child(node, step) if node is not None else None
    return node.value if node is not None and isinstance(node.value, str) else ""
