"""What a station said, read again from its message log, in the neutral vocabulary."""

from collections.abc import Mapping

from chargera.domain.messages import StationMessage
from chargera.domain.station import OcppVersion
from chargera.ocpp import framing, v16, v201
from chargera.ocpp.dialect import Dialect
from chargera.ocpp.framing import BadFrame, Call, CallRefused, FrameBounds
from chargera.ocpp.limits import ChannelLimits

_DIALECTS: Mapping[str, Dialect] = {
    str(dialect.version): dialect for dialect in (v16.DIALECT, v201.DIALECT)
}


def read_again(ocpp_version: str, frame: str) -> StationMessage | None:
    """Return the message of a frame that was logged as a station's; None if it is no call.

    It is read as it was on arrival, so that both readings agree; an unknown version is None too.
    """
    dialect = _DIALECTS.get(ocpp_version)
    if dialect is None:
        return None
    limits = ChannelLimits()
    size = limits.frame_bytes_max(OcppVersion(ocpp_version))
    try:
        message = framing.decode(
            frame.encode(), FrameBounds(size, limits.depth_max, limits.members_max)
        )
        if not isinstance(message, Call):
            return None
        return dialect.read(message.action, message.payload).message
    except (BadFrame, CallRefused):
        return None
