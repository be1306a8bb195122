"""Batch files: a signed batch as one public document, published before it is proposed.

Who holds it, a chain address and a trust file can propose, check, challenge and settle the batch
without the operator. One canonical JSON document: a byte is either needed or refused by form.
"""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.domain.settlement import LEAVES_MAX, Rail
from chargera.proofs import canonical
from chargera.proofs.chain_values import (
    WORD_BYTES,
    ZERO_ADDRESS,
    address_text,
    document_address,
    hex_text,
    parse_hex,
    topic_address,
    topic_of_address,
)
from chargera.proofs.checkpoint import parse_checkpoint
from chargera.proofs.note import decode_base64, encode_base64
from chargera.proofs.secp256k1 import SIGNATURE_BYTES, recover
from chargera.proofs.settlement import (
    HEALTH_MAX,
    PASSPORTS_MAX,
    SESSION_KEY_BYTES,
    SIGNERS_MAX,
    Attestation,
    Batch,
    Health,
    Leaf,
    batch_digest,
)
from chargera.proofs.tlog_proof import PATH_LENGTH_MAX
from chargera.proofs.tree import verify_inclusion

FORMAT = "chargera.batch/1"
BATCH_FILE_BYTES_MAX = 1_000_000

_MEMBERS = {
    "batch",
    "chain_id",
    "digest",
    "format",
    "gateway_signature",
    "head",
    "hub",
    "paths",
    "signatures",
}
_BATCH_MEMBERS = {
    "asset",
    "c4e_rate",
    "checkpoint",
    "fiat_total",
    "gateway",
    "health",
    "leaves",
    "operator_id",
    "passports",
    "proposer",
    "sequence_number",
    "topic",
    "tree_size",
    "valid_until",
}
_LEAF_INTEGERS = (
    "cdr_no",
    "end",
    "evse",
    "export_wh",
    "import_wh",
    "log_index",
    "passport_index",
    "policy_version",
    "proof_level",
    "start",
)
_LEAF_MEMBERS = {
    "amount",
    "evidence_digest",
    "payer",
    "rail",
    "session_key",
    "vat",
    *_LEAF_INTEGERS,
}
_HEALTH_MEMBERS = ("as_of", "fault_score", "passport_index", "uptime_bps")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,38}")
_SIGNATURE_MEMBERS = {"index", "signature", "signer"}


@dataclass(frozen=True, slots=True)
class AttesterSignature:
    """One attester's signature over a batch's digest; `index` is his place in the registry."""

    index: int
    signer: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class BatchFile:
    """A batch with what makes it usable by anybody.

    `head` is the signed checkpoint that the leaves stand under, verbatim; `paths` are their audit
    paths in it; `gateway_signature` is None where the batch has no gateway.
    """

    chain_id: int
    hub: bytes
    batch: Batch
    head: bytes
    paths: tuple[tuple[bytes, ...], ...]
    signatures: tuple[AttesterSignature, ...]
    gateway_signature: bytes | None

    @property
    def digest(self) -> bytes:
        """The identity of the batch."""
        return batch_digest(self.batch, self.chain_id, self.hub)

    @property
    def attestation(self) -> Attestation:
        """The signatures as the hub takes them."""
        return Attestation.of({one.index: one.signature for one in self.signatures})

    def check(self) -> None:
        """Check all that can be seen without trusting anybody; InvalidInput names what is wrong.

        Each signature is by who it says, the gateway's is the gateway's, and every leaf stands
        in the head that the batch names.
        """
        digest = self.digest
        for one in self.signatures:
            if recover(digest, one.signature) != one.signer:
                raise InvalidInput(f"signature {one.index} is not its signer's", field="signatures")
        if self.gateway_signature is not None and (
            recover(digest, self.gateway_signature) != self.batch.gateway
        ):
            raise InvalidInput("not signed by the gateway", field="gateway_signature")
        head = parse_checkpoint(self.head)
        if (head.size, head.root_hash) != (self.batch.tree_size, self.batch.checkpoint):
            raise InvalidInput("not the head that the batch names", field="head")
        for leaf, path in zip(self.batch.leaves, self.paths, strict=True):
            verify_inclusion(leaf.evidence_digest, leaf.log_index, head.size, path, head.root_hash)


