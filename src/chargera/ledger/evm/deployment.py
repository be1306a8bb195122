"""How the contracts of a network come onto a chain: signed transactions of one deployer key.

The deployer's nonces say where each contract comes to stand, so every contract knows the others'
addresses before they exist, in whatever order they are made. The plan is data: `STEPS` names the
contracts, and their constructors and initializers take what they need by the names of their
parameters. Deploying is idempotent: what the chain has of a plan is not sent again.

    parameters = DeploymentParameters(chain_id=..., bootstrap=..., attesters=..., operator=...)
    plan = make_plan(parameters, deployer.address)
    await deploy(chain, plan, deployer)                 # one transaction after the other
    execute(sending, plan, deployer, chain.chain_id)    # or all in one unit of work
    plan.contracts                                      # addresses by name, as in the trust file
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from chargera.app.chain_ports import GAS_LIMIT, Chain, Receipt
from chargera.domain.errors import Refused, Unavailable
from chargera.domain.policy import AssetPolicy, PolicyParameters
from chargera.domain.settlement import Ceilings, Fees
from chargera.ledger.abi import read_revert
from chargera.ledger.evm import artifacts
from chargera.ledger.evm.transaction import SigningKey, contract_address, parse, sign
from chargera.proofs.chain_values import operator_word

C4E_DECIMALS = 6
C4E = 10**C4E_DECIMALS
GENESIS = 100_000_000 * C4E
BOND = 10_000 * C4E
"""Bond of one attester (AttesterRegistry.BOND)."""
C4E_RATE = 10**6
EURO_DECIMALS = 6
DAY_S = 86_400


# What is decided -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AttesterGenesis:
    """An attester who is admitted at the beginning; both addresses have 20 bytes."""

    signer: bytes
    beneficiary: bytes


@dataclass(frozen=True, slots=True)
class OperatorGenesis:
    """The first operator: `NL*C4E`, who signs for him, his log's Ed25519 key, his topic."""

    operator_id: str
    signer: bytes
    log_key: bytes
    topic: bytes


@dataclass(frozen=True, slots=True)
class Grant:
    """C4E that somebody has from the beginning, minor units; `label` says why."""

    label: str
    to: bytes
    amount: int


DEFAULT_POLICY = PolicyParameters(
    fees=Fees(fee_bps=500, ops_bps=100, reserve_bps=0),
    settlement_window_s=DAY_S,
    refund_ask_after_s=11 * DAY_S,
    refund_pay_after_s=3 * DAY_S,
    contest_period_s=3 * DAY_S,
    ruling_timeout_s=21 * DAY_S,
    anchor_interval_s=3_600,
    anchor_sessions=256,
    dispute_bond=20 * C4E,
    price_step_interval_s=900,
    low_use_bps=1_000,
    mined_hours=0,
    service_energy_wh=20_000_000,
    service_days=365,
    fault_score_min=70,
    uptime_bps_min=9_500,
)
"""The first policy; reserves are zero until there is a MaintenanceMarket."""

EURO_CEILINGS = Ceilings(per_kwh=2_000_000, per_hour=30_000_000, flat=50_000_000)
"""2 EUR a kWh, 30 an hour, 50 a session."""
EURO_C4E_RATE = 10 * C4E_RATE
"""10 C4E for a euro, where the log has no rate yet."""


@dataclass(frozen=True, slots=True)
class DeploymentParameters:
    """All that a deployment depends on: equal parameters make equal transactions."""

    chain_id: int
    bootstrap: bytes
    """Proposer of the Timelock until there is a Governor."""
    attesters: tuple[AttesterGenesis, ...]
    operator: OperatorGenesis
    policy_from_s: int
    """From when the first policy holds: not before the block that stores it."""
    policy: PolicyParameters = DEFAULT_POLICY
    grants: tuple[Grant, ...] = field(default=())
    """C4E for demonstrations and tests; all the rest goes to the Timelock."""


# What is sent ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction: it makes a contract (`to` None), or calls one."""

    label: str
    to: bytes | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """The transactions of a deployment in their order, from the deployer's nonce 0 on."""

    chain_id: int
    steps: tuple[Step, ...]
    contracts: Mapping[str, bytes]
    """Addresses by the names of the trust file."""

    def raw(self, place: int, deployer: SigningKey) -> bytes:
        """Return the signed transaction of a step; always the same bytes."""
        step = self.steps[place]
        return sign(
            deployer,
            chain_id=self.chain_id,
            nonce=place,
            to=step.to,
            data=step.data,
            gas_limit=GAS_LIMIT,
        )


