"""ForeignSd: a service directory as those in use (sections 4 and 9, «Directory»)."""

import re
import ssl
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509

from support.foreign.messages import Object
from support.foreign.records import SECTIONS, entries_of, is_genuine, newest_chain
from support.foreign.rpc import ForeignRpcServer, RpcCall, RpcError

_HASH = re.compile(r"[0-9a-f]{64}")
_DIGITS = re.compile(r"[0-9]{10,100}")


class ForeignSd:
    """A service directory in memory.

    Tests may put any list of signed records into ``records``: it is served as it is.

    Args:
        issuers: certificates of which one must have issued a signer's leaf.

    Attributes:
        records: all chains, oldest first.
        checks_parents: refuse what does not continue the tip (those in use: not).
        stores_in_part: of a refused batch, what came before the bad record stays (those in use: yes).
        accepts_older_roots: a root need not be newer than the present one (those in use: yes).
        keeps: what is stored of a record that is submitted (those in use: what they know).
        fails: every call is answered with this error, while it is set.
    """

    checks_parents = False
    stores_in_part = True
    accepts_older_roots = True
    fails: RpcError | None = None

    def __init__(self, issuers: Sequence[x509.Certificate] = (), context: ssl.SSLContext | None = None) -> None:
        self.records: list[Object] = []
        self._issuers = issuers
        self.keeps: Callable[[Object], Object] = known_parts
        self._lock = threading.Lock()
        self.rpc = ForeignRpcServer(self._handle, context)

    @property
    def endpoint(self) -> str:
        return self.rpc.endpoint

    def _handle(self, call: RpcCall) -> Any:
        if self.fails is not None:
            raise self.fails
        methods = {
            "getRecords": self._get_records,
            "getTip": lambda params: self._tip(),
            "getEntries": lambda params: entries_of(self.records),
            "getEntry": self._get_entry,
            "submitRecords": self._submit,
        }
        method = methods.get(call.method)
        if method is None:
            raise RpcError(-32601, "method not found")
        with self._lock:
            return method(call.params)

    def _tip(self) -> Object | None:
        chain = newest_chain(self.records)
        return chain[-1] if chain else None

    def _get_records(self, params: Object) -> list[Object]:
        chain = newest_chain(self.records)
        hashes = [record["hash"] for record in chain]
        after = params.get("after", "")
        return chain[hashes.index(after) + 1 :] if after in hashes else chain

    def _get_entry(self, params: Object) -> Object:
        for entry in entries_of(self.records):
            if entry["name"] == params.get("name"):
                return entry
        raise RpcError(404, "entry not found")

    def _submit(self, params: Object) -> str:
        records = params.get("records")
        if not isinstance(records, list) or not all(_well_formed(record) for record in records):
            raise RpcError(-32602, "invalid params")
        before = list(self.records)
        for record in records:
            try:
                self._check(record)
            except RpcError:
                if not self.stores_in_part:
                    self.records = before
                raise
            self.records.append(self.keeps(record))
        return "ok"

    def _check(self, record: Object) -> None:
        if not is_genuine(record, self._issuers):
            raise RpcError(-32603, "invalid record")
        chain = newest_chain(self.records)
        if record.get("parent_hash"):
            if self.checks_parents and (not chain or record["parent_hash"] != chain[-1]["hash"]):
                raise RpcError(-32603, "stale record")
        elif chain and not self.accepts_older_roots and _created(record) <= _created(chain[0]):
            raise RpcError(-32603, "the root is not newer")

    def close(self) -> None:
        self.rpc.close()


def known_parts(record: Object) -> Object:
    """A signed record without keys of its signature that servers in use don't know."""
    return {**record, "signature": {key: record["signature"][key] for key in ("r", "s", "c")}}


def _created(record: Object) -> datetime:
    return datetime.fromisoformat(record["record"]["created_at"])


def _well_formed(value: Any) -> bool:
    try:
        record, signature = value["record"], value["signature"]
        return bool(
            _HASH.fullmatch(value["hash"])
            and (not value.get("parent_hash") or _HASH.fullmatch(value["parent_hash"]))
            and _DIGITS.fullmatch(signature["r"])
            and _DIGITS.fullmatch(signature["s"])
            and isinstance(record["name"], str)
            and record["section"] in SECTIONS
            and datetime.fromisoformat(record["created_at"])
        )
    except (KeyError, TypeError, ValueError):
        return False
