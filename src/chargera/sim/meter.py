"""A signing meter in software: OCMF strings as a real one would write them, marked as simulated."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from chargera.domain.errors import Unreadable
from chargera.proofs.meter_key import CURVES

GATEWAY = "ChargEra simulated meter"
"""OCMF GI and MV of every string made here: no reader can take it for a real meter's."""


class ReadingKind(StrEnum):
    """Why a reading is taken (OCMF TX)."""

    BEGIN = "B"
    CURRENT = "C"
    END = "E"


@dataclass(frozen=True, slots=True)
class Identification:
    """For whom the meter measures (OCMF IS, IL, IF, IT, ID)."""

    value: str = ""
    kind: str = "ISO14443"
    level: str = "HEARSAY"
    flags: tuple[str, ...] = ("RFID_PLAIN",)


@dataclass(frozen=True, slots=True)
class MeterReading:
    """What the meter shows at one moment: whole Wh since it was built, at an aware time."""

    register_wh: int
    at: datetime
    kind: ReadingKind


class SigningMeter:
    """Signs the readings that it is told; it has a page counter, but no clock and no register."""

    def __init__(
        self,
        private_key: ec.EllipticCurvePrivateKey,
        serial: str,
        *,
        page: int = 0,
        time_status: str = "S",
    ) -> None:
        """Make the meter `serial` whose last page was `page`; `time_status` as OCMF table 19."""
        self.serial = serial
        self.page = page
        self._time_status = time_status
        self._private_key = private_key

    @classmethod
    def load(cls, pem: bytes, serial: str, *, page: int = 0) -> Self:
        """Make a meter of an unencrypted PKCS #8 private key in PEM.

        Raises Unreadable for anything else, and for a curve that nobody could check.
        """
        remedy = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY.pem"
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Unreadable(f"no usable private key: {error}", remedy=remedy) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in CURVES:
            raise Unreadable("a meter signs on an elliptic curve of OCMF", remedy=remedy)
        return cls(key, serial, page=page)

    @property
    def public_key_pem(self) -> str:
        """The key to register the station with, PEM."""
        public = self._private_key.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def public_key_hex(self) -> str:
        """The same key as hex of its DER form, as stations send it along."""
        public = self._private_key.public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo).hex()

    def reading(
        self, register_wh: int, at: datetime, kind: ReadingKind, who: Identification
    ) -> str:
        """Sign one reading on a page of its own."""
        return self.record([MeterReading(register_wh, at, kind)], who)

    def record(self, readings: list[MeterReading], who: Identification) -> str:
        """Sign several readings together on one page, such as begin and end of a transaction."""
        self.page += 1
        payload = {
            "FV": "1.2",
            "GI": GATEWAY,
            "GS": self.serial,
            "GV": "1",
            "PG": f"T{self.page}",
            "MV": GATEWAY,
            "MM": "software",
            "MS": self.serial,
            "MF": "1",
            "IS": bool(who.value),
            "IL": who.level if who.value else "NONE",
            "IF": list(who.flags) if who.value else [],
            "IT": who.kind if who.value else "NONE",
            "ID": who.value,
            "RD": [self._reading(reading) for reading in readings],
        }
        return self.sign(json.dumps(payload, separators=(",", ":")))

    def sign(self, payload: str) -> str:
        """Return the OCMF string of any payload; the same payload gives the same string."""
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        signature = {
            "SA": f"ECDSA-{self._private_key.curve.name}-SHA256",
            "SD": self._private_key.sign(payload.encode(), algorithm).hex().upper(),
        }
        return f"OCMF|{payload}|{json.dumps(signature, separators=(',', ':'))}"

    def _reading(self, reading: MeterReading) -> dict[str, object]:
        at = reading.at
        moment = f"{at:%Y-%m-%dT%H:%M:%S},{at.microsecond // 1000:03d}{at:%z}"
        return {
            "TM": f"{moment} {self._time_status}",
            "TX": reading.kind.value,
            "RV": f"{reading.register_wh // 1000}.{reading.register_wh % 1000:03d}",
            "RI": "1-0:1.8.0",
            "RU": "kWh",
            "RT": "AC",
            "EF": "",
            "ST": "G",
        }
