"""How hypothesis works in all tests, and which tests coverage is measured in."""

import sys
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("chargera", deadline=None, print_blob=True)
settings.load_profile("chargera")

MEASURED = (
    "unit/app",
    "unit/domain",
    "unit/eventlog",
    "unit/ocpp",
    "unit/proofs",
    "integration/api",
    "integration/cli",
    "integration/settlement/test_settlement.py",
    "protocol/ocpp",
    "unit/ledger/evm/test_chain.py",
    "unit/ledger/test_anchoring.py",
)
"""Whose tests reach the bars of `scripts/coverage_bars.py` by themselves. Tracing doubles what a
test costs, so that the others go untraced: most of them run the whole server."""

TESTS = Path(__file__).parent


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Leave a test untraced that is not in a measured folder, or that says so itself.

    The marker of pytest-cov for it has no effect in the workers of xdist.
    """
    measured = any(item.path.is_relative_to(TESTS / folder) for folder in MEASURED)
    if measured and item.get_closest_marker("untraced") is None:
        return (yield)
    here, in_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]  # as when nothing traces
    try:
        return (yield)
    finally:
        sys.settrace(here)
        threading.settrace(in_threads)  # type: ignore[arg-type]  # it may have been None
