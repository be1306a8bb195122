// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChargerShares, create} from "./Contracts.sol";
import {TestBase} from "./TestBase.sol";
import {AssetDouble, PassportDouble} from "./doubles/ChargerSharesDoubles.sol";
import {vm} from "./Vm.sol";

/// @title A shares contract with two minted passports and two assets.
abstract contract ChargerSharesFixture is TestBase {
    uint256 internal constant UNITS = 1_000_000;
    uint256 internal constant ID = uint256(keccak256("passport"));
    uint256 internal constant OTHER_ID = uint256(keccak256("other passport"));
    uint256 internal constant UNMINTED = uint256(keccak256("no passport"));

    address internal immutable HUB = vm.addr(1);
    address internal immutable EMISSION = vm.addr(2);
    address internal immutable OWNER = vm.addr(3);
    address internal immutable ALICE = vm.addr(4);
    address internal immutable BOB = vm.addr(5);
    address internal immutable STRANGER = vm.addr(6);

    PassportDouble internal passport;
    ChargerShares internal shares;
    AssetDouble internal euro;
    AssetDouble internal c4e;

    function setUp() public virtual {
        passport = new PassportDouble();
        shares =
            ChargerShares(create("ChargerShares", abi.encode(address(passport), HUB, EMISSION)));
        euro = new AssetDouble();
        c4e = new AssetDouble();
        passport.mint(OWNER, ID);
        passport.mint(OWNER, OTHER_ID);
    }

    function release(address to, uint256 units) internal {
        vm.prank(OWNER);
        shares.release(ID, to, units);
    }

    function notify(AssetDouble asset, uint256 amount) internal {
        notify(asset, ID, amount);
    }

    function notify(AssetDouble asset, uint256 id, uint256 amount) internal {
        asset.mint(address(shares), amount);
        vm.prank(HUB);
        shares.notify(address(asset), list(id), list(amount));
    }

    function transfer(address from, address to, uint256 units) internal {
        vm.prank(from);
        shares.safeTransferFrom(from, to, ID, units, "");
    }

    function claim(AssetDouble asset, address holder) internal returns (uint256) {
        return shares.claim(ID, address(asset), holder);
    }

    function owed(AssetDouble asset, address account) internal view returns (uint256) {
        return shares.owedMillionths(ID, address(asset), account);
    }

    function list(uint256 one) internal pure returns (uint256[] memory numbers) {
        numbers = new uint256[](1);
        numbers[0] = one;
    }

    function list(uint256 one, uint256 two) internal pure returns (uint256[] memory numbers) {
        numbers = new uint256[](2);
        (numbers[0], numbers[1]) = (one, two);
    }
}
