"""kill -9 within a custody step: one record on chain, one entry in the log, whenever it came."""

import secrets
from random import Random
from typing import Any

import pytest

from chargera.domain.passport import CustodyKind
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.network_contracts import ChainContracts
from tests.integration.durability.keeper_ordeal import STATION, KeeperOrdeal, Kill, _wait
from tests.server import data_folder

HALVES = (("stored", "executed", "recorded"), ("attesters", "transaction", "executed"))


class CustodyOrdeal(KeeperOrdeal):
    """A charger to which something happens, while its server is killed."""

    def happen(self, number: int, kind: str, step: str, **said: Any) -> None:
        """Ask for a record, kill the server at a step of it, and wait until it is on chain."""
        self.server.stop_at(Kill(f"{step} custody:"))
        with self._attesting():
            self._post(f"passports/{STATION}/custody", {"kind": kind} | said)
            _wait(f"the server to stand still at {step}", lambda: self.server.stands_still)
            self._is_up.clear()
            self.server.kill(database_first=self._random.random() < 0.5)
            self.server.start()
            self._is_up.set()
            _wait("the record", lambda: self._newest() == (number, "recorded"), pause_s=0.1)

    def _newest(self) -> tuple[int, str]:
        row = self._call("GET", f"passports/{STATION}/custody")[-1]
        return row["number"], row["step"]

    def check_records(self, kinds: list[str]) -> None:
        """See that each record is there once: in the log, on chain, and sent once."""
        numbers = list(range(len(kinds)))
        entries = self.server.query(
            "select convert_from(record, 'UTF8')::jsonb->>'kind' from log_entry"
            " where kind = 'custody' order by log_index"
        )
        assert [kind for (kind,) in entries] == kinds
        sent = self.server.query("select count(*) from chain_send where purpose like 'custody:%%'")
        assert sent == [(len(kinds),)]
        changed = self.server.query("select from log_entry where kind = 'station_registered'")
        moved = sum(kind in ("meter", "location") for kind in kinds)
        assert len(changed) == 1 + moved, "a registration is logged with what changes it, once"

        async def on_chain(contracts: ChainContracts) -> None:
            token_id = bytes.fromhex(self.passport_id[2:])
            history = await contracts.read("ChargerPassport", "custodyOf", token_id)
            assert [list(CustodyKind)[said.kind] for said in history] == kinds
            events = await contracts.events("ChargerPassport", "CustodyRecorded", [token_id])
            assert [event.members.number for event in events] == numbers

        self._on_chain(on_chain)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("steps", HALVES, ids="-".join)
def test_killed_within_a_custody_step__one_record_and_one_entry(steps: tuple[str, ...]) -> None:
    new_host = ChainKey(secrets.token_bytes(32)).address_text
    happenings: list[tuple[str, dict[str, Any]]] = [
        ("meter", {"note": "exchanged"}),
        ("location", {"latitude": "51.9", "longitude": "4.4"}),
        ("owner", {"host": new_host}),
    ]
    with data_folder() as folder:
        ordeal = CustodyOrdeal(folder, Random(len(steps)))
        try:
            ordeal.prepare()
            kinds = []
            for number, (step, (kind, said)) in enumerate(zip(steps, happenings, strict=True)):
                ordeal.happen(number, kind, step, **said)
                kinds.append(kind)
            ordeal.check_records(kinds)
        finally:
            ordeal.server.discard()
