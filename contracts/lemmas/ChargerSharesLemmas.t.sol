// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChargerShares} from "../src/ChargerShares.sol";
import {AssetDouble, PassportDouble} from "../test/doubles/ChargerSharesDoubles.sol";
import {vm} from "../test/Vm.sol";

/// @title Lemmas on the accumulator of the shares, proved for every amount of the width given.
/// @dev By halmos, on the contract itself: the passport's owner has what is not released, Alice
/// what is, Bob what she sends him. A solver cannot multiply and divide two unknowns of such
/// width, so the units are one of eight splits, the worst for rounding among them; every other is
/// the fuzz tests' and the invariants'.
contract ChargerSharesLemmas {
    uint256 private constant UNITS = 1_000_000;
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
    function check_floorNeverOverpays(uint8 amount, uint8 split) public {
        release(shares, split);
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
    /// Amounts to 15: what is divided and what is left are two unknowns more.
    function check_owedIsHeld(uint8 amount, uint8 split) public {
        vm.assume(amount <= 15);
        release(shares, split);
        notify(shares, amount);
        assert(owed(shares, ALICE) + owed(shares, address(0)) == uint256(amount) * UNITS);
        uint256 paid = shares.claim(ID, address(asset), ALICE);
        assert(shares.heldOf(address(asset)) == amount - paid);
        assert(owed(shares, ALICE) + paid * UNITS == unitsOf(split) * amount);
    }

    /// @dev Money that comes in takes nothing from anybody.
    function check_owedIsMonotone(uint8 first, uint8 second, uint8 split) public {
        release(shares, split);
        notify(shares, first);
        uint256 alice = owed(shares, ALICE);
        notify(shares, second);
        assert(owed(shares, ALICE) >= alice);
        assert(shares.totalNotified(ID, address(asset)) == uint256(first) + second);
    }

    /// @dev A transfer in two parts leaves each as a transfer in one does.
    function check_splitTransferChangesNothing(uint64 first, uint64 second, uint8 split) public {
        uint256 part = unitsOf(split);
        release(shares, 7);
        release(other, 7);
        notify(shares, first);
        notify(other, first);
        transfer(shares, UNITS);
        transfer(other, part);
        transfer(other, UNITS - part);
        notify(shares, second);
        notify(other, second);
        assert(owed(shares, ALICE) == owed(other, ALICE));
        assert(owed(shares, BOB) == owed(other, BOB));
        assert(owed(shares, BOB) == UNITS * second);
    }

    /// @dev Eight cases, in each of which the units are a number and not an unknown.
    function unitsOf(uint8 split) private pure returns (uint256) {
        if (split == 0) return 0;
        if (split == 1) return 1;
        if (split == 2) return 3;
        if (split == 3) return 333_333;
        if (split == 4) return 500_000;
        if (split == 5) return 666_667;
        if (split == 6) return UNITS - 1;
        return UNITS;
    }

    function release(ChargerShares of_, uint8 split) private {
        uint256 units = unitsOf(split);
        vm.prank(OWNER);
        of_.release(ID, ALICE, units);
    }

    function transfer(ChargerShares of_, uint256 units) private {
        vm.prank(ALICE);
        of_.safeTransferFrom(ALICE, BOB, ID, units, "");
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
