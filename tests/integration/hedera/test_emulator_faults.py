"""Every fault on demand, and that the SDK meets it as it would on the network."""

import json
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import httpx2
import pytest
from hiero_sdk_python import (
    ResponseCode,
    TopicCreateTransaction,
    TopicMessageSubmitTransaction,
    TransactionGetReceiptQuery,
    TransactionRecordQuery,
)
from hiero_sdk_python.exceptions import MaxAttemptsError, PrecheckError

from chargera.domain.errors import InvalidInput
from chargera.proofs.anchor import chain, parse_mirror_page
from tests.doubles.hedera import FaultKind
from tests.integration.hedera.conftest import MirrorReader, at_emulated_time


@pytest.fixture
def topic_id(client):
    return TopicCreateTransaction().execute(client).topic_id


def message(topic_id, attempts: int = 1):
    made = TopicMessageSubmitTransaction(topic_id=topic_id, message="an anchor")
    return made.set_max_attempts(attempts).set_min_backoff(0).set_max_backoff(0)


def count(mirror, topic_id) -> int:
    return len(mirror.get(f"/topics/{topic_id}/messages")["messages"])


def test_a_busy_node_does_nothing_and_takes_the_next_attempt(emulator, client, mirror, topic_id):
    emulator.faults.add(FaultKind.BUSY, times=2, method="submitMessage")
    with pytest.raises(MaxAttemptsError):
        message(topic_id).execute(client)
    assert count(mirror, topic_id) == 0
    assert message(topic_id, attempts=3).execute(client).status == ResponseCode.SUCCESS


def test_a_response_code_can_be_ordered(emulator, client, topic_id):
    emulator.faults.add(FaultKind.REFUSED, value="INSUFFICIENT_PAYER_BALANCE")
    with pytest.raises(PrecheckError, match="INSUFFICIENT_PAYER_BALANCE"):
        message(topic_id).execute(client)


def test_a_time_out_may_hide_a_success(emulator, client, mirror, topic_id):
    emulator.faults.add(FaultKind.TIMEOUT_AFTER_SUCCESS, method="submitMessage")
    with pytest.raises(MaxAttemptsError):
        message(topic_id).execute(client)
    assert count(mirror, topic_id) == 1


def test_the_second_attempt_after_a_hidden_success_is_a_duplicate(emulator, client, topic_id):
    emulator.faults.add(FaultKind.TIMEOUT_AFTER_SUCCESS, method="submitMessage")
    again = message(topic_id, attempts=1)
    with pytest.raises(MaxAttemptsError):
        again.execute(client)
    client.network.nodes[0]._readmit_time = 0  # the SDK shuns the node for a while
    with pytest.raises(PrecheckError, match="DUPLICATE_TRANSACTION"):
        again.execute(client)


def test_what_is_lost_in_flight_stays_unknown_until_it_expires(emulator, client, mirror, topic_id):
    emulator.faults.add(FaultKind.LOST_IN_FLIGHT, method="submitMessage")
    response = message(topic_id).execute(client, wait_for_receipt=False)
    assert count(mirror, topic_id) == 0

    def receipt():
        query = TransactionGetReceiptQuery(response.transaction_id)
        return query.set_max_attempts(1).set_min_backoff(0).execute(client)

    with pytest.raises(MaxAttemptsError, match="UNKNOWN"):
        receipt()
    emulator.clock.advance(181)
    with pytest.raises(MaxAttemptsError, match="RECEIPT_NOT_FOUND"):
        receipt()


def test_a_lost_receipt_leaves_the_mirror_to_ask(emulator, client, mirror, topic_id):
    emulator.faults.add(FaultKind.RECEIPT_LOST, times=None)
    response = message(topic_id).execute(client, wait_for_receipt=False)
    query = TransactionGetReceiptQuery(response.transaction_id)
    with pytest.raises(MaxAttemptsError, match="RECEIPT_NOT_FOUND"):
        query.set_max_attempts(1).set_min_backoff(0).execute(client)
    assert count(mirror, topic_id) == 1


async def test_a_node_that_restarts_has_its_state(emulator, client, mirror, topic_id):
    assert message(topic_id).execute(client).status == ResponseCode.SUCCESS
    await emulator.restart_node()
    assert message(topic_id, attempts=5).execute(client).status == ResponseCode.SUCCESS
    assert count(mirror, topic_id) == 2


def test_a_node_that_is_down_does_nothing(emulator, client, mirror, topic_id):
    emulator.faults.add(FaultKind.UNAVAILABLE, method="submitMessage")
    with pytest.raises(MaxAttemptsError):
        message(topic_id).execute(client)
    assert count(mirror, topic_id) == 0


