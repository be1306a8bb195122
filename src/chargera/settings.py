"""Configuration, read once at start and passed on: file, then environment, then secret files.

`chargera.toml` in the data folder is read first. `CHARGERA_SECTION_NAME` in the environment goes
before it, and `CHARGERA_SECTION_NAME_FILE`, the path of a file with the value, before both.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from chargera.domain.errors import InvalidInput, Unreadable

PREFIX = "CHARGERA_"
CONFIG_FILE = "chargera.toml"
ENTITY_ID = re.compile(r"\d{1,5}\.\d{1,5}\.\d{1,10}")
OPERATOR_ID = re.compile(r"[A-Z]{2}\*[A-Z0-9]{3}")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatabaseSettings(_Section):
    """Where the records are."""

    url: SecretStr | None = Field(
        default=None, description="PostgreSQL address; without one a server starts here"
    )


class OperatorSettings(_Section):
    """Who runs this installation."""

    id: str = Field(
        default="NL*C4E", pattern=OPERATOR_ID.pattern, description="OCPI country and party id"
    )


class LedgerSettings(_Section):
    """Where heads are anchored."""

    network: Literal["embedded", "local", "testnet", "mainnet", "custom"] = Field(
        default="embedded",
        description="the ledger; embedded is simulated on this machine, the others are Hedera",
    )
    anchor_interval_s: int = Field(
        default=3600,
        ge=1,
        le=30 * 86_400,
        description="longest network time between anchors, as the first NetworkPolicy says it",
    )
    anchor_sessions: int = Field(
        default=256,
        ge=1,
        le=1_000_000,
        description="sessions after which an anchor is due, as the first NetworkPolicy says it",
    )


class HederaSettings(_Section):
    """Hedera's network and the account that pays there; not for the embedded ledger."""

    operator_account: str | None = Field(
        default=None, pattern=ENTITY_ID.pattern, description="account that pays, such as 0.0.1234"
    )
    operator_key: SecretStr | None = Field(
        default=None,
        description="its private key (ECDSA secp256k1) in hex; none: operator_command signs",
    )
    operator_command: str | None = Field(
        default=None,
        description="command that signs with its key, for a KMS or HSM: the message in hex on "
        "standard input, the signature of 64 bytes in hex on standard output",
    )
    operator_public_key: str | None = Field(
        default=None, description="the public key that operator_command signs with, 33 bytes in hex"
    )
    nodes: str = Field(
        default="", description="nodes as HOST:PORT=ACCOUNT, separated by commas; custom and local"
    )
    mirrors: str = Field(
        default="", description="addresses of mirror nodes, separated by commas; empty: by network"
    )
    relay: str | None = Field(
        default=None, description="address of a JSON-RPC relay for wallets; none: by network"
    )
    chain_id: int | None = Field(default=None, ge=1, description="chain id of a custom network")
    explorer: str | None = Field(
        default=None, description="address of an explorer of a custom network"
    )
    poll_s: float = Field(
        default=5.0, gt=0, le=3600, description="real time between two looks at the contracts"
    )
    days_left_min: int = Field(
        default=14, ge=1, le=3650, description="days of money left below which a warning is given"
    )


class ChainSettings(_Section):
    """The embedded chain, which runs the contracts."""

    engine: Literal["auto", "pyrevm", "py-evm"] = Field(
        default="auto", description="the EVM; auto: pyrevm where there is a wheel, else py-evm"
    )
    rpc: str | None = Field(
        default=None, description="address of another chain to settle on; none: the embedded one"
    )
    snapshot_interval: int = Field(
        default=2_000,
        ge=1,
        le=1_000_000,
        description="transactions after which the chain's state is stored, for a faster start",
    )


class SettlementSettings(_Section):
    """Passports, batches and payouts on chain."""

    enabled: bool = Field(default=True, description="settle bills on chain")
    attesters: bool = Field(
        default=True, description="run three attesters as processes of this server"
    )
    window_s: int = Field(
        default=86_400, ge=1, le=2_592_000, description="how long a batch may be challenged"
    )
    contest_period_s: int = Field(
        default=259_200, ge=1, le=2_592_000, description="how long a registration may be contested"
    )
    batch_sessions: int = Field(
        default=48, ge=1, le=48, description="bills after which a batch is formed"
    )
    batch_interval_s: int = Field(
        default=3_600, ge=1, le=2_592_000, description="longest time that a bill waits for a batch"
    )
    least_claim: int = Field(
        default=1, ge=1, description="least amount that is paid out unasked, minor units"
    )


