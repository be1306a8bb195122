"""Passports, settlement, attesters, holders, search: what each page says, on and off the chain."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from chargera.app.chain_pages import Payouts, payouts_of
from chargera.domain.settlement import BPS
from chargera.web.pages.passport import PASSPORTS_A_PAGE, division
from chargera.web.pages.settlement import STRIP, agrees, lanes_of, shortened
from tests.browser.sample_app import PASSWORD, Sample, make_sample
from tests.browser.sample_chain import (
    BATCHES,
    BORN,
    CUSTODY,
    FORMED,
    HOST,
    INVESTOR,
    KILLED,
    LANES,
    PASSPORTS,
    POLICY_1,
    PROPOSED,
    SETTLED,
    STRANGER,
    SampleContracts,
    SamplePassports,
    sample_settlement,
    word,
)
from tests.unit.web.browser_client import client_of
from tests.unit.web.test_pages_site import Outline

MINTED = f"/passport/{BORN[0].passport_id}"
PAGES = (
    "/passports", MINTED, "/settlement", "/attesters", f"/holder/{HOST}", "/search",
    *(f"/passport/{row.passport_id}" for row in PASSPORTS[1:]),
    *(f"/settlement/{row.digest}" for row in (SETTLED, PROPOSED, KILLED, FORMED)),
)  # fmt: skip
ON_CHAIN_ONLY = [path for path in PAGES if path != "/search"]


@pytest.fixture
async def sample() -> Sample:
    return await make_sample()


@pytest.fixture
async def browser(sample: Sample) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(sample.pages.app) as client:
        yield client


async def sign_in(browser: httpx2.AsyncClient, name: str = "operator") -> None:
    await browser.post("/login", data={"name": name, "password": PASSWORD, "next": "/"})


async def text_of(browser: httpx2.AsyncClient, path: str) -> str:
    """The words of a page, without tags and with single spaces."""
    answer = await browser.get(path)
    assert answer.status_code == 200, path
    body = re.sub(r"<(script|style).*?</\1>", "", answer.text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body)).replace("\u00a0", " ")


# Lists that are long ---------------------------------------------------------------------------


class FewPassports(SamplePassports):
    """As many registrations as a page holds, and what a page asks for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int | None, int | None]] = []
        self.shown = [replace(BORN[0], registration_no=90 - n) for n in range(PASSPORTS_A_PAGE)]

    async def rows(self, before: int | None = None, limit: int | None = None) -> Any:
        self.asked.append((before, limit))
        return self.shown if before is None else []


@pytest.fixture
def passports(sample: Sample) -> Iterator[FewPassports]:
    sample.network.passports = FewPassports()
    yield sample.network.passports
    sample.network.passports = None


async def test_passports_come_in_pages(
    passports: FewPassports, browser: httpx2.AsyncClient
) -> None:
    answer = await browser.get("/passports")
    last = passports.shown[-1].registration_no
    assert f'href="/passports?before={last}"' in answer.text
    older = await browser.get(f"/passports?before={last}")
    assert 'href="/passports?before=' not in older.text
    assert (await browser.get("/passports?before=x")).status_code == 200
    limit = PASSPORTS_A_PAGE
    assert passports.asked == [(None, limit), (last, limit), (None, limit)]


async def test_a_registration_that_cannot_be_read_is_shown_as_broken(
    passports: FewPassports, browser: httpx2.AsyncClient
) -> None:
    passports.shown = [replace(BORN[0], metadata={}), BORN[1]]
    text = await text_of(browser, "/passports")
    assert "its registration cannot be read" in text
    assert BORN[0].station_id in text
    assert BORN[1].metadata["serial_number"] in text


