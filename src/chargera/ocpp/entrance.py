"""From an accepted socket to an authenticated connection: TLS, password, version, upgrade.

A socket is nobody's until its password is verified, which takes a thread and therefore cannot
happen inside the WebSocket library's synchronous upgrade. So the request is read here, decided
here, and only an accepted socket is handed to the library. Until then it counts against the
bounds on sockets that wait, in all and for each address, TLS handshake included.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, cast

import aiofastnet
from picows import WSAutoPingStrategy, WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # its stub leaves it out

from chargera.app.access import StationLogin
from chargera.app.ports import Feed, LiveEvent, NewEntry
from chargera.domain.errors import Conflict, Unavailable
from chargera.domain.station import OcppVersion
from chargera.ocpp import upgrade
from chargera.ocpp.connection import Channel, Connection
from chargera.ocpp.counters import TransportLog
from chargera.ocpp.dialect import Dialect
from chargera.ocpp.stations import ConnectedStations
from chargera.ocpp.upgrade import BadRequest, UpgradeRequest
from chargera.proofs.entry import EntryKind

READ_BUFFER_BYTES = 2_048
"""Where the library's buffer begins; it grows with the frames that a station really sends."""

END_OF_HEAD = b"\r\n\r\n"
UNAUTHORIZED = "station id and password do not match"
"""The one text for an unknown station, a wrong password, another's password and none."""


class Access(Protocol):
    """Who a station is (`chargera.app.access.StationAccess`)."""

    async def authenticate(
        self, station_id: str, user: str | None, password: str | None, address: str
    ) -> StationLogin | None:
        """Return the station's login if the credentials are its own, after equal work if not."""


class Recorder(Protocol):
    """The part of the gateway that the entrance needs."""

    @property
    def is_down(self) -> bool:
        """Whether messages cannot be recorded now."""

    def note(self, entry: NewEntry) -> None:
        """Take an entry for the event log."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a socket does not become a connection."""

    status: HTTPStatus
    detail: str
    reason: str
    """The word under which it is counted and logged; it never reaches the peer."""
    retry_after_s: int | None = None


class Doorkeeper:
    """Decides who comes in; shared by all entrances of a server."""

    def __init__(
        self,
        access: Access,
        recorder: Recorder,
        feed: Feed,
        stations: ConnectedStations,
        channel: Channel,
        dialects: Mapping[OcppVersion, Dialect],
    ) -> None:
        """`dialects` are in order of preference, the newest first."""
        self.channel = channel
        self.transport_log = TransportLog(channel.log)
        self.is_closing = False
        self._access = access
        self._recorder = recorder
        self._feed = feed
        self._stations = stations
        self._dialects = dialects
        self.waiting: set[Entrance] = set()
        self._waiting_of: Counter[str] = Counter()

    def admit(self, entrance: "Entrance", address: str) -> bool:
        """Count a new socket; False: too many wait already."""
        limits = self.channel.limits
        self.channel.counters.sockets_accepted += 1
        if (
            self.is_closing
            or len(self.waiting) >= limits.waiting_sockets_max
            or self._waiting_of[address] >= limits.waiting_sockets_per_address_max
        ):
            self.channel.counters.handshakes["too many wait"] += 1
            return False
        self.waiting.add(entrance)
        self._waiting_of[address] += 1
        return True

    def leave(self, entrance: "Entrance", address: str) -> None:
        """Count a socket off: it has come in or gone."""
        self.waiting.discard(entrance)
        self._waiting_of[address] -= 1
        if not self._waiting_of[address]:
            del self._waiting_of[address]

    def close(self) -> None:
        """Let nobody in any more and end every socket that waits."""
        self.is_closing = True
        for entrance in list(self.waiting):
            entrance.abort()

    async def decide(
        self, request: UpgradeRequest, address: str, *, is_secure: bool
    ) -> tuple[StationLogin, Dialect | None] | Refusal:
        """Authenticate and agree on a version; None for the version: there is no common one.

        Up to and including the password check nothing depends on whether the station exists.
        """
        limits = self.channel.limits
        credentials = request.credentials
        busy = Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE, "try again later", "no database", limits.retry_after_s
        )
        try:
            login = await self._access.authenticate(
                request.station_id, credentials.user, credentials.password, address
            )
        except Unavailable:
            return busy
        if (
            login is None
            or credentials.user != request.station_id
            or not _profile_allows(login, is_secure=is_secure)
        ):
            reason = "wrong credentials" if login is None else "security profile"
            return Refusal(HTTPStatus.UNAUTHORIZED, UNAUTHORIZED, reason)
        if self._recorder.is_down or self.is_closing:
            return busy
        ours = {
            dialect.subprotocol: dialect
            for version, dialect in self._dialects.items()
            if version in login.ocpp_versions
        }
        chosen = upgrade.choose_subprotocol(request.subprotocols, tuple(ours))
        return login, None if chosen is None else ours[chosen]

    async def claim(self, station_id: str, address: str) -> int | Refusal:
        """Return the epoch under which a new socket speaks for the station, or why it may not."""
        try:
            return await self._stations.claim(station_id)
        except Conflict as conflict:
            now = self.channel.clock.now()
            record = {"address": address, "event": "second_socket", "station_id": station_id}
            self._recorder.note(NewEntry(EntryKind.SECURITY_EVENT, station_id, None, record, now))
            self._feed.publish(LiveEvent("station", station_id, {"event": "second_socket"}))
            return Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                conflict.message,
                "second socket",
                self.channel.limits.retry_after_s,
            )

    def welcome(self, station_id: str, dialect: Dialect, epoch: int) -> Connection:
        """Return the connection of a station that has come in."""
        connection = Connection(station_id, dialect, epoch, self.channel, self._on_end)
        self._stations.settle(station_id, connection)
        self.channel.counters.live += 1
        self.channel.counters.handshakes["accepted"] += 1
        self.channel.log.info(
            "station connected",
            station_id=station_id,
            ocpp_version=dialect.version.value,
            epoch=epoch,
        )
        self._feed.publish(LiveEvent("station", station_id, {"connected": True}))
        return connection

    def give_up_claim(self, station_id: str) -> None:
        """End a claim whose socket has gone in the meantime."""
        self._stations.settle(station_id, None)

    def _on_end(self, connection: Connection) -> None:
        self.channel.counters.live -= 1
        self.channel.log.info(
            "station disconnected",
            station_id=connection.station_id,
            epoch=connection.epoch,
            reason=connection.end_reason,
        )
        if self._stations.remove(connection):
            self._feed.publish(LiveEvent("station", connection.station_id, {"connected": False}))


