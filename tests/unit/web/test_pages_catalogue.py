"""Texts: no page asks for one that is missing, and no text is there for nobody."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel import Locale
from babel.messages.pofile import read_po
from jinja2 import Environment, nodes
from markupsafe import Markup

import chargera.web
from chargera.app.commands import CommandName
from chargera.app.custody import CustodyStep
from chargera.app.log_ports import AnchorState
from chargera.app.passports import Step
from chargera.app.permissions import Role
from chargera.app.settlement import BatchStage, LaneState
from chargera.app.station_tests import ACTION, RUNNING
from chargera.domain.passport import CustodyKind, ProtocolEvidence
from chargera.domain.proof_level import ProofLevel
from chargera.domain.settlement import Rail
from chargera.domain.standard_run import RunOutcome, RunStep, StepOutcome
from chargera.domain.station import ConnectorStatus, ConnectorType
from chargera.domain.tariff import DayOfWeek, Dimension
from chargera.domain.transaction import Anomaly, SessionState
from chargera.proofs.entry import EntryKind
from chargera.proofs.receipt import verify_receipt
from chargera.proofs.steps import StepStatus
from chargera.web.catalogue import LANGUAGES, LOCALES, Texts, choose_language, load_texts
from chargera.web.pages.errors import KINDS
from chargera.web.pages.proof_line import ICONS
from chargera.web.pages.rendering import APPEARANCES, MENU
from chargera.web.pages.search import CHAIN_KINDS
from chargera.web.pages.search import KINDS as KINDS_HERE
from chargera.web.pages.verify import OUTCOMES

WEB = Path(chargera.web.__file__).parent
TEXTS = load_texts("en")

VOCABULARIES: dict[str, list[str]] = {
    "anchor_state": list(AnchorState),
    "anomaly": list(Anomaly),
    "answer": ["signed", "refused", "waiting"],
    "appearance": list(APPEARANCES),
    "attester_state": ["active", "unbonding", "inactive", "slashed"],
    "batch.killed": ["1", "2", "3"],
    "batch.lead": list(BatchStage),
    "batch_part": [
        "holders",
        "host",
        "host_with_vat",
        "vat",
        "fee",
        "ops",
        "reserve",
        "signers",
        "proposer",
        "caller",
    ],
    "batch_state": list(BatchStage),
    "bill_part": ["holders", "host", "fee", "ops"],
    "bill_part_to": ["holders", "host", "fee", "ops"],
    "command": [*CommandName, ACTION],
    "command_hint": list(CommandName),
    "connector": list(ConnectorStatus),
    "custody": list(CustodyKind),
    "custody_step": list(CustodyStep),
    "day": list(DayOfWeek),
    "dimension": list(Dimension),
    "error_next": [*KINDS.values(), "failed", "not_signed_in"],
    "error_title": [*KINDS.values(), "failed", "not_signed_in"],
    "evidence": list(ProtocolEvidence),
    "frame_type": ["call", "result", "error"],
    "id_token_status": ["accepted", "blocked", "concurrenttx", "expired"],
    "kind": list(EntryKind),
    "lane_state": [*LaneState, "off_chain"],
    "menu": [key for key, *_ in MENU],
    "messages": ["in", "out", "only_ok", "only_odd", "frame", "answer"],
    "passport_state": ["pending", "registered", "refused", "retired"],
    "passport_step": list(Step),
    "plug": list(ConnectorType),
    "price_extra": list(Dimension),
    "price_if": ["from_hour", "to_hour", "from_date", "to_date"],
    "price_unit": list(Dimension),
    "proof_level": list(ProofLevel),
    "proof_meaning": list(ProofLevel),
    "proof_why": list(ICONS),
    "rail": list(Rail),
    "role": list(Role),
    "run_state": [RUNNING, *RunOutcome],
    "run_step": list(RunStep),
    "search_example": [*KINDS_HERE, *CHAIN_KINDS],
    "search_kind": [*KINDS_HERE, *CHAIN_KINDS],
    "session.heading": [*SessionState, "parked"],
    "session_settlement": [*LaneState, "off_chain"],
    "session_state": [*SessionState, "parked"],
    "step": [],
    "step_outcome": list(StepOutcome),
    "step_status": [*StepStatus, "reported"],
    "verdict": list(OUTCOMES.values()),
}
"""Texts that are named by a value; the values of each are those of the product's own list."""


