"""Changes of state as bytes and back; digests that tell different histories apart."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.app.chain_ports import Block, ContractLog, Receipt
from chargera.domain.errors import Unreadable
from chargera.ledger.evm.digests import (
    changes_bytes,
    first_head,
    next_digest,
    next_state_digest,
    parse_changes,
)
from chargera.ledger.evm.engine import Account, Changes
from chargera.ledger.evm.state import WorldState

ADDRESSES = st.binary(min_size=20, max_size=20)
WORDS = st.integers(0, 2**256 - 1)
CHANGES = st.builds(
    Changes,
    st.dictionaries(
        ADDRESSES, st.builds(Account, st.integers(0, 2**64 - 1), st.binary(max_size=40)), max_size=4
    ),
    st.dictionaries(ADDRESSES, st.dictionaries(WORDS, WORDS, min_size=1, max_size=4), max_size=4),
)
FEW = st.sampled_from([b"\1" * 20, b"\2" * 20])
SMALL = st.integers(0, 2)
CLASHING = st.builds(
    Changes,
    st.dictionaries(FEW, st.builds(Account, SMALL, st.sampled_from([b"", b"c"]))),
    st.dictionaries(FEW, st.dictionaries(SMALL, SMALL, min_size=1)),
)


@given(CHANGES)
def test_changes__there_and_back(changes):
    assert parse_changes(changes_bytes(changes)) == changes


@given(CHANGES, CHANGES)
def test_changes__different_ones__have_different_bytes(one, other):
    assert (one == other) == (changes_bytes(one) == changes_bytes(other))


@given(CHANGES, st.data())
def test_parse__cut_or_longer__is_refused(changes, data):
    whole = changes_bytes(changes)
    size = data.draw(st.integers(0, len(whole) - 1))
    for wrong in (whole[:size], whole + b"\0"):
        with pytest.raises(Unreadable):
            parse_changes(wrong)


@given(st.lists(CLASHING, max_size=6), CLASHING)
def test_state__takes_back_what_it_applied(history, changes):
    state = WorldState()
    for each in history:
        state.apply(each)
    before = changes_bytes(state.content())
    state.apply(state.apply(changes))
    assert changes_bytes(state.content()) == before


@given(st.lists(CLASHING, max_size=6), CLASHING)
def test_state__real_changes__are_those_that_differ_and_have_the_same_effect(history, changes):
    one, other = WorldState(), WorldState()
    for each in history:
        one.apply(each)
        other.apply(each)
    real = one.real(changes)
    for address, words in real.storage.items():
        assert words
        assert all(one.word(address, slot) != word for slot, word in words.items())
    one.apply(changes)
    other.apply(real)
    assert one.content() == other.content()
    assert one.real(changes) == Changes({}, {})


@given(st.lists(CLASHING, max_size=6))
def test_state__of_a_snapshot__is_the_same(history):
    state = WorldState()
    for each in history:
        state.apply(each)
    again = WorldState(parse_changes(changes_bytes(state.content())))
    assert again.content() == state.content()


RECEIPT = Receipt(
    transaction_hash=b"\1" * 32,
    block=Block(1, 2),
    sender=b"\2" * 20,
    to=b"\3" * 20,
    succeeded=True,
    gas_used=21_000,
    created=None,
    output=b"ab",
    logs=(ContractLog(b"\4" * 20, (b"\5" * 32,), b"c"),),
    digest=b"",
)


def test_digest__depends_on_everything_that_came_of_a_transaction():
    logs = RECEIPT.logs
    receipts = [
        RECEIPT,
        replace(RECEIPT, block=Block(2, 2)),
        replace(RECEIPT, block=Block(1, 3)),
        replace(RECEIPT, succeeded=False),
        replace(RECEIPT, gas_used=1),
        replace(RECEIPT, created=b"\1" * 20),
        replace(RECEIPT, output=b"abc"),
        replace(RECEIPT, logs=()),
        replace(RECEIPT, logs=logs * 2),
        replace(RECEIPT, logs=(replace(logs[0], data=b""),)),
        replace(RECEIPT, logs=(replace(logs[0], topics=()),)),
        replace(RECEIPT, logs=(replace(logs[0], address=b"\6" * 20),)),
    ]

    def digest(
        receipt: Receipt = RECEIPT,
        before: bytes = first_head(5).digest,
        raw: bytes = b"raw",
        state_digest: bytes = bytes(32),
    ) -> bytes:
        return next_digest(before, raw, state_digest, receipt.block, receipt)

    seen = {digest(receipt) for receipt in receipts}
    seen.add(digest(raw=b"other"))
    seen.add(digest(state_digest=b"\1" * 32))
    seen.add(digest(before=first_head(6).digest))
    assert len(seen) == len(receipts) + 3


def test_state_digest__depends_on_the_history():
    one, other = Changes({}, {b"\1" * 20: {1: 2}}), Changes({}, {b"\1" * 20: {1: 3}})
    start = first_head(5).state_digest
    assert next_state_digest(next_state_digest(start, one), other) != next_state_digest(
        next_state_digest(start, other), one
    )
