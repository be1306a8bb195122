"""The custody of a passport as a stranger checks it: record by record, who agreed and who attested.

Each record but a retirement carries the signature of the host of that moment and those of a quorum
of attesters. A retirement is its host's own transaction, so only the chain can show it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.domain.passport import CustodyKind
from chargera.domain.settlement import quorum_of
from chargera.proofs.chain_values import (
    ADDRESS_BYTES,
    WORD_BYTES,
    address_text,
    document_address,
    hex_text,
    parse_hex,
)
from chargera.proofs.eip712 import Domain
from chargera.proofs.passport import custody_digest
from chargera.proofs.receipt import ReceiptEntry
from chargera.proofs.records import custody_record_digest
from chargera.proofs.secp256k1 import SIGNATURE_BYTES, recover
from chargera.proofs.trust import Trust

ATTESTERS_MAX = 256
_MEMBERS = {"host_signature", "signatures"}


@dataclass(frozen=True, slots=True)
class CustodyProof:
    """Who signed a custody record: its host, and attesters by address; of a retirement nobody."""

    host_signature: bytes | None = None
    signatures: tuple[tuple[bytes, bytes], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        host = self.host_signature
        return {
            "host_signature": None if host is None else hex_text(host),
            "signatures": [
                {"signature": hex_text(signature), "signer": address_text(signer)}
                for signer, signature in self.signatures
            ],
        }


def read_custody_proof(row: object, field: str) -> CustodyProof:
    """Read a proof; Unreadable, naming `field`, for any other form."""
    if not isinstance(row, dict) or row.keys() != _MEMBERS:
        raise Unreadable(f"must have exactly {', '.join(sorted(_MEMBERS))}", field=field)
    host, rows = row["host_signature"], row["signatures"]
    if not isinstance(rows, list) or len(rows) > ATTESTERS_MAX:
        raise Unreadable(f"not a list of at most {ATTESTERS_MAX} signatures", field=field)
    return CustodyProof(
        None if host is None else parse_hex(host, SIGNATURE_BYTES, field=field),
        tuple(_signature(each, field) for each in rows),
    )


def _signature(row: object, field: str) -> tuple[bytes, bytes]:
    if not isinstance(row, dict) or row.keys() != {"signature", "signer"}:
        raise Unreadable("must have exactly signature and signer", field=field)
    return (
        document_address(row["signer"], field=field),
        parse_hex(row["signature"], SIGNATURE_BYTES, field=field),
    )


def check_history(
    custody: Sequence[tuple[ReceiptEntry, CustodyProof]],
    passport: bytes,
    host: bytes,
    domain: Domain,
    trust: Trust | None,
) -> str:
    """Return what was found of a passport's custody; `host` is the one that it was minted to.

    Raises InvalidInput naming the record: its number, kind or value is wrong, something comes after
    a retirement, or host or attesters of that moment did not sign it.
    """
    attested, is_retired = 0, False
    for number, (entry, proof) in enumerate(custody):
        record = entry.record
        if record["passport_id"] != hex_text(passport) or record["number"] != number or is_retired:
            raise InvalidInput(f"not the custody record {number} of this passport", field="custody")
        kind = CustodyKind(record["kind"])
        value = parse_hex(record["value"], WORD_BYTES, field="value")
        if kind is CustodyKind.RETIREMENT:
            is_retired = True
            if proof != CustodyProof():
                raise InvalidInput("a retirement is signed by nobody", field="custody")
            continue
        digest = custody_digest(
            passport,
            number,
            kind,
            custody_record_digest(record),
            entry.proof.index,
            value,
            domain=domain,
        )
        _check_signatures(number, digest, proof, host, trust)
        attested += 1
        if kind is CustodyKind.OWNER:
            host = value[-ADDRESS_BYTES:]
    ends = "; then its host retired it, as the chain can show" if is_retired else ""
    count = f"{len(custody)} custody records without a hole"
    return f"{count}, {attested} signed by the host and attesters{ends}"


def _check_signatures(
    number: int, digest: bytes, proof: CustodyProof, host: bytes, trust: Trust | None
) -> None:
    """See that the host and, where trust says who they are, a quorum of attesters signed."""
    if proof.host_signature is None or recover(digest, proof.host_signature) != host:
        fault = f"custody record {number} is not signed by the host {address_text(host)}"
        raise InvalidInput(fault, field="custody")
    for signer, signature in proof.signatures:
        if recover(digest, signature) != signer:
            fault = f"custody record {number} is not signed by {address_text(signer)}"
            raise InvalidInput(fault, field="custody")
    if trust is None or trust.attesters is None:
        return
    trusted = {attester.address for attester in trust.attesters}
    count = len({signer for signer, _ in proof.signatures} & trusted)
    quorum = quorum_of(len(trusted))
    if count < quorum:
        fault = f"{count} trusted attesters signed custody record {number}, {quorum} are needed"
        raise InvalidInput(fault, field="custody")
