"""The directory as it is: asked of the service directory and verified, or else our server's verified copy.

asked     what the service directory shows must go on from what our server has verified
the copy  where nobody can be asked, or where that is wanted; it may lag behind
"""

from dataclasses import dataclass

from eps.core.chain import Chain
from eps.core.entries import Directory
from eps.core.wording import counted
from eps.errors import EpsError
from eps.programs.admin.commands import directory_of, own_server
from eps.programs.admin.plan import asked_chain
from eps.programs.admin.recovery import copy_of
from eps.programs.wiring.parts import now
from eps.settings import EpsSettings


@dataclass(frozen=True, slots=True)
class Present:
    """A directory that was verified, and where it is from.

    Attributes:
        source: in words, for whoever reads what is shown.
        warning: why it is not what was asked for; "" if it is.
    """

    chain: Chain
    source: str
    warning: str = ""

    @property
    def directory(self) -> Directory:
        return self.chain.directory


async def present_directory(settings: EpsSettings, *, only_copy: bool, copy_will_do: bool = True) -> Present:
    """The directory as it is.

    Args:
        only_copy: ask nobody.
        copy_will_do: where nobody can be asked.

    Raises:
        EpsError: the service directory can't be reached or isn't believed, and there is no copy.
    """
    if only_copy:
        return _copied(await copy_of(settings))
    own = await own_server(settings, reset=False, warn=_quiet)
    try:
        async with directory_of(settings) as calls:
            chain = await asked_chain(calls, own, now())
    except EpsError as error:
        if own.verified is None or not copy_will_do:
            raise
        return _copied(own.verified, f"{error.message}; what our server verified last is used")
    alone = "" if own.verified is not None else "; not compared with a copy of our own, since there is none"
    return Present(chain, f"from the service directory, verified here: {_extent(chain)}{alone}")


def _quiet(text: str) -> None:
    """That there is no copy is said with the source."""


def _copied(chain: Chain, warning: str = "") -> Present:
    return Present(chain, f"from our server's verified copy: {_extent(chain)}", warning)


def _extent(chain: Chain) -> str:
    if not chain.records:
        return "it is empty"
    return f"{counted(len(chain.records), 'record')}, up to {chain.tip[:12]} of {chain.records[-1].record.created_at}"
