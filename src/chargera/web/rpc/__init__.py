"""The embedded chain over Ethereum's JSON-RPC, for wallets and web3 libraries."""
