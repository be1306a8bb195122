"""The whole line on the emulator of Hedera, by `make demo-hedera`; read again by another SDK.

Only the profile differs from `make demo`. The demonstration itself ends with what strangers check:
`verify` of each receipt and `audit`, by log, mirror and trust file. Here Hedera's JavaScript SDK
reads topic and contracts beside, and must see what the server sees.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from chargera.bootstrap import Server
from chargera.demo import DemoOptions
from scripts.demo_hedera import play
from tests.doubles.hedera import Emulator
from tests.server import data_folder
from tests.tools import hedera_judge

PATIENCE = 10
"""Looks at most, until nothing has moved between two."""


class Judge:
    """What the JavaScript SDK and the server saw of one moment."""

    def __init__(self) -> None:
        self.messages: list[tuple[Any, ...]] = []
        self.heard: list[tuple[Any, ...]] = []
        self.calls: list[str] = []
        self.answers: list[dict[str, str]] = []

    async def visit(self, emulator: Emulator, server: Server, kept: Path) -> None:
        settling = server.settling
        assert settling is not None
        contracts = settling.contracts
        info = await server.topic.info()
        anchors = await server.anchors.anchors(0, info.sequence_number)
        stood = [anchor.message for anchor in anchors if anchor.message is not None]
        self.messages = [(m.sequence_number, m.message.hex(), m.running_hash.hex()) for m in stood]
        host, wallet = settling.keys.host.address_text, settling.keys.wallet.address_text
        reads = [
            ("C4EToken", "totalSupply", ()),
            ("C4EToken", "balanceOf", (host,)),
            ("C4EToken", "balanceOf", (wallet,)),
            ("TestEuro", "balanceOf", (contracts.address("SettlementHub"),)),
            ("NetworkPolicy", "latest", ()),
        ]
        calls = [
            (contracts.address(name), f"0x{contracts.calldata(name, function, arguments).hex()}")
            for name, function, arguments in reads
        ]

        async def answers() -> list[str]:
            read = [
                await contracts.attempt(name, bytes.fromhex(data[2:]))
                for (name, _, _), (_, data) in zip(reads, calls, strict=True)
            ]
            return [f"0x{answer.hex()}" for answer in read]

        # The keeper pays on: what both shall see must not have moved meanwhile.
        for _ in range(PATIENCE):
            self.calls = await answers()
            read = await asyncio.to_thread(
                hedera_judge.read, emulator, {info.topic_id: info.sequence_number}, calls
            )
            if await answers() == self.calls:
                break
        self.heard = [
            (m["sequence_number"], m["message"], m["running_hash"])
            for m in read["topics"][info.topic_id]["messages"]
        ]
        self.answers = read["calls"]


@pytest.mark.timeout(600)
def test_the_line_on_hedera__two_holders_paid__another_sdk_agrees() -> None:
    judge = Judge()
    with data_folder() as folder:
        summary = folder / "s.json"
        options = DemoOptions(folder / "data", until_settled=True, summary=summary)
        asyncio.run(play(options, judge.visit))
        document = json.loads(summary.read_text())
    assert len(document["sessions"]) == 3
    assert len({claim["holder"] for claim in document["claims"]}) == 2
    assert len(judge.messages) >= 3
    assert judge.heard == judge.messages
    assert [answer["node"] for answer in judge.answers] == judge.calls
    assert [answer["mirror"] for answer in judge.answers] == judge.calls