# Every page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_public_and_well_formed(browser: httpx2.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 200
    outline = Outline()
    outline.feed(answer.text)
    assert outline.levels.count(1) == 1
    steps = zip(outline.levels, outline.levels[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps), outline.levels
    assert len(outline.ids) == len(set(outline.ids)), sorted(outline.ids)
    assert set(outline.controls) <= outline.labelled


@pytest.mark.parametrize("path", ON_CHAIN_ONLY)
async def test_where_nothing_is_settled_pages_say_so(path: str) -> None:
    sample = await make_sample(settles=False)
    async with client_of(sample.pages.app) as browser:
        answer = await browser.get(path)
        assert answer.status_code == 404
        assert "Nothing is settled on chain here" in answer.text
        assert "CHARGERA_SETTLEMENT_ENABLED" in answer.text


async def test_where_nothing_is_settled_the_menu_does_not_promise_it() -> None:
    sample = await make_sample(settles=False)
    async with client_of(sample.pages.app) as browser:
        for path in ("/", "/s/Amstel-01", "/search?q=zzz"):
            text = (await browser.get(path)).text
            for hidden in ("/passports", "/settlement", "/attesters", "/passport/", "/holder"):
                assert f'href="{hidden}' not in text, (path, hidden)


async def test_the_menu_leads_to_all_three(browser: httpx2.AsyncClient) -> None:
    text = (await browser.get("/")).text
    for path in ("/passports", "/settlement", "/attesters"):
        assert f'<a href="{path}"' in text
        assert f'<a href="{path}" aria-current="page"' in (await browser.get(path)).text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/passport/nobody", 404),
        (f"/settlement/{word('nothing')}", 404),
        (f"/settlement/{SETTLED.digest}.json", 404),  # the file is another room's
        ("/holder/0x12", 400),
        ("/holder/0x12.json", 400),
    ],
)
async def test_what_does_not_exist_is_said(
    browser: httpx2.AsyncClient, path: str, status: int
) -> None:
    answer = await browser.get(path)
    assert answer.status_code == status
    assert "text/html" in answer.headers["content-type"]


# Passports -------------------------------------------------------------------------------------


async def test_the_list_says_what_each_passport_waits_for(browser: httpx2.AsyncClient) -> None:
    text = await text_of(browser, "/passports")
    assert text.count("Registered") == 2
    assert text.count("Pending") == 4
    assert "Waits for the host\N{RIGHT SINGLE QUOTATION MARK}s address" in text
    assert "Waits for a signed reading whose identification is the onboarding IdToken" in text
    assert "its serial number has a passport already" in text


async def test_a_station_leads_to_its_passport(browser: httpx2.AsyncClient) -> None:
    assert 'href="/passport/Amstel-01"' in (await browser.get("/s/Amstel-01")).text
    answer = await browser.get("/passport/Amstel-01")
    assert (answer.status_code, answer.headers["location"]) == (303, MINTED)


async def test_a_passport_shows_hash_custody_units_and_earnings(
    browser: httpx2.AsyncClient,
) -> None:
    text = await text_of(browser, MINTED)
    assert BORN[0].registration_hash in text
    for said in ("Meter exchange", "Repair", "Observed", "44 kW", "Hash of the meter key"):
        assert said in text
    assert "750,000 \N{MULTIPLICATION SIGN} 5.3696 simEUR ÷ 1,000,000 = 4.0272 simEUR" in text
    assert "1.3424 simEUR" in text  # what the investor is owed
    assert "A passport has 1,000,000 units for ever" in text


async def test_custody_shows_each_record_with_its_proof_and_what_it_waits_for(
    browser: httpx2.AsyncClient,
) -> None:
    page, text = (await browser.get(MINTED)).text, await text_of(browser, MINTED)
    assert "Not recorded: attesters refuse: no reading of the new meter" in text
    assert "Waits for the host" in text
    assert "52.3702, 4.8952" in text
    recorded = CUSTODY[1]
    for href in (f"/log/entry/{recorded.log_index}", "/api/v1/topics/0.0.1001/messages/8"):
        assert f'href="{href}"' in page
    assert recorded.transaction_hash in text
    assert "each other one a transfer on chain" in text


async def test_a_pending_passport_earns_nothing_and_is_dotted(browser: httpx2.AsyncClient) -> None:
    page = (await browser.get(f"/passport/{PASSPORTS[2].passport_id}")).text
    assert "Until it is registered it earns nothing" in page
    assert 'class="ticks"' not in page
    assert "is-dotted" in page
    assert re.search(r"<code>[0-9A-F]{20}</code>", page)  # the IdToken that its meter must show
    assert 'class="ticks"' in (await browser.get(MINTED)).text


async def test_a_contested_one_says_when_it_can_be_minted(browser: httpx2.AsyncClient) -> None:
    text = await text_of(browser, f"/passport/{PASSPORTS[3].passport_id}")
    assert "It can be minted from 24 Nov, 14:41 UTC" in text


