"""JSON twins of views: members by name, times with Z, private members only where they are."""

from datetime import UTC, datetime

from chargera.app.views import (
    ConnectorView,
    SessionRow,
    SessionView,
    StationPrivate,
    StationRow,
    StationView,
    as_json,
    session_json,
    station_json,
)

AT = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
ROW = StationRow(
    "CP-1",
    "Maker",
    "Post",
    "52.1",
    "4.2",
    "UTC",
    None,
    False,
    AT,
    (ConnectorView(1, 1, "type2", 22_000, "Available", None, AT),),
    None,
    None,
    False,
    0,
    0,
)


def test_as_json__values_lists_and_mappings() -> None:
    assert as_json({"at": AT, "list": (1, None, True), "text": "x"}) == {
        "at": "2026-05-04T08:00:00.000Z",
        "list": [1, None, True],
        "text": "x",
    }


def test_station_json__is_flat_and_private_only_for_who_may_see_it() -> None:
    public = station_json(StationView(ROW, AT, None, None))
    assert public["connectors"][0]["status_at"] == "2026-05-04T08:00:00.000Z"
    assert "serial_number" not in public
    private = StationPrivate("SN", None, ("1.6",), 2, False, None, None, None, None, True, False)
    mine = station_json(StationView(ROW, AT, None, private))
    assert mine["serial_number"] == "SN"
    assert mine["station_id"] == "CP-1"


def test_session_json__begins_with_the_members_of_its_row() -> None:
    row = SessionRow(
        *("S", "CP-1", 1, 1, "1.6", "7", "review", AT, None, 0, None, None, None, None, None),
        *(None, "L0", None, ("no_end",), None),
    )
    view = SessionView(
        *(row, "UTC", None, None, None, None, None, None, None, None, None, AT, AT, None),
        *((), (), 0, (), False),
    )
    flat = session_json(view)
    assert list(flat)[:20] == list(as_json(row))
    assert flat["anomalies"] == ["no_end"]
    assert "session" not in flat
