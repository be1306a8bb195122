"""Documents that nest without end are refused, however deep the interpreter would follow them."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.domain.errors import Unreadable
from chargera.proofs import canonical
from chargera.proofs.nesting import NESTING_MAX, check_nesting
from chargera.proofs.ocmf import parse_ocmf
from chargera.proofs.ocpi_json import parse_json
from chargera.web.pages.frames import decode_frame


@pytest.fixture
def reckless() -> Iterator[None]:
    """The limit that a library sets for the whole process."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.parametrize("bomb", [b"[" * 10**6, b'{"":' * 10**6, b'[{"a":[' * 10**5 + b"]"])
def test_every_reader__a_bomb__is_refused_where_the_parser_would_crash(
    reckless: None, bomb: bytes
) -> None:
    for read in (canonical.decode, parse_json, lambda data: parse_ocmf(b"OCMF|" + data + b"|{}")):
        with pytest.raises(Unreadable):
            read(bomb)
    assert decode_frame(bomb.decode()) is None


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def test_check_nesting__to_the_level() -> None:
    check_nesting(deep(NESTING_MAX))
    check_nesting(b"[" + deep(NESTING_MAX - 1) * 3 + b"]")
    with pytest.raises(ValueError, match="deeper"):
        check_nesting(deep(NESTING_MAX + 1))


def test_check_nesting__what_is_written_in_texts__is_no_level() -> None:
    many = b"[" * (2 * NESTING_MAX)
    for text in (b'"%b"', b'"\\"%b"', b'"\\\\\\"%b"', b'["",{"a":"%b\n"}]'):
        check_nesting(text % many)
    with pytest.raises(ValueError, match="deeper"):
        check_nesting(b'"\\\\"' + many)  # its text has ended


JSON = st.recursive(
    st.none() | st.text('[]{}"\\a', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"'), inner, max_size=2),
)


@given(JSON, st.integers(NESTING_MAX - 2, NESTING_MAX + 2))
def test_check_nesting__agrees_with_the_value(value: object, around: int) -> None:
    def depth(of: object) -> int:
        inner = of.values() if isinstance(of, dict) else of if isinstance(of, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    data = b"[" * around + json.dumps(value).encode() + b"]" * around
    too_deep = around + depth(value) > NESTING_MAX
    try:
        check_nesting(data)
    except ValueError:
        assert too_deep
    else:
        assert not too_deep


@pytest.mark.parametrize("piece", [b'"', b'\\"', b'"\\', b'["', b"\\"])
def test_check_nesting__takes_time_by_length_alone(piece: bytes) -> None:
    data = b"[" * NESTING_MAX + b'["' + piece * (2**20 // len(piece))
    began_s = time.process_time()
    with contextlib.suppress(ValueError):
        check_nesting(data)
    assert time.process_time() - began_s < 5
