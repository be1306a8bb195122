"""The wiring of settlement: contracts, the keeper and its attesters, of one server."""

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from chargera.app import logins
from chargera.app.chain_ports import Chain
from chargera.app.clock import NetworkClock
from chargera.app.commands import CommandRequest, StationControl
from chargera.app.custody import CustodyRecords, CustodyStep, custody_proofs
from chargera.app.custody_requests import require_earning
from chargera.app.host_returns import HostReturns
from chargera.app.keeper import Keeper, KeeperHealth
from chargera.app.passport_files import build_passport_file
from chargera.app.passports import PassportRow, Registrations
from chargera.app.payments import OpenedSession, OpenRequest, Payments
from chargera.app.permissions import Action, Caller, Role
from chargera.app.ports import Entropy
from chargera.app.settlement import BatchPolicy, BatchStage, Settlement
from chargera.app.settlement_ports import NetworkTerms
from chargera.app.settlement_views import SHOWN, BatchView, ClaimView, batch_view, claim_view
from chargera.deploying import (
    ATTESTERS,
    DeployingParts,
    Keys,
    attester_folder,
    deploy_contracts,
    deployed,
)
from chargera.domain.errors import ChargEraError, NotFound, Refused
from chargera.ledger.anchoring import AnchorPolicy
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.chain_reads import read_policies
from chargera.ledger.network_contracts import ChainContracts, StoredSender
from chargera.ledger.test_gateway import TestGateway
from chargera.proofs.batch_file import (
    AttesterSignature,
    BatchFile,
    encode_batch_file,
    parse_batch,
)
from chargera.proofs.chain_values import (
    parse_address,
    parse_hex,
)
from chargera.proofs.tlog_proof import parse_tlog_proof
from chargera.proofs.trust import TrustedAttester, TrustedChain
from chargera.settings import Settings
from chargera.store.sends import PostgresSends
from chargera.store.unit_of_work import Database
from chargera.web.api.context import SettlementServices
from chargera.web.pages.services import PageSettlement

ATTESTERS_RUN = 3
"""Of the four that are admitted at the beginning, `serve` runs three; the fourth is for others."""

QUIET_S = 60.0
"""Real time that whoever closes or advances waits for attesters at most."""
POLL_S = 0.1
STOP_S = 3.0
POLICY_POLL_S = 60.0
"""Real time between two looks for a new version of the policy, which is announced days before."""
READING_S = 2.0
READING_POLLS = 5
READING_PAUSE_S = 30.0
"""Between two tries to have a meter show itself."""

THIS_SERVER = Caller(None, "this server", Role.OPERATOR)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SettlingParts:
    """What the server lends to settlement."""

    data_dir: Path
    settings: Settings
    database: Database
    clock: NetworkClock
    entropy: Entropy
    chain: Chain
    topic_id: str
    log_vkey: str
    anchor_now: Callable[[], Awaitable[int]]
    prove: Callable[[Sequence[int], bytes], Awaitable[Sequence[bytes]]]
    deploys: bool = True
    """Whether contracts that are not there are deployed at once: not where that costs money."""

    @property
    def deploying(self) -> DeployingParts:
        """What deploying the contracts needs of it."""
        return DeployingParts(
            data_dir=self.data_dir,
            settings=self.settings,
            database=self.database,
            clock=self.clock,
            chain=self.chain,
            topic_id=self.topic_id,
            log_vkey=self.log_vkey,
        )


