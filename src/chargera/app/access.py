"""Who a station is: passwords checked with equal work and equal answers for every failure.

A guesser learns nothing from text, status or time: an unknown station costs the same argon2 work
as a wrong password. Beyond a few guesses a minute no hash is computed at all, and the answer is
still the same. A station whose password was verified before is known by a fingerprint of it under
a secret key, kept beside its hash: it is never locked out by somebody else's guesses, nor does a
restart of the server cost a hash for every station.
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
    verified: bytes | None = None
    """Fingerprint of the password that was verified against this hash."""


class StationLogins(Protocol):
    """Where station logins are found."""

    async def find(self, station_id: str) -> StationLogin | None:
        """Return the login of a station; None if there is no such station."""

    async def remember(self, login: StationLogin, fingerprint: bytes) -> None:
        """Keep the fingerprint of a verified password, unless the password has changed since."""


@dataclass(frozen=True, slots=True)
class GuessLimits:
    """Wrong passwords a minute, for one identity and for one address."""

    answered: int = 5
    """As many wrong passwords are taken calmly; the next one raises an alarm."""
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
        self._waiting: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def attempt(self, identity: str, address: str) -> AsyncIterator["Attempt | None"]:
        """Reserve one attempt for the block; None: over the limit, no hash may be computed."""
        keys = (("id", identity), ("address", address))
        while not self._may_decide(keys):
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        if self._is_over(keys):
            yield None
            return
        for key in keys:
            self._checking[key] = self._checking.get(key, 0) + 1
        attempt = Attempt()
        try:
            yield attempt
        finally:  # nothing here waits: whoever is cancelled still gives back what it took
            for key in keys:
                self._finish(key, failed=not attempt.succeeded)
            waiting, self._waiting = self._waiting, []
            for turn in waiting:
                if not turn.done():
                    turn.set_result(None)

    @property
    def answered(self) -> int:
        """How many wrong passwords are taken calmly."""
        return self._limits.answered

    def failures(self, identity: str, address: str) -> int:
        """Return how many wrong passwords the identity or the address has had, the greater."""
        return max(len(self._recent(("id", identity))), len(self._recent(("address", address))))

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

    def __init__(
        self,
        logins: StationLogins,
        passwords: Passwords,
        entropy: Entropy,
        limiter: GuessLimiter,
        *,
        key: bytes | None = None,
        on_guessing: Callable[[str, str], None] = lambda station_id, address: None,
    ) -> None:
        """Check against `logins`.

        `key` is the secret of the fingerprints; without one, verified passwords are known until
        this process ends. `on_guessing` is told the identity and the address when there were more
        wrong passwords than are taken calmly.
        """
        self._logins = logins
        self._passwords = passwords
        self._limiter = limiter
        self._key = key or entropy.bytes(32)
        self._on_guessing = on_guessing
        self._decoy: str | None = None
        self.refused = 0
        """How many were not let in, for the metric."""

    async def authenticate(
        self, station_id: str, user: str | None, password: str | None, address: str
    ) -> StationLogin | None:
        """Return the station's login if the credentials are its own; None otherwise.

        The user name must equal the identity in the path (OCPP A00.FR.204/207): a station that
        logs in as itself on another's path is refused like any guess.
        """
        login = await self._logins.find(station_id)
        own = None
        if user == station_id and password is not None and _is_password(password):
            own = password
        if login is not None and own is not None and self._is_verified(login, own):
            return login
        if await self._matches(login, station_id, own, address):
            return login
        self.refused += 1
        return None

    async def prepare(self) -> None:
        """Make the decoy, so that the first guess costs what every other does."""
        await self._decoy_hash()

    async def _matches(
        self, login: StationLogin | None, station_id: str, own: str | None, address: str
    ) -> bool:
        """Compute the one hash that every attempt costs, as far as attempts are left."""
        async with self._limiter.attempt(station_id, address) as attempt:
            if attempt is None:
                return False
            stored = login.password_hash if login is not None else await self._decoy_hash()
            right = await self._passwords.verify(stored, own or "") and own is not None
            if login is not None and right and own is not None:
                attempt.succeeded = True
                await self._logins.remember(login, self._fingerprint(login, own))
                return True
        if self._limiter.failures(station_id, address) == self._limiter.answered + 1:
            self._on_guessing(station_id, address)
        return False

    def _is_verified(self, login: StationLogin, password: str) -> bool:
        known = login.verified
        return known is not None and hmac.compare_digest(known, self._fingerprint(login, password))

    def _fingerprint(self, login: StationLogin, password: str) -> bytes:
        """Bind a password to the hash that it was verified against: a new one voids it."""
        text = f"{login.station_id}\0{login.password_hash}\0{password}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).digest()

    async def _decoy_hash(self) -> str:
        """A hash that no password matches, to spend the same work on unknown stations."""
        if self._decoy is None:
            self._decoy = await self._passwords.hash(self._key.hex())
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
