"""Which socket speaks for which station: at most one, and an epoch that says which."""

import asyncio
from collections.abc import Iterator

from chargera.domain.errors import Conflict
from chargera.ocpp.connection import Connection
from chargera.ocpp.counters import CappedLog


class ConnectedStations:
    """The live connections by station id. Every new one gets the next epoch."""

    def __init__(self, log: CappedLog) -> None:
        """Start with no station connected."""
        self._log = log
        self._connections: dict[str, Connection] = {}
        self._claimed: set[str] = set()
        self._epoch = 0

    def get(self, station_id: str) -> Connection | None:
        """Return the connection that speaks for a station, None if there is none."""
        connection = self._connections.get(station_id)
        return connection if connection is not None and connection.is_open else None

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    async def claim(self, station_id: str) -> int:
        """Make way for an authenticated socket and return its epoch.

        A socket that already speaks for the station is pinged: if it does not answer in time it
        is fenced off, for it is half open and would lock the real station out. If both live, the
        newcomer is refused with Conflict, for only one of them can be the station and the older
        one may be in the middle of a charging session. The caller ends the claim with `settle`.
        """
        if station_id in self._claimed:
            raise Conflict("another socket is claiming this identity", field="station_id")
        self._claimed.add(station_id)
        try:
            old = self.get(station_id)
            if old is not None and await old.is_alive():
                raise Conflict("this station is already connected", field="station_id")
            superseded = self._connections.pop(station_id, None)
            if superseded is not None:
                self._log.warning(
                    "socket superseded", station_id=station_id, epoch=superseded.epoch
                )
                superseded.fence()
        except (Conflict, asyncio.CancelledError):
            self._claimed.discard(station_id)
            raise
        self._epoch += 1
        return self._epoch

    def settle(self, station_id: str, connection: Connection | None) -> None:
        """End a claim: with the connection that won it, or None if its socket has gone."""
        self._claimed.discard(station_id)
        if connection is not None:
            self._connections[station_id] = connection

    def remove(self, connection: Connection) -> bool:
        """Forget a connection that has ended; False if another one has taken its place."""
        if self._connections.get(connection.station_id) is not connection:
            return False
        del self._connections[connection.station_id]
        return True
