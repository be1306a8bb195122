"""Settlements per CPU second: our chain with journal and database, raw pyrevm, anvil.

    python -m benchmarks ledger [--batches N] [--leaves N ...] [--rounds N] [--json] [--output FILE]

One list of signed transactions, made before anything is measured, runs on all of them: the shipped
contracts, 20 passports, batches of 48 fiat sessions with three attesters' signatures, proposed
and, after their window, settled. A settlement is one session through both. Who sends a transaction
ends with its receipt and logs: which sessions of a batch were paid is told there alone. What the
receipts of ours and of anvil say (success, gas, logs) is compared, and what each has settled.

CPU is counted by the kernel: for ours of this process and all of PostgreSQL (fsync on), for anvil
of its process and of the client that sends JSON-RPC batches of 50, mines them and asks for the
block's receipts. Raw pyrevm checks no signature and keeps nothing: the limit; what of it goes into
handing over the call data (pyrevm copies it byte by byte) is told apart. All run once a round,
the cheapest round of each counts.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyrevm

from benchmarks.machine import machine
from benchmarks.processes import cpu_of_tree, database_cpu_s
from chargera.app.chain_ports import ContractLog, Receipt
from chargera.app.clock import SystemEntropy
from chargera.cli.serve import GC_NEW_OBJECTS
from chargera.ledger.abi import interface
from chargera.ledger.evm.chain import EmbeddedChain
from chargera.ledger.evm.machine import Machine
from chargera.ledger.evm.revm import RevmEngine
from chargera.ledger.evm.transaction import parse
from chargera.proofs.chain_values import address_text, operator_word
from chargera.store import migrate
from chargera.store.chain import LEASE_KEY, PostgresChainJournal, PostgresSnapshots
from chargera.store.connection import UNLIMITED, connect
from chargera.store.log import PostgresLease
from chargera.store.postgres import EmbeddedPostgres
from chargera.store.unit_of_work import Database
from tests.settlement_workload import GAS, OPERATOR_ID, Timed, Workload
from tests.tools.anvil import Anvil, anvil_program, running_anvil

BAR = 5.0
"""Times anvil's settlements per CPU second, in batches of as many sessions as are usual."""
USUAL_LEAVES = 48
START_S = 1_790_000_000
CHAIN_ID = 1 << 47 | 41
BATCH_CALLS = 50
RESULT = Path(__file__).parent / "results" / "ledger.json"
WORD_BITS = 256


@dataclass(frozen=True, slots=True)
class Spent:
    """What the measured part cost, in CPU seconds and on the clock."""

    cpu_s: float
    wall_s: float
    database_cpu_s: float = 0.0
    client_cpu_s: float = 0.0
    handing_over_cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a receipt tells its sender."""

    succeeded: bool
    gas_used: int
    logs: tuple[ContractLog, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What a contender spent and did."""

    spent: Spent
    settled: int
    said: tuple[Said, ...] = ()


class MovedClock:
    """The time of the transaction that is sent next."""

    def __init__(self) -> None:
        self.time_s = START_S

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time_s, UTC)


class KnownId:
    """Entropy that makes each round's chain the one that the transactions are signed for."""

    def bytes(self, size: int) -> bytes:
        return CHAIN_ID.to_bytes(size)


# Ours ------------------------------------------------------------------------------------------


async def ours(workload: Workload) -> Run:
    """Run on the embedded chain over PostgreSQL."""
    clock = MovedClock()
    with tempfile.TemporaryDirectory(prefix="c-") as folder, EmbeddedPostgres(Path(folder)) as own:
        async with AsyncExitStack() as stack:
            async with await connect(own.url(), limits=UNLIMITED) as connection:
                await migrate.apply(connection)
            database = Database(own.url(), clock, SystemEntropy())
            await database.open()
            stack.push_async_callback(database.close)
            chain = await EmbeddedChain.open(
                PostgresChainJournal(database),
                PostgresSnapshots(database),
                PostgresLease(own.url(), LEASE_KEY),
                clock,
                KnownId(),
            )
            stack.push_async_callback(chain.close)
            for sent in workload.setting_up:
                clock.time_s = sent.time
                await chain.send_raw(sent.raw)
            receipts: list[Receipt] = []
            _spare_what_stays()
            database_before = database_cpu_s(os.getpid())
            before, began_s = time.process_time(), time.monotonic()
            for time_s, batch in _batches(workload):
                clock.time_s = time_s
                receipts += await asyncio.gather(*(_sent(chain, sent.raw) for sent in batch))
            own_cpu_s, wall_s = time.process_time() - before, time.monotonic() - began_s
            database_s = database_cpu_s(os.getpid()) - database_before
            answers = [
                await chain.call(workload.contracts["SettlementHub"], data)
                for data in _settled_words(workload)
            ]
            said = tuple(Said(each.succeeded, each.gas_used, each.logs) for each in receipts)
            spent = Spent(own_cpu_s + database_s, wall_s, database_cpu_s=database_s)
            return Run(spent, _settled(answers), said)


