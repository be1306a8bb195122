"""The message log of a database, read as a stranger would who knows what a pack is."""

from typing import Any

import psycopg

from chargera.app.ports import MessageRow
from chargera.store.message_packs import unpacked


def exchanges(connection: psycopg.Connection[Any]) -> list[MessageRow]:
    """Return all exchanges with stations, in order."""
    packs = connection.execute("select body from ocpp_message_pack order by pack_no").fetchall()
    return [row for (body,) in packs for row in unpacked(body)]
