"""The judgement of an attester on a batch: sign it, or refuse and name the record and the reason.

A pure function of what he has gathered himself: the batch, the records and readings that the
operator's feed showed him, entries of the public log, the head as it was anchored, what the chain
says, and what he has signed before. He signs only what no challenge can ever hold against him.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

from chargera.domain.errors import ChargEraError
from chargera.domain.passport import PassportFacts
from chargera.domain.policy import AssetPolicy, PolicyVersion, version_at
from chargera.domain.settlement import (
    DAY_S,
    OVERLAP_TOLERANCE_S,
    RATE_UNIT,
    Rail,
    RateBounds,
    ceiling_of,
    energy_limit_wh,
    exposure_of_signer,
    in_asset,
    in_c4e,
    overlap_s,
)
from chargera.domain.transaction import FUTURE_TOLERANCE
from chargera.domain.word import Word
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.chain_values import (
    ZERO_ADDRESS,
    address_text,
    hex_text,
    parse_address,
    parse_hex,
)
from chargera.proofs.checkpoint import Checkpoint
from chargera.proofs.entry import EntryKind
from chargera.proofs.evidence import LoggedRecord, Opened, anchored_head, session_receipt, try_open
from chargera.proofs.keccak import keccak256
from chargera.proofs.passport import key_hash, token_id
from chargera.proofs.receipt import check_session
from chargera.proofs.secp256k1 import recover
from chargera.proofs.settlement import (
    Batch,
    Leaf,
    batch_digest,
    escrow_id,
    leaf_of_cdr,
    leaf_words,
)
from chargera.proofs.steps import StepStatus
from chargera.proofs.trust import Trust

ESCROW_AGE_S_MAX = 7 * DAY_S
"""No session may start on an escrow that is older: its payer could have it back before it ends."""

CLOCK_S_MAX = FUTURE_TOLERANCE // timedelta(seconds=1)
"""How far a station's clock may be behind the chain's: its time stands in the bill all the same."""

_STRANGE = (KeyError, TypeError, ValueError, AttributeError)
"""What a record of another shape than its kind has may raise."""


class Reason(Word):
    """Why a batch is not signed."""

    FORM = "form"
    OPERATOR = "operator"
    CHAIN = "chain"
    EXPIRED = "expired"
    NOT_ANCHORED = "not_anchored"
    RATE = "rate"
    MISSING = "missing"
    RECORD = "record"
    BILL = "bill"
    LEAF = "leaf"
    NUMBER = "number"
    HOLE = "hole"
    LANE = "lane"
    PASSPORT = "passport"
    IMPOSSIBLE = "impossible"
    POLICY = "policy"
    CEILING = "ceiling"
    SESSION_KEY = "session_key"
    OVERLAP = "overlap"
    CONTRADICTION = "contradiction"
    SETTLED = "settled"
    ESCROW = "escrow"
    GATEWAY = "gateway"
    BOND = "bond"


@dataclass(frozen=True, slots=True)
class Decision:
    """What an attester does with a batch; `record` is the log index of what he objects to."""

    digest: bytes
    reason: Reason | None = None
    record: int | None = None
    detail: str = ""

    @property
    def signed(self) -> bool:
        """Whether he signs."""
        return self.reason is None

    def as_dict(self) -> dict[str, object]:
        """Return the line that `attest` prints."""
        return {
            "batch": hex_text(self.digest),
            "decision": "signed" if self.signed else "refused",
            "reason": None if self.reason is None else f"{self.reason}: {self.detail}",
            "record": self.record,
        }


@dataclass(frozen=True, slots=True)
class PassportOnChain:
    """A passport's facts now, and who operated it from when (Unix seconds, in order).

    `meters`: the hash of each meter's key that came after the one that it was registered with.
    """

    facts: PassportFacts
    operators: tuple[tuple[int, str], ...]
    meters: tuple[tuple[int, bytes], ...] = ()

    def operator_at(self, time: int) -> str | None:
        """Return the operator in force at a time, None before the registration."""
        return next((who for since, who in reversed(self.operators) if since <= time), None)

    def has_meter(self, meter: bytes, start: int) -> bool:
        """Say whether a session that began then can have been metered by the one with that hash.

        By the one that was recorded last, or by one whose record came later: it is there already
        while its record is under way. Of the time before the first exchange the chain has
        forgotten the key.
        """
        if not self.meters:
            return meter == self.facts.meter_key_hash
        before = [key for since, key in self.meters if since <= start]
        after = [key for since, key in self.meters if since > start]
        return not before or meter in (before[-1], *after)


@dataclass(frozen=True, slots=True)
class EscrowOnChain:
    """An escrow: its asset (20 bytes), the most that may be drawn, when it was opened."""

    asset: bytes
    maximum: int
    opened_at: int


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """What the chain says now of all that a batch rests on.

    `gateway_free`: what the batch's gateway has not locked, in its asset. `settled`: those of the
    batch's numbers that are paid or disputed. `bond_left`: what this attester's bond covers beyond
    what he stands for already, `quorum`: how many will share it; amounts in C4E.
    """

    chain_id: int
    hub: bytes
    c4e: bytes
    now: int
    policies: Sequence[PolicyVersion]
    passports: Mapping[bytes, PassportOnChain]
    escrows: Mapping[bytes, EscrowOnChain]
    gateway_free: int
    settled: frozenset[int]
    rate_bounds: RateBounds
    bond_left: int
    quorum: int


@dataclass(frozen=True, slots=True)
class SignedLeaf:
    """A leaf that this attester signed before, under this operator; also those of dead batches."""

    asset: bytes
    passport: bytes
    leaf: Leaf

    @property
    def identity(self) -> bytes:
        """What the leaf says whatever batch it stands in."""
        return leaf_identity(self.leaf, self.passport)


@dataclass(frozen=True, slots=True)
class SessionEvidence:
    """What the feed shows of one leaf's session.

    `records`: those of the session up to its CDR, its station's registration, its tariff, its
    passport's registration, its payment, and the CDR with the lane's number before it; in the
    order of the log. `rows`: its readings as a receipt has them, as many as the CDR committed to.
    """

    records: tuple[LoggedRecord, ...]
    rows: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class BatchEvidence:
    """What an attester holds of one batch.

    `head` is the signed note that the leaves stand under, `anchor` the topic message as mirrors
    showed it (None: none has it), `sessions` by the log index of the leaf's CDR.
    """

    batch: Batch
    gateway_signature: bytes | None
    head: bytes
    anchor: AnchoredMessage | None
    sessions: Mapping[int, SessionEvidence]


class _RefusedError(Exception):
    def __init__(self, reason: Reason, detail: str, record: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.record = record


def judge_batch(
    evidence: BatchEvidence, chain: ChainFacts, trust: Trust, signed: Sequence[SignedLeaf] = ()
) -> Decision:
    """Decide on a batch. Nothing is raised; the first thing that is wrong is the reason."""
    digest = batch_digest(evidence.batch, chain.chain_id, chain.hub)
    try:
        _Judge(evidence, chain, trust, signed, digest).judge()
    except _RefusedError as error:
        return Decision(digest, error.reason, error.record, error.detail)
    return Decision(digest)


def leaf_identity(leaf: Leaf, passport: bytes) -> bytes:
    """Return what the registry compares leaves by: their words, the passport's id for its place."""
    words = bytearray(leaf_words(leaf))
    words[_PASSPORT_PLACE] = 0
    return keccak256(bytes(words) + passport)


