// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChargerShares} from "../src/ChargerShares.sol";
import {AssetDouble, PassportDouble} from "../test/doubles/ChargerSharesDoubles.sol";
import {vm} from "../test/Vm.sol";

/// @title Lemmas on the accumulator of the shares, proved for all inputs of the widths given.
/// @dev By halmos, on the contract itself: the passport's owner has what is not released, Alice
/// what is, Bob what she sends him. Wider numbers are the fuzz tests' and the invariants'.
contract ChargerSharesLemmas {
    uint256 private constant UNITS = 1_000_000;
    /// @dev Units are 0 to 15 of these: a solver cannot multiply wide numbers.
    uint256 private constant STEP = UNITS / 15;
    uint256 private constant ID = 7;
    address private constant OWNER = address(0x1001);
    address private constant ALICE = address(0x1002);
    address private constant BOB = address(0x1003);

    PassportDouble private passport;
    AssetDouble private asset;
    ChargerShares private shares;
    ChargerShares private other;

    function setUp() public {
        passport = new PassportDouble();
        asset = new AssetDouble();
        passport.mint(OWNER, ID);
        shares = new ChargerShares(address(passport), address(this), address(this));
        other = new ChargerShares(address(passport), address(this), address(this));
    }

    /// @dev What all are paid is at most what came in, and what is left is less than a unit each.
    function check_floorNeverOverpays(uint8 amount, uint8 steps) public {
        release(shares, steps);
        notify(shares, amount);
        uint256 alice = shares.claim(ID, address(asset), ALICE);
        uint256 owner = shares.claim(ID, address(asset), OWNER);
        assert(alice + owner <= amount);
        assert(amount - alice - owner <= 1);
        assert(shares.heldOf(address(asset)) == amount - alice - owner);
        assert(owed(shares, ALICE) < UNITS);
        assert(owed(shares, address(0)) < UNITS);
    }

    /// @dev What is owed and what is held are one sum, to the millionth, before and after a claim.
    function check_owedIsHeld(uint8 first, uint8 second, uint8 steps) public {
        vm.assume(first <= 15 && second <= 15);
        release(shares, steps);
        notify(shares, first);
        shares.claim(ID, address(asset), ALICE);
        notify(shares, second);
        uint256 sum = owed(shares, ALICE) + owed(shares, address(0));
        assert(sum == shares.heldOf(address(asset)) * UNITS);
    }

    /// @dev Money that comes in takes nothing from anybody.
    function check_owedIsMonotone(uint8 first, uint8 second, uint8 steps) public {
        release(shares, steps);
        notify(shares, first);
        uint256 alice = owed(shares, ALICE);
        notify(shares, second);
        assert(owed(shares, ALICE) >= alice);
        assert(shares.totalNotified(ID, address(asset)) == uint256(first) + second);
    }

    /// @dev A transfer in two parts leaves each as a transfer in one does.
    function check_splitTransferChangesNothing(uint8 first, uint8 second, uint8 steps, uint8 part)
        public
    {
        vm.assume(part <= steps);
        release(shares, steps);
        release(other, steps);
        notify(shares, first);
        notify(other, first);
        transfer(shares, steps);
        transfer(other, part);
        transfer(other, steps - part);
        notify(shares, second);
        notify(other, second);
        assert(owed(shares, ALICE) == owed(other, ALICE));
        assert(owed(shares, BOB) == owed(other, BOB));
        assert(owed(shares, BOB) == STEP * steps * second);
    }

    function release(ChargerShares of_, uint256 steps) private {
        vm.assume(steps <= 15);
        vm.prank(OWNER);
        of_.release(ID, ALICE, STEP * steps);
    }

    function transfer(ChargerShares of_, uint256 steps) private {
        vm.prank(ALICE);
        of_.safeTransferFrom(ALICE, BOB, ID, STEP * steps, "");
    }

    function notify(ChargerShares of_, uint256 amount) private {
        asset.mint(address(of_), amount);
        uint256[] memory ids = new uint256[](1);
        uint256[] memory amounts = new uint256[](1);
        (ids[0], amounts[0]) = (ID, amount);
        of_.notify(address(asset), ids, amounts);
    }

    function owed(ChargerShares of_, address account) private view returns (uint256) {
        return of_.owedMillionths(ID, address(asset), account);
    }
}
