"""Signed EIP-1559 transactions: their bytes, their hash, who sent them.

Form: EIP-2718 type 2, `0x02 || rlp([chain_id, nonce, max_priority_fee, max_fee, gas_limit, to,
value, data, access_list, y_parity, r, s])` (EIP-1559); signatures with s in its lower half
(EIP-2). Access lists are refused: on a chain whose gas is free they buy nothing.
"""

from functools import lru_cache
from typing import Any, NoReturn, Protocol

import rlp  # type: ignore[import-untyped]  # it has no annotations

from chargera.app.chain_ports import ADDRESS_BYTES, BadTransaction, TransactionRequest
from chargera.proofs.keccak import keccak256

TYPE = b"\x02"
RAW_BYTES_MAX = 131_072
"""What Hedera takes of one call; nodes of Ethereum do not relay more either."""

_N = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
_FIELDS, _ACCESS_LIST, _SIGNATURE = 12, 8, 9
_RLP_STRING, _RLP_LIST, _RLP_SHORT_MAX = 0x80, 0xC0, 55
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
    fields, signed = _fields(raw)
    chain_id, nonce, priority, fee, gas_limit = map(_integer, fields, _WIDTHS)
    to, value, data = fields[5], _integer(fields[6], 32), fields[7]
    if len(to) not in (0, ADDRESS_BYTES):
        raise BadTransaction("to: an address has 20 bytes", field="to")
    parity, r, s = (_integer(field, 32) for field in fields[_SIGNATURE:])
    digest = keccak256(TYPE + _list_header(len(signed)) + signed)
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


def _fields(raw: bytes) -> tuple[list[bytes], bytes]:
    """Return the fields, the access list as nothing, and the bytes of those that are signed."""
    is_list, place, end = _item(raw, len(TYPE), len(raw))
    if not is_list or end != len(raw):
        _refuse("not one list")
    begins, begin_signature = place, 0
    fields: list[bytes] = []
    lists = []
    while place < end:
        if len(fields) == _SIGNATURE:
            begin_signature = place
        is_list, first, place = _item(raw, place, end)
        if is_list:
            lists.append((len(fields), first == place))
        fields.append(raw[first:place])
    if len(fields) != _FIELDS:
        raise BadTransaction(f"a transaction has {_FIELDS} fields", field="raw")
    if lists == [(_ACCESS_LIST, False)]:
        raise BadTransaction(
            "access lists are not supported", field="access_list", remedy="leave it empty"
        )
    if lists != [(_ACCESS_LIST, True)]:
        raise BadTransaction("a field of the transaction has the wrong type", field="raw")
    return fields, raw[begins:begin_signature]


def _item(raw: bytes, place: int, end: int) -> tuple[bool, int, int]:
    """Return whether the RLP item at `place` is a list, and where its content begins and ends.

    Only the shortest form of each length is RLP, and a byte below 0x80 stands for itself.
    """
    if place >= end:
        _refuse("it ends too early")
    first = raw[place]
    if first < _RLP_STRING:
        return False, place, place + 1
    place += 1
    size = first - (_RLP_STRING if first < _RLP_LIST else _RLP_LIST)
    if size > _RLP_SHORT_MAX:
        width = size - _RLP_SHORT_MAX
        size = int.from_bytes(raw[place : place + width])
        if size <= _RLP_SHORT_MAX or raw[place] == 0:
            _refuse("a length that is not the shortest")
        place += width
    if place + size > end:
        _refuse("it ends too early")
    if first == _RLP_STRING + 1 and raw[place] < _RLP_STRING:
        _refuse("a length that is not the shortest")
    return first >= _RLP_LIST, place, place + size


def _refuse(reason: str) -> NoReturn:
    raise BadTransaction(f"not RLP: {reason}", field="raw")


def _encoded(fields: list[Any]) -> bytes:
    encoded: bytes = rlp.encode(fields)
    return TYPE + encoded


def _list_header(size: int) -> bytes:
    """Return what stands before the `size` bytes of a list's items."""
    if size <= _RLP_SHORT_MAX:
        return bytes([_RLP_LIST + size])
    length = _number(size)
    return bytes([_RLP_LIST + _RLP_SHORT_MAX + len(length)]) + length


def _recover(digest: bytes, parity: int, r: int, s: int) -> bytes:
    if parity > 1 or not 0 < r < _N or not 0 < s <= _N // 2:
        raise BadTransaction("the signature is out of range", field="signature")
    try:
        point = _public_key(digest, r.to_bytes(32) + s.to_bytes(32) + bytes([parity]))
    except Exception as error:  # each library has its own, and coincurve raises bare ones
        raise BadTransaction("no key made this signature", field="signature") from error
    return _address_of(point)


@lru_cache(maxsize=4_096)
def _address_of(point: bytes) -> bytes:
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
