"""The wiring of `chargera ledger init` and its relatives: a data folder and its network of Hedera.

What the server needs later lies in the data folder and its database when this is done: the topic,
the key that submits to it, the contracts, and accounts for the keys that send.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from chargera.app.clock import NetworkClock, SystemEntropy, wall_clock
from chargera.app.ports import Entropy
from chargera.deploying import (
    POLICY_FROM_FILE,
    DeployingParts,
    Keys,
    deployed,
    deployment_plan,
    note_deployment,
)
from chargera.domain.errors import Refused
from chargera.eventlog.custody import open_key
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.deployment import Plan
from chargera.ledger.hedera.accounts import check_signs_typed_data
from chargera.ledger.hedera.initialise import Access, Initialisation, Wanted
from chargera.ledger.hedera.profiles import Profile
from chargera.ledger.hedera.signer import compressed, uncompressed
from chargera.ledgers import (
    SUBMIT_KEY_FILE,
    Hedera,
    LedgerParts,
    open_hedera,
    profile_of,
    signer_of,
)
from chargera.process import saved_clock, write_private
from chargera.settings import Settings
from chargera.store import network
from chargera.store.hedera_sends import PostgresHederaSends
from chargera.store.hedera_topics import HederaTopicRow, PostgresHederaTopics
from chargera.store.postgres import EmbeddedPostgres
from chargera.store.unit_of_work import Database

CLOCK_FILE = "clock.json"
NEXT_KEY_FILE = Path("keys") / "hedera-submit-next"
COLD_KEY_FILE = Path("keys") / "hedera-submit-cold"
DEMONSTRATION_KEYS = ("host", "wallet")
"""Keys of people other than the operator, which only demonstrations keep here."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A data folder that is open for work on its ledger while no server runs on it."""

    data_dir: Path
    settings: Settings
    profile: Profile
    database: Database
    clock: NetworkClock
    entropy: Entropy
    hedera: Hedera

    @property
    def access(self) -> Access:
        """The network of Hedera."""
        it = self.hedera
        sends = PostgresHederaSends(self.database)
        return Access(it.client, it.delivery, it.outbox, sends, it.chain, self.clock)


@asynccontextmanager
async def open_installation(data_dir: Path, settings: Settings) -> AsyncIterator[Installation]:
    """Open a data folder on its network of Hedera, for as long as the block lasts.

    Raises Conflict while a server uses the folder, Refused for the embedded ledger or a folder
    that was begun on another network, InvalidInput for settings that are not enough.
    """
    profile = profile_of(settings)
    if not profile.is_hedera:
        raise Refused(
            "the embedded ledger needs nothing of this: `serve` makes it",
            field="ledger.network",
            remedy="set CHARGERA_LEDGER_NETWORK to local, testnet, mainnet or custom",
        )
    async with AsyncExitStack() as stack:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        url = await _postgres(data_dir, settings, stack)
        stood = [await network.prepare(url), saved_clock(data_dir / CLOCK_FILE)]
        not_before = max((at for at in stood if at is not None), default=None)
        clock = NetworkClock(wall_clock, time.monotonic, not_before=not_before)
        entropy = SystemEntropy()
        database = Database(url, clock, entropy)
        await database.open()
        stack.push_async_callback(database.close)
        async with database.work() as work:
            now, operator = clock.now(), settings.operator.id
            await network.make_or_find(work, operator, settings.log_origin, now)
            await work.commit()
        await _check_folder(database, profile)
        parts = LedgerParts(data_dir, settings, database, clock, entropy)
        hedera = await open_hedera(parts, profile, stack)
        yield Installation(data_dir, settings, profile, database, clock, entropy, hedera)


async def check_operator(installation: Installation) -> None:
    """Raise unless the operator's account exists and has the key that is configured.

    NotFound, Refused for another key or one of another kind, Unavailable.
    """
    account_id = installation.hedera.client.payer_account_id
    account = await installation.hedera.chain.mirror.account(account_id)
    check_signs_typed_data(account)
    ours = signer_of(installation.settings.hedera).public_key.hex()
    if account.key is not None and account.key.lower() != ours:
        raise Refused(
            f"the configured key is not that of the account {account_id}",
            field="hedera.operator_key",
            remedy="give the key that the account was made with, or was last rotated to",
        )


def initialisation(
    installation: Installation, *, next_key: bytes | None = None, cold_key: bytes | None = None
) -> Initialisation:
    """Return the steps of this folder's beginning.

    `next_key` and `cold_key` are compressed public keys that lie elsewhere; without them keys are
    made in the folder, to be moved away by a person.
    """
    it = installation
    keys = Keys.open(it.data_dir, it.entropy)
    wanted = Wanted(
        memo=f"ChargEra checkpoints of {it.settings.operator.id}",
        submit_keys=_submit_keys(it, next_key, cold_key),
        accounts=_accounts(keys, it.profile),
        plan=_planner(it, keys),
        deployer=keys.deployer,
    )
    return Initialisation(it.access, InstalledRecords(it), wanted)