@dataclass(frozen=True, slots=True)
class _Made:
    """A contract of the plan: with an initializer it stands behind a proxy of its own."""

    artifact: str
    name: str
    """Its name in the trust file."""
    parameter: str
    """What constructors and initializers of the others call its address."""
    is_proxy: bool = False


CONTRACTS = (
    _Made("NetworkTimelock", "TimelockController", "timelock"),
    _Made("C4EToken", "C4EToken", "c4e"),
    _Made("TestEuro", "TestEuro", "euro"),
    _Made("NetworkPolicy", "NetworkPolicy", "policy", is_proxy=True),
    _Made("AttesterRegistry", "AttesterRegistry", "registry", is_proxy=True),
    _Made("EmissionController", "EmissionController", "emissionController", is_proxy=True),
    _Made("ChargerPassport", "ChargerPassport", "passport"),
    _Made("ChargerShares", "ChargerShares", "shares"),
    _Made("SettlementCourt", "SettlementCourt", "court"),
    _Made("SettlementHub", "SettlementHub", "hub", is_proxy=True),
)
PROXY = "ERC1967Proxy"
BONDS_BEFORE = "registry"
"""Bonds lie on its address before its initializer looks for them."""


def make_plan(parameters: DeploymentParameters, deployer: bytes) -> Plan:
    """Return the transactions with which `deployer` brings the contracts onto a chain."""
    places = _places()
    standing = {parameter: contract_address(deployer, nonce) for parameter, nonce in places.items()}
    values = _values(parameters, deployer, standing)
    steps: list[Step] = []
    for made in CONTRACTS:
        artifact = artifacts.load(made.artifact)
        creation = artifact.creation(values)
        if not made.is_proxy:
            steps.append(Step(made.name, None, creation))
            continue
        steps.append(Step(f"{made.name} implementation", None, creation))
        implementation = contract_address(deployer, len(steps) - 1)
        if made.parameter == BONDS_BEFORE:
            bonds = BOND * len(parameters.attesters)
            steps.append(_transfer("bonds", standing, standing["registry"], bonds))
        proxied = {
            "implementation": implementation,
            "_data": artifact.call("initialize", values),
        }
        steps.append(Step(made.name, None, artifacts.load(PROXY).creation(proxied)))
    assert all(steps[nonce].to is None for nonce in places.values()), "each place makes a contract"
    steps += _treasury(parameters, standing)
    contracts = {made.name: standing[made.parameter] for made in CONTRACTS}
    return Plan(parameters.chain_id, tuple(steps), contracts)


def _places() -> dict[str, int]:
    """Return the nonce that makes each contract, by its parameter's name."""
    places, nonce = {}, 0
    for made in CONTRACTS:
        nonce += made.is_proxy + (made.parameter == BONDS_BEFORE)
        places[made.parameter] = nonce
        nonce += 1
    return places


def _values(
    parameters: DeploymentParameters, deployer: bytes, standing: Mapping[str, bytes]
) -> dict[str, Any]:
    """Return every value that a constructor or an initializer may ask for, by its name."""
    operator = parameters.operator
    return {
        **standing,
        "bootstrap_": parameters.bootstrap,
        "holder": deployer,
        "minter_": standing["emissionController"],
        "owner_": standing["timelock"],
        "from": parameters.policy_from_s,
        "parameters": _policy(parameters.policy),
        "assets": [_asset(asset) for asset in _assets(standing)],
        "attesters": [
            {"signer": attester.signer, "beneficiary": attester.beneficiary}
            for attester in parameters.attesters
        ],
        "operatorId": operator_word(operator.operator_id),
        "operator": {
            "signer": operator.signer,
            "logKey": operator.log_key,
            "topic": operator.topic,
        },
    }


def _assets(standing: Mapping[str, bytes]) -> tuple[AssetPolicy, ...]:
    scale = EURO_C4E_RATE // C4E_RATE
    in_c4e = Ceilings(
        per_kwh=EURO_CEILINGS.per_kwh * scale,
        per_hour=EURO_CEILINGS.per_hour * scale,
        flat=EURO_CEILINGS.flat * scale,
    )
    return (
        AssetPolicy(standing["c4e"], C4E_DECIMALS, None, in_c4e, C4E_RATE),
        AssetPolicy(standing["euro"], EURO_DECIMALS, "EUR", EURO_CEILINGS, EURO_C4E_RATE),
    )


