"""Accounts and their addresses: an id, a long-zero address and an alias may be one and the same.

Every account has a long-zero address made of its id; an ECDSA account has also an alias, which
contracts see as the sender. Whoever is written into a contract, or compared with what stands
there, goes through `Accounts.canonical` first, so that one account is never two holders.
"""

from chargera.domain.errors import NotFound, Refused
from chargera.ledger.hedera.mirror import HederaMirror, MirrorAccount
from chargera.proofs.chain_values import ADDRESS_BYTES, address_text, topic_address
from chargera.proofs.running_hash import parse_entity_id

LONG_ZERO_PREFIX = bytes(12)
"""Shard and realm of every network there is."""

ED25519 = "ED25519"
ECDSA = "ECDSA_SECP256K1"


def is_long_zero(address: bytes) -> bool:
    """Say whether an address is that of an account's number, and not of a key or contract."""
    assert len(address) == ADDRESS_BYTES, "an address has 20 bytes"
    return address[:12] == LONG_ZERO_PREFIX and any(address[12:])


def long_zero(account_id: str) -> bytes:
    """Return the long-zero address of an id such as 0.0.1002. Raises InvalidInput."""
    return topic_address(account_id)


def account_of(address: bytes) -> str:
    """Return the account id that a long-zero address stands for."""
    assert is_long_zero(address), "only of a long-zero address"
    return f"0.0.{int.from_bytes(address[12:], 'big')}"


class Accounts:
    """Accounts as the mirror knows them; what never changes is kept."""

    def __init__(self, mirror: HederaMirror) -> None:
        """Ask `mirror`."""
        self._mirror = mirror
        self._canonical: dict[bytes, bytes] = {}

    async def canonical(self, address: bytes) -> bytes:
        """Return the one address under which contracts know a holder.

        An alias is one already. A long-zero address is another name for the alias of its account,
        where it has one; where it has none, or is of no account, it stands for itself.
        """
        if not is_long_zero(address):
            return address
        known = self._canonical.get(address)
        if known is None:
            try:
                known = (await self._mirror.account(account_of(address))).evm_address
            except NotFound:
                return address  # there may be one later
            if known != address:  # an alias never changes; an account may still get one
                self._canonical[address] = known
        return known

    async def address(self, account_id: str) -> bytes:
        """Return the canonical address of an account id. Raises InvalidInput, NotFound."""
        parse_entity_id(account_id, "account")
        return (await self._mirror.account(account_id)).evm_address

    async def sender(self, address: bytes) -> MirrorAccount:
        """Return the account that sends from an address.

        Raises Refused where there is none yet, or where it has been deleted: nothing can be sent.
        """
        try:
            account = await self._mirror.account(address)
        except NotFound:
            raise Refused(
                f"{address_text(address)} has no account on Hedera, so it cannot send",
                field="sender",
                remedy="transfer some HBAR to that address, which makes one: `chargera ledger init`"
                " does it for this network's own keys",
            ) from None
        if account.deleted:
            raise Refused(f"the account {account.account_id} is deleted", field="sender")
        return account


def check_signs_typed_data(account: MirrorAccount) -> None:
    """Raise Refused for an account whose key cannot sign typed data (EIP-712), and say why.

    Contracts recover signers on secp256k1, and an ED25519 signature recovers to nobody. One that
    was made by a transfer has no key yet; the first that it signs with is an ECDSA key.
    """
    if account.key_type in (ECDSA, None):
        return
    which = "an ED25519 key" if account.key_type == ED25519 else "a list of keys"
    raise Refused(
        f"the account {account.account_id} has {which}, which cannot sign typed data: contracts "
        "recover signers on the curve secp256k1 alone",
        field="account",
        remedy="use an account with one ECDSA key, whose address is its alias",
    )
