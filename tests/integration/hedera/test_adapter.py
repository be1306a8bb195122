"""The ledger's ports on Hedera's own protocol: SDK, node and mirror, nothing of ours between."""

import threading
from collections.abc import AsyncIterator

import pytest

from chargera.app.chain_ports import BadTransaction, LogFilter, Reverted
from chargera.app.clock import SystemEntropy
from chargera.app.hedera_ports import HederaSend, HederaSendState
from chargera.app.log_ports import MessageRange
from chargera.domain.errors import Conflict, InvalidInput, Refused, Unavailable
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.deployment import (
    AttesterGenesis,
    DeploymentParameters,
    OperatorGenesis,
    deploy,
    make_plan,
)
from chargera.ledger.evm.transaction import sign
from chargera.ledger.hedera.accounts import long_zero
from chargera.ledger.hedera.chain import MirrorChain
from chargera.ledger.hedera.client import HapiClient, HapiNetwork
from chargera.ledger.hedera.failures import HapiFailure
from chargera.ledger.hedera.signer import KeySigner
from chargera.ledger.hedera.topic import HederaTopic
from chargera.ledger.network_contracts import ChainContracts, DirectSender, trusted_contracts
from chargera.ledger.transaction_id import timestamp_ns
from chargera.proofs.anchor import chain as chain_messages
from chargera.proofs.chain_values import address_text, topic_address
from chargera.proofs.running_hash import ZERO_HASH
from chargera.proofs.trust import TrustedChain
from chargera.store.hedera_sends import PostgresHederaSends
from chargera.store.unit_of_work import Database
from tests.evm_contracts import COUNTER, ENDLESS, KEEPER, REFUSER, Account, word
from tests.integration.hedera.adapter_rig import SENDER, AdapterRig, adapter
from tests.unit.ledger.hedera.fakes import START, HandClock

NOBODYS = ChainKey(b"\x0f" * 32)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, HandClock(), SystemEntropy())
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def rig() -> AsyncIterator[AdapterRig]:
    async with adapter() as made:
        yield made


@pytest.fixture
async def anchored(rig: AdapterRig) -> AdapterRig:
    await rig.create_topic()
    return rig


# The topic -------------------------------------------------------------------------------------


async def test_topic__an_empty_one(anchored: AdapterRig) -> None:
    info = await anchored.topic.info()
    assert (info.sequence_number, info.running_hash, info.consensus_timestamp_ns) == (
        0,
        ZERO_HASH,
        0,
    )
    assert (info.memo, info.payer_account_id) == ("heads", anchored.payer)
    assert list(await anchored.topic.messages(MessageRange(), 10)) == []


async def test_topic__immutable_with_a_submit_key(anchored: AdapterRig) -> None:
    topic = await anchored.mirror.topic(anchored.topic_id)
    assert topic.admin_key is None
    assert topic.submit_key is not None
    with pytest.raises(Refused, match="UNAUTHORIZED"):
        await anchored.outbox.once(
            "memo",
            lambda name: anchored.client.update_topic(name, anchored.topic_id, "other"),
        )


async def test_submit__messages_in_their_places_each_recomputed(anchored: AdapterRig) -> None:
    sent = [
        await anchored.topic.submit(str(anchored.new_id()), b"head %d" % number)
        for number in range(3)
    ]
    assert [message.sequence_number for message in sent] == [1, 2, 3]
    assert list(await anchored.topic.messages(MessageRange(), 10)) == sent
    assert chain_messages(sent) == sent
    info = await anchored.topic.info()
    assert (info.sequence_number, info.running_hash) == (3, sent[-1].running_hash)


async def test_submit__nanoseconds_are_kept(anchored: AdapterRig) -> None:
    """An SDK's own class of messages cuts them to microseconds; the mirror's rows do not."""
    message = await anchored.topic.submit(str(anchored.new_id()), b"head")
    (record,) = anchored.effects("consensusSubmitMessage")
    assert timestamp_ns(message.consensus_timestamp) == record.consensus_ns


