"""Passport files: all by which a stranger recomputes a charger's passport, and the checks over it.

One canonical JSON document: the station's registration, its onboarding, the mint, every custody
record and the standard runs that it passed as they were logged, with proofs under one anchored
head; the host's consent; and where the onboarding was anchored. A byte is either covered by a step
or refused by form.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chargera.domain.errors import ChargEraError, InvalidInput, Unreadable
from chargera.domain.passport import CustodyKind, PassportFacts, protocol_of
from chargera.domain.standard_run import RunOutcome
from chargera.proofs import canonical
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.canonical import INTEGER_LIMIT
from chargera.proofs.chain_values import (
    WORD_BYTES,
    address_text,
    document_address,
    hex_text,
    parse_address,
    parse_hex,
    topic_address,
    topic_of_address,
)
from chargera.proofs.checkpoint import Checkpoint, parse_checkpoint
from chargera.proofs.custody_history import CustodyProof, check_history, read_custody_proof
from chargera.proofs.entry import EntryKind
from chargera.proofs.onboarding import check_station
from chargera.proofs.passport import (
    RegistrationRequest,
    consent_digest,
    metadata_digest,
    parse_metadata,
    passport_domain,
    registration_hash,
    request_of,
)
from chargera.proofs.receipt import ReceiptEntry, ReceiptVerdict, check_order, read_entry
from chargera.proofs.records import custody_record_digest
from chargera.proofs.secp256k1 import SIGNATURE_BYTES, recover
from chargera.proofs.standard_run import read_standard_run
from chargera.proofs.steps import Step, StepStatus
from chargera.proofs.tree import verify_inclusion
from chargera.proofs.trust import Trust

FORMAT = "chargera.passport-file/1"
PASSPORT_FILE_BYTES_MAX = 4 * 2**20
ENTRIES_MAX = 1_000

_MEMBERS = {
    "anchor",
    "chain_id",
    "consent",
    "contract",
    "custody",
    "entries",
    "format",
    "passport_id",
    "sequence_number",
    "topic",
}
_ONE_EACH = (
    EntryKind.STATION_REGISTERED,
    EntryKind.ONBOARDING,
    EntryKind.PASSPORT_REGISTERED,
)
KINDS = frozenset({*_ONE_EACH, EntryKind.CUSTODY, EntryKind.PROTOCOL_TESTED})
"""Kinds of entries that a passport file holds."""

_STRANGE = (KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True)
class PassportFile:
    """A passport file that has passed the form: none of it is believed yet.

    `topic` and `sequence_number` are where the onboarding was anchored, which the registration
    hash names; `anchor` is of the head that the entries are proven under.
    """

    passport_id: bytes
    chain_id: int
    contract: bytes
    consent: bytes
    topic: bytes
    sequence_number: int
    entries: tuple[ReceiptEntry, ...]
    anchor: AnchoredMessage | None
    custody_proofs: tuple[CustodyProof, ...] = ()
    """Who signed each custody record, in their order."""

    @property
    def head(self) -> Checkpoint:
        """The head that the entries are proven under."""
        return parse_checkpoint(self.entries[0].proof.checkpoint)

    def one(self, kind: EntryKind) -> ReceiptEntry:
        """Return the one entry of a kind that there is one of."""
        return next(entry for entry in self.entries if entry.kind is kind)

    @property
    def custody(self) -> list[ReceiptEntry]:
        """The custody records in their order."""
        return [entry for entry in self.entries if entry.kind is EntryKind.CUSTODY]

    @property
    def tests(self) -> list[ReceiptEntry]:
        """The standard runs in their order."""
        return [entry for entry in self.entries if entry.kind is EntryKind.PROTOCOL_TESTED]

    @property
    def request(self) -> RegistrationRequest:
        """What was asked of the contract, by the onboarding's record."""
        onboarding = self.one(EntryKind.ONBOARDING)
        record = onboarding.record
        return request_of(
            parse_metadata(record["metadata"]),
            host=parse_address(record["host"], field="host"),
            commission_bps=record["commission_bps"],
            meter_key_hash=parse_hex(record["meter_key_hash"], WORD_BYTES, field="meter_key_hash"),
            station_key_hash=parse_hex(
                record["station_key_hash"], WORD_BYTES, field="station_key_hash"
            ),
            nonce=parse_hex(record["nonce"], WORD_BYTES, field="nonce"),
            topic=self.topic,
            sequence_number=self.sequence_number,
            log_index=onboarding.proof.index,
        )


