"""Documents of mirrors are read exactly, within limits; where one fails another one helps."""

from typing import Any

import httpx2
import pytest

from chargera.app.chain_ports import Reverted
from chargera.domain.errors import ChargEraError, InvalidInput, NotFound, Unavailable, Unreadable
from chargera.ledger.hedera.mirror import (
    BODY_BYTES_MAX,
    HederaMirror,
    MirrorTransaction,
    hash_bytes,
)
from chargera.ledger.transaction_id import HederaTransactionId
from chargera.proofs.anchor import TopicMessage
from chargera.proofs.running_hash import ZERO_HASH, running_hash
from tests.unit.ledger.hedera.fakes import mirror_answering, paths

TOPIC = "0.0.1001"
ID = HederaTransactionId("0.0.1002", 1_767_225_600_000_000_001)


def message(number: int) -> TopicMessage:
    members: dict[str, Any] = {
        "topic_id": TOPIC,
        "payer_account_id": "0.0.1002",
        "sequence_number": number,
        "consensus_timestamp": f"{number}.000000001",
        "message": b"m%d" % number,
    }
    return TopicMessage(**members, running_hash=running_hash(ZERO_HASH, **members))


def row(**changed: Any) -> dict[str, Any]:
    return {
        "charged_tx_fee": 7,
        "consensus_timestamp": "1767225601.000000002",
        "entity_id": TOPIC,
        "name": "CONSENSUSSUBMITMESSAGE",
        "nonce": 0,
        "result": "SUCCESS",
        "scheduled": False,
        **changed,
    }


async def test_transactions__own_rows_first_children_and_schedules_left_out() -> None:
    document = {"transactions": [row(), row(nonce=1), row(scheduled=True)]}
    mirror = mirror_answering(paths({"/transactions/0.0.1002-1767225600-000000001": document}))
    assert await mirror.transactions(ID) == [
        MirrorTransaction("1767225601.000000002", "SUCCESS", "CONSENSUSSUBMITMESSAGE", TOPIC, 7)
    ]


async def test_transactions__not_known__none() -> None:
    assert await mirror_answering(paths({})).transactions(ID) == []


async def test_messages__by_number_by_time_and_the_last() -> None:
    first, second = message(1), message(2)
    mirror = mirror_answering(
        paths(
            {
                f"/topics/{TOPIC}/messages/1": first.to_mirror(),
                "/topics/messages/2.000000001": second.to_mirror(),
                f"/topics/{TOPIC}/messages": {
                    "messages": [second.to_mirror()],
                    "links": {"next": None},
                },
            }
        )
    )
    assert await mirror.message(TOPIC, 1) == first
    assert await mirror.message_at("2.000000001") == second
    assert await mirror.last_message(TOPIC) == second
    with pytest.raises(NotFound):
        await mirror.message(TOPIC, 3)


async def test_messages__the_answer_to_another_question__refused() -> None:
    wrong = message(2).to_mirror()
    mirror = mirror_answering(
        paths({f"/topics/{TOPIC}/messages/1": wrong, "/topics/messages/1.000000001": wrong})
    )
    with pytest.raises(Unavailable, match="message 1 of"):
        await mirror.message(TOPIC, 1)
    with pytest.raises(Unavailable, match=r"of 1\.000000001"):
        await mirror.message_at("1.000000001")


async def test_last_message__an_empty_topic__none() -> None:
    empty = {"messages": [], "links": {"next": None}}
    assert (
        await mirror_answering(paths({f"/topics/{TOPIC}/messages": empty})).last_message(TOPIC)
        is None
    )


async def test_topic__its_row() -> None:
    document = {
        "topic_id": TOPIC,
        "memo": "heads",
        "admin_key": None,
        "submit_key": {"_type": "ProtobufEncoded", "key": "2a"},
        "deleted": False,
    }
    topic = await mirror_answering(paths({f"/topics/{TOPIC}": document})).topic(TOPIC)
    assert (topic.memo, topic.admin_key, topic.deleted) == ("heads", None, False)
    assert topic.submit_key == {"_type": "ProtobufEncoded", "key": "2a"}