async def test_submit__an_id_twice__conflict_and_found(anchored: AdapterRig) -> None:
    name = str(anchored.new_id())
    message = await anchored.topic.submit(name, b"head")
    with pytest.raises(Conflict, match="DUPLICATE_TRANSACTION"):
        await anchored.topic.submit(name, b"head")
    assert await anchored.topic.find(name) == message


async def test_find__never_sent__known_only_once_the_mirror_is_past_its_window(
    anchored: AdapterRig,
) -> None:
    name = str(anchored.new_id())
    with pytest.raises(Unavailable, match="not past the end"):
        await anchored.topic.find(name)
    anchored.clock.advance(130)
    assert await anchored.topic.find(name) is None


async def test_submit__what_the_network_would_never_take__refused(anchored: AdapterRig) -> None:
    old = str(anchored.new_id())
    anchored.clock.advance(200)
    for name, message, words in [
        (old, b"head", "TRANSACTION_EXPIRED"),
        (f"0.0.2@{str(anchored.new_id()).partition('@')[2]}", b"head", "INVALID_SIGNATURE"),
        (str(anchored.new_id()), b"", "INVALID_TOPIC_MESSAGE"),
        (str(anchored.new_id()), b"x" * 1025, "MESSAGE_SIZE_TOO_LARGE"),
    ]:
        with pytest.raises(Refused, match=words):
            await anchored.topic.submit(name, message)
    assert anchored.effects("consensusSubmitMessage") == []


async def test_submit__the_largest_message__one_message(anchored: AdapterRig) -> None:
    message = await anchored.topic.submit(str(anchored.new_id()), b"x" * 1024)
    assert len(message.message) == 1024


async def test_submit__a_topic_of_others__refused_by_name(anchored: AdapterRig) -> None:
    other = HederaTopic("0.0.999999", anchored.client, anchored.delivery, anchored.clock)
    with pytest.raises(Refused, match="INVALID_TOPIC_ID"):
        await other.submit(str(anchored.new_id()), b"head")


async def test_submit_key__one_of_three__each_may_submit_and_no_other(rig: AdapterRig) -> None:
    current, following, cold, stranger = (KeySigner(ChainKey(bytes([n]) * 32)) for n in range(1, 5))
    keys = [current.public_key, following.public_key, cold.public_key]
    outcome = await rig.outbox.once("topic", lambda name: rig.client.create_topic(name, "t", keys))
    assert outcome.entity_id is not None

    def topic(signer: KeySigner) -> HederaTopic:
        assert outcome.entity_id is not None
        return HederaTopic(outcome.entity_id, rig.client, rig.delivery, rig.clock, [signer])

    for signer in (current, following, cold):
        await topic(signer).submit(str(rig.new_id()), b"head")
    with pytest.raises(Refused, match="INVALID_SIGNATURE"):
        await topic(stranger).submit(str(rig.new_id()), b"head")
    assert len(rig.effects("consensusSubmitMessage")) == 3


async def test_find__sent_to_the_topic_before_this_one__found_there(anchored: AdapterRig) -> None:
    names = [str(anchored.new_id()) for _ in range(2)]
    sent = [await anchored.topic.submit(name, b"head") for name in names]
    outcome = await anchored.outbox.once(
        "next", lambda name: anchored.client.create_topic(name, "t", [anchored.signer.public_key])
    )
    assert outcome.entity_id is not None
    following = HederaTopic(
        outcome.entity_id,
        anchored.client,
        anchored.delivery,
        anchored.clock,
        former=[anchored.topic_id],
    )
    assert [await following.find(name) for name in names] == sent
    alone = HederaTopic(outcome.entity_id, anchored.client, anchored.delivery, anchored.clock)
    with pytest.raises(Unavailable, match=f"a message of {anchored.topic_id}"):
        await alone.find(names[0])