async def test_before_there_is_a_host_the_asked_commission_is_shown(
    browser: httpx2.AsyncClient,
) -> None:
    text = await text_of(browser, f"/passport/{PASSPORTS[5].passport_id}")
    assert "commission the host on whose ground the charger stands 30 %" in text


def test_a_bill_is_divided_without_a_rest() -> None:
    parts = division(POLICY_1, 3_333)
    assert sum(part.bps for part in parts) == BPS
    assert sum(part.amount for part in parts) == 1_000_000


# Settlement ------------------------------------------------------------------------------------


async def test_lanes_show_their_holes_and_batches_their_states(
    browser: httpx2.AsyncClient,
) -> None:
    text = await text_of(browser, "/settlement")
    for said in ("Shortened for a demonstration: Settlement window, Contest period", "hole"):
        assert said in text
    for state in ("With attesters", "Signed", "In its window", "Settled", "Killed"):
        assert state in text
    assert "NL*C4E · simEUR" in text
    assert "Network fee 5 %" in text
    assert "Disputes end unruled after 21 days" in text


def test_a_hole_is_below_a_settled_number() -> None:
    euro, c4e = lanes_of(LANES)
    assert (euro.numbers, euro.settled, euro.holes) == (11, 4, 2)
    assert [run.of.state for run in euro.runs if run.is_hole] == ["skipped", "disputed"]
    assert c4e.holes == 0
    assert [run.of.state for run in euro.open_runs] == ["waiting", "pending", "disputed", "skipped"]


def test_the_strip_of_a_lane_has_no_gap() -> None:
    for lane in lanes_of(LANES):
        x = 0
        for run in lane.runs:
            assert run.x == x
            x += run.width
        assert x == STRIP
    assert lanes_of([]) == []


async def test_older_batches_are_on_the_next_page(browser: httpx2.AsyncClient) -> None:
    newest, *older = BATCHES
    page = (await browser.get(f"/settlement?before={newest.digest}")).text
    assert f'id="batch-{newest.digest}"' not in page
    for row in older:
        assert f'id="batch-{row.digest}"' in page
    assert "?before=" not in page.partition("batches-title")[2].partition("policy-title")[0]


def test_ordinary_periods_are_not_called_short() -> None:
    usual = replace(POLICY_1.parameters, settlement_window_s=86_400, contest_period_s=3 * 86_400)
    assert shortened(replace(POLICY_1, parameters=usual)) == []


async def test_a_settled_batch_says_what_it_paid_to_whom(browser: httpx2.AsyncClient) -> None:
    text = await text_of(browser, f"/settlement/{SETTLED.digest}")
    assert "The holders of each passport got exactly this on chain" in text
    for said in ("To holders", "To hosts, VAT", "To the proposer", "20.730001 simEUR"):
        assert said in text
    assert "Burned as C4E: 8.95 C4E" in text
    assert "Leaf 4 was set aside by a dispute" in text
    assert "A dispute ended: the leaf stands." in text
    assert "1.2558 simEUR, kept by the gateway" in text
    page = (await browser.get(f"/settlement/{SETTLED.digest}")).text
    assert f'href="/settlement/{SETTLED.digest}.json"' in page
    for leaf in SETTLED.batch.leaves:
        assert f'href="/log/entry/{leaf.log_index}"' in page


async def test_sessions_of_leaves_are_for_who_may_see_them(browser: httpx2.AsyncClient) -> None:
    path = f"/settlement/{SETTLED.digest}"
    assert 'href="/session/' not in (await browser.get(path)).text
    await sign_in(browser)
    assert 'href="/session/' in (await browser.get(path)).text


async def test_a_refusal_names_the_record_and_the_reason(browser: httpx2.AsyncClient) -> None:
    text = await text_of(browser, f"/settlement/{FORMED.digest}")
    assert "the tariff in force gives 187 for this session, not 200 Entry 9" in text
    assert "No answer yet" in text
    assert f"{FORMED.digest}.json" not in (await browser.get(f"/settlement/{FORMED.digest}")).text


async def test_a_killed_batch_says_why_and_by_whom(browser: httpx2.AsyncClient) -> None:
    page = (await browser.get(f"/settlement/{KILLED.digest}")).text
    assert "Killed: it bills overlapping sessions. Challenger:" in page
    assert f"/holder/{STRANGER}" in page


