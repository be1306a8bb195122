"""ERC-2612 permits: an allowance that a token's holder signs, for whoever sends it."""

from chargera.proofs.eip712 import Domain, address_word, struct_hash, typed_digest, uint_word


def permit_digest(
    *,
    name: str,
    version: str,
    chain_id: int,
    token: bytes,
    owner: bytes,
    spender: bytes,
    value: int,
    nonce: int,
    deadline: int,
) -> bytes:
    """Return what `owner` signs so that `spender` may take `value` of `token`.

    `name` and `version` are those of the token's EIP-712 domain; `deadline` in Unix seconds.
    """
    struct = struct_hash(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)",
        address_word(owner),
        address_word(spender),
        uint_word(value),
        uint_word(nonce),
        uint_word(deadline),
    )
    return typed_digest(Domain(name, version, chain_id, token), struct)
