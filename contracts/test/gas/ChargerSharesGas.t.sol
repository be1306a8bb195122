// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ChargerSharesFixture} from "../ChargerSharesFixture.sol";
import {vm} from "../Vm.sol";

/// @title Gas of the shares' entry points, whole transactions.
contract ChargerSharesGasTest is ChargerSharesFixture {
    function test_gas() public {
        release(ALICE, 300_000);
        vm.snapshotGasLastCall("ChargerShares", "release");
        euro.mint(address(shares), 2_000);
        vm.prank(HUB);
        shares.notify(address(euro), list(ID, OTHER_ID), list(1_000, 1_000));
        vm.snapshotGasLastCall("ChargerShares", "notify, 2 ids, first");
        euro.mint(address(shares), 2_000);
        vm.prank(HUB);
        shares.notify(address(euro), list(ID, OTHER_ID), list(1_000, 1_000));
        vm.snapshotGasLastCall("ChargerShares", "notify, 2 ids, steady");
        notify(c4e, 1_000);
        claim(euro, ALICE);
        vm.snapshotGasLastCall("ChargerShares", "claim, first");
        notify(euro, 1_000);
        claim(euro, ALICE);
        vm.snapshotGasLastCall("ChargerShares", "claim, steady");
        transfer(ALICE, BOB, 100_000);
        vm.snapshotGasLastCall("ChargerShares", "transfer, 2 assets, new holder");
        notify(euro, 1_000);
        notify(c4e, 1_000);
        transfer(ALICE, BOB, 100_000);
        vm.snapshotGasLastCall("ChargerShares", "transfer, 2 assets, steady");
    }
}
