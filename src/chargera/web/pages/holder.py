"""A holder: which passports and units an address has, what is owed to it, and how to be paid.

Whoever sends a claim, the contract pays nobody but the holder: so the page offers it to all.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from chargera.app.chain_pages import Asset, Holder, holder_of
from chargera.app.keeper import HUB, SHARES
from chargera.web.pages.on_chain import ChainVisit, json_page, on_chain, whole_number


@dataclass(frozen=True, slots=True)
class Wallet:
    """What the script needs to send a transaction from a wallet of the browser."""

    chain_id: str
    rpc: str
    shares: str
    hub: str


@on_chain
async def show_holder(chain: ChainVisit) -> Response:
    """Answer `/holder/{address}`."""
    words = await chain.words()
    holder = await _holder(chain, words.assets)
    rows = [await chain.work.passports.by_id(each.passport_id) for each in holder.holdings]
    stations = {row.passport_id: row.station_id for row in rows if row is not None}
    rpc = chain.rpc_url()
    values = {
        "words": words,
        "holder": holder,
        "stations": stations,
        "owed": owed_in_all(holder),
        "next_page": f"?page={holder.page + 1}" if holder.page < holder.pages else None,
        "wallet": Wallet(
            f"{chain.contracts.chain_id:#x}",
            rpc,
            chain.contracts.address(SHARES),
            chain.contracts.address(HUB),
        ),
        "commands": {
            each.passport_id: claim_command(each.passport_id, holder.address, rpc)
            for each in holder.holdings
        },
    }
    return chain.site.page(chain.visit, "holder.html", "passports", values)


@on_chain
async def download_holder(chain: ChainVisit) -> Response:
    """Answer `/holder/{address}.json`: what the page shows."""
    words = await chain.words()
    return json_page(await _holder(chain, words.assets))


def claim_command(passport_id: str, holder: str, rpc: str) -> str:
    """Return the command by which anybody with a key has a holder paid, without this server."""
    return (
        f"chargera settlement claim --passport {passport_id} --holder {holder}"
        f" --rpc {rpc} --trust deployment.json --key my.key"
    )


def owed_in_all(holder: Holder) -> Mapping[str, int]:
    """Return what is owed of the passports of this page, by asset."""
    owed: dict[str, int] = {}
    for holding in holder.holdings:
        for due in holding.due:
            owed[due.asset.address] = owed.get(due.asset.address, 0) + due.amount
    return owed


async def _holder(chain: ChainVisit, assets: Mapping[str, Asset]) -> Holder:
    request = chain.request
    page = whole_number(request.query_params.get("page"))
    return await holder_of(chain.contracts, assets, request.path_params["address"], page or 1)
