"""Hedera behind the ports that the embedded ledger serves: topic, chain, mirrors, costs."""
