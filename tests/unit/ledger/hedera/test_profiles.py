"""Profiles name what a network needs, and say what is missing."""

from typing import Any

import pytest

from chargera.domain.errors import InvalidInput
from chargera.ledger.hedera.profiles import PROFILES, NetworkName, custom, profile

NODES = {"127.0.0.1:50211": "0.0.3"}
CUSTOM: dict[str, Any] = {"chain_id": 298, "nodes": NODES, "mirrors": ["http://127.0.0.1:5551"]}


@pytest.mark.parametrize("name", PROFILES)
def test_profiles__each_is_whole(name: NetworkName) -> None:
    found = profile(str(name))
    found.check()
    assert found.is_hedera == (name != "embedded")
    assert found.is_public == (found.explorer is not None)


def test_profiles__only_mainnet_is_real_money() -> None:
    assert [name for name in PROFILES if PROFILES[name].is_real_money] == ["mainnet"]


def test_profiles__chain_ids_are_hederas() -> None:
    ids = {str(name): PROFILES[name].chain_id for name in PROFILES}
    assert ids == {"embedded": None, "local": 298, "testnet": 296, "mainnet": 295}


@pytest.mark.parametrize("name", ["", "Mainnet", "custom", "previewnet"])
def test_profile__unknown__names_those_there_are(name: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        profile(name)
    assert "testnet" in raised.value.remedy


def test_explorer__pages_of_what_is_public() -> None:
    explorer = profile("testnet").explorer
    assert explorer is not None
    assert explorer.topic("0.0.5") == "https://hashscan.io/testnet/topic/0.0.5"
    assert explorer.account("0.0.6").endswith("/testnet/account/0.0.6")
    assert explorer.contract(b"\xca\xfe" * 10).lower().endswith(f"/contract/0x{'cafe' * 10}")
    assert explorer.transaction(b"\x01" * 32).endswith(f"/transaction/0x{'01' * 32}")
    assert "/transaction/5.000000001" in explorer.message("0.0.5", 7, "5.000000001")


def test_custom__its_own_addresses() -> None:
    found = custom(**CUSTOM, explorer="https://scan.example/", relay="http://127.0.0.1:7546")
    assert found.network.nodes == NODES
    assert found.network.name == "custom"
    assert found.explorer is not None
    assert found.explorer.topic("0.0.5") == "https://scan.example/topic/0.0.5"
    assert not found.is_public


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"nodes": {}}, "nodes"),
        ({"nodes": {"127.0.0.1": "0.0.3"}}, "nodes"),
        ({"nodes": {"h:0": "0.0.3"}}, "nodes"),
        ({"nodes": {"h:70000": "0.0.3"}}, "nodes"),
        ({"nodes": {":5": "0.0.3"}}, "nodes"),
        ({"nodes": {"h:5": "three"}}, "nodes"),
        ({"mirrors": []}, "mirrors"),
        ({"mirrors": ["grpc://h"]}, "mirrors"),
        ({"relay": "ws://h"}, "mirrors"),
        ({"chain_id": None}, "chain_id"),
    ],
)
def test_custom__what_is_missing_or_wrong__named(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        custom(**{**CUSTOM, **changed})
    assert raised.value.field == field


def test_with_addresses__mirrors_of_ones_own__nodes_only_where_no_address_book_is() -> None:
    testnet = profile("testnet").with_addresses(mirrors=["https://m.example"])
    assert testnet.mirrors == ("https://m.example",)
    assert testnet.relay == profile("testnet").relay
    local = profile("local").with_addresses(nodes={"h:1": "0.0.4"}, relay="http://r")
    assert (dict(local.nodes), local.relay) == ({"h:1": "0.0.4"}, "http://r")
    with pytest.raises(InvalidInput, match="address book"):
        profile("testnet").with_addresses(nodes=NODES)
