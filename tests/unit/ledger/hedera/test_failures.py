"""The table of failures is whole and says nothing that would send twice."""

import pytest

from chargera.domain.errors import Conflict, Refused, Unavailable
from chargera.ledger.hedera.failures import (
    DUPLICATE,
    EXECUTED,
    EXPIRED,
    NO_ANSWER,
    NODE_DOWN,
    SUCCESS,
    TABLE,
    Action,
    HapiFailure,
    Stage,
    refusal,
    rule,
)
from chargera.ledger.hedera.sdk import ResponseCode

RESPONSE_CODES = {code.name for code in ResponseCode}
GRPC_CODES = {"RESOURCE_EXHAUSTED"}


@pytest.mark.parametrize(("stage", "name"), TABLE, ids=str)
def test_table__every_word_is_one_of_the_networks(stage: Stage, name: str) -> None:
    known = GRPC_CODES | {NODE_DOWN} if stage is Stage.TRANSPORT else RESPONSE_CODES
    assert name in known


@pytest.mark.parametrize(("stage", "name"), TABLE, ids=str)
def test_table__what_stops_or_waits_says_what_helps(stage: Stage, name: str) -> None:
    assert rule(stage, name).remedy


@pytest.mark.parametrize("name", ["DEADLINE_EXCEEDED", "UNAVAILABLE", "INTERNAL", NO_ANSWER])
def test_transport__an_unknown_outcome_is_resolved_never_stopped(name: str) -> None:
    assert rule(Stage.TRANSPORT, name).action is Action.RESOLVE
    assert rule(Stage.TRANSPORT, name).error is Unavailable


@pytest.mark.parametrize(
    ("stage", "name", "action", "error"),
    [
        (Stage.PRECHECK, "BUSY", Action.RETRY, Unavailable),
        (Stage.PRECHECK, DUPLICATE, Action.RESOLVE, Conflict),
        (Stage.PRECHECK, EXPIRED, Action.RESOLVE, Unavailable),
        (Stage.PRECHECK, "INSUFFICIENT_PAYER_BALANCE", Action.STOP, Unavailable),
        (Stage.PRECHECK, "INVALID_SIGNATURE", Action.STOP, Refused),
        (Stage.PRECHECK, "A_CODE_OF_TOMORROW", Action.STOP, Refused),
        (Stage.RECEIPT, "UNKNOWN", Action.RESOLVE, Unavailable),
        (Stage.RECEIPT, EXPIRED, Action.STOP, Unavailable),
        (Stage.RECEIPT, "INVALID_TOPIC_ID", Action.STOP, Refused),
        (Stage.RECEIPT, "WRONG_NONCE", Action.STOP, Conflict),
        (Stage.TRANSPORT, NODE_DOWN, Action.RETRY, Unavailable),
        (Stage.TRANSPORT, "RESOURCE_EXHAUSTED", Action.RETRY, Unavailable),
    ],
)
def test_rule__each_kind(stage: Stage, name: str, action: Action, error: type) -> None:
    found = rule(stage, name)
    assert (found.action, found.error) == (action, error)


def test_failure__what_a_caller_is_told_begins_with_the_networks_word() -> None:
    told = HapiFailure(Stage.PRECHECK, "BUSY", "node 0.0.3").error
    assert isinstance(told, Unavailable)
    assert told.message == "BUSY: node 0.0.3"
    assert refusal("INVALID_TOPIC_ID", "0.0.1@1.0").message == "INVALID_TOPIC_ID: 0.0.1@1.0"
    assert str(HapiFailure(Stage.PRECHECK, "BUSY")) == "BUSY"


def test_executed__statuses_of_the_network() -> None:
    assert SUCCESS in EXECUTED
    assert EXECUTED <= RESPONSE_CODES
