"""What Hedera's mirror nodes tell over REST, asked asynchronously and believed no further.

    async with HederaMirror.connected(["https://testnet.mirrornode.hedera.com"]) as mirror:
        await mirror.account("0.0.1002")

Mirrors are asked in their order, another one only where one does not answer. What they say of a
topic is checked by arithmetic where it is used; everything else is a claim.
"""

import base64
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import httpx2
import orjson

from chargera.app.chain_ports import Reverted
from chargera.domain.errors import InvalidInput, NotFound, Unavailable
from chargera.ledger.hedera.amounts import ExchangeRate
from chargera.ledger.transaction_id import (
    NS_PER_S,
    HederaTransactionId,
    timestamp_ns,
    timestamp_text,
)
from chargera.proofs.anchor import TopicMessage, parse_mirror_page, parse_mirror_row
from chargera.proofs.chain_values import hex_text
from chargera.proofs.nesting import check_nesting

TIMEOUT_S = 10.0
BODY_BYTES_MAX = 8 * 1024 * 1024
PAGE_ROWS = 100
CALL_GAS = 15_000_000

_NO_KEY_YET = "3200"
"""An empty key list, which stands where an account has not signed yet."""
_THROTTLED = 429
_NOT_IMPLEMENTED = 501


@dataclass(frozen=True, slots=True)
class MirrorTopic:
    """A topic's own row; keys as they come, None where there is none."""

    topic_id: str
    memo: str
    admin_key: Mapping[str, Any] | None
    submit_key: Mapping[str, Any] | None
    deleted: bool


@dataclass(frozen=True, slots=True)
class MirrorAccount:
    """An account: `evm_address` is its alias, or its long-zero address where it has none.

    `key_type` is `ECDSA_SECP256K1`, `ED25519`, `ProtobufEncoded` (lists and thresholds), or None
    for one that was made by a transfer and has not signed yet.
    """

    account_id: str
    evm_address: bytes
    key_type: str | None
    key: str | None
    ethereum_nonce: int
    balance_tinybar: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class MirrorTransaction:
    """A transaction that reached consensus; `result` is SUCCESS or why nothing came of it."""

    consensus_timestamp: str
    result: str
    name: str
    entity_id: str | None
    charged_fee_tinybar: int


@dataclass(frozen=True, slots=True)
class MirrorBlock:
    """The newest block that a mirror has; it knows everything from before it began."""

    number: int
    begins_ns: int


