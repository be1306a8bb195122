"""Signed EIP-1559 transactions: their bytes, their hash, who sent them.

Form: EIP-2718 type 2, `0x02 || rlp([chain_id, nonce, max_priority_fee, max_fee, gas_limit, to,
value, data, access_list, y_parity, r, s])` (EIP-1559); signatures with s in its lower half
(EIP-2). Access lists are refused: on a chain whose gas is free they buy nothing.
"""

from typing import Any, Protocol

import rlp  # type: ignore[import-untyped]  # it has no annotations

from chargera.app.chain_ports import ADDRESS_BYTES, BadTransaction, TransactionRequest
from chargera.proofs.keccak import keccak256

TYPE = b"\x02"
RAW_BYTES_MAX = 131_072
"""What Hedera takes of one call; nodes of Ethereum do not relay more either."""

_N = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_FIELDS = 12
_RLP_STRING, _RLP_LIST, _RLP_SHORT_LIST_MAX, _RLP_SHORT_MAX = 0x80, 0xC0, 0xF7, 55
_WIDTHS = (8, 8, 32, 32, 8)
"""Most bytes of chain id, nonce, priority fee, fee, gas limit."""


class SigningKey(Protocol):
    """A key that signs transactions: `ledger.chain_key.ChainKey`."""

    address: bytes

    def sign_parity(self, digest: bytes) -> tuple[int, int, int]:
        """Return the parity of y, r and s of the signature of a 32-byte digest."""


def sign(
    key: SigningKey,
    *,
    chain_id: int,
    nonce: int,
    to: bytes | None,
    data: bytes,
    gas_limit: int,
    max_fee: int = 0,
) -> bytes:
    """Return the raw bytes of a transaction; `to` None makes a contract of `data`."""
    fields = [
        _number(chain_id),
        _number(nonce),
        b"",
        _number(max_fee),
        _number(gas_limit),
        to or b"",
        b"",
        data,
        [],
    ]
    parity, r, s = key.sign_parity(keccak256(_encoded(fields)))
    return _encoded([*fields, _number(parity), _number(r), _number(s)])


def parse(raw: bytes) -> TransactionRequest:
    """Return the transaction that `raw` is, with the address that its signature recovers to.

    Raises BadTransaction for any other form, a signature out of range, or one that no key made.
    """
    if len(raw) > RAW_BYTES_MAX:
        raise BadTransaction(f"a transaction has at most {RAW_BYTES_MAX} bytes", field="raw")
    if raw[:1] != TYPE:
        raise BadTransaction(
            "only EIP-1559 transactions (type 2) are taken",
            field="raw",
            remedy="sign with maxFeePerGas and maxPriorityFeePerGas instead of gasPrice",
        )
    fields = _fields(raw)
    chain_id, nonce, priority, fee, gas_limit = (
        _integer(field, width) for field, width in zip(fields, _WIDTHS, strict=False)
    )
    to, value, data = fields[5], _integer(fields[6], 32), fields[7]
    if len(to) not in (0, ADDRESS_BYTES):
        raise BadTransaction("to: an address has 20 bytes", field="to")
    parity, r, s = (_integer(field, 32) for field in fields[9:])
    digest = keccak256(TYPE + _unsigned(raw, fields))
    return TransactionRequest(
        hash=keccak256(raw),
        raw=raw,
        chain_id=chain_id,
        nonce=nonce,
        sender=_recover(digest, parity, r, s),
        to=to or None,
        data=data,
        value=value,
        gas_limit=gas_limit,
        max_fee=fee,
        max_priority_fee=priority,
        signature=(parity, r, s),
    )


def contract_address(sender: bytes, nonce: int) -> bytes:
    """Return where a contract comes to stand that `sender` makes with this nonce (CREATE)."""
    encoded: bytes = rlp.encode([sender, _number(nonce)])
    return keccak256(encoded)[-ADDRESS_BYTES:]


def _fields(raw: bytes) -> list[Any]:
    try:
        fields = rlp.decode(raw[1:], strict=True)
    except rlp.DecodingError as error:
        raise BadTransaction(f"not RLP: {error}", field="raw") from None
    if not isinstance(fields, list) or len(fields) != _FIELDS:
        raise BadTransaction(f"a transaction has {_FIELDS} fields", field="raw")
    if isinstance(fields[8], list) and fields[8]:
        raise BadTransaction(
            "access lists are not supported", field="access_list", remedy="leave it empty"
        )
    if fields[8] != [] or any(not isinstance(field, bytes) for field in fields[:8] + fields[9:]):
        raise BadTransaction("a field of the transaction has the wrong type", field="raw")
    return fields


def _encoded(fields: list[Any]) -> bytes:
    encoded: bytes = rlp.encode(fields)
    return TYPE + encoded


def _unsigned(raw: bytes, fields: list[Any]) -> bytes:
    """Return the RLP of all fields but the signature, cut out of what was signed.

    Each part of the signature has at most 32 bytes, and so one byte before it, or none where it is
    one small byte itself.
    """
    signed = sum(
        1 if len(part) == 1 and part[0] < _RLP_STRING else 1 + len(part) for part in fields[9:]
    )
    first = raw[1]
    begins = 2 if first <= _RLP_SHORT_LIST_MAX else 2 + first - _RLP_SHORT_LIST_MAX
    payload = raw[begins : len(raw) - signed]
    if len(payload) <= _RLP_SHORT_MAX:
        return bytes([_RLP_LIST + len(payload)]) + payload
    length = _number(len(payload))
    return bytes([_RLP_SHORT_LIST_MAX + len(length)]) + length + payload


def _recover(digest: bytes, parity: int, r: int, s: int) -> bytes:
    if parity > 1 or not 0 < r < _N or not 0 < s <= _N // 2:
        raise BadTransaction("the signature is out of range", field="signature")
    try:
        point = _public_key(digest, r.to_bytes(32) + s.to_bytes(32) + bytes([parity]))
    except Exception as error:  # each library has its own, and coincurve raises bare ones
        raise BadTransaction("no key made this signature", field="signature") from error
    return keccak256(point)[-ADDRESS_BYTES:]


def _public_key(digest: bytes, signature: bytes) -> bytes:
    """Return the 64 bytes of the key that made `signature` (r, s, parity)."""
    try:  # ten times faster, where there is a wheel
        from coincurve import PublicKey
    except ImportError:
        from eth_keys.datatypes import Signature

        return Signature(signature).recover_public_key_from_msg_hash(digest).to_bytes()
    key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    return key.format(compressed=False)[1:]


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8)


def _integer(field: bytes, width: int) -> int:
    """Return the integer of an RLP field: big-endian without leading zeros."""
    if len(field) > width or field[:1] == b"\0":
        raise BadTransaction("a number of the transaction is out of range", field="raw")
    return int.from_bytes(field)
