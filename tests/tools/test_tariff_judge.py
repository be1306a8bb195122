"""TandemDrive's `ocpi-tariffs` prices our CDRs as we do; part of `make test-tools`."""

import random
from decimal import Decimal

import pytest

from chargera.domain.pricing import price_session
from chargera.proofs import ocpi
from tests.tools import judge_tariffs


@pytest.fixture(scope="module")
def tool():
    return judge_tariffs.find_tool()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ocpi_tariffs__200_random_sessions__same_totals(tool, seed, capsys):
    assert judge_tariffs.judge(tool, 200, seed) == 0
    report = capsys.readouterr().out
    assert "200 sessions: the same totals" in report
    for feature in ("step_size", "priced parking", "a change of price", "a change of clocks"):
        assert feature in report


def test_ocpi_tariffs__another_price__is_a_difference(tool):
    tariff, session = next(judge_tariffs.random_cases(random.Random(1)))
    bill = price_session(ocpi.tariff_from_ocpi(tariff), session)
    cdr = ocpi.cdr_to_ocpi(bill, judge_tariffs.facts(session, 1), tariff)
    assert judge_tariffs.compare(tool, bill, cdr, tariff, session.time_zone) == ""

    for component in tariff["elements"][-1]["price_components"]:
        component["price"] += Decimal("0.01")
    assert judge_tariffs.compare(tool, bill, cdr, tariff, session.time_zone)


def test_ocpi_tariffs__parking_that_becomes_free__differs_as_documented(tool):
    assert judge_tariffs.free_parking(tool) == (Decimal("0.3"), Decimal("0.25"))
