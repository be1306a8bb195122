// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Batch, Rail} from "../../src/Types.sol";
import {ISettlementHub, ISettlementTypes} from "../../src/interfaces/ISettlementHub.sol";
import {Split} from "../../src/Split.sol";
import {AttesterRegistry, C4EToken, TestEuro} from "../Contracts.sol";
import {TestBase} from "../TestBase.sol";
import {vm} from "../Vm.sol";
import {SettlementHubHandler} from "./SettlementHubHandler.sol";
import {SettlementHubScenes} from "./SettlementHubScenes.sol";

/// forge-config: default.invariant.fail-on-revert = true
/// forge-config: default.invariant.runs = 6
/// forge-config: default.invariant.depth = 400
contract SettlementHubInvariants is TestBase, ISettlementTypes {
    uint256 private constant ATTESTERS = 4;

    SettlementHubScenes private _it;
    /// @dev What the holders of a passport were credited, when last looked at.
    mapping(address asset => mapping(uint256 id => uint256)) private _notified;
    ISettlementHub private _hub;
    AttesterRegistry private _registry;
    C4EToken private _c4e;
    TestEuro private _euro;

    function setUp() external {
        _it = new SettlementHubScenes();
        (_hub, _registry, _c4e, _euro) = _it.contracts();
        bytes4[] memory selectors = new bytes4[](21);
        selectors[0] = SettlementHubHandler.wait.selector;
        selectors[1] = SettlementHubHandler.open.selector;
        selectors[2] = SettlementHubHandler.lowerMax.selector;
        selectors[3] = SettlementHubHandler.askRefund.selector;
        selectors[4] = SettlementHubHandler.refund.selector;
        selectors[5] = SettlementHubHandler.deposit.selector;
        selectors[6] = SettlementHubHandler.withdrawGateway.selector;
        selectors[7] = SettlementHubHandler.hostBalance.selector;
        selectors[8] = SettlementHubHandler.withdraw.selector;
        selectors[9] = SettlementHubHandler.claim.selector;
        selectors[10] = SettlementHubHandler.propose.selector;
        selectors[11] = SettlementHubHandler.settle.selector;
        selectors[12] = SettlementHubHandler.killWithoutQuorum.selector;
        selectors[13] = SettlementHubHandler.challengeImpossible.selector;
        selectors[14] = SettlementHubHandler.challengeOverlap.selector;
        selectors[15] = SettlementHubHandler.dispute.selector;
        selectors[16] = SettlementHubHandler.rule.selector;
        selectors[17] = SettlementHubHandler.endDispute.selector;
        selectors[18] = SettlementHubHandler.equivocate.selector;
        selectors[19] = SettlementHubHandler.proposeWithoutQuorum.selector;
        selectors[20] = SettlementHubScenes.scene.selector;
        target(address(_it), selectors);
    }

    /// @dev I1 in both assets; I11 as sums over what is pending; I12, I25 at the bonds.
    function invariant_money_locks_and_bonds() external {
        checkAll();
    }

    function checkAll() internal {
        checkTotals(address(_c4e));
        checkTotals(address(_euro));
        checkMoney(address(_c4e));
        checkMoney(address(_euro));
        checkLocks();
        checkExposures();
        checkBonds();
    }

    /// @dev I1: the balance is escrows, gateway, prepaid, to withdraw, aside and bonds, to the unit.
    function checkMoney(address asset) internal view {
        uint256 sum;
        for (uint256 i = 0; i < _it.sessionCount(); ++i) {
            Escrow memory escrow = _hub.escrowOf(_it.idOf(i));
            if (_it.assetOf(i) == asset) sum += escrow.max;
        }
        (uint128 free, uint128 locked) = _hub.gatewayOf(_it.gateway(), asset);
        sum += uint256(free) + locked;
        address[] memory accounts = _it.accounts();
        for (uint256 i = 0; i < accounts.length; ++i) {
            sum += _hub.withdrawable(accounts[i], asset);
        }
        bool isC4E = asset == address(_c4e);
        for (uint256 i = 0; i < _it.disputeCount(); ++i) {
            Dispute memory it = _hub.disputeOf(_it.disputes(i));
            if (!it.isOpen) continue;
            if (it.asset == asset) sum += it.amount;
            if (isC4E) sum += it.bond;
        }
        if (isC4E) {
            (uint128 prepaid,) = _hub.prepaidOf(_it.host());
            sum += prepaid;
            assertEq(_c4e.balanceOf(address(_hub)), sum, "I1 in C4E");
        } else {
            assertEq(_euro.balanceOf(address(_hub)), sum, "I1 in euro");
        }
    }

    /// @dev I21: what holders were credited only grows; I3 for the sum of it: the shares hold it all.
    function checkTotals(address asset) internal {
        for (uint256 i = 0; i < 2; ++i) {
            uint256 id = uint256(_it.passportAt(i));
            uint256 total = _it.totalNotified(id, asset);
            assertGe(total, _notified[asset][id], "I21");
            _notified[asset][id] = total;
        }
    }

    /// @dev What is locked is what pending batches locked, but what is aside.
    function checkLocks() internal view {
        uint256 inC4E;
        uint256 inEuro;
        for (uint256 i = 0; i < _it.batchCount(); ++i) {
            Batch memory batch = _it.batchAt(i);
            BatchState memory state = _hub.batchOf(_hub.batchDigest(batch));
            if (state.state != State.Pending) continue;
            uint256 locked = batch.fiatTotal;
            for (uint256 k = 0; k < batch.leaves.length; ++k) {
                bool isAside = state.disputed >> k & 1 == 1;
                if (isAside && batch.leaves[k].meter.rail() == Rail.Fiat) {
                    locked -= batch.leaves[k].money.amount();
                }
            }
            if (batch.asset == address(_c4e)) inC4E += locked;
            else inEuro += locked;
        }
        (, uint128 isC4E) = _hub.gatewayOf(_it.gateway(), address(_c4e));
        (, uint128 isEuro) = _hub.gatewayOf(_it.gateway(), address(_euro));
        assertEq(isC4E, inC4E, "locked C4E");
        assertEq(isEuro, inEuro, "locked euro");
    }

    /// @dev Who signed answers for his part of every pending batch, and of no other.
    function checkExposures() internal view {
        uint256[] memory due = new uint256[](ATTESTERS);
        for (uint256 i = 0; i < _it.batchCount(); ++i) {
            Batch memory batch = _it.batchAt(i);
            BatchState memory state = _hub.batchOf(_hub.batchDigest(batch));
            if (state.state != State.Pending) continue;
            uint256 total;
            for (uint256 k = 0; k < batch.leaves.length; ++k) {
                if (batch.leaves[k].meter.rail() == Rail.Fiat) continue;
                total += uint256(batch.leaves[k].money.amount()) + batch.leaves[k].money.vat();
            }
            uint256 count;
            for (uint256 k = 0; k < ATTESTERS; ++k) {
                count += state.signers >> k & 1;
            }
            for (uint256 k = 0; k < ATTESTERS; ++k) {
                if (state.signers >> k & 1 == 0) continue;
                due[k] += Split.exposureOf(total, batch.c4eRate, count);
            }
        }
        for (uint8 k = 0; k < ATTESTERS; ++k) {
            assertEq(_hub.exposureOf(k), due[k], "exposure");
        }
    }

    /// @dev The registry holds every bond; the honest attester has lost nothing.
    function checkBonds() internal view {
        uint256 bonds;
        for (uint8 i = 0; i < ATTESTERS; ++i) {
            bonds += _registry.bondOf(i);
        }
        assertEq(_c4e.balanceOf(address(_registry)), bonds, "I12");
        assertEq(_registry.bondOf(0), _registry.BOND(), "I25");
    }

    /// @dev I18, I20: a stranger alone moves everything to its end, and everybody is paid out.
    function afterInvariant() external {
        _it.playAll();
        checkAll();
        checkCoverage();
        _it.finish();
        for (uint256 i = 0; i < _it.batchCount(); ++i) {
            State state = _hub.batchOf(_hub.batchDigest(_it.batchAt(i))).state;
            assertTrue(state == State.Settled || state == State.Killed, "I18: a batch is stuck");
        }
        for (uint256 i = 0; i < _it.disputeCount(); ++i) {
            assertFalse(_hub.disputeOf(_it.disputes(i)).isOpen, "I18: a dispute is stuck");
        }
        (uint128 prepaid,) = _hub.prepaidOf(_it.host());
        (uint128 free, uint128 locked) = _hub.gatewayOf(_it.gateway(), address(_c4e));
        assertEq(locked, 0);
        assertEq(_c4e.balanceOf(address(_hub)), uint256(prepaid) + free, "all C4E came out");
        (free, locked) = _hub.gatewayOf(_it.gateway(), address(_euro));
        assertEq(locked, 0);
        assertEq(_euro.balanceOf(address(_hub)), free, "all euro came out");
        for (uint8 i = 0; i < ATTESTERS; ++i) {
            assertEq(_hub.exposureOf(i), 0);
        }
    }

    /// @dev Nothing above passes because nothing happened.
    function checkCoverage() internal view {
        bytes32[30] memory all = [
            bytes32("wait"),
            "open",
            "open by permit",
            "open by authorization",
            "lower",
            "ask refund",
            "refund",
            "deposit",
            "withdraw gateway",
            "prepay",
            "unprepay",
            "withdraw",
            "claim",
            "propose",
            "propose a lie",
            "refuse without a quorum",
            "settle",
            "skip",
            "pay from gateway",
            "pay from escrow",
            "equivocate",
            "kill without quorum",
            "kill the impossible",
            "kill with a dispute",
            "find no fault",
            "kill for overlap",
            "dispute",
            "rule: stands",
            "rule: falls",
            "end dispute"
        ];
        for (uint256 i = 0; i < all.length; ++i) {
            assertGt(_it.did(all[i]), 0, string.concat("never did it ", vm.toString(all[i])));
        }
    }
}
