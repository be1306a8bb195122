// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1155Errors, IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC1155} from "@openzeppelin/contracts/token/ERC1155/IERC1155.sol";

import {IChargerShares} from "../src/interfaces/IChargerShares.sol";
import {ChargerSharesFixture} from "./ChargerSharesFixture.sol";
import {AssetDouble} from "./doubles/ChargerSharesDoubles.sol";
import {vm} from "./Vm.sol";

contract ChargerSharesTest is ChargerSharesFixture {
    // What it is ------------------------------------------------------------------------------

    function test_constructor_keepsTheAddresses() public view {
        assertEq(shares.PASSPORT(), address(passport));
        assertEq(shares.HUB(), HUB);
        assertEq(shares.EMISSION_CONTROLLER(), EMISSION);
        assertTrue(shares.supportsInterface(type(IERC1155).interfaceId));
    }

    function test_uri_isThePassports() public {
        assertEq(shares.uri(ID), "data:passport");
        vm.expectRevert(noPassport());
        shares.uri(UNMINTED);
    }

    // release ---------------------------------------------------------------------------------

    function test_release_movesUnitsFromThePassport() public {
        vm.expectEmit(address(shares));
        emit IChargerShares.Released(ID, ALICE, 250_000);
        vm.expectEmit(address(shares));
        emit IERC1155.TransferSingle(OWNER, address(0), ALICE, ID, 250_000);
        release(ALICE, 250_000);
        assertEq(shares.balanceOf(ALICE, ID), 250_000);
        assertEq(shares.unreleased(ID), 750_000);
        assertEq(shares.unreleased(OTHER_ID), UNITS);
    }

    function test_release_canTakeAllButNotMore() public {
        release(ALICE, UNITS - 1);
        vm.expectRevert(abi.encodeWithSelector(IChargerShares.NotEnoughUnits.selector, 2, 1));
        release(BOB, 2);
        release(BOB, 1);
        assertEq(shares.unreleased(ID), 0);
        vm.expectRevert(abi.encodeWithSelector(IChargerShares.NotEnoughUnits.selector, 1, 0));
        release(BOB, 1);
        release(BOB, 0);
    }

    function test_release_isTheOwnersAlone() public {
        vm.prank(OWNER);
        passport.setApprovalForAll(ALICE, true);
        vm.prank(OWNER);
        shares.setApprovalForAll(ALICE, true);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IChargerShares.NotPassportOwner.selector, ALICE));
        shares.release(ID, ALICE, 1);
    }

    function test_release_followsTheNft() public {
        vm.prank(OWNER);
        passport.transferFrom(OWNER, ALICE, ID);
        vm.expectRevert(abi.encodeWithSelector(IChargerShares.NotPassportOwner.selector, OWNER));
        release(BOB, 1);
        vm.prank(ALICE);
        shares.release(ID, BOB, 1);
        assertEq(shares.balanceOf(BOB, ID), 1);
    }

    function test_release_needsAPassport() public {
        vm.expectRevert(noPassport());
        vm.prank(OWNER);
        shares.release(UNMINTED, OWNER, 1);
    }

    function test_release_needsAReceiver() public {
        vm.expectRevert(
            abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, address(0))
        );
        release(address(0), 1);
        vm.expectRevert(
            abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, address(euro))
        );
        release(address(euro), 1);
        assertEq(shares.unreleased(ID), UNITS);
    }

    function test_release_leavesWhatWasEarnedBeforeWithThePassport() public {
        notify(euro, 1_000);
        release(ALICE, 400_000);
        assertEq(owed(euro, ALICE), 0);
        assertEq(owed(euro, address(0)), 1_000 * UNITS);
        notify(euro, 1_000);
        assertEq(owed(euro, ALICE), 400 * UNITS);
        assertEq(owed(euro, address(0)), 1_600 * UNITS);
    }

    // notify ----------------------------------------------------------------------------------

    function test_notify_addsUp() public {
        euro.mint(address(shares), 100);
        vm.expectEmit(address(shares));
        emit IChargerShares.Notified(ID, address(euro), 70);
        vm.expectEmit(address(shares));
        emit IChargerShares.Notified(OTHER_ID, address(euro), 30);
        vm.prank(HUB);
        shares.notify(address(euro), list(ID, OTHER_ID), list(70, 30));
        assertEq(shares.totalNotified(ID, address(euro)), 70);
        assertEq(shares.totalNotified(OTHER_ID, address(euro)), 30);
        assertEq(shares.heldOf(address(euro)), 100);
        assertEq(shares.assets().length, 1);
        assertEq(shares.assets()[0], address(euro));
    }

    function test_notify_takesTheSameIdTwice() public {
        euro.mint(address(shares), 100);
        vm.prank(EMISSION);
        shares.notify(address(euro), list(ID, ID), list(70, 30));
        assertEq(shares.totalNotified(ID, address(euro)), 100);
        assertEq(shares.claimable(ID, address(euro), OWNER), 100);
    }

    function test_notify_isTheNotifiersAlone() public {
        euro.mint(address(shares), 1);
        vm.prank(OWNER);
        vm.expectRevert(abi.encodeWithSelector(IChargerShares.NotNotifier.selector, OWNER));
        shares.notify(address(euro), list(ID), list(1));
    }

    function test_notify_needsAnAmountForEachId() public {
        vm.prank(HUB);
        vm.expectRevert(
            abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidArrayLength.selector, 2, 1)
        );
        shares.notify(address(euro), list(ID, OTHER_ID), list(1));
    }

    function test_notify_needsHolders() public {
        euro.mint(address(shares), 10);
        vm.prank(HUB);
        vm.expectRevert(noPassport());
        shares.notify(address(euro), list(ID, UNMINTED), list(1, 9));
        assertEq(shares.totalNotified(ID, address(euro)), 0);
    }

    function test_notify_ofNothingDoesNothing() public {
        vm.recordLogs();
        vm.startPrank(HUB);
        shares.notify(address(euro), list(ID, UNMINTED), list(0, 0));
        shares.notify(address(euro), new uint256[](0), new uint256[](0));
        vm.stopPrank();
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(shares.assets().length, 0);
    }

    function test_notify_creditsOnlyWhatArrived() public {
        euro.mint(address(shares), 99);
        vm.prank(HUB);
        vm.expectRevert(notReceived(100, 99));
        shares.notify(address(euro), list(ID), list(100));
        vm.prank(HUB);
        shares.notify(address(euro), list(ID), list(99));
        // What is held for holders does not count again.
        vm.prank(HUB);
        vm.expectRevert(notReceived(100, 99));
        shares.notify(address(euro), list(ID), list(1));
    }

    function test_notify_keepsToEightAssets() public {
        for (uint256 i = 0; i < 8; ++i) {
            notify(new AssetDouble(), 1 + i);
        }
        assertEq(shares.assets().length, 8);
        AssetDouble eighth = AssetDouble(shares.assets()[7]);
        notify(eighth, 5);
        euro.mint(address(shares), 1);
        vm.prank(HUB);
        vm.expectRevert(abi.encodeWithSelector(IChargerShares.TooManyAssets.selector));
        shares.notify(address(euro), list(ID), list(1));
    }

    /// @dev The largest total that can be: transfers and claims still work, one more is refused.
    function test_notify_boundsTheTotal() public {
        uint256 most = uint256(type(uint128).max) / UNITS;
        release(ALICE, UNITS - 1);
        notify(euro, most - 1);
        notify(euro, 1);
        euro.mint(address(shares), 1);
        vm.prank(HUB);
        vm.expectRevert(
            abi.encodeWithSelector(IChargerShares.TotalOutOfRange.selector, ID, address(euro))
        );
        shares.notify(address(euro), list(ID), list(1));
        notify(euro, OTHER_ID, 1);

        transfer(ALICE, BOB, UNITS - 1);
        assertEq(owed(euro, ALICE), (UNITS - 1) * most);
        assertEq(claim(euro, ALICE), (UNITS - 1) * most / UNITS);
        assertEq(claim(euro, OWNER), most / UNITS);
        assertEq(claim(euro, BOB), 0);
    }

    // claim -----------------------------------------------------------------------------------

    function test_claim_paysEveryHolderByUnits() public {
        release(ALICE, 600_000);
        release(BOB, 150_000);
        notify(euro, 1_000_000);
        notify(c4e, 2_000);
        assertEq(claim(euro, BOB), 150_000);
        assertEq(claim(euro, OWNER), 250_000);
        assertEq(claim(euro, ALICE), 600_000);
        assertEq(claim(c4e, ALICE), 1_200);
        assertEq(euro.balanceOf(ALICE), 600_000);
        assertEq(euro.balanceOf(BOB), 150_000);
        assertEq(euro.balanceOf(OWNER), 250_000);
        assertEq(shares.heldOf(address(euro)), 0);
        assertEq(shares.heldOf(address(c4e)), 800);
        assertEq(shares.totalNotified(ID, address(euro)), 1_000_000);
    }

    function test_claim_byAStrangerPaysTheHolder() public {
        release(ALICE, 500_000);
        notify(euro, 100);
        vm.expectEmit(address(shares));
        emit IChargerShares.Claimed(ID, address(euro), ALICE, 50);
        vm.prank(STRANGER);
        shares.claim(ID, address(euro), ALICE);
        assertEq(euro.balanceOf(ALICE), 50);
        assertEq(euro.balanceOf(STRANGER), 0);
    }

    function test_claim_floorsAndKeepsTheFraction() public {
        release(ALICE, 333_333);
        notify(euro, 5);
        assertEq(shares.claimable(ID, address(euro), ALICE), 1);
        assertEq(claim(euro, ALICE), 1);
        assertEq(owed(euro, ALICE), 5 * 333_333 - UNITS);
        // 1 + 2/3 are there, 1/3 is missing: one more gives the second unit.
        notify(euro, 1);
        assertEq(claim(euro, ALICE), 0);
        notify(euro, 1);
        assertEq(claim(euro, ALICE), 1);
        assertEq(owed(euro, ALICE), 7 * 333_333 - 2 * UNITS);
    }

    function test_claim_ofNothingWholeIsSilent() public {
        release(ALICE, 1);
        notify(euro, UNITS - 1);
        vm.recordLogs();
        assertEq(claim(euro, ALICE), 0);
        assertEq(claim(euro, STRANGER), 0);
        assertEq(claim(c4e, ALICE), 0);
        assertEq(shares.claim(UNMINTED, address(euro), OWNER), 0);
        assertEq(vm.getRecordedLogs().length, 0);
        notify(euro, 1);
        assertEq(claim(euro, ALICE), 1);
    }

    /// @dev Own units and the passport's are two accounts: each keeps its fraction, which for the
    /// passport's goes with the NFT.
    function test_claim_ofTheOwnerTakesBothAccounts() public {
        release(OWNER, 500_001);
        notify(euro, 3);
        assertEq(shares.claimable(ID, address(euro), OWNER), 2);
        assertEq(claim(euro, OWNER), 2);
        assertEq(owed(euro, OWNER), 3 * 500_001 - UNITS);
        assertEq(owed(euro, address(0)), 3 * 499_999 - UNITS);
    }

    function test_claim_ofThePassportGoesWithTheNft() public {
        notify(euro, 100);
        vm.prank(OWNER);
        passport.transferFrom(OWNER, BOB, ID);
        assertEq(shares.claimable(ID, address(euro), OWNER), 0);
        assertEq(shares.claimable(ID, address(euro), BOB), 100);
        assertEq(claim(euro, OWNER), 0);
        assertEq(claim(euro, BOB), 100);
    }

    function test_claim_ofAddressZeroIsNobodys() public {
        notify(euro, 100);
        assertEq(shares.claimable(ID, address(euro), address(0)), 0);
        assertEq(shares.claim(ID, address(euro), address(0)), 0);
        assertEq(owed(euro, address(0)), 100 * UNITS);
    }

    function test_claimable_isZeroWhereThereIsNoPassport() public view {
        assertEq(shares.claimable(UNMINTED, address(euro), OWNER), 0);
    }

    /// @dev Audit class 2: sums of amounts too small to share out are not lost.
    function test_claim_losesNothingOfSmallAmounts() public {
        release(ALICE, 1);
        for (uint256 i = 0; i < 100; ++i) {
            notify(euro, 10_000);
        }
        assertEq(claim(euro, ALICE), 1);
        assertEq(claim(euro, OWNER), UNITS - 1);
    }

    // Transfers -------------------------------------------------------------------------------

    /// @dev Audit class 1: an account without units must not earn from long ago on its first ones.
    function test_transfer_bringsAnEmptyAccountUpToDate() public {
        release(ALICE, 500_000);
        notify(euro, 1_000);
        transfer(ALICE, BOB, 200_000);
        assertEq(owed(euro, BOB), 0);
        assertEq(owed(euro, ALICE), 500 * UNITS);
        notify(euro, 1_000);
        assertEq(claim(euro, BOB), 200);
        assertEq(claim(euro, ALICE), 800);
        assertEq(claim(euro, OWNER), 1_000);
    }

    function test_transfer_ofAllLeavesTheOwedBehind() public {
        release(ALICE, 500_000);
        notify(euro, 1_000);
        transfer(ALICE, BOB, 500_000);
        notify(euro, 1_000);
        transfer(BOB, ALICE, 500_000);
        notify(euro, 1_000);
        assertEq(claim(euro, ALICE), 1_000);
        assertEq(claim(euro, BOB), 500);
    }

    function test_transfer_bringsAllAssetsUpToDate() public {
        release(ALICE, 500_000);
        notify(euro, 100);
        transfer(ALICE, BOB, 500_000);
        // Known only after the units moved: all of it is the new holder's.
        notify(c4e, 100);
        transfer(BOB, ALICE, 500_000);
        assertEq(claim(euro, ALICE), 50);
        assertEq(claim(c4e, ALICE), 0);
        assertEq(claim(c4e, BOB), 50);
    }

    function test_transfer_toOneselfChangesNothing() public {
        release(ALICE, 500_000);
        notify(euro, 999);
        uint256 before = owed(euro, ALICE);
        transfer(ALICE, ALICE, 500_000);
        transfer(ALICE, ALICE, 0);
        assertEq(owed(euro, ALICE), before);
        assertEq(shares.balanceOf(ALICE, ID), 500_000);
    }

    function test_transfer_ofNothingFromNobodyChangesNothing() public {
        release(ALICE, 500_000);
        notify(euro, 999);
        transfer(STRANGER, ALICE, 0);
        transfer(ALICE, STRANGER, 0);
        assertEq(owed(euro, ALICE), 999 * 500_000);
        assertEq(owed(euro, STRANGER), 0);
    }

    function test_transfer_toThePassportsOwnerKeepsTheAccountsApart() public {
        release(ALICE, 500_000);
        notify(euro, 100);
        transfer(ALICE, OWNER, 500_000);
        assertEq(owed(euro, OWNER), 0);
        assertEq(owed(euro, address(0)), 50 * UNITS);
        notify(euro, 100);
        assertEq(claim(euro, OWNER), 150);
        assertEq(claim(euro, ALICE), 50);
        assertEq(shares.unreleased(ID), 500_000);
    }

    function test_batchTransfer_takesTheSameIdTwice() public {
        release(ALICE, 500_000);
        vm.prank(OWNER);
        shares.release(OTHER_ID, ALICE, 10);
        notify(euro, 100);
        vm.startPrank(ALICE);
        shares.safeBatchTransferFrom(ALICE, BOB, list(ID, ID), list(100_000, 200_000), "");
        shares.safeBatchTransferFrom(ALICE, BOB, list(ID, OTHER_ID), list(0, 10), "");
        vm.stopPrank();
        notify(euro, 100);
        assertEq(claim(euro, ALICE), 70);
        assertEq(claim(euro, BOB), 30);
        assertEq(shares.balanceOf(BOB, OTHER_ID), 10);
        assertEq(shares.unreleased(OTHER_ID), UNITS - 10);
    }

    function test_batchTransfer_needsAnAmountForEachId() public {
        vm.prank(ALICE);
        vm.expectRevert(
            abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidArrayLength.selector, 2, 1)
        );
        shares.safeBatchTransferFrom(ALICE, BOB, list(ID, ID), list(0), "");
    }

    function test_transfer_needsUnitsAndTheirHoldersWord() public {
        release(ALICE, 10);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC1155Errors.ERC1155InsufficientBalance.selector, ALICE, 10, 11, ID
            )
        );
        transfer(ALICE, BOB, 11);
        vm.prank(OWNER);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC1155Errors.ERC1155MissingApprovalForAll.selector, OWNER, ALICE
            )
        );
        shares.safeTransferFrom(ALICE, BOB, ID, 1, "");
        // Nobody speaks for the passport's own account.
        vm.prank(OWNER);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC1155Errors.ERC1155MissingApprovalForAll.selector, OWNER, address(0)
            )
        );
        shares.safeTransferFrom(address(0), BOB, ID, 1, "");
    }

    /// @dev Audit class 19: who may move units still cannot collect on them.
    function test_operator_movesUnitsButIsPaidNothing() public {
        release(ALICE, 500_000);
        notify(euro, 100);
        vm.prank(ALICE);
        shares.setApprovalForAll(STRANGER, true);
        vm.startPrank(STRANGER);
        shares.claim(ID, address(euro), ALICE);
        shares.safeTransferFrom(ALICE, BOB, ID, 500_000, "");
        vm.stopPrank();
        assertEq(euro.balanceOf(ALICE), 50);
        assertEq(euro.balanceOf(STRANGER), 0);
        assertEq(claim(euro, BOB), 0);
    }

    // I5 and I7 by fuzz ------------------------------------------------------------------------

    /// @dev However a transfer is cut in two, with money before, between and after: nobody gains.
    function testFuzz_splitTransfer_changesNothing(
        uint256 units,
        uint256 part,
        uint96 before,
        uint96 later
    ) public {
        units = bound(units, 0, UNITS);
        part = bound(part, 0, units);
        release(ALICE, units);
        notify(euro, before);
        uint256 snapshot = vm.snapshotState();
        transfer(ALICE, BOB, units);
        notify(euro, later);
        uint256[3] memory whole = [owed(euro, ALICE), owed(euro, BOB), owed(euro, address(0))];
        assertTrue(vm.revertToState(snapshot));
        transfer(ALICE, BOB, part);
        transfer(ALICE, BOB, units - part);
        notify(euro, later);
        assertEq(owed(euro, ALICE), whole[0]);
        assertEq(owed(euro, BOB), whole[1]);
        assertEq(owed(euro, address(0)), whole[2]);
    }

    /// @dev Claiming in between, at any moment, changes what a holder has in the end by nothing.
    function testFuzz_claimOrder_changesNothing(
        uint256 units,
        uint96[4] memory amounts,
        uint8 claims
    ) public {
        release(ALICE, bound(units, 0, UNITS));
        for (uint256 i = 0; i < 4; ++i) {
            notify(euro, amounts[i]);
            if (claims >> i & 1 == 1) claim(euro, ALICE);
            if (claims >> i & 16 == 16) claim(euro, OWNER);
        }
        claim(euro, OWNER);
        claim(euro, ALICE);
        uint256 total = uint256(amounts[0]) + amounts[1] + amounts[2] + amounts[3];
        uint256 held = shares.balanceOf(ALICE, ID);
        assertEq(euro.balanceOf(ALICE), total * held / UNITS);
        assertEq(euro.balanceOf(OWNER), total * (UNITS - held) / UNITS);
        assertLe(shares.heldOf(address(euro)), 1);
    }

    function noPassport() private pure returns (bytes memory) {
        return abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, UNMINTED);
    }

    function notReceived(uint256 held, uint256 balance) private view returns (bytes memory) {
        return
            abi.encodeWithSelector(
                IChargerShares.NotReceived.selector, address(euro), held, balance
            );
    }
}
