import logging

from chargera.ocpp.counters import LOGGED_PER_CAUSE, CappedLog, Histogram, TransportLog
from tests.unit.ocpp.doubles import SilentLogger, Ticks


def test_histogram__durations__fall_into_the_bucket_that_holds_them() -> None:
    histogram = Histogram((0.1, 1.0))
    for duration_s in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(duration_s)
    assert histogram.counts == [2, 1, 1]
    assert histogram.total_s == 7.65


def test_capped_log__flood_of_one_cause__is_cut_and_counted() -> None:
    ticks, logger = Ticks(), SilentLogger()
    log = CappedLog(logger, ticks)
    for number in range(LOGGED_PER_CAUSE + 7):
        log.warning("noise", number=number)
    log.info("other")
    log.error("worse")
    assert [line[0] for line in logger.lines] == ["noise"] * LOGGED_PER_CAUSE + ["other", "worse"]
    ticks.now_s += 61.0
    log.info("next minute")
    assert logger.lines[-2:] == [
        ("lines left out", {"cause": "noise", "lines": 7}),
        ("next minute", {}),
    ]


def test_capped_log__endless_causes__are_forgotten() -> None:
    log = CappedLog(SilentLogger(), Ticks())
    for number in range(10_000):
        log.info(str(number))
    assert len(log._written) < 300


def test_transport_log__warnings_only_and_never_what_a_peer_sent() -> None:
    logger = SilentLogger()
    transport_log = TransportLog(CappedLog(logger, Ticks()))
    transport_log.info("New connection accepted: %s", "peer")
    transport_log.error("WS parser error: %s", "secret")
    assert logger.lines == [("websocket", {"said": "WS parser error: %s"})]
    assert transport_log.isEnabledFor(logging.ERROR)
    assert not transport_log.isEnabledFor(logging.DEBUG)
