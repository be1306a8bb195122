"""Every bill recomputed from an export: no difference, and every change to the export is named."""

import json
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chargera.app.permissions import Caller, Role
from chargera.domain.errors import Unreadable
from chargera.domain.money import minor_digits
from chargera.domain.transaction import Anomaly
from chargera.proofs import records
from chargera.proofs.cdr import SessionFacts, judge
from chargera.proofs.export import ExportedLog
from chargera.proofs.ocpi import tariff_from_ocpi
from chargera.proofs.recompute import Recomputation, recompute
from chargera.proofs.steps import StepStatus
from chargera.proofs.tiles import Tile
from chargera.proofs.trust import Trust
from tests.integration.recompute.network import Network, Size, network_on
from tests.naive_pricer import naive_price


@pytest.fixture
async def network(database_url: str, tmp_path: Path) -> AsyncIterator[Network]:
    async with network_on(database_url, tmp_path) as network:
        yield network


def run(folder: Path, trust: Trust | None) -> Recomputation:
    def fetch(tile: Tile) -> bytes:
        try:
            return (folder / tile.path).read_bytes()
        except FileNotFoundError as error:
            raise Unreadable(f"{tile.path} is missing") from error

    with (
        (folder / "records.jsonl").open("rb") as record_lines,
        (folder / "readings.jsonl").open("rb") as reading_lines,
    ):
        checkpoint = (folder / "checkpoint").read_bytes()
        return recompute(ExportedLog(checkpoint, fetch, record_lines, reading_lines), trust)


def lines_of(folder: Path, name: str) -> list[Any]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


