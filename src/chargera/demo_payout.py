"""The demonstration's second half: from bills to what the holders of a charger are paid.

Two drivers charge at one charger, one paying C4E from his wallet, one in euros that the (test)
gateway prepays; a third charges elsewhere. Before that a part of the charger's units goes to a
second holder, so that two different accounts are paid by contract.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from chargera.domain.errors import Unavailable
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.network_contracts import DirectSender
from chargera.ledger.wallet import signed_escrow
from chargera.settling import Settling

Say = Callable[[str], None]
Row = dict[str, Any]
T = TypeVar("T")

UNITS_ALL = 1_000_000
UNITS_SOLD = 250_000
"""What the second holder gets of the charger."""

ESCROW_C4E = 500_000_000
"""The wallet's session may cost 500 C4E at most; what is left comes back."""
HOST_PREPAYS_C4E = 1_000_000_000
"""The host burns C4E for the fee of sessions in euros."""

ATTESTED = "attested by a quorum, proposed on chain; now its window runs."

CHARGES_FOR_S = 8.0
"""Real time; at the demonstration's pace a quarter of an hour."""
PATIENCE_S = 120.0
POLL_S = 0.4


@dataclass(frozen=True, slots=True)
class Place:
    """Where a driver of the story charges."""

    station_id: str
    evse: int


async def settle_and_pay(
    settling: Settling,
    client: httpx2.AsyncClient,
    say: Say,
    shared: Place,
    elsewhere: Place,
    id_token: str,
    *,
    pace: float = 1.0,
) -> tuple[list[Row], list[Row]]:
    """Play the second half; return the settled sessions and the claims of the charger's holders.

    `client` speaks to the REST API as operator; `pace` stretches all waiting. Raises Unavailable
    if a step does not come about.
    """
    story = _Story(settling, client, say, id_token, pace)
    passport_id = await story.passport(shared.station_id)
    await story.passport(elsewhere.station_id)
    holders = await story.share(passport_id)
    wallet = await story.pay_by_wallet(shared)
    fiat, other = await asyncio.gather(story.pay_in_fiat(shared), story.pay_in_fiat(elsewhere))
    sessions = await story.settle([wallet, fiat, other])
    return sessions, await story.claims(passport_id, holders)