def batch_file_document(file: BatchFile) -> dict[str, Any]:
    """Return a batch file as JSON values; `encode_batch_file` gives its bytes."""
    gateway = file.gateway_signature
    return {
        "batch": batch_document(file.batch),
        "chain_id": file.chain_id,
        "digest": hex_text(file.digest),
        "format": FORMAT,
        "gateway_signature": None if gateway is None else hex_text(gateway),
        "head": file.head.decode(),
        "hub": address_text(file.hub),
        "paths": [[encode_base64(hash_) for hash_ in path] for path in file.paths],
        "signatures": [
            {
                "index": one.index,
                "signature": hex_text(one.signature),
                "signer": address_text(one.signer),
            }
            for one in file.signatures
        ],
    }


def encode_batch_file(file: BatchFile) -> bytes:
    """Return the canonical bytes of a batch file."""
    return canonical.encode(batch_file_document(file))


def decode_batch_file(data: bytes) -> BatchFile:
    """Read the bytes of a batch file. Raises Unreadable for any other form, naming the member."""
    if len(data) > BATCH_FILE_BYTES_MAX:
        raise Unreadable(f"a batch file has at most {BATCH_FILE_BYTES_MAX} bytes")
    return parse_batch_file(canonical.decode(data))


def parse_batch_file(document: object) -> BatchFile:
    """Read a batch file from JSON values. Raises Unreadable as `decode_batch_file`."""
    if not isinstance(document, dict) or document.keys() != _MEMBERS:
        raise Unreadable(f"a batch file has exactly the members {', '.join(sorted(_MEMBERS))}")
    if document["format"] != FORMAT:
        raise Unreadable(f"the format is not {FORMAT}", field="format")
    gateway, head = document["gateway_signature"], document["head"]
    if not isinstance(head, str):
        raise Unreadable("not text", field="head")
    batch = parse_batch(document["batch"])
    file = BatchFile(
        chain_id=_integer(document["chain_id"], "chain_id"),
        hub=document_address(document["hub"], field="hub"),
        batch=batch,
        head=head.encode(),
        paths=_paths(document["paths"], len(batch.leaves)),
        signatures=_signatures(document["signatures"]),
        gateway_signature=None
        if gateway is None
        else parse_hex(gateway, SIGNATURE_BYTES, field="gateway_signature"),
    )
    if document["digest"] != hex_text(file.digest):
        raise Unreadable("not the digest of this batch", field="digest")
    if (batch.gateway == ZERO_ADDRESS) != (gateway is None):
        raise Unreadable("a gateway and its signature go together", field="gateway_signature")
    return file


def batch_document(batch: Batch) -> dict[str, Any]:
    """Return a batch as JSON values: amounts and rates as decimal strings, the rest as it reads."""
    return {
        "asset": address_text(batch.asset),
        "c4e_rate": str(batch.c4e_rate),
        "checkpoint": hex_text(batch.checkpoint),
        "fiat_total": str(batch.fiat_total),
        "gateway": address_text(batch.gateway),
        "health": [
            {name: getattr(report, name) for name in _HEALTH_MEMBERS} for report in batch.health
        ],
        "leaves": [leaf_document(leaf) for leaf in batch.leaves],
        "operator_id": batch.operator_id,
        "passports": [hex_text(passport) for passport in batch.passports],
        "proposer": address_text(batch.proposer),
        "sequence_number": batch.sequence_number,
        "topic": topic_of_address(batch.topic),
        "tree_size": batch.tree_size,
        "valid_until": batch.valid_until,
    }


def leaf_document(leaf: Leaf) -> dict[str, Any]:
    """Return a leaf as JSON values."""
    return {
        "amount": str(leaf.amount),
        "evidence_digest": hex_text(leaf.evidence_digest),
        "payer": address_text(leaf.payer),
        "rail": str(leaf.rail),
        "session_key": hex_text(leaf.session_key),
        "vat": str(leaf.vat),
        **{name: getattr(leaf, name) for name in _LEAF_INTEGERS},
    }


