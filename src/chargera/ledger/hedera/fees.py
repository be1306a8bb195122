"""What Hedera charges, as a dated table in dollars, and the arithmetic over it.

Amounts are integers of 10^-10 dollars (`usd_e10`): a gas is 852 of them, so nothing is rounded.
Fees are fixed in dollars and paid in HBAR at the network's rate of the hour. What the network
would ask now, `POST /api/v1/network/fees` of a mirror tells; `chargera doctor` compares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from chargera.domain.errors import InvalidInput
from chargera.proofs.anchor import MESSAGE_BYTES_MAX

USD_E10 = 10**10
"""So many units are a dollar."""


class Service(StrEnum):
    """What is paid for; a call of a contract costs its gas on top of its base."""

    ACCOUNT_CREATE = "account_create"
    ACCOUNT_UPDATE = "account_update"
    CONTRACT_CALL = "contract_call"
    CONTRACT_CREATE = "contract_create"
    ETHEREUM_TRANSACTION = "ethereum_transaction"
    QUERY = "query"
    SCHEDULE_CONTRACT_CALL = "schedule_contract_call"
    SCHEDULE_CREATE = "schedule_create"
    SCHEDULE_DELETE = "schedule_delete"
    SCHEDULE_SIGN = "schedule_sign"
    TOPIC_CREATE = "topic_create"
    TOPIC_MESSAGE = "topic_message"
    TOPIC_UPDATE = "topic_update"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class FeeTable:
    """The fees of a network as of a day; see `MAINNET`."""

    as_of: date
    base_usd_e10: Mapping[Service, int]
    signature_usd_e10: int
    """Each signature beyond the first."""
    key_usd_e10: int
    """Each key beyond the first that an entity is created with."""
    message_bytes_included: int
    message_byte_usd_e10: int
    """Each byte of a topic message beyond those that are included."""
    transfer_account_usd_e10: int
    """Each account of a transfer beyond two."""
    gas_usd_e10: int
    system_contract_percent: int
    """Surcharge on what a system contract does for a contract."""

    def base(self, service: Service, *, signatures: int = 1) -> int:
        """Return the fee of a transaction with so many signatures and nothing extra."""
        return self.base_usd_e10[service] + self._beyond(signatures, self.signature_usd_e10)

    def message(self, size_bytes: int, *, signatures: int = 1) -> int:
        """Return the fee of one topic message. Raises InvalidInput over 1,024 bytes."""
        if not 0 < size_bytes <= MESSAGE_BYTES_MAX:
            raise InvalidInput(
                f"a topic message has 1 to {MESSAGE_BYTES_MAX} bytes, not {size_bytes}",
                field="message",
            )
        extra = max(0, size_bytes - self.message_bytes_included) * self.message_byte_usd_e10
        return self.base(Service.TOPIC_MESSAGE, signatures=signatures) + extra

    def topic_create(self, *, keys: int = 1, signatures: int = 1) -> int:
        """Return the fee of a topic with so many keys in its admin and submit keys together."""
        return self.base(Service.TOPIC_CREATE, signatures=signatures) + self._beyond(
            keys, self.key_usd_e10
        )

    def transfer(self, *, accounts: int = 2, signatures: int = 1) -> int:
        """Return the fee of a transfer of HBAR between so many accounts."""
        extra = max(0, accounts - 2) * self.transfer_account_usd_e10
        return self.base(Service.TRANSFER, signatures=signatures) + extra

    def account_by_transfer(self) -> int:
        """Return the fee of a transfer to an alias that has no account yet, which makes one."""
        return self.transfer() + self.base_usd_e10[Service.ACCOUNT_CREATE]

    def ethereum(self, gas: int) -> int:
        """Return the fee of an EthereumTransaction that uses so much gas."""
        return self.base_usd_e10[Service.ETHEREUM_TRANSACTION] + gas * self.gas_usd_e10

    def scheduled_call(self) -> int:
        """Return what a contract pays for scheduling a call, without the gas of its run."""
        return self.base_usd_e10[Service.SCHEDULE_CONTRACT_CALL] * (
            100 + self.system_contract_percent
        ) // 100  # fmt: skip

    @staticmethod
    def _beyond(count: int, usd_e10: int) -> int:
        return max(0, count - 1) * usd_e10


MAINNET = FeeTable(
    as_of=date(2026, 8, 31),
    base_usd_e10={
        Service.ACCOUNT_CREATE: 500_000_000,
        Service.ACCOUNT_UPDATE: 2_200_000,
        Service.CONTRACT_CALL: 0,
        Service.CONTRACT_CREATE: 10_000_000_000,
        Service.ETHEREUM_TRANSACTION: 0,
        Service.QUERY: 1_000_000,
        Service.SCHEDULE_CONTRACT_CALL: 1_000_000_000,
        Service.SCHEDULE_CREATE: 100_000_000,
        Service.SCHEDULE_DELETE: 10_000_000,
        Service.SCHEDULE_SIGN: 10_000_000,
        Service.TOPIC_CREATE: 100_000_000,
        Service.TOPIC_MESSAGE: 8_000_000,
        Service.TOPIC_UPDATE: 2_200_000,
        Service.TRANSFER: 1_000_000,
    },
    signature_usd_e10=100_000,
    key_usd_e10=100_000_000,
    message_bytes_included=100,
    message_byte_usd_e10=6_800,
    transfer_account_usd_e10=1_000_000,
    gas_usd_e10=852,
    system_contract_percent=20,
)
"""The simple fees (HIP-1261) in force since May 2026; testnet charges the same in test HBAR."""


def usd_text(usd_e10: int, places: int = 10) -> str:
    """Return dollars as a decimal text with so many places, rounded half up."""
    step = 10 ** (10 - places)
    sign, amount = ("-", -usd_e10) if usd_e10 < 0 else ("", usd_e10)
    whole, part = divmod((amount + step // 2) // step, 10**places)
    return f"{sign}{whole}.{part:0{places}}" if places else f"{sign}{whole}"
