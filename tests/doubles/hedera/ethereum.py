"""The transaction of Ethereum inside an EthereumTransaction, read with eth-account.

Types 1 and 2 (EIP-2930, EIP-1559). The product has a reader of its own: this is another one, so
that each checks the other.
"""

from dataclasses import dataclass
from typing import Any

import rlp
from eth_account import Account as EthAccount
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_keys.datatypes import Signature
from hexbytes import HexBytes
from hiero_sdk_python.hapi.services.basic_types_pb2 import Key

from tests.doubles.hedera.keys import ecdsa_key, keccak256

_DATA_FIELD = {1: 6, 2: 7}
"""Where the calldata stands in each type."""


@dataclass(frozen=True, slots=True)
class EthereumData:
    """What the sender has signed; prices in weibars."""

    raw: bytes
    kind: int
    hash: bytes
    sender: bytes
    chain_id: int
    nonce: int
    to: bytes | None
    data: bytes
    value: int
    gas_limit: int
    price: int
    """The most that the sender pays for a gas."""
    priority: int
    signature: tuple[int, int, int]
    """Parity, r, s."""
    digest: bytes
    """What was signed."""

    @classmethod
    def parse(cls, raw: bytes, calldata: bytes | None = None) -> "EthereumData":
        """Return what `raw` is; `calldata` of a file stands in for what was left out of it.

        Raises ValueError.
        """
        kind = raw[0] if raw else 0
        if kind not in _DATA_FIELD:
            raise ValueError("only transactions of types 1 and 2")
        try:
            if calldata is not None:
                fields = rlp.decode(raw[1:])
                fields[_DATA_FIELD[kind]] = calldata
                raw = bytes([kind]) + rlp.encode(fields)
            typed = TypedTransaction.from_bytes(HexBytes(raw))
            values: dict[str, Any] = typed.as_dict()
            sender = EthAccount.recover_transaction(raw)
        except Exception as error:  # eth-account, rlp and eth-keys each have their own
            raise ValueError(f"no transaction of Ethereum: {error}") from error
        return cls(
            raw=raw,
            kind=kind,
            hash=keccak256(raw),
            sender=bytes.fromhex(sender[2:]),
            chain_id=values["chainId"],
            nonce=values["nonce"],
            to=bytes(values["to"]) or None,
            data=bytes(values["data"]),
            value=values["value"],
            gas_limit=values["gas"],
            price=values.get("maxFeePerGas", values.get("gasPrice", 0)),
            priority=values.get("maxPriorityFeePerGas", 0),
            signature=(values["v"], values["r"], values["s"]),
            digest=bytes(typed.hash()),
        )

    def key(self) -> Key:
        """Return the key that has signed."""
        public_key = Signature(vrs=self.signature).recover_public_key_from_msg_hash(self.digest)
        return ecdsa_key(public_key.to_compressed_bytes())