class Entrance(asyncio.Protocol):
    """One socket until it is upgraded or refused."""

    def __init__(self, doorkeeper: Doorkeeper, tls: ssl.SSLContext | None) -> None:
        """`tls` None: the socket is in the clear."""
        self._doorkeeper = doorkeeper
        self._tls = tls
        self._received = bytearray()
        self._head_bytes: int | None = None
        """Length of the request's head, once it is complete."""
        self._address: str | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._tls_starts = tls is not None
        self._is_gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the socket and start its deadline."""
        # aiofastnet's transports have asyncio's methods without deriving from its classes.
        self._transport = transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else "local"
        if not self._doorkeeper.admit(self, address):
            self._turn_away(transport)
            return
        self._address = address
        loop = asyncio.get_running_loop()
        limits = self._doorkeeper.channel.limits
        self._deadline = loop.call_later(limits.handshake_timeout_s, self._on_deadline)
        if self._tls is not None:
            self._task = loop.create_task(self._start_tls(transport, self._tls))

    def _turn_away(self, transport: asyncio.Transport) -> None:
        """Refuse without reading: in the clear with a reason, behind TLS by closing."""
        if self._tls is None:
            retry_after_s = self._doorkeeper.channel.limits.retry_after_s
            transport.write(
                upgrade.refusal(
                    HTTPStatus.SERVICE_UNAVAILABLE, "too many sockets wait", retry_after_s
                )
            )
            transport.close()
        else:
            transport.abort()

    async def _start_tls(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        timeout_s = self._doorkeeper.channel.limits.handshake_timeout_s
        try:
            secured = await aiofastnet.start_tls(
                loop,
                transport,
                self,
                tls,
                server_side=True,
                ssl_handshake_timeout=timeout_s,
                ssl_shutdown_timeout=1.0,
            )
        except (OSError, ssl.SSLError):
            self._doorkeeper.channel.counters.handshakes["no TLS"] += 1
            transport.abort()
            await asyncio.sleep(0)
            self._leave()
            return
        self._transport, self._tls_starts = secured, False
        self._read_head(secured)  # the request may have come along with the last of TLS

    def data_received(self, data: bytes) -> None:
        """Collect what comes until the request is complete, and what comes too early after it."""
        self._received += data
        transport = self._transport
        assert transport is not None, "data comes over a transport"
        if len(self._received) > 2 * self._doorkeeper.channel.limits.request_bytes_max:
            transport.abort()
        elif self._head_bytes is None and not self._tls_starts:
            self._read_head(transport)

    def _read_head(self, transport: asyncio.Transport) -> None:
        bytes_max = self._doorkeeper.channel.limits.request_bytes_max
        end = self._received.find(END_OF_HEAD)
        if end < 0 and len(self._received) <= bytes_max:
            return
        self._head_bytes = end
        if not 0 <= end <= bytes_max:
            self._refuse(
                Refusal(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "the request is too large",
                    "malformed request",
                )
            )
            return
        head = bytes(self._received[:end])
        self._task = asyncio.get_running_loop().create_task(self._answer(transport, head))

    async def _answer(self, transport: asyncio.Transport, head: bytes) -> None:
        """Answer the request, whatever happens."""
        try:
            await self._decide(transport, upgrade.parse(head))
        except BadRequest as bad:
            self._refuse(Refusal(bad.status, bad.detail, "malformed request"))
        except Exception as error:  # a peer is never left without an answer
            log = self._doorkeeper.channel.log
            log.error("handshake failed", error=repr(error)[:300])  # noqa: TRY400 - it is a field
            self._refuse(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "try again later", "failed"))

    async def _decide(self, transport: asyncio.Transport, request: UpgradeRequest) -> None:
        """Upgrade or refuse."""
        address = self._address or ""
        decided = await self._doorkeeper.decide(request, address, is_secure=self._tls is not None)
        if isinstance(decided, Refusal):
            self._refuse(decided, request.station_id)
            return
        login, dialect = decided
        if dialect is None:
            self._complete_without_version(transport, request)
            return
        epoch = await self._doorkeeper.claim(login.station_id, address)
        if isinstance(epoch, Refusal):
            self._refuse(epoch, login.station_id)
        elif self._is_gone or self._doorkeeper.is_closing:
            transport.abort()
            self._doorkeeper.give_up_claim(login.station_id)
        else:
            connection = self._doorkeeper.welcome(login.station_id, dialect, epoch)
            self._upgrade(transport, request, connection)

    def _upgrade(
        self,
        transport: asyncio.Transport,
        request: UpgradeRequest,
        connection: Connection,
    ) -> None:
        """Hand the socket to the WebSocket library, which answers 101 and frames from here on."""
        self._leave()
        response = WSUpgradeResponse.create_101_response(
            {"Sec-WebSocket-Protocol": connection.dialect.subprotocol}
        )
        limits = self._doorkeeper.channel.limits
        websocket = WSProtocol(
            None,  # host and port: for clients
            None,  # path: for clients
            False,  # is_client_side
            lambda _: WSUpgradeResponseWithListener(response, connection),
            self._doorkeeper.transport_log,
            True,  # disconnect_on_exception
            None,  # handshake timeout: the request is complete
            False,  # auto ping: `Connection.check_liveness` does it without a task a socket
            limits.ping_interval_s,
            limits.ping_interval_s,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,  # auto pong: the connection counts pings against the station's rate
            limits.frame_bytes_max(connection.dialect.version),
            None,  # extra headers: for clients
            READ_BUFFER_BYTES,
        )
        transport.set_protocol(websocket)
        websocket.connection_made(transport)
        early = self._received[(self._head_bytes or 0) + len(END_OF_HEAD) :]
        _feed(websocket, upgrade.request_of_library(request.websocket_key) + early)

    def _complete_without_version(
        self, transport: asyncio.Transport, request: UpgradeRequest
    ) -> None:
        """Complete the handshake without a subprotocol and close, as both versions require.

        OCPP-J 1.6 section 3.3; OCPP 2.0.1 part 4 section 3.3.
        """
        self._doorkeeper.channel.counters.handshakes["no common version"] += 1
        self._doorkeeper.channel.log.warning(
            "no common OCPP version",
            station_id=request.station_id,
            offered=[name[:20] for name in request.subprotocols[:5]],
        )
        transport.write(upgrade.handshake_without_subprotocol(request.websocket_key))
        transport.close()

    def _refuse(self, refusal: Refusal, station_id: str | None = None) -> None:
        transport = self._transport
        if transport is None or self._is_gone:
            return
        channel = self._doorkeeper.channel
        channel.counters.handshakes[refusal.reason] += 1
        channel.log.warning(
            "socket refused", reason=refusal.reason, station_id=station_id, address=self._address
        )
        transport.write(upgrade.refusal(refusal.status, refusal.detail, refusal.retry_after_s))
        transport.close()

    def _on_deadline(self) -> None:
        self._doorkeeper.channel.counters.handshakes["too slow"] += 1
        self.abort()

    def abort(self) -> None:
        """End the socket at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count the socket off; a decision under way finds that it has gone."""
        self._is_gone = True
        self._leave()

    def _leave(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._address is not None:
            address, self._address = self._address, None
            self._doorkeeper.leave(self, address)


def _profile_allows(login: StationLogin, *, is_secure: bool) -> bool:
    """Say whether the station may come by this way; a lower profile than its own is refused.

    Profile 1 is Basic authentication in the clear, 2 the same within TLS. Profile 3 identifies
    by certificate, so a password alone is never enough for it.
    """
    if is_secure:
        return login.security_profile in (1, 2)
    return login.security_profile == 1 and login.plain_allowed


def _feed(websocket: WSProtocol, data: bytes) -> None:
    """Give the library bytes that were already read from its socket."""
    rest = memoryview(data)
    while rest:
        buffer = websocket.get_buffer(-1)
        count = min(len(buffer), len(rest))
        buffer[:count] = rest[:count]
        websocket.buffer_updated(count)
        rest = rest[count:]