async def test_messages__ranges_pages_and_both_orders(anchored: AdapterRig) -> None:
    sent = [
        await anchored.topic.submit(str(anchored.new_id()), b"%d" % number) for number in range(7)
    ]
    ask = anchored.topic.messages
    assert list(await ask(MessageRange(3, 5), 10)) == sent[2:5]
    assert list(await ask(MessageRange(newest_first=True), 2)) == [sent[6], sent[5]]
    assert list(await ask(MessageRange(to_sequence_number=2, newest_first=True), 9)) == sent[1::-1]
    times = [timestamp_ns(message.consensus_timestamp) for message in sent]
    within = MessageRange(from_timestamp_ns=times[1], to_timestamp_ns=times[3])
    assert list(await ask(within, 10)) == sent[1:4]
    assert list(await ask(MessageRange(), 0)) == []


async def test_messages__more_than_a_page(anchored: AdapterRig) -> None:
    for number in range(103):
        await anchored.client.submit_message(anchored.new_id(), anchored.topic_id, b"%d" % number)
    rows = await anchored.topic.messages(MessageRange(), 1_000)
    assert [row.sequence_number for row in rows] == list(range(1, 104))
    newest = await anchored.topic.messages(MessageRange(newest_first=True), 102)
    assert [row.sequence_number for row in newest] == list(range(103, 1, -1))


# The chain -------------------------------------------------------------------------------------


async def test_send_raw__a_contract_is_made_and_called(rig: AdapterRig) -> None:
    account, counter = await rig.counter()
    receipt = await rig.sent(account.transaction(counter))
    assert receipt.succeeded
    assert (receipt.sender, receipt.to, receipt.created) == (account.address, counter, None)
    assert [log.topics for log in receipt.logs] == [(word(0xAA),)]
    assert receipt.block.time == int(rig.clock.now().timestamp())
    assert await rig.chain.call(counter, b"") == word(2)
    assert await rig.chain.nonce(account.address) == 2
    assert rig.chain.gas_limit == 15_000_000


async def test_send_raw__the_operator_pays_and_the_sender_nothing(rig: AdapterRig) -> None:
    account, counter = await rig.counter()
    before = await rig.client.balance(rig.payer)
    await rig.sent(account.transaction(counter))
    assert await rig.client.balance(rig.payer) < before
    assert (await rig.mirror.account(account.address)).balance_tinybar == 1


async def test_send_raw__again__executed_once(rig: AdapterRig) -> None:
    account, counter = await rig.counter()
    raw = account.transaction(counter)
    first = await rig.chain.send_raw(raw)
    rig.restart()
    assert await rig.chain.send_raw(raw) == first
    assert len(rig.effects("ethereumTransaction")) == 2
    assert await rig.chain.call(counter, b"") == word(2)


async def test_send_raw__a_revert__its_receipt_with_what_the_contract_said(rig: AdapterRig) -> None:
    account, _ = await rig.counter()
    refuser = (await rig.sent(account.creation(REFUSER))).created
    assert refuser is not None
    receipt = await rig.sent(account.transaction(refuser))
    assert (receipt.succeeded, receipt.output, receipt.logs) == (False, word(0xBAD), ())
    with pytest.raises(Reverted) as raised:
        await rig.chain.call(refuser, b"")
    assert raised.value.data == word(0xBAD)
    with pytest.raises(Reverted):
        await rig.chain.gas_for(refuser, b"", account.address)


async def test_send_raw__out_of_gas__its_receipt(rig: AdapterRig) -> None:
    account, _ = await rig.counter()
    endless = (await rig.sent(account.creation(ENDLESS))).created
    receipt = await rig.sent(account.transaction(endless, gas=100_000))
    assert (receipt.succeeded, receipt.output) == (False, b"")


