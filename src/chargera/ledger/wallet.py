"""What a driver's wallet signs to pay a session: an escrow, the token's allowance, a refund."""

from collections.abc import Callable, Mapping
from typing import Any

from chargera.app.settlement_ports import Contracts, Sender
from chargera.domain.errors import NotFound
from chargera.ledger.chain_key import ChainKey
from chargera.proofs.chain_values import hex_text, operator_word, parse_address, parse_hex
from chargera.proofs.permit import permit_digest
from chargera.proofs.settlement import SESSION_KEY_BYTES, escrow_id, open_digest


def signed_escrow(
    terms: Mapping[str, Any],
    key: ChainKey,
    station_id: str,
    evse: int,
    maximum: int,
    random: Callable[[int], bytes],
) -> dict[str, Any]:
    """Return the request that opens an escrow of `maximum` minor units for one session.

    `terms` are the answer of `/api/v1/payments/terms`, `random` makes the session's pseudonym. The
    key stays here: what leaves are its two signatures (EIP-712 Open, ERC-2612 permit).
    """
    session_key = random(SESSION_KEY_BYTES)
    asset = parse_address(terms["asset"], field="asset")
    hub = parse_address(terms["hub"], field="hub")
    opening = open_digest(
        terms["operator_id"],
        session_key,
        asset,
        maximum,
        terms["deadline"],
        chain_id=terms["chain_id"],
        hub=hub,
    )
    permit = permit_digest(
        name=terms["asset_name"],
        version=terms["asset_version"],
        chain_id=terms["chain_id"],
        token=asset,
        owner=key.address,
        spender=hub,
        value=maximum,
        nonce=terms["nonce"],
        deadline=terms["deadline"],
    )
    return {
        "asset": terms["asset"],
        "deadline": terms["deadline"],
        "evse": evse,
        "max": maximum,
        "payer": key.address_text,
        "permit_signature": hex_text(key.sign(permit)),
        "session_key": hex_text(session_key),
        "signature": hex_text(key.sign(opening)),
        "station_id": station_id,
    }


async def take_back(
    contracts: Contracts, sender: Sender, operator_id: str, session_key: str
) -> tuple[str, str]:
    """Take the next step of an escrow's refund; return it (`asked`, `paid`) and its transaction.

    `sender` is the payer. Raises NotFound if nothing is held, ContractRefused before its time.
    """
    key = parse_hex(session_key, SESSION_KEY_BYTES, field="session_key")
    operator, payer = operator_word(operator_id), parse_address(sender.address, field="payer")
    held = await contracts.read("SettlementHub", "escrowOf", escrow_id(payer, operator_id, key))
    if not held.assetIndex:
        raise NotFound(
            "the hub holds nothing of this payer for that session",
            field="session_key",
            remedy="it was drawn, and the rest paid back; or another key has opened it",
        )
    if not held.askedAt:
        return "asked", await sender.send("", "SettlementHub", "askRefund", operator, key)
    asset = await contracts.read("NetworkPolicy", "assetAt", held.assetIndex)
    await sender.send("", "SettlementHub", "refund", sender.address, operator, key)
    sent = await sender.send("", "SettlementHub", "withdrawFor", sender.address, asset)
    return "paid", sent