@dataclass(frozen=True, slots=True)
class ChainPassport:
    """What a chain says of a passport; `fault`: why there is no answer, if there is none.

    `custody`: kind, digest, log index and value of each custody record; `recorded_by`: their
    transactions; `owners`: of the NFT, the first one first.
    """

    source: str
    facts: PassportFacts | None
    custody: Sequence[tuple[CustodyKind, bytes, int, bytes]] = ()
    fault: str | None = None
    recorded_by: Sequence[str] = ()
    owners: Sequence[str] = ()


def passport_file_document(file: PassportFile) -> dict[str, Any]:
    """Return a passport file as JSON values."""
    return {
        "anchor": None if file.anchor is None else dict(file.anchor.to_json()),
        "chain_id": file.chain_id,
        "consent": hex_text(file.consent),
        "contract": address_text(file.contract),
        "custody": [proof.to_json() for proof in file.custody_proofs],
        "entries": [entry.to_json() for entry in file.entries],
        "format": FORMAT,
        "passport_id": hex_text(file.passport_id),
        "sequence_number": file.sequence_number,
        "topic": topic_of_address(file.topic),
    }


def parse_passport_file(data: bytes) -> PassportFile:
    """Read a passport file; Unreadable for whatever is not exactly of its form."""
    if len(data) > PASSPORT_FILE_BYTES_MAX:
        raise Unreadable(f"a passport file has at most {PASSPORT_FILE_BYTES_MAX} bytes")
    document = canonical.decode(data)
    if not isinstance(document, dict) or document.keys() != _MEMBERS:
        raise Unreadable(f"a passport file has exactly the members {', '.join(sorted(_MEMBERS))}")
    if document["format"] != FORMAT:
        raise Unreadable(f"the format is not {FORMAT}", field="format")
    for name in ("chain_id", "sequence_number"):
        number = document[name]
        if type(number) is not int or not 0 < number < INTEGER_LIMIT:
            raise Unreadable("not a number that counts from 1", field=name)
    rows, topic, anchor = document["entries"], document["topic"], document["anchor"]
    if not isinstance(rows, list) or not 0 < len(rows) <= ENTRIES_MAX:
        raise Unreadable(f"not a list of 1 to {ENTRIES_MAX} entries", field="entries")
    entries = tuple(read_entry(row, f"entries[{n}]", KINDS) for n, row in enumerate(rows))
    check_order(entries)
    parse_checkpoint(entries[0].proof.checkpoint)
    kinds = [entry.kind for entry in entries]
    for kind in _ONE_EACH:
        if kinds.count(kind) != 1:
            raise Unreadable(f"must have exactly one {kind} entry", field="entries")
    proofs = document["custody"]
    if not isinstance(proofs, list) or len(proofs) != kinds.count(EntryKind.CUSTODY):
        raise Unreadable("not one proof for each custody entry", field="custody")
    return PassportFile(
        passport_id=parse_hex(document["passport_id"], WORD_BYTES, field="passport_id"),
        chain_id=document["chain_id"],  # type: ignore[arg-type]  # seen above to be an integer
        contract=document_address(document["contract"], field="contract"),
        consent=parse_hex(document["consent"], SIGNATURE_BYTES, field="consent"),
        topic=_topic(topic),
        sequence_number=document["sequence_number"],  # type: ignore[arg-type]  # likewise
        entries=entries,
        anchor=None if anchor is None else AnchoredMessage.from_json(anchor),
        custody_proofs=tuple(
            read_custody_proof(row, f"custody[{n}]") for n, row in enumerate(proofs)
        ),
    )


