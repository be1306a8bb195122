"""Tariffs in words: every price component of an OCPI tariff with the conditions it stands under."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from markupsafe import Markup

from chargera.app.views import TariffView
from chargera.web.catalogue import Texts
from chargera.web.pages.formats import Formats


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One component: what it prices, for how much, and when."""

    dimension: str
    price: str
    vat: str | None
    """In percent; None where there is none."""
    conditions: tuple[Markup, ...]


@dataclass(frozen=True, slots=True)
class PriceWords:
    """Says prices in one language."""

    texts: Texts
    formats: Formats

    def lines(self, document: Mapping[str, Any]) -> list[PriceLine]:
        """Return the components of a normalised OCPI tariff, in its order."""
        lines: list[PriceLine] = []
        for element in document["elements"]:
            conditions = self._conditions(element.get("restrictions") or {})
            for component in element["price_components"]:
                kind = component["type"]
                # Per dimension the first element that applies counts: a later one is the rest.
                rest = not conditions and any(line.dimension == kind for line in lines)
                when = [self.texts("price_if.otherwise")] if rest else conditions
                shown = (*when, *self._steps(component))
                lines.append(PriceLine(kind, component["price"], component.get("vat"), shown))
        return lines

    def summary(self, tariff: TariffView) -> Markup:
        """Return the lowest energy price, or else the first price, as `€0.39 per kWh`."""
        lines = self.lines(tariff.document)
        energy = [line for line in lines if line.dimension == "ENERGY"]
        shown = min(energy or lines[:1], key=lambda line: Decimal(line.price))
        unit = self.texts(f"price_unit.{shown.dimension}")
        price = Markup("{} {}").format(self.formats.price(shown.price, tariff.currency), unit)
        if len({line.price for line in energy}) > 1:
            price = self.texts("price.from", price=price)
        if len(lines) > max(len(energy), 1):
            others = {line.dimension for line in lines} - {shown.dimension}
            names = [self.texts(f"price_extra.{name}") for name in sorted(others)]
            return self.texts("price.and", first=price, second=Markup(", ").join(names))
        return price

    def description(self, document: Mapping[str, Any]) -> str | None:
        """Return the operator's own words in this language, or the first there are."""
        texts = document.get("tariff_alt_text") or []
        ours = [text for text in texts if text.get("language") == self.texts.language]
        return next((text["text"] for text in [*ours, *texts]), None)

    def _steps(self, component: Mapping[str, Any]) -> list[Markup]:
        step = component.get("step_size", 1)
        match component["type"]:
            case "ENERGY" if step > 1:
                return [self.texts("price_if.step_energy", step=self.formats.number(step))]
            case "TIME" | "PARKING_TIME" if step > 1:
                return [self.texts("price_if.step_time", step=self.formats.number(step))]
            case _:
                return []

    def _conditions(self, limits: Mapping[str, Any]) -> list[Markup]:
        conditions = [
            *self._between(limits, "time", "hours", "hour"),
            *self._between(limits, "date", "dates", "date"),
        ]
        if days := limits.get("day_of_week"):
            names = [self.texts(f"day.{day}") for day in days]
            conditions.append(self.texts("price_if.days", days=Markup(", ").join(names)))
        for name in ("min_kwh", "max_kwh"):
            if name in limits:
                kwh = self.formats.number(Decimal(limits[name]))
                conditions.append(self.texts(f"price_if.{name}", kwh=kwh))
        for name in ("min_duration", "max_duration"):
            if name in limits:
                duration = self.formats.duration(timedelta(seconds=limits[name]))
                conditions.append(self.texts(f"price_if.{name}", duration=duration))
        return conditions

    def _between(self, limits: Mapping[str, Any], name: str, both: str, one: str) -> list[Markup]:
        start, end = limits.get(f"start_{name}"), limits.get(f"end_{name}")
        if start is not None and end is not None:
            return [self.texts(f"price_if.{both}", start=start, end=end)]
        if start is not None:
            return [self.texts(f"price_if.from_{one}", start=start)]
        return [self.texts(f"price_if.to_{one}", end=end)] if end is not None else []