def test_a_wrong_fee_is_charged_and_recorded(emulator, client, topic_id):
    emulator.faults.add(FaultKind.WRONG_FEE, value=10, method="submitMessage")
    response = message(topic_id).execute(client, wait_for_receipt=False)
    record = TransactionRecordQuery(response.transaction_id).execute(client)
    assert record.transaction_fee == 8_000_000 // 12 * 10


def test_throttles_count_by_the_second(emulator, client, mirror, topic_id):
    emulator.clock.run_at(0)
    emulator.faults.throttles["consensusSubmitMessage"] = 2

    def send():
        return at_emulated_time(emulator, message(topic_id)).execute(client).status

    assert [send(), send()] == [ResponseCode.SUCCESS] * 2
    with pytest.raises(MaxAttemptsError, match="BUSY"):
        send()
    emulator.clock.advance(1)
    assert send() == ResponseCode.SUCCESS


def test_a_mirror_that_lags_does_not_know_yet(emulator, client, mirror, topic_id):
    emulator.faults.lag_mirror(60, mirror=0)
    message(topic_id).execute(client)
    mirror.get(f"/topics/{topic_id}", status=404)
    other = MirrorReader(emulator.mirror_urls[1])
    assert count(other, topic_id) == 1
    other.close()
    emulator.clock.advance(61)
    assert count(mirror, topic_id) == 1


def test_a_mirror_that_is_down_says_so(emulator, mirror):
    emulator.faults.add(FaultKind.MIRROR_DOWN)
    mirror.get("/blocks", status=503)
    mirror.get("/blocks")


@pytest.mark.parametrize(
    "lie",
    ["message", "running_hash", "payer_account_id", "sequence_number", "consensus_timestamp"],
)
def test_a_lie_about_a_message_breaks_the_chain_at_one_mirror_alone(
    emulator, client, mirror, topic_id, lie
):
    for _ in range(3):
        message(topic_id).execute(client)
    emulator.faults.add(
        FaultKind.MIRROR_LIE, times=None, value=lie, mirror=0,
        where=lambda row: row["sequence_number"] == 2,
    )  # fmt: skip
    told, _ = parse_mirror_page(mirror.get(f"/topics/{topic_id}/messages"))
    with pytest.raises(InvalidInput):
        chain(told)
    honest = MirrorReader(emulator.mirror_urls[1])
    chain(parse_mirror_page(honest.get(f"/topics/{topic_id}/messages"))[0])
    honest.close()


def test_a_mirror_can_leave_a_message_out(emulator, client, mirror, topic_id):
    for _ in range(3):
        message(topic_id).execute(client)
    emulator.faults.add(
        FaultKind.MIRROR_LIE, value="omitted", where=lambda row: row["sequence_number"] == 2
    )
    rows = mirror.get(f"/topics/{topic_id}/messages")["messages"]
    assert [row["sequence_number"] for row in rows] == [1, 3]


def test_faults_and_clock_are_set_over_http_too(emulator, client, mirror, topic_id):
    control = f"{emulator.mirror_url}/_emulator"
    assert httpx2.get(control).json()["operator_id"] == emulator.operator_id
    lie = {"kind": "mirror_lie", "value": "message", "sequence_number": 1, "times": 1}
    assert httpx2.post(f"{control}/faults", json=lie).status_code == 200
    message(topic_id).execute(client)
    rows = mirror.get(f"/topics/{topic_id}/messages")["messages"]
    assert b64decode(rows[0]["message"]) != b"an anchor"
    httpx2.post(f"{control}/faults", json={"mirror_lag_s": 5})
    httpx2.post(f"{control}/faults", json={"throttle": "consensusSubmitMessage", "per_second": 0})
    with pytest.raises(MaxAttemptsError):
        message(topic_id).execute(client)
    httpx2.delete(f"{control}/faults")
    before = emulator.clock.now()
    httpx2.post(f"{control}/clock", json={"advance_s": 3600, "scale": 2})
    assert (emulator.clock.now() - before).total_seconds() >= 3600
    assert httpx2.post(f"{control}/faults", json={"kind": "earthquake"}).status_code == 400
    assert httpx2.post(f"{control}/restart", json={}).status_code == 200
    assert json.loads(json.dumps(emulator.description()))["node_account"] == "0.0.3"


def test_it_runs_as_a_program_too():
    with subprocess.Popen(
        [sys.executable, "-m", "tests.doubles.hedera", "--seed", "alone", "--mirrors", "2"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as program:
        described = json.loads(program.stdout.readline())
        assert len(described["mirrors"]) == 2
        assert httpx2.get(f"{described['mirror']}/api/v1/blocks").status_code == 200
        program.terminate()
        assert program.wait(10) == 0
