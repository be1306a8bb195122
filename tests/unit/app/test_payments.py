"""Escrows of wallet sessions: what is refused, what is sent, and whose session they start."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest

from chargera.app.admin_ports import NewIdToken
from chargera.app.payments import ESCROW_AGE_MAX, OpenRequest, PaymentRow, Payments
from chargera.app.permissions import Caller, Role
from chargera.app.ports import NewEntry
from chargera.domain.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    NotPermitted,
    Refused,
    Unavailable,
)
from chargera.domain.settlement import Rail
from chargera.ledger.abi import Struct
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.wallet import signed_escrow
from chargera.proofs.chain_values import hex_text, operator_word
from chargera.proofs.entry import EntryKind
from chargera.proofs.settlement import escrow_id
from tests.unit.app.settlement_rig import C4E_TEXT, EURO_TEXT, HOST, KEEPER, OPERATOR, Clock, terms
from tests.unit.proofs.sample_batch import CHAIN_ID
from tests.unit.proofs.sample_receipt import STATION_ID, station

WALLET = ChainKey(b"\x21" * 32)
CALLER = Caller(None, "a driver", Role.OPERATOR)
MAXIMUM = 5_000_000


@dataclass
class Rows:
    payments: dict[str, PaymentRow] = field(default_factory=dict)
    id_tokens: dict[str, NewIdToken] = field(default_factory=dict)
    entries: list[NewEntry] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    """Identifiers whose sessions have ended."""
    occupied: dict[tuple[str, int], str] = field(default_factory=dict)
    """Sessions by where they run."""


class Work:
    """One unit of work: payments, stations, identifiers."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._rows = deepcopy(database.rows)

    @property
    def payments(self) -> "Work":
        return self

    id_tokens = stations = payments

    async def find(self, session_key: str) -> PaymentRow | None:
        return self._rows.payments.get(session_key)

    async def add(self, row: PaymentRow) -> None:
        self._rows.payments[row.session_key] = row

    async def occupied_by(self, station_id: str, evse: int) -> str | None:
        return self._rows.occupied.get((station_id, evse))

    async def used_id_tokens(self, opened_since: datetime) -> Sequence[str]:
        assert opened_since == self._database.clock.now() - ESCROW_AGE_MAX
        known = self._rows.id_tokens
        return [used for used in self._rows.used if not known[used.casefold()].blocked]

    async def registered(self, station_id: str) -> Any:
        return station() if station_id == STATION_ID else None

    async def known(self, keys: Sequence[str]) -> dict[str, list[NewIdToken]]:
        return {key: [self._rows.id_tokens[key]] for key in keys if key in self._rows.id_tokens}

    async def put(self, id_tokens: Sequence[NewIdToken], now: datetime) -> None:
        self._rows.id_tokens |= {id_token.ref.key: id_token for id_token in id_tokens}

    def append(self, entry: NewEntry) -> None:
        self._rows.entries.append(entry)

    async def flush(self) -> int | None:
        return len(self._rows.entries) - 1

    async def commit(self) -> None:
        self._database.rows = self._rows
        self._database.commits += 1


class Database:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.rows = Rows()
        self.commits = 0

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Work]:
        yield Work(self)


class Chain:
    """`Contracts` and `Sender`: a hub with escrows, and tokens that tell of themselves."""

    address = KEEPER
    chain_id = CHAIN_ID

    def __init__(self) -> None:
        self.sent: dict[str, tuple[Any, ...]] = {}
        self.fault: Exception | None = None
        self.held: int | None = None

    async def read(self, contract: str, function: str, *arguments: Any) -> Any:
        name, _, asset = contract.partition("@")
        match function:
            case "escrowOf":
                opened = self.sent[f"open:{hex_text(arguments[0])}"]
                return Struct(max=opened[4] if self.held is None else self.held)
            case "eip712Domain":
                return (b"", {EURO_TEXT: "Test Euro", C4E_TEXT: "C4E"}[asset], "1")
            case "decimals":
                return 6
            case "nonces":
                assert (name, arguments) == ("TestEuro", (WALLET.address_text,))
                return 4
        raise AssertionError(function)

    async def send(self, purpose: str, contract: str, function: str, *arguments: Any) -> str:
        if self.fault is not None:
            raise self.fault
        assert (contract, function) == ("SettlementHub", "openWithPermit")
        self.sent.setdefault(purpose, arguments)
        return "0xabc"


