"""Identifiers: added, blocked, expired, imported whole or not at all, erased for good."""

from typing import Any

import pytest

from chargera.app.id_tokens import CSV_BYTES_MAX, CSV_ROWS_MAX, import_csv
from chargera.app.permissions import Caller, Role
from chargera.app.ports import Changes, MessageRow
from chargera.domain.errors import Unreadable
from chargera.domain.messages import Authorize, IdTokenRef
from chargera.proofs.canonical import encode
from chargera.proofs.entry import commit, parse_envelope
from chargera.store.message_packs import unpacked

from .conftest import Api

OCMF = b'OCMF|{"FV":"1.0","ID":"SECRET-CARD","RD":[]}|{"SD":"00"}'


async def status_of(api: Api, id_token: str) -> str:
    rows = (await api.ok("operator", "GET", "/id-tokens"))["items"]
    return {row["id_token"]: row["status"] for row in rows}[id_token]


async def test_add__is_logged_and_found_without_regard_to_case(api: Api) -> None:
    await api.add_login("dana", "driver")
    body = {"id_token": "Card-1", "type": "iso14443", "login": "dana"}
    made = await api.ok("operator", "POST", "/id-tokens", body)
    assert made == {"id_token": "Card-1", "type": "ISO14443", "blocked": False, "expires_at": None}
    again = await api.ok("operator", "POST", "/id-tokens", body)
    assert again == made
    [record] = await api.entries("id_token_changed")
    assert (record["id_token"], record["by"]) == ("Card-1", "operator")
    assert await api.ok("operator", "POST", "/id-tokens", body | {"id_token": "CARD-1"}) == made
    assert len(await api.entries("id_token_changed")) == 1
    other = await api.call("operator", "POST", "/id-tokens", {"id_token": "CARD-1"})
    assert other.status_code == 409


async def test_one_value_under_two_types__two_identifiers(api: Api) -> None:
    for kind in ("ISO14443", "eMAID"):
        await api.ok("operator", "POST", "/id-tokens", {"id_token": "ABC", "type": kind})
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "abd"})
    block = {"id_token": "abc", "blocked": True}
    unsure = await api.call("operator", "POST", "/id-tokens/block", block)
    assert unsure.status_code == 422
    assert unsure.json()["error"]["field"] == "type"
    blocked = await api.ok("operator", "POST", "/id-tokens/block", block | {"type": "emaid"})
    assert (blocked["type"], blocked["blocked"]) == ("eMAID", True)
    none = await api.call("operator", "POST", "/id-tokens/block", block | {"type": "Local"})
    assert none.status_code == 404

    listed, after = [], ""
    while after is not None:
        page = await api.ok("operator", "GET", f"/id-tokens?limit=1{after}")
        listed += [(row["id_token"], row["type"], row["status"]) for row in page["items"]]
        after = f"&after={page['next']}" if page["next"] else None
    two = [("ABC", "ISO14443", "accepted"), ("ABC", "eMAID", "blocked")]
    assert sorted(listed[:2]) == two
    assert listed[2:] == [("abd", "ISO14443", "accepted")]
    rest = await api.ok("operator", "GET", "/id-tokens?after=ABC")
    assert [row["id_token"] for row in rest["items"]] == ["abd"]

    await api.add_station("CP-1")
    asked = [IdTokenRef("Abc", kind) for kind in ("ISO14443", "eMAID", None)]
    await api.say("CP-1", *[Authorize(ref) for ref in asked])
    statuses = [record["status"] for record in await api.entries("authorize")]
    assert statuses == ["Accepted", "Blocked", "Blocked"]
    session_id = await api.charge("CP-1", "abc")
    shown = await api.ok("operator", "GET", f"/sessions/{session_id}")
    assert (shown["state"], shown["id_token"]) == ("billed", "ABC")

    ambiguous = await imported(api, "id_token,blocked\nabd,yes\nabc,no\n")
    assert ambiguous.json()["error"]["field"] == "row 2, type"
    text = "id_token,type,blocked\nABC,eMAID,no\nABC,Local,no\n"
    assert (await imported(api, text)).json() == {"added": 1, "changed": 1, "unchanged": 0}
    await api.ok("operator", "POST", "/id-tokens/erase", {"id_token": "abc"})
    rows = (await api.ok("operator", "GET", "/id-tokens"))["items"]
    assert [row["id_token"] for row in rows] == ["abd"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id_token": ""}, "id_token"),
        ({"id_token": " CARD"}, "id_token"),
        ({"id_token": "x" * 37}, "id_token"),
        ({"id_token": "Kärtchen"}, "id_token"),
        ({"id_token": "A", "type": "Tattoo"}, "type"),
        ({"id_token": "A", "expires_at": "tomorrow"}, "expires_at"),
        ({"id_token": "A", "login": "nobody"}, "login"),
        ({"id_token": 7}, "id_token"),
    ],
)
async def test_add__a_wrong_value_is_refused_by_name(
    api: Api, body: dict[str, Any], field: str
) -> None:
    answer = await api.call("operator", "POST", "/id-tokens", body)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == field


