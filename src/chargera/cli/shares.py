"""`chargera shares`: the units of a passport, released and transferred by whoever holds the key."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from chargera.cli.chain_access import KeyFile, Rpc, TrustFile, load_key, on_chain
from chargera.cli.client import Server
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import show

if TYPE_CHECKING:
    from chargera.ledger.network_contracts import ChainContracts

app = noun("shares", "The 1,000,000 units of a passport, and what each holder is owed.")

PassportId = Annotated[str, typer.Argument(metavar="PASSPORT_ID")]
To = Annotated[str, typer.Option("--to", help="Address that gets them.")]
Units = Annotated[int, typer.Option("--units", min=1, max=1_000_000)]


@app.command("show")
def show_(
    passport: PassportId,
    rpc: Rpc = None,
    trust: TrustFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show who holds units and what is owed to each."""
    if rpc is None:
        show(Server(data_dir).get(f"/shares/{quote(passport, safe='')}"), as_json)
        return

    async def read(contracts: "ChainContracts") -> Any:
        from chargera.app.settlement_views import shares
        from chargera.app.views import as_json as members

        return members(await shares(contracts, passport))

    show(on_chain(rpc, trust, read), as_json)


@app.command()
def release(
    passport: PassportId,
    to: To,
    units: Units,
    key: KeyFile = None,
    rpc: Rpc = None,
    trust: TrustFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Turn units of the passport into transferable ones of somebody; signed by its owner's key."""
    from chargera.proofs.chain_values import parse_passport_id

    token_id = parse_passport_id(passport)
    _send(rpc, trust, data_dir, as_json, key, lambda own: ("release", (token_id, to, units)))


@app.command()
def transfer(
    passport: PassportId,
    to: To,
    units: Units,
    key: KeyFile = None,
    rpc: Rpc = None,
    trust: TrustFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Send units that one holds to somebody else; signed by the holder's key."""
    from chargera.proofs.chain_values import parse_passport_id

    token_id = parse_passport_id(passport)
    _send(
        rpc,
        trust,
        data_dir,
        as_json,
        key,
        lambda own: ("safeTransferFrom", (own, to, token_id, units, b"")),
    )


def _send(
    rpc: str | None,
    trust: Path | None,
    data_dir: Path,
    as_json: bool,
    key: Path | None,
    call: Callable[[str], tuple[str, tuple[Any, ...]]],
) -> None:
    """Send one call of the shares' contract, signed here, to the chain itself."""
    from chargera.cli.chain_access import with_server_chain

    signing = load_key(key)

    async def use(contracts: "ChainContracts") -> dict[str, str]:
        from chargera.ledger.network_contracts import DirectSender

        function, arguments = call(signing.address_text)
        sender = DirectSender(contracts, signing)
        sent = await sender.send("", "ChargerShares", function, *arguments)
        return {"transaction_hash": sent}

    uses: Callable[[ChainContracts], Awaitable[dict[str, str]]] = use
    answer = with_server_chain(data_dir, uses) if rpc is None else on_chain(rpc, trust, uses)
    show(answer, as_json)
