"""The keeper: each step once, from wherever it was stopped; a step that fails holds up no other."""

from typing import Any

import pytest

from chargera.app.keeper import (
    STEP_AGE_MAX_S,
    Keeper,
    KeeperHealth,
    holders_of,
    pay_holders,
    units_of,
)
from chargera.app.settlement import VALID_FOR, BatchStage
from chargera.app.settlement_ports import ContractRefused
from chargera.domain.errors import Unavailable
from chargera.domain.settlement import Rail
from chargera.proofs.chain_values import ZERO_ADDRESS, address_text
from chargera.proofs.settlement import Batch, abi_batch
from tests.unit.app.settlement_rig import (
    ATTESTERS,
    EURO_TEXT,
    HOST,
    KEEPER,
    PASSPORTS,
    PAYER,
    WINDOW_S,
    HubSender,
    Rig,
    numbered,
    word,
)
from tests.unit.proofs.sample_settlement import policy

HOLDER = "0x" + "77" * 20
RULING_S = policy().parameters.ruling_timeout_s
TOKEN_ID = int(PASSPORTS[0], 16)


class PrepayingGateway:
    """A gateway that counts what it was asked."""

    def __init__(self) -> None:
        self.prepaid: list[str] = []
        self.fault: Exception | None = None

    async def prepay(self, digest: str, batch: Batch) -> str:
        if self.fault is not None:
            raise self.fault
        self.prepaid.append(digest)
        return "0x" + "12" * 65


class KeeperRig(Rig):
    """A rig with a keeper, which can be stopped and started again."""

    def __init__(self, *, with_gateway: bool = True, least_claim: int = 1) -> None:
        super().__init__()
        self.gateway = PrepayingGateway() if with_gateway else None
        self.sender = HubSender(self.hub)
        self.least_claim = least_claim
        self.restart()

    def restart(self) -> None:
        """What the old keeper remembered is gone."""
        self.keeper = Keeper(
            self.database,
            self.settlement,
            self.terms,
            self.hub,
            self.sender,
            self.clock,
            self.gateway,
            least_claim=self.least_claim,
        )

    async def signed(self, *cdrs: Any) -> str:
        """Form and sign a batch of these bills, its gateway's part included."""
        self.wait(*(cdrs or [numbered(0)]))
        row = await self.form()
        await self.keeper.turn()
        await self.sign(row.digest)
        assert await self.keeper.turn()
        assert self.rows.batches[row.digest].state is BatchStage.SIGNED
        return row.digest

    async def proposed(self, *cdrs: Any) -> str:
        digest = await self.signed(*cdrs)
        assert await self.keeper.turn()
        assert self.rows.batches[digest].state is BatchStage.PROPOSED
        return digest

    async def settled(self, *cdrs: Any) -> str:
        digest = await self.proposed(*cdrs)
        self.clock.advance(WINDOW_S + 2)
        assert await self.keeper.turn()
        assert self.rows.batches[digest].state is BatchStage.SETTLED
        return digest

    def purposes(self, kind: str) -> list[str]:
        """What was sent to the hub for purposes of a kind."""
        return [purpose for purpose in self.hub.sent if purpose.startswith(f"{kind}:")]


@pytest.fixture
def rig() -> KeeperRig:
    return KeeperRig()


# Prepaying -------------------------------------------------------------------------------------


async def test_formed__the_gateway_prepays_once_and_its_signature_is_kept(rig: KeeperRig) -> None:
    rig.wait(numbered(0))
    row = await rig.form()
    assert await rig.keeper.turn()
    assert not await rig.keeper.turn()
    assert rig.gateway is not None
    assert rig.gateway.prepaid == [row.digest]
    assert rig.rows.batches[row.digest].gateway_signature == "0x" + "12" * 65


async def test_formed__wallets_alone__nobody_prepays(rig: KeeperRig) -> None:
    rig.wait(numbered(0, rail=Rail.WALLET))
    await rig.form()
    assert not await rig.keeper.turn()
    assert rig.gateway is not None
    assert not rig.gateway.prepaid


async def test_formed__no_gateway__waits() -> None:
    rig = KeeperRig(with_gateway=False)
    rig.wait(numbered(0))
    await rig.form()
    assert not await rig.keeper.turn()


# Proposing and settling ------------------------------------------------------------------------


async def test_signed__proposed_with_its_window(rig: KeeperRig) -> None:
    digest = await rig.proposed()
    row = rig.rows.batches[digest]
    assert rig.purposes("propose") == [f"propose:{digest}"]
    assert rig.hub.batches[word(digest)].fiat, "the gateway's signature goes with it"
    assert row.proposed_at == rig.clock.now()
    assert row.window_ends_at is not None
    assert (row.window_ends_at - row.proposed_at).total_seconds() == WINDOW_S
    assert row.propose_transaction_hash == "0x" + "0" * 64