async def test_add__an_identifier_of_a_standard_run__is_reserved(api: Api) -> None:
    body = {"id_token": "Standard-Run-0123ABC", "type": "Central"}
    answer = await api.call("operator", "POST", "/id-tokens", body)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "id_token")
    rows = b"id_token\nstandard-run-0123abc\n"
    imported = await api.call("operator", "POST", "/id-tokens/import", content=rows)
    assert imported.status_code == 422


async def test_block_and_unblock__change_the_status_once(api: Api) -> None:
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "CARD"})
    for blocked, status in ((True, "blocked"), (True, "blocked"), (False, "accepted")):
        body = {"id_token": "card", "blocked": blocked}
        await api.ok("operator", "POST", "/id-tokens/block", body)
        assert await status_of(api, "CARD") == status
    assert len(await api.entries("id_token_changed")) == 3
    unknown = {"id_token": "NONE", "blocked": True}
    assert (await api.call("operator", "POST", "/id-tokens/block", unknown)).status_code == 404


async def test_an_identifier_expires_at_its_time(api: Api) -> None:
    body = {"id_token": "CARD", "expires_at": "2026-05-04T11:00:00+02:00"}
    await api.ok("operator", "POST", "/id-tokens", body)
    api.clock.advance(3599)
    assert await status_of(api, "CARD") == "accepted"
    api.clock.advance(1)
    assert await status_of(api, "CARD") == "expired"


async def test_list__pages_in_order(api: Api) -> None:
    for value in ("b", "C", "a"):
        await api.ok("operator", "POST", "/id-tokens", {"id_token": value})
    first = await api.ok("operator", "GET", "/id-tokens?limit=2")
    rest = await api.ok("operator", "GET", f"/id-tokens?limit=2&after={first['next']}")
    assert [row["id_token"] for row in first["items"] + rest["items"]] == ["a", "b", "C"]


# Import ----------------------------------------------------------------------------------------


async def imported(api: Api, text: str | bytes) -> Any:
    content = text.encode() if isinstance(text, str) else text
    return await api.call("operator", "POST", "/id-tokens/import", content=content)


async def test_import__adds_changes_and_leaves(api: Api) -> None:
    await api.add_login("dana", "driver")
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "OLD"})
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "SAME"})
    text = (
        "\ufeffID_Token, type ,blocked,expires_at,login\r\n"
        "NEW,Local,no,2027-01-31T00:00:00Z,dana\r\n"
        "\r\n"
        'OLD,,true,,\r\n"SAME",ISO14443,0,,\r\n'
    )
    answer = await imported(api, text)
    assert answer.json() == {"added": 1, "changed": 1, "unchanged": 1}
    assert await status_of(api, "OLD") == "blocked"
    rows = (await api.ok("operator", "GET", "/id-tokens"))["items"]
    assert [(r["id_token"], r["type"], r["login"]) for r in rows] == [
        ("NEW", "Local", "dana"),
        ("OLD", "ISO14443", None),
        ("SAME", "ISO14443", None),
    ]