def verify_passport_file(
    data: bytes, trust: Trust | None, chain: ChainPassport | None = None
) -> ReceiptVerdict:
    """Check a passport file from form to chain. Nothing is raised.

    `trust` None: what needs trust is pending. `chain`: what the chain says; None: not asked.
    """
    try:
        file = parse_passport_file(data)
    except (ChargEraError, RecursionError) as error:
        message = error.message if isinstance(error, ChargEraError) else "nested too deep"
        return ReceiptVerdict((Step("form", StepStatus.FAILED, message),))
    steps = [Step("form", StepStatus.OK, "canonical, complete, nothing unknown in it")]
    for name, check in _CHECKS.items():
        try:
            status, detail = check(file, trust, chain)
        except ChargEraError as error:
            status, detail = StepStatus.FAILED, error.message
        except _STRANGE as error:
            # A record that was logged in another shape than its kind has.
            status, detail = StepStatus.FAILED, f"a record lacks or misstates {error}"
        steps.append(Step(name, status, detail))
    return ReceiptVerdict(tuple(steps))


_Finding = tuple[StepStatus, str]


def _check_signature(file: PassportFile, trust: Trust | None, _: object) -> _Finding:
    if trust is None:
        return StepStatus.PENDING, "no trust file was given: pass --trust, from a trusted place"
    first = file.entries[0]
    head = first.proof.verify(first.leaf_hash, trust.origin, trust.log_keys)
    return StepStatus.OK, f"{head.origin} signed a head of {head.size} entries with a trusted key"


def _check_inclusion(file: PassportFile, trust: Trust | None, _: object) -> _Finding:
    head = file.head
    for entry in file.entries:
        verify_inclusion(
            entry.leaf_hash, entry.proof.index, head.size, entry.proof.path, head.root_hash
        )
    count = len(file.entries)
    return StepStatus.OK, f"{count} entries, each opened by its salt, stand in that head"


def _check_metadata(file: PassportFile, trust: Trust | None, _: object) -> _Finding:
    """The metadata is of the registered station, and of this passport."""
    onboarding = file.one(EntryKind.ONBOARDING)
    station = file.one(EntryKind.STATION_REGISTERED)
    check_station(station.record, onboarding.record)
    of_station = {entry.station for entry in file.entries}
    if of_station != {station.record["station_id"]}:
        return StepStatus.FAILED, "an entry is of another station"
    metadata = parse_metadata(onboarding.record["metadata"])
    if hex_text(metadata.token_id) != onboarding.record["passport_id"]:
        return StepStatus.FAILED, "the onboarding names another passport"
    if metadata.token_id != file.passport_id:
        return StepStatus.FAILED, "not the passport of that manufacturer and serial number"
    return StepStatus.OK, f"its digest is {hex_text(metadata_digest(metadata))}"


def _check_registration_hash(file: PassportFile, trust: Trust | None, _: object) -> _Finding:
    """The hash that the passport carries for ever follows from what was logged."""
    request, domain = file.request, passport_domain(file.chain_id, file.contract)
    recomputed = hex_text(registration_hash(request, domain))
    record = file.one(EntryKind.PASSPORT_REGISTERED).record
    if (record["passport_id"], record["registration_hash"]) != (
        hex_text(file.passport_id),
        recomputed,
    ):
        return StepStatus.FAILED, f"recomputed it is {recomputed}"
    if trust is not None and trust.chain is not None:
        trusted = trust.chain.chain_id, trust.chain.contracts.get("ChargerPassport")
        if (file.chain_id, file.contract) != trusted:
            return StepStatus.FAILED, "the passport is of another chain or contract"
    return StepStatus.OK, f"recomputed: {recomputed}"


def _check_consent(file: PassportFile, trust: Trust | None, _: object) -> _Finding:
    request, domain = file.request, passport_domain(file.chain_id, file.contract)
    if recover(consent_digest(request, domain), file.consent) != request.host:
        return StepStatus.FAILED, "the host did not sign this consent"
    host, bps = address_text(request.host), request.commission_bps
    return StepStatus.OK, f"the host {host} agreed to it, for {bps / 100:g} % of each bill"


def _check_custody(file: PassportFile, trust: Trust | None, _: object) -> _Finding:
    """Its custody records are without a hole, each agreed to by its host and attested."""
    custody = list(zip(file.custody, file.custody_proofs, strict=True))
    if not custody:
        return StepStatus.NOT_ASKED, "nothing has changed since it was registered"
    domain = passport_domain(file.chain_id, file.contract)
    return StepStatus.OK, check_history(custody, file.passport_id, file.request.host, domain, trust)


