import pytest

from chargera.domain.station import OcppVersion
from chargera.ocpp.limits import ChannelLimits, TokenBucket
from tests.unit.ocpp.doubles import Ticks


def test_frame_bytes_max__by_version__is_what_is_set() -> None:
    limits = ChannelLimits()
    assert limits.frame_bytes_max(OcppVersion.V1_6) == 64 * 1024
    assert limits.frame_bytes_max(OcppVersion.V2_0_1) == 256 * 1024


def test_token_bucket__burst_then_rate__says_how_long_to_wait() -> None:
    ticks = Ticks()
    bucket = TokenBucket(per_s=20, burst=3, now_s=ticks())
    assert [bucket.take(ticks()) for _ in range(2)] == [0.0, 0.0]
    assert bucket.take(ticks()) == pytest.approx(1 / 20)
    assert bucket.take(ticks()) == pytest.approx(2 / 20)
    ticks.now_s += 2 / 20
    assert bucket.take(ticks()) == pytest.approx(1 / 20)


def test_token_bucket__after_a_rest__holds_no_more_than_its_burst() -> None:
    ticks = Ticks()
    bucket = TokenBucket(per_s=20, burst=3, now_s=ticks())
    ticks.now_s += 1000
    assert [bucket.take(ticks()) > 0 for _ in range(3)] == [False, False, True]


def test_token_bucket__over_a_minute_of_flood__lets_the_rate_through() -> None:
    ticks = Ticks()
    bucket = TokenBucket(per_s=20, burst=60, now_s=ticks())
    taken = 0
    while ticks.now_s < 1060.0:
        ticks.now_s += bucket.take(ticks())
        taken += 1
    assert 60 * 20 <= taken <= 60 * 20 + 61