class LogSettings(_Section):
    """The event log."""

    origin: str = Field(
        default="", description="the log's name in its heads; empty: made from the operator id"
    )
    checkpoint_interval_s: int = Field(
        default=10, ge=1, le=3600, description="least network time between signed heads"
    )


class ChannelSettings(_Section):
    """Bounds of the OCPP channel."""

    frame_bytes_1_6: int = Field(default=65_536, ge=1024, description="largest OCPP 1.6 frame")
    frame_bytes_2_x: int = Field(default=262_144, ge=1024, description="largest OCPP 2.x frame")
    messages_per_s: float = Field(default=20, gt=0, description="message rate of one station")
    waiting_sockets: int = Field(default=1000, ge=1, description="sockets before login, in all")
    waiting_sockets_per_address: int = Field(
        default=200, ge=1, description="sockets before login of one address"
    )
    guesses_answered: int = Field(
        default=5, ge=1, description="wrong passwords a minute that are taken calmly"
    )
    guesses_hashed: int = Field(
        default=10, ge=1, description="wrong passwords a minute for which a hash is computed"
    )
    heartbeat_interval_s: int = Field(
        default=300, ge=1, le=86_400, description="interval that stations are told"
    )
    ping_interval_s: float = Field(default=30, gt=0, description="silence before a ping")


class HttpSettings(_Section):
    """Pages and REST."""

    secure_cookies: bool = Field(
        default=False, description="pages are reached over TLS: cookies are never sent without"
    )


class StripeSettings(_Section):
    """The card rail; nothing uses it yet."""

    api_base: str | None = Field(default=None, description="address of the card API")


class Settings(_Section):
    """All settings of one server."""

    database: DatabaseSettings = DatabaseSettings()
    operator: OperatorSettings = OperatorSettings()
    ledger: LedgerSettings = LedgerSettings()
    hedera: HederaSettings = HederaSettings()
    chain: ChainSettings = ChainSettings()
    settlement: SettlementSettings = SettlementSettings()
    log: LogSettings = LogSettings()
    channel: ChannelSettings = ChannelSettings()
    http: HttpSettings = HttpSettings()
    stripe: StripeSettings = StripeSettings()

    @property
    def log_origin(self) -> str:
        """The log's origin: as set, or made from the operator id."""
        return self.log.origin or f"log.chargera.example/{self.operator.id.replace('*', '-')}/1"


def load(data_dir: Path, environment: Mapping[str, str]) -> Settings:
    """Read the settings of a data folder.

    Raises Unreadable for a file that cannot be read, InvalidInput for a value that is out of its
    range or a name that does not exist; neither repeats a secret.
    """
    values = _from_file(data_dir / CONFIG_FILE)
    for section, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type), "every setting stands in a section"
        assert issubclass(model, BaseModel), "every setting stands in a section"
        for name in model.model_fields:
            value = _from_environment(f"{PREFIX}{section}_{name}".upper(), environment)
            if value is not None:
                of_section = values.setdefault(section, {})
                if isinstance(of_section, dict):  # what else the file has there, pydantic refuses
                    of_section[name] = value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            f"setting {where}: {first['msg']}",
            field=where,
            remedy=f"correct it in {CONFIG_FILE} or in the environment; see `settings show`",
        ) from None


def shown(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return all settings for people and machines, secrets masked."""
    return settings.model_dump(mode="json")


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Unreadable(
            f"{path.name} cannot be read: {error}", field="settings", remedy="correct the file"
        ) from error


def _from_environment(name: str, environment: Mapping[str, str]) -> str | None:
    path = environment.get(f"{name}_FILE")
    if path is None:
        return environment.get(name)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreadable(
            f"the file that {name}_FILE names cannot be read",
            field=name,
            remedy="check its path and permissions",
        ) from error
