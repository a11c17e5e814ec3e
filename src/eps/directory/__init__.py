"""The signed directory of the network, both ends of it: who keeps it, and where an EPS server has it from.

``api`` follows a service directory and verifies every record; ``json_files`` reads unsigned ones (for tests).
Both give the same thing: an immutable ``core.entries.Directory`` that is replaced whole when something changes.

service      keeps the chain of signed records; behind the sd program's JSON-RPC server
stored       its records in the store, which other service directories may continue; pages: as it gives them out
api          what was verified last, kept (cache) and told (reports), asked anew again and again (pace)
rounds       one question: who is asked (endpoints: several service directories), whose answer is believed (slices:
             verified without holding up the event loop; of many, on all processors: inspection, by inspector)
sealing      vouches at the next start for what was verified at this one
callers      what it says of the certificates at the EPS server's JSON-RPC port
trusted_roots  new roots that were accepted by hand
rules, keeping  what a service directory says that it takes and keeps, and which of them drop canonical signatures
findings     what is said about records that are believed, but not as they should be
confirmed    when what is known was confirmed last, and what follows when that is too long ago
high_water   tells a service directory that its store was set back
json_files   reads files; ``eps sd submit-records`` reads its files here, too
"""

from typing import Protocol

from eps.core.entries import Directory
from eps.errors import EpsError


class DirectorySource(Protocol):
    """What broker and channels know of a directory. They read ``current`` and never keep it across a wait."""

    @property
    def current(self) -> Directory:
        """The last verified state; empty before the first one."""
        ...

    @property
    def verified(self) -> Directory:
        """The last verified state, also where it is too old to be used; empty before the first one."""
        ...

    async def loaded(self) -> bool:
        """Wait until what was verified before the start is read; False if that takes too long."""
        ...

    def as_of(self) -> str:
        """How old the state is, for messages about pins; "" if it can't grow old."""
        ...

    def too_old(self) -> str:
        """Why nothing in it counts, its age being what it is; "" while it does."""
        ...

    def failing(self) -> EpsError | None:
        """Why no service directory gives an answer of use at present; None while one does."""
        ...

    async def start(self) -> None:
        """Load what was verified before and begin to follow; never waits for the service directory."""
        ...

    async def refresh(self) -> None:
        """Ask for news now: at most once a second, shared by all who ask at the same time, bounded by a deadline.

        Never raises because the service directory is down: ``current`` simply stays.
        """
        ...

    async def changed(self, seen: Directory) -> Directory:
        """Wait until ``current`` is another object than ``seen``, then give it."""
        ...

    async def close(self) -> None:
        """End all that ``start`` began."""
        ...