def _treasury(parameters: DeploymentParameters, standing: Mapping[str, bytes]) -> list[Step]:
    """Return the transfers after which the deployer has nothing left."""
    left = GENESIS - BOND * len(parameters.attesters)
    steps = []
    for grant in parameters.grants:
        left -= grant.amount
        steps.append(_transfer(grant.label, standing, grant.to, grant.amount))
    if left < 0:
        raise Refused("the grants exceed what there is", field="grants")
    steps.append(_transfer("treasury", standing, standing["timelock"], left))
    return steps


def _transfer(label: str, standing: Mapping[str, bytes], to: bytes, amount: int) -> Step:
    data = artifacts.load("C4EToken").call("transfer", {"to": to, "value": amount})
    return Step(label, standing["c4e"], data)


def _policy(policy: PolicyParameters) -> dict[str, int]:
    return {
        "feeBps": policy.fees.fee_bps,
        "opsBps": policy.fees.ops_bps,
        "reserveBps": policy.fees.reserve_bps,
        "settlementWindow": policy.settlement_window_s,
        "refundAskAfter": policy.refund_ask_after_s,
        "refundPayAfter": policy.refund_pay_after_s,
        "contestPeriod": policy.contest_period_s,
        "rulingTimeout": policy.ruling_timeout_s,
        "anchorInterval": policy.anchor_interval_s,
        "anchorSessions": policy.anchor_sessions,
        "disputeBond": policy.dispute_bond,
        "priceStepInterval": policy.price_step_interval_s,
        "lowUseBps": policy.low_use_bps,
        "minedHours": policy.mined_hours,
        "serviceEnergyWh": policy.service_energy_wh,
        "serviceDays": policy.service_days,
        "faultScoreMin": policy.fault_score_min,
        "uptimeBpsMin": policy.uptime_bps_min,
    }


def _asset(asset: AssetPolicy) -> dict[str, Any]:
    return {
        "asset": asset.asset,
        "decimals": asset.decimals,
        "currency": (asset.currency or "").encode("ascii").ljust(3, b"\0"),
        "ceilingPerKwh": asset.ceilings.per_kwh,
        "ceilingPerHour": asset.ceilings.per_hour,
        "ceilingFlat": asset.ceilings.flat,
        "c4eRate": asset.c4e_rate,
    }


# Sending ---------------------------------------------------------------------------------------


class ExecutesNow(Protocol):
    """Whatever runs a transaction at once: `Sending` of the embedded chain."""

    def send(self, raw: bytes) -> Receipt:
        """Run a signed transaction and return its receipt."""


def execute(sending: ExecutesNow, plan: Plan, deployer: SigningKey) -> Sequence[Receipt]:
    """Run a whole plan within one unit of work, so that all of it happens or nothing.

    Raises Refused, naming the step that a contract refused.
    """
    receipts = []
    for place, step in enumerate(plan.steps):
        receipt = sending.send(plan.raw(place, deployer))
        _check(receipt, step)
        receipts.append(receipt)
    return receipts


async def deploy(chain: Chain, plan: Plan, deployer: SigningKey) -> Sequence[Receipt]:
    """Send what the chain does not have of a plan, and return all receipts.

    Raises Refused if a step fails, or if the deployer has sent other transactions than these;
    Unavailable if the chain does not answer or does not tell what became of one: do it again.
    """
    done = await chain.nonce(deployer.address)
    receipts = []
    for place, step in enumerate(plan.steps):
        raw = plan.raw(place, deployer)
        if place >= done:
            await chain.send_raw(raw)
        receipt = await chain.receipt(parse(raw).hash)
        if receipt is None and place < done:
            raise _other_transactions()
        if receipt is None:
            raise Unavailable(f"{step.label}: the chain does not tell what became of it")
        _check(receipt, step)
        receipts.append(receipt)
    return receipts


def _check(receipt: Receipt, step: Step) -> None:
    if not receipt.succeeded:
        raise Refused(
            f"{step.label}: the chain refused it: {read_revert(receipt.output)}",
            remedy="deploy with corrected parameters and another deployer key",
        )


def _other_transactions() -> Refused:
    return Refused(
        "the deployer has sent other transactions than those of this plan",
        field="deployer",
        remedy="use a key that was never used, or the parameters of the first time",
    )
