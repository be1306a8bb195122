"""Leaves and batches: what attesters sign of bills, in the words that the contracts hash.

A leaf is what one CDR asks the hub to pay, a batch the leaves of one operator in one asset. The
batch's EIP-712 digest is its identity, and what attesters and the payment gateway sign.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.domain.proof_level import ProofLevel
from chargera.domain.settlement import LEAVES_MAX, Rail
from chargera.proofs.chain_values import (
    ADDRESS_BYTES,
    WORD_BYTES,
    ZERO_ADDRESS,
    operator_word,
    parse_address,
    parse_hex,
)
from chargera.proofs.eip712 import (
    Domain,
    address_word,
    array_word,
    bytes_word,
    struct_hash,
    typed_digest,
    uint_word,
)
from chargera.proofs.keccak import keccak256
from chargera.proofs.records import time_value
from chargera.proofs.tree import leaf_hash

LEAF_BYTES = 4 * WORD_BYTES
SESSION_KEY_BYTES = 16
SIGNERS_MAX = 112
"""Attesters that a registry can ever have."""
HEALTH_MAX = PASSPORTS_MAX = LEAVES_MAX
"""The hub takes no more of each."""

_RAILS = (Rail.WALLET, Rail.FIAT)
_LEVELS = tuple(ProofLevel)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BATCH_TYPE = (
    "Batch(bytes8 operatorId,address asset,bytes32 checkpoint,uint64 treeSize,address topic,"
    "uint64 sequenceNumber,uint64 validUntil,address proposer,uint128 c4eRate,address gateway,"
    "uint128 fiatTotal,bytes32[] passports,uint256[] leaves,uint256[] health)"
)


class _Bits(NamedTuple):
    """Where a number of a leaf stands in its word."""

    name: str
    width: int
    shift: int


# Each word's members from the most significant bit on, as in Types.sol.
_PARTY = (_Bits("cdr_no", 48, 48), _Bits("log_index", 48, 0))
_MONEY = (_Bits("amount", 64, 192), _Bits("vat", 64, 128))
_METER = (
    _Bits("start", 40, 216),
    _Bits("end", 40, 176),
    _Bits("import_wh", 48, 128),
    _Bits("export_wh", 48, 80),
    _Bits("passport_index", 8, 72),
    _Bits("evse", 8, 64),
    _Bits("proof_level", 8, 48),
    _Bits("policy_version", 32, 16),
)
_PAYER_SHIFT = 96
_RAIL_SHIFT = 56


@dataclass(frozen=True, slots=True)
class Leaf:
    """What one CDR asks the hub to pay.

    `evidence_digest` is the RFC 9162 leaf hash of the CDR's entry, which stands at `log_index`;
    `cdr_no` its number in its lane; `payer` 20 zero bytes where no wallet is known; `amount` (net)
    and `vat` in minor units of the batch's asset; `session_key` the session's pseudonym; `start`
    and `end` in Unix seconds; `passport_index` a place in the batch's table; `proof_level` 0 to 5.
    """

    evidence_digest: bytes
    payer: bytes
    cdr_no: int
    log_index: int
    amount: int
    vat: int
    session_key: bytes
    start: int
    end: int
    import_wh: int
    export_wh: int
    passport_index: int
    evse: int
    rail: Rail
    proof_level: int
    policy_version: int

    def __post_init__(self) -> None:
        """Raise InvalidInput naming the member that does not fit into its bits."""
        _check_bytes("evidence_digest", self.evidence_digest, WORD_BYTES)
        _check_bytes("payer", self.payer, ADDRESS_BYTES)
        _check_bytes("session_key", self.session_key, SESSION_KEY_BYTES)
        for name, width, _ in (*_PARTY, *_MONEY, *_METER):
            _check_bits(name, getattr(self, name), width)


@dataclass(frozen=True, slots=True)
class Health:
    """A health report: a passport's place in the batch's table, as of when, uptime and faults."""

    passport_index: int
    as_of: int
    uptime_bps: int
    fault_score: int

    def __post_init__(self) -> None:
        """Raise InvalidInput naming the member that does not fit into its bits."""
        for name, width, _ in _HEALTH:
            _check_bits(name, getattr(self, name), width)

    @property
    def word(self) -> int:
        """The report as the contracts hash it: its members in the lowest 80 bits of a word."""
        return _packed(self, _HEALTH)


_HEALTH = (
    _Bits("passport_index", 8, 72),
    _Bits("as_of", 40, 32),
    _Bits("uptime_bps", 16, 16),
    _Bits("fault_score", 16, 0),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Bills of one operator in one asset; the members are those of `Batch` in Types.sol.

    `operator_id` is text (`NL*C4E`), addresses are 20 bytes, checkpoint and passports 32.
    """

    operator_id: str
    asset: bytes
    checkpoint: bytes
    tree_size: int
    topic: bytes
    sequence_number: int
    valid_until: int
    proposer: bytes
    c4e_rate: int
    gateway: bytes
    fiat_total: int
    passports: tuple[bytes, ...]
    leaves: tuple[Leaf, ...]
    health: tuple[Health, ...] = ()

    def __post_init__(self) -> None:
        """Raise InvalidInput naming the member that is out of its range or too long."""
        operator_word(self.operator_id)
        for name in ("asset", "topic", "proposer", "gateway"):
            _check_bytes(name, getattr(self, name), ADDRESS_BYTES)
        _check_bytes("checkpoint", self.checkpoint, WORD_BYTES)
        for name in ("tree_size", "sequence_number", "valid_until"):
            _check_bits(name, getattr(self, name), 64)
        for name in ("c4e_rate", "fiat_total"):
            _check_bits(name, getattr(self, name), 128)
        for passport in self.passports:
            _check_bytes("passports", passport, WORD_BYTES)
        limits = (("leaves", LEAVES_MAX), ("passports", PASSPORTS_MAX), ("health", HEALTH_MAX))
        for name, most in limits:
            if len(getattr(self, name)) > most:
                raise InvalidInput(f"{name}: at most {most}", field=name)

    def passport_of(self, leaf: Leaf) -> bytes:
        """Return the passport that a leaf names. Raises InvalidInput if the table ends before."""
        if leaf.passport_index >= len(self.passports):
            raise InvalidInput(
                f"leaf of number {leaf.cdr_no} names no passport of the table", field="passports"
            )
        return self.passports[leaf.passport_index]

    def total_of(self, rail: Rail) -> int:
        """Return what the batch draws on a rail: with VAT from wallets, without from a gateway."""
        wallet = rail is Rail.WALLET
        return sum(
            leaf.amount + (leaf.vat if wallet else 0) for leaf in self.leaves if leaf.rail is rail
        )


