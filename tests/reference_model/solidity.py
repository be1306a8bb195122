"""The shipped bytecode of the contracts on pyrevm, deployed in the order of production.

Messages go straight to the engine, unsigned: what is compared is what the contracts do with them,
not how they come. What pyrevm must never be told: `commit`.
"""

import json
from collections.abc import Sequence
from typing import Any

import pyrevm
from coincurve import PrivateKey
from eth_abi import encode

from chargera.domain.policy import PolicyParameters, PolicyVersion
from chargera.ledger.abi import ARTIFACTS, interface, read_revert
from chargera.proofs.chain_values import address_text, operator_word, topic_address
from chargera.proofs.keccak import keccak256
from chargera.proofs.passport import (
    RegistrationRequest,
    abi_request,
    consent_digest,
    passport_domain,
    registration_digest,
)
from chargera.proofs.secp256k1 import address_of
from chargera.proofs.settlement import Attestation, abi_attestation
from tests.reference_model.policy import version_of

CHAIN_ID = 271_828_182_845
START = 1_800_000_000
BOND = 10_000 * 10**6
DEPLOYER = bytes.fromhex("de" * 20)
BOOTSTRAP = bytes.fromhex("b0" * 20)
OWNER = bytes.fromhex("71" * 20)
"""Stands for the Timelock: its delays are not what is modelled, and contracts send nothing."""
GOVERNOR = bytes.fromhex("60" * 20)
MARKET = bytes.fromhex("3a" * 20)