class HederaMirror:
    """One or several mirrors of a network; made by `connected`."""

    def __init__(self, urls: Sequence[str], client: httpx2.AsyncClient) -> None:
        """Ask the mirrors at `urls`, each the part of its address before `/api/v1`."""
        if not urls:
            raise InvalidInput("a mirror node is needed", field="mirrors")
        self.urls = tuple(url.rstrip("/").removesuffix("/api/v1") for url in urls)
        self._client = client
        self._preferred = 0

    @classmethod
    @asynccontextmanager
    async def connected(
        cls, urls: Sequence[str], *, transport: httpx2.AsyncBaseTransport | None = None
    ) -> AsyncIterator[Self]:
        """Mirrors within the block; nothing is asked yet."""
        async with httpx2.AsyncClient(timeout=TIMEOUT_S, transport=transport) as client:
            yield cls(urls, client)

    def turn_away(self) -> None:
        """Ask another mirror first from now on: this one lies or lags."""
        self._preferred = (self._preferred + 1) % len(self.urls)

    @property
    def url(self) -> str:
        """The mirror that is asked first."""
        return self.urls[self._preferred]

    # Topics ------------------------------------------------------------------------------------

    async def topic(self, topic_id: str) -> MirrorTopic:
        """Return a topic. Raises NotFound."""
        row = await self.get(f"/topics/{topic_id}")
        with reading("topic"):
            return MirrorTopic(
                row["topic_id"], row["memo"], row["admin_key"], row["submit_key"], row["deleted"]
            )

    async def message(self, topic_id: str, sequence_number: int) -> TopicMessage:
        """Return a message by its number. Raises NotFound, which a mirror's lag may explain."""
        message = parse_mirror_row(await self.get(f"/topics/{topic_id}/messages/{sequence_number}"))
        if (message.topic_id, message.sequence_number) != (topic_id, sequence_number):
            self.turn_away()
            raise _odd_answer(f"message {sequence_number} of {topic_id}")
        return message

    async def message_at(self, consensus_timestamp: str) -> TopicMessage:
        """Return the message that reached consensus just then. Raises NotFound."""
        message = parse_mirror_row(await self.get(f"/topics/messages/{consensus_timestamp}"))
        if message.consensus_timestamp != consensus_timestamp:
            self.turn_away()
            raise _odd_answer(f"the message of {consensus_timestamp}")
        return message

    async def last_message(self, topic_id: str) -> TopicMessage | None:
        """Return a topic's newest message, None before the first."""
        rows = await self.messages(topic_id, {"order": "desc", "limit": 1})
        return rows[0] if rows else None

    async def messages(
        self, topic_id: str, query: Mapping[str, Any] | Sequence[tuple[str, str]]
    ) -> list[TopicMessage]:
        """Return one page of messages, at most 100, by the API's own query."""
        page = await self.get(f"/topics/{topic_id}/messages", query)
        return parse_mirror_page(page)[0]

    # Transactions and time ---------------------------------------------------------------------

    async def transactions(self, transaction_id: HederaTransactionId) -> list[MirrorTransaction]:
        """Return what reached consensus under an id, its own row first; empty if nothing is known.

        More than one row means duplicates, whose result says so.
        """
        start = timestamp_text(transaction_id.valid_start_ns).replace(".", "-")
        try:
            found = await self.get(f"/transactions/{transaction_id.payer_account_id}-{start}")
        except NotFound:
            return []
        with reading("transaction"):
            return [
                MirrorTransaction(
                    row["consensus_timestamp"],
                    row["result"],
                    row["name"],
                    row["entity_id"],
                    int(row["charged_tx_fee"]),
                )
                for row in found["transactions"]
                if row["nonce"] == 0 and not row["scheduled"]
            ]

    async def last_block(self) -> MirrorBlock:
        """Return the newest block. Raises Unavailable where a mirror has none yet."""
        found = await self.get("/blocks", {"limit": 1, "order": "desc"})
        with reading("block"):
            if not found["blocks"]:
                raise Unavailable("the mirror has no block yet", remedy="try again in a moment")
            block = found["blocks"][0]
            return MirrorBlock(int(block["number"]), timestamp_ns(block["timestamp"]["from"]))

    # Accounts and prices -----------------------------------------------------------------------

    async def account(self, account: str | bytes) -> MirrorAccount:
        """Return an account by its id or by any of its addresses of 20 bytes. Raises NotFound."""
        name = hex_text(account) if isinstance(account, bytes) else account
        row = await self.get(f"/accounts/{name}", {"transactions": "false"})
        with reading("account"):
            key = row["key"] or {}
            return MirrorAccount(
                account_id=row["account"],
                evm_address=bytes.fromhex(row["evm_address"].removeprefix("0x")),
                key_type=key.get("_type") if key.get("key") != _NO_KEY_YET else None,
                key=key.get("key"),
                ethereum_nonce=int(row["ethereum_nonce"] or 0),
                balance_tinybar=int(row["balance"]["balance"]),
                deleted=bool(row["deleted"]),
            )

    async def exchange_rate(self) -> ExchangeRate:
        """Return the rate at which dollars become HBAR this hour."""
        found = await self.get("/network/exchangerate")
        with reading("exchange rate"):
            rate = found["current_rate"]
            return ExchangeRate.of(
                int(rate["cent_equivalent"]), int(rate["hbar_equivalent"]), rate["expiration_time"]
            )

    async def gas_price_tinybar(self) -> int:
        """Return what a gas of an EthereumTransaction costs now."""
        found = await self.get("/network/fees")
        with reading("fees"):
            prices = {row["transaction_type"]: int(row["gas"]) for row in found["fees"]}
            return prices["EthereumTransaction"]

    # Contracts ---------------------------------------------------------------------------------

    async def call(
        self,
        to: bytes | None,
        data: bytes,
        sender: bytes | None = None,
        *,
        estimate: bool = False,
    ) -> bytes:
        """Return what a call would return now, or with `estimate` the gas that it would need.

        Raises Reverted with what the contract said.
        """
        asked: dict[str, Any] = {
            "block": "latest",
            "data": hex_text(data),
            "estimate": estimate,
            "gas": CALL_GAS,
        }
        if to is not None:
            asked["to"] = hex_text(to)
        if sender is not None:
            asked["from"] = hex_text(sender)
        found = await self._ask(
            "POST", "/contracts/call", content=orjson.dumps(asked), content_type="application/json"
        )
        with reading("call"):
            text = found["result"].removeprefix("0x")
            return bytes.fromhex(text.rjust(len(text) + len(text) % 2, "0"))

    async def contract_result(self, transaction_hash: bytes) -> Mapping[str, Any] | None:
        """Return the row of a transaction of the EVM, None while it is not known."""
        try:
            found: Mapping[str, Any] = await self.get(
                f"/contracts/results/{hex_text(transaction_hash)}"
            )
        except NotFound:
            return None
        return found

    async def contract_logs(
        self, address: bytes, after: str | None = None
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Give the logs of a contract in order, those of later times than `after`.

        By address alone: with topics a mirror takes a week at most.
        """
        query: Sequence[tuple[str, str]] = [("limit", str(PAGE_ROWS)), ("order", "asc")]
        if after is not None:
            query = [*query, ("timestamp", f"gt:{after}")]
        path = f"/contracts/{hex_text(address)}/results/logs"
        while True:
            page = await self.get(path, query)
            with reading("logs"):
                rows, following = list(page["logs"]), page["links"]["next"]
            for row in rows:
                yield row
            if following is None or not rows:
                return
            query = parse_qsl(urlsplit(following).query)

    # How it is asked ---------------------------------------------------------------------------

    async def get(
        self, path: str, query: Mapping[str, Any] | Sequence[tuple[str, str]] = ()
    ) -> Any:
        """Return the document at `path` after `/api/v1`.

        Raises NotFound if the first mirror that answers does not have it, Unavailable if none
        answers as it should.
        """
        return await self._ask("GET", path, query=query)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | Sequence[tuple[str, str]] = (),
        content: bytes | None = None,
        content_type: str | None = None,
    ) -> Any:
        headers = {"Content-Type": content_type} if content_type else {}
        fault: Unavailable | None = None
        for turn in range(len(self.urls)):
            place = (self._preferred + turn) % len(self.urls)
            request = self._client.build_request(
                method,
                f"{self.urls[place]}/api/v1{path}",
                params=list(query.items()) if isinstance(query, Mapping) else list(query),
                content=content,
                headers=headers,
            )
            try:
                status, body = await self._fetch(request)
                document = _document(self.urls[place], path, status, body)
            except Unavailable as error:
                fault = error
                continue
            self._preferred = place
            return document
        assert fault is not None, "there is at least one mirror"
        raise fault

    async def _fetch(self, request: httpx2.Request) -> tuple[int, bytes]:
        try:
            response = await self._client.send(request, stream=True)
            try:
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > BODY_BYTES_MAX:
                        raise Unavailable(
                            f"{request.url.host} answers over {BODY_BYTES_MAX} bytes",
                            remedy="use another mirror",
                        )
            finally:
                await response.aclose()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Unavailable(
                f"the mirror {request.url.host} does not answer: "
                f"{str(error) or type(error).__name__}",
                remedy="try another mirror, or later",
            ) from error
        return response.status_code, body


def _document(url: str, path: str, status: int, body: bytes) -> Any:
    if status == httpx2.codes.NOT_FOUND:
        raise NotFound(f"the mirror {url} has no {path} (yet)")
    if status == _THROTTLED:
        raise Unavailable(f"the mirror {url} is asked too often", remedy="it is asked again later")
    try:
        check_nesting(body)
        document: Any = orjson.loads(body)
    except ValueError:
        raise Unavailable(f"the mirror {url} answers {path} with no JSON (status {status})") from (
            None
        )
    if status in (httpx2.codes.OK, httpx2.codes.PARTIAL_CONTENT):  # partial: it never ran
        return document
    message = _message(document)
    if path == "/contracts/call" and status == httpx2.codes.BAD_REQUEST:
        name, data = str(message.get("message", "")), message.get("data") or ""
        raise Reverted(_hex(data), str(message.get("detail") or name))
    if status == httpx2.codes.BAD_REQUEST:
        raise InvalidInput(f"the mirror {url} refuses {path}: {message.get('message')}")
    raise Unavailable(
        f"the mirror {url} answers {path} with status {status}: {message.get('message', '')}",
        remedy="use another mirror" if status == _NOT_IMPLEMENTED else "try again later",
    )


def _message(document: Any) -> Mapping[str, Any]:
    match document:
        case {"_status": {"messages": [dict(message), *_]}}:
            return message
        case _:
            return {}


def _hex(text: Any) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except (AttributeError, ValueError):
        return b""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn a document of the wrong form into Unavailable."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, InvalidInput):
        raise _odd_answer(what) from None


def _odd_answer(what: str) -> Unavailable:
    return Unavailable(
        f"the mirror's answer about {what} is not of its form", remedy="use another mirror"
    )


def seconds_of(consensus_timestamp: str) -> int:
    """Return the whole seconds of a consensus time, which is a block's time for contracts."""
    return timestamp_ns(consensus_timestamp) // NS_PER_S


def hash_bytes(text: str) -> bytes:
    """Return a hash that a mirror writes in hex digits with 0x, or in base64."""
    if text.startswith("0x"):
        return bytes.fromhex(text[2:])
    return base64.b64decode(text, validate=True)
