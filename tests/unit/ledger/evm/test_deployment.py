"""The whole set of contracts comes onto a chain: wired, owned by the Timelock, money in place."""

from dataclasses import replace

import pytest

from chargera.app.chain_ports import GAS_LIMIT
from chargera.domain.errors import NotFound, Refused
from chargera.ledger.abi import interface
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm import artifacts
from chargera.ledger.evm.deployment import (
    BOND,
    C4E,
    C4E_RATE,
    CONTRACTS,
    EURO_C4E_RATE,
    GENESIS,
    AttesterGenesis,
    DeploymentParameters,
    Grant,
    OperatorGenesis,
    deploy,
    execute,
    make_plan,
)
from chargera.proofs.chain_values import address_text, operator_word
from tests.evm_contracts import COUNTER, Account
from tests.unit.ledger.evm.nodes import NOW, HandClock, memory_chain

DEPLOYER, BOOTSTRAP, OPERATOR = (ChainKey(bytes([n]) * 32) for n in (5, 6, 7))
ATTESTERS = [ChainKey(bytes([n]) * 32) for n in (11, 12, 13, 14)]
BENEFICIARY, DRIVER = b"\x08" * 20, b"\x09" * 20
TOPIC = (1001).to_bytes(20)
NOW_S = int(NOW.timestamp())
CODE_BYTES_MAX = 24_576
INITCODE_BYTES_MAX = 24_000


def parameters(chain, **changes) -> DeploymentParameters:
    return DeploymentParameters(
        **{
            "chain_id": chain.chain_id,
            "bootstrap": BOOTSTRAP.address,
            "attesters": tuple(AttesterGenesis(key.address, BENEFICIARY) for key in ATTESTERS),
            "operator": OperatorGenesis("NL*C4E", OPERATOR.address, b"\1" * 32, TOPIC),
            "policy_from_s": NOW_S,
            "grants": (Grant("demo drivers", DRIVER, 5_000 * C4E),),
            **changes,
        }
    )


class Reader:
    """Reads deployed contracts by the names of the trust file."""

    def __init__(self, chain, plan) -> None:
        self.chain = chain
        self.plan = plan

    async def __call__(self, contract: str, function: str, *arguments):
        name = "NetworkTimelock" if contract == "TimelockController" else contract
        found = interface(name).function(function)
        answer = await self.chain.call(self.plan.contracts[contract], found.encode(arguments))
        return found.decode(answer)

    def text(self, contract: str) -> str:
        return address_text(self.plan.contracts[contract])


@pytest.fixture
async def read() -> Reader:
    chain = await memory_chain()
    plan = make_plan(parameters(chain), DEPLOYER.address)
    async with chain.sending() as sending:
        execute(sending, plan, DEPLOYER)
        await sending.commit()
    return Reader(chain, plan)


async def test_contracts__stand_where_the_plan_says_within_all_limits(read):
    names = {made.name for made in CONTRACTS}
    assert set(read.plan.contracts) == names
    for name, address in read.plan.contracts.items():
        assert 0 < len(await read.chain.code(address)) <= CODE_BYTES_MAX, name
    for place, step in enumerate(read.plan.steps):
        executed = await read.chain.block(place + 1)
        assert executed.receipt.gas_used <= GAS_LIMIT, step.label
        if step.to is None:
            assert len(step.data) <= INITCODE_BYTES_MAX + 4_096, step.label  # arguments included


@pytest.mark.parametrize("name", [made.artifact for made in CONTRACTS])
def test_artifact__is_deployable_anywhere(name):
    artifact = artifacts.load(name)
    assert artifact.deployed_size <= CODE_BYTES_MAX
    assert len(artifact.bytecode) <= INITCODE_BYTES_MAX


async def test_treasury__bonds_grants_and_the_rest_at_the_timelock(read):
    holders = {
        read.text("AttesterRegistry"): 4 * BOND,
        address_text(DRIVER): 5_000 * C4E,
        read.text("TimelockController"): GENESIS - 4 * BOND - 5_000 * C4E,
        DEPLOYER.address_text: 0,
    }
    found = {holder: await read("C4EToken", "balanceOf", holder) for holder in holders}
    assert found == holders
    assert await read("C4EToken", "totalSupply") == GENESIS


async def test_wiring__each_contract_knows_the_others(read):
    timelock = read.text("TimelockController")
    for name in ("NetworkPolicy", "AttesterRegistry", "EmissionController", "SettlementHub"):
        assert await read(name, "owner") == timelock
    assert await read("C4EToken", "minter") == read.text("EmissionController")
    assert await read("AttesterRegistry", "HUB") == read.text("SettlementHub")
    assert await read("AttesterRegistry", "C4E") == read.text("C4EToken")
    assert await read("ChargerPassport", "REGISTRY") == read.text("AttesterRegistry")
    assert await read("ChargerPassport", "POLICY") == read.text("NetworkPolicy")
    assert await read("ChargerShares", "HUB") == read.text("SettlementHub")
    assert await read("ChargerShares", "PASSPORT") == read.text("ChargerPassport")