async def test_send_raw__a_sender_without_an_account__told_how(rig: AdapterRig) -> None:
    raw = Account(NOBODYS, rig.chain_id).creation(COUNTER)
    assert await rig.chain.nonce(NOBODYS.address) == 0
    with pytest.raises(Refused, match="no account on Hedera"):
        await rig.chain.send_raw(raw)
    assert rig.effects("ethereumTransaction") == []


async def test_send_raw__what_cannot_be_executed__bad_transaction(rig: AdapterRig) -> None:
    account, counter = await rig.counter()
    await rig.sent(account.transaction(counter))
    spent = Account(SENDER, rig.chain_id, nonce=1).transaction(counter, b"\1")
    foreign = Account(SENDER, 1, nonce=2).transaction(counter)
    greedy = Account(SENDER, rig.chain_id, nonce=2).transaction(counter, gas=15_000_001)
    for raw, words in [
        (spent, "WRONG_NONCE"),
        (foreign, "signed for the chain 1"),
        (greedy, "above 15000000"),
        (b"\x02\x00", "."),
    ]:
        with pytest.raises(BadTransaction, match=words):
            await rig.chain.send_raw(raw)
    large = sign(
        SENDER, chain_id=rig.chain_id, nonce=2, to=None, data=b"\0" * 24_577, gas_limit=15_000_000
    )
    with pytest.raises(BadTransaction, match="Hedera takes 24576"):
        await rig.chain.send_raw(large)


async def test_send_raw__somebody_else_had_sent_it__its_receipt(rig: AdapterRig) -> None:
    account, counter = await rig.counter()
    raw = account.transaction(counter)
    rig.faults.lag_mirror(3)  # so that our first look does not find it
    await rig.client.ethereum(rig.new_id(), raw, 2 * 10**9)
    receipt = await rig.sent(raw)
    assert receipt.succeeded


async def test_gas_for__estimated_with_a_margin_within_the_limit(rig: AdapterRig) -> None:
    account, counter = await rig.counter()
    estimate = int.from_bytes(
        await rig.mirror.call(counter, b"", account.address, estimate=True), "big"
    )
    gas = await rig.chain.gas_for(counter, b"", account.address)
    assert gas == estimate * 120 // 100
    raw = account.transaction(counter, gas=gas)
    assert (await rig.sent(raw)).succeeded


async def test_logs__by_contract_topic_and_block(rig: AdapterRig) -> None:
    account, counter = await rig.counter()
    keeper = (await rig.sent(account.creation(KEEPER))).created
    assert keeper is not None
    sent = []
    for _ in range(3):
        sent.append(await rig.sent(account.transaction(counter)))
        rig.clock.advance(5)
    ask = rig.chain.logs
    everything = list(await ask(LogFilter(0, 2**62, frozenset({counter, keeper}))))
    assert [found.transaction_hash for found in everything] == [r.transaction_hash for r in sent]
    assert [found.log for found in everything] == [receipt.logs[0] for receipt in sent]
    assert [found.block for found in everything] == [receipt.block for receipt in sent]
    again = await ask(LogFilter(0, 2**62, frozenset({counter}), (frozenset({word(0xAA)}),)))
    assert list(again) == everything
    assert not await ask(LogFilter(0, 2**62, frozenset({counter}), (frozenset({word(1)}),)))
    middle = sent[1].block.number
    assert list(await ask(LogFilter(middle, middle, frozenset({counter})))) == [everything[1]]
    assert not await ask(LogFilter(0, 9, frozenset({keeper})))
    await rig.sent(account.transaction(counter))
    assert len(await ask(LogFilter(0, 2**62, frozenset({counter})))) == 4
    with pytest.raises(InvalidInput, match="more than 3"):
        await ask(LogFilter(0, 2**62, frozenset({counter}), limit=3))
    with pytest.raises(Refused, match="logs of all contracts"):
        await ask(LogFilter(0, 9))


