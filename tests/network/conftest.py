"""Tests on a real network run only where somebody names his account there."""

import os

import pytest

ASKED = "OPERATOR_ID" in os.environ and "OPERATOR_KEY" in os.environ
if not ASKED:
    collect_ignore_glob = ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that they were not run, and how to."""
    if not ASKED:
        terminalreporter.write_line(
            "NOT RUN: tests/network needs OPERATOR_ID, OPERATOR_KEY and HEDERA_NETWORK"
            " (testnet or local)"
        )
