"""The mirror's gRPC service: subscriptions to topics, which SDKs read messages by."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from hiero_sdk_python.hapi.mirror import consensus_service_pb2_grpc
from hiero_sdk_python.hapi.mirror.consensus_service_pb2 import (
    ConsensusTopicQuery,
    ConsensusTopicResponse,
)
from hiero_sdk_python.hapi.services.consensus_submit_message_pb2 import ConsensusMessageChunkInfo

from tests.doubles.hedera.entities import Message, timestamp, to_ns
from tests.doubles.hedera.ledger import Ledger
from tests.doubles.hedera.running_hash import VERSION

POLL_S = 0.02
THREADS = 8
"""Most subscriptions at once."""


class MirrorGrpc:
    """A server of subscriptions on loopback; it never lags or lies."""

    def __init__(self, ledger: Ledger) -> None:
        """Listen on a free port."""
        self._ledger = ledger
        self._ended = threading.Event()
        self._server = grpc.server(ThreadPoolExecutor(THREADS, thread_name_prefix="mirror"))
        generated = consensus_service_pb2_grpc.ConsensusServiceServicer
        servicer = type("EmulatedMirror", (generated,), {"subscribeTopic": self._subscribe})()
        consensus_service_pb2_grpc.add_ConsensusServiceServicer_to_server(servicer, self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """End all subscriptions."""
        self._ended.set()
        self._server.stop(grace=None).wait()

    def _subscribe(
        self, query: ConsensusTopicQuery, context: Any
    ) -> Iterator[ConsensusTopicResponse]:
        """Give the messages from a time on, those to come too, as many as are asked for."""
        topic = self._ledger.topics.get(query.topicID.topicNum)
        if topic is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "Topic not found")
            return
        from_ns = to_ns(query.consensusStartTime)
        until_ns = to_ns(query.consensusEndTime) if query.HasField("consensusEndTime") else None
        given, place = 0, 0
        while context.is_active() and not self._ended.is_set():
            with self._ledger.lock:
                fresh, place = topic.messages[place:], len(topic.messages)
            for message in fresh:
                if message.consensus_ns < from_ns:
                    continue
                if until_ns is not None and message.consensus_ns >= until_ns:
                    return
                yield _response(message)
                given += 1
                if query.limit and given == query.limit:
                    return
            self._ended.wait(POLL_S)


def _response(message: Message) -> ConsensusTopicResponse:
    response = ConsensusTopicResponse(
        consensusTimestamp=timestamp(message.consensus_ns),
        message=message.content,
        runningHash=message.running_hash,
        sequenceNumber=message.sequence_number,
        runningHashVersion=VERSION,
    )
    if message.initial_id is not None:
        response.chunkInfo.CopyFrom(
            ConsensusMessageChunkInfo(
                initialTransactionID=message.initial_id,
                total=message.chunks,
                number=message.chunk,
            )
        )
    return response
