"""An emulator of Hedera: one consensus node's gRPC API and a mirror node's REST API, for tests.

It is as near to the network as one process comes, and this it is not:

- no gossip, no consensus, one node: a transaction is handled the moment it arrives;
- fees are one total by a dated table, paid to 0.0.98 and not split among nodes; no rent, no
  staking, no tokens (HTS), no allowances, no custom fees, no hooks, no record or block streams;
- the EVM is ours (pyrevm or py-evm, Cancun), not Besu: gas may differ in detail, and operation
  throttles are not modelled; inside it there is no HBAR, so sending value to a contract is refused;
- a ContractCreate of HAPI counts in the sender's nonce and gives the contract an address of CREATE;
- long-zero addresses of contracts and accounts that have another one are known at the entrances
  (transactions, queries, mirror), not inside a run;
- of the system contracts there is only 0x16b (`scheduleCall`, `hasScheduleCapacity`), a mock in
  assembly whose price is fixed; a schedule's run is paid by its payer without an authorization key;
- the mirror answers from the node's memory at the present state: a block, a timestamp or a balance
  in the past cannot be asked for, and a lag hides rows, not states; blocks are stretches of two
  seconds whose hashes mean nothing;
- there is no TLS; the mirror's gRPC subscriptions know no faults.

    async with running_emulator(seed="a") as emulator:
        emulator.grpc_address, emulator.mirror_url, emulator.operator_id, emulator.operator_key_hex
        emulator.faults.add(FaultKind.BUSY, times=2, method="submitMessage")
        emulator.clock.advance(3600)
"""

from tests.doubles.hedera.emulator import Emulator, running_emulator
from tests.doubles.hedera.faults import FaultKind

__all__ = ["Emulator", "FaultKind", "running_emulator"]