@dataclass(frozen=True, slots=True)
class Attestation:
    """Signatures of attesters: bit i of `signers` is registry index i, 65 bytes each, ascending."""

    signers: int
    signatures: tuple[bytes, ...]

    @property
    def indexes(self) -> tuple[int, ...]:
        """The registry indexes of the signers."""
        return tuple(i for i in range(SIGNERS_MAX) if self.signers >> i & 1)

    @staticmethod
    def of(signatures: dict[int, bytes]) -> "Attestation":
        """Return the attestation of signatures by registry index."""
        order = sorted(signatures)
        return Attestation(sum(1 << i for i in order), tuple(signatures[i] for i in order))


def leaf_of_cdr(
    record: Mapping[str, Any], log_index: int, entry: bytes, passport_index: int
) -> Leaf | None:
    """Return the leaf that a CDR is, None for a CDR that is not settled on chain.

    `record` is the CDR's record, `entry` its public entry in the log, at `log_index`. The leaf is
    a function of these alone but for `passport_index`, the place of its passport in the batch's
    table. Raises InvalidInput for what does not fit, KeyError and TypeError for another shape.
    """
    terms = record.get("settlement")  # CDRs from before there was a chain have no such member
    if terms is None:
        return None
    return Leaf(
        evidence_digest=leaf_hash(entry),
        payer=ZERO_ADDRESS
        if terms["payer"] is None
        else parse_address(terms["payer"], field="payer"),
        cdr_no=terms["cdr_no"],
        log_index=log_index,
        amount=int(terms["amount"]),
        vat=int(terms["vat"]),
        session_key=parse_hex(terms["session_key"], SESSION_KEY_BYTES, field="session_key"),
        start=_seconds(record["started_at"], "started_at"),
        end=_seconds(record["ended_at"], "ended_at"),
        import_wh=record["energy_wh"],
        export_wh=0,
        passport_index=passport_index,
        evse=record["evse"],
        rail=Rail(terms["rail"]),
        proof_level=_LEVELS.index(record["proof_level"]),
        policy_version=terms["policy_version"],
    )


def leaf_words(leaf: Leaf) -> bytes:
    """Return the four words of a leaf, 128 bytes."""
    party = _packed(leaf, _PARTY) | int.from_bytes(leaf.payer, "big") << _PAYER_SHIFT
    money = _packed(leaf, _MONEY) | int.from_bytes(leaf.session_key, "big")
    meter = _packed(leaf, _METER) | _RAILS.index(leaf.rail) << _RAIL_SHIFT
    return leaf.evidence_digest + uint_word(party) + uint_word(money) + uint_word(meter)


