"""What `chargera doctor` looks at where the ledger is Hedera: keys, clock, mirrors, nodes, fees."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chargera.ledger.hedera.mirror import HederaMirror
    from chargera.settings import Settings

CLOCK_AHEAD_S_MAX = 5.0
"""A transaction whose valid start is in the future is refused."""
BLOCK_AGE_S_MAX = 60.0
FEE_TOLERANCE_PERCENT = 10
"""The rate of HBAR moves within the hour, fees are in dollars."""
PROBE = b"chargera doctor"

Look = Callable[[], tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class HederaCheck:
    """A check by name: `look` returns version and detail, or raises what is wrong."""

    name: str
    fix: str
    look: Look


def hedera_checks(settings: "Settings", now: Callable[[], datetime]) -> Iterator[HederaCheck]:
    """Yield the checks of a network of Hedera, those that others build on first."""
    from chargera.ledgers import profile_of

    profile = profile_of(settings)
    yield HederaCheck("hedera sdk", "pip install 'chargera[hedera]'", _sdk)
    yield HederaCheck(
        "operator key",
        "set CHARGERA_HEDERA_OPERATOR_KEY_FILE, or operator_command",
        lambda: _key(settings),
    )
    account = settings.hedera.operator_account or ""
    yield HederaCheck(
        "operator account",
        "set CHARGERA_HEDERA_OPERATOR_ACCOUNT to an account with that key",
        lambda: _asked(profile.mirrors[0], lambda m: _account(m, settings, account)),
    )
    for url in profile.mirrors:
        yield HederaCheck(
            f"mirror {url.partition('://')[2]}",
            "take another mirror: CHARGERA_HEDERA_MIRRORS",
            partial(_asked, url, lambda m: _mirror(m, now)),
        )
    yield HederaCheck(
        "hedera clock",
        "set this machine's clock by NTP",
        lambda: _asked(profile.mirrors[0], lambda m: _clock(m, now)),
    )
    yield HederaCheck(
        "hedera node",
        "look at the network's status page, or correct the nodes",
        lambda: _node(settings),
    )
    yield HederaCheck(
        "hedera fees",
        "see whether a newer version has a newer table of fees; `ledger cost` rests on it",
        lambda: _asked(profile.mirrors[0], _fees),
    )


def _sdk() -> tuple[str, str]:
    import importlib.metadata

    version = importlib.metadata.version("hiero-sdk-python")
    return version, "speaks to nodes"


def _key(settings: "Settings") -> tuple[None, str]:
    """Have the key sign, and see that the signature is its own."""
    from chargera.domain.errors import Refused
    from chargera.ledger.hedera.signer import uncompressed
    from chargera.ledgers import signer_of
    from chargera.proofs.keccak import keccak256
    from chargera.proofs.secp256k1 import recover_public_key

    signer = signer_of(settings.hedera)
    signature, digest = signer.sign(PROBE), keccak256(PROBE)
    known = uncompressed(signer.public_key)
    if known not in (recover_public_key(digest, signature + bytes([v])) for v in (27, 28)):
        raise Refused("it does not sign with its own public key", field="hedera.operator_key")
    return None, f"signs; public key {signer.public_key.hex()[:12]}..."


async def _account(
    mirror: "HederaMirror", settings: "Settings", account_id: str
) -> tuple[None, str]:  # fmt: skip
    from chargera.domain.errors import Refused
    from chargera.ledger.hedera.accounts import check_signs_typed_data
    from chargera.ledger.hedera.amounts import hbar_text
    from chargera.ledgers import signer_of
    from chargera.proofs.running_hash import parse_entity_id

    parse_entity_id(account_id, "hedera.operator_account")
    found = await mirror.account(account_id)
    check_signs_typed_data(found)
    if found.key is not None and found.key.lower() != signer_of(settings.hedera).public_key.hex():
        raise Refused("the configured key is not this account's")
    if not found.balance_tinybar:
        raise Refused("it holds no HBAR", remedy="transfer HBAR to it")
    return None, f"{account_id}: {hbar_text(found.balance_tinybar)} HBAR"


async def _mirror(mirror: "HederaMirror", now: Callable[[], datetime]) -> tuple[None, str]:
    from chargera.domain.errors import Unavailable

    age_s = await _block_age_s(mirror, now)
    if age_s > BLOCK_AGE_S_MAX:
        raise Unavailable(f"its newest block began {age_s:.0f} s ago: it lags, or our clock is off")
    return None, f"newest block began {age_s:.0f} s ago"


async def _clock(mirror: "HederaMirror", now: Callable[[], datetime]) -> tuple[None, str]:
    from chargera.domain.errors import Refused

    age_s = await _block_age_s(mirror, now)
    if age_s < -CLOCK_AHEAD_S_MAX:
        raise Refused(f"this machine is {-age_s:.0f} s behind the network")
    if age_s > BLOCK_AGE_S_MAX:
        raise Refused(f"this machine is {age_s:.0f} s ahead of the mirror's newest block")
    return None, f"{age_s:+.0f} s from the newest block, which takes some seconds"


async def _fees(mirror: "HederaMirror") -> tuple[str, str]:
    """Compare the network's price of a gas with the table that `ledger cost` rests on."""
    from chargera.domain.errors import Refused
    from chargera.ledger.hedera.fees import MAINNET, usd_text

    rate = await mirror.exchange_rate()
    asked = rate.usd_e10(await mirror.gas_price_tinybar())
    known = MAINNET.gas_usd_e10
    if abs(asked - known) * 100 > known * FEE_TOLERANCE_PERCENT:
        raise Refused(f"a gas costs ${usd_text(asked)}, the table says ${usd_text(known)}")
    return MAINNET.as_of.isoformat(), f"a gas costs ${usd_text(asked)}, as in the table"


def _node(settings: "Settings") -> tuple[None, str]:
    from chargera.ledger.hedera.client import HapiClient
    from chargera.ledger.hedera.failures import HapiFailure
    from chargera.ledgers import profile_of, signer_of

    async def ask() -> int:
        account_id = settings.hedera.operator_account or ""
        network = profile_of(settings).network
        client = HapiClient(network, account_id, signer_of(settings.hedera))
        try:
            return await client.balance(account_id)
        except HapiFailure as failure:
            raise failure.error from failure
        finally:
            await client.close()

    asyncio.run(ask())
    return None, "answers"


async def _block_age_s(mirror: "HederaMirror", now: Callable[[], datetime]) -> float:
    from chargera.ledger.transaction_id import NS_PER_S, to_ns

    block = await mirror.last_block()
    return (to_ns(now()) - block.begins_ns) / NS_PER_S


def _asked(
    url: str,
    look: "Callable[[HederaMirror], Awaitable[tuple[str | None, str]]]",
) -> tuple[str | None, str]:
    from chargera.ledger.hedera.mirror import HederaMirror

    async def ask() -> tuple[str | None, str]:
        async with HederaMirror.connected([url]) as mirror:
            return await look(mirror)

    return asyncio.run(ask())
