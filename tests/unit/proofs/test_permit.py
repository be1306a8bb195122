"""Permits as wallets sign them."""

from eth_account.messages import encode_typed_data
from eth_utils import keccak

from chargera.proofs.chain_values import address_text
from chargera.proofs.permit import permit_digest
from tests.unit.proofs.sample_batch import CHAIN_ID, EURO, HUB, address


def test_permit_digest__as_a_wallet_makes_it() -> None:
    signable = encode_typed_data(
        domain_data={
            "name": "Test Euro (simulated)",
            "version": "1",
            "chainId": CHAIN_ID,
            "verifyingContract": address_text(EURO),
        },
        message_types={
            "Permit": [
                {"name": "owner", "type": "address"},
                {"name": "spender", "type": "address"},
                {"name": "value", "type": "uint256"},
                {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"},
            ]
        },
        message_data={
            "owner": address_text(address(7)),
            "spender": address_text(HUB),
            "value": 5,
            "nonce": 1,
            "deadline": 99,
        },
    )
    ours = permit_digest(
        name="Test Euro (simulated)",
        version="1",
        chain_id=CHAIN_ID,
        token=EURO,
        owner=address(7),
        spender=HUB,
        value=5,
        nonce=1,
        deadline=99,
    )
    assert ours == keccak(b"\x19\x01" + signable.header + signable.body)
