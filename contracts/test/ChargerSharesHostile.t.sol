// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1155Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IChargerShares} from "../src/interfaces/IChargerShares.sol";
import {ChargerSharesFixture} from "./ChargerSharesFixture.sol";
import {AssetDouble, HolderDouble} from "./doubles/ChargerSharesDoubles.sol";
import {vm} from "./Vm.sol";

/// @title I23: reentrant receivers and malicious assets change nothing for anybody else.
contract ChargerSharesHostileTest is ChargerSharesFixture {
    HolderDouble private holder;

    function setUp() public override {
        super.setUp();
        holder = new HolderDouble();
        passport.mint(address(holder), UNMINTED);
    }

    // Receivers -------------------------------------------------------------------------------

    /// @dev Called in the middle of a transfer the receiver sees the state after it.
    function test_receiver_thatClaimsOnReceiptGetsNothingFromBefore() public {
        release(ALICE, 500_000);
        notify(euro, 1_000);
        holder.onReceipt(address(shares), one(claimCall(euro, address(holder))));
        transfer(ALICE, address(holder), 500_000);
        assertEq(holder.receipts(), 1);
        assertEq(euro.balanceOf(address(holder)), 0);
        assertEq(claim(euro, ALICE), 500);
        notify(euro, 1_000);
        assertEq(claim(euro, address(holder)), 500);
        assertEq(claim(euro, OWNER), 1_000);
    }

    function test_receiver_thatSendsOnOnReceiptMovesOnlyWhatItHas() public {
        release(ALICE, 500_000);
        notify(euro, 1_000);
        bytes[] memory calls = new bytes[](2);
        calls[0] = abi.encodeCall(shares.safeTransferFrom, (address(holder), BOB, ID, 300_000, ""));
        calls[1] = abi.encodeCall(
            shares.safeTransferFrom, (address(holder), address(holder), ID, 200_000, "")
        );
        holder.onReceipt(address(shares), calls);
        transfer(ALICE, address(holder), 500_000);
        notify(euro, 1_000);
        assertEq(claim(euro, ALICE), 500);
        assertEq(claim(euro, BOB), 300);
        assertEq(claim(euro, address(holder)), 200);
        assertEq(claim(euro, OWNER), 1_000);
        assertEq(shares.heldOf(address(euro)), 0);
    }

    /// @dev The owner releases again while `release` calls it: units still add up.
    function test_receiver_thatReleasesOnReleaseCannotExceedTheUnits() public {
        bytes memory again = abi.encodeCall(shares.release, (UNMINTED, address(holder), 600_000));
        holder.onReceipt(address(shares), one(again));
        vm.expectRevert(bytes("act"));
        holder.act(address(shares), again);
        holder.onReceipt(
            address(shares),
            one(abi.encodeCall(shares.release, (UNMINTED, address(holder), 400_000)))
        );
        holder.act(address(shares), again);
        assertEq(shares.balanceOf(address(holder), UNMINTED), UNITS);
        assertEq(shares.unreleased(UNMINTED), 0);
    }

    function test_receiver_thatRefusesStopsOnlyTheTransfer() public {
        holder.refuse();
        release(ALICE, 500_000);
        notify(euro, 100);
        vm.expectRevert(
            abi.encodeWithSelector(IERC1155Errors.ERC1155InvalidReceiver.selector, address(holder))
        );
        transfer(ALICE, address(holder), 1);
        assertEq(shares.balanceOf(ALICE, ID), 500_000);
        assertEq(claim(euro, ALICE), 50);
    }

    // Assets ----------------------------------------------------------------------------------

    /// @dev An ERC-777-like asset whose hooks claim once more, for the same and for other holders.
    function test_asset_thatCallsBackPaysNobodyTwice() public {
        release(ALICE, 500_000);
        notify(euro, 1_000);
        euro.callBack(address(shares), claimCall(euro, ALICE));
        assertEq(claim(euro, ALICE), 500);
        assertEq(euro.balanceOf(ALICE), 500);
        euro.callBack(address(shares), claimCall(euro, OWNER));
        assertEq(claim(euro, ALICE), 0);
        assertEq(claim(euro, OWNER), 500);
        assertEq(euro.balanceOf(OWNER), 500);
        assertEq(shares.heldOf(address(euro)), 0);
    }

    /// @dev Between the hub's transfer and its notice, and around both, holders take what is theirs.
    function test_asset_thatCallsBackBeforeTheNoticeChangesNothing() public {
        notify(euro, 1_000);
        euro.mint(HUB, 500);
        euro.callBack(address(shares), claimCall(euro, OWNER));
        vm.prank(HUB);
        euro.transfer(address(shares), 500);
        assertEq(euro.balanceOf(OWNER), 1_000);
        vm.prank(HUB);
        shares.notify(address(euro), list(ID), list(500));
        assertEq(claim(euro, OWNER), 500);
        assertEq(euro.balanceOf(OWNER), 1_500);
    }

    function test_asset_thatReturnsFalseKeepsTheClaim() public {
        notify(euro, 100);
        euro.behave(AssetDouble.Manner.ReturnsFalse);
        vm.expectRevert(
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(euro))
        );
        claim(euro, OWNER);
        euro.behave(AssetDouble.Manner.Honest);
        assertEq(claim(euro, OWNER), 100);
    }

    /// @dev Audit class 11: an asset that blocks a holder blocks no other asset, nor his units.
    function test_asset_thatRevertsBlocksNothingElse() public {
        release(ALICE, 500_000);
        notify(euro, 100);
        notify(c4e, 100);
        euro.behave(AssetDouble.Manner.Reverts);
        vm.expectRevert(bytes("refused"));
        claim(euro, ALICE);
        assertEq(claim(c4e, ALICE), 50);
        transfer(ALICE, BOB, 500_000);
        notify(c4e, 100);
        assertEq(claim(c4e, BOB), 50);
        assertEq(shares.claimable(ID, address(euro), ALICE), 50);
    }

    /// @dev What an asset keeps on the way in was never received, so it is never owed.
    function test_asset_thatTakesAFeeCannotBeCreditedInFull() public {
        euro.mint(HUB, 100);
        euro.behave(AssetDouble.Manner.TakesFee);
        vm.startPrank(HUB);
        euro.transfer(address(shares), 100);
        vm.expectRevert(
            abi.encodeWithSelector(IChargerShares.NotReceived.selector, address(euro), 100, 99)
        );
        shares.notify(address(euro), list(ID), list(100));
        shares.notify(address(euro), list(ID), list(99));
        vm.stopPrank();
        assertEq(claim(euro, OWNER), 99);
        assertEq(euro.balanceOf(OWNER), 98);
        assertEq(shares.heldOf(address(euro)), 0);
    }

    /// @dev An asset that lies about balances robs only those it owes.
    function test_asset_thatLiesHasNoPartInAnother() public {
        notify(c4e, 100);
        euro.behave(AssetDouble.Manner.Lies);
        vm.prank(HUB);
        shares.notify(address(euro), list(ID), list(1_000));
        vm.expectRevert();
        claim(euro, OWNER);
        assertEq(claim(c4e, OWNER), 100);
    }

    /// @dev The contract as owner of a passport pays itself: nobody else's money moves.
    function test_shares_thatOwnAPassportPayThemselves() public {
        release(ALICE, 500_000);
        notify(euro, 100);
        vm.prank(OWNER);
        passport.transferFrom(OWNER, address(shares), ID);
        assertEq(claim(euro, address(shares)), 50);
        assertEq(claim(euro, ALICE), 50);
        assertEq(euro.balanceOf(address(shares)), 50);
        assertEq(shares.heldOf(address(euro)), 0);
    }

    function claimCall(AssetDouble asset, address account) private view returns (bytes memory) {
        return abi.encodeCall(shares.claim, (ID, address(asset), account));
    }

    function one(bytes memory call) private pure returns (bytes[] memory calls) {
        calls = new bytes[](1);
        calls[0] = call;
    }
}
