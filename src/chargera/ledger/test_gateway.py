"""The test gateway: it stands where a payment provider stands, with simulated euros.

It prepays what fiat sessions of a batch add up to and signs the batch, as a provider does that
has the drivers' money. Its euros come from the test euro's faucet, and are worth nothing.
"""

from chargera.app.settlement_ports import Contracts, Sender
from chargera.ledger.chain_key import ChainKey
from chargera.proofs.chain_values import address_text, hex_text, parse_hex
from chargera.proofs.settlement import Batch

NOTE = "simulated"
"""How pages and documents call everything that comes from here."""


class TestGateway:
    """A `Gateway` that owes nobody anything."""

    __test__ = False  # no test class, whatever its name begins with

    def __init__(
        self, key: ChainKey, contracts: Contracts, account: Sender, faucet: Sender
    ) -> None:
        """Sign with `key`, whose account is `account`; `faucet` is the test euro's deployer."""
        self._key = key
        self._contracts = contracts
        self._account = account
        self._faucet = faucet

    @property
    def address(self) -> str:
        """Its address."""
        return self._key.address_text

    async def prepay(self, digest: str, batch: Batch) -> str:
        """Cover a batch's fiat total on chain and return the signature over its digest."""
        asset = address_text(batch.asset)
        hub = self._contracts.address("SettlementHub")
        if batch.fiat_total:
            total = batch.fiat_total
            purpose = f"prepay:{digest}"
            await self._faucet.send(f"{purpose}:mint", "TestEuro", "faucet", self.address, total)
            await self._account.send(f"{purpose}:approve", "TestEuro", "approve", hub, total)
            await self._account.send(purpose, "SettlementHub", "depositGateway", asset, total)
        return hex_text(self._key.sign(parse_hex(digest, 32, field="digest")))

    async def give(self, purpose: str, asset: str, account: str, amount: int) -> None:
        """See that an account holds so many simulated euros; other assets are not given out."""
        if asset != self._contracts.address("TestEuro"):
            return
        held = await self._contracts.read("TestEuro", "balanceOf", account)
        if held < amount:
            await self._faucet.send(f"give:{purpose}", "TestEuro", "faucet", account, amount - held)
