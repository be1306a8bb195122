"""The picture of a passport: a dial drawn from its facts, the same for the same facts.

32 ticks, clockwise from the top, are the bytes of the registration hash; inside them one arc
stands for each EVSE, as long as its part of the rated power. Without a hash the dial is dotted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SIZE = 320
CENTRE = SIZE / 2
TICKS = 32
TICK_FROM = 98
TICK_SHORTEST = 4
TICK_LONGEST = 52
ARC_RADIUS = 82
GAP_DEGREES = 6


@dataclass(frozen=True, slots=True)
class Picture:
    """What the template draws, as SVG paths in a box of `SIZE` x `SIZE`."""

    ticks: str
    """Empty before registration."""
    first: str
    """Where the hash begins: the first tick once more, to be marked."""
    arcs: tuple[str, ...]

    @property
    def is_registered(self) -> bool:
        """It has a hash to show."""
        return bool(self.ticks)


def draw_passport(registration_hash: bytes | None, evse_powers_w: Sequence[int]) -> Picture:
    """Return the picture of a passport; `evse_powers_w` is the rated power of each EVSE."""
    ticks = [_tick(place, byte) for place, byte in enumerate(registration_hash or b"")]
    return Picture("".join(ticks), ticks[0] if ticks else "", tuple(_arcs(evse_powers_w)))


def _tick(place: int, byte: int) -> str:
    length = TICK_SHORTEST + byte * (TICK_LONGEST - TICK_SHORTEST) // 255
    angle = 360 * place / TICKS
    return f"M{_at(angle, TICK_FROM)}L{_at(angle, TICK_FROM + length)}"


def _arcs(powers_w: Sequence[int]) -> list[str]:
    """Return an arc for each EVSE around the dial."""
    total = sum(powers_w)
    if len(powers_w) == 1:  # SVG has no arc of a whole turn
        return [f"M{_at(0, ARC_RADIUS)}{_turn(180, 0)}{_turn(360, 0)}"]
    room = 360 - GAP_DEGREES * len(powers_w)
    arcs, angle = [], GAP_DEGREES / 2
    for power_w in powers_w:
        sweep = room * power_w / total if total else room / len(powers_w)
        arcs.append(f"M{_at(angle, ARC_RADIUS)}{_turn(angle + sweep, int(sweep > 180))}")
        angle += sweep + GAP_DEGREES
    return arcs


def _turn(angle: float, large: int) -> str:
    return f"A{ARC_RADIUS} {ARC_RADIUS} 0 {large} 1 {_at(angle, ARC_RADIUS)}"


def _at(angle: float, radius: float) -> str:
    """Return the place at an angle from the top, clockwise, to a tenth."""
    turn = math.radians(angle)
    x, y = CENTRE + radius * math.sin(turn), CENTRE - radius * math.cos(turn)
    return f"{x:.1f} {y:.1f}"
