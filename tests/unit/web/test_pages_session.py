"""One session's page in its parts: bills, proofs, verdicts and what is left out of them."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chargera.app.permissions import Caller, Role
from chargera.app.views import AnchorView, CdrView, ReadingView, SessionView
from chargera.proofs.receipt import parse_receipt, verify_receipt
from chargera.proofs.steps import StepStatus
from chargera.web.catalogue import load_texts
from chargera.web.pages.bill import Bill, bill_of
from chargera.web.pages.formats import Formats
from chargera.web.pages.judge import ReceiptJudge
from chargera.web.pages.log import consensus_time
from chargera.web.pages.proof_line import ICONS, ProofWords
from chargera.web.pages.rendering import View
from chargera.web.pages.session import energy_chart, power_chart, readings_csv, session_facts
from tests.browser.sample_app import sample_network
from tests.browser.sample_network import SampleSession

TEXTS = load_texts("en")
VIEW = View(
    Caller("1", "ada", Role.OPERATOR), "csrf", TEXTS, Formats(TEXTS.locale), "auto", "/session/1"
)
WORDS = ProofWords(TEXTS, VIEW.formats)
NBSP = "\N{NO-BREAK SPACE}"
AT = datetime(2026, 11, 24, 9, tzinfo=UTC)


def sample(state: str = "billed", signed: int = 2) -> SampleSession:
    sessions = sample_network().sessions.values()
    return next(s for s in sessions if s.row.state == state and s.signed >= signed)


def view_of(session: SampleSession) -> SessionView:
    return sample_network().session_view(session, readable=True)


def priced(*lines: Mapping[str, Any], **more: Any) -> Bill:
    """The bill of a session that would cost this if it ended now."""
    view = view_of(sample("charging", 0))
    assert view.live is not None
    totals = {"net_minor": 100, "vat_minor": 21, "gross_minor": 121}
    cost = {"currency": "EUR", "lines": lines, "periods": [], **totals, **more}
    bill = bill_of(VIEW, replace(view, live=replace(view.live, cost_so_far=cost)))
    assert bill is not None
    return bill


def line(dimension: str, quantity: str, exact: str, vat_rate: str | None = "21") -> dict[str, Any]:
    return {
        "dimension": dimension,
        "quantity": quantity,
        "exact": exact,
        "vat_rate": vat_rate,
        "minor": 100,
    }


# Bills -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "how"),
    [
        (
            line("ENERGY", "23.55", "9.1845"),
            f"23.550{NBSP}kWh \N{MULTIPLICATION SIGN} €0.39 per kWh · 21 % VAT",
        ),
        (line("ENERGY", "10", "3.3333"), f"10.000{NBSP}kWh \N{MULTIPLICATION SIGN}"),
        (line("ENERGY", "3", "1.0000001"), f"3.000{NBSP}kWh · 21 % VAT"),
        (
            line("PARKING_TIME", "1800", "1.5"),
            "30 mins \N{MULTIPLICATION SIGN} €3.00 per hour · 21 % VAT",
        ),
        (line("TIME", "3600", "2", None), "1 hr 0 mins \N{MULTIPLICATION SIGN} €2.00 per hour"),
        (line("FLAT", "1", "0.5"), "once · 21 % VAT"),
        (line("ENERGY", "0", "0", None), f"0.000{NBSP}kWh"),
    ],
)
def test_a_line_says_how_much_of_what_at_which_price(shown: dict[str, Any], how: str) -> None:
    assert str(priced(shown).lines[0].how).startswith(how)


def test_periods_show_what_was_priced_and_leave_out_the_rest() -> None:
    parts = [
        {"dimension": "ENERGY", "quantity": "1", "billed": "1", "element": 0, "exact": "0.39"},
        {"dimension": "TIME", "quantity": "9", "billed": "9", "element": None, "exact": "0"},
    ]
    period = {"started_at": "2026-11-24T09:00:00Z", "exact": "0.39", "dimensions": parts}
    (shown,) = priced(periods=[period]).periods
    assert (shown.dimension, shown.started_at, shown.exact) == ("ENERGY", AT, "0.39")


def test_a_bill_is_final_once_it_is_a_cdr() -> None:
    final = bill_of(VIEW, view_of(sample()))
    assert final is not None
    assert final.is_final
    assert not priced().is_final


def test_what_was_taken_back_is_shown() -> None:
    view = view_of(sample())
    credit = CdrView("K1", True, "C1", "EUR", -100, -21, -121, -1, AT, 7)
    shown = bill_of(VIEW, replace(view, cdrs=(credit, *view.cdrs)))
    assert shown is not None
    assert shown.credits == (credit,)


def test_without_its_record_a_bill_is_its_amounts() -> None:
    view = view_of(sample())
    erased = tuple(replace(entry, record=None) for entry in view.entries)
    bare = bill_of(VIEW, replace(view, entries=erased))
    assert bare is not None
    assert (bare.gross_minor, bare.lines, bare.is_final) == (view.cdrs[0].gross_minor, (), True)


def test_a_session_without_bill_and_price_has_none() -> None:
    assert bill_of(VIEW, view_of(sample("review", 0))) is None


# Proofs ----------------------------------------------------------------------------------------


def test_every_stop_of_a_billed_session_carries_its_own_data() -> None:
    network = sample_network()
    receipt = network.receipt(sample())
    proof = WORDS.of_receipt(parse_receipt(receipt), verify_receipt(receipt, network.trust))
    assert [stop.key for stop in proof.stops] == list(ICONS)
    assert proof.outcome == "holds"
    assert all(stop.facts or stop.texts for stop in proof.stops)
    assert all(stop.gist for stop in proof.stops)
    facts = {fact.key: fact for stop in proof.stops for fact in stop.facts}
    assert facts["readings_digest"].copyable == facts["readings_digest"].value
    assert facts["log_index"].href == f"/log/entry/{sample().row.cdr_log_index}"


def test_a_receipt_that_waits_for_its_anchor_holds_so_far() -> None:
    network = sample_network()
    document = json.loads(network.receipt(sample())) | {"anchor": None}
    receipt = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    verdict = verify_receipt(receipt.encode(), network.trust)
    proof = WORDS.of_receipt(parse_receipt(receipt.encode()), verdict)
    assert proof.outcome == "waits"
    assert proof.stops[-1].status == "pending"
    assert (proof.stops[-1].facts, proof.stops[-1].json_url) == ((), None)


def test_a_stop_that_fails_is_named() -> None:
    network = sample_network()
    receipt = network.receipt(sample())
    stranger = replace(network.trust, operator_id="DE*XXX")
    proof = WORDS.of_receipt(parse_receipt(receipt), verify_receipt(receipt, stranger))
    assert proof.outcome == "fails"
    assert [stop.key for stop in proof.stops if stop.status == StepStatus.FAILED] == ["entry"]


@pytest.mark.parametrize(("signs", "status"), [(True, "pending"), (False, "not_asked")])
def test_a_running_session_says_what_it_waits_for(signs: bool, status: str) -> None:
    proof = WORDS.of_running(view_of(sample("charging", 0)), signs)
    assert not proof.is_final
    assert [stop.key for stop in proof.stops] == list(ICONS)
    assert proof.stops[1].status == status
    assert {stop.status for stop in proof.stops[2:]} == {"pending"}


def test_a_session_without_a_register_has_a_line_too() -> None:
    view = view_of(sample("charging", 0))
    without = replace(view, session=replace(view.session, meter_start_wh=None))
    assert len(WORDS.of_running(without, False).stops[0].facts) == 1


# Verdicts --------------------------------------------------------------------------------------


async def test_a_receipt_is_verified_once() -> None:
    network, judge = sample_network(), ReceiptJudge()
    receipt = network.receipt(sample())
    first = await judge.judge(receipt, network.trust)
    assert await judge.judge(receipt, network.trust) is first
    assert judge.judged == 1


async def test_another_trust_is_another_verdict() -> None:
    network, judge = sample_network(), ReceiptJudge()
    receipt = network.receipt(sample())
    stranger = replace(network.trust, operator_id="DE*XXX")
    assert (await judge.judge(receipt, network.trust)).valid
    assert not (await judge.judge(receipt, stranger)).valid


async def test_remembered_verdicts_are_bounded() -> None:
    network, judge = sample_network(), ReceiptJudge(remembered_max=2)
    receipts = [b"{}" + bytes([65 + number]) for number in range(4)]
    await asyncio.gather(*(judge.judge(receipt, network.trust) for receipt in receipts))
    await judge.judge(receipts[0], network.trust)
    assert judge.judged == 5


# Readings and facts ----------------------------------------------------------------------------


def reading(n: int, register_wh: int | None, power_w: int | None, minute: int) -> ReadingView:
    at = AT + timedelta(minutes=minute)
    return ReadingView(n, "Updated", at, at, n, register_wh, power_w, "Sample.Periodic", None)


def test_charts_follow_the_stations_time_not_the_order_of_arrival() -> None:
    readings = [reading(0, 1000, 11_000, 0), reading(1, 3000, None, 20), reading(2, 2000, 7000, 10)]
    energy, power = energy_chart(readings), power_chart(readings)
    assert energy is not None
    assert power is not None
    assert [point.value for point in energy.points] == [0, 1000, 2000]
    assert [point.value for point in power.points] == [11_000, 7000]
    assert energy.window == power.window == (AT, AT + timedelta(minutes=20))


def test_a_falling_register_draws_no_negative_energy() -> None:
    chart = energy_chart([reading(0, 5000, None, 0), reading(1, 4000, None, 5)])
    assert chart is not None
    assert [point.value for point in chart.points] == [0, 0]


def test_too_little_is_no_chart() -> None:
    assert energy_chart([reading(0, 1000, None, 0)]) is None
    assert power_chart([reading(0, 1000, None, 0)]) is None
    assert power_chart([]) is None


def test_readings_are_rows_as_they_came() -> None:
    text = readings_csv([reading(0, 1000, None, 0)])
    assert text.endswith("\r\n")
    assert text.splitlines()[1] == (
        "0,2026-11-24T09:00:00.000Z,2026-11-24T09:00:00.000Z,Updated,Sample.Periodic,0,1000,,"
    )


def test_facts_that_do_not_exist_are_left_out() -> None:
    view = view_of(sample("review", 0))
    row = replace(view.session, transaction_id=None, meter_start_wh=None, meter_stop_wh=None)
    bare = replace(
        view,
        session=row,
        id_token=None,
        id_token_status=None,
        stop_reason=None,
        started_log_index=None,
        ended_log_index=None,
    )
    keys = [fact.key for fact in session_facts(VIEW, bare)]
    assert keys == ["session_id", "station_id", "ocpp_version", "time_zone"]
    full = [fact.key for fact in session_facts(VIEW, view_of(sample()))]
    assert len(full) == len(set(full)) == 17


def test_an_anchor_has_its_consensus_time_once_it_has_one() -> None:
    waiting = AnchorView(5, "pending", AT, 0, "0.0.2@1.1", None, None, None, None, None)
    assert consensus_time(waiting) is None
    there = replace(waiting, consensus_timestamp="1795513238.118204771")
    assert consensus_time(there) == datetime(2026, 11, 24, 9, 40, 38, 118204, tzinfo=UTC)
    assert consensus_time(replace(waiting, consensus_timestamp="1795513238")) is not None
