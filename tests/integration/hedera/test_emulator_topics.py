"""Topics by the Python SDK: keys, messages, chunks, limits, and what the mirror says of them."""

from base64 import b64decode

import pytest
from hiero_sdk_python import (
    PrivateKey,
    ResponseCode,
    TopicCreateTransaction,
    TopicDeleteTransaction,
    TopicId,
    TopicInfoQuery,
    TopicMessageQuery,
    TopicMessageSubmitTransaction,
    TopicUpdateTransaction,
)
from hiero_sdk_python.crypto.key_list import KeyList
from hiero_sdk_python.exceptions import PrecheckError

from chargera.proofs.anchor import chain, parse_mirror_page
from tests.integration.hedera.conftest import at_emulated_time


def create(client, **options) -> TopicId:
    receipt = TopicCreateTransaction(**options).execute(client)
    assert receipt.status == ResponseCode.SUCCESS
    return receipt.topic_id


def submit(client, topic_id, message: str, *keys):
    transaction = TopicMessageSubmitTransaction(topic_id=topic_id, message=message)
    transaction.freeze_with(client)
    for key in keys:
        transaction.sign(key)
    return transaction.execute(client)


def test_messages_of_a_topic_chain_by_the_running_hash_that_the_product_recomputes(client, mirror):
    topic_id = create(client, memo="anchors")
    for number in range(1, 4):
        receipt = submit(client, topic_id, f"message {number}")
        assert receipt.status == ResponseCode.SUCCESS
        assert receipt._receipt_proto.topicSequenceNumber == number
        assert receipt._receipt_proto.topicRunningHashVersion == 3
    messages, following = parse_mirror_page(mirror.get(f"/topics/{topic_id}/messages"))
    assert following is None
    anchored = chain(messages)
    assert [each.message for each in anchored] == [b"message 1", b"message 2", b"message 3"]
    assert (
        anchored[-1].running_hash == TopicInfoQuery(topic_id=topic_id).execute(client).running_hash
    )


def test_consensus_times_have_nanoseconds_and_rise(emulator, client, mirror):
    topic_id = create(client)
    emulator.clock.run_at(0)  # the clock stands, consensus goes on
    for _ in range(3):
        message = TopicMessageSubmitTransaction(topic_id=topic_id, message="at once")
        at_emulated_time(emulator, message).execute(client)
    rows = mirror.get(f"/topics/{topic_id}/messages")["messages"]
    times = [row["consensus_timestamp"] for row in rows]
    assert times == sorted(set(times))
    assert all(len(time.partition(".")[2]) == 9 for time in times)
    assert int(times[2].replace(".", "")) - int(times[1].replace(".", "")) < 1_000


def test_any_one_key_of_a_threshold_may_submit_and_no_other(client, mirror):
    cold, following = PrivateKey.generate_ed25519(), PrivateKey.generate_ecdsa()
    key = KeyList([cold.public_key(), following.public_key()], threshold=1)
    topic_id = create(client, submit_key=key)
    assert submit(client, topic_id, "operator alone").status == ResponseCode.INVALID_SIGNATURE
    stranger = PrivateKey.generate_ecdsa()
    assert submit(client, topic_id, "stranger", stranger).status == ResponseCode.INVALID_SIGNATURE
    assert submit(client, topic_id, "ED25519", cold).status == ResponseCode.SUCCESS
    assert submit(client, topic_id, "ECDSA", following).status == ResponseCode.SUCCESS
    document = mirror.get(f"/topics/{topic_id}")
    assert document["submit_key"]["_type"] == "ProtobufEncoded"
    assert len(mirror.get(f"/topics/{topic_id}/messages")["messages"]) == 2


def test_all_keys_of_a_list_without_threshold_must_sign(client):
    one, other = PrivateKey.generate_ed25519(), PrivateKey.generate_ecdsa()
    topic_id = create(client, submit_key=KeyList([one.public_key(), other.public_key()]))
    assert submit(client, topic_id, "one", one).status == ResponseCode.INVALID_SIGNATURE
    assert submit(client, topic_id, "both", one, other).status == ResponseCode.SUCCESS


def test_a_threshold_above_its_keys_is_refused(client):
    key = KeyList([PrivateKey.generate_ecdsa().public_key()], threshold=2)
    assert TopicCreateTransaction(submit_key=key).execute(client).status != ResponseCode.SUCCESS


