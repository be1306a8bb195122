"""The trust file: which log, topics, contracts and attesters a stranger has decided to believe.

It comes from outside (a place that its reader trusts), never from the document under test.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chargera.domain.errors import InvalidInput, Unreadable
from chargera.proofs.canonical import INTEGER_LIMIT
from chargera.proofs.chain_values import address_text, hex_text, parse_address, parse_hex
from chargera.proofs.note import VerifierKey
from chargera.proofs.running_hash import parse_entity_id
from chargera.proofs.secp256k1 import address_of

FORMAT = "chargera.trust/1"
_MEMBERS = {"attesters", "chain", "format", "log", "network", "operator_id", "topics"}
KEYS_MAX = 16
TOPICS_MAX = 64
CONTRACTS_MAX = 64
ATTESTERS_MAX = 112
URL_CHARS_MAX = 2_048
_CONTRACT = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")


@dataclass(frozen=True, slots=True)
class TrustedTopic:
    """A topic that anchors the log: from the checkpoint of `from_size` on, paid by `payer`."""

    topic_id: str
    payer: str
    from_size: int


@dataclass(frozen=True, slots=True)
class TrustedChain:
    """The chain that settles: its number, an RPC address, contracts (20 bytes each) by name."""

    chain_id: int
    rpc: str
    contracts: Mapping[str, bytes] = field(hash=False)


@dataclass(frozen=True, slots=True)
class TrustedAttester:
    """An attester: his address, 20 bytes, and his public key, 65 bytes beginning with 04."""

    address: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Trust:
    """What is believed. None: nothing is believed about that (as with a bare log key)."""

    origin: str
    log_keys: tuple[VerifierKey, ...]
    operator_id: str | None
    topics: tuple[TrustedTopic, ...] | None
    chain: TrustedChain | None = None
    attesters: tuple[TrustedAttester, ...] | None = None

    def topic_of(self, topic_id: str, tree_size: int) -> TrustedTopic | None:
        """Return what is trusted of this topic for a checkpoint of that size.

        Of several entries, as after a change of the payer, it is the one that begins last.
        """
        begun = [
            topic
            for topic in self.topics or ()
            if topic.topic_id == topic_id and topic.from_size <= tree_size
        ]
        return max(begun, key=lambda topic: topic.from_size, default=None)


def trust_of_key(text: str) -> Trust:
    """Return the trust in one log key, given as a verifier key of a signed note.

    Raises InvalidInput if the text is no verifier key.
    """
    try:
        key = VerifierKey.parse(text.strip())
    except InvalidInput as error:
        raise Unreadable(error.message, field="log_key", remedy="copy /log/vkey") from error
    return Trust(key.name, (key,), None, None)


def parse_trust(document: object) -> Trust:
    """Read a trust file. Raises Unreadable naming the member that is wrong."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _unreadable("format", f"not a {FORMAT} document")
    if document.keys() != _MEMBERS:
        raise _unreadable("format", f"must have exactly {', '.join(sorted(_MEMBERS))}")
    origin, keys = _log(document["log"])
    operator_id = document["operator_id"]
    for name in ("network", "operator_id"):
        if not isinstance(document[name], str):
            raise _unreadable(name, "not text")
    topics = document["topics"]
    if topics is not None and (not isinstance(topics, list) or len(topics) > TOPICS_MAX):
        raise _unreadable("topics", f"not a list of at most {TOPICS_MAX}")
    parsed = tuple(_topic(topic, f"topics[{n}]") for n, topic in enumerate(topics or ()))
    chain, attesters = document["chain"], document["attesters"]
    if attesters is not None and not (
        isinstance(attesters, list) and 0 < len(attesters) <= ATTESTERS_MAX
    ):
        raise _unreadable("attesters", f"not a list of 1 to {ATTESTERS_MAX}")
    return Trust(
        origin,
        keys,
        operator_id,
        parsed,
        None if chain is None else _chain(chain),
        None if attesters is None else _attesters(attesters),
    )


