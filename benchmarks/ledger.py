"""Settlements per CPU second: our chain with journal and database, raw pyrevm, anvil.

    python -m benchmarks ledger [--batches N] [--json] [--output FILE]

One list of signed transactions, made before anything is measured, runs on all of them: the shipped
contracts, 20 passports, batches of 48 fiat sessions with three attesters' signatures, proposed
and, after their window, settled. A settlement is one session through both. CPU is counted by the
kernel: for ours of this process and all of PostgreSQL (fsync on), for anvil of its process and of
the client that sends JSON-RPC batches of 50. Raw pyrevm checks no signature and keeps nothing: the
limit. What each has done at the end is compared.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyrevm

from benchmarks.machine import machine
from benchmarks.processes import cpu_of_tree
from chargera.app.clock import SystemEntropy
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
"""Times anvil's settlements per CPU second."""
START_S = 1_790_000_000
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

    def rate(self, settlements: int) -> int:
        """Return settlements per CPU second."""
        return round(settlements / self.cpu_s)


class MovedClock:
    """The time of the transaction that is sent next."""

    def __init__(self) -> None:
        self.time_s = START_S

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time_s, UTC)


# Ours ------------------------------------------------------------------------------------------


async def ours(batches: int, leaves: int) -> tuple[Spent, int, Workload]:
    """Run on the embedded chain over PostgreSQL; return what it cost and what is settled."""
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
                SystemEntropy(),
            )
            stack.push_async_callback(chain.close)
            workload = Workload(chain.chain_id, START_S, batches=batches, leaves=leaves)
            for sent in workload.setting_up:
                clock.time_s = sent.time
                await chain.send_raw(sent.raw)
            before, began_s = cpu_of_tree(os.getpid()), time.monotonic()
            for part in (workload.proposing, workload.settling):
                clock.time_s = part[0].time
                await asyncio.gather(*(chain.send_raw(sent.raw) for sent in part))
            spent = cpu_of_tree(os.getpid()).since(before)
            wall_s = time.monotonic() - began_s
            answers = [
                await chain.call(workload.contracts["SettlementHub"], data)
                for data in _settled_words(workload)
            ]
            return Spent(spent.total, wall_s, spent.database), _settled(answers), workload


# Raw pyrevm ------------------------------------------------------------------------------------


def raw(workload: Workload) -> tuple[Spent, int]:
    """Run message calls on a bare EVM that starts from the same contracts."""
    prepared = Machine(workload.chain_id, RevmEngine)
    for sent in workload.setting_up:
        prepared.execute(parse(sent.raw), sent.time)
    engine = RevmEngine(workload.chain_id)
    engine.apply(prepared.state.content())
    evm = engine._evm  # noqa: SLF001  # the limit is the engine without what is ours
    parts = [[parse(sent.raw) for sent in part] for part in _parts(workload)]
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
    spent = Spent(time.process_time() - before, time.monotonic() - began_s)
    hub = f"0x{workload.contracts['SettlementHub'].hex()}"
    answers = [evm.message_call(f"0x{'00' * 20}", hub, data) for data in _settled_words(workload)]
    return spent, _settled(answers)


# anvil -----------------------------------------------------------------------------------------


