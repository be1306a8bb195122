"""`chargera ledger`: what the public ledger costs, whether it is ready, how it is doing."""

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargera.cli.files import write_whole
from chargera.cli.options import DEFAULT_DATA_DIR, AsJson, DataDir, noun
from chargera.cli.output import show
from chargera.domain.errors import Unreadable

if TYPE_CHECKING:
    from chargera.ledger.hedera.cost import Cost

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
