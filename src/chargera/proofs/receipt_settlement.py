"""The settlement in a receipt: the batch that a bill stands in, and who attested it.

The batch is there whole, because only all of it makes the digest that attesters sign; of its
leaves one is this bill's. What needs no trust is checked always, who signed by the trust file,
what became of it by the chain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.domain.settlement import BatchState, quorum_of
from chargera.proofs.batch_file import BatchFile, batch_document, parse_batch
from chargera.proofs.canonical import INTEGER_LIMIT
from chargera.proofs.chain_values import (
    address_text,
    document_address,
    hex_text,
    parse_address,
    parse_hex,
)
from chargera.proofs.secp256k1 import SIGNATURE_BYTES, recover
from chargera.proofs.settlement import SIGNERS_MAX, Batch, Leaf, batch_digest, leaf_of_cdr
from chargera.proofs.trust import Trust

_MEMBERS = {"batch", "chain_id", "digest", "hub", "signatures"}


@dataclass(frozen=True, slots=True)
class Settlement:
    """A batch on a chain with its attesters' signatures: pairs of signer and 65 bytes."""

    chain_id: int
    hub: bytes
    batch: Batch
    signatures: tuple[tuple[bytes, bytes], ...]

    @property
    def digest(self) -> bytes:
        """What was signed."""
        return batch_digest(self.batch, self.chain_id, self.hub)


@dataclass(frozen=True, slots=True)
class ChainAnswer:
    """What a chain says of a receipt's batch and of its number.

    `state` None: the hub does not know the batch. `fault`: why there is no answer, if there is
    none.
    """

    source: str
    state: BatchState | None
    is_settled: bool
    fault: str | None = None


def settlement_of(file: BatchFile) -> Settlement:
    """Return what a receipt has of a batch file."""
    signatures = tuple((one.signer, one.signature) for one in file.signatures)
    return Settlement(file.chain_id, file.hub, file.batch, signatures)


def settlement_document(settlement: Settlement) -> dict[str, Any]:
    """Return the member `settlement` of a receipt."""
    return {
        "batch": batch_document(settlement.batch),
        "chain_id": settlement.chain_id,
        "digest": hex_text(settlement.digest),
        "hub": address_text(settlement.hub),
        "signatures": [
            {"signature": hex_text(signature), "signer": address_text(signer)}
            for signer, signature in settlement.signatures
        ],
    }


def parse_settlement(document: object) -> Settlement:
    """Read the member `settlement`. Raises Unreadable, naming the member that is wrong."""
    if not isinstance(document, dict) or document.keys() != _MEMBERS:
        raise Unreadable(f"must have exactly {', '.join(sorted(_MEMBERS))}", field="settlement")
    chain_id, rows = document["chain_id"], document["signatures"]
    if type(chain_id) is not int or not 0 < chain_id < INTEGER_LIMIT:
        raise Unreadable("not a chain's number", field="settlement.chain_id")
    if not isinstance(rows, list) or len(rows) > SIGNERS_MAX:
        raise Unreadable(f"not a list of at most {SIGNERS_MAX}", field="settlement.signatures")
    settlement = Settlement(
        chain_id,
        document_address(document["hub"], field="settlement.hub"),
        parse_batch(document["batch"]),
        tuple(_signature(row) for row in rows),
    )
    if document["digest"] != hex_text(settlement.digest):
        raise Unreadable("not the digest of its batch", field="settlement.digest")
    signers = [signer for signer, _ in settlement.signatures]
    if len(set(signers)) != len(signers):
        raise Unreadable("a signer twice", field="settlement.signatures")
    return settlement


def leaf_of(settlement: Settlement, cdrs: Sequence[tuple[int, Mapping[str, Any], bytes]]) -> Leaf:
    """Return the leaf that is one of these CDRs.

    `cdrs`: log index, record and public entry of each. Raises InvalidInput unless exactly one
    leaf is at the place of a CDR and says what that CDR says, in the CDR's lane and of its
    passport, on its chain.
    """
    by_index = {index: (record, entry) for index, record, entry in cdrs}
    leaves = [leaf for leaf in settlement.batch.leaves if leaf.log_index in by_index]
    if len(leaves) != 1:
        raise InvalidInput("the batch does not have one leaf of this session", field="settlement")
    [leaf] = leaves
    record, entry = by_index[leaf.log_index]
    if leaf_of_cdr(record, leaf.log_index, entry, leaf.passport_index) != leaf:
        raise InvalidInput("the leaf is not what the bill says", field="settlement")
    terms = record["settlement"]
    named = (
        record["operator_id"],
        parse_address(terms["asset"], field="asset"),
        parse_hex(terms["passport_id"], field="passport_id"),
        terms["chain_id"],
        parse_address(terms["hub"], field="hub"),
    )
    batch = settlement.batch
    is_there = (batch.operator_id, batch.asset, batch.passport_of(leaf))
    if named != (*is_there, settlement.chain_id, settlement.hub):
        raise InvalidInput("the bill names another lane, passport or chain", field="settlement")
    return leaf


def check_signatures(settlement: Settlement, trust: Trust | None) -> int | None:
    """Return how many trusted attesters signed; None where no trust says who they are.

    Raises InvalidInput for a signature that is not its signer's, another chain than the trusted
    one, or fewer trusted signers than the quorum of those that are trusted.
    """
    digest = settlement.digest
    for signer, signature in settlement.signatures:
        if recover(digest, signature) != signer:
            raise InvalidInput(f"not signed by {address_text(signer)}", field="settlement")
    if trust is None or trust.chain is None or trust.attesters is None:
        return None
    hub = trust.chain.contracts.get("SettlementHub")
    if (settlement.chain_id, settlement.hub) != (trust.chain.chain_id, hub):
        raise InvalidInput("the batch is of another chain or hub", field="settlement")
    trusted = {attester.address for attester in trust.attesters}
    count = sum(signer in trusted for signer, _ in settlement.signatures)
    quorum = quorum_of(len(trusted))
    if count < quorum:
        raise InvalidInput(
            f"{count} trusted attesters signed, {quorum} are needed", field="settlement"
        )
    return count


def _signature(row: object) -> tuple[bytes, bytes]:
    field = "settlement.signatures"
    if not isinstance(row, dict) or row.keys() != {"signature", "signer"}:
        raise Unreadable("must have exactly signature and signer", field=field)
    return (
        document_address(row["signer"], field=field),
        parse_hex(row["signature"], SIGNATURE_BYTES, field=field),
    )
