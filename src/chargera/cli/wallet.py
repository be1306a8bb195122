"""`chargera session open`: a session that a wallet pays, signed where its key is."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargera.cli.chain_access import load_key
from chargera.cli.client import Server
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from chargera.cli.output import show

if TYPE_CHECKING:
    from chargera.ledger.chain_key import ChainKey


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
    server, signing = Server(data_dir), load_key(key)
    terms = server.get("/payments/terms", payer=signing.address_text, asset=asset)
    body = signed_escrow(terms, signing, station, evse, max_)
    show(server.post("/payments", body), as_json)


def signed_escrow(
    terms: dict[str, Any], key: "ChainKey", station: str, evse: int, maximum: int
) -> dict[str, Any]:
    """Return the request that opens an escrow: its payer's two signatures over a fresh key."""
    from chargera.proofs.chain_values import hex_text, parse_address
    from chargera.proofs.permit import permit_digest
    from chargera.proofs.settlement import SESSION_KEY_BYTES, open_digest

    session_key = secrets.token_bytes(SESSION_KEY_BYTES)
    asset = parse_address(terms["asset"], field="asset")
    hub = parse_address(terms["hub"], field="hub")
    opening = open_digest(
        terms["operator_id"],
        session_key,
        asset,
        maximum,
        terms["deadline"],
        chain_id=terms["chain_id"],
        hub=hub,
    )
    permit = permit_digest(
        name=terms["asset_name"],
        version=terms["asset_version"],
        chain_id=terms["chain_id"],
        token=asset,
        owner=key.address,
        spender=hub,
        value=maximum,
        nonce=terms["nonce"],
        deadline=terms["deadline"],
    )
    return {
        "asset": terms["asset"],
        "deadline": terms["deadline"],
        "evse": evse,
        "max": maximum,
        "payer": key.address_text,
        "permit_signature": hex_text(key.sign(permit)),
        "session_key": hex_text(session_key),
        "signature": hex_text(key.sign(opening)),
        "station_id": station,
    }
