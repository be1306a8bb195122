"""Every route x every role x what is one's own and what is not (threat 24: IDOR).

The table below names every route of the API; a route that is missing in it fails the first test.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from chargera.web.api import openapi_document

from .conftest import START, TARIFF, Api, open_api, open_copy, registration

CALLERS = (
    "operator",
    "auditor",
    "host",
    "other host",
    "driver",
    "other driver",
    "technician",
    None,
)

ALL = dict.fromkeys(CALLERS, 200)
SIGNED_IN_ONLY = dict.fromkeys(CALLERS, 403) | {None: 401}


def only(status: int = 200, /, **allowed: int) -> dict[str | None, int]:
    """Everybody is refused but those who are named."""
    named = {name.replace("_", " "): given for name, given in allowed.items()}
    return SIGNED_IN_ONLY | {"operator": status} | named


OPERATOR = only()
NOT_HERE = dict.fromkeys(CALLERS, 503)
"""This network settles nothing on chain; tests/integration/settlement has one that does."""
OPERATORS_BUT_NOT_HERE = only(503)
BATCH = f"0x{'0' * 64}"
ESCROW = {
    "station_id": "CP-1",
    "evse": 1,
    "payer": f"0x{'1' * 40}",
    "asset": f"0x{'2' * 40}",
    "max": 1,
    "session_key": f"0x{'3' * 32}",
    "deadline": 1,
    "signature": "0x",
    "permit_signature": "0x",
}
AUDIT = only(auditor=200)
HOST_OF_IT = only(host=200, other_host=404)
"""The station is the host's; to the other host it does not exist."""
STATION_READ = only(auditor=200, host=200, other_host=404)
SESSION_READ = only(auditor=200, host=200, other_host=404, driver=200, other_driver=404)


@dataclass(frozen=True)
class Route:
    """A route, what to send, and what each caller gets."""

    method: str
    path: str
    expected: dict[str | None, int]
    body: Any = None
    address: str = ""