async def test_logs__more_than_a_page(rig: AdapterRig) -> None:
    account, counter = await rig.counter()
    for _ in range(101):
        await rig.client.ethereum(rig.new_id(), account.transaction(counter), 2 * 10**9)
    found = await rig.chain.logs(LogFilter(0, 2**62, frozenset({counter})))
    assert [int.from_bytes(each.log.data, "big") for each in found] == list(range(1, 102))


async def test_accounts__one_holder_by_both_addresses(rig: AdapterRig) -> None:
    await rig.create_account(SENDER.address)
    account_id = (await rig.mirror.account(SENDER.address)).account_id
    accounts = rig.chain.accounts
    assert await accounts.canonical(long_zero(account_id)) == SENDER.address
    assert await accounts.canonical(SENDER.address) == SENDER.address
    assert await accounts.address(account_id) == SENDER.address


async def test_mirror_chain__reads_and_does_not_send(rig: AdapterRig) -> None:
    account, counter = await rig.counter()
    async with MirrorChain.connected([rig.emulator.mirror_url], rig.chain_id) as chain:
        assert await chain.call(counter, b"") == word(1)
        assert await chain.receipt(b"\1" * 32) is None
        with pytest.raises(Refused, match="only reads"):
            await chain.send_raw(account.transaction(counter))


async def test_network__its_contracts_deployed_and_read_by_a_mirror_alone(rig: AdapterRig) -> None:
    deployer, bootstrap, operator = (ChainKey(bytes([n]) * 32) for n in (5, 6, 7))
    attesters = tuple(AttesterGenesis(bytes([n]) * 20, bytes([n]) * 20) for n in (11, 12, 13, 14))
    plan = make_plan(
        DeploymentParameters(
            chain_id=rig.chain_id,
            bootstrap=bootstrap.address,
            attesters=attesters,
            operator=OperatorGenesis(
                "NL*C4E", operator.address, b"\1" * 32, topic_address("0.0.1001")
            ),
            policy_from_s=int(rig.clock.now().timestamp()) + 3_600,
        ),
        deployer.address,
    )
    await rig.create_account(deployer.address)
    await deploy(rig.chain, plan, deployer)
    trusted = TrustedChain(rig.chain_id, f"mirror:{rig.emulator.mirror_url}", plan.contracts)
    async with trusted_contracts(trusted) as contracts:
        assert contracts.chain_id == rig.chain_id
        assert await contracts.read("C4EToken", "symbol") == "C4E"
        assert await contracts.read("C4EToken", "decimals") == 6
        (mint, *_) = await contracts.events("C4EToken", "Transfer")
        assert int(mint.members["from"], 16) == 0
        await one_holder_by_both_addresses(rig, contracts, deployer)
    other = TrustedChain(295, trusted.rpc, plan.contracts)
    with pytest.raises(InvalidInput, match=f"the chain {rig.chain_id}, not 295"):
        async with trusted_contracts(other):
            pass


async def one_holder_by_both_addresses(
    rig: AdapterRig, contracts: ChainContracts, owner: ChainKey
) -> None:
    """What is sent to an account's number belongs to its alias, and is read by either."""
    await rig.create_account(NOBODYS.address)
    number = (await rig.mirror.account(NOBODYS.address)).account_id
    by_number = address_text(long_zero(number))
    sender = DirectSender(
        ChainContracts(rig.chain, {"TestEuro": contracts.address("TestEuro")}), owner
    )
    await sender.send("", "TestEuro", "faucet", by_number, 5)
    for name in (by_number, NOBODYS.address_text, long_zero(number)):
        assert await contracts.read("TestEuro", "balanceOf", name) == 5
    by_topic = await contracts.events("TestEuro", "Transfer", [None, long_zero(number)])
    assert [event.members["to"] for event in by_topic] == [NOBODYS.address_text]


# The client ------------------------------------------------------------------------------------


