"""What a CDR's export is made of, from the database."""

from collections.abc import Mapping
from typing import Any

from chargera.app.billing import BillingCase
from chargera.store.billing import BillingStore
from chargera.store.connection import Connection
from chargera.store.receipts import ReceiptStore


class CdrExportStore:
    """Reads on one connection."""

    def __init__(self, connection: Connection) -> None:
        """Read within the transaction of `connection`."""
        self._billing = BillingStore(connection)
        self._receipts = ReceiptStore(connection)

    async def load_case(self, session_id: str) -> BillingCase | None:
        """Return one session with all that its bill depends on."""
        return await self._billing.load(session_id)

    async def id_token_text(self, session_id: str) -> str | None:
        """Return the identifier of a session; None without one or after erasure."""
        return await self._receipts.id_token_text(session_id)

    async def tariff_document(self, tariff_id: str, version: int) -> Mapping[str, Any]:
        """Return a tariff version's OCPI document."""
        return await self._receipts.tariff_document(tariff_id, version)