_PASSPORT_PLACE = 96 + 22
"""The byte of the meter word that holds the place of the passport in its batch's table."""


def onboarding_identification(nonce: bytes) -> str:
    """Return the identification by which a meter signs for an onboarding: 1 to 20 characters.

    The nonce as text where it is such text, padded with zeros; else its first ten bytes in hex.
    """
    text = nonce.rstrip(b"\0")
    if 0 < len(text) <= 20 and text.isalnum():
        return text.decode("ascii")
    return nonce[:10].hex().upper()


class _Judge:
    """One batch under judgement; every method returns if all is well."""

    def __init__(
        self,
        evidence: BatchEvidence,
        chain: ChainFacts,
        trust: Trust,
        signed: Sequence[SignedLeaf],
        digest: bytes,
    ) -> None:
        self._evidence = evidence
        self._batch = evidence.batch
        self._chain = chain
        self._trust = trust
        self._signed = signed
        self._digest = digest

    def judge(self) -> None:
        self._check_form()
        self._check_place()
        head = self._anchored_head()
        self._check_rate()
        for leaf in self._batch.leaves:
            _Case(self._evidence, self._chain, self._trust, head, leaf).judge()
        self._check_apart()
        self._check_memory()
        self._check_cover()

    def _check_form(self) -> None:
        batch = self._batch
        leaves = batch.leaves
        used = {leaf.passport_index for leaf in leaves}
        faults = {
            "no leaves": not leaves,
            "passports are not each once, in ascending order": any(
                one >= other for one, other in pairwise(batch.passports)
            ),
            "a passport without a leaf, or a leaf without one": used
            != set(range(len(batch.passports))),
            "a number twice": len({leaf.cdr_no for leaf in leaves}) != len(leaves),
            "a health report, for which there is no rule": bool(batch.health),
            "nobody is its proposer": batch.proposer == ZERO_ADDRESS,
            "fiat_total is not the sum of its fiat leaves": batch.fiat_total
            != batch.total_of(Rail.FIAT),
            "a gateway and fiat leaves go together": (batch.gateway != ZERO_ADDRESS)
            != any(leaf.rail is Rail.FIAT for leaf in leaves),
        }
        for fault, is_so in faults.items():
            if is_so:
                raise _RefusedError(Reason.FORM, fault)

    def _check_place(self) -> None:
        """This network's operator, this chain, and still time to propose it."""
        batch, trusted = self._batch, self._trust.chain
        if batch.operator_id != self._trust.operator_id:
            raise _RefusedError(Reason.OPERATOR, f"{batch.operator_id} is not trusted")
        hub = trusted and trusted.contracts.get("SettlementHub")
        if trusted is None or (trusted.chain_id, hub) != (self._chain.chain_id, self._chain.hub):
            raise _RefusedError(Reason.CHAIN, "the trust file names another chain or hub")
        if batch.valid_until < self._chain.now:
            raise _RefusedError(Reason.EXPIRED, "it can no longer be proposed")

    def _anchored_head(self) -> Checkpoint:
        """Return the head if a trusted topic has it in the message that the batch names."""
        batch, evidence = self._batch, self._evidence
        try:
            found = anchored_head(evidence.head, evidence.anchor, self._trust)
        except ChargEraError as error:
            raise _RefusedError(Reason.NOT_ANCHORED, error.message) from None
        head = found.head
        if (head.root_hash, head.size, found.topic, found.sequence_number) != (
            batch.checkpoint,
            batch.tree_size,
            batch.topic,
            batch.sequence_number,
        ):
            raise _RefusedError(Reason.NOT_ANCHORED, "the batch names another head or message")
        return head

    def _check_rate(self) -> None:
        """The policy's rate of the asset, as near to the lane's last one as it may be."""
        batch, chain = self._batch, self._chain
        if batch.asset == chain.c4e:
            due = RATE_UNIT
        else:
            version = version_at(chain.policies, chain.now)
            row = None if version is None else version.asset_of(batch.asset)
            if row is None:
                raise _RefusedError(Reason.RATE, "the policy does not list the asset")
            bounds = chain.rate_bounds
            due = min(max(row.c4e_rate, bounds.least), bounds.most)
        if batch.c4e_rate != due:
            raise _RefusedError(Reason.RATE, f"the rate is {batch.c4e_rate}, due is {due}")

    def _check_apart(self) -> None:
        """No two leaves of the batch can be one session, or two at one EVSE at a time."""
        leaves = self._batch.leaves
        for place, leaf in enumerate(leaves):
            for other in leaves[:place]:
                _check_apart(leaf, self._passport(leaf), other, self._passport(other))

    def _check_memory(self) -> None:
        """Nothing signed before stands against a leaf: that is what bonds are lost for."""
        batch = self._batch
        for leaf in batch.leaves:
            passport = self._passport(leaf)
            for before in self._signed:
                same_lane = before.asset == batch.asset
                if same_lane and before.leaf.cdr_no == leaf.cdr_no:
                    if before.identity != leaf_identity(leaf, passport):
                        raise _RefusedError(
                            Reason.CONTRADICTION,
                            f"another leaf was signed as number {leaf.cdr_no}",
                            leaf.log_index,
                        )
                else:
                    _check_apart(leaf, passport, before.leaf, before.passport)

    def _check_cover(self) -> None:
        """Who pays can pay, and this attester can answer for it."""
        batch, chain = self._batch, self._chain
        for leaf in batch.leaves:
            if leaf.cdr_no in chain.settled:
                detail = f"number {leaf.cdr_no} is settled already"
                raise _RefusedError(Reason.SETTLED, detail, leaf.log_index)
        if batch.gateway != ZERO_ADDRESS:
            self._check_gateway()
        exposure = exposure_of_signer(batch.total_of(Rail.WALLET), batch.c4e_rate, chain.quorum)
        if exposure > chain.bond_left:
            raise _RefusedError(Reason.BOND, f"its wallets would put {exposure} C4E units at stake")

    def _check_gateway(self) -> None:
        batch, signature = self._batch, self._evidence.gateway_signature
        try:
            signer = recover(self._digest, signature or b"")
        except ChargEraError as error:
            raise _RefusedError(Reason.GATEWAY, error.message) from None
        if signer != batch.gateway:
            raise _RefusedError(Reason.GATEWAY, "not signed by the gateway")
        if batch.fiat_total > self._chain.gateway_free:
            detail = f"{address_text(batch.gateway)} has not prepaid {batch.fiat_total}"
            raise _RefusedError(Reason.GATEWAY, detail)

    def _passport(self, leaf: Leaf) -> bytes:
        return self._batch.passports[leaf.passport_index]


