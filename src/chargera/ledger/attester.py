"""An attester: asks the feed what waits, gathers what it rests on, judges, signs or refuses.

It has a key, a credential for the feed, a trust file, and no database. What the feed shows is
opened against the public log, whose tiles it reads itself; heads are looked up on the topic; what
a bill is covered by is read from the chain. What it has signed it remembers in a file beside its
key, because what it loses its bond for is to sign two different things.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx2

from chargera.app.settlement_ports import Contracts
from chargera.domain.errors import (
    ChargEraError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
    Unreadable,
)
from chargera.domain.policy import PolicyVersion
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.chain_reads import REGISTRY, read_facts, read_passport_now
from chargera.ledger.mirror_client import MirrorClient
from chargera.proofs.anchor import AnchoredMessage
from chargera.proofs.attestation import (
    BatchEvidence,
    Decision,
    SessionEvidence,
    SignedLeaf,
    judge_batch,
)
from chargera.proofs.batch_file import leaf_document, parse_batch, parse_leaf_document
from chargera.proofs.chain_values import hex_text, parse_hex, topic_of_address
from chargera.proofs.checkpoint import parse_checkpoint
from chargera.proofs.custody import CustodyEvidence, judge_custody
from chargera.proofs.evidence import LoggedRecord
from chargera.proofs.onboarding import RegistrationEvidence, judge_registration
from chargera.proofs.passport import passport_domain
from chargera.proofs.settlement import Batch
from chargera.proofs.tiles import ENTRIES, TILE_WIDTH, Tile, split_bundle, tile_reader
from chargera.proofs.tree import inclusion_proof
from chargera.proofs.trust import Trust

TIMEOUT_S = 30.0
FILE_BYTES_MAX = 64 * 1024
FEED_BYTES_MAX = 64 * 2**20

Line = dict[str, Any]
"""A decision as `attest` prints it: {batch, decision, record, reason}."""


class FeedClient:
    """The feed and the public log beside it, over HTTP."""

    def __init__(self, feed_url: str, credential: str) -> None:
        """Read the feed at `feed_url` (`.../api/v1/feed`) with a bearer credential."""
        self._feed = feed_url.rstrip("/")
        self.base_url = self._feed.removesuffix("/feed").removesuffix("/api/v1")
        is_tls = self._feed.startswith("https:")
        self.http = httpx2.Client(verify=is_tls, trust_env=False, timeout=TIMEOUT_S)
        self._bearer = {"Authorization": f"Bearer {credential}"}

    def close(self) -> None:
        """Close the connection."""
        self.http.close()

    def questions(self, what: str, attester: str) -> list[dict[str, Any]]:
        """Return what waits: `batches`, `registrations` or `custody`."""
        answer = self._ask("GET", f"{self._feed}/{what}", params={"attester": attester})
        if not isinstance(answer, list):
            raise Unreadable("the feed did not answer with a list", field=what)
        return answer

    def answer(self, body: Mapping[str, Any]) -> None:
        """Send an answer."""
        self._ask("POST", f"{self._feed}/answers", json=dict(body))

    def file(self, path: str) -> bytes:
        """Return a file of the public log."""
        response = self._send("GET", f"{self.base_url}/log/{path}")
        if response.status_code == httpx2.codes.NOT_FOUND:
            raise NotFound(f"the log has no {path}")
        if response.status_code != httpx2.codes.OK or len(response.content) > FILE_BYTES_MAX:
            raise Unavailable(f"the log answers with status {response.status_code}")
        return response.content

    def _ask(self, method: str, url: str, **more: Any) -> Any:
        response = self._send(method, url, headers=self._bearer, **more)
        if response.status_code != httpx2.codes.OK:
            raise _problem(response)
        return response.json()

    def _send(self, method: str, url: str, **more: Any) -> httpx2.Response:
        try:
            return self.http.request(method, url, **more)
        except httpx2.HTTPError as error:
            raise Unavailable(f"{url} does not answer: {error}") from error


def _problem(response: httpx2.Response) -> ChargEraError:
    try:
        said = response.json()["error"]
        kind = Refused if response.status_code < 500 else Unavailable
        return kind(said["message"], field=said["field"], remedy=said["remedy"] or "")
    except (ValueError, KeyError, TypeError):
        return Unavailable(f"the feed answers with status {response.status_code}")


class TileLog:
    """The public log as its tiles show it: entries, and their audit paths under a head."""

    def __init__(self, read: Callable[[str], bytes]) -> None:
        """Read files by their path below `/log`."""
        self._read = read
        self._size = 0

        @cache
        def fetch(tile: Tile) -> bytes:
            return read(tile.path)

        self._fetch = fetch

    def logged(self, index: int, size: int, record: bytes, salt: bytes) -> LoggedRecord:
        """Return a record with its entry and its path in the tree of `size` entries."""
        if self._size < size:
            self._size = parse_checkpoint(self._read("checkpoint")).size
        if not 0 <= index < size <= self._size:
            raise InvalidInput(f"entry {index} is not in the log of {size}", field="index")
        bundle, place = divmod(index, TILE_WIDTH)
        width = min(TILE_WIDTH, self._size - bundle * TILE_WIDTH)
        tile = Tile(ENTRIES, bundle, width)
        entry = split_bundle(tile, self._fetch(tile))[place]
        path = inclusion_proof(index, size, tile_reader(self._size, self._fetch))
        return LoggedRecord(index, entry, tuple(path), record, salt)


class SignedMemory:
    """The leaves that were signed, one JSON document a line, durable before a signature leaves."""

    def __init__(self, path: Path) -> None:
        """Read what was signed before."""
        self._path = path
        self.leaves: list[SignedLeaf] = []
        if path.exists():
            self.leaves += [_signed(json.loads(line)) for line in path.read_text().splitlines()]

    def add(self, batch: Batch) -> None:
        """Remember a batch's leaves."""
        new = [SignedLeaf(batch.asset, batch.passport_of(leaf), leaf) for leaf in batch.leaves]
        new = [leaf for leaf in new if leaf not in self.leaves]
        with self._path.open("a") as file:
            for signed in new:
                row = {
                    "asset": hex_text(signed.asset),
                    "leaf": leaf_document(signed.leaf),
                    "passport": hex_text(signed.passport),
                }
                file.write(json.dumps(row, separators=(",", ":")) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.leaves += new


def _session_of(record: bytes) -> str | None:
    """Return whose bill a record is; None for what is none: the judgement on it names it."""
    try:
        said = json.loads(record)
    except ValueError:
        return None
    session_id = said.get("session_id") if isinstance(said, dict) else None
    return session_id if isinstance(session_id, str) else None


def _signed(row: Mapping[str, Any]) -> SignedLeaf:
    return SignedLeaf(
        parse_hex(row["asset"], 20, field="asset"),
        parse_hex(row["passport"], 32, field="passport"),
        parse_leaf_document(row["leaf"]),
    )


@dataclass(slots=True)
class Attester:
    """One attester at work; `turn` answers everything that waits for it."""

    key: ChainKey
    feed: FeedClient
    trust: Trust
    contracts: Contracts
    memory: SignedMemory
    _log: TileLog | None = None
    _policies: Sequence[PolicyVersion] = ()

    async def turn(self) -> list[Line]:
        """Answer what waits and return the decisions. Raises Unavailable where nobody answers."""
        waiting = self.feed.questions("registrations", self.key.address_text)
        lines = [self._registration(question) for question in waiting]
        records = self.feed.questions("custody", self.key.address_text)
        lines += [await self._custody(question) for question in records]
        for question in self.feed.questions("batches", self.key.address_text):
            line = await self._batch(question)
            if line is not None:
                lines.append(line)
        return lines

    @property
    def log(self) -> TileLog:
        """The public log."""
        if self._log is None:
            self._log = TileLog(self.feed.file)
        return self._log

    # Registrations ------------------------------------------------------------------------------

    def _registration(self, question: Mapping[str, Any]) -> Line:
        reason, signature, digest = None, None, question["digest"]
        try:
            signed = judge_registration(
                self._registration_evidence(question), self._passport_domain(), self.trust
            )
            if hex_text(signed) != digest:
                raise InvalidInput("the feed asks for another digest", field="digest")
            signature = hex_text(self.key.sign(signed))
        except InvalidInput as error:
            reason = error.message
        record = None if reason is None else question["onboarding_log_index"]
        return self._send(digest, signature, record, reason)

    def _registration_evidence(self, question: Mapping[str, Any]) -> RegistrationEvidence:
        head = question["head"].encode()
        size = parse_checkpoint(head).size
        later = question["reading_head"]
        reading_head = None if later is None else later.encode()
        return RegistrationEvidence(
            head=head,
            anchor=self._anchor(question["topic_id"], question["sequence_number"]),
            consent=parse_hex(question["consent"], field="consent"),
            records=tuple(self._logged(row, size) for row in question["records"]),
            reading_head=reading_head,
            reading=None
            if reading_head is None
            else self._logged(question["reading"], parse_checkpoint(reading_head).size),
        )

    def _passport_domain(self) -> Any:
        chain = self.trust.chain
        if chain is None:
            raise InvalidInput("the trust file names no chain", field="chain")
        return passport_domain(chain.chain_id, chain.contracts["ChargerPassport"])

    # Custody records ----------------------------------------------------------------------------

    async def _custody(self, question: Mapping[str, Any]) -> Line:
        reason, signature, digest = None, None, question["digest"]
        try:
            passport = parse_hex(question["passport_id"], 32, field="passport_id")
            now = await read_passport_now(self.contracts, passport)
            domain = self._passport_domain()
            signed = judge_custody(self._custody_evidence(question), now, domain, self.trust)
            if hex_text(signed) != digest:
                raise InvalidInput("the feed asks for another digest", field="digest")
            signature = hex_text(self.key.sign(signed))
        except InvalidInput as error:
            reason = error.message
        return self._send(digest, signature, question["log_index"] if reason else None, reason)

    def _custody_evidence(self, question: Mapping[str, Any]) -> CustodyEvidence:
        head = question["head"].encode()
        size = parse_checkpoint(head).size
        return CustodyEvidence(
            head=head,
            anchor=self._anchor(question["topic_id"], question["sequence_number"]),
            host_signature=parse_hex(question["host_signature"], field="host_signature"),
            records=tuple(self._logged(row, size) for row in question["records"]),
        )

    # Batches ------------------------------------------------------------------------------------

    async def _batch(self, question: Mapping[str, Any]) -> Line | None:
        try:
            batch = parse_batch(question["batch"])
            evidence = self._batch_evidence(question, batch)
            place = await self.contracts.read(REGISTRY, "placeOf", self.key.address)
            facts = await read_facts(self.contracts, batch, max(place - 1, 0), self._policies)
        except (InvalidInput, KeyError, TypeError, ValueError) as error:
            return self._send(question["digest"], None, None, f"form: {error}")
        self._policies = facts.policies
        decision = judge_batch(evidence, facts, self.trust, self.memory.leaves)
        return self._decide(question["digest"], batch, decision)

    def _decide(self, digest: str, batch: Batch, decision: Decision) -> Line:
        if not decision.signed:
            reason = f"{decision.reason}: {decision.detail}"
            return self._send(digest, None, decision.record, reason)
        if hex_text(decision.digest) != digest:
            return self._send(digest, None, None, "form: the feed names another digest")
        self.memory.add(batch)
        return self._send(digest, hex_text(self.key.sign(decision.digest)), None, None)

    def _batch_evidence(self, question: Mapping[str, Any], batch: Batch) -> BatchEvidence:
        head = question["head"].encode()
        size = parse_checkpoint(head).size
        logged = {row["index"]: self._logged(row, size) for row in question["records"]}
        readings = {row["session_id"]: tuple(row["events"]) for row in question["readings"]}
        sessions = {}
        for index, rests_on in question["bills"].items():
            bill = logged.get(int(index))
            sessions[int(index)] = SessionEvidence(
                tuple(logged[each] for each in rests_on if each in logged),
                () if bill is None else readings.get(_session_of(bill.record), ()),
            )
        signature = question["gateway_signature"]
        return BatchEvidence(
            batch=batch,
            gateway_signature=None
            if signature is None
            else parse_hex(signature, field="gateway_signature"),
            head=head,
            anchor=self._anchor(topic_of_address(batch.topic), batch.sequence_number),
            sessions=sessions,
        )

    def _logged(self, row: Mapping[str, Any], size: int) -> LoggedRecord:
        salt = bytes.fromhex(row["salt"])
        return self.log.logged(row["index"], size, row["record"].encode(), salt)

    def _anchor(self, topic_id: str, sequence_number: int) -> AnchoredMessage | None:
        mirror = MirrorClient(self.feed.base_url, self.feed.http)
        try:
            return mirror.anchored(topic_id, sequence_number)
        except NotFound:
            return None

    def _send(
        self, digest: str, signature: str | None, record: int | None, reason: str | None
    ) -> Line:
        self.feed.answer(
            {
                "attester": self.key.address_text,
                "digest": digest,
                "reason": reason,
                "record": record,
                "signature": signature,
            }
        )
        decision = "refused" if signature is None else "signed"
        return {"batch": digest, "decision": decision, "record": record, "reason": reason}
