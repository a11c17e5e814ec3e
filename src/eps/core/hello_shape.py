"""What two ClientHellos have in common that are asked for another one in the same words (RFC 8446, section 4.1.4).

A server that wants a share for another group says so with a HelloRetryRequest. In that is nothing but what it chooses
from the lists in the hello, and the hello's session id. So for all hellos of one program the answer is the same but for
that id, and can be remembered: random numbers and the shares' keys, in which those hellos differ, have no part in it.
Pure.
"""

_RANDOM = slice(11, 43)
"""Behind the heads of record and message, and a version; in a ServerHello, too (sections 4.1.2 and 4.1.3)."""

_SESSION_ID = 43
_KEY_SHARE = 51
_RANDOM_WHOLLY = frozenset((41, 42, 44))
"""Extensions that are of one hello only: pre_shared_key, early_data, cookie."""


def hello_shape(hello: bytes) -> bytes | None:
    """``hello``, one whole record, without what has no part in the answer; None if it is better not remembered."""
    try:
        return _shape(hello)
    except IndexError:
        return None


def with_session_id_of(hello: bytes, answer: bytes) -> bytes:
    """The ``answer`` to another hello of the same shape, as it is to this one."""
    begin, end = _SESSION_ID + 1, _behind_session_id(hello)
    return answer[:begin] + hello[begin:end] + answer[end:]


def _behind_session_id(hello: bytes) -> int:
    return _SESSION_ID + 1 + hello[_SESSION_ID]


def _shape(hello: bytes) -> bytes | None:
    begin = _behind_session_id(hello)
    at = begin + 2 + _number(hello, begin)  # behind the ciphers
    at += 1 + hello[at]  # behind the ways to compress
    end = at + 2 + _number(hello, at)
    if end != len(hello) or end != 5 + _number(hello, 3):
        return None
    at += 2
    parts = [hello[: _RANDOM.start], hello[_SESSION_ID : _SESSION_ID + 1], hello[begin:at]]
    while at < end:
        kind, size = _number(hello, at), _number(hello, at + 2)
        if kind in _RANDOM_WHOLLY:
            return None
        body = hello[at + 4 : at + 4 + size]
        parts += [hello[at : at + 4], _groups(body) if kind == _KEY_SHARE else body]
        at += 4 + size
    return b"".join(parts) if at == end else None


def _groups(shares: bytes) -> bytes:
    """The shares without their keys."""
    at, parts = 2, [shares[:2]]
    while at < len(shares):
        parts.append(shares[at : at + 4])
        at += 4 + _number(shares, at + 2)
    return b"".join(parts)


def _number(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
