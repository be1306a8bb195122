"""Calls to Hedera's nodes: an asynchronous face of the official SDK, which is synchronous.

The SDK runs in threads of its own here, tries each call once and at one node; what is tried
again, and under which id, is decided by whoever calls. Every transaction gets an id that its
caller has chosen, and stored, before. Failures are raised as `HapiFailure`, whatever the SDK made
of them: PrecheckError, MaxAttemptsError, a bare RuntimeError, an error of gRPC.

Needs the extra `hedera`; nothing else imports the SDK.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from chargera.domain.errors import ChargEraError, Refused
from chargera.ledger.hedera.amounts import TINYBAR_PER_HBAR
from chargera.ledger.hedera.failures import NO_ANSWER, NODE_DOWN, HapiFailure, Stage
from chargera.ledger.hedera.signer import Signer
from chargera.ledger.transaction_id import NS_PER_S, HederaTransactionId

T = TypeVar("T")

WORKERS = 4
DEADLINE_S = 10.0
"""How long one call to one node may take."""

MESSAGE_FEE_MAX_TINYBAR = TINYBAR_PER_HBAR // 2
TRANSFER_FEE_MAX_TINYBAR = 5 * TINYBAR_PER_HBAR
CREATE_FEE_MAX_TINYBAR = 20 * TINYBAR_PER_HBAR
"""The most that a transaction may cost; at a rate of 0.02 dollars still 10 times the fee."""


@dataclass(frozen=True, slots=True)
class HapiNetwork:
    """Which nodes: those of a public network by its name, or others by their addresses.

    `nodes` are account ids by `host:port`; empty, the SDK takes the address book that the public
    network's mirror has, whose certificate hashes every TLS connection is held to.
    """

    name: str
    nodes: Mapping[str, str]
    tls_roots: bytes | None = None
    """PEM certificates for nodes of one's own with TLS (their port is 50212)."""


@dataclass(frozen=True, slots=True)
class HapiReceipt:
    """What consensus made of a transaction, as its nodes tell for three minutes."""

    status: str
    entity_id: str | None = None
    """The account, topic or contract that it made."""
    topic_sequence_number: int | None = None
    topic_running_hash: bytes | None = None


