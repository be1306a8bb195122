"""How much a stranger must take on trust about the energy of a session: levels L0 to L5."""

from collections.abc import Mapping
from dataclasses import dataclass

from chargera.domain.word import Word


class ProofLevel(Word):
    """What speaks for the energy of a session: the higher, the less is left to trust."""

    L0 = "L0"
    L1 = "L1"
    L2 = "L2"
    L3 = "L3"
    L4 = "L4"
    L5 = "L5"

    @property
    def meaning(self) -> str:
        """The level in words for anybody."""
        return MEANINGS[self]


MEANINGS: Mapping[ProofLevel, str] = {
    ProofLevel.L0: "The station reported it; nothing else speaks for it.",
    ProofLevel.L1: "The station proved who it is with a key that cannot leave its hardware.",
    ProofLevel.L2: "The registered meter signed the first and the last value, and no page between"
    " its signatures is missing.",
    ProofLevel.L3: "The other side, the driver or the car, signed for the session as well.",
    ProofLevel.L4: "Physics and a second source, such as the site's meter, agree with it.",
    ProofLevel.L5: "Someone has money at stake for it that an audit can take.",
}


@dataclass(frozen=True, slots=True)
class ProofFacts:
    """What was found out about a session; each fact is true only if it was checked."""

    station_key_in_hardware: bool = False
    """The channel was mutual TLS with a station key that was attested to be in hardware."""
    begin_and_end_signed: bool = False
    """Both values carry a good signature of the meter key in the station's registration."""
    pages_without_gap: bool = False
    """No page of that meter is missing from the last known one to the end of the session."""


def proof_level(facts: ProofFacts) -> ProofLevel:
    """Return the level that `facts` reach: L0 to L2.

    A signing meter carries its own key, so that L2 does not wait for L1. No fact known here leads
    to L3 or higher.
    """
    if facts.begin_and_end_signed and facts.pages_without_gap:
        return ProofLevel.L2
    if facts.station_key_in_hardware:
        return ProofLevel.L1
    return ProofLevel.L0