def anvil(program: str, workload: Workload) -> tuple[Spent, int]:
    """Run in blocks of as many transactions as one JSON-RPC batch has."""
    options = ("--no-mining", "--prune-history")
    with running_anvil(
        program, workload.chain_id, START_S - 1, *options, gas_limit=GAS * BATCH_CALLS
    ) as node:
        for part in _by_time(workload.setting_up):
            _mine(node, part)
        before, client_before, began_s = cpu_of_tree(node.pid), _own_cpu_s(), time.monotonic()
        for part in _parts(workload):
            for first in range(0, len(part), BATCH_CALLS):
                _mine(node, part[first : first + BATCH_CALLS], step_s=first // BATCH_CALLS)
        spent = cpu_of_tree(node.pid).since(before).total
        client = _own_cpu_s() - client_before
        wall_s = time.monotonic() - began_s
        call = {"to": address_text(workload.contracts["SettlementHub"])}
        answers = [
            bytes.fromhex(node.ask("eth_call", call | {"data": f"0x{data.hex()}"}, "latest")[2:])
            for data in _settled_words(workload)
        ]
        return Spent(spent + client, wall_s, client_cpu_s=client), _settled(answers)


def _mine(node: Anvil, part: Sequence[Timed], step_s: int = 0) -> None:
    """Send transactions in one batch, and make one block of them."""
    node.ask("evm_setNextBlockTimestamp", part[0].time + step_s)
    sent = node.batch([("eth_sendRawTransaction", [f"0x{each.raw.hex()}"]) for each in part])
    assert all("result" in answer for answer in sent), sent
    node.ask("evm_mine")
    last = node.ask("eth_getTransactionReceipt", sent[-1]["result"])
    assert last is not None, "the block does not hold the whole batch"
    assert last["status"] == "0x1"


def _by_time(setting_up: Sequence[Timed]) -> list[list[Timed]]:
    times = sorted({sent.time for sent in setting_up})
    return [[sent for sent in setting_up if sent.time == at] for at in times]


def _own_cpu_s() -> float:
    return time.process_time()


# All of them -----------------------------------------------------------------------------------


def _parts(workload: Workload) -> tuple[Sequence[Timed], Sequence[Timed]]:
    return workload.proposing, workload.settling


def _settled_words(workload: Workload) -> list[bytes]:
    """Return calls for the bits of all numbers of the lane."""
    function = interface("SettlementHub").function("settledWord")
    asset = address_text(workload.contracts["TestEuro"])
    words = range(workload.sessions // WORD_BITS + 1)
    return [function.encode([operator_word(OPERATOR_ID), asset, word]) for word in words]


def _settled(answers: Sequence[bytes]) -> int:
    return sum(int.from_bytes(answer).bit_count() for answer in answers)


def run(batches: int, leaves: int) -> dict[str, Any]:
    """Return the figures of all, side by side."""
    spent: dict[str, Spent] = {}
    settled: dict[str, int] = {}
    spent["chargera"], settled["chargera"], workload = asyncio.run(ours(batches, leaves))
    spent["pyrevm, bare"], settled["pyrevm, bare"] = raw(workload)
    program = anvil_program()
    if program is None:
        print("anvil is missing (npm ci --prefix contracts): nothing to compare", file=sys.stderr)
    else:
        spent["anvil"], settled["anvil"] = anvil(program, workload)
    count = workload.sessions
    assert set(settled.values()) == {count}, settled
    rates = {name: each.rate(count) for name, each in spent.items()}
    for name, rate in rates.items():
        print(f"{name:14} {rate:8} settlements per CPU second", file=sys.stderr)
    bars = []
    if "anvil" in rates:
        ratio = round(rates["chargera"] / rates["anvil"], 2)
        met = ratio >= BAR
        print(f"{'times anvil':14} {ratio:8} >= {BAR} {'ok' if met else 'MISSED'}", file=sys.stderr)
        bars.append({"name": "times anvil", "value": ratio, "bar": BAR, "met": met})
    return {
        "machine": machine(),
        "settlements": count,
        "batches": batches,
        "per_cpu_s": rates,
        "spent": {name: asdict(each) for name, each in spent.items()},
        "bars": bars,
    }


def main(arguments: list[str] | None = None) -> int:
    """Run, print a table on stderr and with `--json` the figures; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="benchmarks ledger", description=__doc__)
    parser.add_argument("--batches", type=int, default=200, help="batches of 48 sessions")
    parser.add_argument("--leaves", type=int, default=48, help="sessions of a batch")
    parser.add_argument("--json", action="store_true", help="print the figures on stdout")
    parser.add_argument("--output", type=Path, default=RESULT, help="where they are written")
    options = parser.parse_args(arguments)
    result = run(options.batches, options.leaves)
    text = json.dumps(result, indent=2)
    if options.json:
        print(text)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(text + "\n")
    return 0 if all(bar["met"] for bar in result["bars"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