def parse_leaf(words: bytes) -> Leaf:
    """Return the leaf of four words. Raises Unreadable for what `leaf_words` never writes."""
    if len(words) != LEAF_BYTES:
        raise Unreadable(f"a leaf has {LEAF_BYTES} bytes", field="leaf")
    party, money, meter = (
        int.from_bytes(words[start : start + WORD_BYTES], "big") for start in (32, 64, 96)
    )
    rail = meter >> _RAIL_SHIFT & 0xFF
    if rail >= len(_RAILS) or meter & 0xFFFF:
        raise Unreadable("a leaf with a rail or bits that mean nothing", field="leaf")
    numbers = _unpacked(party, _PARTY) | _unpacked(money, _MONEY) | _unpacked(meter, _METER)
    return Leaf(
        evidence_digest=words[:WORD_BYTES],
        payer=(party >> _PAYER_SHIFT).to_bytes(ADDRESS_BYTES, "big"),
        session_key=(money & (1 << 128) - 1).to_bytes(SESSION_KEY_BYTES, "big"),
        rail=_RAILS[rail],
        **numbers,
    )


def settlement_domain(chain_id: int, hub: bytes) -> Domain:
    """Return the EIP-712 domain of the SettlementHub at `hub`."""
    return Domain("ChargEra Settlement", "1", chain_id, hub)


def batch_digest(batch: Batch, chain_id: int, hub: bytes) -> bytes:
    """Return the 32-byte EIP-712 digest that is the identity of a batch."""
    struct = struct_hash(
        _BATCH_TYPE,
        bytes_word(operator_word(batch.operator_id)),
        address_word(batch.asset),
        batch.checkpoint,
        uint_word(batch.tree_size),
        address_word(batch.topic),
        uint_word(batch.sequence_number),
        uint_word(batch.valid_until),
        address_word(batch.proposer),
        uint_word(batch.c4e_rate),
        address_word(batch.gateway),
        uint_word(batch.fiat_total),
        array_word(batch.passports),
        array_word(leaf_words(leaf) for leaf in batch.leaves),
        array_word(uint_word(report.word) for report in batch.health),
    )
    return typed_digest(settlement_domain(chain_id, hub), struct)


def open_digest(
    operator_id: str,
    session_key: bytes,
    asset: bytes,
    maximum: int,
    deadline: int,
    *,
    chain_id: int,
    hub: bytes,
) -> bytes:
    """Return what a payer signs to open an escrow."""
    struct = struct_hash(
        "Open(bytes8 operatorId,bytes16 sessionKey,address asset,uint64 max,uint64 deadline)",
        bytes_word(operator_word(operator_id)),
        bytes_word(session_key),
        address_word(asset),
        uint_word(maximum),
        uint_word(deadline),
    )
    return typed_digest(settlement_domain(chain_id, hub), struct)


def lower_digest(escrow: bytes, maximum: int, deadline: int, *, chain_id: int, hub: bytes) -> bytes:
    """Return what an operator signs to lower an escrow's maximum."""
    struct = struct_hash(
        "Lower(bytes32 escrowId,uint64 max,uint64 deadline)",
        escrow,
        uint_word(maximum),
        uint_word(deadline),
    )
    return typed_digest(settlement_domain(chain_id, hub), struct)


def escrow_id(payer: bytes, operator_id: str, session_key: bytes) -> bytes:
    """Return the id of the escrow of a payer, an operator and a session: the hash of the three."""
    operator = bytes_word(operator_word(operator_id))
    return keccak256(address_word(payer) + operator + bytes_word(session_key))


def abi_batch(batch: Batch) -> tuple[object, ...]:
    """Return a batch as the tuple that ABI encoders take for `Batch` in Types.sol."""
    leaves = []
    for leaf in batch.leaves:
        words = leaf_words(leaf)
        numbers = (int.from_bytes(words[i : i + WORD_BYTES], "big") for i in (32, 64, 96))
        leaves.append((leaf.evidence_digest, *numbers))
    return (
        operator_word(batch.operator_id),
        batch.asset,
        batch.checkpoint,
        batch.tree_size,
        batch.topic,
        batch.sequence_number,
        batch.valid_until,
        batch.proposer,
        batch.c4e_rate,
        batch.gateway,
        batch.fiat_total,
        list(batch.passports),
        leaves,
        [report.word for report in batch.health],
    )


def abi_attestation(attestation: Attestation) -> tuple[int, list[bytes]]:
    """Return an attestation as the tuple that ABI encoders take."""
    return attestation.signers, list(attestation.signatures)


def _seconds(text: object, field: str) -> int:
    """Return the Unix second in which a time of a record lies."""
    return (time_value(text, field=field) - _EPOCH) // timedelta(seconds=1)


def _packed(value: object, bits: Sequence[_Bits]) -> int:
    word = 0
    for name, _, shift in bits:
        word |= getattr(value, name) << shift
    return word


def _unpacked(word: int, bits: Sequence[_Bits]) -> dict[str, int]:
    return {name: word >> shift & (1 << width) - 1 for name, width, shift in bits}


def _check_bits(name: str, number: int, width: int) -> None:
    if not 0 <= number < 1 << width:
        raise InvalidInput(f"{name}: must fit into {width} bits", field=name)


def _check_bytes(name: str, data: bytes, size: int) -> None:
    if len(data) != size:
        raise InvalidInput(f"{name}: must have {size} bytes", field=name)
