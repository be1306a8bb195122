"""The model and the contracts side by side: one call to both, and every number compared."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from chargera.domain.passport import PassportFacts, PassportStatus, degrees_e7
from chargera.domain.settlement import BatchState
from chargera.proofs.chain_values import address_text, operator_word, topic_address
from chargera.proofs.keccak import keccak256
from chargera.proofs.passport import RegistrationRequest
from chargera.proofs.settlement import (
    Attestation,
    Batch,
    abi_attestation,
    abi_batch,
    batch_digest,
    escrow_id,
)
from tests.reference_model.hub import Hub
from tests.reference_model.policy import DAY, version_of
from tests.reference_model.registry import Member, Registry
from tests.reference_model.shares import THE_PASSPORT, Shares
from tests.reference_model.solidity import (
    CHAIN_ID,
    DEPLOYER,
    OPERATOR_KEY,
    OWNER,
    START,
    Reverts,
    Solidity,
    account,
    sign,
)
from tests.reference_model.world import Money, Passport, Policy

ATTESTERS = (1, 2, 3, 4)
RESERVE = 5  # the key of an attester who may be admitted later
BENEFICIARIES = (51, 52, 53, 54)
RESERVE_BENEFICIARY = 55
PAYERS = (11, 12, 13, 14)
HOSTS = (21, 22, 23)
GATEWAYS = (31, 32)
OPERATORS = {"NL*C4E": OPERATOR_KEY, "DE*ABC": 42}
PEOPLE = (71, 72, 73)  # holders, proposers, keepers, challengers
ACCOUNTS = (*BENEFICIARIES, RESERVE_BENEFICIARY, *PAYERS, *HOSTS, *GATEWAYS, *PEOPLE)
RICH = 2_000_000 * 10**6
FIRST_NOW = START + 3 * DAY + 1
PLATES = (
    ("NL*C4E", 21, 3_000, 22_000),
    ("NL*C4E", 22, 8_000, 150_000),
    ("NL*C4E", 23, 0, 350_000),
    ("NL*C4E", 21, 2_500, 50_000),
    ("DE*ABC", 22, 3_333, 22_000),
)
"""Operator, key of the host, commission in basis points, rated W of each passport."""


@dataclass(frozen=True)
class Deployed:
    """The contracts after the set-up, which every history begins from."""

    solidity: Solidity
    snapshot: Any
    passports: tuple[RegistrationRequest, ...]


def request_of_plate(place: int) -> RegistrationRequest:
    operator, host, commission, rated_w = PLATES[place]
    return RegistrationRequest(
        manufacturer="ACME",
        serial=f"SN {place}",
        operator_id=operator,
        host=account(host),
        metadata_digest=bytes([place]) * 32,
        meter_key_hash=bytes(32),
        station_key_hash=bytes(32),
        commission_bps=commission,
        lat_e7=degrees_e7("52.1"),
        lon_e7=degrees_e7("-4.2"),
        protocols=1,
        rated_w=rated_w,
        evse_count=2,
        topic=topic_address("0.0.1001"),
        sequence_number=1,
        log_index=place,
        nonce=bytes(32),
    )


@cache
def deployed() -> Deployed:
    """Deploy once a process: histories are undone to the snapshot."""
    sol = Solidity()
    sol.deploy_all(ATTESTERS, BENEFICIARIES)
    sol.send(
        OWNER,
        "AttesterRegistry",
        "setOperator",
        operator_word("DE*ABC"),
        (account(OPERATORS["DE*ABC"]), b"log key".ljust(32), topic_address("0.0.1002")),
    )
    requests = tuple(request_of_plate(place) for place in range(len(PLATES)))
    for request, plate in zip(requests, PLATES, strict=True):
        sol.register(request, plate[1], ATTESTERS)
    sol.now = FIRST_NOW
    for request in requests:
        sol.send(DEPLOYER, "ChargerPassport", "confirm", request.token_id)
    hub, registry = sol.addresses["SettlementHub"], sol.addresses["AttesterRegistry"]
    for number in ACCOUNTS:
        who = account(number)
        sol.send(DEPLOYER, "C4EToken", "transfer", who, RICH)
        sol.send(DEPLOYER, "TestEuro", "faucet", who, RICH)
        for asset in ("C4EToken", "TestEuro"):
            sol.send(who, asset, "approve", hub, 2**256 - 1)
            sol.send(who, asset, "approve", registry, 2**256 - 1)
    return Deployed(sol, sol.snapshot(), requests)


class Twin:
    """Both sides of one history. `count` counts what succeeded and what was refused, by kind."""

    def __init__(self, count: Counter[str] | None = None) -> None:
        self._deployed = deployed()
        self.sol = self._deployed.solidity
        self.sol.now = FIRST_NOW
        self._snapshot = self.sol.snapshot()
        self.count = Counter() if count is None else count
        place = self.sol.addresses
        self.c4e, self.euro = place["C4EToken"], place["TestEuro"]
        self.assets = (self.c4e, self.euro)
        self.hub_address = place["SettlementHub"]
        self.timelock = OWNER
        self._build()
        self._snapshots = [self._snapshot]

    def _build(self) -> None:
        place = self.sol.addresses
        self.money = Money()
        for number in ACCOUNTS:
            for asset in self.assets:
                self.money.mint(asset, account(number), RICH)
        genesis = 100_000_000 * 10**6
        bonds = len(ATTESTERS) * 10_000 * 10**6
        self.money.mint(self.c4e, place["AttesterRegistry"], bonds)
        self.money.mint(self.c4e, DEPLOYER, genesis - bonds - len(ACCOUNTS) * RICH)
        self.policy = Policy([version_of(1, START, self.c4e, self.euro)])
        self.passports = {
            request.token_id: Passport(
                _facts(request), request.host, [(FIRST_NOW, request.operator_id)]
            )
            for request in self._deployed.passports
        }
        self.registry = Registry(
            place["AttesterRegistry"],
            self.c4e,
            self.money,
            [
                Member(account(signer), account(owner))
                for signer, owner in zip(ATTESTERS, BENEFICIARIES, strict=True)
            ],
        )
        self.shares = Shares(place["ChargerShares"], self.money, self.passports)
        self.hub = Hub(
            self.hub_address,
            self.c4e,
            self.timelock,
            self.money,
            self.policy,
            self.passports,
            self.registry,
            self.shares,
        )

    def close(self) -> None:
        """Undo everything."""
        self.sol.restore(self._snapshot)

    @property
    def now(self) -> int:
        return self.sol.now

    @property
    def tokens(self) -> list[bytes]:
        return list(self.passports)

    def advance(self, seconds: int) -> None:
        self.sol.now += seconds

    def do(self, kind: str, model: Callable[[], Any], solidity: Callable[[], Any]) -> str | None:
        """Do a thing on both sides; return the error's name. Answers and errors must be equal."""
        said, refused = _attempt(model)
        answer, error = _attempt(solidity)
        assert refused == error, f"{kind}: the model says {refused}, the contract {error}"
        if said is not None:
            assert said == answer, f"{kind}: the model answers {said}, the contract {answer}"
        self.count[f"{kind}: {error or 'done'}"] += 1
        return error

    def send(self, sender: bytes, contract: str, function: str, *arguments: Any) -> Any:
        return self.sol.send(sender, contract, function, *arguments)

    # Batches ----------------------------------------------------------------------------------

    def digest(self, batch: Batch) -> bytes:
        return batch_digest(batch, CHAIN_ID, self.hub_address)

    def propose(
        self,
        batch: Batch,
        signers: Iterable[int],
        *,
        gateway_key: int | None,
        caller: int = PEOPLE[0],
        wrong: bool = False,
    ) -> str | None:
        """Propose a batch with signatures of these indexes; `wrong`: over another digest."""
        digest = self.digest(batch)
        keys = (*ATTESTERS, RESERVE)
        over = b"\1" * 32 if wrong else digest
        attestation = Attestation.of({i: sign(keys[i], over) for i in signers})
        signed_by = [b"" if wrong else account(keys[i]) for i in attestation.indexes]
        gateway = None if gateway_key is None else account(gateway_key)
        signature = b"" if gateway_key is None else sign(gateway_key, digest)
        return self.do(
            "propose",
            lambda: self.hub.propose(
                digest, batch, attestation.signers, signed_by, gateway, self.now
            ),
            lambda: self.send(
                account(caller),
                "SettlementHub",
                "propose",
                abi_batch(batch),
                abi_attestation(attestation),
                signature,
            ),
        )

    def settle(self, batch: Batch, caller: int) -> str | None:
        digest = self.digest(batch)
        return self.do(
            "settle",
            lambda: self.hub.settle(digest, account(caller), self.now),
            lambda: self.send(account(caller), "SettlementHub", "settle", abi_batch(batch)),
        )

    # Comparing --------------------------------------------------------------------------------

    def check_sums(self) -> None:
        """What must hold after every step: I1 and I2, and the balances that they are about."""
        read = self.sol.read
        for name, asset in (("C4EToken", self.c4e), ("TestEuro", self.euro)):
            held = self.money.of(asset, self.hub_address)
            assert held == read(name, "balanceOf", self.hub_address)
            assert held == self.hub.owes(asset), "I1"
            in_shares = self.money.of(asset, self.shares.address)
            assert in_shares == read(name, "balanceOf", self.shares.address)
            owed = sum(o for (_, of, _), o in self.shares.owed.items() if of == asset)
            assert in_shares * 10**6 == owed, "I2"

    def check_all(self) -> None:
        """Compare every number that either side has."""
        self.check_sums()
        self._check_money()
        self._check_hub()
        self._check_batches()
        self._check_registry()
        self._check_shares()

    def _check_money(self) -> None:
        accounts = [account(n) for n in ACCOUNTS]
        accounts += [self.timelock, self.registry.address]
        for name, asset in (("C4EToken", self.c4e), ("TestEuro", self.euro)):
            assert self.sol.read(name, "totalSupply") == self.money.supply[asset]
            for who in accounts:
                assert self.sol.read(name, "balanceOf", who) == self.money.of(asset, who)

    def _check_hub(self) -> None:
        read = self.sol.read
        who = {account(n) for n in ACCOUNTS} | {who for who, _ in self.hub.withdrawable}
        who.add(self.timelock)
        for asset in self.assets:
            for one in who:
                due = self.hub.withdrawable.get((one, asset), 0)
                assert read("SettlementHub", "withdrawable", one, asset) == due
            for number in GATEWAYS:
                gateway = self.hub.gateways[account(number), asset]
                both = read("SettlementHub", "gatewayOf", account(number), asset)
                assert both == (gateway.free, gateway.locked)
            for operator in OPERATORS:
                bounds = self.hub.rate_bounds(operator, asset, self.now)
                _, *read_bounds = read(
                    "SettlementHub", "rateBounds", operator_word(operator), asset
                )
                assert tuple(read_bounds) == bounds
        for number in HOSTS:
            host = self.hub.hosts[account(number)]
            both = read("SettlementHub", "prepaidOf", account(number))
            assert both == (host.prepaid, host.rate_max)
        for place, escrow in self.hub.escrows.items():
            it = read("SettlementHub", "escrowOf", place)
            index = 0 if escrow.asset is None else self.policy.assets.index(escrow.asset) + 1
            assert (it.assetIndex, it.max, it.openedAt, it.askedAt) == (
                index,
                escrow.maximum,
                escrow.opened_at,
                escrow.asked_at,
            )

    def _check_batches(self) -> None:
        read = self.sol.read
        states = (None, BatchState.PROPOSED, BatchState.SETTLED, BatchState.KILLED)
        for digest, it in self.hub.proposals.items():
            row = read("SettlementHub", "batchOf", digest)
            assert (row.proposedAt, row.windowEndsAt, states[row.state]) == (
                it.proposed_at,
                it.window_ends_at,
                it.state,
            )
            disputed = sum(1 << place for place in it.disputed)
            assert (row.quorum, row.disputed, row.signers) == (it.quorum, disputed, it.signers)
        for (operator, asset), numbers in self.hub.settled.items():
            for word in {0} | {number // 256 for number in numbers}:
                bits = sum(1 << n % 256 for n in numbers if n // 256 == word)
                lane = (operator_word(operator), asset)
                assert read("SettlementHub", "settledWord", *lane, word) == bits

    def _check_registry(self) -> None:
        read = self.sol.read
        assert read("AttesterRegistry", "quorum") == self.registry.quorum
        for index, member in enumerate(self.registry.members):
            it = read("AttesterRegistry", "attesterOf", index)
            assert (it.signer, it.beneficiary) == (
                address_text(member.signer),
                address_text(member.beneficiary),
            )
            assert (it.bond, it.unbondingSince, it.frozenSince, it.frozenUntil) == (
                member.bond,
                member.unbonding_since,
                member.frozen_since,
                member.frozen_until,
            )
            assert (it.isActive, it.isSlashed) == (member.is_active, member.is_slashed)
            exposure = read("SettlementHub", "exposureOf", index)
            assert exposure == self.hub.exposures[index]

    def _check_shares(self) -> None:
        read = self.sol.read
        for token in self.tokens:
            number = int.from_bytes(token, "big")
            holders = self.shares.holders(token)
            assert read("ChargerShares", "unreleased", number) == holders[THE_PASSPORT]
            assert sum(holders.values()) == 10**6
            for asset in self.assets:
                total = self.shares.total[token, asset]
                assert read("ChargerShares", "totalNotified", number, asset) == total
                for who in holders:
                    owed = read("ChargerShares", "owedMillionths", number, asset, who)
                    assert owed == self.shares.owed[token, asset, who]

    def dispute_id(self, digest: bytes, place: int) -> bytes:
        """Which dispute is of that leaf of that batch."""
        return keccak256(digest + place.to_bytes(32, "big"))

    def escrow_of(self, payer: bytes, operator: str, key: bytes) -> bytes:
        return escrow_id(payer, operator, key)


def _attempt(call: Callable[[], Any]) -> tuple[Any, str | None]:
    try:
        return call(), None
    except Reverts as error:
        return None, error.name


def _facts(request: RegistrationRequest) -> PassportFacts:
    return PassportFacts(
        status=PassportStatus.MINTED,
        operator_id=request.operator_id,
        host=request.host,
        lat_e7=request.lat_e7,
        lon_e7=request.lon_e7,
        protocols=request.protocols,
        rated_w=request.rated_w,
        evse_count=request.evse_count,
        commission_bps=request.commission_bps,
        requested_at=START,
        registered_at=FIRST_NOW,
        retired_at=0,
        metadata_digest=request.metadata_digest,
        meter_key_hash=request.meter_key_hash,
        station_key_hash=request.station_key_hash,
        registration_hash=bytes(32),
    )
