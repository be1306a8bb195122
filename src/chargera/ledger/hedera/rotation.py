"""Keys that are replaced: the operator's, the one that submits, and a topic's whole set of them.

A topic has no admin key, so its three submit keys never change: whoever loses one takes the next
of the same topic, and who fears that one was stolen goes to a new topic. The log says so in an
entry, on the old topic in a signed note, and in the registry of operators. Every step may be
repeated after a crash anywhere; the server does not run meanwhile, so that no anchor is made
twice, and what was under way is brought to its end on the old topic first, so that none is lost.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from chargera.domain.errors import Refused
from chargera.ledger.hedera.initialise import Access, Step
from chargera.ledger.hedera.signer import Signer
from chargera.ledger.transaction_id import HederaTransactionId
from chargera.proofs.topic_change import TopicChange


@dataclass(frozen=True, slots=True)
class OldTopic:
    """The topic that is left, and who signs for it."""

    topic_id: str
    signers: Sequence[Signer]


@dataclass(frozen=True, slots=True)
class NewTopic:
    """The topic that is to be made."""

    memo: str
    submit_keys: Mapping[str, bytes]


class RotationRecords(Protocol):
    """What this installation keeps of a change of topic; each method is durable on return."""

    async def settle_anchors(self) -> int:
        """Bring what is under way onto the old topic; return the largest size anchored, or 0."""

    async def successor(self) -> TopicChange | None:
        """Return the change away from the old topic, None before it is noted."""

    async def note_successor(self, change: TopicChange, submit_keys: Mapping[str, bytes]) -> None:
        """Note the change, and write the log's entry about it, in one commit."""

    async def is_key_in_place(self) -> bool:
        """Say whether the key that the server submits with is one of the new topic's."""

    async def put_key_in_place(self) -> None:
        """Let the server submit with the new topic's key."""

    async def announced(self, topic_id: str) -> bool:
        """Say whether the registry knows, or has been told, that the operator's topic is this."""

    async def announce(self, topic_id: str) -> str:
        """Tell the registry; return the hash of the transaction."""


class TopicRotation:
    """The steps from one topic to the next."""

    def __init__(
        self,
        access: Access,
        records: RotationRecords,
        old: OldTopic,
        new: NewTopic,
        sign_change: Callable[[TopicChange], bytes],
        topic_fee_usd_e10: int = 0,
    ) -> None:
        """Go from `old` to `new`; `sign_change` signs with the log's key."""
        self._access = access
        self.records = records
        self._old = old
        self._new = new
        self._sign_change = sign_change
        self.steps = (
            Step("new topic", topic_fee_usd_e10, self._noted, self._make_topic),
            Step("change of topic", 0, self._noted, self._change),
            Step("submit key", 0, self._placed, self._place),
            Step("registry", 0, self._registered, self._register),
        )

    @property
    def old_topic_id(self) -> str:
        """The topic that is left."""
        return self._old.topic_id

    async def carry_out(self, told: Callable[[str, str], None] = lambda name, result: None) -> None:
        """Do what is not done, in order. Raises Unavailable or Refused: run it again."""
        for step in self.steps:
            found = await step.done()
            told(step.name, found if found is not None else await step.do())

    async def _noted(self) -> str | None:
        change = await self.records.successor()
        return None if change is None else change.topic_id

    async def _make_topic(self) -> str:
        client, new = self._access.client, self._new

        async def send(transaction_id: HederaTransactionId) -> None:
            await client.create_topic(
                transaction_id, new.memo, list(new.submit_keys.values()), threshold=1
            )

        outcome = await self._access.outbox.once(self._purpose, send)
        assert outcome.entity_id is not None, "a topic that was made has an id"
        return outcome.entity_id

    @property
    def _purpose(self) -> str:
        return f"rotate:topic:{self._old.topic_id}"

    async def _change(self) -> str:
        """Say on the old topic where it goes on, then in the log and the records at once."""
        made = await self._access.sends.find(self._purpose)
        assert made is not None, "the step before has made it"
        assert made.entity_id is not None, "the step before has made it"
        size = await self.records.settle_anchors()
        change = TopicChange(made.entity_id, self._access.client.payer_account_id, size + 1)
        note = self._sign_change(change)

        async def send(transaction_id: HederaTransactionId) -> None:
            await self._access.client.submit_message(
                transaction_id, self._old.topic_id, note, self._old.signers
            )

        # A server that ran in between has anchored more there: then it is said again.
        purpose = f"rotate:announce:{change.topic_id}:{change.from_size}"
        await self._access.outbox.once(purpose, send)
        await self.records.note_successor(change, self._new.submit_keys)
        return f"{change.topic_id} from size {change.from_size}"

    async def _placed(self) -> str | None:
        return "in place" if await self.records.is_key_in_place() else None

    async def _place(self) -> str:
        await self.records.put_key_in_place()
        return "in place"

    async def _registered(self) -> str | None:
        change = await self.records.successor()
        if change is None or not await self.records.announced(change.topic_id):
            return None
        return "told"

    async def _register(self) -> str:
        change = await self.records.successor()
        assert change is not None, "the steps before have noted it"
        return await self.records.announce(change.topic_id)


async def rotate_operator_key(
    access: Access, account_id: str, new: Signer, noted: Callable[[], Awaitable[None]]
) -> str:
    """Give the operator's account the key of `new`; old and new sign. Return what happened.

    `noted` writes the log's entry about it and may be called again. After that only the new key
    pays: the caller's configuration must name it before the next start. Whoever runs this again
    with the new key configured finds it done. Raises Unavailable, Refused.
    """
    wanted = new.public_key
    found = await access.chain.mirror.account(account_id)
    if found.key is not None and found.key.lower() == wanted.hex():
        await noted()
        return "the account has this key"
    if account_id != access.client.payer_account_id:
        raise Refused("only the account that pays is given another key", field="account")

    async def send(transaction_id: HederaTransactionId) -> None:
        await access.client.update_account_key(transaction_id, account_id, wanted, [new])

    await access.outbox.once(f"rotate:operator:{account_id}:{wanted.hex()}", send)
    await noted()
    return "the account has the new key"