async def test_prices__rate_and_gas() -> None:
    mirror = mirror_answering(
        paths(
            {
                "/network/exchangerate": {
                    "current_rate": {
                        "cent_equivalent": 12,
                        "hbar_equivalent": 1,
                        "expiration_time": 1_767_225_600,
                    }
                },
                "/network/fees": {
                    "fees": [
                        {"gas": 5, "transaction_type": "ContractCall"},
                        {"gas": 71, "transaction_type": "EthereumTransaction"},
                    ]
                },
            }
        )
    )
    rate = await mirror.exchange_rate()
    assert (rate.cents, rate.hbar) == (12, 1)
    assert await mirror.gas_price_tinybar() == 71


async def test_last_block__what_began_before_is_known() -> None:
    block = {"number": 9, "timestamp": {"from": "17.000000005", "to": "19.0"}}
    found = await mirror_answering(paths({"/blocks": {"blocks": [block]}})).last_block()
    assert (found.number, found.begins_ns) == (9, 17_000_000_005)
    with pytest.raises(Unavailable, match="no block yet"):
        await mirror_answering(paths({"/blocks": {"blocks": []}})).last_block()


async def test_account__without_a_key_or_a_nonce() -> None:
    document = {
        "account": "0.0.7",
        "balance": {"balance": 5},
        "deleted": False,
        "ethereum_nonce": None,
        "evm_address": f"0x{'ab' * 20}",
        "key": None,
    }
    mirror = mirror_answering(paths({f"/accounts/0x{'ab' * 20}": document}))
    account = await mirror.account(b"\xab" * 20)
    assert (account.account_id, account.key_type, account.ethereum_nonce) == ("0.0.7", None, 0)


# Calls -----------------------------------------------------------------------------------------


async def test_call__what_is_asked_and_what_comes_back() -> None:
    asked: list[Any] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(httpx2.Response(200, content=request.content).json())
        return httpx2.Response(200, json={"result": "0x5208"})

    mirror = mirror_answering(answer)
    assert await mirror.call(b"\x01" * 20, b"\x02", b"\x03" * 20) == b"\x52\x08"
    assert await mirror.call(None, b"\x02", estimate=True) == b"\x52\x08"
    assert asked[0]["to"] == f"0x{'01' * 20}"
    assert asked[0]["from"] == f"0x{'03' * 20}"
    assert (asked[0]["data"], asked[0]["estimate"]) == ("0x02", False)
    assert "to" not in asked[1]
    assert "from" not in asked[1]


@pytest.mark.parametrize(
    ("said", "data", "words"),
    [
        (
            {"message": "CONTRACT_REVERT_EXECUTED", "detail": "no", "data": "0x08c3"},
            b"\x08\xc3",
            "no",
        ),
        ({"message": "CONTRACT_REVERT_EXECUTED", "detail": "", "data": ""}, b"", "REVERT"),
        ({"message": "INSUFFICIENT_GAS", "data": None}, b"", "INSUFFICIENT_GAS"),
    ],
)
async def test_call__a_revert__with_what_the_contract_said(
    said: dict[str, Any], data: bytes, words: str
) -> None:
    answer = httpx2.Response(400, json={"_status": {"messages": [said]}})
    with pytest.raises(Reverted, match=words) as raised:
        await mirror_answering(paths({"/contracts/call": answer})).call(bytes(20), b"")
    assert raised.value.data == data


