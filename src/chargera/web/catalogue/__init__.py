"""The texts of all pages: one gettext file a language, addressed by stable keys.

Templates and code name a text (`session.title`), never its words, so that a language is one
file. A key that is missing is an error, not an English word on a German page; the tests walk
all templates and all vocabularies for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from babel import Locale
from babel.messages.catalog import Message
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from markupsafe import Markup, escape

LANGUAGES = ("en",)
"""Files of this folder; the first is the one for everybody else."""

LOCALES = {"en": Locale("en", "GB")}
"""How numbers, money and times are written in a language."""


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one language: call it with a key and the values that the text names."""

    language: str
    locale: Locale
    messages: Mapping[str, tuple[Markup, ...]]
    """By key: one form, or one for each plural form of the language; escaped HTML."""

    def __call__(self, key: str, count: int | None = None, **values: object) -> Markup:
        """Return a text with its `{values}` escaped and filled in; `count` chooses the form.

        Raises KeyError if there is no such text.
        """
        forms = self.messages[key]
        if count is None:
            form = forms[0]
        else:
            form = forms[_plural_index(self.locale, count, len(forms))]
            values.setdefault("count", format_decimal(count, locale=self.locale))
        return form.format(**values)

    @property
    def tag(self) -> str:
        """The language tag of pages in this language (BCP 47)."""
        return str(self.locale).replace("_", "-")

    def has(self, key: str) -> bool:
        """Say whether there is a text of this key."""
        return key in self.messages

    def word(self, vocabulary: str, value: str) -> Markup:
        """Return the word for a value of a vocabulary, or the value itself if it is a new one.

        For values that come from outside, such as a station's own words.
        """
        key = f"{vocabulary}.{value}"
        return self(key) if key in self.messages else escape(value)


@cache
def load_texts(language: str) -> Texts:
    """Read the texts of one of `LANGUAGES`."""
    with (files(__name__) / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=LOCALES[language], abort_invalid=True)
    messages = {_key(message): _forms(message) for message in catalogue if message.id}
    return Texts(language, LOCALES[language], messages)


def choose_language(accepted: str) -> str:
    """Return the best of `LANGUAGES` for an `Accept-Language` header."""
    wishes: list[tuple[float, str]] = []
    for part in accepted.split(",")[:16]:
        name, _, weight = part.strip().partition(";q=")
        try:
            wishes.append((-float(weight or 1), name.partition("-")[0].lower()))
        except ValueError:
            continue
    return next((name for _, name in sorted(wishes) if name in LANGUAGES), LANGUAGES[0])


def _key(message: Message) -> str:
    return message.id if isinstance(message.id, str) else message.id[0]


def _forms(message: Message) -> tuple[Markup, ...]:
    text = message.string
    forms = (text,) if isinstance(text, str) else tuple(text or ())
    if not forms or not all(forms):
        raise ValueError(f"{_key(message)} has no text")
    return tuple(escape(form) for form in forms)


def _plural_index(locale: Locale, count: int, forms: int) -> int:
    """Return which plural form a count takes: gettext files list them in CLDR's order."""
    tags = [tag for tag in ("zero", "one", "two", "few", "many") if tag in locale.plural_form.tags]
    tag = locale.plural_form(count)
    return min(tags.index(tag) if tag in tags else len(tags), forms - 1)
