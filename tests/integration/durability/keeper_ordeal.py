"""A network whose keeper is killed in the middle of what it does, and what must come out of it.

Each round is one batch: bills of two rails, attested, proposed, settled and paid out. The server
stands still at a named step, is killed with its database, and is started again.
"""

import asyncio
import json
import secrets
import sys
import threading
import time
import uuid
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx2
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from chargera.deploying import attester_folder
from chargera.domain.errors import ChargEraError, Unavailable
from chargera.domain.settlement import UNITS, divide_ops, split
from chargera.ledger.chain_key import ChainKey
from chargera.ledger.evm.deployment import DEFAULT_POLICY
from chargera.ledger.network_contracts import ChainContracts, DirectSender, trusted_contracts
from chargera.ledger.wallet import signed_escrow
from chargera.proofs.chain_values import address_text
from chargera.proofs.trust import parse_trust
from tests.integration.durability import stopping_server
from tests.integration.settlement.net import CONTEST_S, REGISTRATION, TARIFF, attester_turn
from tests.server import ServerProcess

T = TypeVar("T")

WINDOW_S = 600
INTERVAL_S = 1_200
"""How long bills wait for a batch: until a round's first kill is set."""
STATION = "CP-1"
EVSES = (1, 2, 3)
WALLET_EVSE = 3
SOLD = 250_000
"""Units of the second holder."""
ESCROW = 40_000_000
COMMISSION_BPS = 3_000
ATTESTERS = (1, 2, 3)
PATIENCE_S = 120.0
SETTINGS = {
    "SETTLEMENT_ENABLED": "true",
    "SETTLEMENT_ATTESTERS": "false",
    "SETTLEMENT_WINDOW_S": WINDOW_S,
    "SETTLEMENT_CONTEST_PERIOD_S": CONTEST_S,
    "SETTLEMENT_BATCH_INTERVAL_S": INTERVAL_S,
    "LEDGER_ANCHOR_INTERVAL_S": 2_000_000,
    "CHAIN_SNAPSHOT_INTERVAL": 1_000_000,
}

STEPS = (
    "formed batch",
    "stored prepay:",
    "executed prepay:",
    "signed batch",
    "stored propose:",
    "executed propose:",
    "proposed batch",
    "stored settle:",
    "executed settle:",
    "settled batch",
    "stored claim:",
    "executed claim:",
    "stored withdraw:",
    "executed withdraw:",
)
"""What the keeper's log says of a batch's way, in order."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Where the server stands still: `delay_s` after its log has told of a step."""

    step: str
    delay_s: float = 0.0