class Rig:
    def __init__(self, *, gives: bool = True) -> None:
        self.clock = Clock()
        self.database = Database(self.clock)
        self.chain = Chain()
        self.given: list[tuple[str, str, str, int]] = []

        async def give(purpose: str, asset: str, account: str, amount: int) -> None:
            self.given.append((purpose, asset, account, amount))

        self.payments = Payments(
            self.database,
            terms(),
            self.chain,  # type: ignore[arg-type] # no events are read
            self.chain,
            self.clock,
            give if gives else None,
        )

    async def wanted(self, **changes: Any) -> OpenRequest:
        """What a wallet asks for; `changes` are made after it has signed."""
        said = await self.payments.open_terms(WALLET.address_text, EURO_TEXT)
        fields = {name: getattr(said, name) for name in said.__dataclass_fields__}
        body = signed_escrow(fields, WALLET, STATION_ID, 1, MAXIMUM, lambda count: b"\xab" * count)
        return replace(OpenRequest(maximum=body.pop("max"), **body), **changes)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_terms__all_that_a_payer_signs_for(rig: Rig) -> None:
    said = await rig.payments.open_terms(WALLET.address_text.lower(), EURO_TEXT.lower())
    assert (said.chain_id, said.hub, said.operator_id) == (CHAIN_ID, terms().hub, OPERATOR)
    assert (said.asset, said.asset_name, said.asset_version) == (EURO_TEXT, "Test Euro", "1")
    assert (said.decimals, said.nonce) == (6, 4)
    assert said.deadline == int((rig.clock.now() + ESCROW_AGE_MAX).timestamp())


async def test_terms__an_asset_that_is_not_listed__refused_with_those_that_are(rig: Rig) -> None:
    with pytest.raises(InvalidInput) as error:
        await rig.payments.open_terms(WALLET.address_text, HOST)
    assert EURO_TEXT in error.value.remedy
    assert error.value.field == "asset"


async def test_an_account_of_hedera_by_its_number__told_that_it_cannot_sign(rig: Rig) -> None:
    by_number = f"0x{1002:040x}"
    with pytest.raises(InvalidInput, match="cannot sign typed data") as refusal:
        await rig.payments.open_terms(by_number, EURO_TEXT)
    assert refusal.value.field == "payer"
    with pytest.raises(InvalidInput, match="cannot sign typed data"):
        await rig.payments.open(CALLER, await rig.wanted(payer=by_number))


async def test_open__escrow_entry_and_an_identifier_for_a_week(rig: Rig) -> None:
    wanted = await rig.wanted()
    opened = await rig.payments.open(CALLER, wanted)
    assert opened.session_key == wanted.session_key
    assert opened.id_token == "AB" * 10
    assert opened.transaction_hash == "0xabc"
    (arguments,) = rig.chain.sent.values()
    assert arguments[:2] == (WALLET.address_text, operator_word(OPERATOR))
    assert arguments[3:6] == (EURO_TEXT, MAXIMUM, wanted.deadline)
    permit = bytes.fromhex(wanted.permit_signature[2:])
    assert arguments[7:] == (permit[64], permit[:32], permit[32:64])
    rows = rig.database.rows
    payment = rows.payments[wanted.session_key]
    assert (payment.rail, payment.payer, payment.max_amount) == (
        Rail.WALLET,
        WALLET.address_text,
        MAXIMUM,
    )
    assert (payment.station_id, payment.evse) == (STATION_ID, 1)
    (id_token,) = rows.id_tokens.values()
    assert (id_token.ref.kind, id_token.blocked) == ("Central", False)
    assert id_token.expires_at == rig.clock.now() + ESCROW_AGE_MAX
    kinds = [entry.kind for entry in rows.entries]
    assert kinds == [EntryKind.ID_TOKEN_CHANGED, EntryKind.PAYMENT]
    assert payment.log_index == 1
    assert rows.entries[1].record["maximum"] == str(MAXIMUM)


async def test_open__the_purpose_is_the_escrow(rig: Rig) -> None:
    await rig.payments.open(CALLER, await rig.wanted())
    escrow = escrow_id(WALLET.address, OPERATOR, b"\xab" * 16)
    assert list(rig.chain.sent) == [f"open:{hex_text(escrow)}"]
    assert rig.given == [(hex_text(escrow), EURO_TEXT, WALLET.address_text, MAXIMUM)]


async def test_open__again__the_first_one_without_another_entry(rig: Rig) -> None:
    wanted = await rig.wanted()
    first = await rig.payments.open(CALLER, wanted)
    assert await rig.payments.open(CALLER, wanted) == first
    assert len(rig.database.rows.entries) == 2
    assert rig.database.commits == 1


