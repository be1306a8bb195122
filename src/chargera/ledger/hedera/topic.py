"""The topic on Hedera: messages go to its nodes, places and running hashes come from its mirrors.

What a mirror says is recomputed before it is believed: the running hash of a message must follow
from its content and its predecessor's. A mirror that lies, or lags, makes the topic unavailable;
it never makes an anchor.
"""

from collections.abc import Sequence

from chargera.app.log_ports import MessageRange, TopicInfo
from chargera.app.ports import Clock
from chargera.domain.errors import InvalidInput, NotFound, Refused, Unavailable
from chargera.ledger.hedera.client import HapiClient
from chargera.ledger.hedera.delivery import MIRROR_TRIES, Delivery, Outcome, growing_pauses
from chargera.ledger.hedera.failures import DUPLICATE, SUCCESS, HapiFailure, refusal
from chargera.ledger.hedera.mirror import PAGE_ROWS
from chargera.ledger.hedera.signer import Signer
from chargera.ledger.transaction_id import HederaTransactionId, timestamp_ns, timestamp_text
from chargera.proofs.anchor import MESSAGE_BYTES_MAX, AnchoredMessage, TopicMessage
from chargera.proofs.running_hash import ZERO_HASH


class HederaTopic:
    """A `Topic` of Hedera's consensus service."""

    def __init__(
        self,
        topic_id: str,
        client: HapiClient,
        delivery: Delivery,
        clock: Clock,
        signers: Sequence[Signer] = (),
        former: Sequence[str] = (),
    ) -> None:
        """Speak for a topic that exists; `signers` hold its submit key, beside the payer's.

        `former` are topics that this one took the place of: what was sent to one of them and has
        arrived there is found there, and not sent again.
        """
        self._topic_id = topic_id
        self._topic_ids = frozenset({topic_id, *former})
        self._client = client
        self._delivery = delivery
        self._mirror = delivery.mirror
        self._clock = clock
        self._signers = tuple(signers)

    async def info(self) -> TopicInfo:
        """Return the topic's state as the mirror knows it."""
        try:
            topic = await self._mirror.topic(self._topic_id)
            last = await self._mirror.last_message(self._topic_id)
        except NotFound as error:
            self._mirror.turn_away()
            raise Unavailable(
                f"{error.message}: it is new, or the topic of another network",
                remedy="try again in a moment, and check network and topic",
            ) from error
        return TopicInfo(
            topic_id=self._topic_id,
            memo=topic.memo,
            payer_account_id=self._client.payer_account_id,
            running_hash=last.running_hash if last else ZERO_HASH,
            sequence_number=last.sequence_number if last else 0,
            consensus_timestamp_ns=timestamp_ns(last.consensus_timestamp) if last else 0,
        )

    async def submit(self, hedera_transaction_id: str, message: bytes) -> AnchoredMessage:
        """Send a message until its outcome is known and the mirror has it; see `Topic`."""
        transaction_id = self._check(hedera_transaction_id, message)
        sends = 0

        async def send(transaction_id: HederaTransactionId) -> None:
            nonlocal sends
            sends += 1
            try:
                await self._client.submit_message(
                    transaction_id, self._topic_id, message, self._signers
                )
            except HapiFailure as failure:
                if failure.name == DUPLICATE and sends == 1:
                    raise failure.error from failure
                raise

        outcome = await self._delivery.bring(transaction_id, send)
        if outcome.status != SUCCESS:
            raise refusal(outcome.status, str(transaction_id))
        anchored = await self._placed(outcome)
        if anchored.message != message:
            raise self._lying("has another message in the place of ours")
        return anchored

    async def find(self, hedera_transaction_id: str) -> AnchoredMessage | None:
        """Return the message of that transaction; see `Topic`.

        Raises Unavailable while the mirror does not know it and is not past its validity either.
        """
        transaction_id = HederaTransactionId.parse(hedera_transaction_id)
        outcome = await self._delivery.resolve(transaction_id)
        if outcome is None or outcome.status != SUCCESS:
            return None
        return await self._placed(outcome)

    async def messages(self, within: MessageRange, limit: int) -> Sequence[AnchoredMessage]:
        """Return the messages of a range in its order, at most `limit`, each recomputed."""
        rows = await self._rows(within, limit)
        if not rows:
            return []
        ordered = sorted(rows, key=lambda row: row.sequence_number)
        previous = await self._hash_before(self._topic_id, ordered[0].sequence_number)
        anchored: list[AnchoredMessage] = []
        for row in ordered:
            if anchored and row.sequence_number != anchored[-1].sequence_number + 1:
                raise self._lying(f"leaves out messages before {row.sequence_number}")
            anchored.append(self._checked(row, previous))
            previous = row.running_hash
        return anchored[::-1] if within.newest_first else anchored

    def _check(self, hedera_transaction_id: str, message: bytes) -> HederaTransactionId:
        """Raise Refused for what the network would never take."""
        transaction_id = HederaTransactionId.parse(hedera_transaction_id)
        if transaction_id.payer_account_id != self._client.payer_account_id:
            raise Refused("INVALID_SIGNATURE: another account would pay", field="payer_account_id")
        if transaction_id.is_expired(self._clock.now()):
            raise Refused("TRANSACTION_EXPIRED: no longer valid", remedy="send it under a new id")
        if not message:
            raise Refused("INVALID_TOPIC_MESSAGE: empty", field="message")
        if len(message) > MESSAGE_BYTES_MAX:
            raise Refused(
                f"MESSAGE_SIZE_TOO_LARGE: {len(message)} bytes, at most {MESSAGE_BYTES_MAX}",
                field="message",
            )
        return transaction_id

    async def _placed(self, outcome: Outcome) -> AnchoredMessage:
        """Wait until the mirror has a message that reached consensus, and return it."""
        pauses = growing_pauses()
        for attempt in range(MIRROR_TRIES):
            try:
                return await self._place(outcome)
            except NotFound:
                if attempt + 1 < MIRROR_TRIES:
                    await self._delivery.pause(next(pauses))
        self._mirror.turn_away()
        raise Unavailable(
            "the message is on the topic, but the mirror does not have it yet",
            remedy="it is asked for by its id; it is not sent twice",
        )

    async def _place(self, outcome: Outcome) -> AnchoredMessage:
        if outcome.topic_sequence_number is not None:
            row = await self._mirror.message(self._topic_id, outcome.topic_sequence_number)
        else:
            assert outcome.consensus_timestamp is not None, "a mirror told of it"
            row = await self._mirror.message_at(outcome.consensus_timestamp)
        if row.payer_account_id != self._client.payer_account_id:
            raise self._lying(f"says that {row.payer_account_id} paid")
        if outcome.topic_running_hash not in (None, row.running_hash):
            raise self._lying("has another running hash than the nodes")
        return self._checked(row, await self._hash_before(row.topic_id, row.sequence_number))

    async def _hash_before(self, topic_id: str, sequence_number: int) -> bytes:
        if sequence_number == 1:
            return ZERO_HASH
        try:
            before = await self._mirror.message(topic_id, sequence_number - 1)
        except NotFound as error:
            raise self._lying(f"leaves out message {sequence_number - 1}") from error
        return before.running_hash

    def _checked(self, row: TopicMessage, previous: bytes) -> AnchoredMessage:
        message = AnchoredMessage.after(previous, row)
        if row.topic_id not in self._topic_ids:
            raise self._lying(f"answers with a message of {row.topic_id}")
        try:
            message.check()
        except InvalidInput as error:
            raise self._lying(f"does not add up: {error.message}") from error
        return message

    async def _rows(self, within: MessageRange, limit: int) -> list[TopicMessage]:
        first, last = within.from_sequence_number, within.to_sequence_number
        rows: list[TopicMessage] = []
        while len(rows) < limit and (last is None or first <= last):
            query = [
                ("limit", str(min(PAGE_ROWS, limit - len(rows)))),
                ("order", "desc" if within.newest_first else "asc"),
                ("sequencenumber", f"gte:{max(first, 1)}"),
            ]
            if last is not None:
                query.append(("sequencenumber", f"lte:{last}"))
            if within.from_timestamp_ns:
                query.append(("timestamp", f"gte:{timestamp_text(within.from_timestamp_ns)}"))
            if within.to_timestamp_ns is not None:
                query.append(("timestamp", f"lte:{timestamp_text(within.to_timestamp_ns)}"))
            page = await self._mirror.messages(self._topic_id, query)
            rows += page
            if len(page) < PAGE_ROWS:
                break
            if within.newest_first:
                last = page[-1].sequence_number - 1
            else:
                first = page[-1].sequence_number + 1
        return rows[:limit]

    def _lying(self, what: str) -> Unavailable:
        """Return the error for a mirror that cannot be right; another one is asked next."""
        url = self._mirror.url
        self._mirror.turn_away()
        return Unavailable(
            f"the mirror {url} {what}", remedy="take another mirror, and tell whoever runs this one"
        )
