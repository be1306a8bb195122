"""Verifying receipts within a server: off the event loop, a few at a time, not twice the same."""

import asyncio
import hashlib
from collections import OrderedDict

from chargera.proofs.receipt import ReceiptVerdict, verify_receipt
from chargera.proofs.trust import Trust

AT_ONCE = 2
"""They take the processor, which the stations' channel needs too."""

REMEMBERED_MAX = 256


class ReceiptJudge:
    """Remembers its last verdicts: pages of a session ask for the same one again and again."""

    def __init__(self, remembered_max: int = REMEMBERED_MAX) -> None:
        """Start without any."""
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._verdicts: OrderedDict[tuple[bytes, Trust], ReceiptVerdict] = OrderedDict()
        self._remembered_max = remembered_max
        self.judged = 0
        """How many were really verified."""

    async def judge(self, receipt: bytes, trust: Trust) -> ReceiptVerdict:
        """Return the verdict on a receipt under a trust; a pure function of both."""
        key = hashlib.sha256(receipt).digest(), trust
        known = self._verdicts.get(key)
        if known is not None:
            self._verdicts.move_to_end(key)
            return known
        async with self._slots:
            verdict = await asyncio.to_thread(verify_receipt, receipt, trust)
        self.judged += 1
        self._verdicts[key] = verdict
        while len(self._verdicts) > self._remembered_max:
            self._verdicts.popitem(last=False)
        return verdict
