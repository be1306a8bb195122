"""The state of the embedded chain as this program keeps it, beside what its engine holds.

It is the one of record: snapshots are made of it, engines are filled from it, and it can take back
changes whose commit failed.
"""

from collections.abc import Mapping

from chargera.ledger.evm.engine import NOTHING, Account, Changes

_NO_WORDS: Mapping[int, int] = {}


class WorldState:
    """All accounts and words that are not empty."""

    def __init__(self, content: Changes | None = None) -> None:
        """Start empty, or with `content`."""
        self._accounts: dict[bytes, Account] = {}
        self._storage: dict[bytes, dict[int, int]] = {}
        if content is not None:
            self.apply(content)

    def account(self, address: bytes) -> Account:
        """Return an account, NOTHING where there is none."""
        return self._accounts.get(address, NOTHING)

    def word(self, address: bytes, slot: int) -> int:
        """Return a word of a contract's storage."""
        return self._words(address).get(slot, 0)

    def real(self, changes: Changes) -> Changes:
        """Return what of `changes` is not so already."""
        storage = {}
        for address, words in changes.storage.items():
            known = self._words(address)
            differing = {slot: w for slot, w in words.items() if known.get(slot, 0) != w}
            if differing:
                storage[address] = differing
        accounts = {
            address: account
            for address, account in changes.accounts.items()
            if self.account(address) != account
        }
        return Changes(accounts, storage)

    def apply(self, changes: Changes) -> Changes:
        """Make changes and return those that take them back."""
        accounts = {address: self.account(address) for address in changes.accounts}
        storage = {}
        for address, words in changes.storage.items():
            known = self._words(address)
            storage[address] = {slot: known.get(slot, 0) for slot in words}
        for address, account in changes.accounts.items():
            if account == NOTHING:
                self._accounts.pop(address, None)
            else:
                self._accounts[address] = account
        for address, words in changes.storage.items():
            self._write(address, words)
        return Changes(accounts, storage)

    def content(self) -> Changes:
        """Return the whole state, as the changes that make it out of nothing."""
        return Changes(self._accounts, self._storage)

    def _words(self, address: bytes) -> Mapping[int, int]:
        return self._storage.get(address, _NO_WORDS)

    def _write(self, address: bytes, words: Mapping[int, int]) -> None:
        known = self._storage.setdefault(address, {})
        for slot, word in words.items():
            if word:
                known[slot] = word
            else:
                known.pop(slot, None)
        if not known:
            del self._storage[address]
