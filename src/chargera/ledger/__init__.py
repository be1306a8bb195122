"""The chain: topic clients and anchoring."""
