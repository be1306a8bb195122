"""On public networks pages link each anchor, batch and contract to where strangers see it."""

from dataclasses import replace

from chargera.ledger.hedera.profiles import PROFILES, NetworkName
from chargera.web.pages.rendering import Elsewhere
from tests.browser.sample_app import sample_network

TRANSACTION = "0x" + "ab" * 32
CONTRACT = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def test_a_public_network__anchor_transaction_and_contract_have_their_pages() -> None:
    elsewhere = Elsewhere(PROFILES[NetworkName.TESTNET].explorer)
    anchor = sample_network().anchors()[0]
    assert elsewhere.message(anchor) == (
        f"https://hashscan.io/testnet/transaction/{anchor.consensus_timestamp}"
        f"?tid={anchor.topic_id}-{anchor.sequence_number}"
    )
    assert elsewhere.transaction(TRANSACTION) == (
        f"https://hashscan.io/testnet/transaction/{TRANSACTION}"
    )
    assert elsewhere.contract(CONTRACT) == f"https://hashscan.io/testnet/contract/{CONTRACT}"


def test_an_anchor_that_waits__no_page() -> None:
    waiting = replace(sample_network().anchors()[0], consensus_timestamp=None)
    assert Elsewhere(PROFILES[NetworkName.MAINNET].explorer).message(waiting) is None


def test_the_embedded_network__is_seen_nowhere_else() -> None:
    nowhere = Elsewhere(PROFILES[NetworkName.EMBEDDED].explorer)
    assert nowhere.message(sample_network().anchors()[0]) is None
    assert nowhere.transaction(TRANSACTION) is None
    assert nowhere.contract(CONTRACT) is None