ROUTES = (
    Route("GET", "/v1/whoami", ALL),
    Route("GET", "/v1/overview", ALL),
    Route("GET", "/v1/today", ALL),
    Route("GET", "/v1/clock", ALL),
    Route("POST", "/v1/clock/advance", OPERATOR, {"seconds": 0}),
    Route("GET", "/v1/settings", AUDIT),
    Route("GET", "/v1/backup", OPERATOR),
    Route("GET", "/v1/stations", ALL),
    Route("POST", "/v1/stations", only(201), registration("CP-1", host="host")),
    # Stations are public; a host looks after its own alone.
    Route("GET", "/v1/stations/{station_id}", ALL | {"other host": 404}),
    Route("POST", "/v1/stations/{station_id}/password", HOST_OF_IT, {}),
    Route("PUT", "/v1/stations/{station_id}/tariff", HOST_OF_IT, {"tariff_id": "DAY"}),
    Route("GET", "/v1/stations/{station_id}/messages", STATION_READ),
    Route("GET", "/v1/stations/{station_id}/commands", HOST_OF_IT),
    Route("POST", "/v1/stations/{station_id}/commands", HOST_OF_IT, {"command": "reset"}),
    Route("GET", "/v1/stations/{station_id}/commands/{command_id}", HOST_OF_IT),
    Route("GET", "/v1/stations/{station_id}/tests", HOST_OF_IT),
    Route("POST", "/v1/stations/{station_id}/tests", only(503, host=503, other_host=404), {}),
    Route(
        "GET",
        "/v1/stations/{station_id}/tests/{run_id}",
        only(404, host=404, other_host=404),
        None,
        "/v1/stations/CP-1/tests/01890000-0000-7000-8000-000000000001",
    ),
    Route("GET", "/v1/tariffs", ALL),
    Route("POST", "/v1/tariffs", OPERATOR, TARIFF),
    Route("GET", "/v1/tariffs/{tariff_id}", ALL),
    Route("GET", "/v1/tariffs/{tariff_id}/document", ALL),
    Route("GET", "/v1/id-tokens", only(auditor=200, driver=200, other_driver=200)),
    Route("POST", "/v1/id-tokens", only(201), {"id_token": "CARD", "login": "driver"}),
    Route("POST", "/v1/id-tokens/block", OPERATOR, {"id_token": "CARD", "blocked": False}),
    Route("POST", "/v1/id-tokens/import", OPERATOR, b"id_token\nIMPORTED\n"),
    Route("POST", "/v1/id-tokens/erase", OPERATOR, {"id_token": "IMPORTED"}),
    Route("GET", "/v1/logins", AUDIT),
    Route("POST", "/v1/logins", only(409), {"name": "driver", "role": "driver"}),
    # Through an API key nobody changes a password without the permission, not even their own.
    Route("POST", "/v1/logins/{name}/password", OPERATOR, {}, "/v1/logins/technician/password"),
    Route("POST", "/v1/logins/{name}/disable", OPERATOR, {}, "/v1/logins/leaver/disable"),
    Route("GET", "/v1/api-keys", AUDIT),
    Route("POST", "/v1/api-keys", only(201), {"name": "k", "scopes": ["read"]}),
    Route("DELETE", "/v1/api-keys/{name}", only(404), None, "/v1/api-keys/none"),
    Route(
        "GET",
        "/v1/sessions",
        only(auditor=200, host=200, other_host=200, driver=200, other_driver=200),
    ),
    Route("GET", "/v1/sessions/{session_id}", SESSION_READ),
    Route("GET", "/v1/sessions/{session_id}/receipt", SESSION_READ),
    Route("GET", "/v1/sessions/{session_id}/cdr", SESSION_READ),
    Route("POST", "/v1/sessions/{session_id}/decision", only(409), {"reason": "because"}),
    Route("GET", "/v1/log/head", ALL),
    Route("POST", "/v1/log/head", OPERATOR),
    Route("GET", "/v1/log/entries", ALL),
    Route("GET", "/v1/log/entries/{log_index}", ALL, None, "/v1/log/entries/0"),
    Route("GET", "/v1/log/records", ALL),
    Route("GET", "/v1/log/readings", ALL),
    Route("GET", "/v1/anchors", ALL),
    Route("POST", "/v1/anchors", OPERATOR),
    Route("GET", "/v1/passports", NOT_HERE),
    Route("GET", "/v1/passports/{passport_id}", NOT_HERE, None, "/v1/passports/CP-1"),
    Route(
        "GET", "/v1/passports/{passport_id}/location", NOT_HERE, None, "/v1/passports/CP-1/location"
    ),
    Route("GET", "/v1/passports/{passport_id}/export", NOT_HERE, None, "/v1/passports/CP-1/export"),
    Route(
        "POST", "/v1/passports/{station_id}/consent", OPERATORS_BUT_NOT_HERE, {"signature": "0x"}
    ),
    Route(
        "GET", "/v1/passports/{passport_id}/custody", NOT_HERE, None, "/v1/passports/CP-1/custody"
    ),
    Route(
        "POST", "/v1/passports/{station_id}/custody", OPERATORS_BUT_NOT_HERE, {"kind": "retirement"}
    ),
    Route(
        "POST",
        "/v1/passports/{station_id}/custody/signature",
        only(503, host=503, other_host=503),
        {"signature": "0x"},
    ),
    Route("DELETE", "/v1/passports/{station_id}/custody", OPERATORS_BUT_NOT_HERE),
    Route("GET", "/v1/settlement/batches", NOT_HERE),
    Route(
        "GET",
        "/v1/settlement/batches/{digest}",
        NOT_HERE,
        None,
        f"/v1/settlement/batches/{BATCH}",
    ),
    Route("GET", "/v1/settlement/lanes", NOT_HERE),
    Route("POST", "/v1/settlement/close", OPERATORS_BUT_NOT_HERE, {}),
    Route("POST", "/v1/settlement/settle", OPERATORS_BUT_NOT_HERE, {}),
    Route("POST", "/v1/settlement/claim", OPERATORS_BUT_NOT_HERE, {"passport_id": BATCH}),
    Route("GET", "/v1/shares/{passport_id}", NOT_HERE, None, f"/v1/shares/{BATCH}"),
    Route("GET", "/v1/payments/terms", NOT_HERE, None, "/v1/payments/terms?payer=0x1&asset=0x2"),
    Route("POST", "/v1/payments", OPERATORS_BUT_NOT_HERE, ESCROW),
    Route("GET", "/v1/feed/batches", OPERATORS_BUT_NOT_HERE),
    Route("GET", "/v1/feed/registrations", OPERATORS_BUT_NOT_HERE),
    Route("GET", "/v1/feed/custody", OPERATORS_BUT_NOT_HERE),
    Route("POST", "/v1/feed/answers", OPERATORS_BUT_NOT_HERE, {"digest": BATCH}),
)


