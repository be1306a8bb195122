"""One table: every way in which Hedera fails, what is done then, and what the caller is told.

A transaction id has one effect ever, so sending the same bytes under the same id again is always
safe; what must never happen is a second id while the first may still have its effect. `RETRY`
and `RESOLVE` both keep the id; only a mirror that is caught up beyond an id's window, or a
receipt, ends it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from chargera.domain.errors import ChargEraError, Conflict, Refused, Unavailable


class Action(StrEnum):
    """What is done about a failure."""

    RETRY = "retry"
    """It was not taken: the same bytes go out again, to another node, after a pause."""
    RESOLVE = "resolve"
    """It may have been taken: the receipt, then the mirror, is asked by the transaction id."""
    STOP = "stop"
    """Sending it again changes nothing: the caller is told."""


class Stage(StrEnum):
    """Where it failed."""

    PRECHECK = "precheck"
    """A node answered at once, before consensus."""
    RECEIPT = "receipt"
    """Consensus was reached; receipts, records and mirrors use the same words."""
    TRANSPORT = "transport"
    """No node answered; the words are those of gRPC."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a failure means."""

    action: Action
    error: type[ChargEraError] = Unavailable
    remedy: str = ""


SUCCESS = "SUCCESS"
DUPLICATE = "DUPLICATE_TRANSACTION"
EXPIRED = "TRANSACTION_EXPIRED"
NODE_DOWN = "NODE_DOWN"
"""The SDK shuts out a node that has just failed: it has sent nothing."""
NO_ANSWER = "NO_ANSWER"
"""Anything else that a call ended with; whether it was sent is not known."""

_TOP_UP = "transfer HBAR to the operator's account; it then goes on by itself"
_CLOCK = "set this machine's clock by NTP; `chargera doctor` compares it"
_LATER = "it is tried again; if this lasts, look at the network's status page"
_DEARER = "raise the most that a transaction may cost, or look at the exchange rate"
_KEY = "check the operator's account and key: `chargera doctor`"
_NEW_ID = "it is sent under a new id"

_BUSY = Rule(Action.RETRY, Unavailable, _LATER)
_UNKNOWN = Rule(Action.RESOLVE, Unavailable, "it is asked for by its id; it is not sent twice")
_REFUSED = Rule(Action.STOP, Refused, "the status is a ResponseCodeEnum of Hedera's protocol")
_WRONG_KEY = Rule(Action.STOP, Refused, _KEY)
_SPENT = Rule(Action.STOP, Unavailable, _NEW_ID)
"""The id is used up without an effect; another may have it."""

_DEFAULTS: Mapping[Stage, Rule] = {
    Stage.PRECHECK: _REFUSED,
    Stage.RECEIPT: _REFUSED,
    Stage.TRANSPORT: _UNKNOWN,
}