def parse_batch(document: object) -> Batch:
    """Read the member `batch`. Raises Unreadable naming the member that is wrong."""
    members = _members(document, _BATCH_MEMBERS, "batch")
    leaves = _list(members["leaves"], LEAVES_MAX, "leaves")
    passports = _list(members["passports"], PASSPORTS_MAX, "passports")
    health = _list(members["health"], HEALTH_MAX, "health")
    try:
        return Batch(
            operator_id=_text(members["operator_id"], "operator_id"),
            asset=document_address(members["asset"], field="asset"),
            checkpoint=parse_hex(members["checkpoint"], WORD_BYTES, field="checkpoint"),
            topic=topic_address(_text(members["topic"], "topic")),
            proposer=document_address(members["proposer"], field="proposer"),
            gateway=document_address(members["gateway"], field="gateway"),
            c4e_rate=_decimal(members["c4e_rate"], "c4e_rate"),
            fiat_total=_decimal(members["fiat_total"], "fiat_total"),
            passports=tuple(parse_hex(p, WORD_BYTES, field="passports") for p in passports),
            leaves=tuple(parse_leaf_document(leaf) for leaf in leaves),
            health=tuple(_health(report) for report in health),
            **{
                name: _integer(members[name], name)
                for name in ("sequence_number", "tree_size", "valid_until")
            },
        )
    except InvalidInput as error:
        raise Unreadable(error.message, field=error.field) from None


def parse_leaf_document(document: object) -> Leaf:
    """Read one leaf from JSON values. Raises InvalidInput naming the member that is wrong."""
    members = _members(document, _LEAF_MEMBERS, "leaves")
    if members["rail"] not in set(Rail):
        raise Unreadable("not a rail", field="rail")
    return Leaf(
        evidence_digest=parse_hex(members["evidence_digest"], WORD_BYTES, field="evidence_digest"),
        payer=document_address(members["payer"], field="payer"),
        amount=_decimal(members["amount"], "amount"),
        vat=_decimal(members["vat"], "vat"),
        session_key=parse_hex(members["session_key"], SESSION_KEY_BYTES, field="session_key"),
        rail=Rail(members["rail"]),
        **{name: _integer(members[name], name) for name in _LEAF_INTEGERS},
    )


def _health(document: object) -> Health:
    members = _members(document, set(_HEALTH_MEMBERS), "health")
    return Health(**{name: _integer(members[name], name) for name in _HEALTH_MEMBERS})


def _paths(value: object, count: int) -> tuple[tuple[bytes, ...], ...]:
    paths = []
    for path in _list(value, LEAVES_MAX, "paths"):
        texts = _list(path, PATH_LENGTH_MAX, "paths")
        paths.append(tuple(decode_base64(_text(text, "paths"), "paths") for text in texts))
    if len(paths) != count:
        raise Unreadable("not one path a leaf", field="paths")
    return tuple(paths)


def _signatures(value: object) -> tuple[AttesterSignature, ...]:
    signatures = []
    for row in _list(value, SIGNERS_MAX, "signatures"):
        members = _members(row, _SIGNATURE_MEMBERS, "signatures")
        signatures.append(
            AttesterSignature(
                _integer(members["index"], "signatures"),
                document_address(members["signer"], field="signatures"),
                parse_hex(members["signature"], SIGNATURE_BYTES, field="signatures"),
            )
        )
    indexes = [one.index for one in signatures]
    if indexes != sorted(set(indexes)) or any(index >= SIGNERS_MAX for index in indexes):
        raise Unreadable("not in the order of the registry, each once", field="signatures")
    return tuple(signatures)


def _members(document: object, names: Set[str], field: str) -> Mapping[str, Any]:
    if not isinstance(document, dict) or document.keys() != names:
        raise Unreadable(f"must have exactly {', '.join(sorted(names))}", field=field)
    return document


def _list(value: object, most: int, field: str) -> Sequence[object]:
    if not isinstance(value, list) or len(value) > most:
        raise Unreadable(f"not a list of at most {most}", field=field)
    return value


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise Unreadable("not text", field=field)
    return value


def _integer(value: object, field: str) -> int:
    if type(value) is not int or value < 0:
        raise Unreadable("not a number that counts from 0", field=field)
    return value


def _decimal(value: object, field: str) -> int:
    """Read an amount: as long as a word of 128 bits at most, so that reading it costs nothing."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise Unreadable("not a decimal number in a string", field=field)
    return int(value)
