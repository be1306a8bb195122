"""Which breaches of a schema are served and recorded, and which are refused with what error.

Real stations break the schemas in harmless ways; dropping their messages loses charging
sessions (mobilityhouse/ocpp issues 54 and 128, lbbrhzn/ocpp 213 and 361). A breach is tolerated
where the message can still be read without guessing; the mapping modules remain the last judge
and refuse a message whose needed values cannot be read.
"""

from collections.abc import Sequence

from chargera.ocpp.framing import CallRefused, Fault
from chargera.ocpp.schemas import VIOLATIONS_MAX, Violation

TOLERATED_KEYWORDS = frozenset(
    {
        "additionalProperties",  # vendors add members; ours are still there
        "enum",  # unknown measurands, units, states and reasons carry no meaning for us
        "format",  # times without zone, or with a space: the mapper reads them or refuses
        "maxItems",
        "maxLength",  # over-long serial numbers and names
        "maximum",
        "minItems",  # an empty list says nothing, and says so clearly
        "minimum",
        "multipleOf",
    }
)

TOLERATED_FIELDS = frozenset(
    {
        ("type", "value"),  # sampled values as number (1.6) or as text (2.x)
        ("type", "meterStart"),  # registers with a fraction
        ("type", "meterStop"),
        ("required", "errorCode"),  # StatusNotification of stations that have no error
        ("required", "triggerReason"),  # not used
        ("required", "value"),  # a sampled value without one says nothing
        ("required", "signingMethod"),  # the OCMF string carries it
        ("required", "encodingMethod"),
        ("required", "publicKey"),  # keys come from the registration alone
    }
)
"""(keyword, last member of the path) of further breaches that real stations show."""

CUSTOM_DATA = "customData"
"""Whatever is below this member is the vendor's own and is not read."""

FAULT_OF_KEYWORD = {
    "additionalProperties": Fault.FORMAT,
    "maxItems": Fault.OCCURRENCE,
    "minItems": Fault.OCCURRENCE,
    "required": Fault.OCCURRENCE,
    "type": Fault.TYPE,
}
"""The error that names a breach; any other keyword is a PropertyConstraintViolation."""

SHOWN_MAX = 5
DEVIATION_CHARS_MAX = 500


def check(violations: Sequence[Violation]) -> list[str]:
    """Return the deviations to record; raise CallRefused for a breach that is not tolerated."""
    for violation in violations:
        if not is_tolerated(violation):
            fault = FAULT_OF_KEYWORD.get(violation.keyword, Fault.PROPERTY)
            raise CallRefused(fault, _text(violation))
    if len(violations) >= VIOLATIONS_MAX:
        raise CallRefused(Fault.FORMAT, f"at least {VIOLATIONS_MAX} breaches of the schema")
    return [_text(violation) for violation in violations]


def is_tolerated(violation: Violation) -> bool:
    """Say whether a message with this breach can still be read without guessing."""
    members = violation.path.split(".")
    return (
        violation.keyword in TOLERATED_KEYWORDS
        or (violation.keyword, members[-1]) in TOLERATED_FIELDS
        or (violation.keyword == "type" and violation.is_null)  # null for an absent member
        or CUSTOM_DATA in members
    )


def describe(breaches: Sequence[str]) -> str:
    """Return one line that names the first breaches and how many more there are."""
    different = list(dict.fromkeys(breaches))
    shown = "; ".join(different[:SHOWN_MAX])[:DEVIATION_CHARS_MAX]
    more = len(different) - SHOWN_MAX
    return f"{shown}; and {more} more" if more > 0 else shown


def _text(violation: Violation) -> str:
    return f"{violation.path or 'payload'}: {violation.detail}"
