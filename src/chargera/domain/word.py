"""Words of closed vocabularies."""

from enum import StrEnum


class Word(StrEnum):
    """An enumeration whose members are texts, and hash as the texts that they equal.

    The hash that `enum` gives is computed in Python, once for each key that holds a member.
    """

    __hash__ = str.__hash__
