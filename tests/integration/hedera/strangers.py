"""Strangers, who have files, mirrors and commands, and nothing else."""

import asyncio
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from chargera import cli
from tests.integration.hedera.settlement_rig import SettlingSite


class Stranger:
    """Who has files, the mirrors, and the commands."""

    def __init__(self, site: SettlingSite, folder: Path) -> None:
        self.site = site
        self.folder = folder
        mirrors = [f"mirror:{url}" for url in site.emulator.mirror_urls]
        self.anchors = [word for mirror in mirrors for word in ("--anchors", mirror)]
        self.rpc = ["--rpc", mirrors[0]]
        self.said = ""

    async def run(self, *words: str) -> tuple[int, Any]:
        said = io.StringIO()

        def command() -> int:
            with redirect_stdout(said):
                return cli.run([*words, "--json"])

        code = await asyncio.to_thread(command)
        self.said = said.getvalue()
        return code, json.loads(self.said)

    async def trust(self, name: str) -> Path:
        """Save the trust file that the server gives now."""
        path = self.folder / name
        path.write_text(json.dumps(await self.site.net.server.trust_document()))
        return path

    async def receipt(self, session_id: str, name: str) -> Path:
        path = self.folder / name
        path.write_bytes(await self.site.net.server.receipt(session_id))
        return path

    async def verify(self, receipt: Path, trust: Path) -> tuple[int, str | None]:
        sources = ["--trust", str(trust), *self.anchors, *self.rpc]
        code, document = await self.run("verify", str(receipt), *sources)
        return code, document["failed_step"]

    async def audit(self, trust: Path) -> dict[str, str]:
        log = f"{self.site.net.server.http_url}/log"
        sources = ["--log", log, "--trust", str(trust), *self.anchors, *self.rpc]
        _, document = await self.run("audit", *sources)
        return {each["id"]: each["status"] for each in document["promises"]}
