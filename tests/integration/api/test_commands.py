"""Commands: durable before they are sent, answered once, linked to the session that they start."""

from typing import Any

import pytest

from chargera.domain.messages import (
    CommandAnswer,
    RemoteStart,
    RemoteStop,
    Reset,
    StationCommand,
    TriggerMessage,
    UnlockConnector,
)
from chargera.domain.station import OcppVersion

from .conftest import Api

PATH = "/stations/CP-1/commands"


@pytest.fixture
async def ready(api: Api) -> Api:
    await api.add_station("CP-1", evse="1:type2:22000,2:ccs2:50000,2:chademo:50000")
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "CARD"})
    api.channel.connected = {"CP-1"}
    return api


async def test_remote_start__is_linked_to_the_transaction_that_it_begins(ready: Api) -> None:
    async def begins(command: StationCommand) -> None:
        assert isinstance(command, RemoteStart)
        assert (command.evse, command.connector, command.ocpp16_connector_id) == (1, 1, 1)
        await ready.say(
            "CP-1",
            ready.event("T", "Started", 0, "CARD", remote_start_id=command.remote_start_id),
        )

    ready.channel.on_send = begins
    body = {"command": "remote-start", "evse": 1, "id_token": "card"}
    answer = await ready.ok("operator", "POST", PATH, body)
    [(session_id,)] = await ready.rows("select session_id from charging_session")
    assert (answer["accepted"], answer["answer"]) == (True, "Accepted")
    assert answer["session_id"] == session_id
    shown = await ready.ok("operator", "GET", f"{PATH}/{answer['command_id']}")
    assert shown["session_id"] == session_id
    assert shown["state"] == "answered"


async def test_remote_start__in_1_6_the_next_transaction_there_is_its_own(ready: Api) -> None:
    async def begins(command: StationCommand) -> None:
        event = ready.event("", "Started", 0, "CARD")
        started = event._replace(transaction_id=None, seq_no=None, evse=None)
        await ready.say("CP-1", started, version=OcppVersion.V1_6)

    ready.channel.on_send = begins
    body = {"command": "remote-start", "evse": 1, "id_token": "CARD"}
    answer = await ready.ok("operator", "POST", PATH, body)
    [(session_id,)] = await ready.rows("select session_id from charging_session")
    assert answer["session_id"] == session_id
    # A second remote start cannot claim the same session.
    ready.channel.on_send = None
    second = await ready.ok("operator", "POST", PATH, body)
    assert second["session_id"] is None


async def test_remote_start__unknown_until_the_car_is_plugged_in(ready: Api) -> None:
    body = {"command": "remote-start", "evse": 1, "id_token": "CARD"}
    before = ready.clock.now()
    answer = await ready.ok("operator", "POST", PATH, body)
    assert answer["session_id"] is None
    assert ready.clock.now() > before  # it waited a moment
    [(_, sent)] = ready.channel.sent
    assert isinstance(sent, RemoteStart)
    event = ready.event("T", "Started", 0, "CARD", remote_start_id=sent.remote_start_id)
    await ready.say("CP-1", event)
    shown = await ready.ok("operator", "GET", f"{PATH}/{answer['command_id']}")
    assert shown["session_id"] is not None


async def test_remote_stop__names_the_stations_own_transaction(ready: Api) -> None:
    session_id = await ready.charge("CP-1", "CARD", end=False)
    body = {"command": "remote-stop", "session_id": session_id}
    answer = await ready.ok("operator", "POST", PATH, body)
    assert (answer["accepted"], answer["session_id"]) == (True, session_id)
    assert [sent for _, sent in ready.channel.sent] == [RemoteStop("tx-1")]


async def test_remote_stop__reaches_a_session_that_runs_in_review(ready: Api) -> None:
    session_id = await ready.charge("CP-1", "CARD", end=False)
    await ready.rows("update charging_session set state = 'review' returning 1")
    body = {"command": "remote-stop", "session_id": session_id}
    assert (await ready.ok("operator", "POST", PATH, body))["accepted"] is True
    assert [sent for _, sent in ready.channel.sent] == [RemoteStop("tx-1")]


