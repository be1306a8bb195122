// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IChargerShares} from "../src/interfaces/IChargerShares.sol";
import {AssetPolicy, Batch, Rail} from "../src/Types.sol";
import {ActorDouble, HostileAsset} from "./doubles/HostileAsset.sol";
import {SettlementHubFixture} from "./SettlementHubFixture.sol";
import {vm} from "./Vm.sol";

/// @title I23: assets that take fees, lie, call back or block change nothing for anybody else.
contract SettlementHubHostileTest is SettlementHubFixture {
    HostileAsset private hostile;

    function setUp() public override {
        hostile = new HostileAsset();
        super.setUp();
        appointGovernor();
    }

    function assetPolicies() internal view override returns (AssetPolicy[] memory list) {
        AssetPolicy[] memory two = super.assetPolicies();
        list = new AssetPolicy[](3);
        (list[0], list[1], list[2]) = (two[0], two[1], two[1]);
        list[2] = AssetPolicy({
            asset: address(hostile),
            decimals: 6,
            currency: "EUR",
            ceilingPerKwh: 2e6,
            ceilingPerHour: 10e6,
            ceilingFlat: 5e6,
            c4eRate: 20e6
        });
    }

    function test_an_asset_with_a_fee_is_refused() external {
        hostile.setMode(HostileAsset.Mode.Fee);
        approve(address(this), 10e6);
        vm.expectRevert(
            abi.encodeWithSelector(NotReceived.selector, address(hostile), 10e6, 10e6 - 1)
        );
        hub.depositGateway(address(hostile), 10e6);
        approve(payerOf(1), 10e6);
        bytes memory signature = openSignature(1, 10e6);
        vm.expectPartialRevert(NotReceived.selector);
        hub.open(payerOf(1), OPERATOR, keyOf(1), address(hostile), 10e6, uint64(time()), signature);
        assertEq(hub.escrowOf(escrowIdOf(1)).openedAt, 0);
    }

    function test_an_asset_that_only_says_no_is_believed() external {
        hostile.setMode(HostileAsset.Mode.False);
        approve(address(this), 10e6);
        vm.expectPartialRevert(SafeERC20.SafeERC20FailedOperation.selector);
        hub.depositGateway(address(hostile), 10e6);
        hostile.setMode(HostileAsset.Mode.Honest);
        hub.depositGateway(address(hostile), 10e6);
        hostile.setMode(HostileAsset.Mode.False);
        vm.expectPartialRevert(SafeERC20.SafeERC20FailedOperation.selector);
        hub.withdrawGateway(address(hostile), 10e6);
        (uint128 free,) = hub.gatewayOf(address(this), address(hostile));
        assertEq(free, 10e6);
    }

    /// @dev Without permit and ERC-3009 an approval still opens; the rest fails by itself.
    function test_an_asset_without_permit() external {
        approve(payerOf(1), 10e6);
        bytes memory signature = openSignature(1, 10e6);
        vm.expectRevert();
        hub.openWithAuthorization(
            payerOf(1), OPERATOR, keyOf(1), address(hostile), 10e6, uint64(time()), signature
        );
        hub.openWithPermit(
            payerOf(1),
            OPERATOR,
            keyOf(1),
            address(hostile),
            10e6,
            uint64(time()),
            signature,
            27,
            0,
            0
        );
        assertEq(hub.escrowOf(escrowIdOf(1)).max, 10e6);
    }

    function test_open_again_while_it_opens() external {
        approve(payerOf(1), 20e6);
        bytes memory signature = openSignature(1, 10e6);
        bytes memory again = abi.encodeCall(
            hub.open,
            (payerOf(1), OPERATOR, keyOf(1), address(hostile), 10e6, uint64(time()), signature)
        );
        hostile.setHook(address(hub), again);
        hub.open(payerOf(1), OPERATOR, keyOf(1), address(hostile), 10e6, uint64(time()), signature);
        assertEq(hostile.calls(), 1);
        assertFalse(hostile.lastDone());
        assertEq(hostile.balanceOf(address(hub)), 10e6);
    }

    /// @dev What has not arrived can be taken out by no one, whatever the order.
    function test_take_out_what_is_still_to_come() external {
        approve(GATEWAY, 30e6);
        vm.prank(GATEWAY);
        hub.depositGateway(address(hostile), 10e6);
        ActorDouble thief = new ActorDouble();
        approve(address(thief), 10e6);
        bytes memory take = abi.encodeCall(hub.withdrawGateway, (address(hostile), 10e6));
        hostile.setHook(address(thief), abi.encodeCall(ActorDouble.act, (address(hub), take)));
        vm.expectRevert(bytes("act"));
        thief.act(address(hub), abi.encodeCall(hub.depositGateway, (address(hostile), 10e6)));
        assertEq(hostile.balanceOf(address(hub)), 10e6);
        assertEq(freeOf(address(hostile)), 10e6);
    }

    function test_withdraw_again_while_it_pays() external {
        proposeAndSettle(hostileBatch(1));
        bytes memory again = abi.encodeCall(hub.withdrawFor, (HOST, address(hostile)));
        hostile.setHook(address(hub), again);
        uint256 owed = hub.withdrawable(HOST, address(hostile));
        assertEq(hub.withdrawFor(HOST, address(hostile)), owed);
        assertTrue(hostile.lastDone());
        assertEq(hostile.balanceOf(HOST), owed);
    }

    /// @dev In the middle of `settle`: nothing is paid twice, nobody sees a half-way state.
    function test_settle_again_while_it_settles() external {
        Batch memory batch = hostileBatch(1);
        propose(batch);
        hostile.setHook(address(hub), abi.encodeCall(hub.settle, (batch)));
        assertEq(settle(batch), 1);
        assertEq(hostile.calls(), 1);
        assertFalse(hostile.lastDone());
        assertEq(hub.withdrawable(HOST, address(hostile)), 2.5e6);
        Batch memory other = hostileBatch(2);
        propose(other);
        bytes memory take = abi.encodeCall(hub.withdrawFor, (HOST, address(hostile)));
        hostile.setHook(address(hub), take);
        assertEq(settle(other), 1);
        assertTrue(hostile.lastDone());
        assertEq(hostile.balanceOf(HOST), 5e6);
    }

    /// @dev An asset that begins to take a fee cannot make the shares owe what they have not got:
    /// its batches wait, and its payers take their money back.
    function test_a_fee_that_comes_later_stops_only_this_asset() external {
        Batch memory batch = hostileBatch(1);
        Batch memory other = walletBatch(address(euro), 2);
        propose(batch);
        propose(other);
        hostile.setMode(HostileAsset.Mode.Fee);
        skip(1 days + 1);
        vm.expectPartialRevert(IChargerShares.NotReceived.selector);
        hub.settle(batch);
        assertEq(hub.settle(other), 1);
        skip(10 days);
        vm.prank(payerOf(1));
        hub.askRefund(OPERATOR, keyOf(1));
        skip(3 days);
        hub.refund(payerOf(1), OPERATOR, keyOf(1));
        assertEq(hub.withdrawFor(payerOf(1), address(hostile)), 10e6);
        assertEq(hub.settle(batch), 0);
    }

    /// @dev Whom the asset blocks keeps his claim; the others do not notice.
    function test_a_blocked_account_harms_nobody_else() external {
        hostile.block_(HOST);
        proposeAndSettle(hostileBatch(1));
        vm.expectRevert(bytes("blocked"));
        hub.withdrawFor(HOST, address(hostile));
        assertEq(hub.withdrawFor(payerOf(1), address(hostile)), 4e6);
        vm.prank(HOST);
        assertEq(hub.withdraw(address(hostile), STRANGER), 2.5e6);
    }

    // Steps -------------------------------------------------------------------------------------

    function approve(address account, uint256 amount) private {
        hostile.mint(account, amount);
        vm.prank(account);
        hostile.approve(address(hub), amount);
    }

    function openSignature(uint256 session, uint64 max) private view returns (bytes memory) {
        bytes32 digest = openDigest(OPERATOR, keyOf(session), address(hostile), max, uint64(time()));
        return sign(payerKey(session), digest);
    }

    function hostileBatch(uint256 session) private returns (Batch memory batch) {
        HostileAsset.Mode mode = hostile.mode();
        approve(payerOf(session), 10e6);
        openApproved(address(hostile), session, 10e6);
        batch = emptyBatch(address(hostile), 1);
        batch.leaves[0] = leafOf(session, 0, Rail.Wallet, 5e6, 1e6);
        assertEq(uint8(hostile.mode()), uint8(mode));
    }
}
