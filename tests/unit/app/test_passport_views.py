"""How registrations are shown: how far each is, what is asked of its host, and what is broken."""

from dataclasses import replace
from typing import Any

import pytest

from chargera.app.passport_views import PassportView, find, registration_word, rows, show, view_of
from chargera.app.passports import PassportRow, Step, passport_domain_of
from chargera.domain.errors import NotFound
from chargera.domain.passport import Protocol as Spoken
from chargera.ledger.abi import Struct
from chargera.proofs.chain_values import hex_text
from chargera.proofs.passport import consent_digest, metadata_digest, parse_metadata
from tests.browser.sample_chain import (
    BORN,
    CUSTODY,
    HOST,
    NOW,
    PASSPORTS,
    SampleContracts,
    SampleCustody,
    SamplePassports,
)
from tests.unit.app.settlement_rig import CHAIN_ID, terms

TERMS = terms()
by_step = {row.step: row for row in PASSPORTS}


class Work:
    """Registrations; `broken` is shown in place of the one of its number."""

    def __init__(self, *shown: PassportRow) -> None:
        self.passports = SamplePassports()
        self.custody = SampleCustody()
        if shown:
            self.passports.rows = self._rows  # type: ignore[method-assign] # a double of a double
        self._shown = shown

    async def _rows(self, before: int | None = None, limit: int | None = None) -> Any:
        return self._shown


def view(row: PassportRow, **more: Any) -> PassportView:
    return view_of(row, TERMS, **more)


def test_word__pending_until_it_is_registered_or_refused() -> None:
    words = {step: registration_word(row) for step, row in by_step.items()}
    assert words.pop(Step.REGISTERED) == "registered"
    assert words.pop(Step.REFUSED) == "refused"
    assert set(words.values()) == {"pending"}
    assert registration_word(replace(BORN[0], retired_at=NOW)) == "retired"


def test_view__what_it_says_and_what_it_waits_for() -> None:
    row = by_step[Step.CONTEST]
    shown = view(row)
    assert shown.metadata_digest == hex_text(metadata_digest(parse_metadata(dict(row.metadata))))
    assert shown.waits_for == "the end of the contest period"
    assert shown.mintable_at == row.mintable_at
    assert shown.fault is None
    assert view(BORN[0]).waits_for is None
    assert view(BORN[0]).transaction_hash == BORN[0].transaction_hash
    minted = replace(BORN[0], mint_transaction_hash="0x12")
    assert view(minted).transaction_hash == "0x12"


def test_view__protocols_by_what_speaks_for_them() -> None:
    row = BORN[0]
    shown = view(row, observed=[Spoken.OCPP_2_0_1], tested={Spoken.OCPP_1_6: 3})
    assert shown.protocols[str(Spoken.OCPP_2_0_1)] == "observed"
    assert shown.protocols[str(Spoken.OCPP_1_6)] == "tested"
    assert shown.tests == {str(Spoken.OCPP_1_6): 3}


# The consent -----------------------------------------------------------------------------------


def test_consent__what_its_host_is_asked_to_sign() -> None:
    row = by_step[Step.CONSENT]
    assert (row.host, row.consent) == (HOST, None)
    asked = view(row).consent
    assert asked is not None
    assert asked.digest == hex_text(consent_digest(row.registration(), passport_domain_of(TERMS)))
    assert (asked.chain_id, asked.contract) == (CHAIN_ID, TERMS.contracts["ChargerPassport"])
    assert asked.commission_bps == row.request["commission_bps"]
    assert (asked.meter_key_hash, asked.nonce) == (
        row.request["meter_key_hash"],
        row.request["nonce"],
    )


@pytest.mark.parametrize(
    "row",
    [
        by_step[Step.HOST],
        by_step[Step.CONTEST],
        replace(by_step[Step.REFUSED], consent=None),
    ],
    ids=["no host", "signed", "refused"],
)
def test_consent__nothing_is_asked(row: PassportRow) -> None:
    assert view(row).consent is None


# What is broken --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {}},
        {"metadata": dict(BORN[0].metadata) | {"latitude": "north"}},
        {"metadata": dict(BORN[0].metadata) | {"connectors": None}},
        {"request": {}},
        {"request": dict(BORN[0].request) | {"nonce": "0x12"}},
    ],
    ids=["no metadata", "a member", "no connectors", "no request", "a nonce"],
)
async def test_a_row_that_cannot_be_read__is_shown_with_its_fault_beside_the_others(
    changes: dict[str, Any],
) -> None:
    broken = replace(BORN[0], **changes)
    first, second = await rows(Work(broken, BORN[1]), TERMS)
    assert first.fault is not None
    assert first.fault.startswith("its registration cannot be read: ")
    assert (first.passport_id, first.station_id) == (broken.passport_id, broken.station_id)
    assert (first.metadata_digest, first.consent, first.protocols) == ("", None, {})
    assert first.registration == "registered"
    assert second == view(BORN[1])


# With what the chain says ----------------------------------------------------------------------


async def test_show__a_registered_one_with_the_chains_facts() -> None:
    row = BORN[0]
    shown = await show(Work(), TERMS, SampleContracts(), row.passport_id)
    assert shown["passport_id"] == row.passport_id
    assert shown["protocols"][str(Spoken.OCPP_2_0_1)] == "observed"
    chain = shown["chain"]
    assert chain["owner"] == HOST
    assert chain["facts"]["registrationHash"] == row.registration_hash
    assert len(chain["custody"]) == 2
    assert shown["registration"] == "registered"
    assert [each.station_id for each in CUSTODY] == [row.station_id] * len(shown["custody"])


async def test_show__a_pending_one__the_chain_is_not_asked() -> None:
    contracts = SampleContracts()
    contracts.answers.clear()
    shown = await show(Work(), TERMS, contracts, by_step[Step.CONTEST].station_id)
    assert (shown["chain"], shown["registration"]) == (None, "pending")


async def test_show__retired_by_its_host_on_chain__said_at_once() -> None:
    contracts = SampleContracts()
    facts = contracts.answers["ChargerPassport", "factsOf"]
    at = int(NOW.timestamp())
    contracts.answers["ChargerPassport", "factsOf"] = lambda token_id: Struct(
        facts(token_id) | {"retiredAt": at}
    )
    shown = await show(Work(), TERMS, contracts, BORN[0].passport_id)
    assert shown["registration"] == "retired"
    assert int(shown["retired_at"].timestamp()) == at


# Looking for one -------------------------------------------------------------------------------


async def test_find__by_passport_or_by_station() -> None:
    row = BORN[0]
    assert await find(Work(), row.passport_id.upper().replace("0X", "0x")) == row
    assert await find(Work(), row.station_id) == row
    with pytest.raises(NotFound, match="no passport 'nothing'"):
        await find(Work(), "nothing")
