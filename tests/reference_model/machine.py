"""Random histories of the network, for the model and the contracts at once."""

from dataclasses import replace
from random import Random

from hypothesis.stateful import rule

from chargera.domain.settlement import RATE_UNIT, BatchState, Rail
from chargera.proofs.chain_values import ZERO_ADDRESS
from chargera.proofs.settlement import (
    Batch,
    Leaf,
    abi_batch,
)
from tests.reference_model.accounts import GOVERNOR, SEEDS, AccountsHistory
from tests.reference_model.hub import Proposal
from tests.reference_model.policy import DAY
from tests.reference_model.solidity import (
    account,
    sign,
)
from tests.reference_model.twin import (
    ATTESTERS,
    GATEWAYS,
    PEOPLE,
    RESERVE,
)


class SettlementHistory(AccountsHistory):
    """The network as it may come to be."""

    # Batches ----------------------------------------------------------------------------------

    @rule(seed=SEEDS)
    def a_batch_is_proposed(self, seed: int) -> None:
        self._propose(self._random(seed))

    @rule(seed=SEEDS)
    def another_batch_is_proposed(self, seed: int) -> None:
        self._propose(self._random(seed))

    @rule(seed=SEEDS)
    def one_more_batch_is_proposed(self, seed: int) -> None:
        self._propose(self._random(seed))

    def _propose(self, r: Random) -> None:
        twin = self.twin
        batch = self._batch(r)
        if self.batches and r.random() < 0.05:
            batch = r.choice(self.batches)
        active = [i for i, member in enumerate(twin.registry.members) if member.is_active]
        enough = twin.registry.quorum + r.choice((0, 0, 0, 0, 1, 2, -1))
        signers = set(r.sample(active, min(len(active), enough)))
        if r.random() < 0.05:
            signers.add(r.randrange(5))
        gateway_key = next((n for n in GATEWAYS if account(n) == batch.gateway), None)
        if gateway_key is not None and r.random() < 0.05:
            gateway_key = 71
        error = twin.propose(batch, signers, gateway_key=gateway_key, wrong=r.random() < 0.03)
        if error is None:
            self.batches.append(batch)

    def _batch(self, r: Random) -> Batch:
        twin = self.twin
        operator = r.choice(("NL*C4E", "NL*C4E", "NL*C4E", "DE*ABC"))
        asset = r.choice(twin.assets)
        table = r.sample(twin.tokens, r.choice((1, 2, 3)))
        if r.random() < 0.05:
            table.append(r.choice((b"\7" * 32, table[0])))
        if r.random() < 0.97:
            table.sort()
        numbers = self._numbers(r, operator, asset)
        leaves = [self._leaf(r, operator, asset, len(table), number) for number in numbers]
        fiat_total = sum(leaf.amount for leaf in leaves if leaf.rail is Rail.FIAT)
        has_fiat = any(leaf.rail is Rail.FIAT for leaf in leaves)
        least, most = twin.hub.rate_bounds(operator, asset, twin.now)
        rate = r.choice((least, most, (least + most) // 2)) if r.random() < 0.95 else most + 1
        batch = Batch(
            operator_id=operator,
            asset=asset if r.random() < 0.98 else bytes(19) + b"\1",
            checkpoint=r.randbytes(32),
            tree_size=self.log_index + 1,
            topic=bytes(20),
            sequence_number=1,
            valid_until=twin.now + r.choice((0, 3_600, 3_600)) - (r.random() < 0.03),
            proposer=account(r.choice(PEOPLE)) if r.random() < 0.98 else ZERO_ADDRESS,
            c4e_rate=rate or RATE_UNIT,
            gateway=account(r.choice(GATEWAYS)) if has_fiat else ZERO_ADDRESS,
            fiat_total=fiat_total + (r.random() < 0.02),
            passports=tuple(table),
            leaves=tuple(leaves),
        )
        return batch if r.random() < 0.98 else replace(batch, gateway=account(GATEWAYS[0]))

    def _numbers(self, r: Random, operator: str, asset: bytes) -> list[int]:
        """Mostly the next numbers of the lane, sometimes holes, numbers that are used, or twice."""
        used = self.twin.hub.settled[operator, asset]
        following = max(used, default=-1) + 1
        count = r.choice((1, 1, 2, 3, 5, 0 if r.random() < 0.1 else 4))
        numbers = [following + n for n in range(count)]
        if numbers and r.random() < 0.3:
            numbers[-1] = r.choice((r.randrange(following + 1), 254, 255, 256, 600, numbers[0]))
        return numbers

    def _leaf(self, r: Random, operator: str, asset: bytes, table: int, number: int) -> Leaf:
        twin = self.twin
        mine = [e for e in self.escrows[-12:] if (e.operator, e.asset) == (operator, asset)]
        self.log_index += 1
        self.keys += 1
        end = twin.now - r.choice((0, 1, 60, 3_600, 3_600, DAY, 40 * DAY)) + (r.random() < 0.01)
        start = end - r.choice((1, 600, 3_600, 3_600, 7_200)) + 7_300 * (r.random() < 0.02)
        version = twin.policy.at(max(start, 1_800_000_000)).number
        if r.random() < 0.05:
            version = r.randrange(twin.policy.latest + 2)
        wallet = bool(mine) and r.random() < 0.6
        amount = r.choice((0, 1, 12_345, 999_999, 3_000_000, 4_000_001, 50_000_000, 2**64 - 1))
        vat = r.choice((0, 21, amount // 5))
        if amount == 2**64 - 1 and r.random() < 0.9:
            amount, vat = 7_777_777, 1_633_333
        payer, key = ZERO_ADDRESS, self.keys.to_bytes(16, "big")
        if wallet:
            escrow = r.choice(mine)
            payer, key = account(escrow.payer), escrow.key
            if r.random() < 0.02:
                payer = ZERO_ADDRESS
            if r.random() < 0.5:
                amount = min(amount, escrow.maximum * 4 // 5)
                vat = min(vat, escrow.maximum - amount)
        elif r.random() < 0.2:
            key = (self.keys - 1).to_bytes(16, "big")
        return Leaf(
            evidence_digest=r.randbytes(32),
            payer=payer,
            cdr_no=number,
            log_index=self.log_index,
            amount=amount,
            vat=vat,
            session_key=key,
            start=max(start, 0),
            end=end,
            import_wh=r.choice((0, 1_000, 20_000, 20_000, 10**6)),
            export_wh=0,
            passport_index=r.randrange(table) if r.random() < 0.98 else table,
            evse=r.choice((1, 1, 2)),
            rail=Rail.WALLET if wallet else Rail.FIAT,
            proof_level=0,
            policy_version=version,
        )

    def _some_batch(self, r: Random, *states: BatchState) -> tuple[Batch, Proposal] | None:
        known = [(b, self.twin.hub.proposals[self.twin.digest(b)]) for b in self.batches]
        fit = [pair for pair in known if pair[1].state in states]
        if fit and r.random() < 0.97:
            return r.choice(fit[-6:])
        return r.choice(known) if known and r.random() < 0.2 else None

    @rule(seed=SEEDS)
    def a_batch_is_settled(self, seed: int) -> None:
        self._settle(self._random(seed))

    @rule(seed=SEEDS)
    def a_window_ends_and_the_batch_is_settled(self, seed: int) -> None:
        r = self._random(seed)
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is not None and found[1].state is BatchState.PROPOSED:
            self.twin.advance(max(0, found[1].window_ends_at + 1 - self.twin.now))
        self._settle(r)

    def _settle(self, r: Random) -> None:
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is None:
            self._propose(r)
        elif r.random() < 0.03:
            self.twin.settle(self._batch(r), r.choice(PEOPLE))
        else:
            self.twin.settle(found[0], r.choice(PEOPLE))

    @rule(seed=SEEDS)
    def a_leaf_is_challenged_as_impossible(self, seed: int) -> None:
        r = self._random(seed)
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is None:
            return
        batch, _ = found
        self._challenge_impossible(r, batch, r.randrange(len(batch.leaves) + (r.random() < 0.05)))

    def _challenge_impossible(self, r: Random, batch: Batch, leaf: int) -> None:
        twin = self.twin
        caller, digest = account(r.choice(PEOPLE)), twin.digest(batch)
        twin.do(
            "challengeImpossible",
            lambda: twin.hub.challenge_impossible(digest, leaf, caller, twin.now),
            lambda: twin.send(
                caller, "SettlementHub", "challengeImpossible", abi_batch(batch), leaf
            ),
        )

    @rule(seed=SEEDS)
    def two_leaves_are_challenged_as_overlapping(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is None:
            return
        batch, other = found[0], r.choice(self.batches)
        leaf = r.randrange(len(batch.leaves))
        other_leaf = r.randrange(len(other.leaves) + (r.random() < 0.05))
        clashes = self._clashes(batch)
        if clashes and r.random() < 0.8:
            leaf, other, other_leaf = r.choice(clashes)
        caller = account(r.choice(PEOPLE))
        digests = twin.digest(batch), twin.digest(other)
        twin.do(
            "challengeOverlap",
            lambda: twin.hub.challenge_overlap(
                digests[0], leaf, digests[1], other_leaf, caller, twin.now
            ),
            lambda: twin.send(
                caller,
                "SettlementHub",
                "challengeOverlap",
                abi_batch(batch),
                leaf,
                abi_batch(other),
                other_leaf,
            ),
        )

    def _clashes(self, batch: Batch) -> list[tuple[int, Batch, int]]:
        """Leaves of a batch, each with a leaf that came before it and cannot also be."""
        found = []
        for leaf, one in enumerate(batch.leaves):
            for other in self.batches:
                for place, two in enumerate(other.leaves):
                    same_place = (batch.passport_of(one), one.evse) == (
                        other.passport_of(two),
                        two.evse,
                    )
                    shared = min(one.end, two.end) - max(one.start, two.start)
                    if one.log_index > two.log_index and (
                        one.session_key == two.session_key or (same_place and shared > 60)
                    ):
                        found.append((leaf, other, place))
        return found

    @rule(seed=SEEDS)
    def a_batch_is_killed_without_quorum(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is None:
            return
        batch = found[0]
        twin.do(
            "killWithoutQuorum",
            lambda: twin.hub.kill_without_quorum(twin.digest(batch)),
            lambda: twin.send(account(71), "SettlementHub", "killWithoutQuorum", abi_batch(batch)),
        )

    @rule(seed=SEEDS)
    def an_attester_is_shown_to_have_signed_two_things(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        if not self.batches or r.random() < 0.85:
            return
        a = r.choice(self.batches)
        index, leaf = r.randrange(6), r.randrange(len(a.leaves))
        b = replace(a, valid_until=a.valid_until + 1)
        if r.random() < 0.8:
            changed = replace(b.leaves[leaf], vat=b.leaves[leaf].vat ^ 1)
            b = replace(b, leaves=(*b.leaves[:leaf], changed, *b.leaves[leaf + 1 :]))
        keys = (*ATTESTERS, RESERVE, 71)
        signers = keys[index], keys[index] if r.random() < 0.9 else 72
        caller = account(r.choice(PEOPLE))
        twin.do(
            "slashEquivocation",
            lambda: twin.registry.slash_equivocation(
                index, a, leaf, account(signers[0]), b, leaf, account(signers[1]), caller
            ),
            lambda: twin.send(
                caller,
                "AttesterRegistry",
                "slashEquivocation",
                index,
                abi_batch(a),
                leaf,
                sign(signers[0], twin.digest(a)),
                abi_batch(b),
                leaf,
                sign(signers[1], twin.digest(b)),
            ),
        )

    @rule(seed=SEEDS)
    def a_leaf_is_disputed(self, seed: int) -> None:
        r, twin = self._random(seed), self.twin
        found = self._some_batch(r, BatchState.PROPOSED)
        if found is None:
            return
        batch = found[0]
        self._dispute(r, batch)
        what = r.randrange(3)
        if what == 0:
            twin.advance(DAY + 1)
            twin.settle(batch, PEOPLE[0])
            self._end_dispute(r)
        elif what == 1:
            for leaf in range(len(batch.leaves)):
                self._challenge_impossible(r, batch, leaf)

    def _dispute(self, r: Random, batch: Batch) -> None:
        twin = self.twin
        place = r.randrange(len(batch.leaves))
        caller, digest = account(r.choice(PEOPLE)), twin.digest(batch)
        twin.do(
            "dispute",
            lambda: twin.hub.dispute(digest, place, caller, twin.now),
            lambda: (
                twin.send(caller, "SettlementHub", "dispute", abi_batch(batch), place, bytes(32))
                and None
            ),
        )

    @rule(seed=SEEDS)
    def a_dispute_ends(self, seed: int) -> None:
        self._end_dispute(self._random(seed))

    def _end_dispute(self, r: Random) -> None:
        twin = self.twin
        hub = twin.hub
        if not hub.disputes:
            return
        due = [
            key
            for key, one in hub.disputes.items()
            if one.is_open and hub.proposals[key[0]].state is BatchState.SETTLED
        ]
        digest, place = r.choice(sorted(due if due and r.random() < 0.9 else hub.disputes))
        if r.random() < 0.5:
            twin.advance(max(0, hub.disputes[digest, place].opened_at + 21 * DAY - twin.now))
        batch = twin.hub.proposals[digest].batch
        dispute_id = int.from_bytes(twin.dispute_id(digest, place), "big")
        if r.random() < 0.5:
            if r.random() < 0.7:
                self._name_governor()
            ruling, caller = r.random() < 0.5, account(r.choice((GOVERNOR, GOVERNOR, 71)))
            twin.do(
                "rule",
                lambda: twin.hub.end_dispute(digest, place, caller, twin.now, ruling),
                lambda: twin.send(
                    caller, "SettlementHub", "rule", dispute_id, abi_batch(batch), ruling
                ),
            )
            return
        caller = account(r.choice(PEOPLE))
        twin.do(
            "endDispute",
            lambda: twin.hub.end_dispute(digest, place, caller, twin.now),
            lambda: twin.send(caller, "SettlementHub", "endDispute", dispute_id, abi_batch(batch)),
        )


def play(seed: int, steps: int) -> None:
    """Play one history that its seed decides alone, every rule equally often."""
    r, history = Random(seed), SettlementHistory()
    rules = sorted(
        name
        for name in dir(SettlementHistory)
        if hasattr(getattr(SettlementHistory, name), "hypothesis_stateful_rule")
    )
    try:
        for _ in range(steps):
            getattr(history, r.choice(rules))(seed=r.getrandbits(32))
            history.sums_are_equal()
    except BaseException:
        history.twin.close()
        raise
    history.teardown()
