"""Every bound of the OCPP channel, as one value, and the bucket that meters messages."""

from dataclasses import dataclass

from chargera.domain.station import OcppVersion


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """The bounds of the channel. Times are seconds of the monotonic clock, sizes are bytes."""

    handshake_timeout_s: float = 10.0
    """From accept to upgrade, TLS and the password check included."""
    request_bytes_max: int = 16_384
    """The HTTP request that asks for the upgrade."""
    waiting_sockets_max: int = 1_000
    """Sockets that are not authenticated yet, in all."""
    waiting_sockets_per_address_max: int = 200
    retry_after_s: int = 10
    """What a refused station is told to wait."""

    frame_bytes_max_1_6: int = 65_536
    frame_bytes_max_2_x: int = 262_144
    depth_max: int = 32
    """Nested arrays and objects in a frame."""
    members_max: int = 20_000
    """Members of all objects of a frame."""

    messages_per_s: float = 20.0
    """A station's sustained rate; beyond it and its burst, its socket is not read for a while."""
    messages_burst: int = 60
    queued_messages_max: int = 1_000
    """Messages of one station that wait for the answer to its earlier ones."""
    output_bytes_max: int = 1_048_576
    output_messages_max: int = 100

    ping_interval_s: float = 30.0
    """A silent socket is pinged after this time and gone before twice this time."""
    probe_timeout_s: float = 5.0
    """How long a socket may take to prove that it lives when another one claims its identity."""

    command_timeout_s: float = 30.0
    commands_queued_max: int = 16
    command_settle_s: float = 1.0
    """Pause between the answer to a BootNotification and the first command."""
    command_unbooted_s: float = 30.0
    """A station that does not boot on this connection takes commands after this time."""

    gather_s: float = 0.01
    """How long a commit waits at most for the messages of those who were just answered."""
    batch_max: int = 256
    """Messages that share one commit."""
    database_patience_s: float = 10.0
    """How long stations wait for a database that does not answer before they are sent away."""
    stop_timeout_s: float = 5.0

    def frame_bytes_max(self, version: OcppVersion) -> int:
        """Return the largest frame that is taken from a station of this version."""
        if version is OcppVersion.V1_6:
            return self.frame_bytes_max_1_6
        return self.frame_bytes_max_2_x


class TokenBucket:
    """A rate with a burst: each message takes one, time gives them back."""

    __slots__ = ("_burst", "_filled_at_s", "_level", "_per_s")

    def __init__(self, per_s: float, burst: int, now_s: float) -> None:
        """Start full at a time of the monotonic clock."""
        self._per_s = per_s
        self._burst = float(burst)
        self._level = float(burst)
        self._filled_at_s = now_s

    def take(self, now_s: float) -> float:
        """Take one and return how many seconds to wait before the next; 0.0: none."""
        level = self._level + (now_s - self._filled_at_s) * self._per_s
        self._filled_at_s = now_s
        self._level = level = (min(self._burst, level)) - 1.0
        return 0.0 if level >= 1.0 else (1.0 - level) / self._per_s
