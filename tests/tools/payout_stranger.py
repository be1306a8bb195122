"""Recomputes payouts as a stranger would: from an exported log and the chain, by other code.

    python payout_stranger.py EXPORT deployment.json summary.json RPC

It takes every CDR that the log says is to be settled, asks the chain which of them were, divides
each by the policy's basis points and the passport's commission, and holds what each holder of a
passport must have got against the summary's claims and against balances. Prints one JSON document.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from web3 import Web3

UNITS = 1_000_000
BPS = 10_000


def function(name: str, inputs: list[str], outputs: list[Any]) -> dict[str, Any]:
    return {
        "type": "function",
        "name": name,
        "stateMutability": "view",
        "inputs": [{"name": f"a{n}", "type": kind} for n, kind in enumerate(inputs)],
        "outputs": [{"name": f"r{n}", "type": kind} for n, kind in enumerate(outputs)],
    }


HUB = [function("settledWord", ["bytes8", "address", "uint256"], ["uint256"])]
POLICY = [function("feesOf", ["uint32"], ["uint16", "uint16", "uint16"])]
PASSPORT = [
    function("settlementFacts", ["bytes32"], ["address", "uint16", "uint40", "uint40"]),
    function("ownerOf", ["uint256"], ["address"]),
]
SHARES = [
    function("unreleased", ["uint256"], ["uint256"]),
    function("balanceOf", ["address", "uint256"], ["uint256"]),
    function("totalNotified", ["uint256", "address"], ["uint256"]),
]
CLAIMED = {
    "type": "event",
    "name": "Claimed",
    "anonymous": False,
    "inputs": [
        {"name": "id", "type": "uint256", "indexed": True},
        {"name": "asset", "type": "address", "indexed": True},
        {"name": "holder", "type": "address", "indexed": True},
        {"name": "amount", "type": "uint256", "indexed": False},
    ],
}
ERC20 = [function("balanceOf", ["address"], ["uint256"])]


class Chain:
    """The contracts that the trust file names, by web3.py."""

    def __init__(self, rpc: str, trust: dict[str, Any]) -> None:
        self.web3 = Web3(Web3.HTTPProvider(rpc))
        assert self.web3.eth.chain_id == trust["chain"]["id"], "another chain"
        self.addresses = trust["chain"]["contracts"]

    def read(self, contract: str, abi: list[Any], name: str, *arguments: Any) -> Any:
        address = self.addresses.get(contract, contract)
        found = self.web3.eth.contract(address=address, abi=abi)
        return found.functions[name](*arguments).call()


def holders_part(chain: Chain, cdr: dict[str, Any]) -> int:
    """What of a CDR's net amount belongs to the holders, in units of its asset."""
    terms = cdr["settlement"]
    amount = int(terms["amount"])
    fee, ops, _ = chain.read("NetworkPolicy", POLICY, "feesOf", terms["policy_version"])
    passport = bytes.fromhex(terms["passport_id"][2:])
    _, commission, _, _ = chain.read("ChargerPassport", PASSPORT, "settlementFacts", passport)
    return amount - sum(amount * bps // BPS for bps in (fee, ops, commission))


def is_settled(chain: Chain, operator: bytes, cdr: dict[str, Any]) -> bool:
    terms = cdr["settlement"]
    word, bit = divmod(terms["cdr_no"], 256)
    bits = chain.read("SettlementHub", HUB, "settledWord", operator, terms["asset"], word)
    return bool(bits >> bit & 1)


def paid_out(chain: Chain, claims: list[dict[str, Any]]) -> dict[tuple[str, str, str], int]:
    """What the holders of the summary's passports were paid in all, by passport, asset, holder.

    The summary's claims are among it: the server may have paid more since.
    """
    address = chain.addresses["ChargerShares"]
    shares = chain.web3.eth.contract(address=address, abi=[CLAIMED])
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    known = []
    passports = {claim["passport_id"] for claim in claims}
    for event in shares.events.Claimed().get_logs(from_block=0):
        said = event["args"]
        passport = f"0x{said['id']:064x}"
        known.append((passport, said["asset"], said["holder"], said["amount"]))
        if passport in passports:
            sums[passport, said["asset"], said["holder"]] += said["amount"]
    for claim in claims:
        names = ("passport_id", "asset", "holder", "amount_minor")
        assert tuple(claim[name] for name in names) in known, f"the chain paid no {claim}"
    return sums


def main(export: str, trust_file: str, summary_file: str, rpc: str) -> None:
    trust, summary = (json.loads(Path(name).read_text()) for name in (trust_file, summary_file))
    chain = Chain(rpc, trust)
    operator = trust["operator_id"].encode().ljust(8, b"\0")
    totals: dict[tuple[str, str], int] = defaultdict(int)
    with (Path(export) / "records.jsonl").open() as lines:
        rows = [row for row in map(json.loads, lines) if row["kind"] == "cdr"]
    for row in rows:
        cdr = row["record"]
        if cdr.get("settlement") and is_settled(chain, operator, cdr):
            terms = cdr["settlement"]
            totals[terms["passport_id"], terms["asset"]] += holders_part(chain, cdr)
    claimed = paid_out(chain, summary["claims"])
    for (passport, asset, holder), amount in claimed.items():
        token_id, total = int(passport, 16), totals[passport, asset]
        notified = chain.read("ChargerShares", SHARES, "totalNotified", token_id, asset)
        assert notified == total, f"{passport}: the chain notified {notified}, the log says {total}"
        units = chain.read("ChargerShares", SHARES, "balanceOf", holder, token_id)
        if chain.read("ChargerPassport", PASSPORT, "ownerOf", token_id) == holder:
            units += chain.read("ChargerShares", SHARES, "unreleased", token_id)
        else:  # who has nothing else on this chain
            balance = chain.read(asset, ERC20, "balanceOf", holder)
            assert balance == amount, f"{holder} has {balance}, was paid {amount}"
        owed = units * total // UNITS
        assert owed == amount, f"{holder}: {units} units of {total} are {owed}, paid {amount}"
    holders = {(passport, holder) for passport, _, holder in claimed}
    print(json.dumps({"claims": len(claimed), "holders": len(holders), "cdrs": len(rows)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
