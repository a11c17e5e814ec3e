"""How an operator is taken out of the directory (PROTOCOL.md section 4). Pure.

Entries can't be taken out, only emptied; and one section must not be: where ``certificates`` is empty, nothing is
pinned for the name any more, and whatever certificate names it an administrator may sign records again, an old one too.
So a ``signing`` pin stays behind that no certificate can have.
"""

from eps.core.entries import Entry
from eps.core.names import Fingerprint, Object
from eps.core.record import SECTIONS

NOBODYS_PIN = Fingerprint("0" * 64)
"""No certificate has this SHA-256."""

_ONLY_PIN = [{"fingerprint": str(NOBODYS_PIN), "key_usage": "signing"}]


def is_removed(entry: Entry) -> bool:
    """Whether nothing is left of an operator but that pin."""
    others = any(getattr(entry, section) for section in SECTIONS if section != "certificates")
    return not others and [one.to_json() for one in entry.certificates] == _ONLY_PIN


def removal(entry: Entry) -> list[Object]:
    """The change records that remove an operator; none, if it is removed already.

    The pins go first: a service directory of others may store a batch in part.
    """
    if is_removed(entry):
        return []
    emptied = [section for section in SECTIONS if section != "certificates" and getattr(entry, section)]
    records: list[Object] = [{"name": entry.name, "section": "certificates", "data": _ONLY_PIN}]
    return records + [{"name": entry.name, "section": section, "data": []} for section in emptied]
