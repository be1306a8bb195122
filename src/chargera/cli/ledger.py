"""`chargera ledger`: what the public ledger costs, whether it is ready, how it is doing."""

import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from chargera.cli.files import write_whole
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import note, plain, show
from chargera.domain.errors import Refused, Unavailable, Unreadable

if TYPE_CHECKING:
    from chargera.cli.client import Server
    from chargera.initialising import Installation
    from chargera.ledger.hedera.cost import Cost
    from chargera.ledger.hedera.initialise import Initialisation
    from chargera.ledger.hedera.profiles import Profile
    from chargera.ledger.hedera.signer import Signer
    from chargera.settings import Settings

T = TypeVar("T")

app = noun("ledger", "The public ledger: its cost, its set-up, its state.")


@app.command()
def cost(
    sessions_per_day: Annotated[
        str, typer.Option("--sessions-per-day", help="Of one charger, such as 3 or 0.5.")
    ],
    chargers: Annotated[int, typer.Option("--chargers", help="Chargers of the network.")] = 100,
    period: Annotated[str, typer.Option("--period", help="day, week, month or year.")] = "month",
    paid_by: Annotated[
        str, typer.Option("--paid-by", help="How drivers pay: fiat, wallet-euro or wallet-c4e.")
    ] = "fiat",
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Write a page for 10 to 100,000 chargers into this file."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Say what anchoring and settling on Hedera cost, from measured gas and dated fees.

    The policy is the one that contracts begin with: an anchor an hour, or after 256 sessions.
    """
    from dataclasses import replace

    from chargera.ledger.evm.deployment import DEFAULT_POLICY
    from chargera.ledger.hedera.cost import SIZES, Load, PaidBy, Period, page
    from chargera.ledger.hedera.cost import cost as estimate
    from chargera.settings import Settings

    load = Load(
        chargers,
        _number(sessions_per_day, "sessions_per_day"),
        Period(_choice(period, "period", tuple(Period))),
        PaidBy(_choice(paid_by, "paid_by", tuple(PaidBy))),
    )
    origin = Settings().log_origin
    if table is not None:
        costs = [estimate(replace(load, chargers=n), DEFAULT_POLICY, origin) for n in SIZES]
        write_whole(table, [page(costs).encode()])
    found = estimate(load, DEFAULT_POLICY, origin)
    show(found.as_dict(), as_json, _cost_text(found))


@app.command()
def init(
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this only the plan.")] = False,
    confirm: Annotated[
        str | None, typer.Option("--confirm", help="The network's name, where it is real money.")
    ] = None,
    next_key: Annotated[
        str | None,
        typer.Option("--next-key", help="Public key, 66 hex digits: the next that submits."),
    ] = None,
    cold_key: Annotated[
        str | None,
        typer.Option("--cold-key", help="Public key, 66 hex digits: kept away from all machines."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Make topic, accounts and contracts on Hedera: first what it costs, with --yes all of it.

    It may be run again at any time: what is done is found, and it goes on where it stopped.
    """
    wanted = (_public_key(next_key, "next_key"), _public_key(cold_key, "cold_key"))
    document = asyncio.run(_init(data_dir, yes, confirm, *wanted))
    show(document, as_json, _init_text(document))


async def _init(
    data_dir: Path, yes: bool, confirm: str | None, next_key: bytes | None, cold_key: bytes | None
) -> dict[str, Any]:
    from chargera import settings
    from chargera.initialising import check_operator, initialisation, open_installation
    from chargera.ledger.hedera.amounts import hbar_text
    from chargera.ledger.hedera.fees import usd_text
    from chargera.ledger.hedera.initialise import total_usd_e10

    async with open_installation(data_dir, settings.load(data_dir, os.environ)) as it:
        await check_operator(it)
        begun = initialisation(it, next_key=next_key, cold_key=cold_key)
        outlines = await begun.outline()
        left = total_usd_e10(outlines)
        rate = await it.hedera.chain.mirror.exchange_rate()
        balance = await it.hedera.client.balance(it.hedera.client.payer_account_id)
        needed = rate.tinybar(left + begun.reserve_usd_e10()) if left else 0
        document: dict[str, Any] = {
            "network": str(it.profile.name),
            "operator_account": it.hedera.client.payer_account_id,
            "steps": [
                {"step": o.name, "usd": usd_text(o.usd_e10, 4), "found": o.found} for o in outlines
            ],
            "left_usd": usd_text(left, 4),
            "needed_hbar": hbar_text(needed),
            "balance_hbar": hbar_text(balance),
            "done": all(outline.found is not None for outline in outlines),
        }
        if yes and not document["done"]:
            _confirm(it.profile, confirm)
            if balance < needed:
                raise Refused(
                    f"the account {document['operator_account']} has {hbar_text(balance)} HBAR,"
                    f" {hbar_text(needed)} are needed",
                    field="hedera.operator_account",
                    remedy="transfer HBAR to it; what is not used stays there",
                )
            await begun.carry_out(lambda name, result: note(f"{name}: {result}"))
            after = await it.hedera.client.balance(it.hedera.client.payer_account_id)
            document |= {"done": True, "paid_hbar": hbar_text(balance - after)}
        return document | await _made(begun)


async def _made(begun: "Initialisation") -> dict[str, Any]:
    records = begun.records
    contracts = await records.contracts()
    return {
        "topic_id": await records.topic_id(),
        "contracts": None if contracts is None else dict(contracts),
    }


def _confirm(profile: "Profile", given: str | None) -> None:
    """Have a person type the network's name where the money is real. Raises Refused."""
    if not profile.is_real_money:
        return
    name = str(profile.name)
    if given is None and sys.stdin.isatty():
        given = typer.prompt(f"This spends real money. Type {name} to go on", err=True)
    if given != name:
        raise Refused(
            f"nothing was done: {name} costs real money and nobody confirmed it",
            field="confirm",
            remedy=f"type its name when asked, or pass --confirm {name}",
        )


def _init_text(document: dict[str, Any]) -> str:
    from chargera.cli.output import table

    payer = f"{document['operator_account']} ({document['balance_hbar']} HBAR)"
    title = f"network {document['network']}, paid by {payer}"
    steps = table(document["steps"], ["step", "usd", "found"])
    left = (
        f"still to pay: about ${document['left_usd']}; the account needs"
        f" {document['needed_hbar']} HBAR, and what is not used comes back"
    )
    if document["done"]:
        return f"{title}\nall is done; topic {document['topic_id']}. Next: chargera serve"
    return f"{title}\n{steps}\n{left}\nnothing was done; go on with --yes"


def _public_key(text: str | None, field: str) -> bytes | None:
    from chargera.ledger.hedera.signer import uncompressed
    from chargera.proofs.chain_values import parse_hex

    if text is None:
        return None
    key = parse_hex(f"0x{text.lower().removeprefix('0x')}", field=field)
    uncompressed(key)
    return key


@app.command()
def status(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Show how far anchoring is behind, the last anchor, the money left and how long it lasts.

    With a server or without one; what only the server knows is then null.
    """
    document = asyncio.run(_status(data_dir))
    show(document, as_json, plain(document))
    for warning in document["warnings"]:
        note(f"warning: {warning}")


async def _status(data_dir: Path) -> dict[str, Any]:
    from chargera import settings
    from chargera.app.clock import wall_clock
    from chargera.ledger.hedera.mirror import HederaMirror
    from chargera.ledger.hedera.status import read_status
    from chargera.ledgers import profile_of

    configured = settings.load(data_dir, os.environ)
    profile = profile_of(configured)
    document: dict[str, Any] = {"network": str(profile.name), "warnings": []}
    served = _served(data_dir)
    document |= await _anchoring(served)
    account = configured.hedera.operator_account
    if not profile.is_hedera or account is None:
        return document
    async with HederaMirror.connected(profile.mirrors) as mirror:
        topic_id = await _topic_id(data_dir, configured, served)
        found = await read_status(mirror, account, topic_id, wall_clock())
    document |= found.as_dict()
    document["warnings"] += found.warnings(configured.hedera.days_left_min)
    return document


@app.command("rotate-operator-key")
def rotate_operator_key(
    key: Annotated[
        Path | None, typer.Option("--key", help="File of the new key: 0x and 64 hex digits.")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option("--command", help="Command that signs with the new key, for a KMS or HSM."),
    ] = None,
    public_key: Annotated[
        str | None, typer.Option("--public-key", help="Its public key, 66 hex digits.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Give the account that pays another key; old and new sign. Then configure the new one.

    May be repeated: with the old key configured, or already with the new one.
    """
    from chargera.rotating import rotate_operator

    signer = _new_signer(key, command, _public_key(public_key, "public_key"))
    result = asyncio.run(_on_folder(data_dir, lambda it: rotate_operator(it, signer)))
    note("configure the new key before the next start: settings hedera.operator_*")
    show({"public_key": signer.public_key.hex(), "result": result}, as_json)


def _new_signer(key: Path | None, command: str | None, public_key: bytes | None) -> "Signer":
    """Return who signs with the new key. Raises Unreadable unless it is one of the two kinds."""
    from chargera.ledger.hedera.signer import CommandSigner, FileSigner

    if key is not None and command is None and public_key is None:
        return FileSigner(key)
    if key is None and command is not None and public_key is not None:
        return CommandSigner(shlex.split(command), public_key)
    raise Unreadable(
        "which key is the new one?",
        field="key",
        remedy="give --key FILE, or --command and --public-key",
    )


@app.command("rotate-submit-key")
def rotate_submit_key(
    key: Annotated[Path, typer.Option("--key", help="File of the topic's next or cold key.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Submit with another of the topic's keys. A stolen one still submits: then `rotate-topic`."""
    from chargera.rotating import rotate_submit_key as rotate

    public_key = asyncio.run(_on_folder(data_dir, lambda it: rotate(it, key)))
    show({"public_key": public_key}, as_json)


@app.command("rotate-topic")
def rotate_topic(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> None:
    """Go to a new topic with new keys; say so in the log, on the old topic and in the registry.

    Runs again after whatever stopped it. Afterwards hand out the new trust file.
    """

    async def rotate(it: "Installation") -> dict[str, Any]:
        from chargera.rotating import rotate_topic

        change = await rotate_topic(it, lambda name, result: note(f"{name}: {result}"))
        return {"topic_id": change.topic_id, "from_size": change.from_size}

    show(asyncio.run(_on_folder(data_dir, rotate)), as_json)


async def _on_folder(data_dir: Path, use: "Callable[[Installation], Awaitable[T]]") -> T:
    from chargera import settings
    from chargera.initialising import open_installation

    async with open_installation(data_dir, settings.load(data_dir, os.environ)) as it:
        return await use(it)


def _served(data_dir: Path) -> "Server | None":
    """Return the running server of a data folder, None where none runs."""
    from chargera.cli.client import Server

    try:
        server = Server(data_dir)
        server.get("/whoami")
    except Unavailable:
        return None
    return server


async def _anchoring(server: "Server | None") -> dict[str, Any]:
    """Return what the server says of its heads, and the policy that it anchors by."""
    if server is None:
        return {"server": None, "lag_s": None, "last_anchor": None, "policy": None}
    anchors = server.rows("/anchors", 1, "before")
    lag = _gauge(server.file("/metrics").decode(), "chargera_anchor_lag_seconds")
    return {
        "server": server.url,
        "lag_s": lag,
        "last_anchor": anchors[0] if anchors else None,
        "policy": await _policy(server),
    }


async def _policy(server: "Server") -> dict[str, Any] | None:
    """Return the anchoring policy that the chain says is in force, and what it means."""
    from chargera.app.clock import wall_clock
    from chargera.domain.policy import version_at
    from chargera.ledger.anchoring import CONSENSUS
    from chargera.ledger.chain_reads import read_policies
    from chargera.ledger.network_contracts import trusted_contracts
    from chargera.proofs.trust import parse_trust

    trusted = parse_trust(json.loads(server.file("/deployment.json")))
    if trusted.chain is None:
        return None
    async with trusted_contracts(trusted.chain) as contracts:
        versions = await read_policies(contracts)
    version = version_at(versions, int(wall_clock().timestamp())) or versions[-1]
    terms = version.parameters
    return {
        "version": version.number,
        "anchor_interval_s": terms.anchor_interval_s,
        "anchor_sessions": terms.anchor_sessions,
        "tamper_window_s": terms.anchor_interval_s + int(CONSENSUS.total_seconds()),
    }


async def _topic_id(data_dir: Path, configured: "Settings", server: "Server | None") -> str:
    """Return the present topic, from the server or from the data folder."""
    from chargera.initialising import InstalledRecords, open_installation
    from chargera.proofs.trust import parse_trust

    if server is not None:
        trusted = parse_trust(json.loads(server.file("/deployment.json")))
        if trusted.topics:
            return max(trusted.topics, key=lambda topic: topic.from_size).topic_id
    async with open_installation(data_dir, configured) as it:
        topic_id = await InstalledRecords(it).topic_id()
    if topic_id is None:
        raise Refused("there is no topic yet", remedy="run `chargera ledger init`")
    return topic_id


def _gauge(text: str, name: str) -> float | None:
    """Return the value of a gauge in the text of `/metrics`."""
    found = re.search(rf"^{name} ([0-9.e+-]+)$", text, re.MULTILINE)
    return None if found is None else float(found[1])


def _cost_text(found: "Cost") -> str:
    from chargera.cli.output import table

    document = found.as_dict()
    columns = ["name", "count", "gas", "bytes", "usd_each", "usd", "usd_per_charger"]
    once = ["name", "gas", "usd_each"]
    title = (
        f"{document['chargers']} chargers, {document['sessions_per_day']} sessions a day each,"
        f" a {document['period']} of {document['period_hours']} hours;"
        f" fees as of {document['fees_as_of']}"
    )
    total = f"all: ${document['total_usd']}, a charger: ${document['total_usd_per_charger']}"
    lines = table(document["lines"], columns)
    after = table(document["once"], once)
    return f"{title}\n\n{lines}\n{total}\n\nonce, the last two for the network:\n{after}"


def _number(text: str, field: str) -> Fraction:
    try:
        return Fraction(Decimal(text))
    except (InvalidOperation, ValueError, OverflowError):
        raise Unreadable(
            f"'{text}' is no number", field=field, remedy="write it as 3 or 0.5"
        ) from None


def _choice(text: str, field: str, known: tuple[str, ...]) -> str:
    if text in known:
        return text
    raise Unreadable(f"'{text}' is none of {', '.join(known)}", field=field)
