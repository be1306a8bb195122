"""A mirror that lies consistently is caught by what the nodes said, and by what was sent."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from chargera.domain.errors import Unavailable
from chargera.ledger.hedera.client import HapiReceipt
from chargera.ledger.hedera.delivery import Delivery
from chargera.ledger.hedera.topic import HederaTopic
from chargera.ledger.transaction_id import HederaTransactionId
from chargera.proofs.anchor import TopicMessage
from chargera.proofs.running_hash import ZERO_HASH, running_hash
from tests.unit.ledger.hedera.fakes import START, HandClock, mirror_answering

TOPIC, PAYER = "0.0.1001", "0.0.1002"
ID = HederaTransactionId.new(PAYER, START, 1)


def message(content: bytes = b"head", payer: str = PAYER, number: int = 1) -> TopicMessage:
    """A message whose running hash is right for what it says."""
    members: dict[str, Any] = {
        "topic_id": TOPIC,
        "payer_account_id": payer,
        "sequence_number": number,
        "consensus_timestamp": f"178826400{number}.000000001",
        "message": content,
    }
    return TopicMessage(**members, running_hash=running_hash(ZERO_HASH, **members))


class Client:
    """A node that takes everything, and its receipts."""

    payer_account_id = PAYER

    def __init__(self, receipt: HapiReceipt | None) -> None:
        self.answer = receipt

    async def submit_message(self, *arguments: Any) -> None:
        """Taken."""

    async def receipt(self, transaction_id: HederaTransactionId) -> HapiReceipt | None:
        return self.answer


def topic(row: TopicMessage, receipt: HapiReceipt | None) -> HederaTopic:
    def answer(request: httpx2.Request) -> httpx2.Response:
        path = request.url.path
        if "/transactions/" in path:
            own = {
                "charged_tx_fee": 1,
                "consensus_timestamp": row.consensus_timestamp,
                "entity_id": TOPIC,
                "name": "CONSENSUSSUBMITMESSAGE",
                "nonce": 0,
                "result": "SUCCESS",
                "scheduled": False,
            }
            return httpx2.Response(
                200, json={"transactions": [own | {"result": "DUPLICATE_TRANSACTION"}, own]}
            )
        if path.endswith(f"/messages/{row.sequence_number}") or "/topics/messages/" in path:
            return httpx2.Response(200, json=row.to_mirror())
        return httpx2.Response(404, json={})

    clock = HandClock()
    client: Any = Client(receipt)
    delivery = Delivery(client, mirror_answering(answer), clock, clock.pause)
    return HederaTopic(TOPIC, client, delivery, clock)


def receipt_of(row: TopicMessage) -> HapiReceipt:
    return HapiReceipt("SUCCESS", None, row.sequence_number, row.running_hash)


async def test_submit__node_and_mirror_agree__its_place() -> None:
    row = message()
    for receipt in (receipt_of(row), None):
        placed = await topic(row, receipt).submit(str(ID), b"head")
        assert (placed.message, placed.running_hash) == (b"head", row.running_hash)


async def test_submit__a_consistent_forgery__the_nodes_running_hash_is_another() -> None:
    forged = message(b"forged")
    with pytest.raises(Unavailable, match="another running hash than the nodes"):
        await topic(forged, receipt_of(message())).submit(str(ID), b"head")


async def test_submit__a_consistent_forgery_and_no_receipt__other_bytes_than_were_sent() -> None:
    with pytest.raises(Unavailable, match="another message in the place of ours"):
        await topic(message(b"forged"), None).submit(str(ID), b"head")


async def test_submit__another_payer__said() -> None:
    other = message(payer="0.0.9")
    with pytest.raises(Unavailable, match=r"says that 0\.0\.9 paid"):
        await topic(other, None).submit(str(ID), b"head")


async def test_submit__the_message_before_is_left_out__said() -> None:
    second = message(number=2)
    with pytest.raises(Unavailable, match="leaves out message 1"):
        await topic(second, receipt_of(second)).submit(str(ID), b"head")


async def test_submit__its_own_content_altered__does_not_add_up() -> None:
    with pytest.raises(Unavailable, match="does not add up"):
        await topic(replace(message(), message=b"altered"), None).submit(str(ID), b"altered")


async def test_submit__consensus_without_effect__the_networks_word() -> None:
    with pytest.raises(Unavailable, match="INSUFFICIENT_PAYER_BALANCE"):
        await topic(message(), HapiReceipt("INSUFFICIENT_PAYER_BALANCE")).submit(str(ID), b"head")


async def test_submit__on_the_topic_but_not_at_the_mirror__later() -> None:
    missing = HapiReceipt("SUCCESS", None, 5, bytes(48))
    with pytest.raises(Unavailable, match="the mirror does not have it yet"):
        await topic(message(), missing).submit(str(ID), b"head")
