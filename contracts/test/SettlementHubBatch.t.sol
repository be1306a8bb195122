// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAttesterRegistry} from "../src/interfaces/IAttesterRegistry.sol";
import {IChargerShares} from "../src/interfaces/IChargerShares.sol";
import {Split} from "../src/Split.sol";
import {
    AssetPolicy,
    Attestation,
    Batch,
    Leaf,
    LeafMeter,
    OperatorId,
    PolicyParameters,
    Rail
} from "../src/Types.sol";
import {AttesterRegistry} from "./Contracts.sol";
import {SettlementHubFixture} from "./SettlementHubFixture.sol";
import {vm} from "./Vm.sol";

/// @title Batches: what is proposed, and how it is paid.
contract SettlementHubBatchTest is SettlementHubFixture {
    // Proposing ---------------------------------------------------------------------------------

    function test_propose() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = hub.batchDigest(batch);
        Attestation memory attestation = attest(digest);
        uint40 endsAt = uint40(time()) + 1 days;
        vm.expectEmit(address(hub));
        emit Proposed(digest, OPERATOR, address(euro), PROPOSER, 7, endsAt);
        vm.prank(STRANGER);
        assertEq(hub.propose(batch, attestation, ""), digest);
        BatchState memory state = hub.batchOf(digest);
        assertEq(state.proposedAt, time());
        assertEq(state.windowEndsAt, endsAt);
        assertEq(uint8(state.state), uint8(State.Pending));
        assertEq(state.quorum, 3);
        assertEq(state.disputed, 0);
        assertEq(state.signers, 7);
        // 6 EUR at 20 C4E, over three signers.
        for (uint8 i = 0; i < 3; ++i) {
            assertEq(hub.exposureOf(i), 40e6);
        }
        assertEq(hub.exposureOf(3), 0);
    }

    function test_a_digest_is_proposed_once_for_ever() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = propose(batch);
        bytes memory known = abi.encodeWithSelector(BatchKnown.selector, digest);
        expectProposeRefused(batch, known);
        settle(batch);
        batch.validUntil = uint64(time() + 9 days);
        digest = propose(batch);
        skip(1);
        known = abi.encodeWithSelector(BatchKnown.selector, digest);
        expectProposeRefused(batch, known);
    }

    function test_propose_refuses_what_has_not_the_form() external {
        Batch memory batch = walletBatch(address(euro), 1);
        batch.validUntil = uint64(time() - 1);
        expectProposeRefused(batch, abi.encodeWithSelector(Expired.selector, time() - 1));
        batch = emptyBatch(address(euro), 0);
        expectProposeRefused(batch, badBatch("leaves"));
        batch = emptyBatch(address(euro), 49);
        expectProposeRefused(batch, badBatch("leaves"));

        batch = validBatch();
        batch.health = new uint256[](49);
        expectProposeRefused(batch, badBatch("health"));
        batch = validBatch();
        batch.proposer = address(0);
        expectProposeRefused(batch, badBatch("proposer"));
        batch = validBatch();
        batch.passports = new bytes32[](49);
        expectProposeRefused(batch, badBatch("passports"));
        batch = validBatch();
        batch.passports[1] = batch.passports[0];
        expectProposeRefused(batch, badBatch("passports"));
        batch = validBatch();
        (batch.passports[0], batch.passports[1]) = (batch.passports[1], batch.passports[0]);
        expectProposeRefused(batch, badBatch("passports"));
        batch = validBatch();
        batch.asset = address(shares);
        expectProposeRefused(
            batch, abi.encodeWithSelector(AssetNotListed.selector, address(shares))
        );
    }

    function test_propose_refuses_a_leaf_that_has_not_the_form() external {
        Batch memory batch = validBatch();
        uint256 word = LeafMeter.unwrap(batch.leaves[0].meter);
        batch.leaves[0].meter = LeafMeter.wrap(word | 1);
        expectProposeRefused(batch, badLeaf("meter"));
        batch.leaves[0].meter = LeafMeter.wrap(word | uint256(2) << 56);
        expectProposeRefused(batch, badLeaf("meter"));
        batch.leaves[0].meter = LeafMeter.wrap(word | uint256(2) << 72);
        expectProposeRefused(batch, badLeaf("meter"));
        batch.leaves[0].meter = LeafMeter.wrap(word & ~(uint256(type(uint32).max) << 16));
        expectProposeRefused(batch, badLeaf("meter"));
        batch.leaves[0].meter = LeafMeter.wrap(word ^ uint256(3) << 16);
        expectProposeRefused(batch, badLeaf("meter"));
        batch = validBatch();
        batch.leaves[0].party = party(address(0), 1, 1);
        expectProposeRefused(batch, badLeaf("payer"));
    }

    function test_propose_refuses_sums_and_gateways_that_do_not_fit() external {
        depositGateway(address(euro), 10e6);
        Batch memory batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = leafOf(1, 0, Rail.Fiat, 5e6, 1e6);
        batch.gateway = GATEWAY;
        expectProposeRefused(batch, badBatch("fiatTotal"));
        batch.fiatTotal = 5e6;
        batch.gateway = address(0);
        expectProposeRefused(batch, badBatch("gateway"));
        batch = validBatch();
        batch.gateway = GATEWAY;
        expectProposeRefused(batch, badBatch("gateway"));
    }

    /// @dev The gateway's signature is over the digest: over every leaf that it pays.
    function test_propose_refuses_what_the_gateway_has_not_signed_or_not_prepaid() external {
        Batch memory batch = fiatBatch(address(euro), 1);
        bytes32 digest = hub.batchDigest(batch);
        Attestation memory attestation = attest(digest);
        bytes memory other = sign(GATEWAY_KEY, keccak256("another batch"));
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, GATEWAY));
        hub.propose(batch, attestation, other);
        batch.leaves[0] = leafOf(1, 0, Rail.Fiat, 6e6, 1e6);
        batch.fiatTotal = 6e6;
        expectProposeRefused(batch, abi.encodeWithSelector(NotEnough.selector, 6e6, 5e6));
    }

    /// @dev I14: distinct active signers, in this hub's domain, over this digest.
    function test_propose_refuses_less_than_a_quorum() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = hub.batchDigest(batch);
        Attestation memory attestation = attest(digest, 3);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NoQuorum.selector, 2, 3));
        hub.propose(batch, attestation, "");
        attestation = attest(digest);
        attestation.signatures[2] = attestation.signatures[1];
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 2));
        hub.propose(batch, attestation, "");
        attestation = attest(digest);
        batch.treeSize += 1;
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 0));
        hub.propose(batch, attestation, "");
        batch.treeSize -= 1;
        vm.prank(beneficiaryOf(0));
        registry.askUnbond(0);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotActive.selector, 0));
        hub.propose(batch, attestation, "");
    }

    /// @dev No signer answers for more than he can lose, over all that is pending.
    function test_propose_refuses_above_the_bonds() external {
        // 10,000 C4E x 3 signers = 1,500 EUR at 20.
        Batch memory batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 1400e6, 100e6);
        propose(batch);
        assertEq(hub.exposureOf(0), BOND);
        Batch memory more = emptyBatch(address(euro), 1);
        more.leaves[0] = leafOf(2, 0, Rail.Wallet, 1, 0);
        expectProposeRefused(more, abi.encodeWithSelector(OverBond.selector, 0, BOND + 7, BOND));
        settle(batch);
        assertEq(hub.exposureOf(0), 0);
        more.validUntil = uint64(time());
        propose(more);
        assertEq(hub.exposureOf(0), 7);
    }

    // Rates -------------------------------------------------------------------------------------

    function test_the_rate_of_c4e_is_itself() external {
        Batch memory batch = walletBatch(address(c4e), 1);
        batch.c4eRate = 1e6 + 1;
        expectProposeRefused(
            batch, abi.encodeWithSelector(RateOutOfRange.selector, 1e6 + 1, 1e6, 1e6)
        );
        batch.c4eRate = 1e6;
        proposeAndSettle(batch);
        assertBounds(address(c4e), 1e6, 1e6, 1e6);
    }

    function test_a_lane_begins_with_the_policys_rate_and_moves_by_a_tenth_a_day() external {
        assertBounds(address(euro), 0, 20e6, 20e6);
        Batch memory batch = walletBatch(address(euro), 1);
        batch.c4eRate = 20e6 - 1;
        expectProposeRefused(
            batch, abi.encodeWithSelector(RateOutOfRange.selector, 20e6 - 1, 20e6, 20e6)
        );
        batch.c4eRate = 20e6;
        propose(batch);
        uint256 first = time();
        // Only what is settled moves a lane.
        assertBounds(address(euro), 0, 20e6, 20e6);
        settle(batch); // a day and a second later
        assertBounds(address(euro), 20e6, 16e6, 24e6);

        batch = walletBatch(address(euro), 2);
        batch.c4eRate = 24e6;
        propose(batch);
        Batch memory lower = walletBatch(address(euro), 3);
        lower.c4eRate = 16e6;
        propose(lower);
        settle(batch);
        // The two days are used: until their end, and a day more, a tenth of the new rate.
        vm.warp(first + 2 days);
        assertBounds(address(euro), 24e6, 21.6e6, 26.4e6);
        vm.warp(first + 3 days);
        assertBounds(address(euro), 24e6, 21.6e6, 26.4e6);
        vm.warp(first + 3 days + 1);
        assertBounds(address(euro), 24e6, 19.2e6, 28.8e6);
        // Of one day only the first that is settled counts.
        vm.prank(KEEPER);
        hub.settle(lower);
        assertBounds(address(euro), 24e6, 19.2e6, 28.8e6);
        vm.warp(first + 100 days);
        assertBounds(address(euro), 24e6, 1, 24e6 + 98 * 2.4e6);
    }

    function test_without_a_row_there_is_no_rate() external view {
        assertBounds(address(shares), 0, 1, 0);
    }

    // Settling ----------------------------------------------------------------------------------

    function test_settle_only_after_the_window() external {
        Batch memory batch = walletBatch(address(euro), 1);
        vm.expectRevert(
            abi.encodeWithSelector(WrongState.selector, hub.batchDigest(batch), State.None)
        );
        hub.settle(batch);
        propose(batch);
        uint40 endsAt = uint40(time()) + 1 days;
        skip(1 days);
        vm.expectRevert(abi.encodeWithSelector(WindowOpen.selector, endsAt));
        hub.settle(batch);
        skip(1);
        assertEq(hub.settle(batch), 1);
        bytes32 digest = hub.batchDigest(batch);
        vm.expectRevert(abi.encodeWithSelector(WrongState.selector, digest, State.Settled));
        hub.settle(batch);
    }

    /// @dev 5 and VAT 1 of 10: fee 0.25, commission 1.5, ops 0.05, holders 3.2.
    function test_settle_divides_a_wallet_leaf_in_c4e() external {
        Batch memory batch = walletBatch(address(c4e), 1);
        bytes32 digest = propose(batch);
        uint256 supply = c4e.totalSupply();
        skip(1 days + 1);
        vm.expectEmit(address(hub));
        emit Settled(digest, KEEPER, 1, 0);
        vm.expectEmit(address(hub));
        emit FeesTaken(digest, 250_000, 0);
        vm.prank(KEEPER);
        assertEq(hub.settle(batch), 1);
        assertEq(supply - c4e.totalSupply(), 250_000);
        assertEq(hub.withdrawable(payerOf(1), address(c4e)), 4e6);
        assertEq(hub.withdrawable(HOST, address(c4e)), 1.5e6 + 1e6);
        assertEq(shares.totalNotified(uint256(passports[0]), address(c4e)), 3.2e6);
        // ops 50,000: 25,000 over three signers, 12,500 to the proposer, the rest to the caller.
        for (uint8 i = 0; i < 3; ++i) {
            assertEq(hub.withdrawable(beneficiaryOf(i), address(c4e)), 8_333);
        }
        assertEq(hub.withdrawable(PROPOSER, address(c4e)), 12_500);
        assertEq(hub.withdrawable(KEEPER, address(c4e)), 12_501);
        assertEq(hub.escrowOf(escrowIdOf(1)).assetIndex, 0);
        assertTrue(hub.isSettled(OPERATOR, address(c4e), 1));
        assertEq(hub.settledWord(OPERATOR, address(c4e), 0), 2);
        assertEq(c4e.balanceOf(address(hub)), 10e6 - 250_000 - 3.2e6);
        assertEq(shares.claim(uint256(passports[0]), address(c4e), HOST), 3.2e6);
    }

    /// @dev What was prepaid burns; the fee in the asset is then the host's.
    function test_settle_burns_what_the_host_prepaid() external {
        prepay(5e6);
        Batch memory batch = walletBatch(address(euro), 1);
        uint256 supply = c4e.totalSupply();
        proposeAndSettle(batch);
        // 0.25 EUR = 5 C4E.
        assertEq(supply - c4e.totalSupply(), 5e6);
        (uint128 left,) = hub.prepaidOf(HOST);
        assertEq(left, 0);
        assertEq(hub.withdrawable(HOST, address(euro)), 1.5e6 + 1e6 + 0.25e6);
        assertEq(hub.withdrawable(address(timelock), address(euro)), 0);
    }

    /// @dev Leaf by leaf, all or nothing.
    function test_settle_gives_the_timelock_the_fee_that_is_not_prepaid() external {
        prepay(10e6 - 1);
        openEscrow(address(euro), 1, 10e6);
        openEscrow(address(euro), 2, 10e6);
        Batch memory batch = emptyBatch(address(euro), 2);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 5e6, 0);
        batch.leaves[1] = leafOf(2, 1, Rail.Wallet, 5e6, 0);
        bytes32 digest = propose(batch);
        skip(1 days + 1);
        vm.expectEmit(address(hub));
        emit FeesTaken(digest, 5e6, 0.25e6);
        hub.settle(batch);
        assertEq(hub.withdrawable(address(timelock), address(euro)), 0.25e6);
        (uint128 left,) = hub.prepaidOf(HOST);
        assertEq(left, 5e6 - 1);
    }

    function test_settle_takes_nothing_of_a_host_above_his_rate() external {
        prepay(100e6);
        vm.prank(HOST);
        hub.setMaxRate(EURO_RATE - 1);
        proposeAndSettle(walletBatch(address(euro), 1));
        (uint128 left,) = hub.prepaidOf(HOST);
        assertEq(left, 100e6);
        vm.prank(HOST);
        hub.setMaxRate(EURO_RATE);
        proposeAndSettle(walletBatch(address(euro), 2));
        (left,) = hub.prepaidOf(HOST);
        assertEq(left, 95e6);
    }

    /// @dev VAT is the gateway's: only the net amount is drawn.
    function test_settle_divides_a_fiat_leaf() external {
        Batch memory batch = fiatBatch(address(euro), 1);
        propose(batch);
        assertEq(hub.exposureOf(0), 0);
        settle(batch);
        assertEq(lockedOf(address(euro)), 0);
        assertEq(freeOf(address(euro)), 0);
        assertEq(hub.withdrawable(HOST, address(euro)), 1.5e6);
        assertEq(shares.totalNotified(uint256(passports[0]), address(euro)), 3.2e6);
        assertEq(hub.withdrawable(payerOf(1), address(euro)), 0);
    }

    function test_settle_keeps_a_reserve_once_there_is_a_market() external {
        PolicyParameters memory changed = parameters();
        changed.reserveBps = 300;
        vm.startPrank(address(timelock));
        policy.append(uint40(time() + 1), changed, assetPolicies());
        vm.stopPrank();
        skip(1);
        Batch memory batch = walletBatch(address(euro), 1);
        useVersion(batch, 2);
        proposeAndSettle(batch);
        assertEq(hub.withdrawable(HOST, address(euro)), 2.5e6);
        vm.prank(address(timelock));
        policy.setMarket(address(0x3A7));
        batch = walletBatch(address(euro), 2);
        useVersion(batch, 2);
        proposeAndSettle(batch);
        assertEq(hub.withdrawable(address(0x3A7), address(euro)), 0.15e6);
        assertEq(hub.withdrawable(HOST, address(euro)), 5e6 - 0.15e6);
        assertEq(shares.totalNotified(uint256(passports[0]), address(euro)), 6.4e6);
    }

    /// @dev The reserve is part of the commission: of none there is none.
    function test_settle_keeps_no_more_reserve_than_commission() external {
        PolicyParameters memory changed = parameters();
        changed.reserveBps = 300;
        vm.startPrank(address(timelock));
        policy.append(uint40(time() + 1), changed, assetPolicies());
        policy.setMarket(address(0x3A7));
        vm.stopPrank();
        skip(1);
        vm.prank(HOST);
        passport.lowerCommission(passports[0], 100);
        Batch memory batch = walletBatch(address(euro), 1);
        useVersion(batch, 2);
        proposeAndSettle(batch);
        assertEq(hub.withdrawable(address(0x3A7), address(euro)), 0.05e6);
        assertEq(hub.withdrawable(HOST, address(euro)), 1e6);
    }

    // Skipping ----------------------------------------------------------------------------------

    /// @dev Every leaf here is refused for another reason; the last one is paid.
    function test_settle_skips_what_cannot_be_paid() external {
        proposeAndSettle(walletBatch(address(euro), 1));
        openEscrow(address(c4e), 3, 10e6);
        openEscrow(address(euro), 4, 6e6 - 1);
        for (uint256 session = 5; session <= 9; ++session) {
            openEscrow(address(euro), session, 10e6);
        }
        Batch memory batch = emptyBatch(address(euro), 9);
        for (uint256 i = 0; i < 9; ++i) {
            batch.leaves[i] = leafOf(i + 1, 0, Rail.Wallet, 5e6, 1e6);
        }
        // 0: paid before. 1: no escrow. 2: other asset. 3: over its maximum.
        // 4: not minted.
        bytes32[] memory table = new bytes32[](3);
        (table[0], table[1], table[2]) = (passports[0], passports[1], bytes32(type(uint256).max));
        batch.passports = table;
        batch.leaves[4] = leafOf(5, 2, Rail.Wallet, 5e6, 1e6);
        // 5: ended before the registration.
        batch.leaves[5].meter = meter(base - 7200, base - 1, 1, 0, 1, Rail.Wallet, 1);
        // 6: after the retirement.
        vm.prank(HOST);
        passport.retire(passports[1], keccak256("retired"), 1);
        uint40 retiredAt = uint40(time());
        batch.leaves[6].meter = meter(base, retiredAt + 1, 1, 1, 1, Rail.Wallet, 1);
        // 7: at the retirement's second, still registered: paid. 8 has 7's number.
        batch.leaves[7].meter = meter(base, retiredAt, 1, 1, 1, Rail.Wallet, 1);
        batch.leaves[8].party = party(payerOf(9), 8, 9);
        batch.validUntil = uint64(time() + 1 days);
        bytes32 digest = propose(batch);
        skip(1 days + 1);
        vm.expectEmit(address(hub));
        emit Settled(digest, address(this), 1 << 7, 0);
        assertEq(hub.settle(batch), 1 << 7);
        assertEq(hub.settledWord(OPERATOR, address(euro), 0), 1 << 1 | 1 << 8);
        assertEq(hub.escrowOf(escrowIdOf(9)).max, 10e6);
    }

    /// @dev A skipped number comes again, by anybody, in another batch (I18).
    function test_a_skipped_number_stays_proposable() external {
        Batch memory batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 5e6, 1e6);
        assertEq(proposeAndSettle(batch), 0);
        batch = walletBatch(address(euro), 1);
        assertEq(proposeAndSettle(batch), 1);
    }

    /// @dev I3, I4: the session's escrow is drawn once, and a number paid once, in any lane order.
    function test_two_pending_batches_of_one_bill_pay_it_once() external {
        Batch memory batch = walletBatch(address(euro), 1);
        Batch memory again = walletBatch2(1);
        propose(batch);
        propose(again);
        skip(1 days + 1);
        assertEq(hub.settle(again), 1);
        assertEq(hub.settle(batch), 0);
        assertEq(hub.withdrawable(payerOf(1), address(euro)), 4e6);
    }

    function test_numbers_of_several_words_in_any_order() external {
        Batch memory batch = emptyBatch(address(euro), 4);
        uint48[4] memory numbers = [uint48(255), 256, 3, type(uint48).max];
        for (uint256 i = 0; i < 4; ++i) {
            openEscrow(address(euro), i, 10e6);
            batch.leaves[i] = leafOf(i, i % 2, Rail.Wallet, 5e6, 0);
            batch.leaves[i].party = party(payerOf(i), numbers[i], uint48(i));
        }
        assertEq(proposeAndSettle(batch), 15);
        assertEq(hub.settledWord(OPERATOR, address(euro), 0), 1 << 255 | 1 << 3);
        assertEq(hub.settledWord(OPERATOR, address(euro), 1), 1);
        assertTrue(hub.isSettled(OPERATOR, address(euro), type(uint48).max));
        assertFalse(hub.isSettled(OPERATOR, address(c4e), 3));
        assertFalse(hub.isSettled(OperatorId.wrap("DE*XYZ"), address(euro), 3));
    }

    function test_leaves_of_several_policy_versions() external {
        PolicyParameters memory changed = parameters();
        (changed.feeBps, changed.opsBps) = (0, 0);
        vm.startPrank(address(timelock));
        policy.append(uint40(time() + 1), changed, assetPolicies());
        vm.stopPrank();
        skip(1);
        openEscrow(address(euro), 1, 10e6);
        openEscrow(address(euro), 2, 10e6);
        Batch memory batch = emptyBatch(address(euro), 2);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 5e6, 0);
        batch.leaves[1] = leafOf(2, 1, Rail.Wallet, 5e6, 0);
        batch.leaves[1].meter =
            LeafMeter.wrap(LeafMeter.unwrap(batch.leaves[1].meter) ^ uint256(3) << 16);
        proposeAndSettle(batch);
        assertEq(shares.totalNotified(uint256(passports[0]), address(euro)), 3.2e6);
        assertEq(shares.totalNotified(uint256(passports[1]), address(euro)), 3.5e6);
    }

    /// @dev A session that cost nothing closes its escrow too.
    function test_a_bill_of_nothing() external {
        openEscrow(address(euro), 1, 10e6);
        Batch memory batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 0, 0);
        assertEq(proposeAndSettle(batch), 1);
        assertEq(hub.withdrawable(payerOf(1), address(euro)), 10e6);
        assertEq(hub.withdrawable(HOST, address(euro)), 0);
    }

    /// @dev So little that no signer gets a whole unit: all of it is the caller's.
    function test_ops_of_one_unit() external {
        openEscrow(address(euro), 1, 10e6);
        Batch memory batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 100, 0);
        proposeAndSettle(batch);
        assertEq(hub.withdrawable(KEEPER, address(euro)), 1);
        assertEq(hub.withdrawable(PROPOSER, address(euro)), 0);
    }

    /// @dev 0, 1 and 3 signed: 2 stands between them and has no part.
    function test_ops_go_to_who_signed() external {
        openEscrow(address(euro), 1, 10e6);
        Batch memory batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 5e6, 0);
        propose(batch, 11);
        settle(batch);
        uint256 each = 50_000 / 2 / uint256(3);
        assertEq(hub.withdrawable(beneficiaryOf(0), address(euro)), each);
        assertEq(hub.withdrawable(beneficiaryOf(1), address(euro)), each);
        assertEq(hub.withdrawable(beneficiaryOf(2), address(euro)), 0);
        assertEq(hub.withdrawable(beneficiaryOf(3), address(euro)), each);
    }

    function test_settle_refuses_without_quorum() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes32 digest = propose(batch);
        equivocate(0);
        skip(1 days + 1);
        vm.expectRevert(abi.encodeWithSelector(WithoutQuorum.selector, digest));
        hub.settle(batch);
    }

    /// @dev Amounts of any size are divided without loss; compared with plain words.
    function testFuzz_split(uint64 amount, uint256 commission, uint256 reserve, uint256 fee)
        external
        pure
    {
        commission = bound(commission, 0, 8000);
        reserve = bound(reserve, 0, 10_000);
        uint256 feePart = Split.shareOf(amount, bound(fee, 0, 1900));
        uint256 ops = Split.shareOf(amount, 100);
        (uint256 r, uint256 h, uint256 holders) =
            Split.divide(amount, feePart, ops, reserve, commission);
        assertEq(feePart + ops + r + h + holders, amount);
        assertEq(r + h, uint256(amount) * commission / 10_000);
        assertLe(r, uint256(amount) * reserve / 10_000);
    }

    function testFuzz_ops(uint64 ops, uint8 count) external pure {
        uint256 signers = bound(count, 1, 112);
        (uint256 each, uint256 toProposer, uint256 toCaller) = Split.divideOps(ops, signers);
        assertEq(each * signers + toProposer + toCaller, ops);
        assertEq(each, uint256(ops) / 2 / signers);
        assertLe(toProposer, toCaller);
    }

    function testFuzz_rate_bounds(uint128 last, uint256 daysBegun) external pure {
        daysBegun = bound(daysBegun, 0, 20_000);
        (uint128 least, uint128 most) = Split.rateBounds(last, daysBegun);
        assertGe(least, 1, "a rate of nothing");
        if (last != 0) assertTrue(least <= last && last <= most);
    }

    // Steps -------------------------------------------------------------------------------------

    function validBatch() private view returns (Batch memory batch) {
        batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 5e6, 1e6);
    }

    function walletBatch2(uint256 session) private view returns (Batch memory batch) {
        batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = leafOf(session, 0, Rail.Wallet, 5e6, 1e6);
        batch.treeSize = 2000;
    }

    function useVersion(Batch memory batch, uint256 version) private pure {
        uint256 word = LeafMeter.unwrap(batch.leaves[0].meter);
        batch.leaves[0].meter = LeafMeter.wrap(word ^ (1 ^ version) << 16);
    }

    /// @dev An attester signs two leaves of one number.
    function equivocate(uint8 index) private {
        Batch memory a = validBatch();
        Batch memory b = validBatch();
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

    function assertBounds(address asset, uint256 last, uint256 least, uint256 most) private view {
        (uint128 isLast, uint128 isLeast, uint128 isMost) = hub.rateBounds(OPERATOR, asset);
        assertEq(isLast, last, "last");
        assertEq(isLeast, least, "least");
        assertEq(isMost, most, "most");
    }

    function badBatch(bytes32 what) private pure returns (bytes memory) {
        return abi.encodeWithSelector(BadBatch.selector, what);
    }

    function badLeaf(bytes32 what) private pure returns (bytes memory) {
        return abi.encodeWithSelector(BadLeaf.selector, 0, what);
    }
}