class Settling:
    """Settlement at work; made by `open`."""

    def __init__(
        self, parts: SettlingParts, keys: Keys, contracts: ChainContracts, terms: NetworkTerms
    ) -> None:
        """Use `open`."""
        self.terms = terms
        self.contracts = contracts
        self.keys = keys
        self.parts = parts
        sends = PostgresSends(parts.database)

        def account(key: ChainKey) -> StoredSender:
            return StoredSender(contracts, key, sends, parts.clock)

        keeper = account(keys.keeper)
        self.gateway = TestGateway(
            keys.gateway, contracts, account(keys.gateway), account(keys.deployer)
        )
        terms.gateway = self.gateway.address
        settings = parts.settings.settlement
        self.settlement = Settlement(
            parts.database,
            terms,
            contracts,
            parts.clock,
            keeper.address,
            BatchPolicy(settings.batch_sessions, timedelta(seconds=settings.batch_interval_s)),
        )
        self.keeper = Keeper(
            parts.database,
            self.settlement,
            terms,
            contracts,
            keeper,
            parts.clock,
            self.gateway,
            least_claim=settings.least_claim,
        )
        self.registrations = Registrations(
            parts.database,
            terms,
            contracts,
            keeper,
            parts.clock,
            parts.anchor_now,
            keys.host,
            self._ask_reading,
        )
        self.custody = CustodyRecords(
            parts.database,
            terms,
            contracts,
            keeper,
            parts.clock,
            parts.anchor_now,
            keys.host,
            account(keys.host),
            self._ask_reading,
        )
        self._control: StationControl | None = None
        self._readings: dict[str, asyncio.Task[None]] = {}
        self.payments = Payments(
            parts.database, terms, contracts, keeper, parts.clock, self.gateway.give
        )
        self.host_returns = HostReturns(parts.database, contracts, parts.clock)
        self._turn = asyncio.Lock()
        self._woken = asyncio.Event()
        self._policies_due = 0.0
        self._stepped_at = time.monotonic()
        self._chain_age_s = 0.0

    @classmethod
    async def open(cls, parts: SettlingParts) -> "Settling":
        """Open the network's contracts, deployed at the first start."""
        keys = Keys.open(parts.data_dir, parts.entropy)
        addresses = await deployed(parts.database)
        if addresses is None and not parts.deploys:
            raise Refused(
                "this network has no contracts yet",
                remedy="run `chargera ledger init` to its end: it goes on where it stopped",
            )
        if addresses is None:
            addresses = await deploy_contracts(parts.deploying, keys)
        contracts = ChainContracts(parts.chain, addresses)
        terms = NetworkTerms(parts.chain.chain_id, addresses, parts.settings.operator.id)
        terms.policies = await read_policies(contracts)
        settling = cls(parts, keys, contracts, terms)
        await settling._open_credentials()
        return settling

    async def _open_credentials(self) -> None:
        """Give each attester the key of the feed that lies in his folder."""
        async with self.parts.database.work() as work:
            for number in range(1, ATTESTERS + 1):
                path = attester_folder(self.parts.data_dir, number) / "credential"
                if path.exists():
                    continue
                made = await logins.add_api_key(
                    work,
                    THIS_SERVER,
                    f"attester {number}",
                    [str(Action.FEED)],
                    login=logins.OPERATOR_NAME,
                    entropy=self.parts.entropy,
                    now=self.parts.clock.now(),
                )
                path.touch(mode=0o600)
                path.write_text(f"{made.api_key}\n")
            await work.commit()

    def anchor_policy(self) -> AnchorPolicy:
        """Return when heads are to be anchored, by the policy in force."""
        now_s = int(self.parts.clock.now().timestamp())
        version = self.terms.policy_at(now_s) or self.terms.latest()
        said = version.parameters
        return AnchorPolicy(timedelta(seconds=said.anchor_interval_s), said.anchor_sessions)

    # At work ------------------------------------------------------------------------------------

    async def turn(self) -> None:
        """Do what is due by the network's clock."""
        async with self._turn:
            await self._once([])

    async def _read_policies(self) -> None:
        """Take up the versions that the policy has gained, a look a minute at most."""
        now = asyncio.get_running_loop().time()
        if now >= self._policies_due:
            self.terms.policies = await read_policies(self.contracts, self.terms.policies)
            self._policies_due = now + POLICY_POLL_S

    async def _once(self, formed: list[str]) -> bool:
        """Do one round; batches that are formed in it are added to `formed`."""
        await self._read_policies()
        await self.custody.follow()
        moved = await self.registrations.advance()
        moved = await self.custody.advance() or moved
        if await self.settlement.waits_for_anchor():
            await self.parts.anchor_now()
        formed += (fresh := await self.settlement.form())
        moved = bool(fresh) or moved
        await self.payments.close_used()
        await self.host_returns.note()
        moved = await self.keeper.turn() or moved
        chain_s = await self.contracts.read("C4EToken", "clock")
        self._chain_age_s = self.parts.clock.now().timestamp() - chain_s
        self._stepped_at = time.monotonic()
        return moved

    @property
    def health(self) -> KeeperHealth:
        """How settlement is."""
        return KeeperHealth(
            time.monotonic() - self._stepped_at,
            max(0.0, self._chain_age_s),
            self.keeper.open_batches,
            self.keeper.failures,
        )

    async def wait(self, pause_s: float) -> None:
        """Wait until an attester has answered, or for so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), pause_s)
        self._woken.clear()

    def wake(self) -> None:
        """Look at once: an attester has answered."""
        self._woken.set()

    async def quiet(self, *, at_once: bool = False) -> list[str]:
        """Go on until nothing moves and no attester is waited for, or time is up.

        Returns the digests of the batches that were formed meanwhile, newest first.
        """
        deadline = time.monotonic() + QUIET_S
        async with self._turn:
            formed = await self.settlement.form(at_once=True) if at_once else []
            while time.monotonic() < deadline:
                if await self._once(formed):
                    continue
                if not await self._waits_for_attesters():
                    break
                await self.wait(POLL_S)
        return formed[::-1]

    async def _waits_for_attesters(self) -> bool:
        async with self.parts.database.work() as work:
            if await work.settlement.batches([BatchStage.FORMED], 1):
                return True
            if any(row.step is CustodyStep.ATTESTERS for row in await work.custody.open()):
                return True
            return any(row.step == "attesters" for row in await work.passports.open())

    async def close(self) -> list[BatchView]:
        """Anchor, form batches of all that waits, and go as far as that goes now."""
        await self.parts.anchor_now()
        formed = await self.quiet(at_once=True)
        async with self.parts.database.work() as work:
            rows = [await work.settlement.batch(digest) for digest in formed]
        return [batch_view(row) for row in rows if row is not None]

    async def settle(self) -> list[BatchView]:
        """Settle every batch whose window is over, and return all batches."""
        await self.quiet()
        async with self.parts.database.work() as work:
            rows = await work.settlement.batches(SHOWN)
        return [batch_view(row) for row in rows]

    async def claim(self, passport_id: str, holder: str | None) -> list[ClaimView]:
        """Have the holders of a passport paid."""
        return [claim_view(claim) for claim in await self.keeper.claim(passport_id, holder)]

    def services(self, control: StationControl) -> SettlementServices:
        """Return what the API shows and does of settlement."""
        self._control = control

        async def open_session(caller: Caller, wanted: OpenRequest) -> OpenedSession:
            async with self.parts.database.work() as work:
                await require_earning(work, self.contracts, self.terms, wanted.station_id)
            opened = await self.payments.open(caller, wanted)
            command = CommandRequest(
                station_id=wanted.station_id,
                name="remote-start",
                evse=wanted.evse,
                id_token=opened.id_token,
            )
            key = f"escrow {wanted.session_key}"
            try:
                answer = await control.command(caller, command, key)
            except ChargEraError as error:
                return self.payments.not_started(opened, error.message)
            if answer.accepted:
                return opened
            return self.payments.not_started(opened, answer.answer or "no answer")

        return SettlementServices(
            terms=self.terms,
            contracts=self.contracts,
            settlement=self.settlement,
            payments=self.payments,
            close=self.close,
            settle=self.settle,
            claim=self.claim,
            open_session=open_session,
            passport_file=self.passport_file,
            wake=self.wake,
            custodial=self.keys.host.address_text,
        )

    # A meter's first reading ---------------------------------------------------------------------

    def _ask_reading(self, station_id: str, evse: int, id_token: str) -> None:
        """Have a signing meter show that it is held: a short session under its onboarding."""
        running = self._readings.get(station_id)
        control = self._control
        if control is None or not control.is_connected(station_id):
            return
        if running is None or running.done():
            reading = self._take_reading(control, station_id, evse, id_token)
            self._readings[station_id] = asyncio.create_task(reading)

    async def _take_reading(
        self, control: StationControl, station_id: str, evse: int, id_token: str
    ) -> None:
        def wanted(name: str, session_id: str | None = None) -> CommandRequest:
            start = session_id is None
            return CommandRequest(
                station_id,
                name,
                evse=evse if start else None,
                id_token=id_token if start else None,
                session_id=session_id,
            )

        try:
            started = await control.command(THIS_SERVER, wanted("remote-start"))
            for _ in range(READING_POLLS):
                if started.session_id is not None or not started.accepted:
                    break
                await asyncio.sleep(READING_S)
                started = await control.show(THIS_SERVER, started.command_id)
            if started.session_id is not None:
                await asyncio.sleep(READING_S)
                await control.command(THIS_SERVER, wanted("remote-stop", started.session_id))
        except ChargEraError as error:
            _log.warning("no first reading of %s: %s", station_id, error.message)
        await asyncio.sleep(READING_PAUSE_S)

    async def stop(self) -> None:
        """Give up what is under way; it is taken up again at the next start."""
        tasks = list(self._readings.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def shown(self, rpc: str | None) -> PageSettlement:
        """Return what pages show of it; `rpc`: where wallets reach the chain, None: here."""
        running = ATTESTERS_RUN if self.parts.settings.settlement.attesters else 0
        own = tuple(key.address_text for key in self.keys.attesters[:running])
        return PageSettlement(self.terms, self.contracts, own, rpc)

    # What is public -----------------------------------------------------------------------------

    def trusted_chain(self, rpc: str) -> TrustedChain:
        """Return the chain as the trust file names it."""
        addresses = {n: parse_address(a, field=n) for n, a in self.terms.contracts.items()}
        return TrustedChain(self.terms.chain_id, rpc, addresses)

    def trusted_attesters(self) -> list[TrustedAttester]:
        """Return the attesters as the trust file names them."""
        return [TrustedAttester(key.address, key.public_key) for key in self.keys.attesters]

    async def passport_file(self, row: PassportRow) -> bytes:
        """Return the file by which a stranger recomputes a passport."""
        async with self.parts.database.work() as work:
            return await build_passport_file(
                work.receipts,
                row,
                self.terms,
                self.parts.prove,
                self.parts.anchor_now,
                await custody_proofs(work, self.terms, row.station_id),
            )

    async def batch_file(self, digest: str) -> bytes:
        """Return a batch file. Raises NotFound for a batch that no quorum has signed."""
        async with self.parts.database.work() as work:
            row = await work.settlement.batch(digest)
            if row is None or row.state in (BatchStage.FORMED, BatchStage.DROPPED):
                raise NotFound(f"there is no signed batch {digest[:66]}", field="batch")
            head = await work.settlement.head_note(row.document["tree_size"])
            answers = await work.settlement.answers(digest)
        assert head is not None, "a batch stands under a head that was signed"
        batch = parse_batch(dict(row.document))
        proofs = await self.parts.prove([leaf.log_index for leaf in batch.leaves], head)
        signature = row.gateway_signature
        return encode_batch_file(
            BatchFile(
                chain_id=self.terms.chain_id,
                hub=parse_address(self.terms.hub, field="hub"),
                batch=batch,
                head=head,
                paths=tuple(parse_tlog_proof(proof).path for proof in proofs),
                signatures=tuple(
                    AttesterSignature(
                        each.place,
                        parse_address(each.attester, field="attester"),
                        parse_hex(each.signature, field="signature"),
                    )
                    for each in answers
                    if each.signature is not None
                ),
                gateway_signature=None
                if signature is None
                else parse_hex(signature, field="gateway_signature"),
            )
        )

    @contextlib.asynccontextmanager
    async def attesters(self, http_url: str, trust: dict[str, Any]) -> Any:
        """Run attesters as processes of their own, for as long as the block lasts."""
        trust_file = self.parts.data_dir / "deployment.json"
        trust_file.write_text(json.dumps(trust))
        tasks = [
            asyncio.create_task(self._attester(number, http_url, trust_file))
            for number in range(1, ATTESTERS_RUN + 1)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _attester(self, number: int, http_url: str, trust_file: Path) -> None:
        """Run one attester, again whenever it ends."""
        folder = attester_folder(self.parts.data_dir, number)
        command = [
            *(sys.executable, "-c", "from chargera.cli import main; main()", "attest"),
            *("--feed", f"{http_url}/api/v1/feed", "--credential", str(folder / "credential")),
            *("--key", str(folder / "key"), "--trust", str(trust_file), "--while-stdin-lasts"),
        ]
        while True:
            with (folder / "decisions.jsonl").open("ab") as decisions:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=decisions,
                    stderr=asyncio.subprocess.DEVNULL,
                )
            try:
                await process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                    await asyncio.wait_for(asyncio.shield(process.wait()), STOP_S)
            await asyncio.sleep(1)
