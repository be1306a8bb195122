"""The trust file: what is believed, and what is no trust file."""

from collections.abc import Callable
from typing import Any

import pytest

from chargera.domain.errors import Unreadable
from chargera.proofs.trust import (
    Trust,
    TrustedAttester,
    TrustedChain,
    TrustedTopic,
    parse_trust,
    trust_document,
    trust_of_key,
)
from tests.unit.proofs.sample_batch import C4E, CHAIN_ID, HUB, address, public_key
from tests.unit.proofs.sample_receipt import ORIGIN, TOPIC, log_verifier


def document() -> dict[str, Any]:
    return trust_document(
        network="embedded",
        operator_id="NL*C4E",
        origin=ORIGIN,
        vkeys=[str(log_verifier())],
        topics=[TOPIC, TrustedTopic("0.0.7", "0.0.8", 100)],
    )


def test_parse_trust__what_the_server_writes__is_read() -> None:
    trust = parse_trust(document())
    assert (trust.origin, trust.operator_id) == (ORIGIN, "NL*C4E")
    assert trust.log_keys == (log_verifier(),)
    assert trust.topic_of("0.0.1001", 5) == TOPIC
    assert trust.topic_of("0.0.7", 99) is None
    assert trust.topic_of("0.0.7", 100) is not None
    assert trust.topic_of("0.0.9", 100) is None


CHAIN = TrustedChain(CHAIN_ID, "http://127.0.0.1:8545/rpc", {"SettlementHub": HUB, "C4EToken": C4E})
ATTESTERS = tuple(TrustedAttester(address(n), public_key(n)) for n in (1, 2, 3))


def settled_document() -> dict[str, Any]:
    return trust_document(
        network="embedded",
        operator_id="NL*C4E",
        origin=ORIGIN,
        vkeys=[str(log_verifier())],
        topics=[TOPIC],
        chain=CHAIN,
        attesters=ATTESTERS,
    )


def test_parse_trust__chain_and_attesters__are_read() -> None:
    trust = parse_trust(settled_document())
    assert (trust.chain, trust.attesters) == (CHAIN, ATTESTERS)
    assert {trust: "can be a key"}[parse_trust(settled_document())]


def test_parse_trust__file_from_before_there_was_a_chain__trusts_none() -> None:
    trust = parse_trust(document())
    assert (trust.chain, trust.attesters) == (None, None)


def test_parse_trust__addresses_in_lower_case__are_read() -> None:
    changed = settled_document()
    changed["attesters"][0]["address"] = changed["attesters"][0]["address"].lower()
    assert parse_trust(changed).attesters == ATTESTERS


CHAIN_FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "chain": lambda d: d.update(chain=[]),
    "chain with a member more": lambda d: d["chain"].update(more=1),
    "chain id": lambda d: d["chain"].update(id=True),
    "chain id is none": lambda d: d["chain"].update(id=0),
    "rpc": lambda d: d["chain"].update(rpc="file:///x"),
    "rpc too long": lambda d: d["chain"].update(rpc="http://" + "x" * 2_048),
    "contract": lambda d: d["chain"]["contracts"].update({"A": "0x00"}),
    "contract name": lambda d: d["chain"]["contracts"].update({"": d["attesters"][0]["address"]}),
    "contract name type": lambda d: d["chain"]["contracts"].update({1: ""}),
    "too many contracts": lambda d: d["chain"].update(
        contracts={f"A{n}": d["attesters"][0]["address"] for n in range(65)}
    ),
    "attesters": lambda d: d.update(attesters={}),
    "no attesters": lambda d: d.update(attesters=[]),
    "attester": lambda d: d["attesters"].append(1),
    "attester members": lambda d: d["attesters"][0].pop("public_key"),
    "attester address": lambda d: d["attesters"][0].update(address="0x00"),
    "attester key": lambda d: d["attesters"][0].update(public_key="0x04"),
    "attester key type": lambda d: d["attesters"][0].update(public_key=4),
    "attester key of another": lambda d: d["attesters"][0].update(
        public_key=d["attesters"][1]["public_key"]
    ),
    "attester twice": lambda d: d["attesters"].append(d["attesters"][0]),
}


@pytest.mark.parametrize("fault", CHAIN_FAULTS)
def test_parse_trust__chain_or_attesters_not_of_the_form__unreadable(fault: str) -> None:
    changed = settled_document()
    CHAIN_FAULTS[fault](changed)
    with pytest.raises(Unreadable) as caught:
        parse_trust(changed)
    assert caught.value.field


def test_parse_trust__topics_unknown__none_is_trusted() -> None:
    trust = parse_trust({**document(), "topics": None})
    assert trust.topic_of("0.0.1001", 5) is None


def test_trust_of_key__says_nothing_of_topics() -> None:
    trust = trust_of_key(f" {log_verifier()}\n")
    assert (trust.topics, trust.operator_id) == (None, None)
    assert trust.topic_of("0.0.1001", 5) is None
    with pytest.raises(Unreadable) as caught:
        trust_of_key("no key")
    assert caught.value.field == "log_key"


FAULTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "format": lambda d: d.update(format="chargera.trust/2"),
    "missing": lambda d: d.pop("attesters"),
    "more": lambda d: d.update(more=1),
    "log": lambda d: d.update(log=None),
    "no keys": lambda d: d["log"].update(vkeys=[]),
    "key type": lambda d: d["log"].update(vkeys=[7]),
    "key": lambda d: d["log"].update(vkeys=["x"]),
    "key of another log": lambda d: d["log"].update(origin="log.other/1"),
    "operator": lambda d: d.update(operator_id=7),
    "topics": lambda d: d.update(topics={}),
    "topic": lambda d: d["topics"].append({"id": "0.0.1"}),
    "topic type": lambda d: d["topics"].append(1),
    "topic id": lambda d: d["topics"][0].update(id="one"),
    "topic id type": lambda d: d["topics"][0].update(id=1),
    "payer": lambda d: d["topics"][0].update(payer=""),
    "from_size": lambda d: d["topics"][0].update(from_size=-1),
    "from_size type": lambda d: d["topics"][0].update(from_size=True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_parse_trust__not_of_the_form__unreadable(fault: str) -> None:
    changed = document()
    FAULTS[fault](changed)
    with pytest.raises(Unreadable) as caught:
        parse_trust(changed)
    assert caught.value.field
    assert "again" in caught.value.remedy


def test_parse_trust__no_object__unreadable() -> None:
    for value in (None, [], "x", {}):
        with pytest.raises(Unreadable):
            parse_trust(value)


def test_topic_of__several_entries_of_a_topic__the_one_that_begins_last() -> None:
    old, new = TrustedTopic("0.0.1", "0.0.2", 0), TrustedTopic("0.0.1", "0.0.3", 100)
    for topics in ((old, new), (new, old)):
        trust = Trust(ORIGIN, (), None, topics)
        assert trust.topic_of("0.0.1", 99) == old
        assert trust.topic_of("0.0.1", 100) == new


def test_parse_trust__network_is_no_text__unreadable() -> None:
    with pytest.raises(Unreadable) as caught:
        parse_trust({**document(), "network": None})
    assert caught.value.field == "network"