async def test_a_difference_from_the_chain_is_not_hidden() -> None:
    contracts = SampleContracts()
    contracts.said = [
        replace(said, members=type(said.members)(said.members | {"amount": 1}))
        if said.name == "Notified"
        else said
        for said in contracts.said
    ]
    sample = await make_sample(settlement=replace(sample_settlement(), contracts=contracts))
    async with client_of(sample.pages.app) as browser:
        text = await text_of(browser, f"/settlement/{SETTLED.digest}")
    assert "The chain gave the holders something else" in text


async def test_nothing_for_holders_agrees_with_no_event() -> None:
    payouts: Payouts = await payouts_of(SampleContracts(), sample_settlement().terms, SETTLED, {})
    stored = type("Stored", (), {"notified": dict(payouts.to_holders) | {"0x": 0}})
    assert agrees(payouts, stored())  # type: ignore[arg-type]  # the one member that is read


# Attesters -------------------------------------------------------------------------------------


async def test_attesters_are_labelled_and_control_is_told(browser: httpx2.AsyncClient) -> None:
    text = await text_of(browser, "/attesters")
    assert "3 of 4 signatures make a batch" in text
    assert text.count("this operator: a process of this server") == 3
    for said in ("Slashed", "Leaving", "10,000.00 C4E", "123.60 C4E"):
        assert said in text
    assert "A bootstrap key of the operator proposes to the Timelock" in text
    assert "Delay of everything it does 2 days" in text
    assert "Notice before an upgrade 49 days" in text


async def test_own_attesters_that_are_a_quorum_are_called_so() -> None:
    contracts = SampleContracts()
    said = contracts.answers["AttesterRegistry", "attesterOf"](0)
    contracts.answers["AttesterRegistry", "attesterOf"] = lambda index: type(said)(
        said | {"signer": sample_settlement().own_attesters[min(index, 2)]}
    )
    sample = await make_sample(settlement=replace(sample_settlement(), contracts=contracts))
    async with client_of(sample.pages.app) as browser:
        assert "They are a quorum by themselves" in await text_of(browser, "/attesters")


async def test_after_the_hand_over_the_bootstrap_key_may_nothing() -> None:
    contracts = SampleContracts()
    contracts.answers["NetworkTimelock", "hasRole"] = lambda role, account: False
    contracts.answers["NetworkPolicy", "governor"] = lambda: STRANGER
    contracts.answers["NetworkPolicy", "pendingUpgrade"] = lambda: type(
        contracts.answers["SettlementHub", "pendingUpgrade"]()
    )(executableFrom=1_800_000_000)
    sample = await make_sample(settlement=replace(sample_settlement(), contracts=contracts))
    async with client_of(sample.pages.app) as browser:
        text = await text_of(browser, "/attesters")
    assert "nothing: it has handed over" in text
    assert "A bootstrap key of the operator proposes" not in text
    assert "from 15 Jan, 08:00 UTC" in text


async def test_the_json_twin_has_what_the_page_shows(browser: httpx2.AsyncClient) -> None:
    document = (await browser.get("/attesters.json")).json()
    assert len(document["attesters"]) == 4
    assert document["control"]["bootstrap_proposes"] is True
    holder = (await browser.get(f"/holder/{INVESTOR}.json")).json()
    assert holder["holdings"][0]["due"][1]["amount"] == 1_342_400


# Holders ---------------------------------------------------------------------------------------


async def test_a_holder_can_claim_by_wallet_or_by_key_file(browser: httpx2.AsyncClient) -> None:
    page = (await browser.get(f"/holder/{INVESTOR}")).text
    assert page.count('class="claim"') == 1
    assert re.search(r'data-call="0x[0-9a-f]{200}"', page)
    assert 'data-chain="0x425d4"' in page
    command = (
        f"chargera settlement claim --passport {BORN[0].passport_id} --holder {INVESTOR}"
        " --rpc https://pages.example/rpc --trust deployment.json --key my.key"
    )
    shown = re.search(r"chargera settlement claim [^<]+", page)
    assert shown is not None
    assert re.sub("https?://[^/]+", "https://pages.example", shown[0]) == command
    assert "claim.js" in page
    assert "claim.js" not in (await browser.get("/passports")).text


