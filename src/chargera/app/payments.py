"""Wallet sessions: an escrow that its payer signed, opened on chain, starts a charging session.

The payer signs two things with a key that never leaves him: what the hub may take at most for this
one session (`Open`), and the token's allowance for it (permit). Whoever sends them to the chain
is of no importance; here the server does. The session starts with an identifier of its own, which
is blocked once that session is over: an escrow pays one session.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from chargera.app import id_tokens
from chargera.app.id_tokens import IdTokenRequest
from chargera.app.permissions import Action, Caller, Role
from chargera.app.ports import Clock, NewEntry
from chargera.app.settlement_ports import Contracts, NetworkTerms, Sender
from chargera.domain.errors import Conflict, InvalidInput, NotFound, Refused
from chargera.domain.settlement import AMOUNT_LIMIT, Rail
from chargera.proofs import records
from chargera.proofs.chain_values import (
    address_text,
    hex_text,
    operator_word,
    parse_address,
    parse_hex,
    parse_signer,
)
from chargera.proofs.entry import EntryKind
from chargera.proofs.secp256k1 import SIGNATURE_BYTES, recover
from chargera.proofs.settlement import SESSION_KEY_BYTES, escrow_id, open_digest

ESCROW_AGE_MAX = timedelta(days=7)
"""No session starts on an escrow older than this."""

ID_TOKEN_CHARS = 20
"""What OCPP 1.6 takes."""
ID_TOKEN_TYPE = "Central"  # noqa: S105 - what OCPP calls identifiers that a CSMS has made

RAIL = Caller(None, "the wallet rail", Role.OPERATOR)
"""Who registers the identifier of an escrow."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A signed escrow for one session at an EVSE; addresses and signatures as text."""

    station_id: str
    evse: int
    payer: str
    asset: str
    maximum: int
    session_key: str
    deadline: int
    signature: str
    permit_signature: str


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """What the payer gets: his session's pseudonym and identifier, and the transaction."""

    session_key: str
    id_token: str
    transaction_hash: str
    note: str | None = None
    """Of an escrow whose session did not start: why, and how the payer gets his money back."""


@dataclass(frozen=True, slots=True)
class OpenTerms:
    """What a payer must know to sign: the hub and token that his signatures are for."""

    chain_id: int
    hub: str
    operator_id: str
    asset: str
    asset_name: str
    asset_version: str
    decimals: int
    nonce: int
    """Of the token's permits by this payer."""
    deadline: int


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """A payment in the database."""

    session_key: str
    rail: Rail
    payer: str | None
    gateway: str | None
    asset: str
    max_amount: int
    station_id: str
    evse: int
    id_token: str | None
    transaction_hash: str | None
    log_index: int | None
    opened_at: datetime


class PaymentStore(Protocol):
    """Payments in the database."""

    async def find(self, session_key: str) -> PaymentRow | None:
        """Return a payment."""

    async def add(self, row: PaymentRow) -> None:
        """Insert a payment."""

    async def occupied_by(self, station_id: str, evse: int) -> str | None:
        """Return the session that somebody runs at an EVSE; one without identifier is nobody's."""

    async def used_id_tokens(self, opened_since: datetime) -> Sequence[str]:
        """Return identifiers of escrows whose session has ended, and that are not blocked yet."""


class PaymentWork(Protocol):
    """One unit of work."""

    @property
    def payments(self) -> PaymentStore:
        """Payments."""

    @property
    def stations(self) -> Any:
        """Registrations of stations."""

    def append(self, entry: NewEntry) -> None:
        """Append an entry to the log."""

    async def flush(self) -> int | None:
        """Write appended entries now and return the first one's index."""

    async def commit(self) -> None:
        """Make everything durable."""


class PaymentDatabase(Protocol):
    """Opens units of work."""

    def work(self) -> AbstractAsyncContextManager[Any]:
        """Open a unit of work; leaving it without `commit` rolls back."""