async def test_logs__all_pages_by_the_mirrors_own_links() -> None:
    pages = {
        "gt:5.000000000": {
            "logs": [{"index": 0}, {"index": 1}],
            "links": {
                "next": "/api/v1/contracts/0x00/results/logs?limit=100&order=asc&timestamp=gte:6.1"
                "&index=gt:1"
            },
        },
        "gte:6.1": {"logs": [{"index": 2}], "links": {"next": None}},
    }

    def answer(request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == f"/api/v1/contracts/0x{'07' * 20}/results/logs"
        return httpx2.Response(200, json=pages[request.url.params["timestamp"]])

    mirror = mirror_answering(answer)
    found = [row["index"] async for row in mirror.contract_logs(b"\x07" * 20, "5.000000000")]
    assert found == [0, 1, 2]


async def test_logs__an_empty_page_with_a_link__ends() -> None:
    document = {"logs": [], "links": {"next": "/api/v1/contracts/0x/results/logs?limit=100"}}
    mirror = mirror_answering(paths({f"/contracts/0x{'07' * 20}/results/logs": document}))
    assert [row async for row in mirror.contract_logs(b"\x07" * 20)] == []


# What goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "error", "words"),
    [
        (httpx2.Response(429), Unavailable, "too often"),
        (httpx2.Response(503, text="<html>"), Unavailable, "no JSON"),
        (httpx2.Response(500, json={}), Unavailable, "status 500"),
        (httpx2.Response(501, json={"_status": {"messages": []}}), Unavailable, "status 501"),
        (httpx2.Response(200, text="[" * 1000), Unavailable, "no JSON"),
        (httpx2.Response(200, json={"topic_id": 1}), Unavailable, "not of its form"),
        (httpx2.Response(200, json=[]), Unavailable, "not of its form"),
        (
            httpx2.Response(400, json={"_status": {"messages": [{"message": "bad id"}]}}),
            InvalidInput,
            "bad id",
        ),
        (httpx2.Response(404), NotFound, r"\(yet\)"),
    ],
)
async def test_get__each_kind_of_failure(
    response: httpx2.Response, error: type[ChargEraError], words: str
) -> None:
    mirror = mirror_answering(lambda request: response)
    with pytest.raises(error, match=words):
        await mirror.topic(TOPIC)


async def test_get__a_message_of_the_wrong_form__unreadable() -> None:
    with pytest.raises(Unreadable):
        await mirror_answering(lambda request: httpx2.Response(200, json={})).message(TOPIC, 1)


async def test_get__more_bytes_than_there_should_be__unavailable() -> None:
    big = httpx2.Response(200, content=b" " * (BODY_BYTES_MAX + 1))
    with pytest.raises(Unavailable, match="over"):
        await mirror_answering(lambda request: big).topic(TOPIC)


async def test_mirrors__one_that_fails__the_next_answers_and_stays_the_first() -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.host)
        if request.url.host == "one.example":
            raise httpx2.ConnectError("refused")
        return httpx2.Response(200, json={"blocks": [{"number": 1, "timestamp": {"from": "1.0"}}]})

    mirror = mirror_answering(answer, ("https://one.example/api/v1/", "https://two.example"))
    await mirror.last_block()
    await mirror.last_block()
    assert asked == ["one.example", "two.example", "two.example"]


async def test_mirrors__what_is_not_found_is_not_asked_elsewhere() -> None:
    mirror = mirror_answering(paths({}), ("https://one.example", "https://two.example"))
    with pytest.raises(NotFound, match=r"one\.example"):
        await mirror.topic(TOPIC)


async def test_mirrors__all_fail__unavailable() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("")

    with pytest.raises(Unavailable, match=r"two\.example does not answer: ReadTimeout"):
        await mirror_answering(answer, ("https://one.example", "https://two.example")).topic(TOPIC)


async def test_mirrors__none__refused() -> None:
    with pytest.raises(InvalidInput, match="a mirror node is needed"):
        async with HederaMirror.connected([]):
            pass


def test_hashes__in_hex_and_base64() -> None:
    assert hash_bytes("0x0102") == hash_bytes("AQI=") == b"\1\2"