async def test_attesters__four_are_admitted_and_three_are_a_quorum(read):
    assert await read("AttesterRegistry", "attesterCount") == 4
    assert await read("AttesterRegistry", "masks") == (0b1111, 0)
    assert await read("AttesterRegistry", "quorum") == 3
    for index, key in enumerate(ATTESTERS):
        attester = await read("AttesterRegistry", "attesterOf", index)
        assert (attester.signer, attester.bond) == (key.address_text, BOND)
        assert attester.beneficiary == address_text(BENEFICIARY)


async def test_operator__has_his_keys_and_topic(read):
    operator = await read("AttesterRegistry", "operatorOf", operator_word("NL*C4E"))
    assert operator.signer == OPERATOR.address_text
    assert (operator.logKey, operator.topic) == (b"\1" * 32, address_text(TOPIC))


async def test_policy__first_version_holds_from_now_with_both_assets(read):
    assert await read("NetworkPolicy", "latest") == 1
    assert await read("NetworkPolicy", "versionAt", NOW_S) == 1
    assert await read("NetworkPolicy", "versionAt", NOW_S - 1) == 0
    assert await read("NetworkPolicy", "feesOf", 1) == (500, 100, 0)
    c4e, euro = await read("NetworkPolicy", "assetsOf", 1)
    assert (c4e.asset, c4e.currency, c4e.c4eRate) == (read.text("C4EToken"), b"\0" * 3, C4E_RATE)
    assert (euro.asset, euro.currency, euro.c4eRate) == (
        read.text("TestEuro"),
        b"EUR",
        EURO_C4E_RATE,
    )
    assert await read("NetworkPolicy", "governor") == address_text(bytes(20))


async def test_deploy__one_after_the_other__again_and_after_a_stop_in_between():
    chain = await memory_chain()
    plan = make_plan(parameters(chain), DEPLOYER.address)
    for place in range(5):  # then the process ended
        await chain.send_raw(plan.raw(place, DEPLOYER))
    first = await deploy(chain, plan, DEPLOYER)
    head = chain.head
    assert [receipt.succeeded for receipt in first] == [True] * len(plan.steps)
    assert await deploy(chain, plan, DEPLOYER) == first
    assert chain.head == head
    faucet = artifacts.load("TestEuro").call("faucet", {"to": DRIVER, "amount": 5})
    later = Account(DEPLOYER, chain.chain_id, len(plan.steps))
    await chain.send_raw(later.transaction(plan.contracts["TestEuro"], faucet))
    assert await deploy(chain, plan, DEPLOYER) == first


async def test_deploy__the_key_was_used_for_something_else__is_refused():
    chain = await memory_chain()
    await chain.send_raw(Account(DEPLOYER, chain.chain_id).creation(COUNTER))
    with pytest.raises(Refused, match="other transactions"):
        await deploy(chain, make_plan(parameters(chain), DEPLOYER.address), DEPLOYER)


async def test_execute__a_step_is_refused__names_it_and_nothing_has_happened():
    clock = HandClock()
    chain = await memory_chain(clock)
    plan = make_plan(parameters(chain, policy_from_s=NOW_S - 1), DEPLOYER.address)

    async def run() -> None:
        async with chain.sending() as sending:
            execute(sending, plan, DEPLOYER)
            await sending.commit()

    with pytest.raises(Refused, match="NetworkPolicy: the chain refused it: FromTooEarly"):
        await run()
    assert chain.head.count == 0


async def test_plan__grants_over_what_there_is__is_refused():
    chain = await memory_chain()
    too_much = (Grant("all of it", DRIVER, GENESIS),)
    with pytest.raises(Refused, match="exceed"):
        make_plan(parameters(chain, grants=too_much), DEPLOYER.address)


async def test_plan__is_a_function_of_its_parameters():
    chain = await memory_chain()
    one = make_plan(parameters(chain), DEPLOYER.address)
    assert one == make_plan(parameters(chain), DEPLOYER.address)
    other = make_plan(replace(parameters(chain), policy_from_s=NOW_S + 1), DEPLOYER.address)
    assert one.contracts == other.contracts
    assert one.steps != other.steps


def test_artifacts__unknown_names__are_refused():
    with pytest.raises(NotFound, match="no contract Nothing"):
        artifacts.load("Nothing")
    with pytest.raises(NotFound, match="no function nothing"):
        artifacts.load("C4EToken").call("nothing", {})