async def test_open__where_no_money_is_given_out() -> None:
    rig = Rig(gives=False)
    await rig.payments.open(CALLER, await rig.wanted())
    assert rig.database.rows.payments


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"asset": HOST}, InvalidInput, "asset"),
        ({"station_id": "nowhere"}, NotFound, "station_id"),
        ({"evse": 7}, NotFound, "station_id"),
        ({"maximum": 0}, InvalidInput, "max"),
        ({"maximum": 2**64}, InvalidInput, "max"),
        ({"maximum": MAXIMUM + 1}, InvalidInput, "signature"),
        ({"deadline": 1}, InvalidInput, "signature"),
        ({"payer": HOST}, InvalidInput, "signature"),
        ({"session_key": "0x" + "cd" * 16}, InvalidInput, "signature"),
        ({"asset": C4E_TEXT}, InvalidInput, "signature"),
    ],
    ids=[
        "asset",
        "station",
        "evse",
        "nothing",
        "too much",
        "more than signed",
        "deadline",
        "another payer",
        "another session",
        "another asset",
    ],
)
async def test_open__what_is_not_as_it_was_signed__nothing_is_sent(
    rig: Rig, changes: dict[str, Any], error: type[Exception], field: str
) -> None:
    wanted = await rig.wanted(**changes)
    with pytest.raises(error) as caught:
        await rig.payments.open(CALLER, wanted)
    assert caught.value.field == field  # type: ignore[attr-defined] # all of ours have one
    assert not rig.chain.sent
    assert not rig.given
    assert not rig.database.rows.payments


async def test_open__whoever_may_not__refused(rig: Rig) -> None:
    with pytest.raises(NotPermitted):
        await rig.payments.open(Caller(None, "nobody", Role.ANONYMOUS), await rig.wanted())


async def test_open__the_chain_is_silent__nothing_is_noted(rig: Rig) -> None:
    rig.chain.fault = Unavailable("silent")
    with pytest.raises(Unavailable):
        await rig.payments.open(CALLER, await rig.wanted())
    assert not rig.database.rows.payments


async def test_open__an_escrow_of_that_key_with_another_maximum__refused(rig: Rig) -> None:
    rig.chain.held = MAXIMUM - 1
    with pytest.raises(Refused, match="holds 4999999"):
        await rig.payments.open(CALLER, await rig.wanted())
    assert not rig.database.rows.payments


# After the session -----------------------------------------------------------------------------


async def test_open__somebody_charges_there__refused_before_any_money_moves(rig: Rig) -> None:
    rig.database.rows.occupied[STATION_ID, 1] = "theirs"
    with pytest.raises(Conflict, match=f"theirs runs at EVSE 1 of station {STATION_ID}") as caught:
        await rig.payments.open(CALLER, await rig.wanted())
    assert (caught.value.field, "another EVSE" in caught.value.remedy) == ("evse", True)
    assert (rig.chain.sent, rig.given, rig.database.commits) == ({}, [], 0)


async def test_open__again_while_its_own_session_runs__the_first_one(rig: Rig) -> None:
    wanted = await rig.wanted()
    opened = await rig.payments.open(CALLER, wanted)
    rig.database.rows.occupied[STATION_ID, 1] = "its own"
    assert await rig.payments.open(CALLER, wanted) == opened


async def test_not_started__why_and_both_ways_on(rig: Rig) -> None:
    opened = await rig.payments.open(CALLER, await rig.wanted())
    assert opened.note is None
    told = rig.payments.not_started(opened, "Rejected")
    assert told.note is not None
    for part in ("did not start: Rejected.", opened.id_token, f"refund {opened.session_key}"):
        assert part in told.note
    assert "11 days after it was opened, paid 3 later" in told.note


async def test_close_used__the_identifier_of_an_ended_session_is_blocked_with_an_entry(
    rig: Rig,
) -> None:
    opened = await rig.payments.open(CALLER, await rig.wanted())
    assert await rig.payments.close_used() == []
    assert rig.database.commits == 1, "nothing to do, nothing committed"
    rig.database.rows.used = [opened.id_token]
    assert await rig.payments.close_used() == [opened.id_token]
    (id_token,) = rig.database.rows.id_tokens.values()
    assert id_token.blocked
    assert rig.database.rows.entries[-1].kind is EntryKind.ID_TOKEN_CHANGED
    assert await rig.payments.close_used() == []
