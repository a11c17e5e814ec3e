"""The recorded vectors, for tests."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "vectors"


def load(name: str) -> Any:
    """The JSON value in ``vectors/NAME``."""
    return json.loads((FOLDER / name).read_text())


def pem(name: str) -> bytes:
    """The bytes of ``vectors/NAME``."""
    return (FOLDER / name).read_bytes()
