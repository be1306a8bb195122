"""What is altered behind the log's back: attesters refuse it by name, and nothing is settled."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chargera.ledger.chain_key import ChainKey
from chargera.ledger.wallet import signed_escrow
from tests.integration.settlement.net import Net, open_net


@pytest.fixture
async def net(database_url: str, tmp_path: Path) -> AsyncIterator[Net]:
    async with open_net(database_url, tmp_path) as net:
        await net.registered_station()
        yield net


async def index_of(net: Net, kind: str, session_id: str | None = None) -> int:
    async with net.server.database.work() as work:
        cursor = await work.connection.execute(
            "select max(log_index) from log_entry where kind = %s"
            " and (%s::text is null or session_id = %s)",
            [kind, session_id, session_id],
        )
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def refused(net: Net, record: int) -> None:
    """Close, and see that every attester refuses, naming that record; nothing is settled."""
    [batch] = await net.close()
    assert batch["state"] == "dropped", batch
    refusals = [line for line in net.decisions if line["batch"] == batch["batch"]]
    assert refusals
    assert {line["decision"] for line in refusals} == {"refused"}
    assert {line["record"] for line in refusals} == {record}, refusals
    assert all(line["reason"] for line in refusals)
    assert (await net.call("GET", "/settlement/batches")) == []


async def test_closed_cdr__its_amount_altered__refused_by_its_index(net: Net) -> None:
    session_id = await net.charge()
    record = await index_of(net, "cdr", session_id)
    await net.alter(
        "update log_entry set record = convert_to(replace(convert_from(record, 'UTF8'),"
        " '\"net_minor\":300', '\"net_minor\":900'), 'UTF8') where log_index = %s",
        record,
    )
    await refused(net, record)


async def test_meter_value__altered_in_the_readings__refused_by_its_bill(net: Net) -> None:
    session_id = await net.charge()
    await net.alter(
        "update session_event set record = convert_to(replace(convert_from(record, 'UTF8'),"
        " '\"register_wh\":11000', '\"register_wh\":91000'), 'UTF8') where session_id = %s",
        session_id,
    )
    await refused(net, await index_of(net, "cdr", session_id))


async def test_tariff__its_price_altered_in_the_log__refused_by_its_index(net: Net) -> None:
    await net.charge()
    record = await index_of(net, "tariff_published")
    await net.alter(
        "update log_entry set record = convert_to(replace(convert_from(record, 'UTF8'),"
        " '\"0.3\"', '\"0.9\"'), 'UTF8') where log_index = %s",
        record,
    )
    await refused(net, record)


async def test_salt__altered__refused_by_its_index(net: Net) -> None:
    session_id = await net.charge()
    record = await index_of(net, "session_started", session_id)
    await net.alter("update log_entry set salt = %s where log_index = %s", bytes(32), record)
    await refused(net, record)


async def test_escrow_maximum__altered_in_its_entry__refused_by_its_index(net: Net) -> None:
    wallet = ChainKey(secrets.token_bytes(32))
    assert net.server.settling is not None
    asset = net.server.settling.terms.contracts["TestEuro"]
    terms = await net.call("GET", f"/payments/terms?payer={wallet.address_text}&asset={asset}")
    body = signed_escrow(terms, wallet, "CP-1", 1, 5_000_000, secrets.token_bytes)
    opened = await net.call("POST", "/payments", body)
    await net.charge(id_token=opened["id_token"])
    record = await index_of(net, "payment")
    await net.alter(
        "update log_entry set record = convert_to(replace(convert_from(record, 'UTF8'),"
        " '\"5000000\"', '\"9000000\"'), 'UTF8') where log_index = %s",
        record,
    )
    await refused(net, record)


async def test_bill_above_its_escrow__refused_by_the_bill(net: Net) -> None:
    wallet = ChainKey(secrets.token_bytes(32))
    assert net.server.settling is not None
    asset = net.server.settling.terms.contracts["TestEuro"]
    terms = await net.call("GET", f"/payments/terms?payer={wallet.address_text}&asset={asset}")
    body = signed_escrow(terms, wallet, "CP-1", 1, 1_000_000, secrets.token_bytes)
    opened = await net.call("POST", "/payments", body)
    session_id = await net.charge(id_token=opened["id_token"])
    await refused(net, await index_of(net, "cdr", session_id))


async def test_broken_json__in_each_place_a_bill_rests_on__named_and_other_batches_go_on(
    net: Net,
) -> None:
    assert net.server.settling is not None
    settlement = net.server.settling.settlement
    places = ("good", "session_event", "session_started", "cdr")
    named: dict[str, int | None] = {}
    for place in places:
        session_id = await net.charge()
        await net.server.anchor_now()
        [digest] = await settlement.form(at_once=True)
        broken = b'{"broken'
        kind = "session_started" if place == "session_started" else "cdr"
        named[digest] = await index_of(net, kind, session_id)
        if place == "good":
            named[digest] = None
        elif place == "session_event":
            statement = "update session_event set record = %s where session_id = %s and n = 0"
            await net.alter(statement, broken, session_id)
        else:
            statement = "update log_entry set record = %s where log_index = %s"
            await net.alter(statement, broken, named[digest])
    await net.close()
    answers = {line["batch"]: line["record"] for line in net.decisions if line["batch"] in named}
    assert answers == named
    rows = await net.call("GET", "/settlement/batches?all=true")
    states = {row["batch"]: row["state"] for row in rows}
    assert [states[digest] for digest in named] == ["settled", "dropped", "dropped", "dropped"]


async def test_one_bill_altered_beside_a_good_one__the_good_one_settles_in_the_next_batch(
    net: Net,
) -> None:
    good, bad = await net.charge(evse=1), await net.charge(evse=2)
    record = await index_of(net, "cdr", bad)
    await net.alter("update log_entry set salt = %s where log_index = %s", bytes(32), record)
    await refused(net, record)
    assert (await net.session(bad))["settlement"]["state"] == "skipped"
    assert (await net.session(good))["settlement"]["state"] == "waiting"
    batches = await net.settle()
    assert [batch["state"] for batch in batches] == ["settled", "dropped"]
    assert (await net.session(good))["settlement"]["state"] == "settled"
    settled, dropped = (batch["batch"] for batch in batches)
    [lane] = await net.call("GET", "/settlement/lanes")
    assert (lane["numbers"], lane["settled"]) == (2, 1)
    assert lane["unsettled"] == [{"batch": dropped, "cdr_no": 1, "state": "skipped"}]
    older = (await net.http.get(f"/settlement?before={settled}")).text
    assert f'id="batch-{dropped}"' in older
    assert f'id="batch-{settled}"' not in older
