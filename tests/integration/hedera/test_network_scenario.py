"""What is tried on a real network, tried on the emulator, so that it does not rot."""

from chargera.ledger.chain_key import ChainKey
from chargera.ledger.hedera.profiles import custom
from chargera.ledger.hedera.signer import KeySigner
from tests.doubles.hedera.emulator import Emulator
from tests.network.scenario import trial, try_network


async def test_the_scenario_of_the_real_network__passes_on_the_emulator(
    emulator: Emulator,
) -> None:
    network = custom(
        chain_id=emulator.chain_id,
        nodes={emulator.grpc_address: "0.0.3"},
        mirrors=emulator.mirror_urls,
    )
    signer = KeySigner(ChainKey(bytes.fromhex(emulator.operator_key_hex)))
    said: list[str] = []
    async with trial(network, emulator.operator_id, signer) as it:
        await try_network(it, said.append)
    assert said[0].startswith("topic: 0.0.")
    assert said[-1] == "record: 10 contracts"