async def test_import__what_has_no_column_stays_as_it_is(api: Api) -> None:
    await api.add_login("dana", "driver")
    body = {"id_token": "CARD", "type": "Local", "login": "dana", "blocked": True}
    await api.ok("operator", "POST", "/id-tokens", body)
    answer = await imported(api, "id_token,expires_at\nCARD,2030-01-01T00:00:00Z\n")
    assert answer.json() == {"added": 0, "changed": 1, "unchanged": 0}
    [row] = (await api.ok("operator", "GET", "/id-tokens"))["items"]
    assert (row["type"], row["login"], row["status"]) == ("Local", "dana", "blocked")
    assert row["expires_at"] == "2030-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("id_token\nGOOD\nbad value \n\x07\n", "row 3, id_token", "printable"),
        ("id_token,type\nGOOD,\nB,Tattoo\n", "row 2, type", "Tattoo"),
        ("id_token,blocked\nGOOD,perhaps\n", "row 1, blocked", "perhaps"),
        ("id_token,expires_at\nGOOD,soon\n", "row 1, expires_at", "soon"),
        ("id_token,login\nGOOD,nobody\n", "row 1, login", "nobody"),
        ("id_token,login\nGOOD\n", "row 1", "1 values"),
        ("id_token\nCARD\nOTHER\ncard\n", "row 3, id_token", "row 1"),
        ("number\n1\n", "file", "number"),
        ("type\nLocal\n", "file", "id_token"),
        ("id_token,id_token\nA,B\n", "file", "once"),
        ("", "file", "columns"),
        ('id_token\n"unclosed\n', "file", "line"),
        (b"\xff\xfe", "file", "UTF-8"),
        (b"id_token\n\x00\n", "file", "binary"),
    ],
)
async def test_import__an_error_names_its_row_and_nothing_is_changed(
    api: Api, text: str | bytes, field: str, words: str
) -> None:
    answer = await imported(api, text)
    error = answer.json()["error"]
    assert answer.status_code in (400, 422)
    assert error["field"] == field
    assert words in error["message"]
    assert (await api.ok("operator", "GET", "/id-tokens"))["items"] == []
    assert await api.entries("id_token_changed") == []


async def test_import__too_many_rows_and_too_many_bytes_are_refused(api: Api) -> None:
    many = "id_token\n" + "\n".join(f"CARD-{n}" for n in range(CSV_ROWS_MAX + 1))
    caller = Caller(None, "operator", Role.OPERATOR)
    async with api.work() as work:
        with pytest.raises(Unreadable, match="rows"):
            await import_csv(work, caller, many.encode(), now=api.clock.now())
        with pytest.raises(Unreadable, match="bytes"):
            await import_csv(work, caller, b"x" * (CSV_BYTES_MAX + 1), now=api.clock.now())
    large = await imported(api, b"id_token\n" + b"x" * 8_388_608)
    assert large.status_code == 413
    assert large.json()["error"]["field"] == "body"


# Erasure ---------------------------------------------------------------------------------------


@pytest.fixture
async def person(api: Api) -> Api:
    """A driver whose card is everywhere, and another whose card contains it."""
    await api.add_login("dana", "driver")
    await api.add_station("CP-1")
    for card in ("SECRET-CARD", "SECRET-CARD-2"):
        await api.ok("operator", "POST", "/id-tokens", {"id_token": card, "login": "dana"})
    api.channel.connected = {"CP-1"}
    body = {"command": "remote-start", "evse": 1, "id_token": "SECRET-CARD"}
    await api.ok("operator", "POST", "/stations/CP-1/commands", body)
    await api.charge("CP-1", "secret-card", signed=OCMF)
    await api.charge("CP-1", "SECRET-CARD-2")
    async with api.work() as work:
        for frame in (
            b'[2,"1","Authorize",{"idTag":"Secret-Card"}]',
            b'[2,"2","DataTransfer",{"data":"{\\"ID\\":\\"SECRET-CARD\\"}"}]',
            b'[2,"3","Authorize",{"idTag":"SECRET-CARD-2"}]',
            b'[2,"4","Heartbeat",{}]',
        ):
            row = MessageRow("CP-1", api.clock.now(), True, "1.6", None, None, frame, None, "ok")
            work.write(Changes(messages=[row]))
        await work.commit()
    return api