def _check_protocols(file: PassportFile, trust: Trust | None, _: object) -> _Finding:
    """Each standard run that is in the file is one that this station passed, step by step."""
    station_id = file.one(EntryKind.STATION_REGISTERED).record["station_id"]
    tested: list[str] = []
    for entry in file.tests:
        run = read_standard_run(entry.record)
        if run.station_id != station_id or run.outcome is not RunOutcome.PASSED:
            return StepStatus.FAILED, f"entry {entry.proof.index} is no test that it passed"
        tested.append(f"{protocol_of(run.ocpp_version)} (entry {entry.proof.index})")
    if not tested:
        return StepStatus.NOT_ASKED, "no standard run is claimed: protocols are declared"
    return StepStatus.OK, f"tested: {', '.join(tested)}"


def _check_anchor(file: PassportFile, trust: Trust | None, _: object) -> _Finding:
    anchor = file.anchor
    if anchor is None:
        return StepStatus.PENDING, "not anchored yet: ask for the file again later"
    if anchor.message != file.entries[0].proof.checkpoint:
        return StepStatus.FAILED, "the topic message is not this head"
    anchor.check()
    if trust is not None and trust.topics is not None:
        topic = trust.topic_of(anchor.topic_id, file.head.size)
        if topic is None or topic.payer != anchor.payer_account_id:
            return StepStatus.FAILED, f"topic {anchor.topic_id} or its payer is not trusted"
    return StepStatus.OK, f"message {anchor.sequence_number} of topic {anchor.topic_id}"


def _check_chain(file: PassportFile, trust: Trust | None, answer: ChainPassport | None) -> _Finding:
    """The chain has the same passport, with the same history."""
    if answer is None:
        return StepStatus.NOT_ASKED, "the chain was not asked: pass --rpc"
    if answer.fault is not None:
        return StepStatus.PENDING, f"{answer.source}: {answer.fault}"
    facts, request = answer.facts, file.request
    registered = file.one(EntryKind.PASSPORT_REGISTERED).record["registration_hash"]
    if facts is None or hex_text(facts.registration_hash) != registered:
        return StepStatus.FAILED, "the chain has no passport with this registration hash"
    if (facts.metadata_digest, facts.rated_w) != (request.metadata_digest, request.rated_w):
        return StepStatus.FAILED, "the chain has other facts of it"
    logged = [_on_chain(entry) for entry in file.custody]
    if list(answer.custody[: len(logged)]) != logged:
        return StepStatus.FAILED, "the chain has another custody history"
    if len(answer.custody) > len(logged):
        return StepStatus.PENDING, "the chain has later custody records: ask for the file again"
    detail = f"the same on chain according to {answer.source}"
    if answer.recorded_by:
        detail += f"; custody by {', '.join(answer.recorded_by)}"
    if answer.owners:
        detail += f"; NFT owned by {' then '.join(answer.owners)}"
    return StepStatus.OK, detail


def _on_chain(entry: ReceiptEntry) -> tuple[CustodyKind, bytes, int, bytes]:
    record: Mapping[str, Any] = entry.record
    value = parse_hex(record["value"], WORD_BYTES, field="value")
    digest = custody_record_digest(record)
    return CustodyKind(record["kind"]), digest, entry.proof.index, value


def _topic(value: object) -> bytes:
    if not isinstance(value, str):
        raise Unreadable("not text", field="topic")
    try:
        return topic_address(value)
    except InvalidInput as error:
        raise Unreadable(error.message, field="topic") from None


_CHECKS: dict[str, Callable[[PassportFile, Trust | None, ChainPassport | None], _Finding]] = {
    "signature": _check_signature,
    "inclusion": _check_inclusion,
    "metadata": _check_metadata,
    "registration_hash": _check_registration_hash,
    "consent": _check_consent,
    "custody": _check_custody,
    "protocols": _check_protocols,
    "anchor": _check_anchor,
    "passport_on_chain": _check_chain,
}
