"""The checks of a signed charging transaction: twelve questions, each answered in plain words.

The table `CHECKS` names them in their order. A single OCMF string answers those that need one
record; those that compare begin and end are then not asked, and the step says so.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from chargera.domain.errors import InvalidInput, Undetermined, Unreadable
from chargera.proofs.meter_key import CURVES, MeterKey, load_meter_key, meter_key_hash
from chargera.proofs.meter_verdict import (
    MeterExpectations,
    MeterVerdict,
    SignedReading,
    TimeUse,
)
from chargera.proofs.ocmf import (
    BEGIN_REASON,
    END_REASONS,
    ERROR_REASON,
    IDENTIFICATION_ERRORS,
    MIDDLE_REASONS,
    EnergyFlow,
    OcmfRecord,
    Reading,
    TimeStatus,
    parse_ocmf,
)
from chargera.proofs.steps import Step, StepStatus

RECORDS_MAX = 64
"""Records of one transaction that are checked together."""

ALGORITHMS: Mapping[str, str] = {f"ECDSA-{curve}-SHA256": curve for curve in CURVES} | {
    "ECDSA-secp192k1-SHA256": "secp192k1",
    "ECDSA-brainpool256r1-SHA256": "brainpoolP256r1",
    "ECDSA-brainpool384r1-SHA256": "brainpoolP384r1",
}
"""Names of OCMF table 22, and those that meters write in their place, with the curve meant."""


def verify_meter(
    values: Sequence[bytes],
    public_key: MeterKey,
    *,
    previous_pages: Mapping[str, int] | None = None,
    expectations: MeterExpectations | None = None,
) -> MeterVerdict:
    """Check the OCMF strings of one transaction, in the order in which they were made.

    `values` is one string (begin, end, or both in one) or several (begin, ..., end), byte for byte
    as received. `public_key` comes from the station's registration or the meter's label; nothing
    inside a message is ever used as a key. `previous_pages` is the last page number of this meter
    before these strings by series (`{"T": 31}`), where it is known. Nothing is raised.
    """
    try:
        records = _parse(values)
    except Unreadable as error:
        return _unanswered(Step("form", StepStatus.FAILED, error.message))
    case = _Case(
        records=records,
        readings=_billing_readings(records),
        key=public_key,
        previous_pages=previous_pages or {},
        expected=expectations or MeterExpectations(),
    )
    steps = (_form(records), *(Step(name, *judge(case)) for name, judge in CHECKS.items()))
    if steps[1].status is not StepStatus.OK:
        return MeterVerdict(steps, records)
    return MeterVerdict(
        steps,
        records,
        begin=_signed_reading(case, 0, frozenset(BEGIN_REASON)),
        end=_signed_reading(case, -1, END_REASONS),
    )


def verify_meter_file(text: str | bytes, key_text: str | bytes) -> tuple[dict[str, object], int]:
    """Check a file of OCMF strings (each starts a line) against the key file's text.

    Returns the document of `verify-meter` and its exit code: 0 valid, 1 not, 2 unreadable, 3
    undetermined, as for a curve that cannot be checked here.
    """
    raw = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    strings = re.split(rb"(?m)^(?=OCMF\|)", raw.removeprefix(b"\xef\xbb\xbf").lstrip())
    values = [string.rstrip() for string in strings if string]
    try:
        verdict = verify_meter(values, load_meter_key(key_text))
    except Undetermined as error:
        verdict = _undetermined(values, error)
    except InvalidInput as error:
        verdict = _unanswered(Step("form", StepStatus.FAILED, f"the key file: {error.message}"))
    return verdict.as_dict(), verdict.exit_code


@dataclass(frozen=True, slots=True)
class _Case:
    records: tuple[OcmfRecord, ...]
    readings: tuple[tuple[OcmfRecord, Reading], ...]
    """The readings of the register that is billed, of all records, in order."""
    key: MeterKey
    previous_pages: Mapping[str, int]
    expected: MeterExpectations

    @property
    def is_whole(self) -> bool:
        """There is a first and a last reading."""
        first, last = self.readings[0][1].reason, self.readings[-1][1].reason
        return first == BEGIN_REASON and last in END_REASONS


_Finding = tuple[StepStatus, str]
_NO_PARTNER = "not asked: it compares begin and end, and only one of them is here"


def _ok(detail: str) -> _Finding:
    return StepStatus.OK, detail


def _failed(detail: str) -> _Finding:
    return StepStatus.FAILED, detail


def _not_asked(detail: str) -> _Finding:
    return StepStatus.NOT_ASKED, detail


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _parse(values: Sequence[bytes]) -> tuple[OcmfRecord, ...]:
    if not 1 <= len(values) <= RECORDS_MAX:
        raise Unreadable(f"a transaction has 1 to {RECORDS_MAX} OCMF strings")
    return tuple(parse_ocmf(value) for value in values)


def _form(records: Sequence[OcmfRecord]) -> Step:
    return Step("form", StepStatus.OK, f"{_count(len(records), 'OCMF string')}, read completely")


def _undetermined(values: Sequence[bytes], error: Undetermined) -> MeterVerdict:
    try:
        records = _parse(values)
    except Unreadable as unreadable:
        return _unanswered(Step("form", StepStatus.FAILED, unreadable.message))
    reason = "not asked: the key of the meter cannot be used here"
    unasked = (Step(name, StepStatus.NOT_ASKED, reason) for name in [*CHECKS][1:])
    return MeterVerdict(
        (_form(records), Step("signature", StepStatus.PENDING, error.message), *unasked)
    )


def _unanswered(form: Step) -> MeterVerdict:
    reason = "not asked: the input could not be read"
    return MeterVerdict((form, *(Step(name, StepStatus.NOT_ASKED, reason) for name in CHECKS)))


def _billing_readings(
    records: Iterable[OcmfRecord],
) -> tuple[tuple[OcmfRecord, Reading], ...]:
    """Return the readings of one register a record: drawn energy, else fed-in energy, else any.

    An end record often repeats the begin reading that already came in a record of its own; that
    repetition is no reading more.
    """
    chosen: list[tuple[OcmfRecord, Reading]] = []
    for record in records:
        of_flow = {reading.flow: reading.register for reading in reversed(record.readings)}
        first = record.readings[0].register
        register = of_flow.get(EnergyFlow.IMPORT, of_flow.get(EnergyFlow.EXPORT, first))
        for reading in record.readings:
            repeats = chosen and record is not chosen[0][0] and reading == chosen[0][1]
            if reading.register == register and not repeats:
                chosen.append((record, reading))
    return tuple(chosen)


def _signed_reading(case: _Case, index: int, reasons: frozenset[str]) -> SignedReading | None:
    record, reading = case.readings[index]
    if reading.reason not in reasons or reading.value_wh is None:
        return None
    return SignedReading(reading.value_wh, reading.at, reading.time_status, record.page)


def _check_signature(case: _Case) -> _Finding:
    for record in case.records:
        curve = ALGORITHMS.get(record.signature.algorithm, case.key.curve)
        if curve not in CURVES:
            return (
                StepStatus.PENDING,
                f"page {record.page} is signed on the curve {curve}, which cannot be checked here",
            )
    for record in case.records:
        if not case.key.verify(record.payload, record.signature.value):
            return _failed(
                f"page {record.page}: this meter's key did not sign these bytes;"
                " they were changed, or another meter signed them"
            )
    return _ok("the meter's key signed exactly these bytes: nobody changed them since")


def _check_key_source(case: _Case) -> _Finding:
    ignored = sorted({name for record in case.records for name in record.signature.extensions})
    notice = f" (ignored in the message: {', '.join(ignored)})" if ignored else ""
    if case.expected.key_hash is None:
        return _ok(f"the key was given from outside, nothing in the message was used{notice}")
    if case.expected.key_hash != meter_key_hash(case.key):
        return _failed("the key is not the one in the station's registration")
    return _ok(f"the key is the one in the station's registration{notice}")


def _check_key_curve(case: _Case) -> _Finding:
    for record in case.records:
        algorithm = record.signature.algorithm
        curve = ALGORITHMS.get(algorithm)
        if curve is None:
            return _failed(f"page {record.page} names {algorithm!r}, which OCMF does not know")
        if curve not in CURVES:
            return StepStatus.PENDING, f"the curve {curve} cannot be checked here"
        if curve != case.key.curve:
            return _failed(
                f"page {record.page} names the curve {curve}, but the key is on {case.key.curve}"
            )
    return _ok(f"the signatures name the curve of the key, {case.key.curve}")


def _check_pagination(case: _Case) -> _Finding:
    last = dict(case.previous_pages)
    compared = 0
    for record in case.records:
        series, number = record.page_series.value, record.page_number
        if series in last:
            compared += 1
            if number <= last[series]:
                return _failed(
                    f"page {record.page} comes after page {series}{last[series]}:"
                    " it is a repetition, or an older one"
                )
            if number != last[series] + 1:
                missing = _count(number - last[series] - 1, "page")
                return _failed(
                    f"{missing} missing between {series}{last[series]} and {record.page}:"
                    " the meter signed something that is not here"
                )
        last[series] = number
    if not compared:
        return _not_asked("not asked: the page before this one is not known")
    is_known = case.records[0].page_series.value in case.previous_pages
    known = "" if is_known else "; the page before the first one is not known"
    return _ok(f"the meter's page numbers follow each other without a gap{known}")


def _check_transaction_frame(case: _Case) -> _Finding:
    reasons = [reading.reason for _, reading in case.readings]
    if BEGIN_REASON in reasons[1:]:
        return _failed("a transaction begins once, here it begins again in the middle")
    if any(reason in END_REASONS for reason in reasons[:-1]):
        return _failed("a reading comes after the end of the transaction")
    if any(reason not in MIDDLE_REASONS for reason in reasons[1:-1]):
        return _failed("a reading between begin and end belongs to no transaction")
    if case.is_whole:
        return _ok("the first reading begins the transaction, the last one ends it")
    if len(case.records) == 1:
        return _not_asked(_NO_PARTNER)
    return _failed("the first reading is not a begin, or the last one not an end")


def _check_same_meter(case: _Case) -> _Finding:
    serials = {(record.gateway_serial, record.meter_serial) for record in case.records}
    if len(serials) > 1:
        return _failed("begin and end come from different meters (their serial numbers differ)")
    if len({(reading.register, reading.unit) for _, reading in case.readings}) > 1:
        return _failed("begin and end are of different registers or units of the meter")
    gateway, meter = serials.pop()
    expected = case.expected.meter_serial
    if expected is not None and (meter or gateway) != expected:
        return _failed(f"the meter is {meter or gateway!r}, registered is {expected!r}")
    if expected is None and len(case.readings) == 1:
        return _not_asked(_NO_PARTNER)
    return _ok(f"all readings are of one register of one meter, {meter or gateway!r}")


def _check_values_never_fall(case: _Case) -> _Finding:
    readings = [reading for _, reading in case.readings]
    if len(readings) == 1:
        return _not_asked(_NO_PARTNER)
    if any(later.at < earlier.at for earlier, later in pairwise(readings)):
        return _failed("the meter's clock goes back between two readings")
    values = [reading.value_wh for reading in readings if reading.value_wh is not None]
    if any(later < earlier for earlier, later in pairwise(values)):
        return _failed("the register goes back between two readings; a meter only counts up")
    return _ok("register and clock only move forward")


def _check_meter_state(case: _Case) -> _Finding:
    readings = [reading for record in case.records for reading in record.readings]
    for reading in readings:
        if reading.meter_status != "G":
            return _failed(f"the meter reports the state {reading.meter_status!r}, not G (good)")
        if reading.error_flags:
            return _failed(f"the meter itself calls {reading.error_flags!r} not usable for a bill")
        if reading.reason == ERROR_REASON:
            return _failed("the meter reports an error during charging")
    if len({reading.error_count for reading in readings}) > 1:
        return _failed("the meter's error counter changed between the readings")
    return _ok("the meter reports that it works well, without an error")


def _check_time_status(case: _Case) -> _Finding:
    states = [reading.time_status for _, reading in case.readings]
    named = ", ".join(f"{state.value} ({state.name.lower()})" for state in dict.fromkeys(states))
    use = case.expected.time_use
    if use is None:
        return _not_asked(f"not asked: no price depends on the meter's clock; it says {named}")
    if use is TimeUse.CLOCK:
        if all(state is TimeStatus.SYNCHRONIZED for state in states):
            return _ok("the meter's clock was synchronised: it can carry a price by time of day")
        return _failed("a price by time of day needs a synchronised clock, this one was not")
    if len(states) == 1:
        return _not_asked(_NO_PARTNER)
    timed = {TimeStatus.RELATIVE, TimeStatus.SYNCHRONIZED}
    if states[0] is not TimeStatus.UNSYNCHRONIZED and timed.issuperset(states[1:]):
        return _ok("the meter measured the duration: it can carry a price by time")
    return _failed("the meter did not measure the duration; no price by time can rest on it")


def _check_identification(case: _Case) -> _Finding:
    levels = {record.identification_level for record in case.records}
    if errors := sorted(IDENTIFICATION_ERRORS.intersection(levels - {None})):
        return _failed(f"the meter reports that the driver's identification failed: {errors[0]}")
    names = {record.identification.casefold() for record in case.records if record.identification}
    if len(names) > 1:
        return _failed("begin and end name different drivers: they are of different transactions")
    expected = case.expected.identification
    if expected is not None and names != {expected.casefold()}:
        return _failed("the meter names another identification than the transaction's")
    needed = case.expected.identification_level
    level = case.records[-1].level
    if needed is not None and level < needed:
        return _failed(f"the identification is {level.name}, the contract needs {needed.name}")
    if expected is None and needed is None and len(case.records) == 1:
        return _not_asked(f"not asked: nothing is known to compare it with; it is {level.name}")
    return _ok(f"the identification fits the transaction; the meter trusts it as {level.name}")


def _check_loss_compensation(case: _Case) -> _Finding:
    cables = {record.loss_compensation for record in case.records}
    losses = [r.cumulated_loss for _, r in case.readings if r.cumulated_loss is not None]
    if cables == {None} and not losses:
        return _not_asked("not asked: the meter takes off no loss in the cable")
    if len(cables) > 1:
        return _failed("the cable changed between begin and end")
    cable = dict(cables.pop() or ())
    if not {"LR", "LU"} <= cable.keys():
        return _failed("the meter takes off a loss without saying the resistance of which cable")
    first = case.readings[0][1]
    if first.reason == BEGIN_REASON and first.cumulated_loss:
        return _failed("the loss that is taken off does not begin at zero")
    if any(later < earlier for earlier, later in pairwise([Decimal(0), *losses])):
        return _failed("the loss that is taken off shrinks or is below zero")
    return _ok(
        f"the loss of one cable ({cable['LR']} {cable['LU']}) is taken off, counted from zero"
    )


def _check_legal_register(case: _Case) -> _Finding:
    for _, reading in case.readings:
        if not reading.flow:
            return _failed(f"{reading.register!r} is no register that may be billed")
        if reading.reason in END_REASONS | {BEGIN_REASON} and reading.value_wh is None:
            return _failed("the reading has no value in Wh or kWh")
        if reading.value_wh is not None and reading.value_wh < 0:
            return _failed("a register below zero")
    billed = case.readings[0][1]
    return _ok(f"the register {billed.register!r} may be billed; it counts the {billed.flow}")


CHECKS: Mapping[str, Callable[[_Case], _Finding]] = {
    "signature": _check_signature,
    "key_source": _check_key_source,
    "key_curve": _check_key_curve,
    "pagination": _check_pagination,
    "transaction_frame": _check_transaction_frame,
    "same_meter": _check_same_meter,
    "values_never_fall": _check_values_never_fall,
    "meter_state": _check_meter_state,
    "time_status": _check_time_status,
    "identification": _check_identification,
    "loss_compensation": _check_loss_compensation,
    "legal_register": _check_legal_register,
}
"""The twelve checks by the stable names of their steps, in their order."""