async def places_of(api: Api, needle: str) -> dict[str, int]:
    """Count the rows of every table that hold a text, in whatever column, in whatever case."""
    tables = await api.rows(
        "select table_name from information_schema.tables where table_schema = 'public'"
    )
    found = {}
    for (table,) in tables:
        [(number,)] = await api.rows(
            f"select count(*) from {table} t where strpos(lower(t::text), %s) > 0"
            f" or strpos(lower(t::text), %s) > 0",
            needle.lower(),
            needle.lower().encode().hex(),
        )
        if number:
            found[table] = number
    bodies = [body for (body,) in await api.rows("select body from ocpp_message_pack")]
    rows = [str(row).lower() for body in bodies for row in unpacked(body)]
    return found | {"exchanges": sum(needle.lower() in row for row in rows)}


async def test_erase__nothing_of_the_person_is_left_and_the_log_still_verifies(
    person: Api,
) -> None:
    leaves = await person.rows("select entry from log_entry order by log_index")
    body = {"id_token": "secret-card", "reason": "asked by letter"}
    answer = await person.ok("operator", "POST", "/id-tokens/erase", body)

    # What is left are the rows of the other card, whose name contains this one's.
    others = await places_of(person, "secret-card-2")
    assert await places_of(person, "secret-card") == others
    after = await person.rows("select entry, record, salt from log_entry order by log_index")
    assert [(entry,) for entry, _, _ in after[:-1]] == leaves
    erased = [n for n, (_, record, salt) in enumerate(after) if record is None and salt is None]
    assert answer["log_indexes"] == erased
    assert answer["stations"] == ["CP-1"]
    assert person.forgotten[-1] == "CP-1"  # the channel remembers it no longer than the database
    assert len(erased) >= 4  # added, commanded, authorised, started, signed
    for entry, record, salt in after:
        if record is not None:
            assert parse_envelope(bytes(entry)).commitment == commit(bytes(salt), bytes(record))
    [record] = await person.entries("record_erased")
    assert record["log_indexes"] == erased
    assert record["reason"] == "asked by letter"
    assert b"secret" not in encode(record).lower()


async def test_erase__sessions_and_bills_stay_without_the_person(person: Api) -> None:
    before = (await person.ok("operator", "GET", "/sessions"))["items"]
    body = {"id_token": "SECRET-CARD"}
    await person.ok("operator", "POST", "/id-tokens/erase", body)
    assert (await person.ok("operator", "GET", "/sessions"))["items"] == before
    shown = [await person.ok("operator", "GET", f"/sessions/{r['session_id']}") for r in before]
    assert {view["id_token"] for view in shown} == {None, "SECRET-CARD-2"}
    assert all(view["cdrs"] for view in shown)
    kept = (await person.ok("operator", "GET", "/stations/CP-1/messages"))["items"]
    assert [row["outcome"] for row in kept if row["frame"] == ""] == ["erased", "erased"]
    # The card is now unknown.
    await person.say("CP-1", Authorize(IdTokenRef("SECRET-CARD", "ISO14443")))
    assert (await person.entries("authorize"))[-1]["status"] == "Invalid"


async def test_erase__a_late_event_does_not_bring_it_back(person: Api) -> None:
    await person.ok("operator", "POST", "/id-tokens/erase", {"id_token": "SECRET-CARD"})
    await person.say("CP-1", person.event("tx-1", "Updated", 500, None))
    rows = await person.rows("select distinct id_token_key from charging_session")
    assert set(rows) == {("secret-card-2",), (None,)}


async def test_erase__not_while_a_session_runs_and_only_what_is_known(person: Api) -> None:
    await person.charge("CP-1", "SECRET-CARD", end=False)
    body = {"id_token": "SECRET-CARD"}
    refused = await person.call("operator", "POST", "/id-tokens/erase", body)
    assert refused.status_code == 409
    assert await status_of(person, "SECRET-CARD") == "accepted"
    unknown = await person.call("operator", "POST", "/id-tokens/erase", {"id_token": "NONE"})
    assert unknown.status_code == 404
