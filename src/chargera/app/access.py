"""Who a station is: passwords checked with equal work and equal answers for every failure.

A guesser learns nothing from text, status or time: an unknown station costs the same argon2 work
as a wrong password. Beyond a few guesses a minute no hash is computed at all, and the answer is
still the same. A station whose password was verified before is found in a cache of verified
results and is never locked out by somebody else's guesses.
"""

import asyncio
import hashlib
import hmac
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from chargera.app.ports import Entropy
from chargera.domain.errors import InvalidInput
from chargera.domain.station import OcppVersion

PASSWORD_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"  # noqa: S105 - an alphabet
PASSWORD_LENGTH = 24


@dataclass(frozen=True, slots=True)
class StationLogin:
    """What the channel must know of a station to let it in."""

    station_id: str
    password_hash: str
    security_profile: int
    plain_allowed: bool
    ocpp_versions: frozenset[OcppVersion]


class StationLogins(Protocol):
    """Where station logins are found."""

    async def find(self, station_id: str) -> StationLogin | None:
        """Return the login of a station; None if there is no such station."""


@dataclass(frozen=True, slots=True)
class GuessLimits:
    """Wrong passwords a minute, for one identity and for one address."""

    answered: int = 5
    """As many wrong passwords are checked at full cost; the answer is 401."""
    hashed: int = 10
    """Beyond this no hash is computed; the answer is still 401."""
    window_s: float = 60.0
    keys_max: int = 20_000


class GuessLimiter:
    """Counts failures of identities and addresses within a sliding window.

    Attempts that are being checked count as failures until they succeed, so that a thousand
    guesses at once reach no more hashes than one after the other. An attempt that would go over
    the limit only because of such waits for them: many stations behind one address all come in.
    """

    def __init__(self, limits: GuessLimits, monotonic_s: Callable[[], float]) -> None:
        """Count with the machine's monotonic clock."""
        self._limits = limits
        self._monotonic_s = monotonic_s
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._checking: dict[tuple[str, str], int] = {}
        self._checked = asyncio.Condition()

    @asynccontextmanager
    async def attempt(self, identity: str, address: str) -> AsyncIterator["Attempt | None"]:
        """Reserve one attempt for the block; None: over the limit, no hash may be computed."""
        keys = (("id", identity), ("address", address))
        async with self._checked:
            await self._checked.wait_for(lambda: self._may_decide(keys))
            is_over = self._is_over(keys)
            for key in () if is_over else keys:
                self._checking[key] = self._checking.get(key, 0) + 1
        if is_over:
            yield None
            return
        attempt = Attempt()
        try:
            yield attempt
        finally:
            async with self._checked:
                for key in keys:
                    self._finish(key, failed=not attempt.succeeded)
                self._checked.notify_all()

    def _may_decide(self, keys: Sequence[tuple[str, str]]) -> bool:
        """Say whether the answer does not depend on attempts that are being checked."""
        if self._is_over(keys):
            return True
        most = self._limits.hashed
        return all(len(self._recent(k)) + self._checking.get(k, 0) < most for k in keys)

    def _is_over(self, keys: Sequence[tuple[str, str]]) -> bool:
        return any(len(self._recent(key)) >= self._limits.hashed for key in keys)

    def _finish(self, key: tuple[str, str], *, failed: bool) -> None:
        self._checking[key] -= 1
        if not self._checking[key]:
            del self._checking[key]
        if failed:
            self._failures.setdefault(key, deque()).append(self._monotonic_s())
            self._failures.move_to_end(key)
            if len(self._failures) > self._limits.keys_max:
                self._failures.popitem(last=False)

    def _recent(self, key: tuple[str, str]) -> deque[float]:
        failures = self._failures.get(key, deque())
        oldest = self._monotonic_s() - self._limits.window_s
        while failures and failures[0] <= oldest:
            failures.popleft()
        return failures


@dataclass(slots=True)
class Attempt:
    """One attempt that may be checked; it is a failure unless it is marked."""

    succeeded: bool = False


