"""The log over REST: head, entries with or without their records, the stream, anchors."""

import hashlib
import json

from chargera.proofs.entry import commit, parse_envelope
from chargera.proofs.tree import leaf_hash

from .conftest import Api


async def test_head__before_and_after_a_checkpoint(api: Api) -> None:
    before = await api.ok(None, "GET", "/log/head")
    assert before["size"] == 2  # the operator and the first key
    assert before["checkpoint"] is None
    signed = await api.ok("operator", "POST", "/log/head")
    after = await api.ok(None, "GET", "/log/head")
    assert after == signed
    assert after["checkpoint"].startswith("log.test/1\n1\n")
    assert (after["checkpoint_size"], after["root_hash"]) == (1, "00" * 32)
    assert after["anchored_size"] is None


async def test_entry__opens_with_its_record_and_salt(api: Api) -> None:
    entry = await api.ok("operator", "GET", "/log/entries/0")
    assert entry["kind"] == "access_changed"
    assert entry["leaf_hash"] == leaf_hash(entry["entry"].encode()).hex()
    record = json.dumps(entry["record"], sort_keys=True, separators=(",", ":")).encode()
    commitment = commit(bytes.fromhex(entry["salt"]), record)
    assert parse_envelope(entry["entry"].encode()).commitment == commitment
    public = await api.ok(None, "GET", "/log/entries/0")
    assert public["entry"] == entry["entry"]
    assert (public["readable"], public["record"], public["salt"]) == (False, None, None)


async def test_entry__beyond_the_end_is_not_found(api: Api) -> None:
    assert (await api.call(None, "GET", "/log/entries/2")).status_code == 404
    assert (await api.call(None, "GET", f"/log/entries/{2**63}")).status_code == 422
    assert (await api.call(None, "GET", "/log/entries/-1")).status_code == 422


async def test_entries__by_kind_station_and_session_in_pages(api: Api) -> None:
    await api.add_station("CP-1")
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "CARD"})
    session_id = await api.charge("CP-1", "CARD")

    async def kinds(query: str) -> list[str]:
        page = await api.ok("operator", "GET", f"/log/entries?{query}")
        return [entry["kind"] for entry in page["items"]]

    assert await kinds("kind=tariff_published") == ["tariff_published"]
    assert (await kinds("station=CP-1"))[0] == "station_registered"
    assert set(await kinds(f"session={session_id}")) == {"session_started", "session_ended", "cdr"}
    everything = await kinds("")
    first = await api.ok("operator", "GET", "/log/entries?limit=3")
    rest = await kinds(f"from_index={first['next']}")
    assert [entry["kind"] for entry in first["items"]] + rest == everything
    unknown = await api.call(None, "GET", "/log/entries?kind=rumour")
    assert unknown.json()["error"]["field"] == "kind"


async def test_records__each_line_opens_its_leaf_byte_for_byte(api: Api) -> None:
    await api.add_station("CP-1")
    response = await api.call("operator", "GET", "/log/records")
    assert response.headers["content-type"].startswith("application/jsonl")
    lines = response.content.splitlines()
    entries = await api.rows("select entry from log_entry order by log_index")
    assert len(lines) == len(entries)
    for index, (line, (entry,)) in enumerate(zip(lines, entries, strict=True)):
        members = json.loads(line)
        assert members["index"] == index
        record = line[line.index(b'"record":') + 9 : line.rindex(b',"salt":')]
        assert commit(bytes.fromhex(members["salt"]), record) == (
            parse_envelope(bytes(entry)).commitment
        )


async def test_records__more_than_a_piece(api: Api) -> None:
    async with api.work() as work:
        await work.connection.execute(
            "insert into log_entry (log_index, kind, received_at, entry, record, salt)"
            " select n, 'anomaly', now(), '{}', '{}', %s from generate_series(2, 5001) n",
            [hashlib.sha256(b"").digest()],
        )
        await work.connection.execute("update log_head set size = 5002")
        await work.commit()
    response = await api.call("operator", "GET", "/log/records")
    assert [json.loads(line)["index"] for line in response.text.splitlines()] == list(range(5002))


async def test_anchors__asked_for_and_listed(api: Api) -> None:
    made = await api.ok("operator", "POST", "/anchors")
    assert (made["tree_size"], made["state"]) == (1, "anchored")
    listed = await api.ok(None, "GET", "/anchors")
    assert listed["items"] == [made]
    assert (await api.ok(None, "GET", "/anchors?before=1"))["items"] == []
