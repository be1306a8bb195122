"""Writes what the contracts measure into the package: `python -m tests.measured_gas`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chargera.ledger.evm.chain import engine_maker
from chargera.ledger.evm.machine import Machine
from chargera.ledger.evm.transaction import parse
from chargera.ledger.hedera.cost import GAS_FILE
from tests.settlement_workload import Timed, Workload

SNAPSHOTS = Path("contracts/snapshots")
START_S = 1_772_366_400
ROWS: Mapping[str, Sequence[str]] = {
    "ChargerPassport": ("confirm",),
    "SettlementHub": (
        "claim",
        "open, first",
        "open, steady",
        "register a passport",
        "settle, fiat EUR, 20 passports, steady",
        "settle, fiat EUR, 48 passports, steady",
        "settle, wallet C4E, 48 passports, steady",
        "settle, wallet EUR, 20 passports, steady",
        "transfer of shares, 1 asset, new holder",
        "withdrawFor",
    ),
}
BATCHES = ((1, 1), (48, 1), (48, 48))
"""Sessions and passports of the batches that are measured: gas is linear in both."""
ABOUT = (
    "gas as measured; snapshots: rows of contracts/snapshots; batches (fiat, three signatures) and"
    " deployment: what the embedded EVM used; written by python -m tests.measured_gas"
)


def measured() -> dict[str, Any]:
    """Return the file's content, measured anew."""
    runs = {(sessions, passports): run(sessions, passports) for sessions, passports in BATCHES}
    return {
        "about": ABOUT,
        "snapshots": {
            contract: {name: int(_snapshot(contract)[name]) for name in names}
            for contract, names in ROWS.items()
        },
        "batches": [
            {"sessions": sessions, "passports": passports} | batch
            for (sessions, passports), (_, batch) in runs.items()
        ],
        "deployment": runs[BATCHES[0]][0],
    }


def run(sessions: int, passports: int) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the gas of each step of a deployment, and of a first and of a second batch."""
    work = Workload(298, START_S, passports=passports, batches=2, leaves=sessions)
    machine = Machine(work.chain_id, engine_maker("auto"))
    begun = _gas(machine, work.setting_up)
    proposed, settled = _gas(machine, work.proposing), _gas(machine, work.settling)
    steps = [
        {"step": step.label, "gas": gas} for step, gas in zip(work.plan.steps, begun, strict=False)
    ]
    batch = {"propose": proposed[1], "settle_first": settled[0], "settle": settled[1]}
    return steps, batch


def _gas(machine: Machine, part: Sequence[Timed]) -> list[int]:
    receipts = [machine.execute(parse(sent.raw), sent.time).receipt for sent in part]
    assert all(receipt.succeeded for receipt in receipts)
    return [receipt.gas_used for receipt in receipts]


def _snapshot(contract: str) -> Mapping[str, str]:
    rows: Mapping[str, str] = json.loads((SNAPSHOTS / f"{contract}.json").read_text())
    return rows


if __name__ == "__main__":
    GAS_FILE.write_text(json.dumps(measured(), indent=1) + "\n")
