"""ClientHellos for tests and fuzzing: the recorded corpus, hellos built by hand or at random, and OpenSSL's opinion."""

import json
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "hellos"
CORPUS = FOLDER / "hellos.jsonl"

Extension = tuple[int, bytes]

GREASE = [0x0A0A + 0x1010 * step for step in range(16)]
"""RFC 8701: values that mean nothing, and may stand wherever a list of values may grow."""

SERVER_NAME, STATUS_REQUEST, GROUPS, SIGNATURES, ALPN, PADDING, KEY_SHARE = 0, 5, 10, 13, 16, 21, 51
X25519, X25519MLKEM768 = 29, 0x11EC


@dataclass(frozen=True, slots=True)
class Hello:
    """A line of the corpus.

    Attributes:
        client: the program with its version, or ``generated``.
        how: the options that made it.
        name: the server name that the client was told to send, in lower case and without a final dot; empty for none.
        stream: what the client sent before the server answered.
        size: bytes of it up to the hello's end.
        refused: why ours must not accept it; empty for most.
    """

    client: str
    how: str
    name: str
    stream: bytes
    size: int
    refused: str = ""


def corpus() -> list[Hello]:
    """The recorded and the generated hellos."""
    rows = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    return [
        Hello(row["client"], row["how"], row["name"], bytes.fromhex(row["hex"]), row["size"], row.get("refused", ""))
        for row in rows
    ]


# By hand


def vector(width: int, content: bytes) -> bytes:
    """``content`` behind its length (RFC 8446, section 3.4)."""
    return len(content).to_bytes(width, "big") + content


def server_names(*names: tuple[int, bytes]) -> Extension:
    """A ``server_name`` extension with these (type, name) pairs."""
    return SERVER_NAME, vector(2, b"".join(bytes([kind]) + vector(2, name) for kind, name in names))


def host(name: str) -> Extension:
    """A ``server_name`` extension as clients send it."""
    return server_names((0, name.encode()))


def message(
    extensions: Sequence[Extension] | None,
    *,
    version: bytes = b"\x03\x03",
    random: bytes = bytes(32),
    session_id: bytes = b"",
    suites: bytes = b"\x13\x01\x13\x02",
    compression: bytes = b"\0",
    behind: bytes = b"",
) -> bytes:
    """A ClientHello with its handshake header. None for ``extensions`` leaves out the whole block."""
    body = version + random + vector(1, session_id) + vector(2, suites) + vector(1, compression)
    if extensions is not None:
        body += vector(2, b"".join(kind.to_bytes(2, "big") + vector(2, data) for kind, data in extensions))
    return b"\x01" + vector(3, body + behind)


def record(fragment: bytes, *, kind: int = 22, version: bytes = b"\x03\x01") -> bytes:
    """A TLS record."""
    return bytes([kind]) + version + vector(2, fragment)


def records(whole: bytes, *cuts: int, version: bytes = b"\x03\x01") -> bytes:
    """``whole`` in records, cut at these positions."""
    edges = [0, *cuts, len(whole)]
    return b"".join(record(whole[a:b], version=version) for a, b in pairwise(edges))


def hello(*extensions: Extension) -> bytes:
    """A ClientHello with these extensions in one record."""
    return record(message(extensions))


def unframed(stream: bytes) -> bytes:
    """The handshake message in ``stream``'s records."""
    whole, position = b"", 0
    while len(whole) < 4 or len(whole) < 4 + int.from_bytes(whole[1:4], "big"):
        length = int.from_bytes(stream[position + 3 : position + 5], "big")
        whole += stream[position + 5 : position + 5 + length]
        position += 5 + length
    return whole


# At random


LETTERS = "abcdefghijklmnopqrstuvwxyz"


def random_name(rng: Random) -> str:
    """A host name of 1 to 253 characters, in mixed case."""
    length = rng.choice((1, 5, 12, 25, 25, 60, 253))
    labels: list[str] = []
    while (left := length - len(".".join(labels)) - bool(labels)) > 0:
        size = min(left, rng.randint(1, 63))
        labels.append(
            rng.choice(LETTERS) + "".join(rng.choices(LETTERS + LETTERS.upper() + "0123456789-_", k=size - 1))
        )
    return ".".join(labels)


def _values(rng: Random, values: Sequence[int], number: int) -> bytes:
    chosen = rng.sample(values, min(number, len(values)))
    if rng.random() < 0.5:
        chosen.insert(rng.randint(0, len(chosen)), rng.choice(GREASE))
    return vector(2, b"".join(value.to_bytes(2, "big") for value in chosen))


