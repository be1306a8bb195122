// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PolicyParameters, Batch, Leaf, LeafMeter, OperatorId, Rail} from "../src/Types.sol";
import {SettlementHubFixture} from "./SettlementHubFixture.sol";
import {vm} from "./Vm.sol";

/// @title Challenges and disputes: how a batch dies, and what becomes of a disputed leaf.
contract SettlementCourtTest is SettlementHubFixture {
    uint256 private constant SLASH = BOND / 5;

    // Without quorum (a) ------------------------------------------------------------------------

    function test_a_batch_without_quorum_is_killed() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = propose(batch);
        vm.expectRevert(abi.encodeWithSelector(StillQuorum.selector, digest));
        hub.killWithoutQuorum(batch);
        equivocate(0);
        expectKilled(digest, 1, address(this));
        hub.killWithoutQuorum(batch);
        assertUndone(digest, 1);
        expectProposeRefused(batch, abi.encodeWithSelector(BatchKnown.selector, digest));
    }

    /// @dev Also when its window is over: until it is settled.
    function test_a_batch_with_signers_to_spare_outlives_one() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = propose(batch, 15);
        equivocate(0);
        vm.expectRevert(abi.encodeWithSelector(StillQuorum.selector, digest));
        hub.killWithoutQuorum(batch);
        equivocate(1);
        skip(2 days);
        hub.killWithoutQuorum(batch);
    }

    // Overlap (b) -------------------------------------------------------------------------------

    function test_a_session_of_two_bills_kills_the_later() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = propose(batch);
        Batch memory earlier = earlierBatch(batch.leaves[0], 100 days);
        earlier.leaves[0].money = money(5e6, 0, keyOf(1));
        propose(earlier, 14);
        // Only those who signed both: 1 and 2.
        expectKilled(digest, 2, STRANGER);
        vm.prank(STRANGER);
        hub.challengeOverlap(batch, 0, earlier, 0);
        assertUndone(digest, 1);
        assertBonds(BOND, BOND - SLASH, BOND - SLASH, BOND);
        assertEq(c4e.balanceOf(STRANGER), 2 * SLASH / 4);
    }

    /// @dev More than 60 s on one EVSE; 60 are an inexact clock.
    function test_sessions_that_overlap_on_one_evse() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = propose(batch);
        Batch memory earlier = earlierBatch(batch.leaves[0], SESSION - 60);
        propose(earlier);
        expectNoFault(batch, earlier);
        earlier = earlierBatch(batch.leaves[0], SESSION - 61);
        propose(earlier);
        hub.challengeOverlap(batch, 0, earlier, 0);
        assertUndone(digest, 1);
        assertBonds(BOND - SLASH, BOND - SLASH, BOND - SLASH, BOND);
    }

    function test_no_overlap_on_another_evse_passport_operator_or_of_a_later_bill() external {
        Batch memory batch = walletBatch(address(euro), 1);
        propose(batch);
        Batch memory other = earlierBatch(batch.leaves[0], 0);
        uint256 word = LeafMeter.unwrap(other.leaves[0].meter);
        other.leaves[0].meter = LeafMeter.wrap(word ^ uint256(3) << 64);
        propose(other);
        expectNoFault(batch, other);
        other.leaves[0].meter = LeafMeter.wrap(word ^ uint256(1) << 72);
        propose(other);
        expectNoFault(batch, other);
        other.leaves[0].meter = LeafMeter.wrap(word);
        other.operatorId = OperatorId.wrap("DE*XYZ");
        propose(other);
        expectNoFault(batch, other);
        other.operatorId = OPERATOR;
        other.leaves[0].party = party(payerOf(9), 9, 2);
        propose(other);
        expectNoFault(batch, other);
        // The passport counts, not its place in a table.
        bytes32[] memory table = new bytes32[](1);
        table[0] = passports[1];
        other.passports = table;
        other.leaves[0].party = party(payerOf(9), 9, 0);
        propose(other);
        expectNoFault(batch, other);
    }

    /// @dev Else one entry of the log, billed twice, would have no later bill and no challenge.
    function test_two_bills_of_one_entry_are_each_the_later() external {
        Batch memory batch = walletBatch(address(euro), 1);
        Batch memory other = earlierBatch(batch.leaves[0], 0);
        other.leaves[0].party = party(payerOf(9), 9, 1);
        propose(other);
        bytes32 digest = propose(batch);
        uint256 snapshot = vm.snapshotState();
        hub.challengeOverlap(batch, 0, other, 0);
        assertUndone(digest, 1);
        assertBonds(BOND - SLASH, BOND - SLASH, BOND - SLASH, BOND);
        vm.revertToState(snapshot);
        hub.challengeOverlap(other, 0, batch, 0);
        assertEq(uint256(hub.batchOf(hub.batchDigest(other)).state), uint256(State.Killed));
        assertBonds(BOND - SLASH, BOND - SLASH, BOND - SLASH, BOND);
    }

    /// @dev A bill that was skipped comes again with the same entry and number: that is no fault.
    function test_one_bill_in_two_batches_is_no_fault_but_in_two_lanes() external {
        Batch memory batch = walletBatch(address(euro), 1);
        propose(batch);
        Batch memory again = emptyBatch(address(euro), 1);
        again.leaves[0] = batch.leaves[0];
        again.sequenceNumber = 10;
        propose(again);
        expectNoFault(batch, again);
        expectNoFault(again, batch);
        expectNoFault(batch, batch);
        Batch memory lane = emptyBatch(address(c4e), 1);
        lane.leaves[0] = batch.leaves[0];
        bytes32 digest = propose(lane);
        hub.challengeOverlap(lane, 0, batch, 0);
        assertEq(uint256(hub.batchOf(digest).state), uint256(State.Killed));
    }

    function test_overlap_with_a_settled_batch_and_within_one() external {
        Batch memory batch = walletBatch(address(euro), 1);
        Batch memory earlier = earlierBatch(batch.leaves[0], 0);
        proposeAndSettle(earlier);
        batch.validUntil = uint64(time());
        bytes32 digest = propose(batch);
        hub.challengeOverlap(batch, 0, earlier, 0);
        assertUndone(digest, 1);

        Batch memory both = emptyBatch(address(euro), 2);
        (both.leaves[0], both.leaves[1]) = (earlier.leaves[0], batch.leaves[0]);
        digest = propose(both);
        vm.expectRevert(NoFault.selector);
        hub.challengeOverlap(both, 0, both, 1);
        hub.challengeOverlap(both, 1, both, 0);
        assertUndone(digest, 1);
    }

    /// @dev I25: of two batches with different signers one is killed and nobody is punished.
    function test_nobody_who_signed_one_of_two_is_slashed() external {
        leave(3);
        Batch memory batch = walletBatch(address(euro), 1);
        Batch memory earlier = earlierBatch(batch.leaves[0], 0);
        propose(earlier, 3); // 0 and 1 of three
        leave(1);
        c4e.transfer(beneficiaryOf(4), BOND);
        vm.prank(beneficiaryOf(4));
        c4e.approve(address(registry), BOND);
        vm.prank(address(timelock));
        registry.admit(signerOf(4), beneficiaryOf(4));
        bytes32 digest = propose(batch, 20); // 2 and 4 of three others
        hub.challengeOverlap(batch, 0, earlier, 0);
        assertUndone(digest, 1);
        assertBonds(BOND, BOND, BOND, BOND);
        assertEq(registry.bondOf(4), BOND);
    }

    function test_overlap_refuses() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = propose(batch);
        Batch memory earlier = earlierBatch(batch.leaves[0], 0);
        bytes32 other = hub.batchDigest(earlier);
        vm.expectRevert(abi.encodeWithSelector(WrongState.selector, other, State.None));
        hub.challengeOverlap(batch, 0, earlier, 0);
        propose(earlier);
        vm.expectRevert(abi.encodeWithSelector(BadLeaf.selector, 1, bytes32("place")));
        hub.challengeOverlap(batch, 0, earlier, 1);
        vm.expectRevert(abi.encodeWithSelector(BadLeaf.selector, 1, bytes32("place")));
        hub.challengeOverlap(batch, 1, earlier, 0);
        uint40 endsAt = uint40(time()) + 1 days;
        skip(1 days + 1);
        vm.expectRevert(abi.encodeWithSelector(WindowOver.selector, endsAt));
        hub.challengeOverlap(batch, 0, earlier, 0);
        hub.settle(batch);
        vm.expectRevert(abi.encodeWithSelector(WrongState.selector, digest, State.Settled));
        hub.challengeOverlap(batch, 0, earlier, 0);
    }

    function test_a_killed_batch_accuses_nobody() external {
        Batch memory batch = walletBatch(address(euro), 1);
        Batch memory earlier = earlierBatch(batch.leaves[0], 0);
        earlier.leaves[0].meter =
            LeafMeter.wrap(LeafMeter.unwrap(earlier.leaves[0].meter) | 0xffff << 128);
        bytes32 dead = propose(earlier);
        hub.challengeImpossible(earlier, 0);
        propose(batch);
        vm.expectRevert(abi.encodeWithSelector(WrongState.selector, dead, State.Killed));
        hub.challengeOverlap(batch, 0, earlier, 0);
    }

    // Impossible (c) ----------------------------------------------------------------------------

    function test_an_honest_leaf_is_possible_for_ever() external {
        Batch memory batch = walletBatch(address(euro), 1);
        propose(batch);
        expectPossible(batch);
        // Whatever comes later (I25): the operator and the policy change, the charger retires.
        PolicyParameters memory changed = parameters();
        vm.prank(address(timelock));
        policy.append(uint40(time()), changed, assetPolicies());
        lower(1, 1);
        vm.prank(HOST);
        passport.retire(passports[0], keccak256("retired"), 1);
        expectPossible(batch);
    }

    function test_energy_that_it_cannot_have_given() external {
        // 44 kW for an hour and a minute and a tenth more, and 100 Wh.
        uint48 limit = uint48(uint256(RATED_W) * (SESSION + 60) * 11 / 36_000 + 100);
        Batch memory batch = possible();
        setMeter(batch, base, base + SESSION, limit, 0, 1);
        propose(batch);
        expectPossible(batch);
        setMeter(batch, base, base + SESSION, limit + 1, 0, 1);
        expectImpossible(batch);
    }

    function test_an_end_that_is_no_end() external {
        Batch memory batch = possible();
        setMeter(batch, base, base, 0, 0, 1);
        expectImpossible(batch);
        uint40 now_ = uint40(time());
        setMeter(batch, now_ - 60, now_, 0, 0, 1);
        propose(batch);
        expectPossible(batch);
        setMeter(batch, now_ - 60, now_ + 1, 0, 0, 1);
        expectImpossible(batch);
    }

    function test_a_passport_that_is_not_registered_then() external {
        Batch memory batch = possible();
        uint40 registeredAt = passport.factsOf(passports[0]).registeredAt;
        setMeter(batch, registeredAt - 60, registeredAt, 0, 0, 1);
        propose(batch);
        expectPossible(batch);
        setMeter(batch, registeredAt - 60, registeredAt - 1, 0, 0, 1);
        expectImpossible(batch);
        bytes32[] memory table = new bytes32[](1);
        table[0] = keccak256("nobody's");
        batch.passports = table;
        setMeter(batch, base, base + 60, 0, 0, 1);
        expectImpossible(batch);
    }

    function test_a_passport_that_is_retired_then() external {
        vm.prank(HOST);
        passport.retire(passports[0], keccak256("retired"), 1);
        uint40 retiredAt = uint40(time());
        skip(1 days);
        Batch memory batch = possible();
        setMeter(batch, retiredAt - 60, retiredAt, 0, 0, 1);
        propose(batch);
        expectPossible(batch);
        setMeter(batch, retiredAt - 60, retiredAt + 1, 0, 0, 1);
        expectImpossible(batch);
    }

    function test_a_passport_of_another_operator() external {
        Batch memory batch = possible();
        batch.operatorId = OperatorId.wrap("DE*XYZ");
        expectImpossible(batch);
    }

    function test_a_policy_that_was_not_in_force() external {
        PolicyParameters memory changed = parameters();
        vm.prank(address(timelock));
        policy.append(uint40(time() + 1), changed, assetPolicies());
        uint40 from = uint40(time()) + 1;
        skip(1 days);
        Batch memory batch = possible();
        setMeter(batch, from - 1, from + 60, 0, 0, 1);
        propose(batch);
        expectPossible(batch);
        setMeter(batch, from - 1, from + 60, 0, 0, 2);
        expectImpossible(batch);
        setMeter(batch, from, from + 60, 0, 0, 1);
        expectImpossible(batch);
    }

    /// @dev 2 EUR a kWh, 10 an hour, 5 a session, each rounded up.
    function test_a_bill_above_the_ceiling() external {
        Batch memory batch = possible();
        setMeter(batch, base, base + SESSION, 1_500, 0, 1);
        batch.leaves[0].money = money(18e6, 1000e6, keyOf(1));
        propose(batch);
        expectPossible(batch);
        batch.leaves[0].money = money(18e6 + 1, 0, keyOf(1));
        expectImpossible(batch);
        setMeter(batch, base, base + 1, 0, 0, 1);
        batch.leaves[0].money = money(5_002_778, 0, keyOf(1));
        propose(batch);
        expectPossible(batch);
        batch.leaves[0].money = money(5_002_779, 0, keyOf(1));
        expectImpossible(batch);
    }

    function test_impossible_refuses() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = propose(batch);
        vm.expectRevert(abi.encodeWithSelector(BadLeaf.selector, 1, bytes32("place")));
        hub.challengeImpossible(batch, 1);
        uint40 endsAt = uint40(time()) + 1 days;
        skip(1 days + 1);
        vm.expectRevert(abi.encodeWithSelector(WindowOver.selector, endsAt));
        hub.challengeImpossible(batch, 0);
        hub.settle(batch);
        vm.expectRevert(abi.encodeWithSelector(WrongState.selector, digest, State.Settled));
        hub.challengeImpossible(batch, 0);
    }

    /// @dev I11: locks and exposures return, nothing was paid, the bill may come again.
    function test_a_killed_batch_has_no_effect() external {
        Batch memory batch = mixedBatch();
        batch.leaves[2].meter =
            LeafMeter.wrap(LeafMeter.unwrap(batch.leaves[2].meter) | 0xffff << 128);
        bytes32 digest = propose(batch);
        assertEq(lockedOf(address(euro)), 5e6);
        uint256 first = dispute(batch, 0, STRANGER);
        uint256 second = dispute(batch, 1, STRANGER);
        assertEq(lockedOf(address(euro)), 0);
        assertTrue(hub.isSettled(OPERATOR, address(euro), 1));
        expectKilled(digest, 3, address(this));
        hub.challengeImpossible(batch, 2);
        assertUndone(digest, 1);
        assertEq(lockedOf(address(euro)), 0);
        assertEq(freeOf(address(euro)), 5e6);
        assertEq(hub.settledWord(OPERATOR, address(euro), 0), 0);
        // The escrow is open again with what the leaf asked for; the rest was credited.
        assertEq(hub.escrowOf(escrowIdOf(1)).max, 6e6);
        assertEq(hub.escrowOf(escrowIdOf(1)).assetIndex, policy.assetIndex(address(euro)));
        assertEq(hub.withdrawable(payerOf(1), address(euro)), 4e6);
        // Both bonds are back.
        assertEq(hub.withdrawable(STRANGER, address(c4e)), 120e6 + 2 * 100e6);
        assertFalse(hub.disputeOf(first).isOpen);
        assertFalse(hub.disputeOf(second).isOpen);
        vm.expectRevert(abi.encodeWithSelector(NoDispute.selector, first));
        hub.endDispute(first, batch);
        Batch memory again = emptyBatch(address(euro), 1);
        again.leaves[0] = leafOf(1, 0, Rail.Wallet, 5e6, 1e6);
        assertEq(proposeAndSettle(again), 1);
    }

    // Disputes ----------------------------------------------------------------------------------

    function test_dispute_sets_a_wallet_leaf_aside() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = propose(batch);
        c4e.transfer(STRANGER, 120e6);
        vm.startPrank(STRANGER);
        c4e.approve(address(hub), 120e6);
        uint256 id = uint256(keccak256(abi.encode(digest, 0)));
        vm.expectEmit(address(hub));
        // 6 EUR at 20 C4E is more than the policy's 20 C4E.
        emit Disputed(id, digest, 0, STRANGER, "reason", 120e6);
        assertEq(hub.dispute(batch, 0, "reason"), id);
        vm.stopPrank();
        Dispute memory it = hub.disputeOf(id);
        assertEq(it.digest, digest);
        assertEq(it.disputer, STRANGER);
        assertEq(it.bond, 120e6);
        assertEq(it.asset, address(euro));
        assertEq(it.amount, 6e6);
        assertEq(it.openedAt, time());
        assertEq(it.leaf, 0);
        assertTrue(it.isOpen);
        assertEq(hub.batchOf(digest).disputed, 1);
        assertTrue(hub.isSettled(OPERATOR, address(euro), 1));
        assertEq(hub.withdrawable(payerOf(1), address(euro)), 4e6);
        assertEq(registry.attesterOf(0).frozenUntil, time() + 21 days);
        // Neither settle nor refund touch what is aside.
        assertEq(settle(batch), 0);
        assertEq(hub.withdrawable(HOST, address(euro)), 0);
        vm.prank(payerOf(1));
        vm.expectRevert(abi.encodeWithSelector(NoEscrow.selector, escrowIdOf(1)));
        hub.askRefund(OPERATOR, keyOf(1));
    }

    /// @dev At least the policy's bond, doubled for each that is open.
    function test_bonds_of_disputes_double() external {
        Batch memory batch = emptyBatch(address(c4e), 3);
        for (uint256 i = 0; i < 3; ++i) {
            openEscrow(address(c4e), i, 100e6);
            batch.leaves[i] = leafOf(i, 0, Rail.Wallet, 5e6, 0);
        }
        batch.leaves[2].money = money(50e6, 0, keyOf(2));
        propose(batch);
        assertEq(hub.disputeOf(dispute(batch, 0, STRANGER)).bond, 20e6);
        assertEq(hub.disputeOf(dispute(batch, 1, STRANGER)).bond, 40e6);
        assertEq(hub.disputeOf(dispute(batch, 2, STRANGER)).bond, 200e6);
    }

    function test_dispute_refuses() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = hub.batchDigest(batch);
        vm.expectRevert(abi.encodeWithSelector(WrongState.selector, digest, State.None));
        hub.dispute(batch, 0, "");
        propose(batch);
        vm.expectRevert(abi.encodeWithSelector(BadLeaf.selector, 1, bytes32("place")));
        hub.dispute(batch, 1, "");
        dispute(batch, 0, STRANGER);
        vm.expectRevert(abi.encodeWithSelector(LeafAside.selector, 0));
        hub.dispute(batch, 0, "");
        // What settle would skip cannot be set aside: here its number is used up.
        batch.treeSize = 7;
        propose(batch);
        vm.expectRevert(abi.encodeWithSelector(NotPayable.selector, 0));
        hub.dispute(batch, 0, "");
        uint40 endsAt = uint40(time()) + 1 days;
        skip(1 days + 1);
        vm.expectRevert(abi.encodeWithSelector(WindowOver.selector, endsAt));
        hub.dispute(batch, 0, "");
    }

    function test_unruled_the_leaf_pays_as_attested() external {
        Batch memory batch = walletBatch(address(euro), 1);
        propose(batch);
        uint256 id = dispute(batch, 0, STRANGER);
        uint40 from = uint40(time()) + 21 days;
        bytes32 digest = hub.batchDigest(batch);
        vm.expectRevert(abi.encodeWithSelector(WrongState.selector, digest, State.Pending));
        hub.endDispute(id, batch);
        settle(batch);
        vm.expectRevert(abi.encodeWithSelector(TooEarly.selector, from));
        hub.endDispute(id, batch);
        vm.warp(from);
        vm.prank(KEEPER);
        hub.endDispute(id, batch);
        assertEq(hub.withdrawable(HOST, address(euro)), 2.5e6);
        assertEq(shares.totalNotified(uint256(passports[0]), address(euro)), 3.2e6);
        assertEq(hub.withdrawable(address(timelock), address(euro)), 0.25e6);
        assertEq(hub.withdrawable(KEEPER, address(euro)), 12_501);
        // 5 % of the bond to the host.
        assertEq(hub.withdrawable(HOST, address(c4e)), 6e6);
        assertEq(hub.withdrawable(STRANGER, address(c4e)), 114e6);
        assertBonds(BOND, BOND, BOND, BOND);
        vm.expectRevert(abi.encodeWithSelector(NoDispute.selector, id));
        hub.endDispute(id, batch);
    }

    function test_a_leaf_that_stands_pays_and_the_bond_is_the_hosts() external {
        Batch memory batch = fiatBatch(address(euro), 1);
        propose(batch);
        uint256 id = dispute(batch, 0, STRANGER);
        appointGovernor();
        settle(batch);
        vm.prank(GOVERNOR);
        hub.rule(id, batch, true);
        assertEq(hub.withdrawable(HOST, address(euro)), 1.5e6);
        assertEq(hub.withdrawable(HOST, address(c4e)), 100e6);
        assertEq(hub.withdrawable(STRANGER, address(c4e)), 0);
        assertEq(freeOf(address(euro)), 0);
        assertBonds(BOND, BOND, BOND, BOND);
    }

    function test_a_wallet_leaf_that_falls_is_the_payers_again() external {
        Batch memory batch = walletBatch(address(euro), 1);
        propose(batch);
        uint256 id = dispute(batch, 0, STRANGER);
        appointGovernor();
        settle(batch);
        uint256 before = c4e.balanceOf(STRANGER);
        vm.prank(GOVERNOR);
        vm.expectEmit(address(hub));
        emit DisputeEnded(id, false);
        hub.rule(id, batch, false);
        assertEq(hub.withdrawable(payerOf(1), address(euro)), 10e6);
        assertEq(hub.withdrawable(STRANGER, address(c4e)), 120e6);
        assertEq(c4e.balanceOf(STRANGER) - before, 3 * SLASH / 4);
        assertBonds(BOND - SLASH, BOND - SLASH, BOND - SLASH, BOND);
        // The number is used up for ever.
        assertTrue(hub.isSettled(OPERATOR, address(euro), 1));
    }

    function test_a_fiat_leaf_that_falls_is_the_gateways_again() external {
        Batch memory batch = fiatBatch(address(euro), 1);
        propose(batch);
        uint256 id = dispute(batch, 0, STRANGER);
        appointGovernor();
        settle(batch);
        vm.prank(GOVERNOR);
        hub.rule(id, batch, false);
        assertEq(freeOf(address(euro)), 5e6);
        assertEq(lockedOf(address(euro)), 0);
    }

    function test_only_the_governor_rules() external {
        Batch memory batch = walletBatch(address(euro), 1);
        propose(batch);
        uint256 id = dispute(batch, 0, STRANGER);
        settle(batch);
        // Nobody while there is none.
        vm.expectRevert(abi.encodeWithSelector(NotGovernor.selector, address(this)));
        hub.rule(id, batch, true);
        appointGovernor();
        vm.startPrank(GOVERNOR);
        vm.expectRevert(abi.encodeWithSelector(NoDispute.selector, id + 1));
        hub.rule(id + 1, batch, true);
        batch.treeSize += 1;
        vm.expectRevert(abi.encodeWithSelector(NoDispute.selector, id));
        hub.rule(id, batch, true);
        vm.stopPrank();
    }

    function test_the_rest_of_a_batch_is_paid_beside_a_dispute() external {
        Batch memory batch = mixedBatch();
        propose(batch);
        uint256 id = dispute(batch, 1, STRANGER);
        assertEq(settle(batch), 5);
        assertEq(lockedOf(address(euro)), 0);
        assertEq(freeOf(address(euro)), 0);
        skip(21 days);
        hub.endDispute(id, batch);
        assertEq(hub.withdrawable(HOST, address(euro)), 3 * 1.5e6 + 2 * 1e6);
    }

    /// @dev Of two leaves aside neither is unlocked when the rest is settled; each has its own end.
    function test_two_fiat_leaves_aside_beside_other_money_of_the_gateway() external {
        depositGateway(address(euro), 100e6);
        Batch memory batch = emptyBatch(address(euro), 3);
        for (uint256 i = 0; i < 3; ++i) {
            batch.leaves[i] = leafOf(i + 1, 0, Rail.Fiat, uint64(3e6 + i), 0);
        }
        (batch.fiatTotal, batch.gateway) = (9e6 + 3, GATEWAY);
        propose(batch);
        uint256 first = dispute(batch, 0, STRANGER);
        dispute(batch, 1, STRANGER);
        assertEq(lockedOf(address(euro)), 3e6 + 2);
        assertEq(settle(batch), 4);
        assertEq(lockedOf(address(euro)), 0);
        assertEq(freeOf(address(euro)), 91e6 - 3);
        appointGovernor();
        vm.prank(GOVERNOR);
        hub.rule(first, batch, false);
        assertEq(freeOf(address(euro)), 94e6 - 3);
    }

    // Steps -------------------------------------------------------------------------------------

    /// @dev Wallet, fiat, wallet; at the second passport the last.
    function mixedBatch() private returns (Batch memory batch) {
        openEscrow(address(euro), 1, 10e6);
        openEscrow(address(euro), 3, 10e6);
        depositGateway(address(euro), 5e6);
        batch = emptyBatch(address(euro), 3);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 5e6, 1e6);
        batch.leaves[1] = leafOf(2, 0, Rail.Fiat, 5e6, 1e6);
        batch.leaves[2] = leafOf(3, 1, Rail.Wallet, 5e6, 1e6);
        (batch.fiatTotal, batch.gateway) = (5e6, GATEWAY);
    }

    /// @dev A batch of one leaf of another session and number, log index 0, that begins `shift` s
    /// before the given one.
    function earlierBatch(Leaf memory leaf, uint256 shift)
        private
        view
        returns (Batch memory batch)
    {
        uint40 start = leaf.meter.start() - uint40(shift);
        batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = Leaf({
            evidenceDigest: keccak256("another bill"),
            party: party(payerOf(9), 9, 0),
            money: money(5e6, 0, keyOf(9)),
            meter: meter(start, start + SESSION, 1, 0, 1, Rail.Wallet, 1)
        });
    }

    function leave(uint8 index) private {
        vm.prank(beneficiaryOf(index));
        registry.askUnbond(index);
    }

    function possible() private view returns (Batch memory batch) {
        batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 0, 0);
    }

    function setMeter(
        Batch memory batch,
        uint40 start,
        uint40 end,
        uint48 energyWh,
        uint256 place,
        uint32 version
    ) private pure {
        batch.leaves[0].meter = meter(start, end, energyWh, place, 1, Rail.Wallet, version);
    }

    function expectPossible(Batch memory batch) private {
        vm.expectRevert(NoFault.selector);
        hub.challengeImpossible(batch, 0);
    }

    /// @dev Proposes it and kills it; all who signed pay a fifth of what they have.
    function expectImpossible(Batch memory batch) private {
        uint256 bond = registry.bondOf(0);
        bytes32 digest = propose(batch);
        hub.challengeImpossible(batch, 0);
        assertEq(uint8(hub.batchOf(digest).state), uint8(State.Killed));
        assertEq(registry.bondOf(0), bond - bond / 5);
    }

    function expectNoFault(Batch memory batch, Batch memory other) private {
        vm.expectRevert(NoFault.selector);
        hub.challengeOverlap(batch, 0, other, 0);
    }

    function expectKilled(bytes32 digest, uint8 why, address challenger) private {
        vm.expectEmit(address(hub));
        emit Killed(digest, why, challenger);
    }

    /// @dev The batch is dead, nobody was paid for it and nobody answers for it any more.
    function assertUndone(bytes32 digest, uint256 session) private view {
        assertEq(uint8(hub.batchOf(digest).state), uint8(State.Killed));
        assertEq(hub.withdrawable(HOST, address(euro)), 0);
        assertTrue(hub.escrowOf(escrowIdOf(session)).max != 0);
    }

    function assertBonds(uint256 a, uint256 b, uint256 c, uint256 d) private view {
        assertEq(registry.bondOf(0), a);
        assertEq(registry.bondOf(1), b);
        assertEq(registry.bondOf(2), c);
        assertEq(registry.bondOf(3), d);
    }

    function equivocate(uint8 index) private {
        Batch memory a = possible();
        Batch memory b = possible();
        b.leaves[0].money = money(1, 0, keyOf(1));
        registry.slashEquivocation(
            index,
            a,
            0,
            sign(attesterKey(index), hub.batchDigest(a)),
            b,
            0,
            sign(attesterKey(index), hub.batchDigest(b))
        );
    }
}