class Reverts(Exception):  # noqa: N818  # named by what happens, as the errors of the product
    """The contract (or the model) refuses, with the error of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def key(number: int) -> PrivateKey:
    """A test key, the same for the same number from 1 on."""
    return PrivateKey(number.to_bytes(32, "big"))


def account(number: int) -> bytes:
    """The address of a test key."""
    return address_of(key(number).public_key.format(compressed=False))


def sign(number: int, digest: bytes) -> bytes:
    signature = key(number).sign_recoverable(digest, hasher=None)
    return signature[:64] + bytes([27 + signature[64]])


def abi_parameters(parameters: PolicyParameters) -> tuple[int, ...]:
    """The parameters in the order of the struct."""
    fees = parameters.fees
    return (
        fees.fee_bps,
        fees.ops_bps,
        fees.reserve_bps,
        parameters.settlement_window_s,
        parameters.refund_ask_after_s,
        parameters.refund_pay_after_s,
        parameters.contest_period_s,
        parameters.ruling_timeout_s,
        parameters.anchor_interval_s,
        parameters.anchor_sessions,
        parameters.dispute_bond,
        parameters.price_step_interval_s,
        parameters.low_use_bps,
        parameters.mined_hours,
        parameters.service_energy_wh,
        parameters.service_days,
        parameters.fault_score_min,
        parameters.uptime_bps_min,
    )


def abi_assets(version: PolicyVersion) -> list[tuple[object, ...]]:
    return [
        (
            row.asset,
            row.decimals,
            (row.currency or "").encode().ljust(3, b"\0"),
            row.ceilings.per_kwh,
            row.ceilings.per_hour,
            row.ceilings.flat,
            row.c4e_rate,
        )
        for row in version.assets
    ]


class Solidity:
    """The contracts by their names; `now` is the time of the next block."""

    def __init__(self) -> None:
        self._evm = pyrevm.EVM(
            spec_id="CANCUN",
            env=pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=CHAIN_ID, limit_contract_code_size=24_576)),
        )
        self.now = START
        self._nonce = 0
        self._block = 0
        self.addresses: dict[str, bytes] = {}
        self.kinds: dict[bytes, str] = {}

    # Messages ---------------------------------------------------------------------------------

    def send(self, sender: bytes, contract: str, function: str, *arguments: Any) -> Any:
        """Send a message and return its answer. Raises Reverts."""
        made = interface(contract).function(function)
        return made.decode(self._call(sender, self.addresses[contract], made.encode(arguments)))

    def read(self, contract: str, function: str, *arguments: Any) -> Any:
        """Ask a view."""
        return self.send(bytes(20), contract, function, *arguments)

    def _call(self, sender: bytes, to: bytes, data: bytes) -> bytes:
        self._begin_block()
        try:
            answer = self._evm.message_call(
                address_text(sender), address_text(to), calldata=data, gas=15_000_000
            )
        except RuntimeError as error:
            raise Reverts(_name_of(str(error))) from None
        return bytes(answer)

    def _begin_block(self) -> None:
        self._block += 1
        self._evm.set_block_env(
            pyrevm.BlockEnv(number=self._block, timestamp=self.now, gas_limit=15_000_000)
        )
        self._evm.reset_transient_storage()

    def snapshot(self) -> Any:
        return self._evm.snapshot()

    def restore(self, snapshot: Any) -> None:
        self._evm.revert(snapshot)

    # Deployment -------------------------------------------------------------------------------

    def deploy_all(self, attesters: Sequence[int], beneficiaries: Sequence[int]) -> None:
        """Deploy all contracts; attesters by their keys' numbers, and who gets their bonds."""
        foretold = {
            name: _create_address(DEPLOYER, nonce)
            for name, nonce in (
                ("NetworkPolicy", 4),
                ("AttesterRegistry", 6),
                ("EmissionController", 8),
                ("SettlementHub", 13),
            )
        }
        self._deploy("NetworkTimelock", BOOTSTRAP)
        self._deploy("TestEuro")
        self._deploy("C4EToken", DEPLOYER, foretold["EmissionController"])
        policy = self._implementation("NetworkPolicy")
        self.addresses["NetworkPolicy"] = foretold["NetworkPolicy"]
        version = version_of(1, START, self.addresses["C4EToken"], self.addresses["TestEuro"])
        self._proxy(
            "NetworkPolicy",
            policy,
            interface("NetworkPolicy")
            .function("initialize")
            .encode(
                [
                    OWNER,
                    START,
                    abi_parameters(version.parameters),
                    abi_assets(version),
                ]
            ),
        )
        c4e = self.addresses["C4EToken"]
        registry = self._implementation("AttesterRegistry", c4e, foretold["SettlementHub"])
        self.send(
            DEPLOYER, "C4EToken", "transfer", foretold["AttesterRegistry"], len(attesters) * BOND
        )
        genesis = [
            (account(signer), account(owner))
            for signer, owner in zip(attesters, beneficiaries, strict=True)
        ]
        keys = (account(OPERATOR_KEY), b"log key".ljust(32), topic_address("0.0.1001"))
        self._proxy(
            "AttesterRegistry",
            registry,
            interface("AttesterRegistry")
            .function("initialize")
            .encode([OWNER, genesis, operator_word("NL*C4E"), keys]),
        )
        emission = self._implementation("EmissionController")
        self._proxy(
            "EmissionController",
            emission,
            interface("EmissionController").function("initialize").encode([OWNER]),
        )
        self._deploy(
            "ChargerPassport",
            foretold["NetworkPolicy"],
            foretold["AttesterRegistry"],
            c4e,
            foretold["EmissionController"],
        )
        passport = self.addresses["ChargerPassport"]
        self._deploy(
            "ChargerShares", passport, foretold["SettlementHub"], foretold["EmissionController"]
        )
        known = (
            c4e,
            passport,
            self.addresses["ChargerShares"],
            foretold["NetworkPolicy"],
            foretold["AttesterRegistry"],
            OWNER,
        )
        court = self._implementation("SettlementCourt", *known)
        hub = self._implementation("SettlementHub", *known, court)
        self._proxy(
            "SettlementHub",
            hub,
            interface("SettlementHub").function("initialize").encode([OWNER]),
        )
        for name, address in foretold.items():
            assert self.addresses[name] == address, f"{name} is not where it was foretold"

    def register(self, request: RegistrationRequest, host: int, attesters: Sequence[int]) -> None:
        """Begin a registration with everybody's signatures; attester n has index n of the list."""
        domain = passport_domain(CHAIN_ID, self.addresses["ChargerPassport"])
        digest = registration_digest(request, domain)
        attestation = Attestation.of(
            {place: sign(number, digest) for place, number in enumerate(attesters)}
        )
        self.send(
            DEPLOYER,
            "ChargerPassport",
            "register",
            abi_request(request),
            abi_attestation(attestation),
            sign(host, consent_digest(request, domain)),
        )

    def _implementation(self, name: str, *arguments: object) -> bytes:
        return self._create(name, arguments)

    def _deploy(self, name: str, *arguments: object) -> None:
        self.addresses[name] = self._create(name, arguments)

    def _proxy(self, name: str, implementation: bytes, call: bytes) -> None:
        self.addresses[name] = self._create("ERC1967Proxy", (implementation, call))

    def _create(self, name: str, arguments: Sequence[object]) -> bytes:
        artifact = json.loads((ARTIFACTS / f"{name}.json").read_bytes())
        code = bytes.fromhex(artifact["bytecode"].removeprefix("0x"))
        for member in artifact["abi"]:
            if member["type"] == "constructor":
                code += encode([part["type"] for part in member["inputs"]], list(arguments))
        self._begin_block()
        try:
            created = self._evm.deploy(address_text(DEPLOYER), code, gas=15_000_000)
        except RuntimeError as error:
            raise AssertionError(f"{name}: {_name_of(str(error))}") from None
        address = bytes.fromhex(created[2:])
        assert address == _create_address(DEPLOYER, self._nonce), name
        self._nonce += 1
        return address


OPERATOR_KEY = 41


def _create_address(sender: bytes, nonce: int) -> bytes:
    """Where the contract of a sender's transaction with that nonce (under 128) comes to stand."""
    number = bytes([nonce]) if nonce else b"\x80"
    return keccak256(bytes([0xC0 + 21 + 1, 0x80 + 20]) + sender + number)[-20:]


def _name_of(error: str) -> str:
    start = error.find("output: 0x")
    if start < 0:
        return error
    data = error[start + len("output: 0x") :].split(" ", maxsplit=1)[0].rstrip("}")
    return read_revert(bytes.fromhex(data)).name
