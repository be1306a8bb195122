"""Facts as pages list them: a name, a value, and what a copy button takes."""

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Fact:
    """One row. `key` names the text `fact.{key}` and ends the row's own address."""

    key: str
    value: str | Markup
    copyable: str | None = None
    """What the button copies; None: no button."""
    mono: bool = False
    """A value for machines: hashes, keys, identifiers."""
    href: str | None = None


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A text that is shown byte for byte, such as a signed note."""

    key: str
    value: str


def exact(key: str, value: str, href: str | None = None) -> Fact:
    """Return a fact for machines, with a button that copies it."""
    return Fact(key, value, value, mono=True, href=href)
