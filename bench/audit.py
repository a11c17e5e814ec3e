"""What the audit log costs: relayed calls in two networks side by side, at both ends with it, and without."""

import json
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from calls import RELAYED, Cost, Effort, turns
from network import Network, running
from table import Row, Target

from eps.pki import key_pem_of, new_key, write_key

CALLERS = 32
PLACES = ("with", "without")


class Audited(Network):
    """A network whose hd-1 and hd-2 have audit logs."""

    def __init__(self, folder: Path, made: Path) -> None:
        super().__init__(folder, made)
        for role in ("hd-1", "hd-2"):
            secret, key = folder / f"{role}.secret", folder / f"{role}.key"
            write_key(secret, secrets.token_hex(32).encode())
            write_key(key, key_pem_of(new_key(True)))
            audit = {"file": str(folder / f"{role}-audit.log"), "secret_file": str(secret), "key_file": str(key)}
            (self.dev / "roles" / role / "004_audit.json").write_text(json.dumps({"audit": audit}))


async def audit_rows(folder: Path, tree: Path, effort: Effort, tell: Callable[[Row], None]) -> None:
    """Each relayed row, with the audit log beside without."""
    kinds = dict(zip(PLACES, (Audited, Network), strict=True))
    async with AsyncExitStack() as stack:
        loads, costs = {}, {}
        for name, kind in kinds.items():
            (folder / f"audit-{name}").mkdir()
            network = await stack.enter_async_context(running(folder / f"audit-{name}", tree, make=kind))
            loads[name] = await stack.enter_async_context(network.load())
            costs[name] = network.pids
        for method, title in RELAYED.items():
            found: dict[str, list[float]] = {name: [] for name in PLACES}
            cost = {name: Cost(pids) for name, pids in costs.items()}
            for index in range(2 * effort.rounds):
                for name in turns(PLACES, index):
                    with cost[name]:
                        got = await loads[name].ask(seconds=effort.seconds, callers=CALLERS, method=method, params={})
                    if got["failed"]:
                        raise RuntimeError(f"{got['failed']} calls of {method} failed")
                    cost[name].count(got)
                    found[name].append(got["calls"] / got["seconds"])
            used = {name: one.per_call() for name, one in cost.items()}
            more = {f"{role} {PLACES[0]}": used["with"][role] for role in ("hd-1", "hd-2") if role in used["with"]}
            more |= {
                f"{role} {PLACES[1]}": used["without"][role] for role in ("hd-1", "hd-2") if role in used["without"]
            }
            tell(
                Row(
                    name=f"{title}, with audit logs at both ends, {CALLERS} at a time",
                    unit="/s",
                    values=found["with"],
                    beside="without",
                    beside_values=found["without"],
                    targets=(Target(0.95, of_ratio=True),),
                    cpu=more,
                    cpu_unit="µs/call",
                )
            )
