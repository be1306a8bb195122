"""The only wiring: from options and settings to a running server, and back to nothing.

Order of start: PostgreSQL, its durability, migrations, clock, log and signer, ledger, OCPP,
HTTP. Each part is stopped by the stack that started it, in the opposite order, however the
server ends.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from chargera import __version__, telemetry
from chargera import settings as configuration
from chargera.app import logins, sessions
from chargera.app.access import GuessLimiter, GuessLimits, Passwords, StationAccess
from chargera.app.billing import Billing, ReviewDecision
from chargera.app.cdr_export import cdr_document
from chargera.app.charging import Charging, ChargingPolicy
from chargera.app.clock import NetworkClock, SystemEntropy, wall_clock
from chargera.app.commands import StationControl
from chargera.app.feed import LocalFeed
from chargera.app.keeper import KeeperHealth
from chargera.app.log_ports import SignedHead
from chargera.app.ports import LiveEvent
from chargera.app.receipts import build_receipt
from chargera.app.station_tests import StationTests
from chargera.domain.errors import InvalidInput
from chargera.eventlog.custody import FileHeadMemory, open_key
from chargera.eventlog.files import DurableFiles, OsDisk
from chargera.eventlog.reading import LogReader
from chargera.eventlog.sequencer import CheckpointPolicy, Sequencer
from chargera.eventlog.signer import Signer
from chargera.eventlog.tiles import StoredTiles
from chargera.ledger import mirror
from chargera.ledger.anchoring import DELIVER_JOB, Anchoring, AnchorPolicy
from chargera.ledgers import LedgerParts, open_ledger
from chargera.ocpp.certificates import RenewableTls, local_authority
from chargera.ocpp.limits import ChannelLimits
from chargera.ocpp.server import OcppServer
from chargera.ocpp.transcript import read_again
from chargera.process import HttpServer, Loops, ServeOptions, listen, saved_clock, write_private
from chargera.proofs import records
from chargera.proofs.ocpi import encode_json
from chargera.proofs.trust import Trust, TrustedTopic, parse_trust, trust_document
from chargera.settings import Settings
from chargera.settling import Settling, SettlingParts
from chargera.store import network
from chargera.store.anchors import PostgresAnchorStore
from chargera.store.cdr_export import CdrExportStore
from chargera.store.jobs import Jobs
from chargera.store.log import PostgresLease, PostgresLogStore
from chargera.store.postgres import EmbeddedPostgres
from chargera.store.station_logins import PostgresStationLogins
from chargera.store.unit_of_work import Database
from chargera.web.api import make_api
from chargera.web.api.context import Services
from chargera.web.pages import create_pages
from chargera.web.pages.services import NetworkFacts, PageServices
from chargera.web.public import PublicServices, TopicViews, public_routes
from chargera.web.rpc.endpoint import rpc_route

TICK_S = 0.25
"""Wall time between two looks at what is due; the network's clock decides what is."""
BILL_POLL_S = 0.5
SILENCE_POLL_S = 60.0
PAGE_SAMPLE_S = 2.0
CERTIFICATE_POLL_S = 5.0
CLOCK_SAVE_S = 1.0
CLOCK_LEAD_S = 3.0
"""Wall time by which what is saved of an accelerated clock is ahead of it."""
HTTP_BACKLOG = 1024
HTTP_GRACE_S = 3

CLOCK_FILE = "clock.json"
SERVE_FILE = "serve.json"

__all__ = ["ServeOptions", "Server", "running"]

_log = logging.getLogger(__name__)