@pytest.mark.parametrize(
    "size",
    [
        Size(stations=40, sessions_a_station=26),
        pytest.param(Size(100, 102), marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
    ids=lambda size: str(size.stations * size.sessions_a_station),
)
async def test_random_sessions__recomputed_from_the_export__no_difference(
    network: Network, tmp_path: Path, size: Size
) -> None:
    await network.live(size, Random(size.stations))
    folder = await network.export(tmp_path / "export")
    outcome = run(folder, network.trust)
    assert outcome.valid, outcome
    assert outcome.differences == ()
    assert {step.status for step in outcome.steps} == {StepStatus.OK}, "nothing was left out"

    [[bills, credits_]] = await network.query(
        "select count(*) filter (where not is_credit), count(*) filter (where is_credit) from cdr"
    )
    assert (outcome.counts.bills, outcome.counts.credits) == (bills, credits_)
    assert outcome.counts.sessions == size.stations * size.sessions_a_station
    sums = await network.query(
        "select currency, count(*), sum(gross_minor)::bigint from charging_session"
        " where gross_minor is not null group by currency"
    )
    totals = {(c, t.bills, t.gross_minor) for c, t in outcome.totals.items()}
    assert totals == set(sums)
    await check_variety(network)
    check_with_the_naive_pricer(folder, every=10)


async def check_variety(network: Network) -> None:
    """The sessions were of every sort that the test is about."""
    rows = await network.query("select distinct ocpp_version, state from charging_session")
    assert {("1.6", "billed"), ("2.0.1", "billed"), ("1.6", "review")} <= set(rows)
    rows = await network.query("select distinct unnest(anomalies) from charging_session")
    assert {"late_event", "seq_no_hole", "time_before_2020", "no_begin_register"} <= {
        code for (code,) in rows
    }
    rows = await network.query("select distinct kind from log_entry")
    assert {"credit_cdr", "operator_correction", "signed_value"} <= {kind for (kind,) in rows}
    rows = await network.query("select distinct proof_level from charging_session")
    assert set(rows) == {("L0",), ("L2",)}
    rows = await network.query(
        "select sum((d ->> 'billed')::numeric) > 0 from cdr cross join lateral"
        " jsonb_array_elements(convert_from(document, 'UTF8')::jsonb #> '{bill,periods}') p"
        " cross join lateral jsonb_array_elements(p -> 'dimensions') d"
        " where not is_credit group by d ->> 'dimension'"
    )
    assert rows == [(True,)] * 4, "energy, time, parking and flat were billed"


def check_with_the_naive_pricer(folder: Path, every: int) -> None:
    """Price some of the bills by other code; `judge` only puts the readings in order."""
    logged = lines_of(folder, "records.jsonl")
    by_index = {line["index"]: line["record"] for line in logged}
    readings = {line["session_id"]: line["events"] for line in lines_of(folder, "readings.jsonl")}
    bills = [line["record"] for line in logged if line["kind"] == "cdr"]
    for cdr in bills[::every]:
        if cdr["correction"] is not None:
            continue
        rows = readings[cdr["session_id"]][: cdr["events"]["count"]]
        tariff = tariff_from_ocpi(by_index[cdr["tariff"]["log_index"]]["document"])
        facts = SessionFacts(
            numbered=cdr["numbered"],
            time_zone=cdr["time_zone"],
            events=[records.event_from_record(row, field="events") for row in rows],
            tariff=tariff,
            meter_key=None,
            signed=(),
            previous_pages=None,
            correction=None,
            known=frozenset(Anomaly(code) for code in cdr["known_anomalies"]),
        )
        session = judge(facts).session
        assert session is not None
        naive = naive_price(tariff, session, minor_digits(tariff.currency))
        assert (cdr["bill"]["net_minor"], cdr["bill"]["vat_minor"]) == (
            naive.net_minor,
            naive.vat_minor,
        )


# What is changed is named ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tampering:
    """A change to an export and where it must be found."""

    change: Callable[[Path], object]
    step: str
    where: Callable[[Path], dict[str, object]] = lambda folder: {}
    """Members of the first difference that this step has."""


def line_number(folder: Path, kind: str) -> int:
    lines = lines_of(folder, "records.jsonl")
    return next(n for n, line in enumerate(lines) if line["kind"] == kind)


def index_of(kind: str) -> Callable[[Path], dict[str, object]]:
    def where(folder: Path) -> dict[str, object]:
        lines = lines_of(folder, "records.jsonl")
        return {"log_index": next(line["index"] for line in lines if line["kind"] == kind)}

    return where


def first_session(folder: Path) -> dict[str, object]:
    return {"session_id": lines_of(folder, "readings.jsonl")[0]["session_id"]}


def edit_line(folder: Path, name: str, number: int, change: Callable[[bytes], bytes]) -> None:
    path = folder / name
    lines = path.read_bytes().splitlines(keepends=True)
    changed = change(lines[number])
    assert changed != lines[number], "the change changes something"
    lines[number] = changed
    path.write_bytes(b"".join(lines))


def edit_record(kind: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    return lambda folder: edit_line(
        folder,
        "records.jsonl",
        line_number(folder, kind),
        lambda line: line.replace(old, new, 1),
    )


def edit_readings(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: edit_line(folder, "readings.jsonl", 0, change)


def flip_salt(line: bytes) -> bytes:
    at = line.index(b'"salt":"') + 8
    return line[:at] + (b"0" if line[at : at + 1] != b"0" else b"1") + line[at + 1 :]


def flip_byte(path: str, place: int = -1) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        file = min(found for found in folder.rglob(path) if found.is_file())
        data = bytearray(file.read_bytes())
        data[place] ^= 1
        file.write_bytes(data)

    return change


def swap_records(folder: Path) -> None:
    """Put another tariff, that was logged too, in the place of the first."""
    lines = (folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    places = [n for n, line in enumerate(lines) if b'"kind":"tariff_published"' in line]
    first, second = (lines[place].partition(b',"kind"') for place in places[:2])
    lines[places[0]] = first[0] + second[1] + second[2]
    (folder / "records.jsonl").write_bytes(b"".join(lines))


def without_bundle(folder: Path) -> None:
    next(folder.glob("tile/entries/*.p/*")).unlink()


CUT = b'"register_wh":'

TAMPERINGS = {
    "a bill's amount": Tampering(
        edit_record("cdr", b'"net_minor":', b'"net_minor":1'), "records", index_of("cdr")
    ),
    "a tariff's price": Tampering(
        edit_record("tariff_published", b'"price":"', b'"price":"9'),
        "records",
        index_of("tariff_published"),
    ),
    "another tariff": Tampering(swap_records, "records", index_of("tariff_published")),
    "a meter key": Tampering(
        edit_record("station_registered", b'"meter_key":', b'"meter_key_":'),
        "records",
        index_of("station_registered"),
    ),
    "a salt": Tampering(
        lambda f: edit_line(f, "records.jsonl", line_number(f, "session_ended"), flip_salt),
        "records",
        index_of("session_ended"),
    ),
    "a kind": Tampering(edit_record("cdr", b'"kind":"cdr"', b'"kind":"anomaly"'), "records"),
    "a place": Tampering(edit_record("cdr", b'{"index":', b'{"index":9'), "records"),
    "no JSON": Tampering(edit_record("cdr", b"{", b"["), "records"),
    "a record too many": Tampering(
        lambda f: edit_line(f, "records.jsonl", 0, lambda line: line + line), "records"
    ),
    "a reading": Tampering(
        edit_readings(lambda line: line.replace(CUT, CUT + b"1", 1)), "readings", first_session
    ),
    "a reading's time": Tampering(
        edit_readings(lambda line: line.replace(b'"at":"2026', b'"at":"2025', 1)),
        "readings",
        first_session,
    ),
    "a reading left out": Tampering(
        edit_readings(lambda line: b'{"events":[' + line.partition(b"},")[2]),
        "readings",
        first_session,
    ),
    "a reading too many": Tampering(
        edit_readings(
            lambda line: line.replace(
                b'],"session_id"', b"," + line[11:].partition(b"}")[0] + b'}],"session_id"'
            )
        ),
        "readings",
        first_session,
    ),
    "all readings of a session": Tampering(
        edit_readings(lambda line: b""), "readings", first_session
    ),
    "readings twice": Tampering(edit_readings(lambda line: line + line), "readings", first_session),
    "an entry": Tampering(flip_byte("tile/entries/**/*"), "tree"),
    "a hash": Tampering(flip_byte("tile/0/**/*"), "tree"),
    "a file that is missing": Tampering(without_bundle, "tree"),
    "the head's root": Tampering(
        lambda f: edit_line(f, "checkpoint", 2, lambda line: b"A" * 43 + b"=\n"), "signature"
    ),
    "the head's size": Tampering(
        lambda f: edit_line(f, "checkpoint", 1, lambda line: b"2" + line[1:]), "signature"
    ),
}


async def test_tampering_with_an_export__each_kind__named(network: Network, tmp_path: Path) -> None:
    await network.live(Size(stations=8, sessions_a_station=4), Random(1))
    whole = await network.export(tmp_path / "export")
    assert run(whole, network.trust).valid
    for name, tampering in TAMPERINGS.items():
        folder = tmp_path / "tampered"
        shutil.copytree(whole, folder)
        tampering.change(folder)
        outcome = run(folder, network.trust)
        found = [d.as_dict() for d in outcome.differences if d.step == tampering.step]
        assert outcome.exit_code == 1, name
        assert found, f"{name}: {outcome}"
        assert tampering.where(whole).items() <= found[0].items(), f"{name}: {outcome}"
        shutil.rmtree(folder)


async def test_what_is_not_in_the_export__cannot_be_determined__and_said(
    network: Network, tmp_path: Path
) -> None:
    await network.live(Size(stations=4, sessions_a_station=4), Random(2))
    whole = await network.export(tmp_path / "export")
    assert run(whole, None).exit_code == 3, "nobody said whose log it should be"

    driver = Caller("00000000-0000-0000-0000-000000000002", "eve", Role.DRIVER)
    partial = run(await network.export(tmp_path / "partial", driver), network.trust)
    assert (partial.exit_code, partial.differences) == (3, ())
    assert partial.counts.bills == 0
    assert "not in this export" in {s.step: s.detail for s in partial.steps}["bill"]


async def test_a_drivers_own_export__all_that_its_bills_need_and_no_more(
    network: Network, tmp_path: Path
) -> None:
    await network.live(Size(stations=4, sessions_a_station=6), Random(3))
    driver = Caller("00000000-0000-0000-0000-000000000002", "eve", Role.DRIVER)
    async with network.database.work() as work:
        cursor = await work.connection.execute(
            "update charging_session set login_id = %s where station_id = any(%s)"
            " returning session_id, cdr_log_index",
            [driver.login_id, ["RANDOM-000", "RANDOM-003"]],
        )
        mine = await cursor.fetchall()
        await work.commit()
    folder = await network.export(tmp_path / "export", driver)
    outcome = run(folder, network.trust)
    assert (outcome.exit_code, outcome.differences) == (0, ()), outcome
    assert outcome.counts.sessions == len(mine)
    assert outcome.counts.bills >= sum(index is not None for _, index in mine) > 0
    assert outcome.counts.bills_elsewhere > 0
    lines = lines_of(folder, "records.jsonl")
    registered = {r["record"]["station_id"] for r in lines if r["kind"] == "station_registered"}
    assert registered == {"RANDOM-000", "RANDOM-003"}
    sessions = {line["record"].get("session_id") for line in lines} - {None}
    assert sessions == {session_id for session_id, _ in mine}