class Passwords:
    """argon2id hashing off the event loop; default costs are OWASP's for interactive logins."""

    def __init__(self, *, memory_kib: int = 19 * 1024, passes: int = 2, lanes: int = 1) -> None:
        """Hash with these costs; two at a time, so that guesses cannot take all cores."""
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
        self.computed = 0
        """How many hashes were computed, for the metric that shows guessing."""

    async def hash(self, password: str) -> str:
        """Return the PHC string of a password."""
        self.computed += 1
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, password)

    async def verify(self, password_hash: str, password: str) -> bool:
        """Say whether the password is the one that was hashed."""
        self.computed += 1
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._verify, password_hash, password)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class StationAccess:
    """Authenticates stations for the channel."""

    VERIFIED_MAX = 50_000

    def __init__(
        self,
        logins: StationLogins,
        passwords: Passwords,
        entropy: Entropy,
        limiter: GuessLimiter,
    ) -> None:
        """Check against `logins`; verified results are kept under a key of this process."""
        self._logins = logins
        self._passwords = passwords
        self._limiter = limiter
        self._cache_key = entropy.bytes(32)
        self._verified: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._decoy: str | None = None
        self.refused = 0

    async def authenticate(
        self, station_id: str, user: str | None, password: str | None, address: str
    ) -> StationLogin | None:
        """Return the station's login if the credentials are its own; None otherwise.

        The user name must equal the identity in the path (OCPP A00.FR.204/207): a station that
        logs in as itself on another's path is refused like any guess.
        """
        login = await self._logins.find(station_id)
        own = user == station_id and password is not None and _is_password(password)
        if login is not None and own and self._is_verified(login, password or ""):
            return login
        async with self._limiter.attempt(station_id, address) as attempt:
            if attempt is None:
                self.refused += 1
                return None
            stored = login.password_hash if login is not None else await self._decoy_hash()
            matches = await self._passwords.verify(stored, password if own and password else "")
            if login is None or not own or not matches:
                self.refused += 1
                return None
            attempt.succeeded = True
        self._remember(login, password or "")
        return login

    async def prepare(self) -> None:
        """Make the decoy, so that the first guess costs what every other does."""
        await self._decoy_hash()

    def _is_verified(self, login: StationLogin, password: str) -> bool:
        known = self._verified.get(login.station_id)
        if known is None or known[0] != login.password_hash:
            return False
        return hmac.compare_digest(known[1], self._fingerprint(login.station_id, password))

    def _remember(self, login: StationLogin, password: str) -> None:
        fingerprint = self._fingerprint(login.station_id, password)
        self._verified[login.station_id] = (login.password_hash, fingerprint)
        self._verified.move_to_end(login.station_id)
        if len(self._verified) > self.VERIFIED_MAX:
            self._verified.popitem(last=False)

    def _fingerprint(self, station_id: str, password: str) -> bytes:
        text = f"{station_id}\0{password}".encode("utf-8", "surrogatepass")
        return hmac.new(self._cache_key, text, hashlib.sha256).digest()

    async def _decoy_hash(self) -> str:
        """A hash that no password matches, to spend the same work on unknown stations."""
        if self._decoy is None:
            self._decoy = await self._passwords.hash(self._cache_key.hex())
        return self._decoy


def check_station_password(password: str) -> str:
    """Return a password of 20 to 40 printable ASCII characters; InvalidInput otherwise."""
    if not _is_password(password):
        raise InvalidInput(
            "a station password has 20 to 40 printable ASCII characters",
            field="password",
            remedy="leave it out to have one generated",
        )
    return password


def new_password(entropy: Entropy) -> str:
    """Return a random password: 24 characters that people can copy, about 139 bits."""
    letters: list[str] = []
    usable = 256 - 256 % len(PASSWORD_ALPHABET)
    while len(letters) < PASSWORD_LENGTH:
        letters += [
            PASSWORD_ALPHABET[byte % len(PASSWORD_ALPHABET)]
            for byte in entropy.bytes(PASSWORD_LENGTH)
            if byte < usable
        ]
    return "".join(letters[:PASSWORD_LENGTH])


def _is_password(password: str) -> bool:
    return 20 <= len(password) <= 40 and password.isascii() and password.isprintable()
