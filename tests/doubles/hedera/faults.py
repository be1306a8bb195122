"""What goes wrong on demand: kinds of faults, how often, and where."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Any


class FaultKind(StrEnum):
    """The faults that the emulator knows; `value` and `where` mean what stands beside each."""

    BUSY = "busy"
    """The precheck answers BUSY and nothing happens."""
    REFUSED = "refused"
    """The precheck answers the response code named by `value`."""
    UNAVAILABLE = "unavailable"
    """The node is down: gRPC UNAVAILABLE and nothing happens."""
    TIMEOUT_AFTER_SUCCESS = "timeout_after_success"
    """The transaction is handled, and gRPC DEADLINE_EXCEEDED is the answer."""
    LOST_IN_FLIGHT = "lost_in_flight"
    """The precheck answers OK and the transaction never reaches consensus."""
    RECEIPT_LOST = "receipt_lost"
    """A query for the receipt or record answers that there is none."""
    RECEIPT_UNKNOWN = "receipt_unknown"
    """A query for the receipt answers that consensus is still to come."""
    WRONG_FEE = "wrong_fee"
    """`value` times the fee of the table is charged."""
    MIRROR_DOWN = "mirror_down"
    """The mirror answers 503."""
    MIRROR_LIE = "mirror_lie"
    """`value` names what the mirror alters in topic messages: see `mirror_topics.LIES`."""


@dataclass(slots=True)
class Fault:
    """A fault that is to come: `times` None stays until it is removed."""

    kind: FaultKind
    times: int | None = 1
    method: str | None = None
    """Only in this gRPC method, or only under this path of the mirror; None: in all."""
    value: Any = None
    mirror: int | None = None
    """Only at this mirror, counted from 0; None: at all."""
    where: Callable[[Any], bool] | None = None
    """Only for what this holds of: a TransactionBody, or a mirror's row of a message."""
    struck: int = 0
    """How often it has happened."""


@dataclass(slots=True)
class Faults:
    """All faults of an emulator; safe to use from any thread."""

    pending: list[Fault] = field(default_factory=list)
    mirror_lag_s: dict[int | None, float] = field(default_factory=dict)
    """How far behind a mirror is; the key None is for all that have no own number."""
    throttles: dict[str, int] = field(default_factory=dict)
    """Most transactions a second, by the field of the body (`consensusSubmitMessage`)."""
    _lock: Any = field(default_factory=Lock)

    def add(
        self,
        kind: FaultKind | str,
        *,
        times: int | None = 1,
        method: str | None = None,
        value: Any = None,
        mirror: int | None = None,
        where: Callable[[Any], bool] | None = None,
    ) -> Fault:
        """Let a fault happen the next `times` that it can."""
        fault = Fault(FaultKind(kind), times, method, value, mirror, where)
        with self._lock:
            self.pending.append(fault)
        return fault

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self.pending.clear()
            self.mirror_lag_s.clear()
            self.throttles.clear()

    def lag_mirror(self, seconds: float, mirror: int | None = None) -> None:
        """Keep a mirror (None: all) so far behind."""
        self.mirror_lag_s[mirror] = seconds

    def lag_of(self, mirror: int) -> float:
        """Return how many seconds a mirror is behind."""
        return self.mirror_lag_s.get(mirror, self.mirror_lag_s.get(None, 0.0))

    def strikes(
        self, kind: FaultKind, method: str, subject: Any = None, mirror: int | None = None
    ) -> Fault | None:
        """Return the fault of this kind that happens here and now, and count it."""
        with self._lock:
            for fault in self.pending:
                if fault.kind != kind or not _is_at(fault, method, mirror):
                    continue
                if fault.where is not None and not fault.where(subject):
                    continue
                fault.struck += 1
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.pending.remove(fault)
                return fault
        return None

    def take(self, document: Mapping[str, Any]) -> None:
        """Do what a request to the control address asks for. Raises KeyError, ValueError."""
        if "mirror_lag_s" in document:
            self.lag_mirror(float(document["mirror_lag_s"]), document.get("mirror"))
        elif "throttle" in document:
            self.throttles[document["throttle"]] = int(document["per_second"])
        else:
            known = ("times", "method", "value", "mirror")
            options = {name: document[name] for name in known if name in document}
            number = document.get("sequence_number")
            if number is not None:  # a lie about one message
                options["where"] = lambda row: row["sequence_number"] == number
            self.add(document["kind"], **options)


def _is_at(fault: Fault, method: str, mirror: int | None) -> bool:
    at_method = fault.method is None or method.startswith(fault.method)
    return at_method and (fault.mirror is None or fault.mirror == mirror)
