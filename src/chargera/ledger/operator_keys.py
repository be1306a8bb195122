"""The key by which an operator signs on chain, replaced by itself: the registry takes no other."""

from dataclasses import dataclass

from chargera.app.settlement_ports import Contracts, Sender
from chargera.domain.errors import Conflict, NotFound
from chargera.proofs.chain_values import address_text, operator_word

REGISTRY = "AttesterRegistry"


@dataclass(frozen=True, slots=True)
class AnnouncedSigner:
    """A change of an operator's signer that the registry was told of."""

    operator_id: str
    signer: str
    """Who signs from then on."""
    before: str
    """Who signs until then."""
    notice_s: int
    """Until it is in force, seconds from the transaction on."""
    transaction_hash: str


async def announce_signer(
    contracts: Contracts, sender: Sender, operator_id: str, signer: bytes
) -> AnnouncedSigner:
    """Announce another signer for an operator; log key and topic stay.

    Only the signer in force may: the registry refuses everybody else (ContractRefused). What was
    announced before and is not in force yet is replaced. Raises NotFound for an operator that the
    registry does not know, Conflict if it is the signer already.
    """
    word, new = operator_word(operator_id), address_text(signer)
    known = await contracts.read(REGISTRY, "operatorOf", word)
    if not int(known.signer, 16):
        raise NotFound(
            f"the registry knows no operator {operator_id}",
            field="operator_id",
            remedy="the owner of the registry, the Timelock, makes an operator known",
        )
    if known.signer == new:
        raise Conflict("it is the operator's signer already", field="new")
    notice_s = int(await contracts.read(REGISTRY, "OPERATOR_NOTICE"))
    sent = await sender.send(
        f"operator-signer:{new}",
        REGISTRY,
        "setOperator",
        word,
        (new, known.logKey, known.topic),
    )
    return AnnouncedSigner(operator_id, new, known.signer, notice_s, sent)