def test_every_route_of_the_api_is_in_the_table() -> None:
    document = openapi_document("0")
    known = {(route.method, route.path) for route in ROUTES}
    served = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert served == known


@dataclass
class Network:
    """What the rows are asked about."""

    api: Api
    session_id: str
    command_id: str


@dataclass(frozen=True, slots=True)
class Made:
    """The network of which each test has a copy."""

    database: str
    keys: dict[str, str]
    seconds: float
    session_id: str
    command_id: str


@pytest.fixture(scope="module")
def made(
    template_database: str, copied: Callable[[str], AbstractContextManager[str]]
) -> Iterator[Made]:
    """Everybody, with two stations, a bill and a command. Nobody stays connected to it."""

    async def make(url: str) -> Made:
        async with open_api(url) as api:
            session_id, command_id = await populate(api)
            seconds = (api.clock.now() - START).total_seconds()
            database = urlsplit(url).path.removeprefix("/")
            return Made(database, api.keys, seconds, session_id, command_id)

    with copied(template_database) as url:
        yield asyncio.run(make(url))


async def populate(api: Api) -> tuple[str, str]:
    """Add all that the rows are asked about; return the ids of session and command."""
    for name, role in (
        ("auditor", "auditor"),
        ("host", "host"),
        ("other host", "host"),
        ("driver", "driver"),
        ("other driver", "driver"),
        ("technician", "technician"),
        ("leaver", "driver"),
    ):
        login = name.replace(" ", "-")
        await api.ok("operator", "POST", "/logins", {"name": login, "role": role})
        await api.add_key(name, login, "all")
    await api.add_station("CP-1", host="host")
    await api.add_station("CP-2", host="other-host")
    for card, login in (("CARD", "driver"), ("CARD-2", "other-driver")):
        body = {"id_token": card, "login": login}
        await api.ok("operator", "POST", "/id-tokens", body)
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "IMPORTED"})
    session_id = await api.charge("CP-1", "CARD")
    api.channel.connected = {"CP-1"}
    command = await api.ok("operator", "POST", "/stations/CP-1/commands", {"command": "reset"})
    return session_id, command["command_id"]


@pytest.fixture
async def network(
    made: Made, copied: Callable[[str], AbstractContextManager[str]]
) -> AsyncIterator[Network]:
    with copied(made.database) as url:
        async with open_copy(url, made.keys, made.seconds, first_number=2) as api:
            api.channel.connected = {"CP-1"}
            yield Network(api, made.session_id, made.command_id)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_route__each_role_gets_what_the_table_says(network: Network, route: Route) -> None:
    address = (route.address or route.path).removeprefix("/v1")
    address = address.format(
        station_id="CP-1",
        session_id=network.session_id,
        command_id=network.command_id,
        tariff_id="DAY",
    )
    got: dict[str | None, int] = {}
    for caller in CALLERS[::-1]:  # the operator last: what it may change, nobody has changed yet
        raw = isinstance(route.body, bytes)
        response = await network.api.call(
            caller,
            route.method,
            address,
            None if raw else route.body,
            **({"content": route.body} if raw else {}),
        )
        got[caller] = response.status_code
        if response.status_code >= 400:
            assert set(response.json()["error"]) == {"code", "message", "field", "remedy"}
    assert got == route.expected


async def test_sessions__each_login_lists_its_own(network: Network) -> None:
    api = network.api
    theirs = await api.charge("CP-2", "CARD-2")
    crossed = await api.charge("CP-2", "CARD")

    async def listed(who: str) -> set[str]:
        page = await api.ok(who, "GET", "/sessions")
        return {row["session_id"] for row in page["items"]}

    mine = network.session_id
    assert await listed("operator") == {mine, theirs, crossed}
    assert await listed("auditor") == {mine, theirs, crossed}
    assert await listed("host") == {mine}
    assert await listed("other host") == {theirs, crossed}
    assert await listed("driver") == {mine, crossed}
    assert await listed("other driver") == {theirs}


