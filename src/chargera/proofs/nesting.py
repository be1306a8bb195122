"""How deep JSON nests, found without recursion, so that a reader is never led out of its stack.

The standard library's parser stops at the interpreter's recursion limit. That is no bound of ours:
libraries raise it for the whole process (py_ecc to 100,000), and Python 3.11 then crashes.
"""

import re

NESTING_MAX = 200
"""Lists and objects inside each other; no document of ours has more than some ten."""

_OPENING = b"[{"
_TEXTS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""Texts of JSON; one without an end reaches to the end, so that no byte is looked at twice."""

_REST = bytes(set(range(256)) - set(b"[]{}"))


def check_nesting(data: bytes) -> None:
    """Raise ValueError, as a parser does, if the JSON in `data` nests deeper than `NESTING_MAX`.

    What is no JSON may pass: that is for the parser, which gets no deeper than was counted here.
    """
    if data.count(b"[") + data.count(b"{") <= NESTING_MAX:
        return
    depth = 0
    for bracket in _TEXTS.sub(b"", data).translate(None, _REST):
        depth += 1 if bracket in _OPENING else -1
        if depth > NESTING_MAX:
            raise ValueError(f"nested deeper than {NESTING_MAX}")
