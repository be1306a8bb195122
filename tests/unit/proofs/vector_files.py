"""Reads tests/vectors for the tests of `proofs`."""

import base64
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "vectors"


def load(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_bytes())


def unbase64(texts: list[str] | None) -> list[bytes]:
    """The hashes of a vector, where no hashes at all may be written as null."""
    return [base64.b64decode(text) for text in texts or []]
