"""The embedded chain: EVM engines, signed transactions, journal and deployment of the contracts."""
