"""On a real network, with your account: OPERATOR_ID, OPERATOR_KEY, HEDERA_NETWORK.

    OPERATOR_ID=0.0.1234 OPERATOR_KEY=64-hex-digits HEDERA_NETWORK=testnet \\
        .venv/bin/python -m pytest -s tests/network

HEDERA_NETWORK is testnet (the default) or local (Solo on this machine). Never mainnet.
"""

import os

from chargera.ledger.hedera.profiles import profile
from chargera.ledger.hedera.signer import EnvironmentSigner
from tests.network.scenario import trial, try_network


async def test_this_network__is_what_the_emulator_imitates() -> None:
    network = profile(os.environ.get("HEDERA_NETWORK", "testnet"))
    assert network.is_hedera
    assert not network.is_real_money, "this test spends; use testnet"
    signer = EnvironmentSigner("OPERATOR_KEY", os.environ)
    async with trial(network, os.environ["OPERATOR_ID"], signer) as it:
        account = await it.access.chain.mirror.account(os.environ["OPERATOR_ID"])
        assert account.key == signer.public_key.hex(), "OPERATOR_KEY is not this account's"
        await try_network(it)