def trust_document(
    *,
    network: str,
    operator_id: str,
    origin: str,
    vkeys: list[str],
    topics: list[TrustedTopic],
    chain: TrustedChain | None = None,
    attesters: Sequence[TrustedAttester] | None = None,
) -> dict[str, Any]:
    """Return the trust file of a network; what does not exist yet is null."""
    return {
        "attesters": attesters
        and [
            {"address": address_text(a.address), "public_key": hex_text(a.public_key)}
            for a in attesters
        ],
        "chain": chain
        and {
            "contracts": {n: address_text(a) for n, a in sorted(chain.contracts.items())},
            "id": chain.chain_id,
            "rpc": chain.rpc,
        },
        "format": FORMAT,
        "log": {"origin": origin, "vkeys": vkeys},
        "network": network,
        "operator_id": operator_id,
        "topics": [{"from_size": t.from_size, "id": t.topic_id, "payer": t.payer} for t in topics],
    }


def _log(value: object) -> tuple[str, tuple[VerifierKey, ...]]:
    match value:
        case {"origin": str(origin), "vkeys": [*vkeys]} if 0 < len(vkeys) <= KEYS_MAX:
            pass
        case _:
            raise _unreadable("log", "must have an origin and its verifier keys")
    keys = []
    for place, text in enumerate(vkeys):
        try:
            key = VerifierKey.parse(text if isinstance(text, str) else "")
        except InvalidInput as error:
            raise _unreadable(f"log.vkeys[{place}]", error.message) from error
        if key.name != origin:
            raise _unreadable(f"log.vkeys[{place}]", "names another log than the origin")
        keys.append(key)
    return origin, tuple(keys)


def _topic(value: object, field: str) -> TrustedTopic:
    if not isinstance(value, Mapping) or value.keys() != {"from_size", "id", "payer"}:
        raise _unreadable(field, "must have id, payer and from_size")
    topic_id, payer, from_size = value["id"], value["payer"], value["from_size"]
    if type(from_size) is not int or from_size < 0:
        raise _unreadable(f"{field}.from_size", "not a tree size")
    for name, entity in (("id", topic_id), ("payer", payer)):
        try:
            parse_entity_id(entity if isinstance(entity, str) else "", name)
        except InvalidInput as error:
            raise _unreadable(f"{field}.{name}", error.message) from error
    return TrustedTopic(topic_id, payer, from_size)


def _chain(value: object) -> TrustedChain:
    match value:
        case {"id": int(chain_id), "rpc": str(rpc), "contracts": dict(contracts), **rest} if (
            not rest and type(chain_id) is int and 0 < chain_id < INTEGER_LIMIT
        ):
            pass
        case _:
            raise _unreadable("chain", "must have exactly an id, an rpc address and contracts")
    url = rpc.removeprefix("mirror:")  # of a mirror node of Hedera, in place of a JSON-RPC node
    if not url.startswith(("http://", "https://")) or len(rpc) > URL_CHARS_MAX:
        raise _unreadable("chain.rpc", "not an address that begins with http:// or https://")
    if len(contracts) > CONTRACTS_MAX:
        raise _unreadable("chain.contracts", f"more than {CONTRACTS_MAX}")
    parsed = {}
    for name, address in contracts.items():
        if not isinstance(name, str) or not _CONTRACT.fullmatch(name):
            raise _unreadable("chain.contracts", "a name that no contract has")
        parsed[name] = _address(address, f"chain.contracts.{name}")
    return TrustedChain(chain_id, rpc, parsed)


def _attesters(values: Sequence[object]) -> tuple[TrustedAttester, ...]:
    attesters = []
    for place, value in enumerate(values):
        field = f"attesters[{place}]"
        if not isinstance(value, Mapping) or value.keys() != {"address", "public_key"}:
            raise _unreadable(field, "must have an address and a public_key")
        address = _address(value["address"], f"{field}.address")
        try:
            public_key = parse_hex(value["public_key"], field="public_key")
            is_its_own = address_of(public_key) == address
        except InvalidInput as error:
            raise _unreadable(f"{field}.public_key", error.message) from error
        if not is_its_own:
            raise _unreadable(f"{field}.public_key", "the key of another address")
        attesters.append(TrustedAttester(address, public_key))
    if len({attester.address for attester in attesters}) != len(attesters):
        raise _unreadable("attesters", "one of them twice")
    return tuple(attesters)


def _address(value: object, field: str) -> bytes:
    try:
        return parse_address(value, field=field)
    except InvalidInput as error:
        raise _unreadable(field, error.message) from error


def _unreadable(field: str, fault: str) -> Unreadable:
    return Unreadable(
        f"trust file: {field}: {fault}", field=field, remedy="fetch /deployment.json again"
    )