class InstalledRecords:
    """`Records` of one data folder and its database."""

    def __init__(self, installation: Installation) -> None:
        """Read and write where the server looks later."""
        self._it = installation
        self._topics = PostgresHederaTopics(installation.database)

    async def topic_id(self) -> str | None:
        """Return the present topic."""
        rows = await self._topics.all()
        return rows[-1].topic_id if rows else None

    async def note_topic(self, topic_id: str, submit_keys: Mapping[str, bytes]) -> None:
        """Note the first topic, with its keys."""
        it = self._it
        row = HederaTopicRow(
            0,
            topic_id,
            str(it.profile.name),
            it.hedera.client.payer_account_id,
            {name: key.hex() for name, key in submit_keys.items()},
        )
        await self._topics.add(row, it.clock.now())

    async def policy_from(self) -> int | None:
        """Return from when the first policy is to hold."""
        try:
            return int((self._it.data_dir / POLICY_FROM_FILE).read_text())
        except FileNotFoundError:
            return None

    async def note_policy_from(self, time_s: int) -> None:
        """Note from when the first policy is to hold."""
        write_private(self._it.data_dir / POLICY_FROM_FILE, str(time_s))

    async def contracts(self) -> Mapping[str, str] | None:
        """Return the contracts' addresses."""
        return await deployed(self._it.database)

    async def note_contracts(self, addresses: Mapping[str, str]) -> None:
        """Note the contracts' addresses."""
        async with self._it.database.work() as work:
            await note_deployment(work, dict(addresses), self._it.clock.now())
            await work.commit()


async def _postgres(data_dir: Path, settings: Settings, stack: AsyncExitStack) -> str:
    if settings.database.url is not None:
        return settings.database.url.get_secret_value()
    embedded = EmbeddedPostgres(data_dir)
    url = await asyncio.to_thread(embedded.start)
    stack.push_async_callback(asyncio.to_thread, embedded.stop)
    return url


async def _check_folder(database: Database, profile: Profile) -> None:
    """Raise Refused for a folder whose heads or contracts are of another network."""
    rows = await PostgresHederaTopics(database).all()
    if rows and rows[-1].network != profile.name:
        begun = rows[-1].network
    elif not rows and await _was_embedded(database):
        begun = "embedded"
    else:
        return
    raise Refused(
        f"this data folder was begun on the network {begun}, not on {profile.name}",
        field="data_dir",
        remedy="begin in another data folder: heads and contracts stay where they are",
    )


async def _was_embedded(database: Database) -> bool:
    async with database.work() as work:
        cursor = await work.connection.execute(
            "select exists (select from deployment) or exists (select from anchor)"
        )
        row = await cursor.fetchone()
    return bool(row and row[0])


def _submit_keys(
    it: Installation, next_key: bytes | None, cold_key: bytes | None
) -> Mapping[str, bytes]:
    """Return the public keys of which one must sign each message, made where none is given."""
    for key in (next_key, cold_key):
        if key is not None:
            uncompressed(key)  # raises for bytes that are no key

    def own(path: Path) -> bytes:
        made = ChainKey.open(it.data_dir / path, it.entropy.bytes)
        return compressed(made.public_key)

    return {
        "current": own(SUBMIT_KEY_FILE),
        "next": own(NEXT_KEY_FILE) if next_key is None else next_key,
        "cold": own(COLD_KEY_FILE) if cold_key is None else cold_key,
    }


def _accounts(keys: Keys, profile: Profile) -> Mapping[str, bytes]:
    """Return the addresses that send transactions, by the names of their keys."""
    names = ["deployer", "bootstrap", "operator", "keeper", "gateway"]
    if not profile.is_real_money:
        names += DEMONSTRATION_KEYS
    addresses: dict[str, bytes] = {name: getattr(keys, name).address for name in names}
    return addresses


def _planner(it: Installation, keys: Keys) -> Callable[[str, int], Plan]:
    """Return what makes the plan of the contracts, once for each topic and beginning."""
    log_key = open_key(it.data_dir / "signer", it.settings.log_origin, it.entropy)
    parts = DeployingParts(
        data_dir=it.data_dir,
        settings=it.settings,
        database=it.database,
        clock=it.clock,
        chain=it.hedera.chain,
        topic_id="0.0.0",
        log_vkey=str(log_key.verifier),
        is_real_money=it.profile.is_real_money,
    )

    @cache
    def plan(topic_id: str, policy_from_s: int) -> Plan:
        return deployment_plan(replace(parts, topic_id=topic_id), keys, policy_from_s)

    return plan
