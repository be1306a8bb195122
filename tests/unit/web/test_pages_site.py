"""Every page over a sample network: who sees what, what a form needs, what the headers say."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from html.parser import HTMLParser

import httpx2
import pytest

from chargera.domain.errors import Unavailable
from chargera.web.live import Pace
from chargera.web.pages.rendering import CSP
from chargera.web.pages.site import own_path
from tests.browser.sample_app import PASSWORD, Sample, make_sample
from tests.browser.sample_network import FLEET, SampleSession
from tests.unit.web.browser_client import BASE, client_of

PUBLIC = ("/", "/stations", "/s/Amstel-01", "/tariffs", "/log", "/log/entry/3", "/verify", "/login")
PRIVATE = ("/sessions", "/id-tokens")
LIVE = ("/live/overview", "/live/log", "/live/s/Amstel-01")


@pytest.fixture
async def sample() -> Sample:
    return await make_sample(Pace(interval_s=0.01, idle_s=0.01, lifetime_s=0.05))


@pytest.fixture
async def browser(sample: Sample) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(sample.pages.app) as client:
        yield client


async def sign_in(browser: httpx2.AsyncClient, name: str = "operator") -> None:
    answer = await browser.post("/login", data={"name": name, "password": PASSWORD, "next": "/"})
    assert answer.status_code == 303


async def csrf_of(browser: httpx2.AsyncClient, path: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', (await browser.get(path)).text)
    assert found
    return found[1]


def session_of(sample: Sample, wanted: Callable[[SampleSession], bool]) -> SampleSession:
    return next(s for s in sample.network.sessions.values() if wanted(s))


def billed(sample: Sample) -> SampleSession:
    return session_of(sample, lambda s: s.signed == 2 and s.row.state == "billed")


async def test_a_nul_names_nothing(browser: httpx2.AsyncClient) -> None:
    for path in ("/s/%00", "/session/a%00", "/stations?after=%00"):
        assert (await browser.get(path)).status_code == 404
    typed = await browser.post("/login", data={"name": "\0", "password": PASSWORD, "next": "/"})
    assert typed.status_code == 404


# Every page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PUBLIC)
async def test_public_pages_need_no_login(browser: httpx2.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", PRIVATE)
async def test_private_pages_ask_to_sign_in_and_come_back(
    browser: httpx2.AsyncClient, path: str
) -> None:
    asked = await browser.get(path)
    assert asked.status_code == 303
    assert asked.headers["location"] == f"/login?next=%2F{path[1:]}"
    await sign_in(browser)
    assert (await browser.get(path)).status_code == 200


@pytest.mark.parametrize("path", [*PUBLIC, "/nothing", "/s/nobody", "/log/entry/999999"])
async def test_every_page_has_the_strict_headers(browser: httpx2.AsyncClient, path: str) -> None:
    headers = (await browser.get(path)).headers
    assert headers["content-security-policy"] == CSP
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


class Outline(HTMLParser):
    """What assistive technology finds first: headings, labels, names of controls, ids."""

    VOID = frozenset({"input", "meta", "link", "br", "hr", "path", "rect", "use", "option"})

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.controls: list[str] = []
        self.language = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if "id" in have:
            self.ids.append(have["id"] or "")
        if tag == "label":
            self.labelled.add(have["for"] or "")
        if tag in ("input", "select", "textarea") and have.get("type") != "hidden":
            self.controls.append(have.get("id") or "")
        if tag == "html":
            self.language = have.get("lang") or ""


@pytest.mark.parametrize(
    "path", [*PUBLIC[:-1], *PRIVATE, "/nothing", "review", "billed", "running"]
)
async def test_pages_are_well_formed_for_everybody(
    sample: Sample, browser: httpx2.AsyncClient, path: str
) -> None:
    await sign_in(browser)
    session = {
        "review": lambda: session_of(sample, lambda s: s.row.state == "review"),
        "billed": lambda: billed(sample),
        "running": lambda: session_of(sample, lambda s: s.live is not None),
    }.get(path)
    outline = Outline()
    outline.feed(
        (await browser.get(f"/session/{session().row.session_id}" if session else path)).text
    )
    assert outline.language == "en-GB"
    assert outline.levels.count(1) == 1
    assert outline.levels[0] == 1
    steps = zip(outline.levels, outline.levels[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps), outline.levels
    assert len(outline.ids) == len(set(outline.ids)), sorted(outline.ids)
    assert set(outline.controls) <= outline.labelled


async def test_what_is_simulated_is_labelled_and_nothing_else() -> None:
    for simulated in (True, False):
        made = await make_sample(simulated=simulated)
        async with client_of(made.pages.app) as browser:
            for path in ("/", "/log", "/nothing"):
                assert ("Simulated network" in (await browser.get(path)).text) == simulated


async def test_what_people_typed_is_escaped(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post("/login", data={"name": "<script>x</script>", "password": "p"})
    assert "<script>x" not in answer.text
    assert "&lt;script&gt;x" in answer.text


# The overview ----------------------------------------------------------------------------------


async def test_visitors_see_what_goes_on_but_not_whose_it_is(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    text = (await browser.get("/")).text
    assert "6 cars are drawing" in text
    assert "Erasmus-01" in text
    assert "/session/" not in text
    assert "Cost so far" not in text
    await sign_in(browser)
    text = (await browser.get("/")).text
    assert f"/session/{billed(sample).row.session_id}" in text
    assert "Cost so far" in text


async def test_the_line_shows_how_far_things_have_come(browser: httpx2.AsyncClient) -> None:
    text = (await browser.get("/")).text
    assert re.search(r"31</span>\s*<span class=\"stop-note\">bills so far", text)
    assert "52 sec ago" in text


# Stations --------------------------------------------------------------------------------------


async def test_a_station_shows_its_price_and_its_state(browser: httpx2.AsyncClient) -> None:
    text = (await browser.get("/s/Amstel-01")).text
    assert "€0.39" in text
    assert "Occupied" in text
    assert "Messages" not in text
    assert "AM-20417" not in text
    assert 'action="/s/Amstel-01/commands"' not in text


async def test_its_operator_sees_messages_raw_beside_decoded(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    text = (await browser.get("/s/Amstel-01")).text
    assert "[2,&#34;m-7120&#34;,&#34;Heartbeat&#34;,{}]" in text
    assert "Departs from its schema" in text
    odd = (await browser.get("/s/Amstel-01?outcome=odd")).text
    assert "StatusNotification" in odd
    assert "m-7120" not in odd
    one = (await browser.get("/s/Amstel-01?action=Authorize&direction=in")).text
    assert "m-7116" in one
    assert "m-7120" not in one
    assert (await browser.get("/s/Amstel-01?before=nonsense")).status_code == 200


async def test_an_auditor_reads_messages_but_sends_no_commands(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser, "auditor")
    text = (await browser.get("/s/Amstel-01")).text
    assert 'id="messages"' in text
    assert 'action="/s/Amstel-01/commands"' not in text


async def test_a_command_is_sent_and_shown_with_its_answer(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    csrf = await csrf_of(browser, "/s/Amstel-01")
    answer = await browser.post(
        "/s/Amstel-01/commands", data={"csrf": csrf, "action": "unlock", "evse": "1"}
    )
    assert answer.status_code == 303
    path, _, anchor = answer.headers["location"].partition("#")
    assert f'id="{anchor}"' in (await browser.get(path)).text


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"action": "unlock", "evse": "9"}, 422),
        ({"action": "unlock", "evse": "one"}, 422),
        ({"action": "dance"}, 422),
        ({"action": "remote-start", "evse": "1", "id_token": "nobody"}, 422),
    ],
)
async def test_a_wrong_command_is_answered_with_what_is_wrong(
    browser: httpx2.AsyncClient, form: dict[str, str], status: int
) -> None:
    await sign_in(browser)
    csrf = await csrf_of(browser, "/s/Amstel-01")
    answer = await browser.post("/s/Amstel-01/commands", data={"csrf": csrf, **form})
    assert answer.status_code == status
    assert "<h1>" in answer.text


async def test_a_visitor_sends_no_command(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post("/s/Amstel-01/commands", data={"action": "reset"})
    assert answer.status_code == 401
    assert 'href="/login"' in answer.text


# Standard runs ---------------------------------------------------------------------------------


async def test_standard_runs_are_shown_step_by_step_with_their_entries(
    browser: httpx2.AsyncClient,
) -> None:
    assert 'id="standard-run"' not in (await browser.get("/s/Amstel-01")).text
    await sign_in(browser)
    text = (await browser.get("/s/Amstel-01")).text
    assert 'action="/s/Amstel-01/tests"' in text
    assert 'href="/log/entry/41"' in text
    assert "Refuses a broken call" in text
    assert "Earlier runs" in text
    assert "Earlier runs" not in (await browser.get("/s/Erasmus-01")).text


async def test_a_standard_run_needs_the_station_and_an_evse_of_it(
    browser: httpx2.AsyncClient,
) -> None:
    await sign_in(browser)
    csrf = await csrf_of(browser, "/s/Amstel-01")
    away = next(row[0] for row in FLEET if not row[5])
    answer = await browser.post(f"/s/{away}/tests", data={"csrf": csrf, "reset": "yes"})
    assert answer.status_code == 503
    answer = await browser.post("/s/Amstel-01/tests", data={"csrf": csrf, "evse": "99"})
    assert answer.status_code == 422


# Sessions --------------------------------------------------------------------------------------


async def test_a_session_is_for_its_viewers_and_for_who_has_its_link(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    session = billed(sample)
    path, link = f"/session/{session.row.session_id}", sample.link(session)
    assert (await browser.get(path)).status_code == 303
    assert (await browser.get(f"{path}?key=00")).status_code == 303
    for_all = await browser.get(link)
    assert for_all.status_code == 200
    assert 'id="fact-id_token"' not in for_all.text
    await sign_in(browser)
    assert 'id="fact-id_token"' in (await browser.get(path)).text


async def test_a_billed_session_shows_bill_and_proof(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    await sign_in(browser)
    session = billed(sample)
    text = (await browser.get(f"/session/{session.row.session_id}")).text
    assert "€11.11" in text
    assert "23.550\N{NO-BREAK SPACE}kWh \N{MULTIPLICATION SIGN} €0.39 per kWh · 21 % VAT" in text
    for stop in (
        "meter",
        "signed_value",
        "readings",
        "bill",
        "entry",
        "tree",
        "checkpoint",
        "anchor",
    ):
        assert f'id="proof-{stop}"' in text
    assert text.count("Checked</span>") == 7
    assert "OCMF|" in text
    assert str(sample.network.anchor.consensus_timestamp) in text


async def test_a_running_session_shows_what_it_would_cost_now(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    session = session_of(sample, lambda s: s.live is not None and s.row.station_id == "Amstel-01")
    await sign_in(browser)
    text = (await browser.get(f"/session/{session.row.session_id}")).text
    assert "If it ended now" in text
    assert "€7.44" in text
    assert text.count("Not yet</span>") == 7
    assert "/receipt" not in text


async def test_a_session_in_review_is_decided_on_its_page(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    await sign_in(browser)
    session = session_of(sample, lambda s: s.row.state == "review")
    path = f"/session/{session.row.session_id}"
    assert "no tariff was in force" in (await browser.get(path)).text
    form = {"csrf": await csrf_of(browser, path), "reason": "price by hand", "tariff_id": "city-ac"}
    answer = await browser.post(f"{path}/decision", data=form)
    assert answer.status_code == 303
    identity, decision, decided_by = sample.decisions.made[-1]
    assert (identity, decided_by) == (session.row.session_id, "operator")
    assert decision.tariff_id == "city-ac"


async def test_a_decision_needs_a_reason_and_the_right(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    made = len(sample.decisions.made)
    session = session_of(sample, lambda s: s.row.state == "review")
    path = f"/session/{session.row.session_id}"
    await sign_in(browser)
    csrf = await csrf_of(browser, path)
    answer = await browser.post(f"{path}/decision", data={"csrf": csrf, "reason": " "})
    assert answer.status_code == 422
    async with client_of(sample.pages.app) as other:
        await sign_in(other, "auditor")
        csrf = await csrf_of(other, "/")
        answer = await other.post(f"{path}/decision", data={"csrf": csrf, "reason": "because"})
        assert answer.status_code == 403
    assert len(sample.decisions.made) == made


async def test_everything_on_a_session_can_be_taken_home(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    session = billed(sample)
    page, _, key = sample.link(session).partition("?")
    readings = await browser.get(f"{page}/readings.csv?{key}")
    assert readings.headers["content-type"] == "text/csv; charset=utf-8"
    assert len(readings.text.splitlines()) == len(session.events) + 1
    assert readings.text.startswith("n,at,received_at,kind,")
    receipt = await browser.get(f"{page}/receipt.json?{key}")
    assert receipt.content == sample.network.receipt(session)
    twin = (await browser.get(f"{page}/session.json?{key}")).json()
    assert twin["session_id"] == session.row.session_id
    for name in ("readings.csv", "receipt.json", "session.json"):
        assert (await browser.get(f"{page}/{name}?key=0")).status_code == 303
    linked = (await browser.get(f"{page}?{key}")).text
    assert f"{page}/receipt.json?{key}" in linked


async def test_sessions_are_listed_and_filtered(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    assert "Amstel-02" in (await browser.get("/sessions")).text
    only = (await browser.get("/sessions?state=review")).text
    assert "Harbour-02" in only
    assert "Amstel-02" not in only
    assert (await browser.get("/sessions?state=dancing")).status_code == 422


# Log and verification --------------------------------------------------------------------------


async def test_an_entry_is_open_to_all_and_its_record_to_some(browser: httpx2.AsyncClient) -> None:
    text = (await browser.get("/log/entry/3")).text
    assert "The record is for those whom it concerns" in text
    assert "Leaf hash" in text
    assert "hashes lead from this leaf" in text
    await sign_in(browser)
    text = (await browser.get("/log/entry/3")).text
    assert "serial_number" in text
    assert "Salt" in text


async def test_entries_are_found_by_number(browser: httpx2.AsyncClient) -> None:
    answer = await browser.get("/log/entry?n=17")
    assert answer.headers["location"] == "/log/entry/17"
    for wrong in ("", "x", "-1", "9" * 30):
        assert (await browser.get(f"/log/entry?n={wrong}")).status_code == 422
    assert (await browser.get("/log/entry/12345")).status_code == 404


async def test_the_log_is_paged(browser: httpx2.AsyncClient) -> None:
    first = (await browser.get("/log")).text
    assert "/log?before=15#entries-title" in first
    older = (await browser.get("/log?before=15")).text
    assert 'href="/log/entry/0"' in older
    assert "Newer" in older
    assert (await browser.get("/log?before=x")).status_code == 422


async def test_a_receipt_is_verified_from_text_and_from_a_file(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    receipt = sample.network.receipt(billed(sample))
    pasted = await browser.post("/verify", data={"text": f"\r\n{receipt.decode()}\r\n"})
    uploaded = await browser.post("/verify", files={"file": ("r.json", receipt)})
    for answer in (pasted, uploaded):
        assert answer.status_code == 200
        assert "This receipt holds" in answer.text
        assert 'id="step-anchor"' in answer.text


async def test_a_changed_receipt_does_not_hold_and_the_step_is_named(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    receipt = sample.network.receipt(billed(sample)).decode()
    bill = receipt.replace('"gross_minor":1111', '"gross_minor":1011')
    assert bill != receipt
    answer = await browser.post("/verify", data={"text": bill})
    assert "does not hold" in answer.text
    assert re.search(r'is-failed[^>]*id="step-\w+"', answer.text)
    nonsense = await browser.post("/verify", data={"text": "{}"})
    assert "not a receipt" in nonsense.text


@pytest.mark.parametrize("form", [{"text": ""}, {"text": "  \r\n "}, {}])
async def test_nothing_to_verify_is_said(browser: httpx2.AsyncClient, form: dict[str, str]) -> None:
    answer = await browser.post("/verify", data=form)
    assert answer.status_code == 422
    assert "Choose a file or paste a receipt" in answer.text


async def test_a_receipt_over_the_limit_is_not_read(browser: httpx2.AsyncClient) -> None:
    huge = str(40 * 2**20)
    answer = await browser.post("/verify", content=b"text=x", headers={"content-length": huge})
    assert answer.status_code == 422
    assert "which no receipt is" in answer.text


# Signing in and out ----------------------------------------------------------------------------


async def test_the_cookie_is_for_this_server_alone(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post("/login", data={"name": "operator", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


@pytest.mark.parametrize(
    ("name", "password"), [("operator", "wrong"), ("nobody", PASSWORD), ("", ""), ("x" * 99, "y")]
)
async def test_wrong_credentials_are_answered_alike(
    browser: httpx2.AsyncClient, name: str, password: str
) -> None:
    answer = await browser.post("/login", data={"name": name, "password": password})
    assert answer.status_code == 403
    assert "name or password is wrong" in answer.text
    assert "set-cookie" not in answer.headers
    assert f'value="{password}"' not in answer.text or not password


async def test_signing_out_ends_the_visit(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    cookie = dict(browser.cookies)
    csrf = await csrf_of(browser, "/")
    assert (await browser.post("/logout", data={"csrf": csrf})).status_code == 303
    browser.cookies.update(cookie)
    assert (await browser.get("/sessions")).status_code == 303


async def test_signed_in_people_are_not_asked_again(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    answer = await browser.get("/login?next=/tariffs")
    assert answer.headers["location"] == "/tariffs"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "\n/x",
    ],
)
async def test_nobody_is_sent_to_another_host(browser: httpx2.AsyncClient, elsewhere: str) -> None:
    form = {"name": "operator", "password": PASSWORD, "next": elsewhere}
    answer = await browser.post("/login", data=form)
    assert answer.headers["location"] == "/"


def test_paths_of_this_server_are_kept() -> None:
    assert own_path("/s/A?x=1#y") == "/s/A?x=1#y"
    assert own_path("/\x00") == "/"
    assert own_path(None) == "/"


FORMS = (
    ("/s/Amstel-01/commands", {"action": "reset"}),
    ("/s/Amstel-01/tests", {}),
    ("/id-tokens", {"id_token": "04AA", "id_token_type": "ISO14443"}),
    ("/id-tokens/block", {"id_token": "04A2B7C8D9", "blocked": "yes"}),
    ("/logout", {}),
    ("/session/x/decision", {"reason": "r"}),
)


@pytest.mark.parametrize(("path", "form"), FORMS)
async def test_a_form_without_the_visits_value_changes_nothing(
    browser: httpx2.AsyncClient, path: str, form: dict[str, str]
) -> None:
    await sign_in(browser)
    for csrf in ({}, {"csrf": "guess"}):
        answer = await browser.post(path, data=form | csrf)
        assert answer.status_code == 403
    assert (await browser.get("/sessions")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["/login", "/appearance", "/logout"])
async def test_forms_of_other_sites_are_refused(
    browser: httpx2.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    form = {"name": "operator", "password": PASSWORD, "appearance": "dark"}
    answer = await browser.post(path, data=form, headers=headers)
    assert answer.status_code == 409
    assert "set-cookie" not in answer.headers


async def test_our_own_origin_is_accepted(browser: httpx2.AsyncClient) -> None:
    headers = {"origin": BASE, "sec-fetch-site": "same-origin"}
    form = {"name": "operator", "password": PASSWORD}
    assert (await browser.post("/login", data=form, headers=headers)).status_code == 303


async def test_appearance_is_a_choice_that_stays(browser: httpx2.AsyncClient) -> None:
    answer = await browser.post("/appearance", data={"appearance": "dark", "next": "/log"})
    assert answer.headers["location"] == "/log"
    assert 'data-appearance="dark"' in (await browser.get("/log")).text
    await browser.post("/appearance", data={"appearance": "pink"})
    assert 'data-appearance="dark"' in (await browser.get("/log")).text


# IdTokens --------------------------------------------------------------------------------------


async def test_id_tokens_are_registered_and_wrong_ones_explained(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    await sign_in(browser)
    csrf = await csrf_of(browser, "/id-tokens")
    good = {"csrf": csrf, "id_token": "04AABBCC", "id_token_type": "ISO14443", "login": ""}
    assert (await browser.post("/id-tokens", data=good)).status_code == 303
    (added,) = sample.store.id_tokens
    assert added.ref.value == "04AABBCC"
    known = await browser.post("/id-tokens", data=good | {"id_token": "0419C3D2E1"})
    assert "registered already" in known.text
    wrong = await browser.post("/id-tokens", data=good | {"id_token": "x" * 99})
    assert wrong.status_code == 422
    assert 'role="alert"' in wrong.text
    assert "x" * 99 in wrong.text


async def test_only_who_may_write_gets_the_forms(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser, "driver")
    text = (await browser.get("/id-tokens")).text
    assert "04A2B7C8D9" in text
    assert 'action="/id-tokens"' not in text
    assert 'action="/id-tokens/block"' not in text


async def test_blocking_an_unknown_id_token_is_not_found(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    csrf = await csrf_of(browser, "/id-tokens")
    answer = await browser.post("/id-tokens/block", data={"csrf": csrf, "id_token": "nobody"})
    assert answer.status_code == 404


async def test_an_id_token_is_blocked_and_unblocked(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    await sign_in(browser)
    csrf = await csrf_of(browser, "/id-tokens")
    for id_token, blocked in (("04A2B7C8D9", "yes"), ("0419C3D2E1", "no")):
        form = {"csrf": csrf, "id_token": id_token, "blocked": blocked}
        assert (await browser.post("/id-tokens/block", data=form)).status_code == 303
        assert sample.store.id_tokens[-1].blocked == (blocked == "yes")


# Errors and streams ----------------------------------------------------------------------------


async def test_unknown_addresses_help(browser: httpx2.AsyncClient) -> None:
    answer = await browser.get("/no/such/page")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
    assert 'href="/stations"' in answer.text
    wrong_method = await browser.post("/stations")
    assert wrong_method.status_code == 405
    assert "<h1>" in wrong_method.text


async def test_a_fault_of_ours_is_recorded_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    made = await make_sample()

    class Broken:
        def work(self) -> None:
            raise RuntimeError("the password of the database is hunter2")

    object.__setattr__(made.pages.site.services, "database", Broken())
    async with client_of(made.pages.app) as browser:
        answer = await browser.get("/")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert "Something broke on our side" in answer.text
    assert "page failed: GET /" in caplog.text


async def test_a_part_that_does_not_answer_is_said_to_be_busy() -> None:
    made = await make_sample()

    class Away:
        def work(self) -> None:
            raise Unavailable("the database does not answer", remedy="try again")

    object.__setattr__(made.pages.site.services, "database", Away())
    async with client_of(made.pages.app) as browser:
        answer = await browser.get("/")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


@pytest.mark.parametrize("path", LIVE)
async def test_live_pages_stream_their_fragments(browser: httpx2.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert answer.headers["content-type"].startswith("text/event-stream")
    sent = re.findall(r'hx-target="#([\w-]+)"', answer.text)
    page = (await browser.get(path.removeprefix("/live").replace("/overview", "/"))).text
    assert sent
    assert all(f'id="{name}"' in page for name in sent)


async def test_the_stream_of_a_session_is_for_who_may_see_it(
    sample: Sample, browser: httpx2.AsyncClient
) -> None:
    session = session_of(sample, lambda s: s.live is not None)
    path = f"/live{sample.link(session)}"
    assert (await browser.get(path.partition("?")[0])).status_code == 401
    linked = await browser.get(path)
    assert linked.status_code == 200
    assert 'hx-target="#session-now"' in linked.text


async def test_pages_are_live_only_while_the_server_runs() -> None:
    made = await make_sample()
    made.pages.close()
    async with client_of(made.pages.app) as browser:
        assert (await browser.get("/live/overview")).status_code == 503
        assert (await browser.get("/")).status_code == 200


async def test_the_power_of_the_network_is_sampled(sample: Sample) -> None:
    before = sample.pages.site.history.points()[-1]
    await sample.pages.sample()
    (last,) = sample.pages.site.history.points()[-1:]
    assert last == before
    assert last.value == sum(row.power_w for row in sample.network.stations())


async def test_json_twins_are_where_the_pages_say(browser: httpx2.AsyncClient) -> None:
    await sign_in(browser)
    for path in (*PUBLIC[:-1], *PRIVATE):
        text = (await browser.get(path)).text
        twins = re.findall(r'class="twin" href="([^"]+)"', text)
        assert path == "/verify" or twins, path
        assert all(twin.startswith("/api/v1/") for twin in twins)


def test_the_sample_is_the_same_in_every_run(sample: Sample) -> None:
    receipt = sample.network.receipt(billed(sample))
    assert json.loads(receipt)["session_id"] == billed(sample).row.session_id


async def test_sampling_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    made = await make_sample()
    working = made.pages.site.services.database

    class Away:
        def work(self) -> None:
            object.__setattr__(made.pages.site.services, "database", working)
            raise Unavailable("the database does not answer")

    object.__setattr__(made.pages.site.services, "database", Away())
    sampling = asyncio.create_task(made.pages.run(interval_s=0.01))
    await asyncio.sleep(0.1)
    sampling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sampling
    assert caplog.text.count("could not be sampled") == 1
    assert made.pages.site.history.points()[-1].value > 0


async def test_a_list_of_stations_goes_on_after_the_last_one(browser: httpx2.AsyncClient) -> None:
    stations = (await browser.get("/stations?after=Museum-01")).text
    assert "Windmill-01" in stations
    assert "Amstel-01" not in stations