async def test_signed__wallets_alone__proposed_without_a_gateways_signature(
    rig: KeeperRig,
) -> None:
    rig.wait(numbered(0, rail=Rail.WALLET))
    row = await rig.form()
    await rig.sign(row.digest)
    await rig.keeper.turn()
    await rig.keeper.turn()
    assert not rig.hub.batches[word(row.digest)].fiat


async def test_signed__somebody_else_has_proposed_it__his_transaction_is_noted(
    rig: KeeperRig,
) -> None:
    digest = await rig.signed()
    batch = abi_batch(rig.rows.batches[digest].batch)
    rig.hub.propose("0xhis", batch, None, b"")
    await rig.keeper.turn()
    assert rig.rows.batches[digest].propose_transaction_hash == "0xhis"
    assert not rig.purposes("propose")


async def test_proposed__settled_only_after_its_window(rig: KeeperRig) -> None:
    digest = await rig.proposed()
    rig.clock.advance(WINDOW_S + 1)
    assert not await rig.keeper.turn()
    rig.clock.advance(1)
    assert await rig.keeper.turn()
    row = rig.rows.batches[digest]
    assert (row.state, row.paid, row.disputed) == (BatchStage.SETTLED, 1, 0)
    assert rig.purposes("settle") == [f"settle:{digest}"]
    assert row.settle_transaction_hash == rig.hub.said[-1].transaction_hash


async def test_proposed__settled_by_somebody_else__noted_without_sending(rig: KeeperRig) -> None:
    digest = await rig.proposed()
    rig.clock.advance(WINDOW_S + 2)
    rig.hub.settle("0xtheirs", abi_batch(rig.rows.batches[digest].batch))
    assert await rig.keeper.turn()
    assert rig.rows.batches[digest].state is BatchStage.SETTLED
    assert rig.rows.batches[digest].settle_transaction_hash == "0xtheirs"
    assert not rig.purposes("settle")


async def test_proposed__settled_and_its_logs_are_behind__waits_and_sends_nothing(
    rig: KeeperRig,
) -> None:
    """As where one mirror tells the state and another, which is behind, the logs."""
    digest = await rig.proposed()
    rig.clock.advance(WINDOW_S + 2)
    rig.hub.settle("0xtheirs", abi_batch(rig.rows.batches[digest].batch))
    told, rig.hub.said = rig.hub.said, []
    await rig.keeper.turn()
    assert rig.rows.batches[digest].state is BatchStage.PROPOSED
    assert rig.keeper.failures == 1
    rig.hub.said = told
    await rig.keeper.turn()
    assert rig.rows.batches[digest].settle_transaction_hash == "0xtheirs"
    assert not rig.purposes("settle")


async def test_proposed__killed_by_a_challenge__its_bills_wait_again(rig: KeeperRig) -> None:
    digest = await rig.proposed()
    rig.hub.kill(digest)
    assert await rig.keeper.turn()
    row = rig.rows.batches[digest]
    assert (row.state, row.settle_transaction_hash) == (BatchStage.KILLED, "0xkilled")
    assert rig.states() == {0: "waiting"}
    assert [entry.record["state"] for entry in rig.rows.entries] == ["proposed", "killed"]


async def test_what_was_skipped_is_told_from_what_was_paid(rig: KeeperRig) -> None:
    rig.hub.paid, rig.hub.disputed = 0b001, 0b100
    await rig.settled(numbered(0), numbered(1), numbered(2))
    assert rig.states() == {0: "settled", 1: "skipped", 2: "disputed"}


@pytest.mark.parametrize(
    "fault",
    [Unavailable("the chain is silent"), ContractRefused("OverBond", {}, "over the bond")],
    ids=["silent", "refused"],
)
async def test_a_step_that_fails__stays_and_holds_up_no_other(
    rig: KeeperRig, fault: Exception
) -> None:
    digest = await rig.signed()
    rig.wait(numbered(1))
    other = await rig.form()
    rig.hub.faults["propose"] = fault
    assert await rig.keeper.turn(), "the other's gateway prepays"
    assert rig.rows.batches[digest].state is BatchStage.SIGNED
    assert rig.rows.batches[other.digest].gateway_signature is not None
    assert (rig.keeper.open_batches, rig.keeper.failures) == (2, 1)
    del rig.hub.faults["propose"]
    await rig.keeper.turn()
    assert rig.rows.batches[digest].state is BatchStage.PROPOSED


async def test_a_fault_of_our_own_is_not_hidden(rig: KeeperRig) -> None:
    await rig.signed()
    rig.hub.faults["propose"] = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await rig.keeper.turn()