def _check_apart(leaf: Leaf, passport: bytes, other: Leaf, other_passport: bytes) -> None:
    if leaf.session_key == other.session_key:
        detail = f"shares its session key with entry {other.log_index}"
        raise _RefusedError(Reason.SESSION_KEY, detail, leaf.log_index)
    if (passport, leaf.evse) != (other_passport, other.evse):
        return
    if overlap_s(leaf.start, leaf.end, other.start, other.end) > OVERLAP_TOLERANCE_S:
        detail = f"overlaps the session of entry {other.log_index} on its EVSE"
        raise _RefusedError(Reason.OVERLAP, detail, leaf.log_index)


class _Case:
    """One leaf under judgement, with the records of its session."""

    def __init__(
        self,
        evidence: BatchEvidence,
        chain: ChainFacts,
        trust: Trust,
        head: Checkpoint,
        leaf: Leaf,
    ) -> None:
        self._head = head
        self._note = evidence.head
        self._batch = evidence.batch
        self._chain = chain
        self._trust = trust
        self._leaf = leaf
        self._passport = evidence.batch.passports[leaf.passport_index]
        session = evidence.sessions.get(leaf.log_index)
        if session is None:
            raise self._no(Reason.MISSING, "the feed does not show its records")
        self._rows = session.rows
        self._opened = [self._open(logged) for logged in session.records]
        if any(one.index >= other.index for one, other in pairwise(self._opened)):
            raise self._no(Reason.MISSING, "its records are not in the order of the log")
        self._cdr = self._one(
            lambda one: one.kind is EntryKind.CDR and one.index == leaf.log_index, "CDR"
        )

    def judge(self) -> None:
        checks: Sequence[Callable[[], None]] = (
            self._check_bill,
            self._check_leaf,
            self._check_number,
            self._check_passport,
            self._check_policy,
            self._check_payment,
        )
        for check in checks:
            try:
                check()
            except ChargEraError as error:
                raise self._no(Reason.RECORD, error.message) from None
            except _STRANGE as error:
                raise self._no(Reason.RECORD, f"a record lacks or misstates {error}") from None

    def _open(self, logged: LoggedRecord) -> Opened:
        opened = try_open(logged, self._head)
        if isinstance(opened, str):
            raise _RefusedError(Reason.RECORD, opened, logged.index)
        return opened

    def _check_bill(self) -> None:
        """The session's first bill follows from its records and readings."""
        record = self._cdr.record
        if record["replaces"] is not None:
            raise self._no(Reason.NUMBER, "not the session's first CDR")
        session_id = record["session_id"]
        before = [
            one
            for one in self._opened
            if one.index <= self._cdr.index and not self._is_of_another(one, session_id)
        ]
        for kind in (EntryKind.STATION_REGISTERED, EntryKind.TARIFF_PUBLISHED):
            if sum(one.kind is kind for one in before) != 1:
                raise self._no(Reason.MISSING, f"the feed does not show its one {kind} entry")
        receipt = session_receipt(session_id, before, self._rows, self._note)
        for step in check_session(receipt, self._trust):
            if step.status is StepStatus.FAILED:
                raise self._no(Reason.BILL, f"{step.step}: {step.detail}")
            if step.status is StepStatus.PENDING:
                raise self._no(Reason.MISSING, f"{step.step}: {step.detail}")

    def _is_of_another(self, one: Opened, session_id: str) -> bool:
        """The CDR with the number before is shown too, and belongs to another session."""
        return one.kind is EntryKind.CDR and one.record["session_id"] != session_id

    def _check_leaf(self) -> None:
        leaf = leaf_of_cdr(
            self._cdr.record, self._cdr.index, self._cdr.entry, self._leaf.passport_index
        )
        if leaf is None:
            raise self._no(Reason.LEAF, "the CDR is not one that is settled on chain")
        if leaf != self._leaf:
            raise self._no(Reason.LEAF, "the leaf is not what its CDR says")
        terms = self._terms
        if (terms["chain_id"], parse_address(terms["hub"], field="hub")) != (
            self._chain.chain_id,
            self._chain.hub,
        ):
            raise self._no(Reason.CHAIN, "the CDR is to be settled on another chain")
        if parse_hex(terms["passport_id"], field="passport_id") != self._passport:
            raise self._no(Reason.PASSPORT, "the CDR names another passport")

    def _check_number(self) -> None:
        """Numbers of a lane are dense: the one before stands in the log before this one."""
        number = self._leaf.cdr_no
        if number == 0:
            return
        for one in self._opened:
            if one.kind is EntryKind.CDR and one.index < self._cdr.index:
                terms = one.record.get("settlement") or {}
                lane = (one.record["operator_id"], terms.get("asset"))
                if terms.get("cdr_no") == number - 1 and lane == self._lane:
                    return
        raise self._no(Reason.HOLE, f"the lane's number {number - 1} is not shown before it")

    def _check_passport(self) -> None:
        """The station's own passport, registered in the log and on chain when the session ended."""
        [record] = [one.record for one in self._opened if one.kind is EntryKind.STATION_REGISTERED]
        if token_id(record["manufacturer"], record["serial_number"]) != self._passport:
            raise self._no(Reason.PASSPORT, "not the passport of its station")
        self._one(
            lambda one: (
                one.kind is EntryKind.PASSPORT_REGISTERED
                and one.index < self._cdr.index
                and one.record["passport_id"] == hex_text(self._passport)
            ),
            "registration of the passport",
        )
        leaf, on_chain = self._leaf, self._chain.passports.get(self._passport)
        if on_chain is None or not on_chain.facts.earns_at(leaf.end):
            raise self._no(Reason.PASSPORT, "not registered, or retired, when the session ended")
        if on_chain.operator_at(leaf.end) != self._batch.operator_id:
            raise self._no(Reason.PASSPORT, "another operator's when the session ended")
        if not on_chain.has_meter(key_hash(record["meter_key"]), leaf.start):
            raise self._no(Reason.PASSPORT, "metered by a meter that the passport does not have")
        # Strictly: what happens on chain in this second may still change who operated it then.
        if not leaf.start < leaf.end < self._chain.now:
            raise self._no(Reason.IMPOSSIBLE, "ends at or before its start, or not before now")
        if leaf.import_wh > energy_limit_wh(on_chain.facts.rated_w, leaf.end - leaf.start):
            raise self._no(Reason.IMPOSSIBLE, f"{leaf.import_wh} Wh are more than it can give")

    def _check_policy(self) -> None:
        """Amounts and ceilings are those of the policy in force at the start."""
        leaf, bill = self._leaf, self._cdr.record["bill"]
        version = version_at(self._chain.policies, leaf.start)
        if version is None or version.number != leaf.policy_version:
            raise self._no(Reason.POLICY, "not the policy in force when the session began")
        row = version.asset_of(self._batch.asset)
        stands_for = version.asset_for(bill["currency"])
        if row is None or stands_for is None or row.currency not in (None, bill["currency"]):
            raise self._no(Reason.LANE, f"the asset does not settle bills in {bill['currency']}")
        due = [self._due(bill[name], bill, row, stands_for) for name in ("net_minor", "vat_minor")]
        if [leaf.amount, leaf.vat] != due:
            raise self._no(Reason.LEAF, "its amounts are not those of its bill")
        rate = None if row.currency else str(stands_for.c4e_rate)
        if self._terms["c4e_rate"] != rate:
            raise self._no(Reason.RATE, "not the rate of the policy", self._cdr.index)
        if leaf.amount > ceiling_of(row.ceilings, leaf.import_wh, leaf.end - leaf.start):
            raise self._no(Reason.CEILING, "more than the policy lets a bill ask for")

    def _due(
        self, minor: int, bill: Mapping[str, Any], row: AssetPolicy, stands_for: AssetPolicy
    ) -> int:
        if row.currency is not None:
            return in_asset(minor, bill["currency"], row.decimals)
        amount = in_asset(minor, bill["currency"], stands_for.decimals)
        return in_c4e(amount, stands_for.c4e_rate)

    def _check_payment(self) -> None:
        """The lane is the payment's: the escrow's asset, or the one that the gateway prepays."""
        leaf, key = self._leaf, hex_text(self._leaf.session_key)
        payment = self._one(
            lambda one: (
                one.kind is EntryKind.PAYMENT
                and one.index < self._cdr.index
                and one.record["session_key"] == key
            ),
            "payment",
        )
        record = payment.record
        if (record["rail"], record["asset"]) != (str(leaf.rail), self._terms["asset"]):
            raise self._no(Reason.LANE, "paid on another rail or in another asset", payment.index)
        if self._lane != (self._batch.operator_id, address_text(self._batch.asset)):
            raise self._no(Reason.LANE, "its CDR has its number in another lane")
        if leaf.rail is Rail.WALLET:
            if record["payer"] != address_text(leaf.payer):
                raise self._no(Reason.ESCROW, "another payer opened its escrow", payment.index)
            self._check_escrow()
        elif record["gateway"] != address_text(self._batch.gateway):
            raise self._no(Reason.GATEWAY, "another gateway prepays it", payment.index)

    def _check_escrow(self) -> None:
        leaf = self._leaf
        escrow = self._chain.escrows.get(
            escrow_id(leaf.payer, self._batch.operator_id, leaf.session_key)
        )
        if escrow is None or escrow.asset != self._batch.asset:
            raise self._no(Reason.ESCROW, "there is no such escrow in the asset")
        if leaf.amount + leaf.vat > escrow.maximum:
            raise self._no(Reason.ESCROW, f"asks for more than the maximum, {escrow.maximum}")
        if not -CLOCK_S_MAX <= leaf.start - escrow.opened_at <= ESCROW_AGE_S_MAX:
            raise self._no(Reason.ESCROW, "did not start in the 7 days after its escrow was opened")

    @property
    def _terms(self) -> Mapping[str, Any]:
        terms: Mapping[str, Any] = self._cdr.record["settlement"]
        return terms

    @property
    def _lane(self) -> tuple[str, str]:
        return self._cdr.record["operator_id"], self._terms["asset"]

    def _one(self, is_it: Callable[[Opened], bool], what: str) -> Opened:
        for one in self._opened:
            if is_it(one):
                return one
        raise self._no(Reason.MISSING, f"the feed does not show its {what}")

    def _no(self, reason: Reason, detail: str, record: int | None = None) -> _RefusedError:
        return _RefusedError(reason, detail, self._leaf.log_index if record is None else record)