async def test_client__the_sdk_runs_in_threads_of_its_own(rig: AdapterRig) -> None:
    names = set()

    class Watching:
        public_key = rig.signer.public_key

        def sign(self, message: bytes) -> bytes:
            names.add(threading.current_thread().name)
            return rig.signer.sign(message)

    network = HapiNetwork("custom", {rig.emulator.grpc_address: "0.0.3"})
    client = HapiClient(network, rig.payer, Watching())
    await client.transfer(rig.new_id(), "0.0.2", 1)
    await client.close()
    assert names
    assert all(name.startswith("hapi") for name in names)


async def test_client__a_signer_that_cannot_sign__its_own_error(rig: AdapterRig) -> None:
    class Away:
        public_key = rig.signer.public_key

        def sign(self, message: bytes) -> bytes:
            raise Unavailable("the key store does not answer")

    network = HapiNetwork("custom", {rig.emulator.grpc_address: "0.0.3"})
    client = HapiClient(network, rig.payer, Away())
    with pytest.raises(Unavailable, match="key store"):
        await client.transfer(rig.new_id(), "0.0.2", 1)
    await client.close()


async def test_client__closed__says_so(rig: AdapterRig) -> None:
    await rig.client.close()
    with pytest.raises(HapiFailure, match="NODE_DOWN"):
        await rig.client.balance(rig.payer)


async def test_client__another_key__refused_by_name(rig: AdapterRig) -> None:
    network = HapiNetwork("custom", {rig.emulator.grpc_address: "0.0.3"})
    client = HapiClient(network, rig.payer, KeySigner(NOBODYS))
    with pytest.raises(HapiFailure, match="INVALID_SIGNATURE"):
        await client.transfer(rig.new_id(), "0.0.2", 1)
    await client.close()


async def test_client__a_new_key_of_the_payer__signed_by_both(rig: AdapterRig) -> None:
    new = KeySigner(NOBODYS)
    await rig.outbox.once(
        "key",
        lambda name: rig.client.update_account_key(name, rig.payer, new.public_key, [new]),
    )
    rig.signer = new
    with pytest.raises(HapiFailure, match="INVALID_SIGNATURE"):
        await rig.client.transfer(rig.new_id(), "0.0.2", 1)
    rig.restart()
    await rig.client.transfer(rig.new_id(), "0.0.2", 1)


async def test_client__nodes_of_which_one_is_away__the_other_is_asked_next(rig: AdapterRig) -> None:
    nodes = {"127.0.0.1:1": "0.0.4", rig.emulator.grpc_address: "0.0.3"}
    client = HapiClient(HapiNetwork("custom", nodes), rig.payer, rig.signer)
    with pytest.raises(HapiFailure, match="UNAVAILABLE"):
        await client.balance(rig.payer)
    assert await client.balance(rig.payer) > 0
    await client.close()


# The table -------------------------------------------------------------------------------------


async def test_stored_sends__one_effect_for_one_purpose(database: Database) -> None:
    store = PostgresHederaSends(database)
    at = START
    await store.add("0.0.2@5.000000001", "topic", at)
    assert await store.find("topic") == HederaSend("0.0.2@5.000000001", "topic")
    with pytest.raises(Conflict, match="being sent already"):
        await store.add("0.0.2@5.000000002", "topic", at)
    with pytest.raises(Conflict):
        await store.add("0.0.2@5.000000001", "other", at)
    await store.settle(HederaSend("0.0.2@5.000000001", "topic", HederaSendState.LOST), at)
    assert await store.find("topic") is None
    await store.add("0.0.2@5.000000002", "topic", at)
    done = HederaSend("0.0.2@5.000000002", "topic", HederaSendState.DONE, "SUCCESS", "0.0.9")
    await store.settle(done, at)
    await store.settle(HederaSend(done.hedera_transaction_id, "topic", HederaSendState.LOST), at)
    assert await store.find("topic") == done
    with pytest.raises(Conflict):
        await store.add("0.0.2@5.000000003", "topic", at)