class StoppingServer(ServerProcess):
    """A server that stands still where it is told to."""

    def _command(self) -> list[str]:
        return [sys.executable, stopping_server.__file__, str(self.data_dir)]

    def stop_at(self, kill: Kill) -> None:
        path = self.data_dir / stopping_server.STOP_FILE
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps([kill.step, kill.delay_s]))
        fresh.replace(path)

    @property
    def stands_still(self) -> bool:
        stat = (Path("/proc") / str(self.process.pid) / "stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def last_step(self) -> str:
        """Return the last line of its log that tells of a step."""
        lines = self.error_path.read_text().splitlines()
        said = (json.loads(line)["event"] for line in reversed(lines) if line.startswith("{"))
        return next(event for event in said if event.startswith(STEPS))


class KeeperOrdeal:
    """One network, killed again and again."""

    def __init__(self, folder: Path, random: Random) -> None:
        self.server = StoppingServer(folder, settings=SETTINGS)
        self.killed: list[str] = []
        """The step at which each kill came, as the server's log has it."""
        self.sessions: list[tuple[str, bool]] = []
        """With whether its driver paid from his wallet."""
        self.wallets: list[ChainKey] = []
        self.holder = ChainKey(secrets.token_bytes(32)).address_text
        self.passport_id = ""
        self._password = ""
        self._random = random
        self._register_wh = dict.fromkeys(EVSES, 1_000)
        self._is_up = threading.Event()

    # The network ------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Register a charger of two holders, with its tariff."""
        self.server.start()
        body = REGISTRATION | {
            "station_id": STATION,
            "serial_number": STATION,
            "evse": ",".join(f"{evse}:type2:22000" for evse in EVSES),
        }
        registered = self._post("stations", body)
        self.passport_id, self._password = registered["passport_id"], registered["password"]
        self._post("tariffs", TARIFF)
        self._call("PUT", f"stations/{STATION}/tariff", {"tariff_id": "DAY"})
        self._post("id-tokens", {"id_token": "CARD"})
        with self._attesting():
            self._advance(0)
            self._advance(CONTEST_S + 1)
        self._on_chain(self._release)

    async def _release(self, contracts: ChainContracts) -> None:
        host = DirectSender(contracts, self._key("host"))
        token_id = int(self.passport_id, 16)
        await host.send("", "ChargerShares", "release", token_id, self.holder, SOLD)

    def charge(self) -> None:
        """Have a bill of each EVSE: one of them paid from a wallet, the others by the gateway."""
        wallet = ChainKey(secrets.token_bytes(32))
        self.wallets.append(wallet)
        asset = self.euro
        terms = self._call("GET", f"payments/terms?payer={wallet.address_text}&asset={asset}")
        body = signed_escrow(terms, wallet, STATION, WALLET_EVSE, ESCROW, secrets.token_bytes)
        id_token = self._post("payments", body)["id_token"]
        numbers = {evse: str(uuid.uuid4()) for evse in EVSES}
        with self._socket() as socket:
            for evse, number in numbers.items():
                token = (id_token, "Central") if evse == WALLET_EVSE else ("CARD", "ISO14443")
                self._say(socket, "Started", number, evse, token)
            self._advance(3_600)
            for evse, number in numbers.items():
                self._register_wh[evse] += self._random.randrange(1_000, 20_000)
                self._say(socket, "Ended", number, evse)
        self._advance(1)

        def billed() -> bool:
            rows = self._call("GET", f"sessions?limit={len(EVSES)}")["items"]
            if {row["state"] for row in rows} != {"billed"}:
                return False
            self.sessions += [(row["session_id"], row["evse"] == WALLET_EVSE) for row in rows]
            return True

        _wait("bills", billed, pause_s=0.2)

    @contextmanager
    def _socket(self) -> Iterator[ClientConnection]:
        pair = b64encode(f"{STATION}:{self._password}".encode()).decode()
        with connect(
            f"{self.server.ready['ocpp']}/{STATION}",
            subprotocols=[Subprotocol("ocpp2.0.1")],
            additional_headers={"Authorization": f"Basic {pair}"},
            compression=None,
            proxy=None,
        ) as socket:
            station = {"vendorName": "Acme", "model": "X"}
            _ask(socket, "BootNotification", {"reason": "PowerUp", "chargingStation": station})
            yield socket

    def _say(
        self,
        socket: ClientConnection,
        kind: str,
        number: str,
        evse: int,
        id_token: tuple[str, str] | None = None,
    ) -> None:
        at = self._advance(0)
        context = "Transaction.Begin" if kind == "Started" else "Transaction.End"
        sample = {
            "value": self._register_wh[evse],
            "measurand": "Energy.Active.Import.Register",
            "context": context,
            "unitOfMeasure": {"unit": "Wh"},
        }
        payload: dict[str, Any] = {
            "eventType": kind,
            "timestamp": at,
            "triggerReason": "Authorized" if id_token else "EVDeparted",
            "seqNo": 0 if id_token else 1,
            "transactionInfo": {"transactionId": number},
            "evse": {"id": evse, "connectorId": 1},
            "meterValue": [{"timestamp": at, "sampledValue": [sample]}],
        }
        if id_token is not None:
            payload["idToken"] = dict(zip(("idToken", "type"), id_token, strict=True))
        _ask(socket, "TransactionEvent", payload)

    # Kills ------------------------------------------------------------------------------------

    def play(self, kills: list[Kill]) -> None:
        """Bring what waits to its end, and kill the server at each of these steps on the way."""
        with self._attesting(), self._time_passing():
            for kill in kills:
                self.server.stop_at(kill)
                _wait(f"the server to stand still at {kill}", lambda: self.server.stands_still)
                self._kill()
            _wait("everybody to be paid", self._is_paid, pause_s=0.3)

    def _kill(self) -> None:
        self.killed.append(self.server.last_step())
        self._is_up.clear()
        self.server.kill(database_first=self._random.random() < 0.5)
        self.server.start()  # computes the whole journal again, and refuses on a difference
        self._is_up.set()

    @contextmanager
    def _attesting(self) -> Iterator[None]:
        """Let attesters answer within the block, whenever there is a server to ask."""
        trust = self._trust()

        def attest() -> None:
            for number in ATTESTERS:
                http = self.server.ready["http"]
                trust["chain"]["rpc"] = f"{http}/rpc"
                attester_turn(http, trust, self.server.data_dir, number)

        with self._repeating(attest):
            yield

    @contextmanager
    def _time_passing(self) -> Iterator[None]:
        """Let bills come into a batch, and windows end, within the block."""

        def pass_time() -> None:
            batches = self._call("GET", "settlement/batches?all=true")
            states = {batch["state"] for batch in batches}
            if "proposed" in states:
                self._advance(WINDOW_S + 2)
            elif not states & {"formed", "signed"} and self._settled(batches) < len(self.sessions):
                self._advance(INTERVAL_S)

        with self._repeating(pass_time):
            yield

    @contextmanager
    def _repeating(self, step: Callable[[], None]) -> Iterator[None]:
        """Repeat a step in a thread; what fails because the server is killed is tried again."""
        is_over = threading.Event()

        def repeat() -> None:
            while not is_over.wait(0.2):
                if self._is_up.wait(0.1):
                    try:
                        step()
                    except (ChargEraError, OSError, ValueError, httpx2.HTTPError):
                        continue

        self._is_up.set()
        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    # What came of it --------------------------------------------------------------------------

    def _is_paid(self) -> bool:
        batches = self._call("GET", "settlement/batches?all=true")
        if self._settled(batches) < len(self.sessions):
            return False
        return self._on_chain(self._nothing_is_due)

    def _settled(self, batches: list[dict[str, Any]]) -> int:
        return sum(batch["sessions"] for batch in batches if batch["state"] == "settled")

    async def _nothing_is_due(self, contracts: ChainContracts) -> bool:
        token_id = int(self.passport_id, 16)
        due = [
            await contracts.read("ChargerShares", "claimable", token_id, self.euro, holder)
            for holder in (self.host, self.holder)
        ]
        due += [
            await contracts.read("SettlementHub", "withdrawable", account, self.euro)
            for account in self.withdrawing
        ]
        return not any(due)

    def check(self) -> None:
        """See that each batch, claim and payment came once, and that balances are exact."""
        self._on_chain(self._check_chain)
        for (digest,) in self.server.query("select digest from batch where state = 'settled'"):
            entries = self.server.query(
                "select convert_from(record, 'UTF8')::jsonb->>'state' from log_entry"
                " where kind = 'batch' and convert_from(record, 'UTF8')::jsonb->>'digest' = %s"
                " order by log_index",
                digest,
            )
            assert [state for (state,) in entries] == ["proposed", "settled"]
        self._on_chain(self._check_nonces)

    async def _check_nonces(self, contracts: ChainContracts) -> None:
        """See that what was stored is what was sent, one for one."""
        stored = dict(self.server.query("select sender, count(*) from chain_send group by 1"))
        for name in ("keeper", "gateway"):
            key = self._key(name)
            assert await contracts.chain.nonce(key.address) == stored[key.address_text]

    async def _check_chain(self, contracts: ChainContracts) -> None:
        batches = len(self.wallets)
        for event in ("Proposed", "Settled"):
            found = await contracts.events("SettlementHub", event)
            digests = Counter(each.members.digest for each in found)
            assert list(digests.values()) == [1] * batches, event
        claims = await contracts.events("ChargerShares", "Claimed")
        assert all(each.members.amount for each in claims)
        balances = self._expected()
        for account, balance in balances.items():
            held = await contracts.read("TestEuro", "balanceOf", account)
            assert held == balance, account
        timelock = contracts.address("TimelockController")
        fees = await contracts.read("SettlementHub", "withdrawable", timelock, self.euro)
        assert fees == sum(split_of(net).fee for net, _, _ in self._amounts())
        euros = await contracts.read("TestEuro", "totalSupply")
        assert euros == sum(balances.values()) + fees + await self._dust(contracts)

    async def _dust(self, contracts: ChainContracts) -> int:
        """Return what is below a unit of a holder, and stays in the shares' contract."""
        dust: int = await contracts.read(
            "TestEuro", "balanceOf", contracts.address("ChargerShares")
        )
        assert dust <= 1
        return dust

    def _amounts(self) -> list[tuple[int, int, bool]]:
        """Return net and VAT of each bill in minor units of the test euro, and how it was paid."""
        found = []
        for session_id, by_wallet in self.sessions:
            row = self._call("GET", f"sessions/{session_id}")
            found.append((row["net_minor"] * 10_000, row["vat_minor"] * 10_000, by_wallet))
        return found

    def _expected(self) -> dict[str, int]:
        """Compute what everybody must have by the bills alone."""
        amounts = self._amounts()
        held: Counter[str] = Counter()
        notified = sum(split_of(net).holders for net, _, _ in amounts)
        held[self.holder] += SOLD * notified // UNITS
        held[self.host] += (UNITS - SOLD) * notified // UNITS
        for net, vat, by_wallet in amounts:
            held[self.host] += split_of(net).host + (vat if by_wallet else 0)
        by_batch = [amounts[n : n + len(EVSES)] for n in range(0, len(amounts), len(EVSES))]
        for wallet, bills in zip(self.wallets, by_batch, strict=True):
            drawn = sum(net + vat for net, vat, by_wallet in bills if by_wallet)
            held[wallet.address_text] += ESCROW - drawn
            ops = divide_ops(sum(split_of(net).ops for net, _, _ in bills), len(ATTESTERS))
            held[self._key("keeper").address_text] += ops.proposer + ops.caller
            for number in ATTESTERS:
                held[self._attester(number)] += ops.each_signer
        held[self._key("gateway").address_text] = 0
        return dict(held)

    @property
    def withdrawing(self) -> list[str]:
        attesters = [self._attester(number) for number in ATTESTERS]
        wallets = [wallet.address_text for wallet in self.wallets]
        return [self.host, self._key("keeper").address_text, *attesters, *wallets]

    # Ways in ----------------------------------------------------------------------------------

    @property
    def euro(self) -> str:
        return str(self._trust()["chain"]["contracts"]["TestEuro"])

    @property
    def host(self) -> str:
        return self._key("host").address_text

    def _key(self, name: str) -> ChainKey:
        return ChainKey.load(self.server.data_dir / "keys" / name)

    def _attester(self, number: int) -> str:
        key = ChainKey.load(attester_folder(self.server.data_dir, number) / "key")
        return address_text(key.address)

    def _trust(self) -> dict[str, Any]:
        return dict(json.loads(self.server.fetch("/deployment.json")))

    def _on_chain(self, ask: Callable[[ChainContracts], Awaitable[T]]) -> T:
        """Ask the contracts over the server's RPC."""
        trusted = parse_trust(self._trust()).chain
        assert trusted is not None

        async def asked() -> T:
            async with trusted_contracts(trusted) as contracts:
                return await ask(contracts)

        return asyncio.run(asked())

    def _advance(self, seconds: float) -> str:
        now = self._post("clock/advance", {"seconds": seconds})["now"]
        assert datetime.fromisoformat(now)
        return str(now)

    def _post(self, path: str, body: Any = None) -> Any:
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        with self.server.client() as client:
            answer = client.request(method, path, json=body)
        if answer.is_error:
            raise Unavailable(f"{path}: {answer.text}")
        return answer.json()


def split_of(net: int) -> Any:
    """How the shipped policy divides a net amount."""
    return split(net, DEFAULT_POLICY.fees, COMMISSION_BPS, has_market=False)


def _ask(socket: ClientConnection, action: str, payload: Any) -> None:
    socket.send(json.dumps([2, str(uuid.uuid4()), action, payload]))
    answer = json.loads(socket.recv(30))
    assert answer[0] == 3, answer


def _wait(what: str, look: Callable[[], bool], *, pause_s: float = 0.01) -> None:
    patience_s = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < patience_s, f"waited in vain for {what}"
        time.sleep(pause_s)