async def test_what_waits_in_the_hub_can_be_withdrawn(browser: httpx2.AsyncClient) -> None:
    page = (await browser.get(f"/holder/{HOST}")).text
    assert page.count("6.219") == 1
    assert re.search(r'data-call="0x[0-9a-f]{136}"', page)
    assert page.count("Nothing is owed now") == 2


async def test_an_address_without_anything_is_told_so(browser: httpx2.AsyncClient) -> None:
    assert "has no passport and no units" in await text_of(browser, f"/holder/0x{'7' * 40}")


# Sessions --------------------------------------------------------------------------------------


SETTLEMENT_WORDS = {
    "waiting": "This bill waits for a batch",
    "pending": "in a batch that is under way",
    "settled": "This bill is settled",
    "skipped": "This bill is not paid",
    "disputed": "set aside by a dispute",
    "off_chain": "payable off chain",
}


@pytest.mark.parametrize("state", SETTLEMENT_WORDS)
async def test_a_session_shows_how_far_its_bill_is_settled(
    sample: Sample, browser: httpx2.AsyncClient, state: str
) -> None:
    await sign_in(browser)
    session = next(s for s in sample.network.sessions.values() if s.row.state == "billed")
    before, in_batch = session.row, state not in ("waiting", "off_chain")
    said = {"state": state, "cdr_no": 4, "batch": SETTLED.digest if in_batch else None}
    if state == "off_chain":
        said["cdr_no"] = None
    if state == "settled":
        said["owed_minor"] = 120
    try:
        session.row = replace(before, settlement=said)
        page = (await browser.get(f"/session/{before.session_id}")).text
    finally:
        session.row = before
    assert SETTLEMENT_WORDS[state] in page
    assert (f'href="/settlement/{SETTLED.digest}#leaf-4"' in page) == in_batch
    assert ("€1.20 of it was credited later" in page) == (state == "settled")
    assert ('id="fact-cdr_no"' in page) == (state != "off_chain")


# Search ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("Amstel-01", "/s/Amstel-01"),
        (" Amstel-01 ", "/s/Amstel-01"),
        ("17", "/log/entry/17"),
        ("#17", "/log/entry/17"),
        (BORN[0].passport_id, MINTED),
        (BORN[0].passport_id[2:].upper(), MINTED),
        (SETTLED.digest, f"/settlement/{SETTLED.digest}"),
        (HOST, f"/holder/{HOST}"),
        (HOST.lower()[2:], f"/holder/{HOST}"),
    ],
)
async def test_any_identifier_is_found(
    browser: httpx2.AsyncClient, wanted: str, found: str
) -> None:
    answer = await browser.get("/search", params={"q": wanted})
    assert (answer.status_code, answer.headers["location"]) == (303, found)


@pytest.mark.parametrize(
    "wanted",
    [
        "zzz",
        "999999",
        "9" * 30,
        word("nothing"),
        f"{HOST[:-4]}AAaa",
        "<b>",
        "01935d00-0",
        "\N{ARABIC-INDIC DIGIT SEVEN}",
    ],
)
async def test_what_is_not_found_is_helped(browser: httpx2.AsyncClient, wanted: str) -> None:
    answer = await browser.get("/search", params={"q": wanted})
    assert answer.status_code == 404
    assert "Nothing has this name" in answer.text
    assert "its digest: 0x and 64 hex digits" in answer.text
    assert "<b>" not in answer.text


async def test_a_session_is_found_by_who_may_see_it(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    wanted = next(iter(sample.network.sessions))
    asked = await browser.get("/search", params={"q": wanted})
    assert asked.headers["location"].startswith("/login?next=%2Fsearch")
    await sign_in(browser)
    answer = await browser.get("/search", params={"q": wanted.upper()})
    assert answer.headers["location"] == f"/session/{wanted}"
    other = f"{wanted[:-4]}0000"
    assert (await browser.get("/search", params={"q": other})).status_code == 404


async def test_without_settlement_nothing_of_it_is_offered() -> None:
    sample = await make_sample(settles=False)
    async with client_of(sample.pages.app) as browser:
        for wanted in (SETTLED.digest, HOST):
            answer = await browser.get("/search", params={"q": wanted})
            assert answer.status_code == 404
            assert "its digest" not in answer.text
