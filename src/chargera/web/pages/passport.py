"""Passports: each charger's birth, picture, custody and units, and what it has earned for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from markupsafe import Markup
from starlette.responses import Response

from chargera.app import passport_views
from chargera.app.chain_pages import Earning, earnings_of
from chargera.app.custody_views import CustodyView
from chargera.app.settlement_views import SharesView, shares
from chargera.domain.errors import Unreadable
from chargera.domain.policy import PolicyVersion
from chargera.domain.settlement import BPS, UNITS, split
from chargera.proofs.chain_values import parse_hex
from chargera.web.pages.facts import Fact, exact
from chargera.web.pages.on_chain import ChainVisit, ChainWords, on_chain, whole_number
from chargera.web.pages.picture import Picture, draw_passport
from chargera.web.pages.rendering import View
from chargera.web.pages.site import see_other

PASSPORTS_A_PAGE = 24
EXAMPLE = 1_000_000
"""What the division of a bill is shown for, minor units of an asset with six decimals: one."""

BORN = ("registered", "retired")
"""How far a registration is that has become a passport."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a bill: so much of the net amount to whom."""

    key: str
    bps: int
    amount: int


@on_chain
async def show_passports(chain: ChainVisit) -> Response:
    """Answer `/passports`; `?before=n` shows the registrations before number n."""
    before = whole_number(chain.request.query_params.get("before"))
    rows = await chain.work.passports.rows(before, PASSPORTS_A_PAGE)
    found = [passport_views.view_of(row, chain.terms) for row in rows]
    pictures = {
        view.passport_id: picture_of(view.registration, view.registration_hash, view.metadata)
        for view in found
        if view.fault is None
    }
    older = None
    if len(rows) == PASSPORTS_A_PAGE:
        older = f"/passports?before={rows[-1].registration_no}"
    values = {"passports": found, "pictures": pictures, "next_page": older}
    return chain.site.page(chain.visit, "passports.html", "passports", values)


@on_chain
async def show_one_passport(chain: ChainVisit) -> Response:
    """Answer `/passport/{passport_id}`; a station's id leads to its passport."""
    name = chain.request.path_params["passport_id"]
    row = await passport_views.show(chain.work, chain.terms, chain.contracts, name)
    if name != row["passport_id"]:
        return see_other(f"/passport/{row['passport_id']}")
    if row["fault"] is not None:
        raise Unreadable(row["fault"], field="metadata", remedy="restore the database")
    words = await chain.words()
    held, earnings = None, []
    if row["chain"] is not None:
        held = await shares(chain.contracts, row["passport_id"])
        units = collecting(held)
        earnings = await earnings_of(chain.contracts, words.assets, row["passport_id"], units)
    policy = chain.terms.latest()
    values = {
        "row": row,
        "metadata": row["metadata"],
        "picture": picture_of(row["registration"], row["registration_hash"], row["metadata"]),
        "power_w": rated_w(row["metadata"]),
        "evses": evse_powers(row["metadata"]),
        "facts": passport_facts(chain.view, row),
        "custody": [(record, anchor_url(record)) for record in row["custody"]],
        "owners": [] if row["chain"] is None else row["chain"]["owners"],
        "held": held,
        "earnings": earnings,
        "earned": [words.figure(each.asset, each.total) for each in earnings if each.total],
        "policy": policy,
        "parts_of_bill": division(policy, await _commission(chain, row)),
        "formulas": {each.asset.address: formula(words, each) for each in earnings},
        "words": words,
        "units_all": UNITS,
    }
    return chain.site.page(chain.visit, "passport.html", "passports", values)


def picture_of(
    registration: str, registration_hash: str | None, metadata: Mapping[str, Any]
) -> Picture:
    """Return the picture of a passport; dotted until it is registered."""
    digest = None
    if registration in BORN and registration_hash is not None:
        digest = parse_hex(registration_hash, 32, field="registration_hash")
    return draw_passport(digest, list(evse_powers(metadata).values()))


def evse_powers(metadata: Mapping[str, Any]) -> dict[int, int]:
    """Return the rated power of each EVSE: that of its strongest connector."""
    powers: dict[int, int] = {}
    for plug in metadata["connectors"]:
        powers[plug["evse"]] = max(powers.get(plug["evse"], 0), plug["power_w_max"])
    return powers


def rated_w(metadata: Mapping[str, Any]) -> int:
    """Return the rated power of a charger: the sum over its EVSEs."""
    return sum(evse_powers(metadata).values())


