"""`chargera ledger`: what the public ledger costs, whether it is ready, how it is doing."""

import os
import sys
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargera.cli.files import write_whole
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import note, show
from chargera.domain.errors import Refused, Unreadable

if TYPE_CHECKING:
    from chargera.ledger.hedera.cost import Cost
    from chargera.ledger.hedera.initialise import Initialisation
    from chargera.ledger.hedera.profiles import Profile

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
    import asyncio

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
