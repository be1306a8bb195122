"""The line of a simulated station: connects, authenticates, reconnects, loses no transaction."""

import asyncio
import base64
import logging
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

from ocpp.exceptions import OCPPError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from chargera.domain.errors import NotPermitted, Refused, Unavailable
from chargera.sim.clock import StationClock
from chargera.sim.dialect import Dialect, Payload

LOG = logging.getLogger("chargera.sim")

UNAUTHORIZED = 401
MEASURING_S = 1.1

LINE_ERRORS = (OSError, InvalidHandshake, ConnectionClosed, TimeoutError, OCPPError, ValueError)
"""What ends a connection, and only that: no answer, a broken one, or a nonsensical one."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where a station connects, and how it proves who it is."""

    url: str
    """`ws://...` or `wss://...`; the station's id is appended to its path."""
    station_id: str
    password: str = field(repr=False)
    ca_file: str | None = None
    """PEM of the authority that signed the server's certificate; None for the system's."""
    is_checked: bool = True
    """Whether the certificate must be that authority's: False only towards this same machine."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the line waits, in real seconds."""

    answer_s: float = 30.0
    backoff_s: float = 1.0
    """Before the second attempt; doubled after each, times a random half to one and a half."""
    backoff_max_s: float = 30.0
    attempts: int = 3
    """How often a message is repeated that the other side answers with an error."""
    flush_s: float = 5.0
    """How long a reset waits for queued messages."""
    reach_s: float | None = None
    """How long a station that was never accepted tries to be; None without an end."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message about a transaction, which is kept until it is answered."""

    build: Callable[[], Payload]
    """Called at each attempt: what an earlier answer told may be needed in it."""
    answered: Callable[[Payload], None]


class Outbox:
    """Letters in the order in which they were written; the first one is sent until answered."""

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque()
        self._posted = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._letters)

    def post(self, letter: Letter) -> None:
        """Add a letter at the end."""
        self._letters.append(letter)
        self._posted.set()
        self._empty.clear()

    async def first(self) -> Letter:
        """Return the oldest letter, which stays; wait while there is none."""
        while not self._letters:
            self._posted.clear()
            await self._posted.wait()
        return self._letters[0]

    def done(self) -> None:
        """Take the oldest letter away."""
        self._letters.popleft()
        if not self._letters:
            self._empty.set()

    async def flushed(self) -> None:
        """Wait until there is none."""
        await self._empty.wait()