def _key_share(rng: Random) -> bytes:
    shares = [(X25519, 32)]
    if rng.random() < 0.5:
        shares.insert(rng.randint(0, 1), (X25519MLKEM768, 1216))
    if rng.random() < 0.5:
        shares.insert(0, (rng.choice(GREASE), 1))
    return vector(2, b"".join(group.to_bytes(2, "big") + vector(2, rng.randbytes(size)) for group, size in shares))


def _ech_grease(rng: Random) -> bytes:
    """An outer encrypted_client_hello extension that encrypts nothing (RFC 9849, section 6.2)."""
    payload = rng.randbytes(rng.choice((144, 176, 208, 240)))
    return b"\0\0\1\0\1" + rng.randbytes(1) + vector(2, rng.randbytes(32)) + vector(2, payload)


def _protocols(rng: Random) -> bytes:
    names = [b"h2", b"http/1.1", b"acme-tls/1", rng.randbytes(2), *(b"p%d" % n for n in range(rng.choice((1, 100))))]
    rng.shuffle(names)
    return vector(2, b"".join(vector(1, name) for name in names))


def _other(rng: Random) -> list[Extension]:
    known = [
        (STATUS_REQUEST, b"\1\0\0\0\0"),
        (GROUPS, _values(rng, [29, 23, 24, 25, 30, X25519MLKEM768, 256, 257], rng.randint(1, 8))),
        (11, b"\1\0"),
        (SIGNATURES, _values(rng, [0x403, 0x503, 0x603, 0x804, 0x805, 0x806, 0x807, 0x401, 0x501], rng.randint(3, 9))),
        (ALPN, _protocols(rng)),
        (18, b""),
        (PADDING, bytes(rng.choice((0, 7, 300, 2000)))),
        (22, b""),
        (23, b""),
        (27, b"\2\0\2"),
        (35, rng.randbytes(rng.choice((0, 0, 200)))),
        (43, b"\4\3\4\3\3" if rng.random() < 0.5 else b"\6" + rng.choice(GREASE).to_bytes(2, "big") + b"\3\4\3\3"),
        (45, b"\1\1"),
        (KEY_SHARE, _key_share(rng)),
        (0x44CD, b"\0\3\2h2"),
        (0xFE0D, _ech_grease(rng)),
        (0xFF01, b"\0"),
    ]
    if rng.random() < 0.5:
        known.append((rng.choice(GREASE), rng.randbytes(rng.choice((0, 1)))))
    chosen = rng.sample(known, rng.randint(0, len(known)))
    unknown = rng.sample(range(0x5000, 0x6000), rng.choice((0, 0, 1, 30)))
    return chosen + [(kind, rng.randbytes(rng.choice((0, 5, 50)))) for kind in unknown]


def random_hello(rng: Random) -> tuple[bytes, str]:
    """A valid hello, in records, and the server name in it as it stands there; empty for none."""
    name = random_name(rng) if rng.random() < 0.85 else ""
    extensions = _other(rng)
    if name:
        extensions.append(host(name))
    rng.shuffle(extensions)
    bare = not extensions and rng.random() < 0.5
    suites = _values(rng, [0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC030, 0x9C, 0x2F, 0xA], rng.randint(1, 9))[2:]
    whole = message(
        None if bare else extensions,
        version=rng.choice((b"\3\3", b"\3\3", b"\3\2", b"\3\1")),
        random=rng.randbytes(32),
        session_id=rng.randbytes(rng.choice((0, 32, 32, 7))),
        suites=suites,
        compression=rng.choice((b"\0", b"\0", b"\1\0")),
    )
    cuts = sorted(rng.sample(range(1, len(whole)), rng.choice((0, 0, 1, 2, 10))))
    return records(whole, *cuts, version=rng.choice((b"\3\1", b"\3\3"))), name


# OpenSSL's opinion


def openssl_server_name(stream: bytes) -> str | None:
    """The server name that OpenSSL reads in ``stream``, "" if it finds none.

    None if it gives up before it knows, or if the name is not ASCII, which Python can't hand on.
    """
    seen: list[str] = []

    def note(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> int:
        seen.append(name or "")
        return ssl.ALERT_DESCRIPTION_ACCESS_DENIED

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = note
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(stream)
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None  # told of names that are not ASCII
    try:
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    except ssl.SSLError:
        pass
    finally:
        sys.unraisablehook = hook
    return seen[0] if seen else None