def test_without_admin_key_a_topic_can_neither_change_nor_be_deleted(client):
    topic_id = create(client)
    update = TopicUpdateTransaction(topic_id=topic_id, memo="other").execute(client)
    assert update.status == ResponseCode.UNAUTHORIZED
    assert TopicDeleteTransaction(topic_id=topic_id).execute(client).status == (
        ResponseCode.UNAUTHORIZED
    )


def test_with_its_admin_key_a_topic_gets_another_submit_key_and_is_deleted(client, operator):
    topic_id = create(client, admin_key=operator.public_key())
    fresh = PrivateKey.generate_ecdsa()
    update = TopicUpdateTransaction(topic_id=topic_id, submit_key=fresh.public_key())
    assert update.execute(client).status == ResponseCode.SUCCESS
    assert submit(client, topic_id, "old key").status == ResponseCode.INVALID_SIGNATURE
    assert submit(client, topic_id, "new key", fresh).status == ResponseCode.SUCCESS
    assert TopicDeleteTransaction(topic_id=topic_id).execute(client).status == ResponseCode.SUCCESS
    assert submit(client, topic_id, "late", fresh).status == ResponseCode.INVALID_TOPIC_ID
    with pytest.raises(PrecheckError, match="INVALID_TOPIC_ID"):
        TopicInfoQuery(topic_id=topic_id).execute(client)


def test_a_message_over_1024_bytes_goes_in_chunks(client, mirror):
    topic_id = create(client)
    text = "".join(chr(ord("a") + number % 26) for number in range(2_500))
    assert submit(client, topic_id, text).status == ResponseCode.SUCCESS
    rows = mirror.get(f"/topics/{topic_id}/messages")["messages"]
    assert [(row["chunk_info"]["number"], row["chunk_info"]["total"]) for row in rows] == [
        (1, 3),
        (2, 3),
        (3, 3),
    ]
    assert b"".join(b64decode(row["message"]) for row in rows) == text.encode()
    assert {row["chunk_info"]["initial_transaction_id"]["account_id"] for row in rows} == {
        "0.0.1001"
    }


def test_a_chunk_over_1024_bytes_is_too_large(client):
    topic_id = create(client)
    transaction = TopicMessageSubmitTransaction(topic_id=topic_id, message="x" * 1_025)
    transaction.chunk_size = 2_000
    assert transaction.execute(client).status == ResponseCode.MESSAGE_SIZE_TOO_LARGE


def test_a_topic_that_is_not_there_takes_no_message(client):
    receipt = submit(client, TopicId.from_string("0.0.999999"), "nowhere")
    assert receipt.status == ResponseCode.INVALID_TOPIC_ID


def test_pages_of_messages_link_to_each_other(client, mirror):
    topic_id = create(client)
    for number in range(5):
        submit(client, topic_id, str(number))
    page = mirror.get(f"/topics/{topic_id}/messages", limit=2, order="desc")
    seen = []
    while True:
        seen += [row["sequence_number"] for row in page["messages"]]
        if page["links"]["next"] is None:
            break
        page = mirror.get(page["links"]["next"])
    assert seen == [5, 4, 3, 2, 1]
    some = mirror.get(f"/topics/{topic_id}/messages", sequencenumber="gte:4")["messages"]
    assert [row["sequence_number"] for row in some] == [4, 5]
    at = mirror.get(f"/topics/messages/{some[0]['consensus_timestamp']}")
    assert at == some[0] == mirror.get(f"/topics/{topic_id}/messages/4")
    mirror.get(f"/topics/{topic_id}/messages/6", status=404)
    mirror.get(f"/topics/{topic_id}/messages", status=400, limit="many")
    mirror.get(f"/topics/{topic_id}/messages", status=400, unheard_of="1")


def test_a_subscription_gives_old_and_new_messages(client):
    topic_id = create(client)
    submit(client, topic_id, "before")
    heard = []
    handle = (
        TopicMessageQuery(limit=2)
        .set_topic_id(topic_id)
        .subscribe(client, on_message=lambda message: heard.append(message.contents))
    )
    submit(client, topic_id, "after")
    handle.join(timeout=5)
    assert heard == [b"before", b"after"]
