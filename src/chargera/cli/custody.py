"""`chargera passport meter`, `move`, `retire`, ...: what happens to a charger, host included."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from chargera.cli.chain_access import KeyFile, load_key, with_server_chain
from chargera.cli.client import Server
from chargera.cli.files import key_text
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir
from chargera.cli.output import note as tell
from chargera.cli.output import show, table
from chargera.domain.errors import NotFound, Refused, Unavailable

if TYPE_CHECKING:
    from chargera.ledger.chain_key import ChainKey
    from chargera.ledger.network_contracts import ChainContracts

Passport = Annotated[str, typer.Argument(metavar="PASSPORT", help="Passport id or station id.")]
Note = Annotated[str, typer.Option("--note", help="What was done, for people; it is public.")]
HostKey = Annotated[
    Path | None,
    typer.Option("--host-key", help="Key file of its host, who agrees at once; it stays here."),
]

COLUMNS = ("number", "kind", "says", "step", "waits_for", "recorded_at", "log_index")
OVER = ("recorded", "refused")
"""Steps from which a record goes nowhere."""
ANCHOR_S = 60.0
POLL_S = 0.5


def custody(
    passport: Passport, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> None:
    """List what has happened to a charger since its registration."""
    rows = Server(data_dir).get(f"{_path(passport)}/custody")
    show(rows, as_json, table(rows, COLUMNS))


def meter(
    passport: Passport,
    meter_key: Annotated[
        Path | None,
        typer.Option("--meter-key", help="Public key of the new meter; without: it signs nothing."),
    ] = None,
    note: Note = "",
    host_key: HostKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Record that its meter was exchanged; a signing one must then show itself in a session."""
    from chargera.proofs.meter_key import load_meter_key
    from chargera.proofs.passport import key_hash

    text = None if meter_key is None else key_text(meter_key)
    value = key_hash(None if text is None else load_meter_key(text).canonical_der_hex)
    body = {"kind": "meter", "meter_key": text, "note": note}
    _ask(passport, body, value, host_key, data_dir, as_json)


def move(
    passport: Passport,
    lat: Annotated[str, typer.Option("--lat", help="Latitude in decimal degrees.")],
    lon: Annotated[str, typer.Option("--lon", help="Longitude in decimal degrees.")],
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="IANA name, if it is another one there.")
    ] = None,
    note: Note = "",
    host_key: HostKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Record that it stands at another place."""
    from chargera.domain.passport import CustodyKind, degrees_e7
    from chargera.domain.station import check_coordinate
    from chargera.proofs.passport import custody_value

    latitude = check_coordinate(lat, field="latitude", limit=90)
    longitude = check_coordinate(lon, field="longitude", limit=180)
    place = (degrees_e7(latitude), degrees_e7(longitude))
    body = {
        "kind": "location",
        "latitude": latitude,
        "longitude": longitude,
        "time_zone": time_zone,
        "note": note,
    }
    value = custody_value(CustodyKind.LOCATION, place)
    _ask(passport, body, value, host_key, data_dir, as_json)


def transfer_owner(
    passport: Passport,
    to: Annotated[str, typer.Option("--to", help="Address of the new host.")],
    note: Note = "",
    host_key: HostKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Record that it has another host, who gets the commission and signs from then on.

    Who owns the NFT and its units is another matter: its owner transfers it on chain.
    """
    from chargera.domain.passport import CustodyKind
    from chargera.proofs.chain_values import parse_address
    from chargera.proofs.passport import custody_value

    value = custody_value(CustodyKind.OWNER, parse_address(to, field="host"))
    body = {"kind": "owner", "host": to, "note": note}
    _ask(passport, body, value, host_key, data_dir, as_json)


