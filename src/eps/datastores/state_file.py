"""Small files of JSON in a program's state folder: what it learned, or must not forget.

Written all or not at all, and on the disk before the writer goes on; read as far as it can be understood.
"""

import os
from pathlib import Path

import orjson

from eps.core.names import Object

MAX_BYTES = 1024 * 1024
"""Ten times what the longest of them holds (``core.lifetime.MAX_PROXIES`` proxies). A longer file is not ours."""


def read_state(path: Path, version: int) -> Object:
    """The object in the file; an empty one if there is no file, or it can't be read, or has another ``version``."""
    try:
        with path.open("rb") as file:
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
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".new")
    with aside.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
