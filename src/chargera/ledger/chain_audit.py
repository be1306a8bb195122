"""What an audit needs of the chain: the anchoring interval, and every leaf that was ever proposed.

Batches are read from the calldata of the transactions that proposed them, so nobody's word but
the chain's is needed; a batch whose contents do not have the digest that the hub keeps is a fault.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from chargera.app.chain_ports import Chain
from chargera.domain.errors import ChargEraError, Unavailable, Undetermined, Unreadable
from chargera.ledger.abi import SELECTOR_BYTES, Event, interface
from chargera.ledger.evm.rpc_backend import RpcChain
from chargera.ledger.hedera.chain import MirrorChain
from chargera.ledger.network_contracts import ChainContracts
from chargera.proofs.audit import ChainFacts, SettledLeaf
from chargera.proofs.chain_values import (
    address_text,
    parse_address,
    parse_hex,
    topic_of_address,
)
from chargera.proofs.settlement import Batch, Health, batch_digest, parse_leaf

HUB = "SettlementHub"


async def audit_facts(contracts: ChainContracts) -> ChainFacts:
    """Return what a chain says, over RPC or by a mirror. Raises Unavailable, ContractRefused."""
    settled = {
        bytes(event.members.digest): event.members
        for event in await contracts.events(HUB, "Settled")
    }
    killed = {bytes(event.members.digest) for event in await contracts.events(HUB, "Killed")}
    leaves: list[SettledLeaf] = []
    faults: list[str] = []
    newest: dict[str, int] = {}
    for proposed in await contracts.events(HUB, "Proposed"):
        digest = bytes(proposed.members.digest)
        if digest in killed:
            continue  # it has no effect, whatever it said
        try:
            batch = await _proposed(contracts, proposed)
        except Undetermined:
            raise
        except ChargEraError as error:
            faults.append(f"batch {digest.hex()}: {error.message}")
        else:
            leaves += _leaves(batch, digest, settled.get(digest))
            topic_id = topic_of_address(batch.topic)
            newest[topic_id] = max(newest.get(topic_id, 0), batch.sequence_number)
    return ChainFacts(await _anchor_interval(contracts), leaves, faults, newest)


async def _anchor_interval(contracts: ChainContracts) -> timedelta:
    """Return the longest interval that any version of the policy has allowed."""
    longest = 0
    for version in range(1, await contracts.read("NetworkPolicy", "latest") + 1):
        _, terms = await contracts.read("NetworkPolicy", "parametersOf", version)
        longest = max(longest, terms.anchorInterval)
    return timedelta(seconds=longest)


async def _proposed(contracts: ChainContracts, proposed: Event) -> Batch:
    """Return a batch from the transaction that proposed it. Raises Unreadable, Unavailable."""
    data = await _calldata(contracts.chain, proposed.transaction_hash)
    propose = interface(HUB).function("propose")
    if data[:SELECTOR_BYTES] != propose.selector:
        raise Unreadable("it was proposed through another contract, which hides what it says")
    try:
        (members, _, _) = decode(propose.inputs, data[SELECTOR_BYTES:])
    except DecodingError as error:
        raise Unreadable(f"its transaction does not decode: {error}") from error
    batch = _batch(members)
    hub = parse_address(contracts.address(HUB), field="hub")
    if batch_digest(batch, contracts.chain_id, hub) != bytes(proposed.members.digest):
        raise Unreadable("its contents have another digest than the hub keeps")
    return batch


async def _calldata(chain: Chain, transaction_hash: str) -> bytes:
    """Return what a transaction carried. Raises Unavailable where the chain does not tell."""
    if isinstance(chain, MirrorChain):
        found = await chain.mirror.contract_result(parse_hex(transaction_hash, 32, field="hash"))
        text = None if found is None else found.get("function_parameters")
    else:
        assert isinstance(chain, RpcChain), "an audit reads over RPC or by a mirror"
        sent = await chain.ask("eth_getTransactionByHash", transaction_hash)
        text = sent["input"] if isinstance(sent, Mapping) else None
    if text is None:
        raise Unavailable(
            f"the chain tells of the event of {transaction_hash}, and not (yet) of the transaction",
            remedy="ask another node or mirror, or later",
        )
    return parse_hex(text, None, field="input")


def _batch(members: tuple[Any, ...]) -> Batch:
    """Return the batch that `abi_batch` makes such a tuple of."""
    operator, asset, checkpoint, tree_size, topic, sequence, valid, proposer, rate = members[:9]
    gateway, fiat_total, passports, leaves, health = members[9:]
    return Batch(
        operator_id=operator.rstrip(b"\0").decode("ascii", "replace"),
        asset=parse_address(asset, field="asset"),
        checkpoint=checkpoint,
        tree_size=tree_size,
        topic=parse_address(topic, field="topic"),
        sequence_number=sequence,
        valid_until=valid,
        proposer=parse_address(proposer, field="proposer"),
        c4e_rate=rate,
        gateway=parse_address(gateway, field="gateway"),
        fiat_total=fiat_total,
        passports=tuple(passports),
        leaves=tuple(
            parse_leaf(first + b"".join(word.to_bytes(32, "big") for word in rest))
            for first, *rest in leaves
        ),
        health=tuple(
            Health(
                word >> 72 & 0xFF, word >> 32 & (1 << 40) - 1, word >> 16 & 0xFFFF, word & 0xFFFF
            )
            for word in health
        ),
    )


def _leaves(batch: Batch, digest: bytes, settled: Mapping[str, Any] | None) -> list[SettledLeaf]:
    paid = 0 if settled is None else settled["paid"]
    lane = (batch.operator_id, address_text(batch.asset))
    return [
        SettledLeaf(
            batch=digest.hex(),
            place=place,
            lane=lane,
            cdr_no=leaf.cdr_no,
            log_index=leaf.log_index,
            evidence_digest=leaf.evidence_digest,
            is_paid=bool(paid >> place & 1),
        )
        for place, leaf in enumerate(batch.leaves)
    ]