class Link:
    """Keeps one station connected: back-off, boot, heartbeats, letters and questions."""

    def __init__(
        self,
        access: Access,
        dialect: Dialect,
        identity: Mapping[str, str],
        clock: StationClock,
        rng: Random,
        patience: Patience,
        on_boot: Callable[[], Awaitable[None]],
    ) -> None:
        """Prepare the line; `on_boot` is awaited after every accepted boot, before all else."""
        self.outbox = Outbox()
        self.booted = asyncio.Event()
        """Set once the other side has accepted the station and knows its connectors."""
        self.identity = identity
        self.dropped = 0
        """Letters given up after the other side refused each repetition."""
        self._on_boot = on_boot
        self._access = access
        self._dialect = dialect
        self._clock = clock
        self._rng = rng
        self._patience = patience
        self._charge_point: Any = None
        self._lost = asyncio.Event()
        self._was_accepted = False
        self._reset_asked = False

    @property
    def is_online(self) -> bool:
        """The other side has accepted the station on this connection."""
        return self._charge_point is not None

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises, before the other side has ever accepted the station: NotPermitted if it refuses the
        password, Refused if it does not speak the version, Unavailable if its certificate is a
        stranger's or it is out of reach for too long.
        """
        attempt = 0
        began_s = time.monotonic()
        while True:
            try:
                async with self._connect() as connection:
                    self._check_version(connection)
                    attempt = 0
                    await self._serve(connection)
            except InvalidStatus as error:
                if error.response.status_code == UNAUTHORIZED and not self._was_accepted:
                    raise NotPermitted(
                        f"the network refuses station {self._access.station_id!r} (HTTP 401)",
                        field="password",
                        remedy="register the station and give the password shown then",
                    ) from None
                LOG.info("%s: HTTP %s", self._access.station_id, error.response.status_code)
                self._give_up(f"it answers HTTP {error.response.status_code}", began_s)
            except ssl.SSLCertVerificationError as error:
                LOG.info("%s: not connected: %r", self._access.station_id, error)
                if not self._was_accepted:
                    raise Unavailable(
                        f"the certificate of {self._access.url} is not trusted:"
                        f" {error.verify_message}",
                        field="ca_file",
                        remedy="give the file of its authority (a server's own test CA is"
                        " tls/ca.pem in its data folder)",
                    ) from None
            except LINE_ERRORS as error:
                LOG.info("%s: not connected: %r", self._access.station_id, error)
                self._give_up(str(error) or repr(error), began_s)
            await asyncio.sleep(self._backoff_s(attempt))
            attempt += 1

    async def ask(self, payload: Payload) -> Payload | None:
        """Send a request that is not kept; return its answer, None without one."""
        charge_point, lost = self._charge_point, self._lost
        if charge_point is None:
            return None
        call = asyncio.ensure_future(charge_point.call(payload, suppress=False))
        gone = asyncio.ensure_future(lost.wait())
        try:
            await asyncio.wait({call, gone}, return_when=asyncio.FIRST_COMPLETED)
            return call.result() if call.done() else None
        except (OCPPError, TimeoutError, ConnectionClosed) as error:
            LOG.info("%s: no answer: %r", self._access.station_id, error)
            return None
        finally:
            call.cancel()
            gone.cancel()

    def _check_version(self, connection: ClientConnection) -> None:
        """Raise Refused if the other side speaks no version of this station, and never did."""
        if connection.subprotocol is None and not self._was_accepted:
            raise Refused(
                f"the network does not speak {self._dialect.subprotocol} with station"
                f" {self._access.station_id!r}",
                field="ocpp",
                remedy="use a version that the station is registered for",
            )

    def _give_up(self, fault: str, began_s: float) -> None:
        """Raise Unavailable once a station that was never accepted has tried for long enough."""
        reach_s = self._patience.reach_s
        if self._was_accepted or reach_s is None or time.monotonic() - began_s < reach_s:
            return
        raise Unavailable(
            f"{self._access.url} did not take station {self._access.station_id!r}"
            f" within {reach_s:.0f} s: {fault}",
            field="url",
            remedy="check the address (`ocpp` or `ocpps` of the server's first line), the"
            " station's security profile and its OCPP version",
        )

    def hang_up(self) -> None:
        """End the connection; it is made again after a pause, and letters stay."""
        self._lost.set()

    def reset(self) -> None:
        """Hang up and boot as after a reset."""
        self._reset_asked = True
        self.hang_up()

    def _connect(self) -> connect:
        access = self._access
        credentials = f"{access.station_id}:{access.password}".encode()
        context = None
        if access.url.startswith("wss:"):
            context = ssl.create_default_context(cafile=access.ca_file)
            if not access.is_checked:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
        return connect(
            f"{access.url.rstrip('/')}/{access.station_id}",
            subprotocols=[Subprotocol(self._dialect.subprotocol)],
            additional_headers={"Authorization": f"Basic {base64.b64encode(credentials).decode()}"},
            ssl=context,
            compression=None,
            proxy=None,
            open_timeout=self._patience.answer_s,
            ping_timeout=self._patience.answer_s,
            close_timeout=1,
            logger=LOG,
        )

    async def _serve(self, connection: ClientConnection) -> None:
        """Speak on one connection until it ends, whoever ends it."""
        charge_point = self._dialect.charge_point(
            self._access.station_id, connection, self._patience.answer_s
        )
        self._lost = asyncio.Event()
        tasks = [
            asyncio.create_task(work)
            for work in (charge_point.start(), self._speak(charge_point), self._lost.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._charge_point = None
            self._lost.set()
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _speak(self, charge_point: Any) -> None:
        heartbeat_s = await self._boot(charge_point)
        self._was_accepted = True
        self._charge_point = charge_point
        await self._on_boot()
        self.booted.set()
        await asyncio.gather(self._beat(charge_point, heartbeat_s), self._send(charge_point))

    async def _boot(self, charge_point: Any) -> float:
        """Boot until accepted; return the heartbeat's interval in network seconds."""
        while True:
            request = self._dialect.boot(self.identity, after_reset=self._reset_asked)
            answer = await charge_point.call(request, suppress=False)
            told = datetime.fromisoformat(answer.current_time)
            if self.booted.is_set():
                self._clock.follow(told)
            else:
                self._clock.start_at(told)
            interval_s = max(1.0, float(answer.interval))
            if answer.status == "Accepted":
                self._reset_asked = False
                if self._clock.rate is None:
                    await self._measure(charge_point, told)
                return interval_s
            LOG.info("%s: boot %s", self._access.station_id, answer.status)
            await asyncio.sleep(self._clock.real_s(interval_s, at_rate_0=1.0))

    async def _measure(self, charge_point: Any, earlier: datetime) -> None:
        """Learn from a heartbeat how fast the network's time passes."""
        began_s = time.monotonic()
        await asyncio.sleep(MEASURING_S)
        answer = await charge_point.call(self._dialect.heartbeat(), suppress=False)
        later = datetime.fromisoformat(answer.current_time)
        is_fine = "." in answer.current_time
        self._clock.measure(earlier, later, time.monotonic() - began_s, fine=is_fine)
        self._clock.follow(later)

    async def _beat(self, charge_point: Any, interval_s: float) -> None:
        while True:
            await asyncio.sleep(max(0.2, self._clock.real_s(interval_s, at_rate_0=0.5)))
            answer = await charge_point.call(self._dialect.heartbeat(), suppress=False)
            self._clock.follow(datetime.fromisoformat(answer.current_time))

    async def _send(self, charge_point: Any) -> None:
        """Send letters in order; one that is not answered is repeated under a new message id."""
        refusals = 0
        while True:
            letter = await self.outbox.first()
            try:
                answer = await charge_point.call(letter.build(), suppress=False)
            except OCPPError as error:
                refusals += 1
                LOG.warning("%s: refused: %r", self._access.station_id, error)
                if refusals < self._patience.attempts:
                    await asyncio.sleep(self._backoff_s(refusals))
                    continue
                self.dropped += 1
            else:
                letter.answered(answer)
            refusals = 0
            self.outbox.done()

    def _backoff_s(self, attempt: int) -> float:
        grown_s = self._patience.backoff_s * 2.0 ** min(attempt, 16)
        wait_s = min(self._patience.backoff_max_s, grown_s)
        return wait_s * self._rng.uniform(0.5, 1.5)