async def test_stations__a_host_lists_its_own_and_a_driver_the_map(network: Network) -> None:
    async def listed(who: str | None) -> list[str]:
        page = await network.api.ok(who, "GET", "/stations")
        return [row["station_id"] for row in page["items"]]

    assert await listed("host") == ["CP-1"]
    assert await listed("other host") == ["CP-2"]
    assert await listed("driver") == ["CP-1", "CP-2"]
    assert await listed(None) == ["CP-1", "CP-2"]


async def test_id_tokens__a_driver_lists_its_own(network: Network) -> None:
    mine = await network.api.ok("driver", "GET", "/id-tokens")
    assert [row["id_token"] for row in mine["items"]] == ["CARD"]


async def test_records__a_caller_reads_what_is_within_its_reach(network: Network) -> None:
    async def kinds(who: str | None) -> set[tuple[str, str | None]]:
        page = await network.api.ok(who, "GET", "/log/entries")
        return {
            (entry["kind"], entry["station_id"])
            for entry in page["items"]
            if entry["readable"] and entry["record"] is not None
        }

    everything = await kinds("operator")
    assert ("id_token_changed", None) in everything
    assert await kinds("auditor") == everything
    assert await kinds(None) == {("tariff_published", None)}
    assert await kinds("technician") == {("tariff_published", None)}
    host = await kinds("host")
    assert ("station_registered", "CP-1") in host
    assert ("cdr", "CP-1") in host
    assert {station for _, station in host} == {None, "CP-1"}
    driver = await kinds("driver")
    assert ("cdr", "CP-1") in driver
    assert ("station_registered", "CP-1") in driver, "where it charged"
    assert ("station_registered", "CP-2") not in driver
    assert ("station_changed", "CP-1") not in driver
    assert await kinds("other driver") == {("tariff_published", None)}


async def test_records__the_stream_has_the_same_reach(network: Network) -> None:
    async def lines(who: str | None, query: str = "") -> list[str]:
        response = await network.api.call(who, "GET", f"/log/records{query}")
        return response.text.splitlines()

    size = (await network.api.ok(None, "GET", "/log/head"))["size"]
    assert len(await lines("operator")) == size
    assert len(await lines("operator", "?size=3")) == 3
    assert len(await lines(None)) == 1
    assert await lines(None, "?size=0") == []


async def test_readings__the_stream_has_the_same_reach(network: Network) -> None:
    async def sessions(who: str | None) -> set[str]:
        response = await network.api.call(who, "GET", "/log/readings")
        return {json.loads(line)["session_id"] for line in response.text.splitlines()}

    theirs = await network.api.charge("CP-2", "CARD-2")
    assert await sessions("operator") == {network.session_id, theirs}
    assert await sessions("host") == await sessions("driver") == {network.session_id}
    assert await sessions("other host") == await sessions("other driver") == {theirs}
    assert await sessions("technician") == await sessions(None) == set()


async def test_entries__a_stranger_does_not_learn_whose_entry_belongs_to_which_session(
    network: Network,
) -> None:
    page = await network.api.ok(None, "GET", "/log/entries?kind=cdr")
    assert [entry["session_id"] for entry in page["items"]] == [None]


async def test_a_scope_takes_permissions_away_and_never_adds_any(network: Network) -> None:
    api = network.api
    await api.add_key("reader", "operator", "sessions:read")
    await api.add_key("host reader", "host", "all")
    assert (await api.call("reader", "GET", "/sessions")).status_code == 200
    for path in ("/logins", "/stations/CP-1/messages"):
        assert (await api.call("reader", "GET", path)).status_code == 403
    assert (await api.call("reader", "POST", "/tariffs", TARIFF)).status_code == 403
    assert (await api.call("host reader", "GET", "/logins")).status_code == 403
    page = await api.ok("reader", "GET", "/log/entries?kind=cdr")
    assert [entry["readable"] for entry in page["items"]] == [False]


async def test_remote_stop__a_foreign_session_is_not_found(network: Network) -> None:
    api = network.api
    running = await api.charge("CP-2", "CARD-2", end=False)
    body = {"command": "remote-stop", "session_id": running}
    for who in ("host", "operator"):  # it runs at another station
        answer = await api.call(who, "POST", "/stations/CP-1/commands", body)
        assert answer.status_code == 404
        assert answer.json()["error"]["field"] == "session_id"