def keys_in(source: str) -> set[str]:
    """Every key that a template or module names whole."""
    found = set()
    for call in Environment(autoescape=True).parse(source).find_all(nodes.Call):
        if getattr(call.node, "name", "") == "t" and isinstance(call.args[0], nodes.Const):
            found.add(call.args[0].value)
        if isinstance(call.args[0] if call.args else None, nodes.CondExpr):
            chosen = call.args[0]
            for part in (chosen.expr1, chosen.expr2):
                if isinstance(part, nodes.Const) and getattr(call.node, "name", "") == "t":
                    found.add(part.value)
    return found


def used_keys() -> set[str]:
    used = set()
    for path in (WEB / "templates").rglob("*.html"):
        used |= keys_in(path.read_text())
    for path in (WEB / "pages").glob("*.py"):
        used |= set(re.findall(r"""\b(?:t|texts)\(\s*"([\w.-]+)""", path.read_text()))
    return used


def test_every_text_that_is_named_exists() -> None:
    assert sorted(key for key in used_keys() if not TEXTS.has(key)) == []


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_every_value_of_a_vocabulary_has_its_word(vocabulary: str) -> None:
    values = VOCABULARIES[vocabulary]
    if vocabulary == "step":
        values = [step.step for step in verify_receipt(b"{}", None).steps]
        values += re.findall(r'^    "(\w+)": _check_', receipt_source(), re.MULTILINE)
        assert len(values) > 8
    assert [f"{vocabulary}.{v}" for v in values if not TEXTS.has(f"{vocabulary}.{v}")] == []


def receipt_source() -> str:
    return Path(verify_receipt.__code__.co_filename).read_text()


def test_no_text_is_left_over() -> None:
    named = used_keys()
    source = "".join(p.read_text() for p in (WEB / "pages").glob("*.py"))
    source += "".join(p.read_text() for p in (WEB / "templates").rglob("*.html"))
    values = {f"{name}.{value}" for name, all_of in VOCABULARIES.items() for value in all_of}
    unused = []
    for key in TEXTS.messages:
        last = key.rpartition(".")[2]
        by_value = f'"{key.rpartition(".")[0]}.' in source and re.search(rf"\b{last}\b", source)
        if key not in named | values and not by_value and not key.startswith(("step.", "outcome.")):
            unused.append(key)
    assert unused == []


def test_all_languages_have_the_same_texts() -> None:
    for language in LANGUAGES:
        assert load_texts(language).messages.keys() == TEXTS.messages.keys()
        assert language in LOCALES


def test_values_are_escaped_and_texts_are_not_escaped_twice() -> None:
    said = TEXTS("station.said", station="<b>", power=Markup("<i>1</i>"))
    assert said == "&lt;b&gt;, <i>1</i>"
    assert "“Charging”" in TEXTS("connector.own_word", word="Charging")


def test_a_count_chooses_the_form_and_is_written_as_a_number() -> None:
    assert TEXTS("log.said", count=1) == "1 entry in the log"
    assert TEXTS("log.said", count=12_345) == "12,345 entries in the log"
    assert TEXTS("log.said", count=0) == "0 entries in the log"


def test_a_missing_text_is_an_error() -> None:
    with pytest.raises(KeyError):
        TEXTS("no.such_text")


def test_a_word_from_outside_is_shown_as_it_is() -> None:
    assert TEXTS.word("connector", "Available") == "Available"
    assert TEXTS.word("connector", "Faulted") == "Out of order"
    assert TEXTS.word("connector", "<Melting>") == "&lt;Melting&gt;"


def test_plural_forms_follow_the_language() -> None:
    polish = Texts(
        "pl",
        Locale("pl"),
        {"cars": tuple(map(Markup, ("{count} auto", "{count} auta", "{count} aut")))},
    )
    assert polish("cars", count=1) == "1 auto"
    assert polish("cars", count=3) == "3 auta"
    assert polish("cars", count=5) == "5 aut"


def test_every_language_names_its_own_page() -> None:
    assert TEXTS.tag == "en-GB"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("en-US,en;q=0.9", "en"),
        ("fr, en;q=0.1", "en"),
        ("xx", "en"),
        ("en;q=nonsense", "en"),
    ],
)
def test_the_best_language_is_chosen(accepted: str, language: str) -> None:
    assert choose_language(accepted) == language


def test_a_file_with_an_empty_text_is_refused() -> None:
    from chargera.web import catalogue

    file = BytesIO(b'msgid ""\nmsgstr ""\n\nmsgid "a.b"\nmsgstr ""\n')
    (message,) = [m for m in read_po(file) if m.id]
    with pytest.raises(ValueError, match=r"a\.b has no text"):
        catalogue._forms(message)
