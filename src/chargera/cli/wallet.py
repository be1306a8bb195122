"""Sessions that a wallet pays, signed where its key is: `session open`, and its refund."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargera.cli.chain_access import KeyFile, Rpc, TrustFile, load_key, on_chain, with_server_chain
from chargera.cli.client import Server
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from chargera.cli.output import note, show

if TYPE_CHECKING:
    from chargera.ledger.network_contracts import ChainContracts


def open_(
    station: Annotated[str, typer.Option("--station", help="The station's id.")],
    evse: Annotated[int, typer.Option("--evse")],
    asset: Annotated[str, typer.Option("--asset", help="Address of the token to pay in.")],
    max_: Annotated[
        int, typer.Option("--max", min=1, help="Most that the bill may draw, minor units.")
    ],
    key: Annotated[Path, typer.Option("--key", help="Key file of the wallet; it stays here.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Open an escrow for one session and start it; what is left comes back to the wallet."""
    from chargera.ledger.wallet import signed_escrow

    server, signing = Server(data_dir), load_key(key)
    terms = server.get("/payments/terms", payer=signing.address_text, asset=asset)
    body = signed_escrow(terms, signing, station, evse, max_, secrets.token_bytes)
    opened = server.post("/payments", body)
    if opened["note"]:
        note(opened["note"])
    show(opened, as_json)


def refund(
    session_key: Annotated[str, typer.Argument(metavar="SESSION_KEY")],
    operator: Annotated[
        str, typer.Option("--operator", help="The operator of the escrow, as NL*C4E.")
    ],
    key: KeyFile = None,
    rpc: Rpc = None,
    trust: TrustFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Get an escrow back that no session has used: ask, and once it is due have it paid."""
    signing = load_key(key)

    async def use(contracts: "ChainContracts") -> dict[str, str]:
        from chargera.ledger.network_contracts import DirectSender
        from chargera.ledger.wallet import take_back

        sender = DirectSender(contracts, signing)
        step, sent = await take_back(contracts, sender, operator, session_key)
        return {"step": step, "transaction_hash": sent}

    show(with_server_chain(data_dir, use) if rpc is None else on_chain(rpc, trust, use), as_json)