class Payments:
    """Opens the escrows of wallet sessions."""

    def __init__(
        self,
        database: PaymentDatabase,
        terms: NetworkTerms,
        contracts: Contracts,
        relay: Sender,
        clock: Clock,
        give: Callable[[str, str, str, int], Awaitable[None]] | None = None,
    ) -> None:
        """Send what payers signed from the account of `relay`.

        `give` hands out simulated money: purpose, asset, account and what it must hold.
        """
        self._database = database
        self._terms = terms
        self._contracts = contracts
        self._relay = relay
        self._clock = clock
        self._give = give

    async def open_terms(self, payer: str, asset: str) -> OpenTerms:
        """Return what a payer signs for. Raises InvalidInput for an asset that is not listed."""
        payer = address_text(parse_signer(payer, field="payer"))
        listed = self._listed(asset)
        token = f"TestEuro@{listed}"
        domain = await self._contracts.read(token, "eip712Domain")
        deadline = self._clock.now() + ESCROW_AGE_MAX
        return OpenTerms(
            chain_id=self._terms.chain_id,
            hub=self._terms.hub,
            operator_id=self._terms.operator_id,
            asset=listed,
            asset_name=domain[1],
            asset_version=domain[2],
            decimals=await self._contracts.read(token, "decimals"),
            nonce=await self._contracts.read(token, "nonces", payer),
            deadline=int(deadline.timestamp()),
        )

    def _listed(self, asset: str) -> str:
        address = address_text(parse_address(asset, field="asset"))
        if address not in self._terms.listed():
            raise InvalidInput(
                f"{address} is no asset that bills may be paid in",
                field="asset",
                remedy=f"use one of {', '.join(self._terms.listed())}",
            )
        return address

    async def open(self, caller: Caller, wanted: OpenRequest) -> OpenedSession:
        """Open an escrow on chain and make the identifier that starts its session.

        The same request again finds the first one. Raises InvalidInput for what is not signed by
        its payer, NotFound for a station or EVSE that does not exist, Conflict for one where
        somebody charges, before any money moves, ContractRefused.
        """
        caller.require(Action.PAYMENTS_OPEN)
        self._listed(wanted.asset)
        await self._check_place(wanted)
        self._check_signature(wanted)
        payer = parse_signer(wanted.payer, field="payer")
        key = parse_hex(wanted.session_key, SESSION_KEY_BYTES, field="session_key")
        escrow = escrow_id(payer, self._terms.operator_id, key)
        if self._give is not None:
            await self._give(hex_text(escrow), wanted.asset, wanted.payer, wanted.maximum)
        permit = parse_hex(wanted.permit_signature, SIGNATURE_BYTES, field="permit_signature")
        sent = await self._relay.send(
            f"open:{hex_text(escrow)}",
            "SettlementHub",
            "openWithPermit",
            wanted.payer,
            operator_word(self._terms.operator_id),
            key,
            wanted.asset,
            wanted.maximum,
            wanted.deadline,
            parse_hex(wanted.signature, SIGNATURE_BYTES, field="signature"),
            permit[64],
            permit[:32],
            permit[32:64],
        )
        held = await self._contracts.read("SettlementHub", "escrowOf", escrow)
        if held.max != wanted.maximum:
            raise Refused(
                f"the escrow holds {held.max}, not {wanted.maximum}",
                field="max",
                remedy="open another one with a fresh key",
            )
        return await self._note(wanted, sent)

    async def _check_place(self, wanted: OpenRequest) -> None:
        async with self._database.work() as work:
            station = await work.stations.registered(wanted.station_id)
            known = await work.payments.find(wanted.session_key)
            occupied_by = await work.payments.occupied_by(wanted.station_id, wanted.evse)
        if station is None or wanted.evse not in {c.evse for c in station.connectors}:
            raise NotFound(
                f"there is no EVSE {wanted.evse} at a station '{wanted.station_id[:48]}'",
                field="station_id",
                remedy="`chargera station list` shows the stations",
            )
        if known is None and occupied_by is not None:
            raise Conflict(
                f"session {occupied_by} runs at EVSE {wanted.evse} of station {wanted.station_id}",
                field="evse",
                remedy="nothing was taken from the wallet; wait for its end, or use another EVSE",
            )

    def not_started(self, opened: OpenedSession, why: str) -> OpenedSession:
        """Return what the payer is told of an escrow that is open and did not start its session."""
        said = self._terms.latest().parameters
        ask, pay = (s / 86_400 for s in (said.refund_ask_after_s, said.refund_pay_after_s))
        return replace(
            opened,
            note=f"the escrow is open, and the session did not start: {why}. Start it within"
            f" {ESCROW_AGE_MAX.days} days by identifier {opened.id_token} (chargera station command"
            " remote-start), or get it all back by the payer's key: chargera session refund"
            f" {opened.session_key}, asked {ask:g} days after it was opened, paid {pay:g} later",
        )

    def _check_signature(self, wanted: OpenRequest) -> None:
        if not 0 < wanted.maximum < AMOUNT_LIMIT:
            raise InvalidInput("the maximum must be above 0 and fit into 64 bits", field="max")
        digest = open_digest(
            self._terms.operator_id,
            parse_hex(wanted.session_key, SESSION_KEY_BYTES, field="session_key"),
            parse_address(wanted.asset, field="asset"),
            wanted.maximum,
            wanted.deadline,
            chain_id=self._terms.chain_id,
            hub=parse_address(self._terms.hub, field="hub"),
        )
        signature = parse_hex(wanted.signature, SIGNATURE_BYTES, field="signature")
        if recover(digest, signature) != parse_signer(wanted.payer, field="payer"):
            raise InvalidInput("the escrow is not signed by its payer", field="signature")

    async def _note(self, wanted: OpenRequest, sent: str) -> OpenedSession:
        """Log the payment and register the session's identifier, once."""
        id_token = wanted.session_key[2 : 2 + ID_TOKEN_CHARS].upper()
        opened = OpenedSession(wanted.session_key, id_token, sent)
        now = self._clock.now()
        async with self._database.work() as work:
            if await work.payments.find(wanted.session_key) is not None:
                return opened
            request = IdTokenRequest(id_token, ID_TOKEN_TYPE, expires_at=now + ESCROW_AGE_MAX)
            await id_tokens.add_id_token(work, RAIL, request, now=now)
            await work.flush()
            record = records.payment_record(
                rail=Rail.WALLET,
                session_key=wanted.session_key,
                session_id=None,
                asset=wanted.asset,
                payer=wanted.payer,
                gateway=None,
                maximum=wanted.maximum,
                transaction_hash=sent,
                at=now,
            )
            work.append(NewEntry(EntryKind.PAYMENT, wanted.station_id, None, record, now))
            row = PaymentRow(
                session_key=wanted.session_key,
                rail=Rail.WALLET,
                payer=wanted.payer,
                gateway=None,
                asset=wanted.asset,
                max_amount=wanted.maximum,
                station_id=wanted.station_id,
                evse=wanted.evse,
                id_token=id_token,
                transaction_hash=sent,
                log_index=await work.flush(),
                opened_at=now,
            )
            await work.payments.add(row)
            await work.commit()
        return opened

    async def close_used(self) -> Sequence[str]:
        """Block the identifiers of escrows whose session is over, and return them."""
        now = self._clock.now()
        async with self._database.work() as work:
            used: Sequence[str] = await work.payments.used_id_tokens(now - ESCROW_AGE_MAX)
            for id_token in used:
                await id_tokens.set_blocked(
                    work, RAIL, id_token, ID_TOKEN_TYPE, blocked=True, now=now
                )
            if used:
                await work.commit()
        return used