async def test_remote_stop__a_session_that_has_ended_is_a_conflict(ready: Api) -> None:
    session_id = await ready.charge("CP-1", "CARD")
    body = {"command": "remote-stop", "session_id": session_id}
    answer = await ready.call("operator", "POST", PATH, body)
    assert answer.status_code == 409
    assert ready.channel.sent == []


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({"command": "reset"}, Reset(hard=False)),
        ({"command": "reset", "hard": True}, Reset(hard=True)),
        ({"command": "unlock", "evse": 2}, UnlockConnector(2, 1, 2)),
        ({"command": "unlock", "evse": 2, "connector": 2}, UnlockConnector(2, 2, 3)),
        (
            {"command": "trigger", "message": "Heartbeat"},
            TriggerMessage("Heartbeat", None, None, None),
        ),
        (
            {"command": "trigger", "message": "StatusNotification", "evse": 2},
            TriggerMessage("StatusNotification", 2, 1, 2),
        ),
    ],
)
async def test_command__reaches_the_station_as_asked(
    ready: Api, body: dict[str, Any], sent: StationCommand
) -> None:
    answer = await ready.ok("operator", "POST", PATH, body)
    assert answer["accepted"] is True
    assert answer["session_id"] is None
    assert ready.channel.sent == [("CP-1", sent)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"command": "explode"}, "command"),
        ({"command": "remote-start", "id_token": "CARD"}, "evse"),
        ({"command": "remote-start", "evse": 1}, "id_token"),
        ({"command": "remote-start", "evse": 1, "id_token": "UNKNOWN"}, "id_token"),
        ({"command": "remote-start", "evse": 9, "id_token": "CARD"}, "evse"),
        ({"command": "remote-stop"}, "session_id"),
        ({"command": "unlock"}, "evse"),
        ({"command": "unlock", "evse": 1, "connector": 2}, "evse"),
        ({"command": "trigger"}, "message"),
        ({"command": "trigger", "message": "Everything"}, "message"),
    ],
)
async def test_command__what_is_missing_or_wrong_is_named_and_nothing_is_sent(
    ready: Api, body: dict[str, Any], field: str
) -> None:
    answer = await ready.call("operator", "POST", PATH, body)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == field
    assert ready.channel.sent == []
    assert await ready.rows("select 1 from station_command") == []


@pytest.mark.parametrize("change", ["blocked", "expired"])
async def test_remote_start__not_for_an_identifier_that_may_not_charge(
    ready: Api, change: str
) -> None:
    body: dict[str, Any] = {"id_token": "OLD"}
    body |= {"blocked": True} if change == "blocked" else {"expires_at": "2026-05-04T08:00:00Z"}
    await ready.ok("operator", "POST", "/id-tokens", body)
    wanted = {"command": "remote-start", "evse": 1, "id_token": "OLD"}
    assert (await ready.call("operator", "POST", PATH, wanted)).status_code == 422


async def test_a_refusal_of_the_station_is_an_answer(ready: Api) -> None:
    ready.channel.answer = CommandAnswer(False, "Rejected")
    answer = await ready.ok("operator", "POST", PATH, {"command": "reset"})
    assert (answer["accepted"], answer["answer"], answer["state"]) == (
        False,
        "Rejected",
        "answered",
    )


async def test_a_station_that_is_not_connected_gives_no_answer(ready: Api) -> None:
    ready.channel.connected = set()
    answer = await ready.ok("operator", "POST", PATH, {"command": "reset"})
    assert (answer["accepted"], answer["state"]) == (None, "failed")
    assert "not connected" in answer["answer"]


async def test_a_command_is_durable_before_it_is_sent(ready: Api) -> None:
    seen: list[tuple[Any, ...]] = []

    async def looks(command: StationCommand) -> None:
        seen.extend(await ready.rows("select state from station_command"))
        seen.extend(
            await ready.rows("select count(*) from log_entry where kind = 'station_command'")
        )

    ready.channel.on_send = looks
    await ready.ok("operator", "POST", PATH, {"command": "reset"})
    assert seen == [("queued",), (1,)]
    asked, answered = await ready.entries("station_command")
    assert (asked["action"], asked["by"]) == ("reset", "operator")
    assert (answered["accepted"], answered["answer"]) == (True, "Accepted")


async def test_list__newest_first(ready: Api) -> None:
    for body in ({"command": "reset"}, {"command": "unlock", "evse": 1}):
        await ready.ok("operator", "POST", PATH, body)
        ready.clock.advance(1)
    rows = await ready.ok("operator", "GET", PATH)
    assert [row["action"] for row in rows] == ["unlock", "reset"]
    assert rows[1]["requested_by"] == "operator"


async def test_show__an_unknown_command_is_not_found(ready: Api) -> None:
    missing = "019df200-5000-7448-b356-8d6ba29402eb"
    assert (await ready.call("operator", "GET", f"{PATH}/{missing}")).status_code == 404
    assert (await ready.call("operator", "GET", f"{PATH}/no-uuid")).status_code in (404, 422)
