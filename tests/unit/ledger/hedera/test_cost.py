"""What a network costs: the measured figures, the model, the bar, the published page."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera import cli
from chargera.app.log_ports import SignedHead
from chargera.app.log_testing import MemoryAnchorStore, MemoryLogStore, MemoryTopicStore
from chargera.app.settlement import BatchPolicy
from chargera.domain.errors import InvalidInput
from chargera.ledger.anchoring import Anchoring, AnchorPolicy
from chargera.ledger.embedded_topic import EmbeddedTopic
from chargera.ledger.evm.deployment import DEFAULT_POLICY
from chargera.ledger.hedera.cost import (
    GAS_FILE,
    SIZES,
    Cost,
    Load,
    PaidBy,
    Period,
    cost,
    message_bytes,
    settle_gas,
)
from chargera.ledger.hedera.fees import MAINNET, USD_E10
from chargera.settings import Settings
from tests import measured_gas
from tests.unit.app.settlement_rig import Rig, numbered

ORIGIN = Settings().log_origin
THREE_A_DAY = Load(100, Fraction(3))
SIGNATURE_GAS = 100
"""By so much the gas of one transaction varies with the zero bytes of its signatures."""


def of(load: Load) -> Cost:
    return cost(load, DEFAULT_POLICY, ORIGIN)


# What is measured ------------------------------------------------------------------------------


def test_the_gas_in_the_package__is_what_the_contracts_measure() -> None:
    stored: Mapping[str, Any] = json.loads(GAS_FILE.read_text())
    now = measured_gas.measured()
    assert stored["snapshots"] == now["snapshots"]
    assert [step["step"] for step in stored["deployment"]] == [
        step["step"] for step in now["deployment"]
    ]
    for kept, step in zip(stored["deployment"], now["deployment"], strict=True):
        assert kept["gas"] == pytest.approx(step["gas"], abs=SIGNATURE_GAS), step
    for kept, batch in zip(stored["batches"], now["batches"], strict=True):
        assert kept == pytest.approx(batch, abs=SIGNATURE_GAS)


@pytest.mark.parametrize(("sessions", "passports"), [(24, 12), (12, 12), (48, 20)])
def test_gas__is_linear_in_sessions_and_passports(sessions: int, passports: int) -> None:
    _, batch = measured_gas.run(sessions, passports)
    reckoned = settle_gas(PaidBy.FIAT, Fraction(sessions), Fraction(passports))
    assert float(reckoned) == pytest.approx(batch["settle"], rel=0.01)


def test_settling_from_wallets__is_dearer_as_the_contracts_tests_say() -> None:
    rows = json.loads(Path("contracts/snapshots/SettlementHub.json").read_text())
    many = Fraction(48)
    fiat, euro, c4e = (settle_gas(by, many, many) for by in PaidBy)
    assert float(c4e - fiat) == pytest.approx(
        int(rows["settle, wallet C4E, 48 passports, steady"])
        - int(rows["settle, fiat EUR, 48 passports, steady"])
    )
    assert fiat < euro < c4e * 2


def test_an_anchor_is_as_long_as_a_real_head() -> None:
    assert 180 < message_bytes(ORIGIN) < 260
    assert message_bytes("log.example/a/1") == message_bytes("log.example/bb/1") - 2


# The model -------------------------------------------------------------------------------------


def test_bar__a_hundred_chargers_anchor_for_less_than_a_cent_each_a_month() -> None:
    found = of(THREE_A_DAY)
    assert found.line("anchor").count == 730
    assert found.a_charger("anchor") <= Fraction(USD_E10, 100)


def test_fewer_sessions__still_an_anchor_an_hour_and_batches_as_they_come() -> None:
    found = of(replace(THREE_A_DAY, chargers=1, sessions_per_day=Fraction(1)))
    assert found.line("anchor").count == 730
    assert found.line("settle").count == Fraction(730, 24)  # each bill on its own
    silent = of(replace(THREE_A_DAY, sessions_per_day=Fraction()))
    assert silent.line("settle").total_usd_e10 == 0


def test_many_sessions__an_anchor_with_each_full_batch() -> None:
    found = of(Load(10_000, Fraction(3), Period.DAY))
    assert found.line("settle").count == found.line("anchor").count == 30_000 / Fraction(48)


def test_a_stricter_policy__anchors_more_often() -> None:
    strict = cost(THREE_A_DAY, replace(DEFAULT_POLICY, anchor_interval_s=60), ORIGIN)
    assert strict.line("anchor").count == 730 * 60
    many = cost(THREE_A_DAY, replace(DEFAULT_POLICY, anchor_sessions=5), ORIGIN)
    assert many.line("anchor").count == 730 * Fraction(300, 24) / 5


@given(
    st.integers(1, 10**5),
    st.fractions(0, 100, max_denominator=100),
    st.sampled_from(Period),
    st.sampled_from(PaidBy),
)
def test_every_session_is_settled_once_and_totals_add_up(
    chargers: int, sessions: Fraction, period: Period, paid_by: PaidBy
) -> None:
    found = of(Load(chargers, sessions, period, paid_by))
    batches = found.line("settle").count
    assert found.line("propose").count == batches
    assert batches * 48 >= chargers * sessions * period.hours / 24
    document = found.as_dict()
    total = sum(Fraction(line["usd"]) for line in document["lines"])
    assert abs(total - Fraction(document["total_usd"])) <= Fraction(len(document["lines"]), 10**6)
    assert Fraction(document["total_usd"]) > 0


def test_a_year_is_twelve_months() -> None:
    year = of(replace(THREE_A_DAY, period=Period.YEAR))
    assert year.line("anchor").count == 12 * of(THREE_A_DAY).line("anchor").count
    assert year.line("claim").count == 1_200


@pytest.mark.parametrize(
    ("field", "load"),
    [("chargers", (0, 1)), ("chargers", (10**8, 1)), ("sessions_per_day", (1, -1))],
)
def test_what_no_network_has__is_refused(field: str, load: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput) as refused:
        Load(load[0], Fraction(load[1]))
    assert refused.value.field == field


def test_the_contracts_cost_a_few_dollars_once() -> None:
    once = of(THREE_A_DAY).line("contracts")
    assert once.gas is not None
    assert Fraction(2) < Fraction(once.total_usd_e10, USD_E10) < Fraction(5)
    assert once.total_usd_e10 == once.gas * MAINNET.gas_usd_e10


# The command and its page ----------------------------------------------------------------------


def test_command__gives_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ledger", "cost", "--chargers", "100", "--sessions-per-day", "3", "--json"]
    assert cli.run(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == of(THREE_A_DAY).as_dict()
    anchor, propose, settle, claim = document["lines"]
    assert (anchor["name"], anchor["bytes"]) == ("anchor", message_bytes(ORIGIN))
    assert Fraction(anchor["usd_per_charger"]) <= Fraction(1, 100)
    assert (propose["name"], settle["name"], claim["gas"]) == ("propose", "settle", 85_165)


@pytest.mark.parametrize(
    ("words", "field", "code"),
    [
        (["--sessions-per-day", "many"], "sessions_per_day", 2),
        (["--sessions-per-day", "nan"], "sessions_per_day", 2),
        (["--sessions-per-day", "3", "--period", "moon"], "period", 2),
        (["--sessions-per-day", "3", "--paid-by", "cash"], "paid_by", 2),
        (["--sessions-per-day", "3", "--chargers", "0"], "chargers", 1),
    ],
)
def test_command__names_what_is_wrong(
    words: list[str], field: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["ledger", "cost", *words, "--json"]) == code
    assert json.loads(capsys.readouterr().out)["error"]["field"] == field


def test_page__is_what_the_command_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "page.md"
    words = ["ledger", "cost", "--sessions-per-day", "3", "--table", str(written)]
    assert cli.run(words) == 0
    assert "all: $" in capsys.readouterr().out
    assert written.read_text() == Path("docs/reference/ledger-cost.md").read_text()
    for chargers in SIZES:
        assert f"| {chargers:,} | " in written.read_text()


# The rules of the server, against the model -----------------------------------------------------


@pytest.mark.parametrize("an_hour", [2, 12])
async def test_anchors_and_batches__by_the_servers_own_rules__are_as_many_as_reckoned(
    an_hour: int,
) -> None:
    """Eight hours, looks in between: bills, heads, anchors by policy and for batches, batches."""
    hours = 8
    rig = Rig(BatchPolicy(sessions=48, interval=timedelta(hours=1)))
    log, topic_rows = MemoryLogStore(), MemoryTopicStore()
    anchors = MemoryAnchorStore(log)
    topic = await EmbeddedTopic.open(topic_rows, rig.clock)
    anchoring = Anchoring(anchors, topic, rig.clock, AnchorPolicy)
    rig.rows.head = None
    size, bills = 10, 0
    for minute in range(0, hours * 60, 2):
        if minute * an_hour // 60 >= bills:
            rig.wait(numbered(bills, at=rig.clock.now(), ended_at=rig.clock.now()))
            bills += 1
            size += 1
        await log.add_head(SignedHead(size, b"%d" % size, rig.clock.now()))
        rig.clock.advance(120)
        await anchoring.tick()
        if await rig.settlement.waits_for_anchor():
            await anchoring.anchor_now()
        last = (await anchors.situation()).last_anchored
        assert last is not None
        rig.anchor(last.tree_size)
        await rig.settlement.form()
    reckoned = of(Load(an_hour * 24, Fraction(1), Period.DAY))
    most = reckoned.line("anchor").count * hours / 24
    assert len(await anchors.anchors(0, 1_000)) <= most + 1
    assert len(rig.rows.batches) <= reckoned.line("settle").count * hours / 24
    assert sum(len(row.batch.leaves) for row in rig.rows.batches.values()) >= bills - 2 * an_hour
