"""`chargera settlement`: close, list, show, settle, claim, operator-key; some need no server."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from chargera.cli.chain_access import (
    KeyFile,
    Rpc,
    TrustFile,
    load_key,
    on_chain,
    with_server_chain,
)
from chargera.cli.client import Server
from chargera.cli.files import read_bytes
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import show, table
from chargera.domain.errors import Unreadable

if TYPE_CHECKING:
    from chargera.ledger.network_contracts import ChainContracts

app = noun("settlement", "Batches of bills: close, list, show, settle, claim.")

COLUMNS = ["batch", "asset", "state", "window_ends_at", "sessions", "skipped", "transaction_hash"]
ADDRESS_CHARS = 42
CLOSE_TIMEOUT_S = 180.0


@app.command()
def close(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Anchor, put what waits into batches, and have them attested and proposed."""
    rows = Server(data_dir).post("/settlement/close", {}, timeout_s=CLOSE_TIMEOUT_S)
    show(rows, as_json, table(rows, COLUMNS))


@app.command("list")
def list_(
    every: Annotated[
        bool, typer.Option("--all", help="Also batches that are not signed, or were dropped.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """List batches, newest first."""
    rows = Server(data_dir).get("/settlement/batches", all=every or None)
    show(rows, as_json, table(rows, COLUMNS))


@app.command("show")
def show_(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="Its digest.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Show a batch: leaves, attesters, window, transactions."""
    show(Server(data_dir).get(f"/settlement/batches/{quote(batch, safe='')}"), as_json)


@app.command()
def settle(
    batch: Annotated[
        Path | None, typer.Option("--batch", help="Batch file, as /settlement/DIGEST.json.")
    ] = None,
    rpc: Rpc = None,
    trust: TrustFile = None,
    key: KeyFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Settle what may be settled now; with --rpc a batch file's, by anybody's key."""
    if rpc is None:
        rows = Server(data_dir).post("/settlement/settle", {}, timeout_s=CLOSE_TIMEOUT_S)
        show(rows, as_json, table(rows, COLUMNS))
        return
    if batch is None:
        raise Unreadable("--rpc needs --batch", field="batch", remedy="give the batch file")
    document = on_chain(rpc, trust, lambda contracts: _settle(contracts, batch, key))
    show(document, as_json)


async def _settle(contracts: "ChainContracts", file: Path, key: Path | None) -> dict[str, Any]:
    """Propose a batch if nobody has, settle it if its window is over."""
    from chargera.app.views import as_json as members
    from chargera.ledger.finishing import finish
    from chargera.ledger.network_contracts import DirectSender
    from chargera.proofs.batch_file import BATCH_FILE_BYTES_MAX, decode_batch_file

    batch_file = decode_batch_file(read_bytes(file, BATCH_FILE_BYTES_MAX))
    sender = DirectSender(contracts, load_key(key))
    document: dict[str, Any] = members(await finish(contracts, sender, batch_file))
    return document


@app.command()
def claim(
    passport: Annotated[str, typer.Option("--passport", help="Passport id.")],
    holder: Annotated[
        str | None, typer.Option("--holder", help="One holder; else all of them.")
    ] = None,
    rpc: Rpc = None,
    trust: TrustFile = None,
    key: KeyFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Have holders of a passport paid; whoever asks, only a holder gets anything."""
    if rpc is None:
        body = {"passport_id": passport, "holder": holder}
        claims = Server(data_dir).post("/settlement/claim", body, timeout_s=CLOSE_TIMEOUT_S)
    else:
        claims = on_chain(rpc, trust, lambda contracts: _claim(contracts, passport, holder, key))
    columns = ["holder", "asset", "amount_minor", "transaction_hash"]
    show({"claims": claims}, as_json, table(claims, columns))


async def _claim(
    contracts: "ChainContracts", passport: str, holder: str | None, key: Path | None
) -> list[dict[str, Any]]:
    from chargera.app.keeper import pay_holders
    from chargera.app.settlement_views import claim_view
    from chargera.ledger.network_contracts import DirectSender

    sender = DirectSender(contracts, load_key(key))
    claims = await pay_holders(contracts, sender, passport, holder, tell_last=True)
    return [asdict(claim_view(claim)) for claim in claims]


@app.command("operator-key")
def operator_key(
    new: Annotated[
        str,
        typer.Option("--new", help="Who is to sign for the operator: a key file or an address."),
    ],
    rpc: Rpc = None,
    trust: TrustFile = None,
    key: KeyFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Announce another key of the operator, by the one in force (default: keys/operator).

    It is in force two days later; until then the old one signs, and may announce once more.
    """
    from chargera.cli.verify import read_trust
    from chargera.proofs.chain_values import parse_address
    from chargera.proofs.trust import parse_trust

    is_address = len(new) == ADDRESS_CHARS and new.startswith("0x")
    signer = parse_address(new, field="new") if is_address else load_key(Path(new)).address
    current = key if key is not None or rpc is not None else data_dir / "keys" / "operator"
    if rpc is None:
        trusted = parse_trust(json.loads(Server(data_dir).file("/deployment.json")))
        told = with_server_chain(
            data_dir, lambda contracts: _announce(contracts, current, trusted.operator_id, signer)
        )
    else:
        operator_id = "" if trust is None else read_trust(trust).operator_id
        told = on_chain(
            rpc, trust, lambda contracts: _announce(contracts, current, operator_id, signer)
        )
    show(told, as_json)


async def _announce(
    contracts: "ChainContracts", key: Path | None, operator_id: str | None, signer: bytes
) -> dict[str, Any]:
    from chargera.ledger.network_contracts import DirectSender
    from chargera.ledger.operator_keys import announce_signer

    sender = DirectSender(contracts, load_key(key))
    return asdict(await announce_signer(contracts, sender, operator_id or "", signer))