@pytest.mark.parametrize("signed", [False, True], ids=["formed", "signed"])
async def test_too_late_to_be_proposed__its_bills_wait_for_another_batch(
    rig: KeeperRig, signed: bool
) -> None:
    rig.wait(numbered(0))
    row = await rig.form()
    await rig.keeper.turn()
    if signed:
        await rig.sign(row.digest)
        rig.hub.faults["propose"] = ContractRefused("OverBond", {}, "over the bond")
        await rig.keeper.turn()
    rig.clock.advance(VALID_FOR.total_seconds())
    await rig.keeper.turn()
    assert rig.states() == {0: "pending"}
    rig.clock.advance(1)
    assert await rig.keeper.turn()
    assert rig.batch_states() == ["dropped"]
    assert rig.states() == {0: "waiting"}
    assert len(await rig.settlement.form(at_once=True)) == 1


async def test_too_late_but_proposed_by_somebody__it_goes_on(rig: KeeperRig) -> None:
    digest = await rig.signed()
    rig.hub.propose("0xhis", abi_batch(rig.rows.batches[digest].batch), None, b"")
    rig.clock.advance(VALID_FOR.total_seconds() + 1)
    await rig.keeper.turn()
    assert rig.rows.batches[digest].state is BatchStage.PROPOSED
    await rig.settlement.give_up(digest)
    assert rig.rows.batches[digest].state is BatchStage.PROPOSED


# Disputes --------------------------------------------------------------------------------------


async def disputed(rig: KeeperRig) -> tuple[str, int]:
    """A settled batch of two bills, the second of which is set aside."""
    digest = await rig.proposed(numbered(0), numbered(1))
    number = rig.hub.dispute(digest, 1)
    rig.hub.paid, rig.hub.disputed = 0b01, 0b10
    rig.clock.advance(WINDOW_S + 2)
    await rig.keeper.turn()
    assert rig.states() == {0: "settled", 1: "disputed"}
    return digest, number


async def test_dispute__that_nobody_rules_on__is_ended_when_its_time_is_over(
    rig: KeeperRig,
) -> None:
    _, number = await disputed(rig)
    left_s = RULING_S - WINDOW_S - 2
    rig.clock.advance(left_s)
    await rig.keeper.turn()
    assert rig.states()[1] == "disputed"
    owe(rig)
    rig.clock.advance(1)
    assert await rig.keeper.turn()
    assert rig.purposes("dispute") == [f"dispute:{number}"]
    assert rig.states() == {0: "settled", 1: "settled"}
    assert not rig.hub.claimable, "what the leaf paid goes to its holders"
    assert not await rig.keeper.turn()


@pytest.mark.parametrize(("stands", "state"), [(True, "settled"), (False, "skipped")])
async def test_dispute__ruled_by_somebody__is_noted_without_sending(
    rig: KeeperRig, stands: bool, state: str
) -> None:
    _, number = await disputed(rig)
    rig.hub.end_dispute("0xruled", number, stands=stands)
    assert await rig.keeper.turn()
    assert rig.states()[1] == state
    assert not rig.purposes("dispute")


async def test_dispute__after_a_restart_it_is_known(rig: KeeperRig) -> None:
    await disputed(rig)
    rig.restart()
    rig.clock.advance(RULING_S)
    await rig.keeper.turn()
    assert rig.states()[1] == "settled"


async def test_dispute__the_chain_is_silent__tried_again(rig: KeeperRig) -> None:
    await disputed(rig)
    rig.hub.faults["endDispute"] = Unavailable("silent")
    rig.clock.advance(RULING_S)
    await rig.keeper.turn()
    assert rig.keeper.failures == 1
    rig.hub.faults = {}
    await rig.keeper.turn()
    assert rig.states()[1] == "settled"


# Paying ----------------------------------------------------------------------------------------


def owe(rig: KeeperRig) -> None:
    """What a settled batch leaves: to holders, the host, an attester, the keeper, a payer."""
    rig.hub.claimable = {(EURO_TEXT, HOST): 75, (EURO_TEXT, HOLDER): 25}
    rig.hub.withdrawable = {
        (account, EURO_TEXT): 10 for account in (HOST, KEEPER, ATTESTERS[0], PAYER)
    }
    hold(rig, HOLDER)


def hold(rig: KeeperRig, *holders: str) -> None:
    """Units of the first passport go to these, and some of another to a stranger."""
    for holder in holders:
        rig.hub.say("TransferSingle", [], "0x", id=TOKEN_ID, to=holder)
    rig.hub.say("TransferSingle", [], "0x", id=TOKEN_ID + 1, to="0x" + "88" * 20)