class _Story:
    """One run of it."""

    def __init__(
        self,
        settling: Settling,
        client: httpx2.AsyncClient,
        say: Say,
        id_token: str,
        pace: float,
    ) -> None:
        self._settling = settling
        self._client = client
        self._say = say
        self._id_token = id_token
        self._pace = pace

    # The charger and its holders ----------------------------------------------------------

    async def passport(self, station_id: str) -> str:
        """Wait until a station's passport is minted."""

        async def minted() -> Row | None:
            found = await self._get(f"passports/{station_id}")
            return found if found["registration"] == "registered" else None

        found = await self._wait(f"the passport of {station_id}", minted)
        passport_id: str = found["passport_id"]
        self._say(f"5. {station_id} has its passport, an NFT: {passport_id}")
        return passport_id

    async def share(self, passport_id: str) -> tuple[str, str]:
        """Give a quarter of the charger's units to a second holder; return both holders."""
        settling = self._settling
        second = ChainKey.open(settling.parts.data_dir / "keys" / "holder", secrets.token_bytes)
        host = DirectSender(settling.contracts, settling.keys.host)
        token_id = int(passport_id, 16)
        left = await settling.contracts.read("ChargerShares", "unreleased", token_id)
        if left == UNITS_ALL:  # else an earlier run has done it
            await host.send(
                "shares", "ChargerShares", "release", token_id, second.address_text, UNITS_SOLD
            )
            hub = settling.contracts.address("SettlementHub")
            await host.send("allowance", "C4EToken", "approve", hub, HOST_PREPAYS_C4E)
            await host.send("fees", "SettlementHub", "prepay", HOST_PREPAYS_C4E)
        self._say(
            f"6. Its host keeps {UNITS_ALL - UNITS_SOLD:,} of {UNITS_ALL:,} units of its revenue;"
            f" {UNITS_SOLD:,} belong to {second.address_text}."
        )
        return host.address, second.address_text

    # The sessions -------------------------------------------------------------------------

    async def pay_by_wallet(self, place: Place) -> str:
        """Charge and pay from a wallet; return the session."""
        wallet = self._settling.keys.wallet
        terms = await self._get(
            "payments/terms",
            payer=wallet.address_text,
            asset=self._settling.contracts.address("C4EToken"),
        )
        body = signed_escrow(
            terms, wallet, place.station_id, place.evse, ESCROW_C4E, secrets.token_bytes
        )
        before = await self._running(place)
        opened = await self._post("payments", body)
        self._say(
            f"7. A driver signs an escrow of at most {ESCROW_C4E // 10**6} C4E with his own key"
            f" and charges at {place.station_id}."
        )
        return await self._charge(place, opened["id_token"], before, is_ordered=True)

    async def pay_in_fiat(self, place: Place) -> str:
        """Charge and pay in euros; return the session."""
        before = await self._running(place)
        return await self._charge(place, self._id_token, before, is_ordered=False)

    async def _charge(
        self, place: Place, id_token: str, before: set[str], *, is_ordered: bool
    ) -> str:
        """Start, charge for a while, stop, and wait for the bill."""

        async def started() -> str | None:
            nonlocal is_ordered
            fresh = await self._running(place) - before
            if not fresh and not is_ordered:
                order = {"command": "remote-start", "evse": place.evse, "id_token": id_token}
                answer = await self._post(f"stations/{place.station_id}/commands", order)
                is_ordered = bool(answer["accepted"])  # else a car stands there: ask again
            return fresh.pop() if fresh else None

        session_id = await self._wait(f"a session at {place.station_id}", started)
        await asyncio.sleep(CHARGES_FOR_S * self._pace)
        order = {"command": "remote-stop", "session_id": session_id}
        await self._post(f"stations/{place.station_id}/commands", order)

        async def billed() -> Row | None:
            row = await self._get(f"sessions/{session_id}")
            return row if row["state"] == "billed" else None

        bill = await self._wait(f"the bill of {session_id}", billed)
        self._say(
            f"   {place.station_id}: {bill['energy_wh'] / 1000:.3f} kWh,"
            f" {bill['gross_minor'] / 100:.2f} {bill['currency']}"
        )
        return session_id

    async def _running(self, place: Place) -> set[str]:
        rows = await self._get("sessions", station=place.station_id, state="charging", limit=50)
        return {row["session_id"] for row in rows["items"] if row["evse"] == place.evse}

    # The money ----------------------------------------------------------------------------

    async def settle(self, session_ids: Sequence[str]) -> list[Row]:
        """Have the bills attested, proposed and settled; return the sessions."""
        batches = await self._post("settlement/close", {})
        for batch in batches:
            self._say(
                f"8. Batch {batch['batch'][:18]}… of {batch['sessions']} bills in {batch['asset']}:"
                f" {ATTESTED if batch['state'] == 'proposed' else 'it is ' + batch['state'] + '.'}"
            )

        async def settled() -> list[Row] | None:
            rows = [await self._get(f"sessions/{session_id}") for session_id in session_ids]
            states = [(row["settlement"] or {}).get("state") for row in rows]
            return rows if set(states) == {"settled"} else None

        rows = await self._wait("settlement", settled)
        self._say("9. The window is over and nobody challenged: the contract has settled them.")
        return rows

    async def claims(self, passport_id: str, holders: Sequence[str]) -> list[Row]:
        """Wait until every holder has been paid in both assets; return the passport's payouts."""
        token_id = int(passport_id, 16).to_bytes(32, "big")
        contracts = self._settling.contracts
        assets = [contracts.address(name) for name in ("C4EToken", "TestEuro")]
        wanted = {(holder, asset) for holder in holders for asset in assets}

        async def paid() -> list[Row] | None:
            await self._post("settlement/claim", {"passport_id": passport_id})
            events = await contracts.events("ChargerShares", "Claimed", [token_id])
            rows = [
                {
                    "passport_id": passport_id,
                    "holder": event.members.holder,
                    "asset": event.members.asset,
                    "amount_minor": event.members.amount,
                    "transaction_hash": event.transaction_hash,
                }
                for event in events
            ]
            return rows if {(row["holder"], row["asset"]) for row in rows} >= wanted else None

        rows = await self._wait("the payouts", paid)
        for row in rows:
            self._say(
                f"10. {row['holder']} is paid {row['amount_minor'] / 10**6:.6f} of {row['asset']}"
            )
        return rows

    # REST ---------------------------------------------------------------------------------

    async def _get(self, path: str, **query: Any) -> Any:
        answer = await self._client.get(path, params=query)
        if answer.is_error:
            raise Unavailable(f"{path}: {answer.text}")
        return answer.json()

    async def _post(self, path: str, body: Any) -> Any:
        answer = await self._client.post(path, json=body, timeout=PATIENCE_S)
        if answer.is_error:
            raise Unavailable(f"{path}: {answer.text}")
        return answer.json()

    async def _wait(self, what: str, look: Callable[[], Awaitable[T | None]]) -> T:
        patience_s = PATIENCE_S * self._pace
        patience = time.monotonic() + patience_s
        while time.monotonic() < patience:
            found = await look()
            if found is not None:
                return found
            await asyncio.sleep(POLL_S)
        raise Unavailable(f"waited {patience_s:.0f} s for {what}")