class Server:
    """A running server; made by `running`."""

    def __init__(self, options: ServeOptions, settings: Settings) -> None:
        """Hold the parts; `_start` makes them."""
        self.options = options
        self.settings = settings
        self.entropy = SystemEntropy()
        self.feed = LocalFeed()
        self.loops = Loops()
        self.passwords = Passwords()
        self.operator_password: str | None = None
        """The first operator's password, at the first start only."""
        self.settling: Settling | None = None
        self.api_key = ""
        self.http_url = ""
        self._stack = AsyncExitStack()
        self._turn = asyncio.Lock()

    # Starting ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all parts; on failure what was started is stopped again."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        data_dir = self.options.data_dir
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stack.callback(self.passwords.close)
        url = await self._open_postgres()
        stood = [await network.prepare(url), saved_clock(data_dir / CLOCK_FILE)]
        not_before = max((time for time in stood if time is not None), default=None)
        self.clock = NetworkClock(
            wall_clock,
            time.monotonic,
            manual=self.options.manual_clock,
            rate=self.options.clock_rate,
            not_before=not_before,
        )
        self.database = Database(url, self.clock, self.entropy)
        await self.database.open()
        self._stack.push_async_callback(self.database.close)
        await self._open_network()
        await self._open_log()
        await self._open_ledger()
        await self._open_anchoring()
        await self._open_settlement()
        await self._open_channel()
        for name, step, pause_s in (
            ("ticks", self._tick, TICK_S),
            ("billing", self._bill_all, BILL_POLL_S),
            ("silence", self._close_silent, SILENCE_POLL_S),
            ("clock", self._save_clock_ahead, CLOCK_SAVE_S),
        ):
            await self._stack.enter_async_context(self.loops.running(name, step, pause_s))
        await self._open_http()
        self._write_serve_file()
        await self._run_settlement()

    async def _open_postgres(self) -> str:
        url = self.settings.database.url
        if url is not None:
            return url.get_secret_value()
        embedded = EmbeddedPostgres(self.options.data_dir)
        # Started from the main thread's child: the supervisor inside lives as long as we do.
        address = await asyncio.to_thread(embedded.start)
        self._stack.push_async_callback(asyncio.to_thread, embedded.stop)
        return address

    async def _open_network(self) -> None:
        """Make the network at the first start, or see that it is the one that is configured."""
        async with self.database.work() as work:
            now = self.clock.now()
            await network.make_or_find(
                work, self.settings.operator.id, self.settings.log_origin, now
            )
            self.operator_password = await logins.ensure_operator(
                work, passwords=self.passwords, entropy=self.entropy, now=now
            )
            self.api_key = await logins.renew_local_key(work, entropy=self.entropy, now=now)
            await work.commit()

    async def _open_log(self) -> None:
        folder = self.options.data_dir
        files = DurableFiles(OsDisk(folder / "log"))
        key = open_key(folder / "signer", self.settings.log_origin, self.entropy)
        memory = FileHeadMemory.in_folder(folder / "signer")
        self.signer = Signer(key, memory, StoredTiles(files).fetch)
        self.log_reader = LogReader(files)
        interval = timedelta(seconds=self.settings.log.checkpoint_interval_s)
        self.sequencer = Sequencer(
            self.settings.log_origin,
            PostgresLogStore(self.database),
            PostgresLease(self.database.url),
            self.signer,
            files,
            self.clock,
            CheckpointPolicy(interval=interval),
            on_published=self._tell_head,
        )
        await self.sequencer.start()
        self._stack.push_async_callback(self.sequencer.stop)

    def _tell_head(self, head: SignedHead) -> None:
        self.feed.publish(LiveEvent("log", "", {"tree_size": head.tree_size}))

    async def _open_ledger(self) -> None:
        folder = self.options.data_dir
        parts = LedgerParts(folder, self.settings, self.database, self.clock, self.entropy)
        self.ledger = await open_ledger(parts, self._stack)
        self.topic = self.ledger.topic

    async def _open_anchoring(self) -> None:
        jobs = Jobs(self.database.url)
        self.anchors = PostgresAnchorStore(self.database, jobs, DELIVER_JOB)
        self.anchoring = Anchoring(
            self.anchors,
            self.topic,
            self.clock,
            self._anchor_policy,
            on_anchored=lambda anchor: self.feed.publish(
                LiveEvent("log", "", {"anchored_size": anchor.tree_size})
            ),
        )
        jobs.register(DELIVER_JOB, self.anchoring.deliver)
        worker = asyncio.create_task(jobs.run(), name="jobs")

        async def stop() -> None:
            jobs.stop()
            await worker

        self._stack.push_async_callback(stop)

    def _anchor_policy(self) -> AnchorPolicy:
        """Return what the NetworkPolicy says now; without contracts, what the settings say."""
        if self.settling is not None:
            return self.settling.anchor_policy()
        ledger = self.settings.ledger
        return AnchorPolicy(timedelta(seconds=ledger.anchor_interval_s), ledger.anchor_sessions)

    async def _open_settlement(self) -> None:
        """Open the contracts, before the first bill needs their policy."""
        if not self.settings.settlement.enabled:
            return
        info = await self.topic.info()
        self.settling = await Settling.open(
            SettlingParts(
                data_dir=self.options.data_dir,
                settings=self.settings,
                database=self.database,
                clock=self.clock,
                entropy=self.entropy,
                chain=self.ledger.chain,
                topic_id=info.topic_id,
                log_vkey=self.signer.vkeys[0],
                anchor_now=self.anchor_now,
                prove=self._prove,
                deploys=self.ledger.hedera is None,
            )
        )

    async def _run_settlement(self) -> None:
        """Start the keeper and the attesters, once they can be asked over HTTP."""
        settling = self.settling
        if settling is None:
            return
        self._stack.push_async_callback(settling.stop)
        if self.settings.settlement.attesters:
            trust = await self.trust_document()
            await self._stack.enter_async_context(settling.attesters(self.http_url, trust))
        keeping = self.loops.running("settlement", settling.turn, self.ledger.poll_s)
        await self._stack.enter_async_context(keeping)

    async def _open_channel(self) -> None:
        channel = self.settings.channel
        limiter = GuessLimiter(
            GuessLimits(answered=channel.guesses_answered, hashed=channel.guesses_hashed),
            time.monotonic,
        )
        self.access = StationAccess(
            PostgresStationLogins(self.database),
            self.passwords,
            self.entropy,
            limiter,
            key=self._secret("stations.key"),
            on_guessing=self._warn_of_guessing,
        )
        await self.access.prepare()
        self.charging = Charging(
            self.clock,
            self.entropy,
            ChargingPolicy(heartbeat_interval_s=channel.heartbeat_interval_s),
        )
        terms = self.settling.terms if self.settling else None
        self.billing = Billing(self.clock, self.entropy, self.settings.operator.id, terms)
        tls = self._tls()
        self.ocpp = OcppServer(
            self.access,
            self.charging,
            self.database,
            self.clock,
            self.feed,
            ChannelLimits(
                frame_bytes_max_1_6=channel.frame_bytes_1_6,
                frame_bytes_max_2_x=channel.frame_bytes_2_x,
                messages_per_s=channel.messages_per_s,
                waiting_sockets_max=channel.waiting_sockets,
                waiting_sockets_per_address_max=channel.waiting_sockets_per_address,
                ping_interval_s=channel.ping_interval_s,
            ),
            tls,
            acknowledge_before_commit=self.options.acknowledge_before_commit,
        )
        await self.ocpp.start(self.options.host, self.options.ocpp_port, self.options.ocpp_tls_port)
        self._stack.push_async_callback(self.ocpp.stop)
        await self._open_control()
        if tls is not None:
            renewing = partial(self._renew_certificate, tls)
            watch = self.loops.running("certificate", renewing, CERTIFICATE_POLL_S)
            await self._stack.enter_async_context(watch)

    async def _open_control(self) -> None:
        """Open what stations are told and tested by."""
        commands = self.ocpp.commands
        self.control = StationControl(
            self.database, commands, self.clock, self.entropy, asyncio.sleep
        )
        self.tests = StationTests(
            self.database,
            self.control,
            commands,
            read_again,
            self.clock,
            self.entropy,
            pause=asyncio.sleep,
            monotonic_s=time.monotonic,
        )
        await self.tests.recover()
        self._stack.push_async_callback(self.tests.close)

    def _tls(self) -> RenewableTls | None:
        options = self.options
        if options.ocpp_tls_port is None:
            return None
        if options.tls_cert is not None and options.tls_key is not None:
            return RenewableTls(options.tls_cert, options.tls_key)
        files = local_authority(options.data_dir / "tls", wall_clock())
        return RenewableTls(files.certificate_path, files.key_path)

    async def _renew_certificate(self, tls: RenewableTls) -> None:
        """Let new connections have the certificate that lies in its files now."""
        try:
            if self.options.tls_cert is None:
                local_authority(self.options.data_dir / "tls", wall_clock())
            if tls.renew():
                _log.info("the certificate of the TLS port was renewed")
        except InvalidInput as error:
            _log.warning("the old certificate stays: %s", error.message)

    async def _open_http(self) -> None:
        host = self.options.http_host or self.options.host
        listener = listen(host, self.options.http_port)
        port = listener.getsockname()[1]
        self.http_url = f"http://{host}:{port}"
        pages = create_pages(self._page_services())
        app = Starlette(
            routes=[
                *public_routes(self._public_services()),
                *self._rpc_routes(),
                Mount("/api", make_api(self._api_services())),
                Mount("/", pages.app),
            ]
        )
        sampling = self.loops.running("pages", pages.sample, PAGE_SAMPLE_S)
        await self._stack.enter_async_context(sampling)
        server = HttpServer(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                backlog=HTTP_BACKLOG,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=HTTP_GRACE_S,
                server_header=False,
                date_header=False,
            )
        )
        task = asyncio.create_task(server.serve(sockets=[listener]), name="http")

        async def stop() -> None:
            pages.close()  # live streams end first, or the server would wait for them
            server.should_exit = True
            await task

        self._stack.push_async_callback(stop)
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.01)

    def _rpc_routes(self) -> list[BaseRoute]:
        node = self.ledger.node
        return (
            [] if node is None else [rpc_route(node, f"chargera/{__version__}/{node.engine_name}")]
        )

    def _write_serve_file(self) -> None:
        path = self.options.data_dir / SERVE_FILE
        document = {"api_key": self.api_key, "http": self.http_url, "pid": os.getpid()}
        write_private(path, json.dumps(document))
        self._stack.callback(path.unlink, missing_ok=True)

    # What is asked for --------------------------------------------------------------------------

    @property
    def ready_line(self) -> dict[str, object]:
        """What `serve` prints once all is up."""
        host, tls_port = self.options.host, self.ocpp.tls_port
        return {
            "ready": True,
            "http": self.http_url,
            "ocpp": f"ws://{host}:{self.ocpp.port}/ocpp",
            "ocpps": None if tls_port is None else f"wss://{host}:{tls_port}/ocpp",
            "data_dir": str(self.options.data_dir.resolve()),
            "network": self.settings.ledger.network,
        }

    async def advance_clock(self, seconds: float) -> datetime:
        """Move a manual clock, do all work that is due then, and return the time."""
        now = self.clock.advance(seconds)
        self._save_clock()
        await self._tick(settle=True)
        if self.settling is not None:
            await self.settling.quiet()
        return now

    async def anchor_now(self) -> int:
        """Sign and anchor the newest head; return its size once it is on the topic."""
        await self.sequencer.tick(force=True)
        anchor = await self.anchoring.anchor_now()
        return anchor.tree_size

    async def receipt(self, session_id: str) -> bytes:
        """Return the receipt of a billed session."""
        async with self.database.work() as work:
            return await build_receipt(
                work.receipts, session_id, self._prove, lambda: self.sequencer.tick(force=True)
            )

    async def _prove(self, indexes: Sequence[int], note: bytes) -> Sequence[bytes]:
        def prove() -> list[bytes]:
            return [self.log_reader.proof(index, note) for index in indexes]

        return await asyncio.to_thread(prove)

    async def tlog_proof(self, log_index: int) -> bytes:
        """Return the proof of an entry under the newest head."""
        return await asyncio.to_thread(self.log_reader.proof, log_index)

    async def cdr(self, session_id: str) -> bytes:
        """Return the OCPI CDR of a session's bill."""
        async with self.database.work() as work:
            return encode_json(await cdr_document(CdrExportStore(work.connection), session_id))

    async def decide_review(
        self, session_id: str, decision: ReviewDecision, decided_by: str
    ) -> None:
        """Bill a session in review by a person's decision."""
        async with self.database.work() as work:
            await self.billing.decide_review(work, session_id, decision, decided_by=decided_by)
            await work.commit()
        self.feed.publish(LiveEvent("session", session_id))

    def session_url(self, session_id: str) -> str:
        """Return the unguessable link of a session's page: whoever has it needs no login."""
        key = sessions.link_key(self._secret("link.key"), session_id)
        return f"{self.http_url}/session/{session_id}?key={key}"

    async def trust_document(self) -> dict[str, Any]:
        """Return this network's trust file."""
        settling = self.settling
        rpc = self.ledger.rpc or f"{self.http_url}/rpc"
        return trust_document(
            network=self.settings.ledger.network,
            operator_id=self.settings.operator.id,
            origin=self.settings.log_origin,
            vkeys=list(self.signer.vkeys),
            topics=await self._trusted_topics(),
            chain=None if settling is None else settling.trusted_chain(rpc),
            attesters=None if settling is None else settling.trusted_attesters(),
        )

    async def _trusted_topics(self) -> list[TrustedTopic]:
        rows = self.ledger.topics
        if rows:
            return [TrustedTopic(row.topic_id, row.payer_account_id, row.from_size) for row in rows]
        info = await self.topic.info()
        return [TrustedTopic(info.topic_id, info.payer_account_id, 0)]

    async def trust(self) -> Trust:
        """Return this network's own trust file, parsed."""
        return parse_trust(await self.trust_document())

    async def readiness(self) -> tuple[bool, Mapping[str, str]]:
        """Run the named checks of `/readyz`."""
        return await telemetry.readiness(
            [
                telemetry.HealthCheck("database", self._database_fault),
                *(telemetry.HealthCheck.told(*named) for named in self._reasons().items()),
            ]
        )

    def _reasons(self) -> dict[str, Callable[[], str | None]]:
        """The checks that ask nobody: what is wrong, by name."""
        return {
            "log": lambda: self.sequencer.health.reason,
            "anchor": lambda: self.anchoring.health.reason,
            "channel": self._channel_fault,
            "settlement": lambda: self._settlement_health().reason,
            "loops": self._loops_fault,
            **self.ledger.checks,
        }

    def _settlement_health(self) -> KeeperHealth:
        return KeeperHealth() if self.settling is None else self.settling.health

    def _checks(self) -> dict[str, float]:
        return {name: float(reason() is None) for name, reason in self._reasons().items()}

    async def _database_fault(self) -> str | None:
        try:
            async with self.database.work() as work:
                await work.connection.execute("select 1")
        except Exception as error:
            return str(error)
        return None

    def _channel_fault(self) -> str | None:
        return "the database does not answer" if self.ocpp.gateway.is_down else None

    def _loops_fault(self) -> str | None:
        return "; ".join(f"{name}: {why}" for name, why in self.loops.faults.items()) or None

    # Wiring of the edges -----------------------------------------------------------------------

    def _public_services(self) -> PublicServices:
        async def log_file(path: str) -> bytes:
            return await asyncio.to_thread(self.log_reader.file, path)

        topic = self.topic
        return PublicServices(
            log_file=log_file,
            vkey=self.signer.vkeys[0],
            trust=self.trust_document,
            topic_views=TopicViews(
                topic=lambda topic_id: mirror.topic_document(topic, topic_id),
                messages=lambda topic_id, query: mirror.messages_document(topic, topic_id, query),
                message=lambda topic_id, number: mirror.message_document(topic, topic_id, number),
                message_at=lambda timestamp: mirror.message_at_document(topic, timestamp),
                error=mirror.error_document,
            ),
            readiness=self.readiness,
            metrics=telemetry.Metrics(self._metrics()).render,
            batch_file=None if self.settling is None else self.settling.batch_file,
        )

    def _api_services(self) -> Services:
        from chargera.store.backup import archive

        return Services(
            database=self.database,
            clock=self.clock,
            entropy=self.entropy,
            passwords=self.passwords,
            control=self.control,
            tests=self.tests,
            is_connected=self.ocpp.commands.is_connected,
            forget_stations=self.charging.forget,
            receipt=self.receipt,
            cdr_document=self.cdr,
            decide_review=self.decide_review,
            sign_head=lambda: self.sequencer.tick(force=True),
            anchor_now=self.anchor_now,
            advance_clock=self.advance_clock,
            backup=lambda: archive(self.database, self.options.data_dir),
            settings=lambda: configuration.shown(self.settings),
            version=__version__,
            settlement=None if self.settling is None else self.settling.services(self.control),
        )

    def _page_services(self) -> PageServices:
        limiter = GuessLimiter(GuessLimits(), time.monotonic)
        return PageServices(
            network=NetworkFacts(
                self.settings.ledger.network,
                self.settings.operator.id,
                self.signer.vkeys,
                self.options.simulated or not self.ledger.profile.is_hedera,
                self.ledger.profile.explorer,
            ),
            database=self.database,
            clock=self.clock,
            feed=self.feed,
            is_connected=self.ocpp.commands.is_connected,
            control=self.control,
            tests=self.tests,
            sign_in=logins.SignIn(self.passwords, self.entropy, limiter),
            link_secret=self._secret("link.key"),
            receipt=self.receipt,
            decide_review=self.decide_review,
            tlog_proof=self.tlog_proof,
            trust=self.trust,
            secure_cookies=self.settings.http.secure_cookies,
            anchor_window=lambda: self.anchoring.health.window,
            settlement=None if self.settling is None else self.settling.shown(self.ledger.rpc),
        )

    def _secret(self, name: str) -> bytes:
        """A key of this installation that never leaves it, made at the first start."""
        path = self.options.data_dir / name
        if not path.exists():
            write_private(path, self.entropy.bytes(32).hex())
        return bytes.fromhex(path.read_text())

    def _warn_of_guessing(self, station_id: str, address: str) -> None:
        _log.warning("passwords are being guessed: %s from %s", station_id[:48], address)

    def _metrics(self) -> list[telemetry.Description]:
        return telemetry.server_metrics(
            channel=self.ocpp.counters,
            sequencer=lambda: self.sequencer.health,
            anchoring=lambda: self.anchoring.health,
            settlement=self._settlement_health,
            password_hashes=lambda: self.passwords.computed,
            logins_refused=lambda: self.access.refused,
            listeners=lambda: self.feed.listeners,
            loop_failures=lambda: self.loops.failures,
            checks=self._checks,
            balances=self.ledger.balances_tinybar,
            days_left=self.ledger.days_left,
        )

    # Loops -------------------------------------------------------------------------------------

    async def _tick(self, *, settle: bool = False) -> None:
        """Do what is due by the network's clock; with `settle` also what that makes due."""
        async with self._turn:
            if settle:
                await self._bill_all()
            await self.sequencer.tick()
            await self.anchoring.tick()

    async def _bill_all(self) -> None:
        while True:
            async with self.database.work() as work:
                told = await self.billing.bill_due(work)
                await work.commit()
            for event in told:
                self.feed.publish(event)
            if not told:
                return

    async def _close_silent(self) -> None:
        async with self.database.work() as work:
            told = await self.billing.close_silent(
                work, self.clock.now(), clock_is_manual=self.clock.manual
            )
            await work.commit()
        for event in told:
            self.feed.publish(event)

    async def _save_clock_ahead(self) -> None:
        self._save_clock(CLOCK_LEAD_S)

    def _save_clock(self, lead_s: float = 0.0) -> None:
        """Save where the next start begins: where a manual clock stands, later than others were.

        A clock at wall time is later by itself; one that runs faster is saved ahead of the time,
        so that after a kill it is not behind what it told anybody.
        """
        clock = self.clock
        ahead_s = lead_s * clock.rate if clock.rate > 1 and not clock.manual else 0.0
        document = json.dumps({"now": records.time_text(clock.now() + timedelta(seconds=ahead_s))})
        write_private(self.options.data_dir / CLOCK_FILE, document)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        """Run within the block."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight, leave no process behind."""
        self._save_clock()
        await self._stack.aclose()


def running(options: ServeOptions, settings: Settings) -> AbstractAsyncContextManager[Server]:
    """A server that runs within the block."""
    return Server(options, settings).running()