TABLE: Mapping[tuple[Stage, str], Rule] = {
    # A node did not take it now, and says so before anything happened.
    (Stage.PRECHECK, "BUSY"): _BUSY,
    (Stage.PRECHECK, "PLATFORM_NOT_ACTIVE"): _BUSY,
    (Stage.PRECHECK, "PLATFORM_TRANSACTION_NOT_CREATED"): _BUSY,
    (Stage.PRECHECK, "INVALID_NODE_ACCOUNT"): _BUSY,
    (Stage.PRECHECK, "INVALID_TRANSACTION_START"): Rule(Action.RETRY, Unavailable, _CLOCK),
    # It was sent before, or its time is over: what became of it is to be asked.
    (Stage.PRECHECK, DUPLICATE): Rule(Action.RESOLVE, Conflict, "ask for what became of it"),
    (Stage.PRECHECK, EXPIRED): Rule(Action.RESOLVE, Unavailable, _CLOCK),
    # It will be taken once somebody has done something.
    (Stage.PRECHECK, "INSUFFICIENT_PAYER_BALANCE"): Rule(Action.STOP, Unavailable, _TOP_UP),
    (Stage.PRECHECK, "INSUFFICIENT_TX_FEE"): Rule(Action.STOP, Unavailable, _DEARER),
    (Stage.PRECHECK, "INVALID_SIGNATURE"): _WRONG_KEY,
    (Stage.PRECHECK, "INVALID_PAYER_SIGNATURE"): _WRONG_KEY,
    (Stage.PRECHECK, "PAYER_ACCOUNT_NOT_FOUND"): _WRONG_KEY,
    (Stage.PRECHECK, "PAYER_ACCOUNT_DELETED"): _WRONG_KEY,
    # No receipt yet, or no longer: receipts are kept for three minutes, records a little longer.
    (Stage.RECEIPT, "UNKNOWN"): _UNKNOWN,
    (Stage.RECEIPT, "OK"): _UNKNOWN,
    (Stage.RECEIPT, "BUSY"): _UNKNOWN,
    (Stage.RECEIPT, "PLATFORM_NOT_ACTIVE"): _UNKNOWN,
    (Stage.RECEIPT, "RECEIPT_NOT_FOUND"): _UNKNOWN,
    (Stage.RECEIPT, "RECORD_NOT_FOUND"): _UNKNOWN,
    (Stage.RECEIPT, DUPLICATE): _UNKNOWN,
    # It reached consensus and nothing came of it but its fee.
    (Stage.RECEIPT, EXPIRED): _SPENT,
    (Stage.RECEIPT, "CONSENSUS_GAS_EXHAUSTED"): _SPENT,
    (Stage.RECEIPT, "THROTTLED_AT_CONSENSUS"): _SPENT,
    (Stage.RECEIPT, "INSUFFICIENT_PAYER_BALANCE"): Rule(Action.STOP, Unavailable, _TOP_UP),
    (Stage.RECEIPT, "INSUFFICIENT_ACCOUNT_BALANCE"): Rule(Action.STOP, Unavailable, _TOP_UP),
    (Stage.RECEIPT, "INSUFFICIENT_TX_FEE"): Rule(Action.STOP, Unavailable, _DEARER),
    (Stage.RECEIPT, "INVALID_SIGNATURE"): _WRONG_KEY,
    (Stage.RECEIPT, "WRONG_NONCE"): Rule(Action.STOP, Conflict, "sign it with the next nonce"),
    # Only these two say that no node has it.
    (Stage.TRANSPORT, NODE_DOWN): _BUSY,
    (Stage.TRANSPORT, "RESOURCE_EXHAUSTED"): _BUSY,
}

EXECUTED = frozenset(
    {SUCCESS, "CONTRACT_REVERT_EXECUTED", "CONTRACT_EXECUTION_EXCEPTION", "INSUFFICIENT_GAS"}
)
"""Statuses of a transaction of the EVM that ran, whether it succeeded or not."""


def rule(stage: Stage, name: str) -> Rule:
    """Return what a failure means; one that is not in the table has its stage's default."""
    return TABLE.get((stage, name), _DEFAULTS[stage])


class HapiFailure(Exception):  # noqa: N818  # named by what happened, as in `domain.errors`
    """A call to a node that did not do what it should; `error` is what a caller is told."""

    def __init__(self, stage: Stage, name: str, detail: str = "") -> None:
        """Hold where it failed and with which word of the network's."""
        super().__init__(f"{name}: {detail}" if detail else name)
        self.stage = stage
        self.name = name
        self.rule = rule(stage, name)

    @property
    def error(self) -> ChargEraError:
        """The error of the domain, whose message begins with the network's own word."""
        return self.rule.error(str(self), remedy=self.rule.remedy)


def refusal(status: str, what: str) -> ChargEraError:
    """Return the error for a receipt, or a mirror's row, that is no success."""
    return HapiFailure(Stage.RECEIPT, status, what).error
