"""The contracts of a network and the keys of its installation, made once and found again.

Keys lie in `D/keys` (one file each), those of the attesters in `D/attester-N`. On the embedded
network all of them are one operator's, and are called so; another attester needs nothing of this
but his own folder.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from chargera.app.chain_ports import Chain
from chargera.app.clock import NetworkClock
from chargera.app.ports import Entropy
from chargera.domain.errors import Refused
from chargera.domain.policy import PolicyParameters
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.chain import EmbeddedChain
from chargera.ledger.evm.deployment import (
    C4E,
    DEFAULT_POLICY,
    AttesterGenesis,
    DeploymentParameters,
    Grant,
    OperatorGenesis,
    Plan,
    deploy,
    execute,
    make_plan,
)
from chargera.process import write_private
from chargera.proofs.chain_values import address_text, topic_address
from chargera.proofs.note import VerifierKey
from chargera.settings import Settings
from chargera.store.unit_of_work import Database, UnitOfWork

ATTESTERS = 4
"""Admitted at the beginning."""

DEMONSTRATION_C4E = 100_000 * C4E

POLICY_FROM_FILE = Path("keys") / "policy-from"
"""In the data folder: from when the first policy holds, Unix seconds."""

EMBEDDED_LEADS_S = (2, 15, 120)
"""What is left, in real time, for making the contracts on the embedded chain: try by try."""
LEAD_S = 10
"""How long deploying may take on another chain."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one installation."""

    deployer: ChainKey
    bootstrap: ChainKey
    operator: ChainKey
    keeper: ChainKey
    gateway: ChainKey
    host: ChainKey
    """Of hosts who left it to this server; on the embedded network only."""
    wallet: ChainKey
    """A driver's, with C4E for demonstrations."""
    attesters: tuple[ChainKey, ...]

    @classmethod
    def open(cls, folder: Path, entropy: Entropy) -> "Keys":
        """Read them, made at the first start."""
        names = ("deployer", "bootstrap", "operator", "keeper", "gateway", "host", "wallet")
        made = {name: ChainKey.open(folder / "keys" / name, entropy.bytes) for name in names}
        attesters = tuple(
            ChainKey.open(attester_folder(folder, number) / "key", entropy.bytes)
            for number in range(1, ATTESTERS + 1)
        )
        return cls(attesters=attesters, **made)


def attester_folder(data_dir: Path, number: int) -> Path:
    """Return the folder of an attester, from 1."""
    return data_dir / f"attester-{number}"


@dataclass(frozen=True, slots=True)
class DeployingParts:
    """What a deployment depends on; equal parts make equal transactions."""

    data_dir: Path
    settings: Settings
    database: Database
    clock: NetworkClock
    chain: Chain
    topic_id: str
    log_vkey: str
    is_real_money: bool = False
    """Then nobody is given C4E for demonstrations."""
    lead_s: int = LEAD_S
    """How long deploying may take on a chain that is not embedded, in real time."""


async def deployed(database: Database) -> dict[str, str] | None:
    """Return the addresses of the network's contracts by name; None before they are deployed."""
    async with database.work() as work:
        cursor = await work.connection.execute("select contracts from deployment")
        row = await cursor.fetchone()
    return None if row is None else dict(row[0])


def deployment_plan(parts: DeployingParts, keys: Keys, policy_from_s: int | None = None) -> Plan:
    """Return the transactions that bring the contracts onto the chain.

    `policy_from_s`: from when the first policy holds (Unix seconds); None: as `keys/policy-from`
    says, which is decided with the first look.
    """
    grants = (
        Grant("a driver's wallet for demonstrations", keys.wallet.address, DEMONSTRATION_C4E),
        Grant("a host's fees for demonstrations", keys.host.address, DEMONSTRATION_C4E),
    )
    parameters = DeploymentParameters(
        chain_id=parts.chain.chain_id,
        bootstrap=keys.bootstrap.address,
        attesters=tuple(AttesterGenesis(key.address, key.address) for key in keys.attesters),
        operator=OperatorGenesis(
            parts.settings.operator.id,
            keys.operator.address,
            VerifierKey.parse(parts.log_vkey).public_key,
            topic_address(parts.topic_id),
        ),
        policy_from_s=_policy_from(parts) if policy_from_s is None else policy_from_s,
        policy=_policy(parts.settings),
        grants=() if parts.is_real_money else grants,
    )
    return make_plan(parameters, keys.deployer.address)


async def deploy_contracts(parts: DeployingParts, keys: Keys) -> dict[str, str]:
    """Deploy what the chain does not have yet, note where it stands, and return the addresses.

    Raises Refused or Unavailable as `deploy` does; it may be called again after either.
    """
    if isinstance(parts.chain, EmbeddedChain):
        return await _deploy_embedded(parts, parts.chain, keys)
    now = parts.clock.now()
    plan = deployment_plan(parts, keys)
    addresses = plan_addresses(plan)
    await deploy(parts.chain, plan, keys.deployer)
    async with parts.database.work() as work:
        await note_deployment(work, addresses, now)
        await work.commit()
    return addresses


async def _deploy_embedded(
    parts: DeployingParts, chain: EmbeddedChain[Any], keys: Keys
) -> dict[str, str]:
    """Deploy in one unit of work: all of it or nothing, so that the next try decides afresh.

    A clock that runs moves on while the contracts are made, and the policy may not hold from before
    its own: where that takes longer than was left for it, more is left.
    """
    clock = parts.clock
    for lead_s in EMBEDDED_LEADS_S:
        now = clock.now()
        from_s = int(now.timestamp()) + (0 if clock.manual else math.ceil(lead_s * clock.rate))
        plan = deployment_plan(parts, keys, from_s)
        addresses = plan_addresses(plan)
        try:
            async with chain.sending() as sending:
                execute(sending, plan, keys.deployer)
                await note_deployment(sending.work.unit, addresses, now)
                await sending.commit()
        except Refused:
            if clock.now().timestamp() <= from_s:
                raise
            continue
        return addresses
    raise Refused(
        f"the contracts are not made within {EMBEDDED_LEADS_S[-1]} s",
        remedy="start it again when this machine has less to do, or let the clock run slower",
    )


def plan_addresses(plan: Plan) -> dict[str, str]:
    """Return the addresses of a plan's contracts by their names, as text."""
    return {name: address_text(address) for name, address in plan.contracts.items()}


async def note_deployment(work: UnitOfWork, addresses: dict[str, str], at: datetime) -> None:
    """Note where the contracts stand, once; written at the work's commit."""
    await work.connection.execute(
        "insert into deployment (contracts, deployed_at) values (%s, %s)", [Jsonb(addresses), at]
    )


def _policy_from(parts: DeployingParts) -> int:
    """Return from when the first policy holds, decided once, however often deploying begins.

    A clock that runs moves on while the contracts are made, one after the other, on a chain that is
    not embedded; the policy holds from the end of it.
    """
    path = parts.data_dir / POLICY_FROM_FILE
    if not path.exists():
        clock = parts.clock
        lead_s = 0 if clock.manual else math.ceil(2 * clock.rate)
        lead_s += math.ceil(parts.lead_s * clock.rate)
        write_private(path, str(int(clock.now().timestamp()) + lead_s))
    return int(path.read_text())


def _policy(settings: Settings) -> PolicyParameters:
    return replace(
        DEFAULT_POLICY,
        anchor_interval_s=settings.ledger.anchor_interval_s,
        anchor_sessions=settings.ledger.anchor_sessions,
        settlement_window_s=settings.settlement.window_s,
        contest_period_s=settings.settlement.contest_period_s,
    )
