"""Tariffs over REST: versions, digests, what is in force where, refusals by path."""

import copy
import json
from decimal import Decimal
from typing import Any

import pytest

from chargera.proofs.ocpi import parse_json, tariff_digest

from .conftest import TARIFF, Api


def priced(price: float) -> dict[str, Any]:
    tariff = copy.deepcopy(TARIFF)
    tariff["elements"][0]["price_components"][0]["price"] = price
    return tariff


async def test_publish__counts_versions_and_the_same_again_is_the_same(api: Api) -> None:
    first = await api.ok("operator", "POST", "/tariffs", priced(0.25))
    again = await api.ok("operator", "POST", "/tariffs", priced(0.250))
    second = await api.ok("operator", "POST", "/tariffs", priced(0.30))
    assert (first["tariff_id"], first["version"]) == ("DAY", 1)
    assert again["version"] == 1
    assert second["version"] == 2
    assert first["digest"] == tariff_digest(parse_json(json.dumps(priced(0.25))))
    assert second["digest"] != first["digest"]
    records = await api.entries("tariff_published")
    assert [record["version"] for record in records] == [1, 2]
    assert records[0]["document"]["elements"][0]["price_components"][0]["price"] == "0.25"
    rows = await api.rows("select version, log_index from tariff_version order by version")
    indexes = [e["log_index"] for e in (await published(api))["items"]]
    assert rows == list(zip([1, 2], indexes, strict=True))


async def published(api: Api) -> Any:
    return await api.ok(None, "GET", "/log/entries?kind=tariff_published")


async def test_a_new_version_is_in_force_where_the_tariff_was_from_now_on(api: Api) -> None:
    await api.add_station("CP-1")
    await api.add_station("CP-2")
    await api.ok("operator", "POST", "/id-tokens", {"id_token": "CARD"})
    before = await api.charge("CP-1", "CARD", end=False)
    made = await api.ok("operator", "POST", "/tariffs", priced(0.50))
    assert made["stations"] == ["CP-1", "CP-2"]
    assert api.forgotten[-2:] == ["CP-1", "CP-2"]

    await api.say("CP-1", api.event("tx-1", "Ended", 1000, None))
    await api.bill()
    after = await api.charge("CP-1", "CARD")
    rows = {r["session_id"]: r for r in (await api.ok("operator", "GET", "/sessions"))["items"]}
    assert rows[before]["net_minor"] == 25  # what was quoted at its start
    assert rows[after]["net_minor"] == 50
    assert [(r["station_id"], r["version"]) for r in await api.entries("tariff_assigned")] == [
        ("CP-1", 1),
        ("CP-2", 1),
        ("CP-1", 2),
        ("CP-2", 2),
    ]


async def test_assign__moves_a_station_from_one_tariff_to_another(api: Api) -> None:
    await api.add_station("CP-1")
    night = copy.deepcopy(TARIFF) | {"id": "NIGHT"}
    await api.ok("operator", "POST", "/tariffs", night)
    body = {"tariff_id": "NIGHT"}
    for _ in range(2):  # the second time changes nothing
        assigned = await api.ok("operator", "PUT", "/stations/CP-1/tariff", body)
        assert (assigned["tariff_id"], assigned["version"]) == ("NIGHT", 1)
    assert len(await api.entries("tariff_assigned")) == 2
    shown = {t["tariff_id"]: t for t in await api.ok(None, "GET", "/tariffs")}
    assert shown["NIGHT"]["stations"] == ["CP-1"]
    assert shown["DAY"]["stations"] == []
    # A new version of the one that is not in force any more does not come back.
    assert (await api.ok("operator", "POST", "/tariffs", priced(0.9)))["stations"] == []
    unknown = await api.call("operator", "PUT", "/stations/CP-1/tariff", {"tariff_id": "NONE"})
    assert unknown.status_code == 404
    assert unknown.json()["error"]["field"] == "tariff_id"


async def test_show__a_version_and_its_ocpi_document(api: Api) -> None:
    await api.ok("operator", "POST", "/tariffs", priced(0.25))
    await api.ok("operator", "POST", "/tariffs", priced(0.30))
    newest = await api.ok(None, "GET", "/tariffs/DAY")
    first = await api.ok(None, "GET", "/tariffs/DAY?version=1")
    assert (newest["version"], newest["is_current"]) == (2, True)
    assert (first["version"], first["is_current"]) == (1, False)
    document = await api.call(None, "GET", "/tariffs/DAY/document?version=1")
    assert parse_json(document.content)["elements"] == [
        {
            "price_components": [
                {"type": "ENERGY", "price": Decimal("0.25"), "vat": 21, "step_size": 1}
            ]
        }
    ]
    for path in ("/tariffs/NONE", "/tariffs/DAY?version=3"):
        assert (await api.call(None, "GET", path)).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"min_price": {"excl_vat": 1}}, "min_price"),
        ({"currency": "XXX"}, "currency"),
        ({"elements": []}, "elements"),
        ({"id": "x" * 37}, "id"),
    ],
)
async def test_publish__what_cannot_be_priced_is_refused_by_path(
    api: Api, change: dict[str, Any], field: str
) -> None:
    answer = await api.call("operator", "POST", "/tariffs", priced(0.25) | change)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == field
    assert await api.ok(None, "GET", "/tariffs") == []


async def test_publish__a_restriction_that_is_not_priced_is_named_by_its_path(api: Api) -> None:
    tariff = priced(0.25)
    tariff["elements"][0]["restrictions"] = {"max_power": 11}
    answer = await api.call("operator", "POST", "/tariffs", tariff)
    assert answer.json()["error"]["field"] == "elements[0].restrictions.max_power"
    assert answer.json()["error"]["code"] == "unsupported"


async def test_publish__no_json_is_unreadable(api: Api) -> None:
    for content in (b"", b"{", b"[]", b'{"a": 1, "a": 2}', b"\xff"):
        answer = await api.call("operator", "POST", "/tariffs", content=content)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "unreadable"
