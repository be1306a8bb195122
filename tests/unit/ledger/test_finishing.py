"""A batch file carried to its end by a stranger: what he has to send, and what is refused."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chargera.app.settlement_ports import ContractRefused
from chargera.domain.errors import InvalidInput, Refused
from chargera.ledger.finishing import finish
from chargera.proofs.batch_file import AttesterSignature, BatchFile
from chargera.proofs.chain_values import address_text, hex_text
from chargera.proofs.settlement import abi_batch
from tests.unit.app.settlement_rig import WINDOW_S, Clock, Hub, HubSender, terms
from tests.unit.proofs.sample_batch import address, sign
from tests.unit.proofs.test_batch_file import batch_file


class Stranger:
    """Whoever holds a batch file and a key."""

    def __init__(self, *, gateway: bool = True) -> None:
        self.clock = Clock()
        self.hub = Hub(self.clock, terms())
        self.sender = HubSender(self.hub)
        self.file = signed(batch_file(gateway=gateway))

    async def finish(self, file: BatchFile | None = None) -> tuple[str, str | None]:
        """Do what there is to do; return the state afterwards, and the transaction."""
        done = await finish(self.hub, self.sender, file or self.file)
        assert done.batch == hex_text(self.file.digest)
        assert done.sessions == len(self.file.batch.leaves)
        return done.state, done.transaction_hash


def signed(file: BatchFile) -> BatchFile:
    """The file of a batch without reports of health, signed again."""
    file = replace(file, batch=replace(file.batch, health=()))
    return replace(
        file,
        signatures=tuple(
            AttesterSignature(n - 1, address(n), sign(n, file.digest)) for n in (1, 2)
        ),
        gateway_signature=None if file.gateway_signature is None else sign(8, file.digest),
    )


@pytest.mark.parametrize("gateway", [True, False])
async def test_proposed_then_settled_then_nothing_is_left_to_do(*, gateway: bool) -> None:
    stranger = Stranger(gateway=gateway)
    state, sent = await stranger.finish()
    assert state == "proposed"
    assert sent is not None
    assert stranger.hub.batches[stranger.file.digest].fiat is gateway
    stranger.clock.advance(WINDOW_S + 2)
    state, settled = await stranger.finish()
    assert state == "settled"
    assert settled not in (None, sent)
    assert await stranger.finish() == ("settled", None)


async def test_what_somebody_else_has_proposed_is_settled_by_one_transaction() -> None:
    stranger = Stranger()
    stranger.hub.propose("0xtheirs", abi_batch(stranger.file.batch), None, b"")
    stranger.clock.advance(WINDOW_S + 2)
    await stranger.finish()
    assert stranger.hub.sent == [f"settle:{hex_text(stranger.file.digest)}"]


async def test_window_open__refused_by_the_hubs_rule() -> None:
    stranger = Stranger()
    await stranger.finish()
    with pytest.raises(ContractRefused) as error:
        await stranger.finish()
    assert error.value.rule == "WindowOpen"


async def test_killed__nothing_is_sent() -> None:
    stranger = Stranger()
    await stranger.finish()
    stranger.hub.kill(hex_text(stranger.file.digest))
    assert await stranger.finish() == ("killed", None)


async def test_skipped__what_was_neither_paid_nor_disputed() -> None:
    stranger = Stranger()
    await stranger.finish()
    stranger.clock.advance(WINDOW_S + 2)
    stranger.hub.paid, stranger.hub.disputed = 0b00, 0b10
    done = await finish(stranger.hub, stranger.sender, stranger.file)
    assert (done.sessions, done.skipped) == (2, 1)
    ends_s = stranger.hub.batches[stranger.file.digest].window_ends_at
    assert done.window_ends_at == datetime.fromtimestamp(ends_s, UTC)
    assert done.asset == address_text(stranger.file.batch.asset)


async def test_a_file_that_does_not_hold_together__refused_before_anything_is_sent() -> None:
    stranger = Stranger()
    with pytest.raises(InvalidInput):
        await stranger.finish(replace(stranger.file, paths=stranger.file.paths[::-1]))
    assert not stranger.hub.sent


@pytest.mark.parametrize("change", [{"chain_id": 7}, {"hub": b"\x01" * 20}], ids=["chain", "hub"])
async def test_a_file_of_another_network__refused(change: dict[str, object]) -> None:
    stranger = Stranger()
    other = signed(replace(stranger.file, **change))  # type: ignore[arg-type] # its members
    with pytest.raises(Refused, match="another chain or hub"):
        await stranger.finish(other)
    assert not stranger.hub.sent
