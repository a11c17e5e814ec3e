"""Files and folders that only the user who runs a program may read: stores, caches, locks, what was learned.

What is made here is private from its first moment on, whatever the umask says. What is there already, from before or
from a server in use, is made so where it is ours alone; whoever else has to do with it (another owner, a group that
shares a store, a folder like /tmp) keeps it, and the start says so. The last step of a path is never a link: somebody
who may write into the folder would say by it which file we write to.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

FOLDER, FILE = 0o700, 0o600
"""What others may not do, they can't be tricked into telling."""

GROUP = 0o070
"""A group's rights, which a shared store keeps: its programs may run as several users."""


def make_folder(folder: Path) -> list[Path]:
    """``mkdir -p``; what of it is new is private, and returned, outermost first.

    Raises:
        OSError: it can't be made.
    """
    if folder.is_dir():
        return []
    made = make_folder(folder.parent)
    folder.mkdir(FOLDER, exist_ok=True)
    return [*made, folder]


def open_private(path: str | os.PathLike[str], flags: int, *, shared: bool = False) -> int:
    """A descriptor of a file, which is made private; one that is missing is made if ``flags`` say so.

    Raises:
        OSError: it can't be opened; ``ELOOP``: it is a link; ``EINVAL``: a pipe, which nobody is waited for at.
    """
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, FILE)
    found = os.fstat(file)
    if stat.S_ISFIFO(found.st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it is a pipe, and no file", str(path))
    wanted = _wanted(found, shared)
    if wanted is not None:
        with suppress(OSError):  # a file system without rights
            os.fchmod(file, wanted)
    if flags & os.O_CREAT and os.geteuid() == 0 and not found.st_size:
        _give_away(file, path)
    return file


def _give_away(file: int, path: str | os.PathLike[str]) -> None:
    """Give a new file to whom its folder belongs: a command that root gave must not lock the program's user out."""
    owner = os.stat(os.path.dirname(os.path.abspath(path)))
    with suppress(OSError):
        os.fchown(file, owner.st_uid, owner.st_gid)


def narrow(path: Path, *, shared: bool = False) -> None:
    """Make a file private that something else opens; nothing if it is missing.

    It is not opened: closing it would take away the locks that this process has on it.

    Raises:
        OSError: ``ELOOP``: it is a link.
    """
    try:
        place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        found = os.fstat(place)
        if stat.S_ISLNK(found.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        wanted = _wanted(found, shared)
        if wanted is not None:
            with suppress(OSError):
                os.chmod(f"/proc/self/fd/{place}", wanted)
    finally:
        os.close(place)


def _wanted(found: os.stat_result, shared: bool) -> int | None:
    """The rights that a file of ours should have; None: those that it has, or it is none of ours."""
    rights = stat.S_IMODE(found.st_mode)
    wanted = rights & (FILE | GROUP if shared else FILE)
    ours = found.st_uid == os.geteuid() and stat.S_ISREG(found.st_mode)
    return wanted if ours and wanted != rights else None


def doubt_of_folder(folder: Path) -> str:
    """Make a state folder private; why it isn't, "" if it is, or is not there yet.

    A group that may write there keeps that: so programs of several users share a store.
    """
    try:
        found = os.stat(folder)
    except OSError:
        return ""  # whoever uses it says so
    rights = stat.S_IMODE(found.st_mode)
    wanted = rights & ~0o007 if rights & stat.S_IWGRP else rights & ~0o077
    if rights == wanted:
        return ""
    if found.st_uid == os.geteuid() and not rights & stat.S_ISVTX:
        with suppress(OSError):
            os.chmod(folder, wanted)
            return ""
    return f"{folder}: other users of this machine may look into this folder, or change it (mode {rights:04o})"
