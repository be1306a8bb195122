"""Which transfer of a host returns which credited bill, and which does not."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chargera.app.host_returns import CreditedBill, HostReturn, HostReturns, owed_of
from chargera.domain.errors import Unavailable
from chargera.ledger.abi import Struct
from chargera.proofs.chain_values import hex_text
from tests.unit.app.settlement_rig import (
    C4E_TEXT,
    EURO_TEXT,
    GATEWAY,
    HOST,
    PASSPORTS,
    PAYER,
    Clock,
    word,
)

BATCH = hex_text(b"\x11" * 32)
SETTLED_IN = 10
WALLET = CreditedBill(
    session_id="s1",
    batch=BATCH,
    settlement={
        "asset": EURO_TEXT,
        "c4e_rate": None,
        "passport_id": PASSPORTS[0],
        "payer": PAYER,
        "rail": "wallet",
    },
    gateway=None,
    currency="EUR",
    net_minor=300,
    vat_minor=63,
    net_minor_now=200,
    vat_minor_now=42,
    returned=0,
    returned_minor=0,
)
FIAT = replace(
    WALLET, settlement=dict(WALLET.settlement) | {"payer": None, "rail": "fiat"}, gateway=GATEWAY
)
OWED = 1_210_000


@dataclass
class Rows:
    bills: list[CreditedBill]
    returns: list[HostReturn] = field(default_factory=list)


class Database:
    """Bills and returns; what is not committed is gone."""

    def __init__(self, *bills: CreditedBill) -> None:
        self.rows = Rows(list(bills))
        self.commits = 0

    @asynccontextmanager
    async def work(self) -> AsyncIterator["Work"]:
        yield Work(self)


class Work:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows = Rows(list(database.rows.bills), list(database.rows.returns))

    @property
    def host_returns(self) -> "Work":
        return self

    async def owed(self, limit: int) -> Sequence[CreditedBill]:
        paid = {made.session_id for made in self._rows.returns}
        return [bill for bill in self._rows.bills if bill.session_id not in paid]

    async def is_taken(self, transaction_hash: str, place: int) -> bool:
        taken = {(made.transaction_hash, made.place) for made in self._rows.returns}
        return (transaction_hash, place) in taken

    async def add(self, found: HostReturn) -> None:
        self._rows.returns.append(found)

    async def commit(self) -> None:
        self._database.rows = self._rows
        self._database.commits += 1


@dataclass(frozen=True)
class Said:
    members: Struct
    transaction_hash: str
    block_number: int
    log_index: int


class Chain:
    """Transfers that were made, and the block in which everything was settled."""

    chain_id = 1

    def __init__(self) -> None:
        self.transfers: list[tuple[str, bytes, bytes, Said]] = []
        self.silent = False

    def transfer(
        self,
        amount: int = OWED,
        *,
        asset: str = EURO_TEXT,
        source: str = HOST,
        target: str = PAYER,
        block: int = SETTLED_IN + 1,
        place: int = 0,
    ) -> None:
        said = Said(Struct(value=amount), f"0x{block}", block, place)
        self.transfers.append((asset, word(source), word(target), said))

    def address(self, contract: str) -> str:
        raise AssertionError(contract)

    async def read(self, contract: str, function: str, *arguments: Any) -> Any:
        if self.silent:
            raise Unavailable("silent")
        if function == "decimals":
            return 6
        assert (function, arguments) == ("settlementFacts", (word(PASSPORTS[0]),))
        return (HOST, 3_000, 1, 0)

    async def events(
        self,
        contract: str,
        event: str,
        topics: Sequence[bytes | None] = (),
        *,
        from_block: int = 0,
    ) -> Sequence[Said]:
        if event == "Settled":
            assert topics == [word(BATCH)]
            return [Said(Struct(), "0x", SETTLED_IN, 0)]
        asset = contract.partition("@")[2]
        return [said for of, *pair, said in self.transfers if of == asset and pair == topics]


def looking(chain: Chain, *bills: CreditedBill) -> tuple[HostReturns, Database]:
    database = Database(*bills)
    return HostReturns(database, chain, Clock()), database


async def test_wallet__the_hosts_transfer_of_what_is_owed_with_vat__returned() -> None:
    chain = Chain()
    chain.transfer(place=3)
    returns, database = looking(chain, WALLET)
    (made,) = await returns.note()
    assert (made.session_id, made.amount, made.amount_minor) == ("s1", OWED, 121)
    assert (made.transaction_hash, made.place) == ("0x11", 3)
    assert made.returned_at == Clock().now()
    assert database.rows.returns == [made]
    assert await returns.note() == []
    assert database.commits == 1


async def test_fiat__the_net_amount_to_the_gateway__returned() -> None:
    assert owed_of(FIAT) == 100
    chain = Chain()
    chain.transfer(1_000_000, target=GATEWAY)
    returns, _ = looking(chain, FIAT)
    (made,) = await returns.note()
    assert (made.amount, made.amount_minor) == (1_000_000, 100)


async def test_in_c4e__by_the_rate_of_the_bill_rounded_up_as_it_was_paid() -> None:
    rate = 12_345_678
    bill = replace(
        WALLET, settlement=dict(WALLET.settlement) | {"asset": C4E_TEXT, "c4e_rate": str(rate)}
    )

    def amount(minor: int) -> int:
        return -(-minor * 10_000 * rate // 10**6)

    chain = Chain()
    owed = amount(300) - amount(200) + amount(63) - amount(42)
    chain.transfer(owed, asset=C4E_TEXT)
    returns, _ = looking(chain, bill)
    (made,) = await returns.note()
    assert made.amount == owed


async def test_what_was_returned_before_is_no_more_owed() -> None:
    chain = Chain()
    chain.transfer(OWED - 210_000)
    returns, _ = looking(chain, replace(WALLET, returned=210_000, returned_minor=21))
    (made,) = await returns.note()
    assert (made.amount, made.amount_minor) == (1_000_000, 100)


@pytest.mark.parametrize(
    "other",
    [
        {"amount": OWED - 1},
        {"amount": OWED + 1},
        {"asset": C4E_TEXT},
        {"source": GATEWAY},
        {"target": GATEWAY},
        {"block": SETTLED_IN},
    ],
    ids=["less", "more", "another asset", "not the host", "not the payer", "before it was settled"],
)
async def test_any_other_transfer__nothing_is_returned(other: dict[str, Any]) -> None:
    chain = Chain()
    chain.transfer(**other)
    returns, database = looking(chain, WALLET)
    assert await returns.note() == []
    assert not database.commits


async def test_two_bills_of_one_amount__each_transfer_returns_one_in_order() -> None:
    chain = Chain()
    chain.transfer()
    second = replace(WALLET, session_id="s2")
    returns, _ = looking(chain, WALLET, second)
    assert [made.session_id for made in await returns.note()] == ["s1"]
    assert await returns.note() == []
    chain.transfer(block=SETTLED_IN + 2)
    assert [made.session_id for made in await returns.note()] == ["s2"]


async def test_two_transfers_in_one_transaction__two_bills() -> None:
    chain = Chain()
    chain.transfer(place=0)
    chain.transfer(place=1)
    returns, _ = looking(chain, WALLET, replace(WALLET, session_id="s2"))
    assert [made.place for made in await returns.note()] == [0, 1]


async def test_nobody_to_return_it_to__nothing() -> None:
    returns, _ = looking(Chain(), replace(FIAT, gateway=None))
    assert await returns.note() == []


async def test_the_chain_is_silent__asked_again_later() -> None:
    chain = Chain()
    chain.transfer()
    chain.silent = True
    returns, _ = looking(chain, WALLET)
    assert await returns.note() == []
    chain.silent = False
    assert len(await returns.note()) == 1
