"""Recorded sessions: each is possible, and the visits made from them are too."""

from datetime import timedelta
from importlib import resources
from itertools import islice
from random import Random

from chargera.domain.station import OcppVersion, parse_evses
from chargera.sim.fleet import RECORDS, recorded_sessions, visits
from chargera.sim.link import Access
from chargera.sim.station import StationModel

MODEL = StationModel(
    Access("ws://localhost/ocpp", "CP1", "secret"),
    OcppVersion.V1_6,
    parse_evses("1:type2:22000,1:ccs2:50000,2:type2:11000"),
)


def test_every_recorded_session_is_physically_possible() -> None:
    for name in RECORDS:
        sessions = recorded_sessions(name)
        assert len(sessions) == 200
        for session in sessions:
            assert 0 <= session.arrived_s < 86_400
            assert 600 <= session.parked_s <= 43_200
            assert 500 <= session.energy_wh <= session.power_w * session.parked_s / 3600
    assert recorded_sessions() == recorded_sessions(*RECORDS)


def test_sources_and_licences_are_named() -> None:
    text = (resources.files("chargera.sim") / "data" / "README.md").read_text()
    for name in RECORDS:
        assert f"`{name}.csv`" in text
    assert "CC BY 4.0" in text
    assert "Open Government Licence v3.0" in text


def test_visits_of_a_station() -> None:
    def plan() -> list[object]:
        return list(
            islice(
                visits(
                    recorded_sessions(),
                    MODEL,
                    Random(5),
                    ["A", "B"],
                    begins_s=8 * 3600,
                    first_after=timedelta(minutes=1),
                ),
                30,
            )
        )

    sessions = plan()
    assert sessions[0].arrives_after == timedelta(minutes=1)
    assert {session.evse for session in sessions} == {1, 2}
    for session in sessions:
        assert session.power_w <= {1: 22_000, 2: 11_000}[session.evse]
    assert plan() == sessions


def test_visits_without_a_first_one() -> None:
    plan = visits(recorded_sessions(), MODEL, Random(5), ["A"], begins_s=0)
    assert next(plan).arrives_after > timedelta(hours=1)


def test_visits__places_kept_free__only_the_first_visit_comes_there() -> None:
    def evses(*kept_free: int) -> list[int]:
        plan = visits(
            recorded_sessions(),
            MODEL,
            Random(5),
            ["A"],
            begins_s=0,
            first_after=timedelta(minutes=1),
            kept_free=kept_free,
        )
        return [session.evse for session in islice(plan, 30)]

    assert set(evses(2)) == {1}
    assert evses(1, 2) == [1]
    first, *later = evses(1)
    assert (first, set(later)) == (1, {2})