async def _sent(chain: EmbeddedChain[Any], raw: bytes) -> Receipt:
    receipt = await chain.receipt(await chain.send_raw(raw))
    assert receipt is not None, "it was acknowledged"
    return receipt


# Raw pyrevm ------------------------------------------------------------------------------------


def raw(workload: Workload) -> Run:
    """Run message calls on a bare EVM that starts from the same contracts."""
    prepared = Machine(workload.chain_id, RevmEngine)
    for sent in workload.setting_up:
        prepared.execute(parse(sent.raw), sent.time)
    engine = RevmEngine(workload.chain_id)
    engine.apply(prepared.state.content())
    evm = engine._evm  # noqa: SLF001  # the limit is the engine without what is ours
    parts = [[parse(sent.raw) for sent in part] for part in _parts(workload)]
    _spare_what_stays()
    before, began_s = time.process_time(), time.monotonic()
    for part, requests in zip(_parts(workload), parts, strict=True):
        evm.set_block_env(
            pyrevm.BlockEnv(number=9, timestamp=part[0].time, gas_limit=GAS, prevrandao=bytes(32))
        )
        for request in requests:
            assert request.to is not None
            evm.reset_transient_storage()
            evm.message_call(
                f"0x{request.sender.hex()}", f"0x{request.to.hex()}", request.data, gas=GAS
            )
    cpu_s, wall_s = time.process_time() - before, time.monotonic() - began_s
    hub = f"0x{workload.contracts['SettlementHub'].hex()}"
    answers = [evm.message_call(f"0x{'00' * 20}", hub, data) for data in _settled_words(workload)]
    empty, nobody = pyrevm.EVM(spec_id="CANCUN"), f"0x{'11' * 20}"
    before = time.process_time()
    for request in (request for requests in parts for request in requests):
        empty.message_call(nobody, nobody, request.data)
    handing_over_s = time.process_time() - before
    return Run(Spent(cpu_s, wall_s, handing_over_cpu_s=handing_over_s), _settled(answers))


# anvil -----------------------------------------------------------------------------------------


def anvil(program: str, workload: Workload) -> Run:
    """Run in blocks of as many transactions as one JSON-RPC batch has."""
    options = ("--no-mining", "--prune-history")
    with running_anvil(
        program, workload.chain_id, START_S - 1, *options, gas_limit=GAS * BATCH_CALLS
    ) as node:
        for setting_up in _by_time(workload.setting_up):
            _mine(node, setting_up[0].time, setting_up)
        said: list[Said] = []
        _spare_what_stays()
        before, client_before = cpu_of_tree(node.pid), time.process_time()
        began_s = time.monotonic()
        for time_s, batch in _batches(workload):
            said += map(_told, _mine(node, time_s, batch))
        client_s = time.process_time() - client_before
        spent_s = cpu_of_tree(node.pid).since(before).total
        wall_s = time.monotonic() - began_s
        call = {"to": address_text(workload.contracts["SettlementHub"])}
        answers = [
            bytes.fromhex(node.ask("eth_call", call | {"data": f"0x{data.hex()}"}, "latest")[2:])
            for data in _settled_words(workload)
        ]
        spent = Spent(spent_s + client_s, wall_s, client_cpu_s=client_s)
        return Run(spent, _settled(answers), tuple(said))


def _mine(node: Anvil, time_s: int, part: Sequence[Timed]) -> list[dict[str, Any]]:
    """Send transactions in one batch, make one block of them, return its receipts."""
    node.ask("evm_setNextBlockTimestamp", time_s)
    sent = node.batch([("eth_sendRawTransaction", [f"0x{each.raw.hex()}"]) for each in part])
    assert all("result" in answer for answer in sent), sent
    node.ask("evm_mine")
    receipts: list[dict[str, Any]] = node.ask("eth_getBlockReceipts", "latest")
    assert len(receipts) == len(part), "the block does not hold the whole batch"
    return receipts


def _told(receipt: dict[str, Any]) -> Said:
    return Said(
        receipt["status"] == "0x1",
        int(receipt["gasUsed"], 16),
        tuple(
            ContractLog(
                bytes.fromhex(log["address"][2:]),
                tuple(bytes.fromhex(topic[2:]) for topic in log["topics"]),
                bytes.fromhex(log["data"][2:]),
            )
            for log in receipt["logs"]
        ),
    )


def _by_time(setting_up: Sequence[Timed]) -> list[list[Timed]]:
    times = sorted({sent.time for sent in setting_up})
    return [[sent for sent in setting_up if sent.time == at] for at in times]


# All of them -----------------------------------------------------------------------------------


