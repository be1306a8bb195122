"""What commands with `--rpc` have instead of a server: a chain, a trust file, a key."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from chargera.domain.errors import Unreadable

if TYPE_CHECKING:
    from chargera.ledger.chain_key import ChainKey
    from chargera.ledger.network_contracts import ChainContracts

T = TypeVar("T")

Rpc = Annotated[
    str | None,
    typer.Option(
        "--rpc", help="Address of the chain, or mirror: and a mirror's; then no server is needed."
    ),
]
TrustFile = Annotated[
    Path | None, typer.Option("--trust", help="deployment.json from a place that you trust.")
]
KeyFile = Annotated[
    Path | None, typer.Option("--key", help="Key file that pays for sending: 0x and 64 hex.")
]


def on_chain(rpc: str, trust: Path | None, use: "Callable[[ChainContracts], Awaitable[T]]") -> T:
    """Use the contracts of a trust file at the address of a chain, with nobody between."""
    if trust is None:
        raise Unreadable(
            "--rpc needs --trust: which contracts are the network's",
            field="trust",
            remedy="give the deployment.json that you saved",
        )
    return asyncio.run(_use(rpc, trust, use))


async def _use(rpc: str, trust: Path, use: "Callable[[ChainContracts], Awaitable[T]]") -> T:
    from chargera.cli.verify import read_trust
    from chargera.ledger.network_contracts import trusted_contracts

    trusted = read_trust(trust)
    if trusted.chain is None:
        raise Unreadable("the trust file names no chain", field="trust")
    async with trusted_contracts(trusted.chain, rpc) as contracts:
        return await use(contracts)


def load_key(path: Path | None) -> "ChainKey":
    """Read a key file. Raises Unreadable, also where none was given."""
    from chargera.ledger.chain_key import ChainKey

    if path is None:
        raise Unreadable("a key is needed to send", field="key", remedy="give it with --key FILE")
    return ChainKey.load(path)


def with_server_chain(data_dir: Path, use: "Callable[[ChainContracts], Awaitable[T]]") -> T:
    """Use the contracts that the server of a data folder names, over its own `/rpc`."""
    return asyncio.run(_use_server(data_dir, use))


async def _use_server(data_dir: Path, use: "Callable[[ChainContracts], Awaitable[T]]") -> T:
    import json

    from chargera.cli.client import Server
    from chargera.ledger.network_contracts import trusted_contracts
    from chargera.proofs.trust import parse_trust

    trusted = parse_trust(json.loads(Server(data_dir).file("/deployment.json")))
    if trusted.chain is None:
        raise Unreadable("this network settles nothing on chain", field="chain")
    async with trusted_contracts(trusted.chain) as contracts:
        return await use(contracts)