async def test_settled__everybody_is_paid_without_asking(rig: KeeperRig) -> None:
    owe(rig)
    await rig.settled(numbered(0), numbered(1, rail=Rail.WALLET))
    assert not rig.hub.claimable
    assert not rig.hub.withdrawable
    assert rig.purposes("claim") == [
        f"claim:{PASSPORTS[0]}:{EURO_TEXT}:{account}:0" for account in (HOST, HOLDER)
    ]


async def test_settled__who_is_paid_is_not_looked_at_again(rig: KeeperRig) -> None:
    await rig.settled(numbered(0), numbered(1, rail=Rail.WALLET))
    del (
        rig.hub.answers["ChargerShares", "claimable"],
        rig.hub.answers["SettlementHub", "withdrawable"],
    )
    assert not await rig.keeper.turn()


async def test_settled__below_the_minimum__stays_owed() -> None:
    rig = KeeperRig(least_claim=26)
    owe(rig)
    await rig.settled(numbered(0), numbered(1, rail=Rail.WALLET))
    assert rig.hub.claimable == {(EURO_TEXT, HOLDER): 25}
    assert len(rig.hub.withdrawable) == 4


async def test_settled__a_payment_that_fails_is_tried_again(rig: KeeperRig) -> None:
    owe(rig)
    rig.hub.faults = {name: Unavailable("silent") for name in ("claim", "withdrawFor")}
    await rig.settled(numbered(0), numbered(1, rail=Rail.WALLET))
    assert len(rig.hub.claimable) == 2
    assert rig.keeper.failures == 2, "a passport's holders, and a payer"
    rig.hub.faults = {}
    await rig.keeper.turn()
    assert (rig.keeper.open_batches, rig.keeper.failures) == (0, 0)
    assert not rig.hub.claimable
    assert not rig.hub.withdrawable


async def test_after_a_restart__who_was_owed_is_paid(rig: KeeperRig) -> None:
    rig.hub.faults = {name: Unavailable("silent") for name in ("claim", "withdrawFor")}
    await rig.settled(numbered(0), numbered(1, rail=Rail.WALLET))
    owe(rig)
    rig.hub.faults = {}
    rig.restart()
    await rig.keeper.turn()
    assert not rig.hub.claimable
    assert not rig.hub.withdrawable


async def test_paid_again__each_payment_has_a_purpose_of_its_own(rig: KeeperRig) -> None:
    owe(rig)
    await rig.settled()
    owe(rig)
    await rig.keeper.pay(PASSPORTS[0])
    assert not rig.hub.claimable
    claims = rig.purposes("claim")
    assert len(set(claims)) == len(claims) == 4
    withdrawals = [purpose for purpose in rig.purposes("withdraw") if HOST in purpose]
    assert [purpose.rpartition(":")[2] for purpose in withdrawals] == ["0", "1"]


async def test_claim__whoever_is_named__and_the_last_payment_of_who_is_paid(
    rig: KeeperRig,
) -> None:
    owe(rig)
    (claim,) = await rig.keeper.claim(PASSPORTS[0], HOLDER)
    assert (claim.holder, claim.asset, claim.amount) == (HOLDER, EURO_TEXT, 25)
    assert list(rig.hub.claimable) == [(EURO_TEXT, HOST)]
    (again,) = await rig.keeper.claim(PASSPORTS[0], HOLDER)
    assert again == claim


async def test_pay_holders__who_is_owed_nothing_is_not_listed(rig: KeeperRig) -> None:
    owe(rig)
    await pay_holders(rig.hub, rig.sender, PASSPORTS[0])
    assert await pay_holders(rig.hub, rig.sender, PASSPORTS[0]) == []
    assert await pay_holders(rig.hub, rig.sender, PASSPORTS[1], tell_last=True) == []


def test_health__what_has_not_come_round_for_long_is_a_fault() -> None:
    assert KeeperHealth().reason is None
    assert KeeperHealth(STEP_AGE_MAX_S, open_batches=9, failures=9).reason is None
    assert KeeperHealth(STEP_AGE_MAX_S + 1).reason == "the keeper has not come round for 181 s"


async def test_holders__the_owner_and_who_ever_held_units_each_once(rig: KeeperRig) -> None:
    nobody, other = address_text(ZERO_ADDRESS), "0x" + "99" * 20
    hold(rig, HOLDER, nobody, HOLDER)
    rig.hub.say("TransferBatch", [], "0x", ids=[TOKEN_ID], to=other)
    rig.hub.say("TransferBatch", [], "0x", ids=[TOKEN_ID + 1], to="0x" + "66" * 20)
    assert await holders_of(rig.hub, PASSPORTS[0]) == [HOST, HOLDER, other]
    assert await units_of(rig.hub, PASSPORTS[0]) == {
        HOST: 750_000,
        HOLDER: 250_000,
        other: 250_000,
    }
