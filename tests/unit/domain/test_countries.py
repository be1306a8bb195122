"""Country codes."""

import pytest

from chargera.domain.countries import ALPHA3, alpha3
from chargera.domain.errors import InvalidInput


def test_alpha3__every_country_has_its_own() -> None:
    assert len(ALPHA3) == 249
    assert len(set(ALPHA3.values())) == 249
    assert all(len(two) == 2 and len(three) == 3 for two, three in ALPHA3.items())
    assert (alpha3("NL"), alpha3("DE"), alpha3("CH"), alpha3("AT")) == ("NLD", "DEU", "CHE", "AUT")


def test_alpha3__unknown__refused_by_field() -> None:
    with pytest.raises(InvalidInput) as caught:
        alpha3("XX")
    assert caught.value.field == "country_code"
