// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {Batch, LeafMeter, PolicyParameters, Rail} from "../src/Types.sol";
import {SettlementHubFixture} from "./SettlementHubFixture.sol";
import {vm} from "./Vm.sol";

/// @title A batch pays what its leaves would have been paid one by one, to the unit.
contract SettlementHubSumsTest is SettlementHubFixture {
    address private constant MARKET = address(0x3A7);

    /// @dev 5 % fee, 1 % ops, 3 % reserve of which there is a market, 30 % commission; each floored
    /// a leaf: of 1,999,999, 3,999,999 and 7,999,999.
    function test_fiat_leaves_at_two_passports() external {
        appendReserve();
        prepay(1_000e6);
        depositGateway(address(euro), 50e6);
        Batch memory batch = emptyBatch(address(euro), 3);
        batch.leaves[0] = leafOf(1, 0, Rail.Fiat, 1_999_999, 1e6);
        batch.leaves[1] = leafOf(2, 1, Rail.Fiat, 3_999_999, 1e6);
        batch.leaves[2] = leafOf(3, 0, Rail.Fiat, 7_999_999, 1e6);
        (batch.fiatTotal, batch.gateway) = (13_999_997, GATEWAY);
        useReserve(batch);
        bytes32 digest = propose(batch);
        skip(1 days + 1);
        uint256 supply = c4e.totalSupply();
        vm.expectEmit(address(hub));
        // Fees of 99,999, 199,999 and 399,999 at 20 C4E.
        emit FeesTaken(digest, 699_997 * 20, 0);
        vm.prank(KEEPER);
        assertEq(hub.settle(batch), 7);
        assertEq(supply - c4e.totalSupply(), 699_997 * 20);
        (uint128 left,) = hub.prepaidOf(HOST);
        assertEq(left, 1_000e6 - 699_997 * 20);
        assertEq(hub.withdrawable(MARKET, address(euro)), 59_999 + 119_999 + 239_999);
        // The rest of the commissions, and the fees, which were paid in C4E.
        assertEq(
            hub.withdrawable(HOST, address(euro)),
            (599_999 - 59_999) + (1_199_999 - 119_999) + (2_399_999 - 239_999) + 699_997
        );
        uint256 first =
            (1_999_999 - 99_999 - 599_999 - 19_999) + (7_999_999 - 399_999 - 2_399_999 - 79_999);
        assertEq(shares.totalNotified(uint256(passports[0]), address(euro)), first);
        uint256 second = 3_999_999 - 199_999 - 1_199_999 - 39_999;
        assertEq(shares.totalNotified(uint256(passports[1]), address(euro)), second);
        assertOps(19_999 + 39_999 + 79_999);
        assertEq(freeOf(address(euro)), 50e6 - 13_999_997);
        assertEq(lockedOf(address(euro)), 0);
        assertHubHoldsWhatItOwes(address(euro), first + second, 50e6);
    }

    /// @dev Two escrows of one payer in C4E: he is credited both rests, the host both taxes.
    function test_wallet_leaves_of_one_payer() external {
        openBy(1, 1);
        openBy(1, 2);
        Batch memory batch = emptyBatch(address(c4e), 2);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 5e6, 1e6);
        batch.leaves[1] = leafOf(2, 0, Rail.Wallet, 7e6, 2e6);
        batch.leaves[1].party = party(payerOf(1), 2, 2);
        bytes32 digest = propose(batch);
        assertEq(hub.exposureOf(0), 5e6);
        skip(1 days + 1);
        vm.expectEmit(address(hub));
        emit FeesTaken(digest, 600_000, 0);
        vm.prank(KEEPER);
        assertEq(hub.settle(batch), 3);
        assertEq(hub.withdrawable(payerOf(1), address(c4e)), 20e6 - 15e6);
        assertEq(hub.withdrawable(HOST, address(c4e)), 3_600_000 + 3e6);
        assertEq(shares.totalNotified(uint256(passports[0]), address(c4e)), 7_680_000);
        assertEq(hub.exposureOf(0), 0);
    }

    /// @dev Nothing is prepaid: the Timelock's part is the sum of the fees.
    function test_fees_of_several_leaves_go_to_the_timelock() external {
        depositGateway(address(euro), 9e6);
        Batch memory batch = emptyBatch(address(euro), 2);
        batch.leaves[0] = leafOf(1, 0, Rail.Fiat, 5e6, 0);
        batch.leaves[1] = leafOf(2, 1, Rail.Fiat, 4e6, 0);
        (batch.fiatTotal, batch.gateway) = (9e6, GATEWAY);
        assertEq(proposeAndSettle(batch), 3);
        assertEq(hub.withdrawable(address(timelock), address(euro)), 250_000 + 200_000);
    }

    /// @dev Two batches wait: each signer answers for both, and the gateway's locks add up.
    function test_exposures_and_locks_of_two_batches() external {
        depositGateway(address(euro), 9e6);
        Batch memory first = mixedBatch(1, 4e6);
        Batch memory second = mixedBatch(3, 5e6);
        propose(first, 7);
        propose(second, 14);
        // 6 EUR at 20 C4E among three.
        assertEq(hub.exposureOf(0), 40e6);
        assertEq(hub.exposureOf(1), 80e6);
        assertEq(hub.exposureOf(3), 40e6);
        assertEq(lockedOf(address(euro)), 9e6);
        settle(first);
        assertEq(hub.exposureOf(0), 0);
        assertEq(hub.exposureOf(1), 40e6);
        assertEq(lockedOf(address(euro)), 5e6);
        hub.settle(second);
        assertEq(hub.exposureOf(1), 0);
        assertEq(lockedOf(address(euro)), 0);
    }

    /// @dev Two leaves of a batch are aside when it is killed: the gateway has them again, and what
    /// another batch has locked stays locked.
    function test_two_fiat_leaves_of_a_killed_batch() external {
        depositGateway(address(euro), 20e6);
        propose(mixedBatch(7, 4e6));
        Batch memory batch = emptyBatch(address(euro), 3);
        for (uint256 i = 0; i < 3; ++i) {
            batch.leaves[i] = leafOf(i + 1, 0, Rail.Fiat, 3e6, 0);
        }
        uint256 lie = LeafMeter.unwrap(batch.leaves[2].meter) | 0xffff << 128;
        batch.leaves[2].meter = LeafMeter.wrap(lie);
        (batch.fiatTotal, batch.gateway) = (9e6, GATEWAY);
        propose(batch);
        dispute(batch, 0, STRANGER);
        dispute(batch, 1, STRANGER);
        assertEq(lockedOf(address(euro)), 4e6 + 3e6);
        hub.challengeImpossible(batch, 2);
        assertEq(lockedOf(address(euro)), 4e6);
        assertEq(freeOf(address(euro)), 16e6);
    }

    /// @dev A total is the sum of its leaves: neither less nor more is locked.
    function test_a_total_that_is_not_the_sum() external {
        depositGateway(address(euro), 20e6);
        Batch memory batch = mixedBatch(1, 4e6);
        batch.fiatTotal = 4e6 - 1;
        expectProposeRefused(batch, abi.encodeWithSelector(BadBatch.selector, bytes32("fiatTotal")));
        batch.fiatTotal = 4e6 + 1;
        expectProposeRefused(batch, abi.encodeWithSelector(BadBatch.selector, bytes32("fiatTotal")));
    }

    /// @dev What comes in says so.
    function test_money_that_comes_in_is_announced() external {
        fund(address(euro), GATEWAY, 5e6);
        vm.startPrank(GATEWAY);
        euro.approve(address(hub), 5e6);
        vm.expectEmit(address(hub));
        emit GatewayDeposited(GATEWAY, address(euro), 2e6);
        hub.depositGateway(address(euro), 2e6);
        hub.depositGateway(address(euro), 3e6);
        vm.stopPrank();
        assertEq(freeOf(address(euro)), 5e6);
        c4e.transfer(HOST, 5e6);
        vm.startPrank(HOST);
        c4e.approve(address(hub), 5e6);
        vm.expectEmit(address(hub));
        emit Prepaid(HOST, 2e6);
        hub.prepay(2e6);
        hub.prepay(3e6);
        vm.stopPrank();
        (uint128 prepaid,) = hub.prepaidOf(HOST);
        assertEq(prepaid, 5e6);
        openEscrow(address(euro), 1, 10e6);
        uint64 until = uint64(time());
        bytes memory signature = sign(OPERATOR_KEY, lowerDigest(escrowIdOf(1), 4e6, until));
        vm.expectEmit(address(hub));
        emit EscrowLowered(escrowIdOf(1), 4e6);
        hub.lowerMax(payerOf(1), OPERATOR, keyOf(1), 4e6, until, signature);
    }

    // Steps -------------------------------------------------------------------------------------

    function appendReserve() private {
        PolicyParameters memory changed = parameters();
        changed.reserveBps = 300;
        vm.startPrank(address(timelock));
        policy.append(uint40(time() + 1), changed, assetPolicies());
        policy.setMarket(MARKET);
        vm.stopPrank();
        skip(1);
    }

    function useReserve(Batch memory batch) private pure {
        for (uint256 i = 0; i < batch.leaves.length; ++i) {
            uint256 word = LeafMeter.unwrap(batch.leaves[i].meter);
            batch.leaves[i].meter = LeafMeter.wrap(word ^ uint256(3) << 16); // version 1 to 2
        }
    }

    function openBy(uint256 payer, uint256 session) private {
        c4e.transfer(payerOf(payer), 10e6);
        vm.prank(payerOf(payer));
        IERC20(address(c4e)).approve(address(hub), 10e6);
        uint64 until = uint64(time());
        bytes32 digest = openDigest(OPERATOR, keyOf(session), address(c4e), 10e6, until);
        bytes memory signature = sign(payerKey(payer), digest);
        hub.open(payerOf(payer), OPERATOR, keyOf(session), address(c4e), 10e6, until, signature);
    }

    /// @dev A wallet leaf of 5 and 1 VAT, and a fiat leaf.
    function mixedBatch(uint256 session, uint64 fiat) private returns (Batch memory batch) {
        openEscrow(address(euro), session, 10e6);
        batch = emptyBatch(address(euro), 2);
        batch.leaves[0] = leafOf(session, 0, Rail.Wallet, 5e6, 1e6);
        batch.leaves[1] = leafOf(session + 1, 0, Rail.Fiat, fiat, 0);
        (batch.fiatTotal, batch.gateway) = (fiat, GATEWAY);
    }

    /// @dev Half to the three who signed, of the other half the proposer's and the caller's.
    function assertOps(uint256 ops) private view {
        uint256 each = ops / 2 / uint256(3);
        for (uint8 i = 0; i < 3; ++i) {
            assertEq(hub.withdrawable(beneficiaryOf(i), address(euro)), each);
        }
        uint256 proposer = (ops - ops / 2) / 2;
        assertEq(hub.withdrawable(PROPOSER, address(euro)), proposer);
        assertEq(hub.withdrawable(KEEPER, address(euro)), ops - 3 * each - proposer);
    }

    function assertHubHoldsWhatItOwes(address asset, uint256 gone, uint256 came) private view {
        uint256 owed = freeOf(asset) + hub.withdrawable(HOST, asset)
            + hub.withdrawable(MARKET, asset) + hub.withdrawable(PROPOSER, asset)
            + hub.withdrawable(KEEPER, asset);
        for (uint8 i = 0; i < 3; ++i) {
            owed += hub.withdrawable(beneficiaryOf(i), asset);
        }
        assertEq(IERC20(asset).balanceOf(address(hub)), owed);
        assertEq(owed, came - gone);
    }
}
