"""`chargera passport`: the digital passports of chargers; their custody is in `cli.custody`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from chargera.cli import custody
from chargera.cli.chain_access import KeyFile, Rpc, TrustFile, load_key, on_chain
from chargera.cli.client import Server
from chargera.cli.files import read_bytes, write_whole
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import show, table
from chargera.domain.errors import ChargEraError, InvalidInput, Refused, Unreadable

if TYPE_CHECKING:
    from chargera.ledger.chain_key import ChainKey
    from chargera.proofs.passport_file import ChainPassport

app = noun("passport", "Passports of chargers.")

Passport = Annotated[str, typer.Argument(metavar="PASSPORT", help="Passport id or station id.")]
CONSENT_FORMAT = "chargera.consent/1"


@app.command("list")
def list_(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """List registrations, newest first."""
    rows = Server(data_dir).get("/passports")
    show(rows, as_json, table(rows, ["station_id", "registration", "waits_for", "passport_id"]))


@app.command("show")
def show_(
    passport: Passport, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> None:
    """Show a passport; of a pending one what it waits for."""
    show(Server(data_dir).get(_path(passport)), as_json)


@app.command()
def location(
    passport: Passport, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> None:
    """Show the passport's metadata as an OCPI 2.2.1 Location."""
    show(Server(data_dir).get(f"{_path(passport)}/location"), as_json)


@app.command()
def export(
    passport: Passport,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Write everything by which a stranger recomputes the passport."""
    from chargera.proofs import canonical

    document = Server(data_dir).get(f"{_path(passport)}/export")
    size = write_whole(output, [canonical.encode(document)])
    answer = {"passport_id": document["passport_id"], "file": str(output), "bytes": size}
    show(answer, as_json, f"wrote {output} ({size} bytes)")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="The file that `passport export` wrote.")],
    trust: TrustFile = None,
    rpc: Rpc = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Recompute a passport from its file, without any server; exits as `verify`."""
    from chargera.cli.verify import read_trust, steps_text
    from chargera.proofs.passport_file import PASSPORT_FILE_BYTES_MAX, verify_passport_file

    data = read_bytes(file, PASSPORT_FILE_BYTES_MAX + 1)
    answer = None if rpc is None else _chain_answer(rpc.removeprefix("mirror:"), trust, data)
    verdict = verify_passport_file(data, None if trust is None else read_trust(trust), answer)
    document = verdict.as_dict()
    show(document, as_json, steps_text(document))
    raise typer.Exit(verdict.exit_code)


def _chain_answer(rpc: str, trust: Path | None, data: bytes) -> "ChainPassport | None":
    """Ask the chain about the passport of a file; None for a file that is none."""
    from chargera.ledger.chain_reads import read_chain_passport
    from chargera.proofs.passport_file import ChainPassport, parse_passport_file

    try:
        passport = parse_passport_file(data).passport_id
    except (ChargEraError, RecursionError):
        return None  # `verify_passport_file` says what is wrong with it
    try:
        return on_chain(rpc, trust, lambda c: read_chain_passport(c, rpc, passport))
    except ChargEraError as error:  # silence, another chain, or no trust file that names one
        return ChainPassport(rpc, None, fault=error.message)


def _path(passport: str) -> str:
    return f"/passports/{quote(passport, safe='')}"


# The host's consent -----------------------------------------------------------------------------


def owner_of(host_key: Path | None, consent: Path | None) -> dict[str, Any] | None:
    """Return whose charger a station is to be registered as: by his key, or by his consent.

    Raises Unreadable.
    """
    if host_key is not None and consent is not None:
        raise Unreadable(
            "--host-key and --consent exclude each other", field="consent", remedy="give one"
        )
    if host_key is not None:
        return {"address": load_key(host_key).address_text}
    if consent is None:
        return None
    try:
        document = json.loads(read_bytes(consent))
        if document.pop("format") != CONSENT_FORMAT:
            raise KeyError("format")
        return {
            "address": document["host"],
            "commission_bps": document["commission_bps"],
            "consent": document["signature"],
            "nonce": document["nonce"],
        }
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Unreadable(
            f"{consent} is no {CONSENT_FORMAT} document: {error}",
            field="consent",
            remedy="let the host make it: chargera passport consent",
        ) from error


def sign_consent(registered: dict[str, Any], asked: dict[str, Any], key: "ChainKey") -> str | None:
    """Return the host's signature of a registration's consent; None where none is asked for.

    The digest is made again here from what was asked for, so that nothing else is signed.
    """
    from chargera.proofs.chain_values import hex_text, parse_address, parse_hex
    from chargera.proofs.passport import (
        consent_digest,
        parse_metadata,
        passport_domain,
        request_of,
    )

    consent = registered["consent"]
    if consent is None:
        return None
    metadata = parse_metadata(registered["metadata"])
    for name in ("station_id", "manufacturer", "model", "serial_number"):
        if getattr(metadata, name) != asked[name].strip():
            raise Refused(f"the server asks the host to sign another {name}", field=name)
    request = request_of(
        metadata,
        host=key.address,
        commission_bps=consent["commission_bps"],
        meter_key_hash=parse_hex(consent["meter_key_hash"], 32, field="meter_key_hash"),
        station_key_hash=parse_hex(consent["station_key_hash"], 32, field="station_key_hash"),
        nonce=parse_hex(consent["nonce"], 32, field="nonce"),
        topic=bytes(20),
        sequence_number=0,
        log_index=0,
    )
    contract = parse_address(consent["contract"], field="contract")
    digest = consent_digest(request, passport_domain(consent["chain_id"], contract))
    if hex_text(digest) != consent["digest"]:
        raise InvalidInput("the server asks the host to sign another consent", field="consent")
    return hex_text(key.sign(digest))


@app.command()
def consent(
    passport: Passport,
    key: KeyFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Sign the consent that a pending registration waits for, with the host's key, here."""
    server, signing = Server(data_dir), load_key(key)
    view = server.get(_path(passport))
    signature = sign_consent(view, view["metadata"], signing)
    if signature is not None:
        path = f"/passports/{quote(view['station_id'], safe='')}/consent"
        view = server.post(path, {"signature": signature})
    show({"passport_id": view["passport_id"], "registration": view["registration"]}, as_json)


for _name, _command in custody.COMMANDS.items():
    app.command(_name)(_command)
