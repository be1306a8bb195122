"""A thousand password guesses over real sockets, against the real access rules."""

import asyncio
import time
from dataclasses import replace

import pytest
from websockets.exceptions import InvalidStatus

from chargera.app.access import GuessLimiter, GuessLimits, Passwords, StationAccess, StationLogin
from chargera.app.clock import SystemEntropy
from chargera.domain.station import OcppVersion
from tests.protocol.ocpp.rig import LIMITS, Rig, running
from tests.unit.ocpp.doubles import PASSWORD


class Logins:
    """Registered stations; what is not here does not exist."""

    def __init__(self, password_hash: str) -> None:
        self.password_hash = password_hash
        self.verified: dict[str, bytes] = {}

    async def find(self, station_id: str) -> StationLogin | None:
        if not station_id.startswith("CP-"):
            return None
        login = StationLogin(station_id, self.password_hash, 1, True, frozenset(OcppVersion))
        return replace(login, verified=self.verified.get(station_id))

    async def remember(self, login: StationLogin, fingerprint: bytes) -> None:
        self.verified[login.station_id] = fingerprint


async def use_real_access(rig: Rig) -> Passwords:
    """Put the real access in the place of the double, with cheap hashes."""
    passwords = Passwords(memory_kib=64, passes=1)
    limiter = GuessLimiter(GuessLimits(), time.monotonic)
    access = StationAccess(
        Logins(await passwords.hash(PASSWORD)), passwords, SystemEntropy(), limiter
    )
    await access.prepare()
    rig.server._doorkeeper._access = access
    passwords.computed = 0
    return passwords


async def guess(rig: Rig, station_id: str, number: int) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as caught:
        await rig.connect(station_id, password=f"wrong-password-number-{number}")
    return caught.value.response.status_code, bytes(caught.value.response.body)


async def test_thousand_guesses__ten_reach_the_hash_and_all_are_answered_alike() -> None:
    async with running(replace(LIMITS, waiting_sockets_per_address_max=1_000)) as rig:
        passwords = await use_real_access(rig)
        verified = await rig.connect("CP-1")
        assert passwords.computed == 1
        answers = set()
        for start in range(0, 1_000, 100):
            answers |= set(
                await asyncio.gather(
                    *(
                        guess(rig, f"{'CP' if n % 2 else 'XX'}-{n % 7}", n)
                        for n in range(start, start + 100)
                    )
                )
            )
        assert len(answers) == 1
        assert answers.pop()[0] == 401
        assert passwords.computed <= 1 + 10
        await verified.send('[2,"1","Heartbeat",{}]')
        assert await verified.recv()
        await verified.close()
        # Who was verified before comes back although its address is over the limit.
        again = await rig.connect("CP-1")
        await again.send('[2,"2","Heartbeat",{}]')
        assert await again.recv()
        passwords.close()


async def test_fleet_behind_one_address__all_come_in_at_once() -> None:
    async with running() as rig:
        passwords = await use_real_access(rig)
        clients = await asyncio.gather(*(rig.connect(f"CP-{n}") for n in range(40)))
        assert rig.server.connected == len(clients) == 40
        passwords.close()
