// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Batch, LeafMeter} from "../../src/Types.sol";
import {vm} from "../Vm.sol";
import {SettlementHubHandler} from "./SettlementHubHandler.sol";

/// @title Whole stories of the hub, told from wherever a history stands.
/// @dev Chance alone hardly ever has a batch disputed, settled and ruled on. A run of calls at random
/// meets one of these now and then, and all of them at its end: so each history does everything.
contract SettlementHubScenes is SettlementHubHandler {
    uint256 private constant SCENES = 5;
    uint64 private constant MAX = 10e6;

    uint256 private _calls;

    /// @dev One call in eight, each in its turn.
    function scene() external {
        if (++_calls % 8 == 0) play(_calls / 8 % SCENES);
    }

    function playAll() external {
        this.wait(2 hours);
        for (uint256 i = 0; i < SCENES; ++i) {
            play(i);
        }
        for (uint256 kind = 0; kind < 5; ++kind) {
            this.proposeWithoutQuorum(kind);
        }
        if (did["equivocate"] == 0) slashTheThird();
    }

    function play(uint256 i) private atClock {
        if (i == 0) escrowsOpenAndClose();
        else if (i == 1) balancesComeAndGo();
        else if (i == 2) honestBatchesSettle();
        else if (i == 3) liesAreKilled();
        else disputesEnd();
        ++did["scene"];
    }

    /// @dev In both assets, in every way; one is lowered, one taken back.
    function escrowsOpenAndClose() private {
        uint256 session = addSession(Way.Approval, false, MAX);
        addSession(Way.Permit, false, MAX);
        addSession(Way.Authorization, false, MAX);
        addSession(Way.Approval, false, MAX);
        addSession(Way.Permit, false, MAX);
        addSession(Way.Authorization, false, MAX);
        this.lowerMax(session, 4e6);
        later(11 days);
        this.askRefund(session);
        this.refund(session);
        later(3 days);
        this.refund(session);
        assertEq(hub.escrowOf(idOf(session)).max, 0, "refunded");
    }

    function balancesComeAndGo() private {
        this.deposit(uint256(1e6) << 8);
        this.withdrawGateway(1 << 8);
        this.hostBalance(3);
        this.hostBalance(1 | uint256(1e6) << 8);
        this.hostBalance(2 | 1 << 8);
        this.hostBalance(0);
    }

    /// @dev One from an escrow, one that has none, one from the gateway; then everybody is paid.
    function honestBatchesSettle() private {
        uint256 paid = putHonest(addSession(Way.Approval, false, MAX));
        uint256 skipped = putHonest(addSession(Way.Never, false, MAX));
        uint256 fiat = putFiat();
        settleAt(paid);
        assertFalse(isSettled(paid), "I11: before the window's end");
        later(2 days);
        settleAt(paid);
        settleAt(skipped);
        settleAt(fiat);
        assertTrue(isSettled(paid) && !isSettled(skipped) && isSettled(fiat));
        for (uint256 i = 0; i < passports.length; ++i) {
            this.claim(i);
            this.claim(i | 1 << 8);
        }
        withdrawFor(HOST, address(c4e));
        withdrawFor(HOST, address(euro));
    }

    /// @dev One that cannot be, with a leaf in dispute; one that tells a session for the second time.
    function liesAreKilled() private {
        Batch memory batch = inC4E(Way.Approval);
        uint256 energy = uint256(0xfffff) << 128;
        batch.leaves[0].meter = LeafMeter.wrap(LeafMeter.unwrap(batch.leaves[0].meter) | energy);
        uint256 place = put(batch, 14, false);
        disputeAt(place, 0);
        uint256 bond = registry.bondOf(1);
        challengeImpossibleAt(place);
        assertLt(registry.bondOf(1), bond, "who lied pays");
        assertFalse(isSettled(place), "I11");

        uint256 told = putHonest(odd(Way.Approval));
        batch = inC4E(Way.Approval);
        batch.leaves[0].money = batchAt(told).leaves[0].money;
        place = put(batch, 14, false);
        bond = registry.bondOf(1);
        challengeOverlapAt(place, told);
        assertLt(registry.bondOf(1), bond, "who signed both pays");
        challengeImpossibleAt(told);
    }

    /// @dev The truth stands by a ruling or by default; what lies in a possible way falls.
    function disputesEnd() private {
        uint256 first = putHonest(addSession(Way.Approval, false, MAX));
        uint256 second = putFiat();
        Batch memory batch = inC4E(Way.Approval);
        batch.leaves[0].money = money(MAX, 0, keyOf(sessions.length - 1));
        uint256 lie = put(batch, 14, false);
        uint256 from = disputes.length;
        disputeAt(first, 0);
        disputeAt(second, 0);
        disputeAt(lie, 0);
        assertEq(disputes.length, from + 3, "disputed");
        later(2 days);
        settleAt(first);
        settleAt(second);
        settleAt(lie);
        ruleAt(from);
        ruleAt(from + 2);
        endDisputeAt(from + 1);
        later(21 days);
        endDisputeAt(from + 1);
        for (uint256 k = from; k < from + 3; ++k) {
            assertFalse(hub.disputeOf(disputes[k]).isOpen, "ended");
        }
    }

    function putHonest(uint256 session) private returns (uint256) {
        return put(batchOf(session), 7, true);
    }

    function putFiat() private returns (uint256) {
        uint256 session = addSession(Way.Never, true, MAX);
        depositGateway(assetOf(session), MAX);
        return putHonest(session);
    }

    /// @dev A batch of one true leaf in C4E, where a slashed bond covers most.
    function inC4E(Way way) private returns (Batch memory) {
        return batchOf(odd(way));
    }

    function odd(Way way) private returns (uint256) {
        if (sessions.length % 2 == 0) addSession(Way.Never, false, MAX);
        return addSession(way, false, MAX);
    }

    function later(uint256 duration) private {
        clock += duration;
        vm.warp(clock);
    }

    function isSettled(uint256 place) private view returns (bool) {
        Batch memory batch = batchAt(place);
        return hub.isSettled(OPERATOR, batch.asset, batch.leaves[0].party.cdrNo());
    }
}
