"""The embedded topic over rows in memory; over PostgreSQL in the integration tests."""

import pytest

from chargera.app.log_testing import MemoryTopicStore
from chargera.ledger.embedded_topic import EmbeddedTopic
from tests.unit.ledger.contracts import HandClock, TopicContract


class TestMemoryTopic(TopicContract):
    @pytest.fixture
    def store(self) -> MemoryTopicStore:
        return MemoryTopicStore()


async def test_other_numbers_may_be_given() -> None:
    topic = await EmbeddedTopic.open(MemoryTopicStore(), HandClock(), "0.0.5", "0.0.6")
    info = await topic.info()
    assert (info.topic_id, info.payer_account_id) == ("0.0.5", "0.0.6")
