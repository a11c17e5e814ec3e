"""Small files of JSON in a program's state folder: what it learned, or must not forget.

Written all or not at all, and on the disk before the writer goes on; read as far as it can be understood.
"""

import os
from pathlib import Path

import orjson

from eps.core.names import Object
from eps.datastores.private import make_folder, open_private

MAX_BYTES = 1024 * 1024
"""Ten times what the longest of them holds (``core.lifetime.MAX_PROXIES`` proxies). A longer file is not ours."""


def read_state(path: Path, version: int) -> Object:
    """The object in the file; an empty one if there is no file, or it can't be read, or has another ``version``."""
    try:
        with open(open_private(path, os.O_RDONLY), "rb") as file:
            value = orjson.loads(file.read(MAX_BYTES))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and value.get("version") == version else {}


def write_state(path: Path, text: bytes) -> None:
    """Put ``text`` in the file's place. A program that ends meanwhile, or a power cut, leaves the old one whole.

    One writer at a time for each path.

    Raises:
        OSError: it can't be written; the old one is still there.
    """
    make_folder(path.parent)
    aside = path.with_name(path.name + ".new")
    aside.unlink(missing_ok=True)
    with open(open_private(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
