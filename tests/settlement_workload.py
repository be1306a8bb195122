"""A network's life as signed transactions: contracts, passports, batches proposed and settled.

The list depends on its arguments alone, so that any chain may run it: benchmarks compare chains
with it, the ordeal of kill -9 runs it against a server.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from eth_abi.abi import encode

from chargera.domain.settlement import Rail
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm import artifacts
from chargera.ledger.evm.deployment import (
    C4E,
    EURO_C4E_RATE,
    AttesterGenesis,
    DeploymentParameters,
    Grant,
    OperatorGenesis,
    Plan,
    make_plan,
)
from chargera.ledger.evm.transaction import sign
from chargera.proofs.keccak import keccak256
from chargera.proofs.passport import (
    RegistrationRequest,
    abi_request,
    consent_digest,
    passport_domain,
    registration_digest,
)
from chargera.proofs.settlement import (
    Attestation,
    Batch,
    Leaf,
    abi_attestation,
    abi_batch,
    batch_digest,
)

DAY_S = 86_400
OPERATOR_ID = "NL*C4E"
TOPIC = (1001).to_bytes(20)
SESSION_S = 1_800
AMOUNT, VAT = 5_000_000, 1_050_000
"""5 euros and 21 % of it, in minor units of the test euro."""
GAS = 6_000_000
DEPOSIT = 10**15
"""What the gateway puts in, minor units of the test euro."""
DEPLOYER, BOOTSTRAP, OPERATOR, HOST, GATEWAY, KEEPER = (
    ChainKey(bytes([n]) * 32) for n in (31, 32, 33, 34, 35, 36)
)
ATTESTERS = [ChainKey(bytes([n]) * 32) for n in (41, 42, 43, 44)]
QUORUM = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Timed:
    """A transaction, and the earliest second at which the chain may run it."""

    raw: bytes
    time: int


class Workload:
    """Signed transactions in three parts, to be run in order."""

    def __init__(
        self, chain_id: int, start_s: int, *, passports: int = 20, batches: int, leaves: int = 48
    ) -> None:
        self.chain_id = chain_id
        self.start_s = start_s
        self.sessions = batches * leaves
        self._nonces: dict[bytes, int] = {}
        self.plan = self._plan()
        self.contracts = self.plan.contracts
        # In the order in which the hub wants a batch's table.
        self.passports = sorted(map(self._request, range(passports)), key=lambda r: r.token_id)
        self.begun_s = start_s + 5 * DAY_S
        """When passports are minted and sessions begin."""
        self.settled_s = self.begun_s + 3 * DAY_S
        """When the windows of all batches are over."""
        made = [self._batch(n, leaves) for n in range(batches)]
        self.setting_up = list(self._set_up())
        self.proposing = [self._propose(batch) for batch in made]
        self.settling = [self._settle(batch) for batch in made]

    # Setting up ----------------------------------------------------------------------------

    def _plan(self) -> Plan:
        return make_plan(
            DeploymentParameters(
                chain_id=self.chain_id,
                bootstrap=BOOTSTRAP.address,
                attesters=tuple(AttesterGenesis(key.address, key.address) for key in ATTESTERS),
                operator=OperatorGenesis(OPERATOR_ID, OPERATOR.address, b"\1" * 32, TOPIC),
                policy_from_s=self.start_s + 100,
                grants=(Grant("host", HOST.address, 1_000_000 * C4E),),
            ),
            DEPLOYER.address,
        )

    def _set_up(self) -> Iterator[Timed]:
        for place in range(len(self.plan.steps)):
            yield Timed(self.plan.raw(place, DEPLOYER), self.start_s)
        self._nonces[DEPLOYER.address] = len(self.plan.steps)
        hub = self.contracts["SettlementHub"]
        faucet = {"to": GATEWAY.address, "amount": DEPOSIT}
        yield self._send(DEPLOYER, "TestEuro", "faucet", faucet)
        yield self._send(GATEWAY, "TestEuro", "approve", {"spender": hub, "value": DEPOSIT})
        deposit = {"asset": self.contracts["TestEuro"], "amount": DEPOSIT}
        yield self._send(GATEWAY, "SettlementHub", "depositGateway", deposit)
        prepaid = 900_000 * C4E
        yield self._send(HOST, "C4EToken", "approve", {"spender": hub, "value": prepaid})
        yield self._send(HOST, "SettlementHub", "prepay", {"amount": prepaid})
        for request in self.passports:
            yield self._register(request)
        for request in self.passports:
            yield self._send(
                KEEPER,
                "ChargerPassport",
                "confirm",
                {"tokenId": request.token_id},
                time=self.begun_s,
            )

    def _request(self, number: int) -> RegistrationRequest:
        return RegistrationRequest(
            manufacturer="ACME",
            serial=f"SN-{number}",
            operator_id=OPERATOR_ID,
            host=HOST.address,
            metadata_digest=b"\2" * 32,
            meter_key_hash=keccak256(b"meter %d" % number),
            station_key_hash=bytes(32),
            commission_bps=3_000,
            lat_e7=520_000_000,
            lon_e7=50_000_000,
            protocols=1,
            rated_w=150_000,
            evse_count=1,
            topic=TOPIC,
            sequence_number=1,
            log_index=number,
            nonce=keccak256(b"nonce %d" % number),
        )

    def _register(self, request: RegistrationRequest) -> Timed:
        domain = passport_domain(self.chain_id, self.contracts["ChargerPassport"])
        digest = registration_digest(request, domain)
        arguments = [
            abi_request(request),
            abi_attestation(_signed(digest)),
            HOST.sign(consent_digest(request, domain)),
        ]
        return self._send_encoded(
            KEEPER, "ChargerPassport", "register", arguments, self.start_s + DAY_S
        )

    # Batches -------------------------------------------------------------------------------

    def _batch(self, number: int, leaves: int) -> Batch:
        return Batch(
            operator_id=OPERATOR_ID,
            asset=self.contracts["TestEuro"],
            checkpoint=keccak256(b"checkpoint %d" % number),
            tree_size=100_000 * (number + 1),
            topic=TOPIC,
            sequence_number=number + 1,
            valid_until=self.settled_s + DAY_S,
            proposer=KEEPER.address,
            c4e_rate=EURO_C4E_RATE,
            gateway=GATEWAY.address,
            fiat_total=leaves * AMOUNT,
            passports=tuple(request.token_id for request in self.passports),
            leaves=tuple(self._leaf(number * leaves + place) for place in range(leaves)),
        )

    def _leaf(self, number: int) -> Leaf:
        start = self.begun_s + 60 + (number // len(self.passports)) * 2 * SESSION_S
        return Leaf(
            evidence_digest=keccak256(b"cdr %d" % number),
            payer=bytes(20),
            cdr_no=number,
            log_index=1_000 + number,
            amount=AMOUNT,
            vat=VAT,
            session_key=keccak256(b"session %d" % number)[:16],
            start=start,
            end=start + SESSION_S,
            import_wh=20_000,
            export_wh=0,
            passport_index=number % len(self.passports),
            evse=1,
            rail=Rail.FIAT,
            proof_level=2,
            policy_version=1,
        )

    def _propose(self, batch: Batch) -> Timed:
        digest = batch_digest(batch, self.chain_id, self.contracts["SettlementHub"])
        arguments = [abi_batch(batch), abi_attestation(_signed(digest)), GATEWAY.sign(digest)]
        proposed_s = self.settled_s - 2 * DAY_S
        return self._send_encoded(KEEPER, "SettlementHub", "propose", arguments, proposed_s)

    def _settle(self, batch: Batch) -> Timed:
        arguments = [abi_batch(batch)]
        return self._send_encoded(KEEPER, "SettlementHub", "settle", arguments, self.settled_s)

    # Signing -------------------------------------------------------------------------------

    def _send(
        self, key: ChainKey, contract: str, function: str, arguments: dict, *, time: int = 0
    ) -> Timed:
        data = artifacts.load(contract).call(function, arguments)
        return self._signed(key, contract, data, time or self.start_s)

    def _send_encoded(
        self, key: ChainKey, contract: str, function: str, arguments: list, time: int
    ) -> Timed:
        entry = next(e for e in artifacts.load(contract).abi if e.get("name") == function)
        types = [_type(parameter) for parameter in entry["inputs"]]
        selector = keccak256(f"{function}({','.join(types)})".encode())[:4]
        return self._signed(key, contract, selector + encode(types, arguments), time)

    def _signed(self, key: ChainKey, contract: str, data: bytes, time: int) -> Timed:
        nonce = self._nonces.get(key.address, 0)
        self._nonces[key.address] = nonce + 1
        to = self.contracts[contract]
        raw = sign(key, chain_id=self.chain_id, nonce=nonce, to=to, data=data, gas_limit=GAS)
        return Timed(raw, time)


def _signed(digest: bytes) -> Attestation:
    return Attestation.of({index: ATTESTERS[index].sign(digest) for index in QUORUM})


def _type(parameter: dict) -> str:
    if not parameter["type"].startswith("tuple"):
        return parameter["type"]
    members = ",".join(_type(member) for member in parameter["components"])
    return f"({members}){parameter['type'].removeprefix('tuple')}"
