"""Who a station is: equal work and answers for every failure, few hashes, nobody locked out."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargera.app.access import (
    PASSWORD_ALPHABET,
    GuessLimiter,
    GuessLimits,
    Passwords,
    StationAccess,
    StationLogin,
    check_station_password,
    new_password,
)
from chargera.app.testing import MemoryStationLogins, SeededEntropy
from chargera.domain.errors import InvalidInput
from chargera.domain.station import OcppVersion

PASSWORD, OTHER = "correct-horse-battery-staple", "another-stations-own-password"
KEY = bytes(range(32))


class Ticks:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Door:
    """Two stations and whoever comes to their door."""

    def __init__(self, passwords: Passwords, hashes: tuple[str, str]) -> None:
        self.passwords = passwords
        self.ticks = Ticks()
        self.alarms: list[tuple[str, str]] = []
        self.logins = MemoryStationLogins(
            *(
                StationLogin(name, stored, 1, True, frozenset(OcppVersion))
                for name, stored in zip(("CP-1", "CP-2"), hashes, strict=True)
            )
        )
        self.restart()

    def restart(self, key: bytes | None = KEY) -> None:
        """The server starts anew: what it keeps in memory is gone."""
        self.limiter = GuessLimiter(GuessLimits(), self.ticks)
        self.access = StationAccess(
            self.logins,
            self.passwords,
            SeededEntropy(7),
            self.limiter,
            key=key,
            on_guessing=lambda *who: self.alarms.append(who),
        )

    async def come(
        self,
        station_id: str = "CP-1",
        password: str | None = PASSWORD,
        *,
        user: str | None = "",
        address: str = "10.0.0.1",
    ) -> bool:
        login = await self.access.authenticate(
            station_id, station_id if user == "" else user, password, address
        )
        assert login is None or login.station_id == station_id
        return login is not None


@pytest.fixture(scope="module")
def hashes() -> Iterator[tuple[Passwords, tuple[str, str]]]:
    passwords = Passwords(memory_kib=64, passes=1)

    async def both() -> tuple[str, str]:
        return await passwords.hash(PASSWORD), await passwords.hash(OTHER)

    yield passwords, asyncio.run(both())
    passwords.close()


@pytest.fixture
async def door(hashes: tuple[Passwords, tuple[str, str]]) -> Door:
    made = Door(*hashes)
    await made.access.prepare()
    made.passwords.computed = 0
    return made


# Equal work ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("station_id", "password", "user"),
    [
        ("CP-9", PASSWORD, ""),
        ("CP-1", "wrong-password-of-good-length", ""),
        ("CP-1", "short", ""),
        ("CP-1", OTHER, ""),
        ("CP-1", OTHER, "CP-2"),
        ("CP-1", PASSWORD, "CP-2"),
        ("CP-1", PASSWORD, None),
        ("CP-1", None, ""),
        ("CP-1", None, None),
        ("CP-1", "", ""),
        ("CP-1", "é" * 24, ""),
        ("\ud800", PASSWORD, ""),
    ],
)
async def test_refusals__one_hash_each_whatever_is_wrong(
    door: Door, station_id: str, password: str | None, user: str | None
) -> None:
    assert not await door.come(station_id, password, user=user)
    assert (door.passwords.computed, door.logins.found, door.access.refused) == (1, 1, 1)


async def test_right_password__one_hash_and_then_none(door: Door) -> None:
    assert await door.come()
    assert door.passwords.computed == 1
    for _ in range(50):
        assert await door.come()
    assert door.passwords.computed == 1
    assert door.access.refused == 0


async def test_first_guess__costs_no_more_than_the_second(door: Door) -> None:
    door.restart()
    await door.come("CP-9", PASSWORD)
    assert door.passwords.computed == 2, "the decoy is made once"
    await door.access.prepare()
    await door.come("CP-9", PASSWORD)
    assert door.passwords.computed == 3


# Few guesses -----------------------------------------------------------------------------------


async def test_thousand_guesses__ten_reach_the_hash_in_a_window(door: Door) -> None:
    for n in range(1000):
        assert not await door.come("CP-1", f"guess-number-{n:020}", address=f"10.0.{n}.1")
    assert door.passwords.computed == 10
    door.ticks.now_s += 59.9
    assert not await door.come("CP-1", "one-more-of-good-length", address="10.1.0.1")
    assert door.passwords.computed == 10
    door.ticks.now_s += 0.2
    assert not await door.come("CP-1", "one-more-of-good-length", address="10.1.0.1")
    assert door.passwords.computed == 11


async def test_guesses_at_once__reach_no_more_hashes(door: Door) -> None:
    answers = await asyncio.gather(
        *(door.come("CP-1", f"guess-number-{n:020}", address=f"10.0.{n}.1") for n in range(200))
    )
    assert not any(answers)
    assert door.passwords.computed == 10


async def test_one_address_at_many_identities__limited_alike(door: Door) -> None:
    for n in range(100):
        assert not await door.come(f"CP-{n + 100}", PASSWORD)
    assert door.passwords.computed == 10
    assert not await door.come("CP-2", OTHER), "not even a right one, from there"
    assert await door.come("CP-2", OTHER, address="10.0.0.2")


async def test_many_stations_behind_one_address__all_come_in(door: Door) -> None:
    template = door.logins.logins["CP-1"]
    names = [f"S-{n}" for n in range(60)]
    for name in names:
        door.logins.logins[name] = StationLogin(
            name, template.password_hash, 1, True, template.ocpp_versions
        )
    assert all(await asyncio.gather(*(door.come(name) for name in names)))
    assert door.passwords.computed == 60


async def test_waiting_attempt_whose_socket_goes__takes_nothing_with_it(door: Door) -> None:
    async def hold(seconds: float) -> None:
        async with door.limiter.attempt("CP-1", "a") as attempt:
            assert attempt is not None
            await asyncio.sleep(seconds)

    holding = [asyncio.create_task(hold(60)) for _ in range(10)]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(hold(0))
    await asyncio.sleep(0)
    waiting.cancel()
    for task in holding:
        task.cancel()
    await asyncio.gather(waiting, *holding, return_exceptions=True)
    assert door.limiter.failures("CP-1", "b") == 10, "what was cut off counts as a failure"
    assert not door.limiter._checking


async def test_alarm__once_when_there_are_more_than_are_taken_calmly(door: Door) -> None:
    for n in range(9):
        await door.come("CP-1", f"guess-number-{n:020}")
    assert door.alarms == [("CP-1", "10.0.0.1")]


async def test_success__is_no_failure(door: Door) -> None:
    for n in range(4):
        await door.come("CP-1", f"guess-number-{n:020}")
    await door.come()
    assert door.limiter.failures("CP-1", "10.0.0.1") == 4


async def test_limiter__remembers_a_bounded_number_of_names() -> None:
    limiter = GuessLimiter(GuessLimits(keys_max=4), Ticks())
    for n in range(100):
        async with limiter.attempt(f"CP-{n}", f"10.0.0.{n}"):
            pass
    assert len(limiter._failures) == 4


# Nobody is locked out --------------------------------------------------------------------------


async def guess_until_refused(door: Door) -> None:
    for n in range(20):
        await door.come("CP-1", f"guess-number-{n:020}", address="10.6.6.6")


async def test_verified_station__comes_in_whatever_others_guess(door: Door) -> None:
    assert await door.come()
    await guess_until_refused(door)
    assert await door.come()
    assert await door.come(address="10.6.6.6"), "even from the guesser's address"


async def test_verified_station__also_after_a_restart_of_the_server(door: Door) -> None:
    assert await door.come()
    door.restart()
    door.passwords.computed = 0
    await guess_until_refused(door)
    computed = door.passwords.computed
    assert await door.come()
    assert door.passwords.computed == computed, "and without a hash"


async def test_other_key__what_was_verified_under_the_old_one_is_checked_again(door: Door) -> None:
    assert await door.come()
    door.restart(key=None)
    door.passwords.computed = 0
    assert await door.come()
    assert door.passwords.computed == 1


async def test_password_changed__the_old_one_no_longer_counts(door: Door) -> None:
    assert await door.come()
    login = door.logins.logins["CP-1"]
    changed = StationLogin(
        "CP-1",
        await door.passwords.hash("the-new-password-of-it"),
        1,
        True,
        login.ocpp_versions,
        verified=login.verified,
    )
    door.logins.logins["CP-1"] = changed
    assert not await door.come()
    assert await door.come("CP-1", "the-new-password-of-it")
    await door.logins.remember(login, b"late")
    assert door.logins.logins["CP-1"].verified != b"late", "a verdict on the old hash"


async def test_fingerprint__of_another_station__opens_nothing(door: Door) -> None:
    assert await door.come()
    stolen = door.logins.logins["CP-1"].verified
    login = door.logins.logins["CP-2"]
    door.logins.logins["CP-2"] = StationLogin(
        "CP-2", login.password_hash, 1, True, login.ocpp_versions, stolen
    )
    assert not await door.come("CP-2", PASSWORD)


async def test_logins__unknown_stations_are_not_remembered() -> None:
    logins = MemoryStationLogins()
    await logins.remember(StationLogin("CP-9", "", 1, True, frozenset()), b"")
    assert await logins.find("CP-9") is None


# Passwords -------------------------------------------------------------------------------------


async def test_passwords__hash_and_verify(hashes: tuple[Passwords, tuple[str, str]]) -> None:
    passwords, (stored, _) = hashes
    assert stored.startswith("$argon2id$")
    assert await passwords.verify(stored, PASSWORD)
    assert not await passwords.verify(stored, OTHER)
    assert not await passwords.verify("no hash at all", PASSWORD)


@pytest.mark.parametrize("password", ["x" * 20, "~" * 40, "correct horse battery staple"])
def test_station_password__taken(password: str) -> None:
    assert check_station_password(password) == password


@pytest.mark.parametrize("password", ["", "x" * 19, "x" * 41, "é" * 24, "x" * 20 + "\n"])
def test_station_password__refused(password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_station_password(password)
    assert caught.value.field == "password"


@given(st.integers(0, 2**32))
def test_new_password__good_and_easy_to_copy(seed: int) -> None:
    password = new_password(SeededEntropy(seed))
    assert check_station_password(password) == password
    assert set(password) <= set(PASSWORD_ALPHABET)


def test_new_password__every_letter_is_as_likely() -> None:
    entropy = SeededEntropy(1)
    letters = "".join(new_password(entropy) for _ in range(2_000))
    counts = [letters.count(letter) for letter in PASSWORD_ALPHABET]
    assert min(counts) / (len(letters) / len(PASSWORD_ALPHABET)) > 0.8
    assert max(counts) / (len(letters) / len(PASSWORD_ALPHABET)) < 1.2