class HapiClient:
    """A payer's calls to the nodes of one network; `close` it when done."""

    def __init__(
        self,
        network: HapiNetwork,
        payer_account_id: str,
        signer: Signer,
        *,
        workers: int = WORKERS,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Pay with `payer_account_id`, whose key `signer` holds. Connects with the first call.

        Raises Refused where the extra `hedera` is not installed.
        """
        self._sdk = _sdk()
        self._network = network
        self._signer = signer
        self._deadline_s = deadline_s
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="hapi")
        self._turn = threading.Lock()
        self._client: Any = None
        self._next_node = 0
        self.payer_account_id = payer_account_id

    async def close(self) -> None:
        """Give up what is under way; its outcome is then not known."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        with self._turn:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    # Transactions: each returns once a node has taken it ---------------------------------------

    async def submit_message(
        self,
        transaction_id: HederaTransactionId,
        topic_id: str,
        message: bytes,
        signers: Sequence[Signer] = (),
    ) -> None:
        """Submit a message of at most 1,024 bytes; `signers` hold the topic's submit key."""

        def make(sdk: Any) -> Any:
            transaction = sdk.TopicMessageSubmitTransaction(
                topic_id=sdk.TopicId.from_string(topic_id), message=message
            )
            transaction.transaction_fee = MESSAGE_FEE_MAX_TINYBAR
            return transaction

        await self._send(transaction_id, make, signers)

    async def create_topic(
        self,
        transaction_id: HederaTransactionId,
        memo: str,
        submit_keys: Sequence[bytes],
        threshold: int = 1,
    ) -> None:
        """Make a topic that nobody can change or delete: it has no admin key.

        `threshold` of the compressed public keys `submit_keys` must sign its messages.
        """

        def make(sdk: Any) -> Any:
            keys = [sdk.PublicKey.from_bytes_ecdsa(key) for key in submit_keys]
            transaction = sdk.TopicCreateTransaction(
                memo=memo, submit_key=sdk.KeyList(keys, threshold)
            )
            transaction.transaction_fee = CREATE_FEE_MAX_TINYBAR
            return transaction

        await self._send(transaction_id, make)

    async def update_topic(
        self,
        transaction_id: HederaTransactionId,
        topic_id: str,
        memo: str,
        signers: Sequence[Signer] = (),
    ) -> None:
        """Change a topic's memo; `signers` hold its admin key. Ours have none and refuse."""

        def make(sdk: Any) -> Any:
            return sdk.TopicUpdateTransaction(topic_id=sdk.TopicId.from_string(topic_id), memo=memo)

        await self._send(transaction_id, make, signers)

    async def ethereum(
        self, transaction_id: HederaTransactionId, raw: bytes, max_gas_allowance_tinybar: int
    ) -> None:
        """Have a transaction of the EVM executed, as its sender signed it.

        What its own fee does not pay, the payer does, up to the allowance.
        """

        def make(sdk: Any) -> Any:
            transaction = sdk.EthereumTransaction(
                ethereum_data=raw, max_gas_allowed=max_gas_allowance_tinybar
            )
            transaction.transaction_fee = max_gas_allowance_tinybar + TRANSFER_FEE_MAX_TINYBAR
            return transaction

        await self._send(transaction_id, make)

    async def create_account_by_transfer(
        self, transaction_id: HederaTransactionId, address: bytes, tinybar: int
    ) -> None:
        """Send HBAR to an address of the EVM; where it has no account yet, that makes one."""

        def make(sdk: Any) -> Any:
            receiver = sdk.AccountId.from_evm_address(address.hex(), 0, 0)
            return self._transfer(sdk, receiver, tinybar)

        await self._send(transaction_id, make)

    async def transfer(
        self, transaction_id: HederaTransactionId, account_id: str, tinybar: int
    ) -> None:
        """Send HBAR to an account."""

        def make(sdk: Any) -> Any:
            return self._transfer(sdk, sdk.AccountId.from_string(account_id), tinybar)

        await self._send(transaction_id, make)

    async def update_account_key(
        self,
        transaction_id: HederaTransactionId,
        account_id: str,
        new_key: bytes,
        signers: Sequence[Signer],
    ) -> None:
        """Give an account another key; the old one and the new one must both sign."""

        def make(sdk: Any) -> Any:
            transaction = sdk.AccountUpdateTransaction()
            transaction.set_account_id(sdk.AccountId.from_string(account_id))
            transaction.set_key(sdk.PublicKey.from_bytes_ecdsa(new_key))
            transaction.transaction_fee = TRANSFER_FEE_MAX_TINYBAR
            return transaction

        await self._send(transaction_id, make, signers)

    # Questions that cost nothing ----------------------------------------------------------------

    async def receipt(self, transaction_id: HederaTransactionId) -> HapiReceipt | None:
        """Return the receipt of a transaction; None while, or when no longer, there is one.

        A status that is no success is in it, not raised.
        """

        def ask(sdk: Any, client: Any, node: Any) -> HapiReceipt:
            query = sdk.TransactionGetReceiptQuery(_sdk_id(sdk, transaction_id))
            query.set_node_account_ids([node])
            return _receipt(sdk, query.execute(client))

        try:
            return await self._run(ask)
        except HapiFailure as failure:
            if failure.stage is Stage.RECEIPT:
                return None
            raise

    async def balance(self, account_id: str) -> int:
        """Return what an account holds, in tinybar."""

        def ask(sdk: Any, client: Any, node: Any) -> int:
            query = sdk.CryptoGetAccountBalanceQuery(sdk.AccountId.from_string(account_id))
            query.set_node_account_ids([node])
            return int(query.execute(client).hbars.to_tinybars())

        return await self._run(ask)

    # How it is done -----------------------------------------------------------------------------

    def _transfer(self, sdk: Any, receiver: Any, tinybar: int) -> Any:
        transaction = sdk.TransferTransaction()
        payer = sdk.AccountId.from_string(self.payer_account_id)
        transaction.add_hbar_transfer(payer, -tinybar)
        transaction.add_hbar_transfer(receiver, tinybar)
        transaction.transaction_fee = TRANSFER_FEE_MAX_TINYBAR
        return transaction

    async def _send(
        self,
        transaction_id: HederaTransactionId,
        make: Callable[[Any], Any],
        signers: Sequence[Signer] = (),
    ) -> None:
        def send(sdk: Any, client: Any, node: Any) -> None:
            transaction = make(sdk)
            transaction.set_transaction_id(_sdk_id(sdk, transaction_id))
            transaction.set_node_account_ids([node])
            transaction.freeze_with(client)
            for signer in signers:
                transaction.sign_with(
                    sdk.PublicKey.from_bytes_ecdsa(signer.public_key), signer.sign
                )
            transaction.execute(client, wait_for_receipt=False)

        await self._run(send)

    async def _run(self, call: Callable[[Any, Any, Any], T]) -> T:
        try:
            running = asyncio.get_running_loop().run_in_executor(
                self._executor, self._call_one_node, call
            )
        except RuntimeError as error:  # closed
            raise HapiFailure(Stage.TRANSPORT, NODE_DOWN, str(error)) from None
        return await running

    def _call_one_node(self, call: Callable[[Any, Any, Any], T]) -> T:
        """Call the node whose turn it is; after a failure it is another's."""
        sdk = self._sdk
        with self._turn:
            place = self._next_node
        try:
            client = self._connected()
            nodes = client.get_node_account_ids()
            return call(sdk, client, nodes[place % len(nodes)])
        except ChargEraError:  # of the signer
            raise
        except sdk.MaxAttemptsError as error:
            raise self._failure(error.last_error) from error
        except Exception as error:
            raise self._failure(error) from error

    def _connected(self) -> Any:
        with self._turn:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Any:
        sdk, network = self._sdk, self._network
        if network.nodes:
            nodes = {
                address: sdk.AccountId.from_string(account_id)
                for address, account_id in network.nodes.items()
            }
            client = sdk.Client.for_network(nodes, network.name)
        else:
            client = sdk.Client(sdk.Network(network.name))
        if network.tls_roots is not None:
            client.set_tls_root_certificates(network.tls_roots)
        client.logger.set_level(sdk.LogLevel.DISABLED)
        client.set_max_attempts(1)
        client.set_min_backoff(0)
        client.set_max_backoff(0)
        client.set_grpc_deadline(self._deadline_s)
        client.set_operator_with(
            sdk.AccountId.from_string(self.payer_account_id),
            sdk.PublicKey.from_bytes_ecdsa(self._signer.public_key),
            self._signer.sign,
        )
        return client

    def _failure(self, error: Exception | None) -> HapiFailure:
        """Return what the SDK gave up with in our words, and go on with the next node.

        A node that fails is shut out by the SDK for up to an hour, and a wrong node account makes
        it take other nodes altogether; a new client does neither.
        """
        sdk = self._sdk
        match error:
            case sdk.PrecheckError():
                name = sdk.ResponseCode(error.status).name
                self._turn_to_next(connected=name != "INVALID_NODE_ACCOUNT")
                stage = Stage.RECEIPT if name in _NO_RECEIPT else Stage.PRECHECK
                return HapiFailure(stage, name)
            case sdk.ReceiptStatusError():
                return HapiFailure(Stage.RECEIPT, sdk.ResponseCode(error.status).name)
            case None | RuntimeError() | OSError():  # shut out, or no connection
                self._turn_to_next(connected=False)
                return HapiFailure(Stage.TRANSPORT, NODE_DOWN, str(error or "shut out"))
            case _:
                self._turn_to_next(connected=False)
                code = getattr(error, "code", None)  # errors of gRPC have one
                name = code().name if callable(code) else NO_ANSWER
                return HapiFailure(Stage.TRANSPORT, name, _first_line(error))

    def _turn_to_next(self, *, connected: bool) -> None:
        """Let the next call go to another node, by a new connection unless this one is good.

        Calls under way keep the connection that they have until they end.
        """
        with self._turn:
            self._next_node += 1
            if not connected:
                self._client = None


_NO_RECEIPT = frozenset({"RECEIPT_NOT_FOUND", "RECORD_NOT_FOUND"})


def _sdk() -> Any:
    """Return what is used of the SDK. Raises Refused where it is not installed."""
    try:
        from chargera.ledger.hedera import sdk
    except ImportError as error:
        raise Refused(
            f"Hedera needs a package that is not installed: {error.name}",
            remedy="pip install 'chargera[hedera]'",
        ) from error
    return sdk


def _sdk_id(sdk: Any, transaction_id: HederaTransactionId) -> Any:
    seconds, nanoseconds = divmod(transaction_id.valid_start_ns, NS_PER_S)
    return sdk.TransactionId(
        sdk.AccountId.from_string(transaction_id.payer_account_id),
        sdk.TimestampProto(seconds=seconds, nanos=nanoseconds),
    )


def _receipt(sdk: Any, receipt: Any) -> HapiReceipt:
    made = receipt.topic_id or receipt.account_id or receipt.contract_id
    return HapiReceipt(
        status=sdk.ResponseCode(receipt.status).name,
        entity_id=None if made is None else str(made),
        topic_sequence_number=receipt.topic_sequence_number or None,
        topic_running_hash=receipt.topic_running_hash,
    )


def _first_line(error: Exception | None) -> str:
    details = getattr(error, "details", None)
    text = details() if callable(details) else str(error)
    return (text or type(error).__name__).splitlines()[0]
