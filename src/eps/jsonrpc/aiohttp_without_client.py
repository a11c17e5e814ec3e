"""aiohttp's server without its client.

Whoever imports a part of aiohttp imports its ``__init__``, and that the whole client, which nobody here uses: 3 MiB and
a tenth of a second of each start. So ``__init__`` waits until somebody asks for something that is in none of the parts.

Called where this room begins (``eps.jsonrpc``), before any part is imported.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """A package whose ``__init__`` has not run."""

    def __getattr__(self, name: str) -> Any:
        """A part, or what ``__init__`` has: it runs for that, once."""
        if name == "__version__":
            return version_of(self.__name__)
        if name.startswith("__"):  # what a module may have; nobody wants the client for that
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        part = f"{self.__name__}.{name}"
        if find_spec(part) is not None:
            return import_module(part)
        self.__class__ = ModuleType  # type: ignore[assignment]  # an ordinary one from here on
        spec = self.__spec__
        assert spec is not None and spec.loader is not None, "it was made of one"
        spec.loader.exec_module(self)
        return getattr(self, name)


def version_of(name: str) -> str:
    """Of a package as it was installed."""
    from importlib.metadata import version  # here: it takes long, and only servers need it

    return version(name)


def postpone(name: str) -> None:
    """Let that package's ``__init__`` wait, unless it is there. It must do no more than import what is in its parts."""
    spec = find_spec(name) if name not in sys.modules else None
    if spec is not None:
        package = module_from_spec(spec)
        package.__class__ = _Package
        sys.modules[name] = package
