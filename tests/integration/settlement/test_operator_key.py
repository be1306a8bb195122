"""An operator's key, replaced by itself: announced, in force two days later, by nobody else."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chargera import cli
from chargera.domain.errors import Conflict, NotFound, Refused
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.network_contracts import DirectSender
from chargera.ledger.operator_keys import REGISTRY, announce_signer
from chargera.proofs.chain_values import operator_word
from tests.integration.settlement.net import Net, open_net

OPERATOR = "NL*C4E"
TWO_DAYS_S = 172_800


@pytest.fixture
async def net(database_url: str, tmp_path: Path) -> AsyncIterator[Net]:
    async with open_net(database_url, tmp_path) as net:
        yield net


async def signer_of(net: Net) -> Any:
    return await net.contracts.read(REGISTRY, "operatorOf", operator_word(OPERATOR))


async def test_operator_key__announced_by_the_key_in_force__takes_its_place(
    net: Net, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await signer_of(net)
    new = ChainKey.open(tmp_path / "new-operator", secrets.token_bytes)
    code = await asyncio.to_thread(
        cli.run,
        [
            *("settlement", "operator-key", "--new", str(tmp_path / "new-operator")),
            *("--data-dir", str(net.server.options.data_dir), "--json"),
        ],
    )
    told = json.loads(capsys.readouterr().out)
    assert (code, told["signer"], told["before"]) == (0, new.address_text, before.signer)
    assert (told["operator_id"], told["notice_s"]) == (OPERATOR, TWO_DAYS_S)
    await net.advance(TWO_DAYS_S - 60)
    assert (await signer_of(net)).signer == before.signer
    await net.advance(120)
    now = await signer_of(net)
    assert now.signer == new.address_text
    assert (now.logKey, now.topic) == (before.logKey, before.topic)
    # From now on the old key announces nothing, and the new one does.
    old = ChainKey.load(net.server.options.data_dir / "keys" / "operator")
    with pytest.raises(Refused, match="NotOperator"):
        await announce_signer(
            net.contracts, DirectSender(net.contracts, old), OPERATOR, bytes(19) + b"1"
        )
    again = await announce_signer(
        net.contracts, DirectSender(net.contracts, new), OPERATOR, old.address
    )
    assert again.before == new.address_text


async def test_operator_key__of_nobody_or_the_same__refused(net: Net, tmp_path: Path) -> None:
    key = ChainKey.load(net.server.options.data_dir / "keys" / "operator")
    sender = DirectSender(net.contracts, key)
    with pytest.raises(Conflict):
        await announce_signer(net.contracts, sender, OPERATOR, key.address)
    with pytest.raises(NotFound):
        await announce_signer(net.contracts, sender, "DE*XYZ", key.address)
    stranger = ChainKey.open(tmp_path / "stranger", secrets.token_bytes)
    with pytest.raises(Refused, match="NotOperator"):
        await announce_signer(
            net.contracts, DirectSender(net.contracts, stranger), OPERATOR, stranger.address
        )
