"""What was logged, read again."""

import json

import pytest

from chargera.domain.messages import Heartbeat, StatusNotification, UnservedCall
from chargera.ocpp.transcript import read_again

STATUS = {"connectorId": 2, "errorCode": "NoError", "status": "Available"}


def test_read_again__as_it_was_read_on_arrival() -> None:
    assert read_again("1.6", json.dumps([2, "m", "Heartbeat", {}])) == Heartbeat()
    status = read_again("1.6", json.dumps([2, "m", "StatusNotification", STATUS]))
    assert isinstance(status, StatusNotification)
    assert (status.evse, status.connector, status.at) == (None, 2, None)
    assert read_again("2.0.1", json.dumps([2, "m", "Dance", {}])) == UnservedCall("Dance")


@pytest.mark.parametrize(
    ("version", "frame"),
    [
        ("2.1", '[2,"m","Heartbeat",{}]'),
        ("1.6", '[3,"m",{}]'),
        ("1.6", "erased"),
        ("1.6", ""),
        ("1.6", '[2,"m","StatusNotification",{}]'),
    ],
)
def test_read_again__no_call_of_a_known_version__nothing(version: str, frame: str) -> None:
    assert read_again(version, frame) is None
