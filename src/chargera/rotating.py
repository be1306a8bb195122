"""The wiring of `chargera ledger rotate-*`: keys and topics of a data folder, while no server runs.

Key files in `D/keys`: `hedera-submit` is what the server submits with; `hedera-submit-next` and
`hedera-submit-cold` are the first topic's other two, unless these lie elsewhere; those of the
topic that follows 0.0.N are `hedera-submit-after-0.0.N`, with `-next` and `-cold` behind it. What
the server submitted with before stays as `hedera-submit.0.0.N`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from chargera.app.ports import NewEntry
from chargera.deploying import Keys, deployed
from chargera.domain.errors import NotFound, Refused
from chargera.eventlog.custody import open_key
from chargera.initialising import Installation
from chargera.ledger.anchoring import DELIVER_JOB, Anchoring
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.hedera.fees import MAINNET
from chargera.ledger.hedera.rotation import (
    NewTopic,
    OldTopic,
    TopicRotation,
    rotate_operator_key,
)
from chargera.ledger.hedera.signer import FileSigner, Signer, compressed
from chargera.ledger.hedera.topic import HederaTopic
from chargera.ledger.network_contracts import ChainContracts, DirectSender
from chargera.ledgers import SUBMIT_KEY_FILE
from chargera.process import write_private
from chargera.proofs.chain_values import address_text, operator_word, topic_address
from chargera.proofs.entry import EntryKind
from chargera.proofs.topic_change import TopicChange, sign_topic_change
from chargera.store.anchors import PostgresAnchorStore
from chargera.store.hedera_topics import HederaTopicRow, PostgresHederaTopics
from chargera.store.jobs import Jobs

ROLES = ("current", "next", "cold")
REGISTRY = "AttesterRegistry"
BEGUN_FILE = Path("keys") / "rotating-from"
"""In the data folder, while a change of topic is not at its end: the topic that is left."""

Told = Callable[[str, str], None]
"""Hears the name of a step and what came of it."""


async def rotate_operator(installation: Installation, new: Signer) -> str:
    """Give the operator's account another key; see `rotate_operator_key`."""
    account_id = installation.hedera.client.payer_account_id
    record = {"account": account_id, "key": "hedera_operator", "public_key": new.public_key.hex()}

    async def noted() -> None:
        await _append_once(installation, record)

    return await rotate_operator_key(installation.access, account_id, new, noted)


async def rotate_submit_key(installation: Installation, key_file: Path) -> str:
    """Submit with another of the topic's keys from now on; return its public key.

    Raises Refused for a key that the topic does not take.
    """
    row = await _present(installation)
    public_key = FileSigner(key_file).public_key.hex()
    if public_key not in row.submit_keys.values():
        raise Refused(
            f"the topic {row.topic_id} does not take this key",
            field="key",
            remedy="give the file of its next or its cold key; a topic's keys never change",
        )
    record = {"key": "hedera_submit", "public_key": public_key, "topic_id": row.topic_id}
    await _append_once(installation, record)
    write_private(installation.data_dir / SUBMIT_KEY_FILE, key_file.read_text(encoding="ascii"))
    return public_key


async def rotate_topic(
    installation: Installation, told: Told = lambda name, result: None
) -> TopicChange:
    """Go to the next topic, or on with a change that was begun; `told` hears each step.

    That one was begun stands in a file until all of it is done, so that whoever runs this again
    after a crash, however late, ends that change and does not begin another.

    Raises Unavailable where an outcome is not known yet, Refused without a topic, or where nothing
    stands on the present one yet.
    """
    marker = installation.data_dir / BEGUN_FILE
    rotation = await topic_rotation(installation)
    write_private(marker, rotation.old_topic_id)
    await rotation.carry_out(told)
    change = await rotation.records.successor()
    assert change is not None, "it is carried out"
    marker.unlink()
    return change


async def topic_rotation(installation: Installation) -> TopicRotation:
    """Return the steps to the next topic; those of a change that was begun go on where it is."""
    rows = await PostgresHederaTopics(installation.database).all()
    if not rows:
        raise Refused("there is no topic yet", remedy="run `chargera ledger init`")
    begun = _begun_from(installation)
    if begun is None:
        await _check_in_use(installation, rows[-1])
    places = [place for place, row in enumerate(rows) if row.topic_id == begun]
    old = places[0] if places else len(rows) - 1
    records = InstalledRotation(installation, *rows[old : old + 2])
    log_key = open_key(
        installation.data_dir / "signer", installation.settings.log_origin, installation.entropy
    )
    return TopicRotation(
        installation.access,
        records,
        OldTopic(records.old.topic_id, [FileSigner(installation.data_dir / SUBMIT_KEY_FILE)]),
        NewTopic(
            f"ChargEra checkpoints of {installation.settings.operator.id}", records.submit_keys()
        ),
        lambda change: sign_topic_change(change, log_key.verifier, log_key.sign),
        MAINNET.topic_create(keys=len(ROLES)),
    )


def _begun_from(it: Installation) -> str | None:
    """Return the topic that a change away from was begun, None where none was."""
    try:
        return (it.data_dir / BEGUN_FILE).read_text(encoding="ascii")
    except FileNotFoundError:
        return None


async def _check_in_use(it: Installation, present: HederaTopicRow) -> None:
    """Raise Refused where a topic is to be left that no head stands on: nobody heard of it yet."""
    store = PostgresAnchorStore(it.database, Jobs(it.database.url), DELIVER_JOB)
    last = (await store.situation()).last_anchored
    if present.from_size and (last is None or last.tree_size < present.from_size):
        raise Refused(
            f"nothing stands on the topic {present.topic_id} yet, to which the log just changed",
            remedy="start the server, run `chargera anchor now`, stop it, and repeat this",
        )