def transfer_operator(
    passport: Passport,
    to: Annotated[str, typer.Option("--to", help="The new operator's id, such as NL*ABC.")],
    note: Note = "",
    host_key: HostKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Record that another operator runs it: from then on it earns nothing here."""
    from chargera.domain.passport import CustodyKind
    from chargera.proofs.passport import custody_value

    value = custody_value(CustodyKind.OPERATOR, to)
    body = {"kind": "operator", "operator_id": to, "note": note}
    _ask(passport, body, value, host_key, data_dir, as_json)


def repair(
    passport: Passport,
    note: Annotated[str, typer.Option("--note", help="What was repaired; it is public.")],
    host_key: HostKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Record a repair."""
    _ask(passport, {"kind": "repair", "note": note}, bytes(32), host_key, data_dir, as_json)


def firmware(
    passport: Passport,
    note: Annotated[str, typer.Option("--note", help="Which version it has now; it is public.")],
    host_key: HostKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Record new firmware."""
    _ask(passport, {"kind": "firmware", "note": note}, bytes(32), host_key, data_dir, as_json)


def retire(
    passport: Passport,
    note: Note = "",
    host_key: HostKey = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Retire it for ever: sessions that end later earn nothing. Bills from before are paid."""
    _ask(passport, {"kind": "retirement", "note": note}, bytes(32), host_key, data_dir, as_json)


def sign(
    passport: Passport,
    key: KeyFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Agree to the custody record under way, with the host's key, here.

    A retirement is sent to the chain from the host's account.
    """
    server, signing = Server(data_dir), load_key(key)
    waiting = [row for row in _rows(server, passport) if row["step"] not in OVER]
    if not waiting:
        raise NotFound(
            "no custody record is under way",
            field="passport_id",
            remedy=f"look at what there is: chargera passport custody {passport}",
        )
    show(_signed(server, passport, waiting[0], signing, data_dir), as_json)


def withdraw(
    passport: Passport, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> None:
    """Give up the custody record under way, unless all have signed it."""
    server = Server(data_dir)
    show(server.delete(f"{_station_path(server, passport)}/custody"), as_json)


COMMANDS: Mapping[str, Callable[..., None]] = {
    "custody": custody,
    "meter": meter,
    "move": move,
    "transfer-owner": transfer_owner,
    "transfer-operator": transfer_operator,
    "repair": repair,
    "firmware": firmware,
    "retire": retire,
    "sign": sign,
    "withdraw": withdraw,
}
"""The commands by their names below `passport`."""


def _ask(
    passport: str,
    body: dict[str, Any],
    value: bytes,
    host_key: Path | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Begin a custody record, and have the host agree to it if his key is here."""
    server = Server(data_dir)
    signing = None if host_key is None else load_key(host_key)
    asked = server.post(f"{_station_path(server, passport)}/custody", body)
    if (asked["kind"], asked["value"]) != (body["kind"], f"0x{value.hex()}"):
        raise Refused("the server logged another record than was asked for", field="value")
    if signing is not None:
        asked = _signed(server, passport, asked, signing, data_dir)
    show(asked, as_json)
    if asked["id_token"] is not None and asked["step"] == "reading":
        tell(
            f"Now charge once with the IdToken {asked['id_token']}: the new meter's signature of"
            " it shows that it is the one."
        )


def _signed(
    server: Server, passport: str, row: dict[str, Any], key: "ChainKey", data_dir: Path
) -> dict[str, Any]:
    """Return a record after its host has agreed to it."""
    digest = _checked_digest(row)
    if row["kind"] == "retirement":
        return _retired(server, passport, row, key, data_dir)
    path = f"{_station_path(server, passport)}/custody/signature"
    answer: dict[str, Any] = server.post(path, {"signature": f"0x{key.sign(digest).hex()}"})
    return answer


def _checked_digest(row: dict[str, Any]) -> bytes:
    """Return what the host signs, made again here from the record, so that it is nothing else."""
    from chargera.domain.passport import CustodyKind
    from chargera.proofs.chain_values import hex_text, parse_address, parse_hex
    from chargera.proofs.passport import custody_digest, passport_domain
    from chargera.proofs.records import custody_record_digest

    record = row["record"]
    for name in ("kind", "number", "passport_id", "station_id", "value"):
        if record[name] != row[name]:
            raise Refused(f"the server asks the host to sign another {name}", field=name)
    contract = parse_address(row["contract"], field="contract")
    digest = custody_digest(
        parse_hex(row["passport_id"], 32, field="passport_id"),
        row["number"],
        CustodyKind(row["kind"]),
        custody_record_digest(record),
        row["log_index"],
        parse_hex(row["value"], 32, field="value"),
        domain=passport_domain(row["chain_id"], contract),
    )
    if hex_text(digest) != row["digest"]:
        raise Refused("the server asks the host to sign another record", field="digest")
    return digest


def _retired(
    server: Server, passport: str, row: dict[str, Any], key: "ChainKey", data_dir: Path
) -> dict[str, Any]:
    """Send a retirement from its host's account once its entry is anchored."""
    from chargera.proofs.chain_values import parse_hex
    from chargera.proofs.records import custody_record_digest

    deadline = time.monotonic() + ANCHOR_S
    while (row := _same(_rows(server, passport), row))["step"] not in ("transaction", *OVER):
        if time.monotonic() > deadline:
            raise Unavailable(
                "its entry is not anchored yet",
                field="passport_id",
                remedy=f"sign later: chargera passport sign {passport} --key FILE",
            )
        time.sleep(POLL_S)
    token_id = parse_hex(row["passport_id"], 32, field="passport_id")
    arguments = (token_id, custody_record_digest(row["record"]), row["log_index"])

    async def use(contracts: "ChainContracts") -> str:
        from chargera.ledger.network_contracts import DirectSender

        return await DirectSender(contracts, key).send("", "ChargerPassport", "retire", *arguments)

    if row["step"] == "transaction":
        row = row | {"transaction_hash": with_server_chain(data_dir, use)}
    return row


def _same(rows: Sequence[dict[str, Any]], row: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in rows if each["log_index"] == row["log_index"])


def _rows(server: Server, passport: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = server.get(f"{_path(passport)}/custody")
    return rows


def _path(passport: str) -> str:
    return f"/passports/{quote(passport, safe='')}"


def _station_path(server: Server, passport: str) -> str:
    """Return the path by the station's id, which changes are asked for by."""
    return _path(server.get(_path(passport))["station_id"])