def _spare_what_stays() -> None:
    """Have the garbage collector look at what is new alone, and seldom, as the server has it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_NEW_OBJECTS, 20, 50)


def _parts(workload: Workload) -> tuple[Sequence[Timed], Sequence[Timed]]:
    return workload.proposing, workload.settling


def _batches(workload: Workload) -> Iterator[tuple[int, Sequence[Timed]]]:
    """Return what is sent at once, and when: no two blocks of anvil have the same second."""
    for part in _parts(workload):
        for first in range(0, len(part), BATCH_CALLS):
            yield part[0].time + first // BATCH_CALLS, part[first : first + BATCH_CALLS]


def _settled_words(workload: Workload) -> list[bytes]:
    """Return calls for the bits of all numbers of the lane."""
    function = interface("SettlementHub").function("settledWord")
    asset = address_text(workload.contracts["TestEuro"])
    words = range(workload.sessions // WORD_BITS + 1)
    return [function.encode([operator_word(OPERATOR_ID), asset, word]) for word in words]


def _settled(answers: Sequence[bytes]) -> int:
    return sum(int.from_bytes(answer).bit_count() for answer in answers)


def compare(leaves: int, batches: int, rounds: int, program: str | None) -> dict[str, Any]:
    """Return the figures of all for batches of `leaves` sessions, side by side."""
    workload = Workload(CHAIN_ID, START_S, batches=batches, leaves=leaves)
    runs: dict[str, list[Run]] = {}
    for _ in range(rounds):
        runs.setdefault("chargera", []).append(asyncio.run(ours(workload)))
        runs.setdefault("pyrevm, bare", []).append(raw(workload))
        if program is not None:
            runs.setdefault("anvil", []).append(anvil(program, workload))
    assert {run.settled for each in runs.values() for run in each} == {workload.sessions}
    assert len({run.said for each in runs.values() for run in each if run.said}) == 1
    best = {name: min((run.spent for run in each), key=_cpu) for name, each in runs.items()}
    rates = {name: round(workload.sessions / spent.cpu_s) for name, spent in best.items()}
    print(f"batches of {leaves}", file=sys.stderr)
    for name, rate in rates.items():
        print(f"  {name:14} {rate:8} settlements per CPU second", file=sys.stderr)
    gas = sum(said.gas_used for said in runs["chargera"][0].said)
    return {
        "leaves": leaves,
        "batches": batches,
        "settlements": workload.sessions,
        "gas_a_transaction": gas // (2 * batches),
        "per_cpu_s": rates,
        "ms_a_transaction": {name: _per_transaction(each, batches) for name, each in best.items()},
        "spent": {name: asdict(spent) for name, spent in best.items()},
    }


def _cpu(spent: Spent) -> float:
    return spent.cpu_s


def _per_transaction(spent: Spent, batches: int) -> dict[str, float]:
    """Return the parts of what a transaction cost, in milliseconds of CPU."""
    parts = {name: value for name, value in asdict(spent).items() if name.endswith("cpu_s")}
    return {
        name.removesuffix("_s"): round(value * 1_000 / (2 * batches), 3)
        for name, value in parts.items()
        if value
    }


def run(leaves: Sequence[int], batches: int, rounds: int) -> dict[str, Any]:
    """Return all figures, and whether the bar is met."""
    program = anvil_program()
    if program is None:
        print("anvil is missing (npm ci --prefix contracts): nothing to compare", file=sys.stderr)
    compared = [compare(count, batches, rounds, program) for count in leaves]
    bars = []
    for figures in compared:
        rates = figures["per_cpu_s"]
        if figures["leaves"] != USUAL_LEAVES or "anvil" not in rates:
            continue
        ratio = round(rates["chargera"] / rates["anvil"], 2)
        met = ratio >= BAR
        print(f"times anvil {ratio} >= {BAR} {'ok' if met else 'MISSED'}", file=sys.stderr)
        bars.append({"name": "times anvil", "value": ratio, "bar": BAR, "met": met})
    return {"machine": machine(), "rounds": rounds, "compared": compared, "bars": bars}


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table on stderr and with `--json` the figures; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks ledger", description=__doc__)
    parser.add_argument("--batches", type=int, default=200, help="batches of each size")
    parser.add_argument("--leaves", type=int, nargs="+", default=[USUAL_LEAVES, 1], help="sizes")
    parser.add_argument("--rounds", type=int, default=3, help="runs of which the best counts")
    parser.add_argument("--json", action="store_true", help="print the figures on stdout")
    parser.add_argument("--output", type=Path, default=RESULT, help="where they are written")
    options = parser.parse_args(arguments)
    result = run(options.leaves, options.batches, options.rounds)
    text = json.dumps(result, indent=2)
    if options.json:
        print(text)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(text + "\n")
    return 0 if all(bar["met"] for bar in result["bars"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
