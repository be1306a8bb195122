"""Tariffs in words, frames beside their bytes, decisions read from forms."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from chargera.app.views import MessageView, TariffView
from chargera.domain.errors import InvalidInput
from chargera.web.catalogue import load_texts
from chargera.web.pages.formats import Formats
from chargera.web.pages.frames import decode_frame, read_exchange
from chargera.web.pages.prices import PriceWords
from chargera.web.pages.review import read_decision

WORDS = PriceWords(load_texts("en"), Formats(Locale("en", "GB")))
AT = datetime(2026, 11, 24, 9, tzinfo=UTC)


def component(kind: str, price: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "price": price, "step_size": 1, **more}


def document(*elements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"currency": "EUR", "id": "T", "elements": list(elements), **more}


def view(doc: dict[str, Any]) -> TariffView:
    return TariffView("T", 1, "d", "EUR", AT, 3, True, (), doc)


def conditions(**limits: Any) -> list[str]:
    element = {"price_components": [component("ENERGY", "0.3")], "restrictions": limits}
    (line,) = WORDS.lines(document(element))
    return [str(condition) for condition in line.conditions]


# Prices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"start_time": "07:00", "end_time": "22:00"}, ["from 07:00 to 22:00"]),
        ({"start_time": "07:00"}, ["from 07:00"]),
        ({"end_time": "22:00"}, ["until 22:00"]),
        (
            {"start_date": "2026-12-01", "end_date": "2027-01-01"},
            ["from 2026-12-01 until 2027-01-01"],
        ),
        ({"start_date": "2026-12-01"}, ["from 2026-12-01"]),
        ({"end_date": "2027-01-01"}, ["until 2027-01-01"]),
        ({"day_of_week": ["SATURDAY", "SUNDAY"]}, ["on Saturday, Sunday"]),
        ({"min_kwh": "20", "max_kwh": "50.5"}, ["from 20 kWh on", "up to 50.5 kWh"]),
        (
            {"min_duration": 7200, "max_duration": 14_400},
            ["after 2 hrs 0 mins", "in the first 4 hrs 0 mins"],
        ),
        ({}, []),
    ],
)
def test_conditions_are_said_in_words(limits: dict[str, Any], words: list[str]) -> None:
    assert conditions(**limits) == words


def test_the_element_without_conditions_after_others_is_the_rest() -> None:
    night = {
        "price_components": [component("ENERGY", "0.2")],
        "restrictions": {"start_time": "22:00", "end_time": "06:00"},
    }
    day = {"price_components": [component("ENERGY", "0.4"), component("FLAT", "1")]}
    lines = WORDS.lines(document(night, day))
    assert [[str(c) for c in line.conditions] for line in lines] == [
        ["from 22:00 to 06:00"],
        ["at all other times"],
        [],
    ]


def test_steps_are_said_where_they_matter() -> None:
    element = {
        "price_components": [
            component("ENERGY", "0.3", step_size=500),
            component("PARKING_TIME", "3", step_size=300),
            component("FLAT", "1", step_size=300),
            component("TIME", "1"),
        ]
    }
    lines = WORDS.lines(document(element))
    assert [[str(c) for c in line.conditions] for line in lines] == [
        ["billed in steps of 500 Wh"],
        ["billed in steps of 300 s"],
        [],
        [],
    ]


@pytest.mark.parametrize(
    ("elements", "summary"),
    [
        ([[component("ENERGY", "0.39")]], "€0.39 per kWh"),
        (
            [[component("ENERGY", "0.39"), component("PARKING_TIME", "3")]],
            "€0.39 per kWh + parking fee",
        ),
        ([[component("ENERGY", "0.59")], [component("ENERGY", "0.45")]], "from €0.45 per kWh"),
        ([[component("FLAT", "5")]], "€5.00 per session"),
        ([[component("TIME", "2"), component("FLAT", "1")]], "€2.00 per hour + fee per session"),
    ],
)
def test_a_price_in_one_line(elements: list[list[dict[str, Any]]], summary: str) -> None:
    doc = document(*({"price_components": parts} for parts in elements))
    assert WORDS.summary(view(doc)) == summary


def test_the_operators_own_words_are_in_the_readers_language_if_there_are_any() -> None:
    texts = [{"language": "nl", "text": "Welkom"}, {"language": "en", "text": "Welcome"}]
    assert WORDS.description(document(tariff_alt_text=texts)) == "Welcome"
    assert WORDS.description(document(tariff_alt_text=texts[:1])) == "Welkom"
    assert WORDS.description(document()) is None


# Frames ----------------------------------------------------------------------------------------


def exchange(**more: Any) -> MessageView:
    values: dict[str, Any] = {
        "message_no": 1,
        "received_at": AT,
        "inbound": True,
        "ocpp_version": "1.6",
        "action": "Heartbeat",
        "message_id": "m",
        "frame": '[2,"m","Heartbeat",{}]',
        "answer": '[3,"m",{"currentTime":"2026-11-24T09:00:00Z"}]',
        "outcome": "ok",
    }
    return MessageView(**(values | more))


def test_both_sides_of_an_exchange_are_decoded() -> None:
    frame, answer = read_exchange(exchange()).sides
    assert frame.raw == '[2,"m","Heartbeat",{}]'
    assert frame.frame is not None
    assert (frame.frame.kind, dict(frame.frame.facts)["action"]) == ("call", "Heartbeat")
    assert answer.frame is not None
    assert answer.frame.kind == "result"
    assert json.loads(answer.frame.payload) == {"currentTime": "2026-11-24T09:00:00Z"}


def test_an_error_is_decoded_with_its_code() -> None:
    frame = decode_frame('[4,"m","NotSupported","no such thing",{}]')
    assert frame is not None
    assert dict(frame.facts) == {
        "message_id": "m",
        "error_code": "NotSupported",
        "error_text": "no such thing",
    }


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[5]", '[2,"m"]', '"x"', "null", "[" * 100_000, "\x00", "[2,1,2,3,4,5]"]
)
def test_what_is_no_frame_is_shown_raw(text: str) -> None:
    assert decode_frame(text) is None


@given(st.text())
def test_no_text_breaks_the_decoder(text: str) -> None:
    decode_frame(text)


def test_an_exchange_without_an_answer_has_one_side() -> None:
    assert len(read_exchange(exchange(answer=None)).sides) == 1


# Decisions -------------------------------------------------------------------------------------


def test_an_empty_field_keeps_what_the_station_said() -> None:
    decision = read_decision(
        {"reason": " the meter was read ", "meter_stop_wh": "", "ended_at": " "}
    )
    assert decision.reason == "the meter was read"
    assert decision.meter_start_wh is decision.meter_stop_wh is None
    assert decision.started_at is decision.ended_at is decision.tariff_id is None


def test_a_whole_decision_is_read() -> None:
    decision = read_decision(
        {
            "reason": "r",
            "meter_start_wh": "1000",
            "meter_stop_wh": "2000",
            "started_at": "2026-11-24T08:00:00Z",
            "ended_at": "2026-11-24T09:00:00",
            "tariff_id": "T",
        }
    )
    assert (decision.meter_start_wh, decision.meter_stop_wh) == (1000, 2000)
    assert decision.ended_at == AT
    assert decision.tariff_id == "T"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reason": ""}, "reason"),
        ({}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"reason": "r", "meter_start_wh": "1.5"}, "meter_start_wh"),
        ({"reason": "r", "meter_stop_wh": "-1"}, "meter_stop_wh"),
        ({"reason": "r", "meter_stop_wh": "9" * 13}, "meter_stop_wh"),
        ({"reason": "r", "ended_at": "yesterday"}, "ended_at"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_decision(fields)
    assert caught.value.field == field
