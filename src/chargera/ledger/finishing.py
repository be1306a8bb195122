"""A batch file carried to its end by a stranger: proposed if nobody has, settled when it may be."""

from dataclasses import dataclass
from datetime import UTC, datetime

from chargera.app.settlement_ports import Contracts, Sender
from chargera.domain.errors import Refused
from chargera.proofs.batch_file import BatchFile
from chargera.proofs.chain_values import address_text, hex_text, parse_address
from chargera.proofs.settlement import abi_attestation, abi_batch

HUB = "SettlementHub"
STATES = ("none", "proposed", "settled", "killed")


@dataclass(frozen=True, slots=True)
class Finished:
    """Where a batch stands afterwards; `transaction_hash` None: nothing had to be sent."""

    batch: str
    asset: str
    state: str
    window_ends_at: datetime
    sessions: int
    skipped: int
    transaction_hash: str | None


async def finish(contracts: Contracts, sender: Sender, file: BatchFile) -> Finished:
    """Propose a batch that is not proposed, settle it if its window is over.

    Raises InvalidInput for a file that does not hold together, Refused for another network's,
    ContractRefused by the hub's rule, such as a window that is still open.
    """
    file.check()
    hub = parse_address(contracts.address(HUB), field="hub")
    if (file.chain_id, file.hub) != (contracts.chain_id, hub):
        raise Refused("the batch file is of another chain or hub", field="batch")
    sent = None
    state = await contracts.read(HUB, "batchOf", file.digest)
    if STATES[state.state] == "none":
        sent = await sender.send(
            f"propose:{hex_text(file.digest)}",
            HUB,
            "propose",
            abi_batch(file.batch),
            abi_attestation(file.attestation),
            file.gateway_signature or b"",
        )
    elif STATES[state.state] == "proposed":
        sent = await sender.send(
            f"settle:{hex_text(file.digest)}", HUB, "settle", abi_batch(file.batch)
        )
    state = await contracts.read(HUB, "batchOf", file.digest)
    return Finished(
        hex_text(file.digest),
        address_text(file.batch.asset),
        STATES[state.state],
        datetime.fromtimestamp(state.windowEndsAt, UTC),
        len(file.batch.leaves),
        await _skipped(contracts, file, STATES[state.state]),
        sent,
    )


async def _skipped(contracts: Contracts, file: BatchFile, state: str) -> int:
    if state != "settled":
        return 0
    events = await contracts.events(HUB, "Settled", [file.digest])
    paid = events[-1].members.paid | events[-1].members.disputed
    return len(file.batch.leaves) - int(paid).bit_count()