async def _commission(chain: ChainVisit, row: Row) -> int:
    """Return the host's part in basis points: what the chain says, else what is asked for."""
    if row["chain"] is not None:
        return int(row["chain"]["facts"]["commissionBps"])
    asked = await chain.work.passports.by_id(row["passport_id"])
    return int(asked.request["commission_bps"])


def collecting(held: SharesView) -> dict[str, int]:
    """Return the units that each holder collects on; the owner also on the unreleased ones."""
    units = {each.holder: each.units for each in held.holders}
    units[held.owner] = units.get(held.owner, 0) + held.unreleased_units
    return units


def division(policy: PolicyVersion, commission_bps: int) -> list[Part]:
    """Return how a net amount of one is divided by a policy; the parts sum to it."""
    fees = policy.parameters.fees
    parts = split(EXAMPLE, fees, commission_bps, has_market=False)
    shares_bps = {
        "holders": BPS - fees.fee_bps - fees.ops_bps - commission_bps,
        "host": commission_bps,
        "fee": fees.fee_bps,
        "ops": fees.ops_bps,
    }
    return [Part(key, bps, getattr(parts, key)) for key, bps in shares_bps.items()]


def formula(words: ChainWords, earning: Earning) -> Markup:
    """Return how the first holder's part is computed, with the numbers put in."""
    write, first = words.view.formats, earning.holders[0]
    return words.view.texts(
        "passport.formula",
        units=write.number(first.units),
        total=words.amount(earning.asset, earning.total),
        all=write.number(UNITS),
        share=words.amount(earning.asset, first.share),
    )


def anchor_url(record: CustodyView) -> str | None:
    """Return where the topic message is by which a custody record is anchored."""
    if record.sequence_number is None:
        return None
    return f"/api/v1/topics/{record.topic_id}/messages/{record.sequence_number}"


def passport_facts(view: View, row: Row) -> list[Fact]:
    """Return what a passport says, each with its place where it has one."""
    t, write, said = view.texts, view.formats, row["metadata"]
    station = said["station_id"]
    facts = [
        exact("passport_id", row["passport_id"]),
        Fact("station_id", station, station, href=f"/s/{quote(station, safe='')}"),
        exact("operator_id", said["operator_id"]),
        Fact("manufacturer", said["manufacturer"]),
        Fact("model", said["model"]),
        exact("serial_number", said["serial_number"]),
        exact("position", f"{said['latitude']}, {said['longitude']}"),
        Fact("time_zone", said["time_zone"]),
        exact("metadata_digest", row["metadata_digest"]),
    ]
    facts += _birth(view, row)
    if row["chain"] is not None:
        on_chain_facts = row["chain"]["facts"]
        owner, host = row["chain"]["owner"], on_chain_facts["host"]
        facts += [
            exact("owner", owner, href=f"/holder/{owner}"),
            exact("host", host, href=f"/holder/{host}"),
            Fact("commission", write.percent(on_chain_facts["commissionBps"], BPS)),
            _key(t, "meter_key_hash", on_chain_facts["meterKeyHash"]),
            _key(t, "station_key_hash", on_chain_facts["stationKeyHash"]),
        ]
    elif row["host"] is not None:
        facts.append(exact("host", row["host"], href=f"/holder/{row['host']}"))
    return facts


def _birth(view: View, row: Row) -> Sequence[Fact]:
    """Return where a passport comes from: entries, anchor, hash, transaction."""
    t, write = view.texts, view.formats
    facts = []
    if row["registration_hash"] is not None:
        facts.append(exact("registration_hash", row["registration_hash"]))
    for key, index in (
        ("onboarding_entry", row["onboarding_log_index"]),
        ("registered_entry", row["registered_log_index"]),
    ):
        if index is not None:
            text = t("entry.numbered", index=write.number(index))
            facts.append(Fact(key, text, href=f"/log/entry/{index}"))
    if row["sequence_number"] is not None:
        topic, number = row["topic_id"], row["sequence_number"]
        url = f"/api/v1/topics/{topic}/messages/{number}"
        facts.append(Fact("anchored_as", f"{topic} #{write.number(number)}", href=url))
    if row["transaction_hash"] is not None:
        facts.append(exact("transaction_hash", row["transaction_hash"]))
    if row["registered_at"] is not None:
        facts.append(Fact("registered_at", write.time(row["registered_at"])))
    if row["retired_at"] is not None:
        facts.append(Fact("retired_at", write.time(row["retired_at"])))
    return facts


def _key(t: Any, key: str, value: str) -> Fact:
    """Return the hash of a key, or that there is none."""
    return exact(key, value) if int(value, 16) else Fact(key, t("fact.none"))