@dataclass
class InstalledRotation:
    """`RotationRecords` of one data folder: from the topic `old` to `new`, once that is noted."""

    installation: Installation
    old: HederaTopicRow
    new: HederaTopicRow | None = None

    def submit_keys(self) -> Mapping[str, bytes]:
        """Return the public keys of the new topic, made at the first look."""
        if self.new is not None:
            return {name: bytes.fromhex(key) for name, key in self.new.submit_keys.items()}
        it = self.installation
        return {
            role: compressed(ChainKey.open(it.data_dir / path, it.entropy.bytes).public_key)
            for role, path in self._files().items()
        }

    async def settle_anchors(self) -> int:
        """Bring what is under way onto the old topic, and the newest head."""
        it = self.installation
        store = PostgresAnchorStore(it.database, Jobs(it.database.url), DELIVER_JOB)
        signer = FileSigner(it.data_dir / SUBMIT_KEY_FILE)
        access = it.access
        topic = HederaTopic(self.old.topic_id, access.client, access.delivery, it.clock, [signer])
        try:
            await Anchoring(store, topic, it.clock).anchor_now()
        except NotFound:
            return 0  # nothing was ever signed
        last = (await store.situation()).last_anchored
        return 0 if last is None else last.tree_size

    async def successor(self) -> TopicChange | None:
        """Return the change, None before it is noted."""
        new = self.new
        if new is None:
            return None
        return TopicChange(new.topic_id, new.payer_account_id, new.from_size)

    async def note_successor(self, change: TopicChange, submit_keys: Mapping[str, bytes]) -> None:
        """Note the topic, and the log's entry, in one commit."""
        it, now = self.installation, self.installation.clock.now()
        keys = {name: key.hex() for name, key in submit_keys.items()}
        row = HederaTopicRow(
            change.from_size, change.topic_id, str(it.profile.name), change.payer, keys
        )
        record = change.record(self.old.topic_id)
        entry = NewEntry(EntryKind.KEY_CHANGED, None, None, record, now)
        await PostgresHederaTopics(it.database).add(row, now, entry)
        self.new = row

    async def is_key_in_place(self) -> bool:
        """Say whether the server's submit key is one of the new topic's."""
        if self.new is None:
            return False
        key = FileSigner(self.installation.data_dir / SUBMIT_KEY_FILE).public_key.hex()
        return key in self.new.submit_keys.values()

    async def put_key_in_place(self) -> None:
        """Keep the old key's file beside, and put the new one in its place."""
        folder = self.installation.data_dir
        kept = folder / "keys" / f"hedera-submit.{self.old.topic_id}"
        if not kept.exists():
            write_private(kept, (folder / SUBMIT_KEY_FILE).read_text(encoding="ascii"))
        current = (folder / self._files()["current"]).read_text(encoding="ascii")
        write_private(folder / SUBMIT_KEY_FILE, current)

    async def announced(self, topic_id: str) -> bool:
        """Say whether the registry was told of the topic, or there is no registry."""
        return await _announced(self.installation, topic_id)

    async def announce(self, topic_id: str) -> str:
        """Tell the registry, which takes it as true two days later."""
        it = self.installation
        keys = Keys.open(it.data_dir, it.entropy)
        contracts = await _contracts(it)
        assert contracts is not None, "without contracts there is nothing to announce"
        word = operator_word(it.settings.operator.id)
        known = await contracts.read(REGISTRY, "operatorOf", word)
        told = (known.signer, known.logKey, address_text(topic_address(topic_id)))
        sender = DirectSender(contracts, keys.operator)
        return await sender.send(f"registry:{topic_id}", REGISTRY, "setOperator", word, told)

    def _files(self) -> Mapping[str, Path]:
        """Return where the new topic's keys lie in the data folder."""
        base = f"hedera-submit-after-{self.old.topic_id}"
        return {role: Path("keys") / f"{base}{_suffix(role)}" for role in ROLES}


def _suffix(role: str) -> str:
    return "" if role == "current" else f"-{role}"


async def _present(it: Installation) -> HederaTopicRow:
    rows = await PostgresHederaTopics(it.database).all()
    if not rows:
        raise Refused("there is no topic yet", remedy="run `chargera ledger init`")
    return rows[-1]


async def _announced(it: Installation, topic_id: str) -> bool:
    contracts = await _contracts(it)
    if contracts is None:
        return True
    word = operator_word(it.settings.operator.id)
    wanted = topic_address(topic_id)
    if (await contracts.read(REGISTRY, "operatorOf", word)).topic == address_text(wanted):
        return True
    told = await contracts.events(REGISTRY, "OperatorAnnounced", [word])
    return bool(told) and told[-1].members.operator.topic == address_text(wanted)


async def _contracts(it: Installation) -> ChainContracts | None:
    addresses = await deployed(it.database)
    return None if addresses is None else ChainContracts(it.hedera.chain, addresses)


async def _append_once(it: Installation, record: Mapping[str, str]) -> None:
    """Append an entry about a key, unless the last one about such a key says the same."""
    async with it.database.work() as work:
        cursor = await work.connection.execute(
            "select record from log_entry where kind = %s and record is not null"
            " order by log_index desc",
            [EntryKind.KEY_CHANGED],
        )
        rows = [json.loads(bytes(row[0])) for row in await cursor.fetchall()]
        same = next((row for row in rows if row.get("key") == record["key"]), None)
        if same != record:
            entry = NewEntry(EntryKind.KEY_CHANGED, None, None, record, it.clock.now())
            work.append(entry)
            await work.commit()
