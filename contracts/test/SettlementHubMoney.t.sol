// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";

import {AssetPolicy, Batch, OperatorId, PolicyParameters, Rail} from "../src/Types.sol";
import {SettlementHub} from "./Contracts.sol";
import {WalletDouble} from "./doubles/WalletDouble.sol";
import {SettlementHubFixture} from "./SettlementHubFixture.sol";
import {vm} from "./Vm.sol";

/// @title Escrows, gateway, prepaid C4E and withdrawals, an entry point after the other.
contract SettlementHubMoneyTest is SettlementHubFixture {
    // Deployment --------------------------------------------------------------------------------

    function test_the_timelock_owns_it_and_nobody_initializes_again() external {
        SettlementHub it = SettlementHub(address(hub));
        assertEq(it.owner(), address(timelock));
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        it.initialize(address(this));
    }

    /// @dev Called by itself the court has no batch, no money and no power at the registry.
    function test_the_court_alone_can_do_nothing() external {
        Batch memory batch = walletBatch(address(c4e), 1);
        propose(batch);
        vm.expectPartialRevert(WrongState.selector);
        court.challengeImpossible(batch, 0);
    }

    // Opening -----------------------------------------------------------------------------------

    function test_open() external {
        address payer = payerOf(1);
        fundAndApprove(address(euro), 1, 10e6);
        bytes32 id = escrowIdOf(1);
        uint64 until = uint64(time());
        bytes memory signature =
            sign(payerKey(1), openDigest(OPERATOR, keyOf(1), address(euro), 10e6, until));
        vm.expectEmit(address(hub));
        emit EscrowOpened(id, payer, OPERATOR, keyOf(1), address(euro), 10e6);
        hub.open(payer, OPERATOR, keyOf(1), address(euro), 10e6, until, signature);
        Escrow memory escrow = hub.escrowOf(escrowIdOf(1));
        assertEq(escrow.assetIndex, policy.assetIndex(address(euro)));
        assertEq(escrow.max, 10e6);
        assertEq(escrow.openedAt, time());
        assertEq(escrow.askedAt, 0);
        assertEq(euro.balanceOf(address(hub)), 10e6);
        assertEq(escrowIdOf(1), keccak256(abi.encode(payer, OPERATOR, keyOf(1))));
    }

    function test_open_once_for_ever() external {
        openEscrow(address(euro), 1, 10e6);
        fundAndApprove(address(euro), 1, 20e6);
        bytes memory exists = abi.encodeWithSelector(EscrowExists.selector, escrowIdOf(1));
        expectOpenRefused(1, address(euro), 10e6, uint64(time()), exists);
        // Nor after it was drawn, lowered to nothing or refunded: see those tests.
        lower(1, 0);
        expectOpenRefused(1, address(euro), 10e6, uint64(time()), exists);
    }

    function test_open_refuses() external {
        fundAndApprove(address(euro), 1, 10e6);
        uint64 late = uint64(time() - 1);
        expectOpenRefused(
            1, address(euro), 10e6, late, abi.encodeWithSelector(Expired.selector, late)
        );
        uint64 until = uint64(time());
        expectOpenRefused(1, address(euro), 0, until, abi.encodeWithSelector(ZeroAmount.selector));
        expectOpenRefused(
            1,
            address(shares),
            1,
            until,
            abi.encodeWithSelector(AssetNotListed.selector, address(shares))
        );
    }

    /// @dev The signature binds payer, operator, session, asset, maximum and deadline.
    function test_open_refuses_another_signature() external {
        fundAndApprove(address(euro), 1, 20e6);
        uint64 until = uint64(time());
        address payer = payerOf(1);
        bytes memory signature =
            sign(payerKey(1), openDigest(OPERATOR, keyOf(1), address(euro), 10e6, until));
        bytes memory wrong = abi.encodeWithSelector(WrongSignature.selector, payer);
        vm.expectRevert(wrong);
        hub.open(payer, OPERATOR, keyOf(1), address(euro), 11e6, until, signature);
        vm.expectRevert(wrong);
        hub.open(payer, OPERATOR, keyOf(2), address(euro), 10e6, until, signature);
        vm.expectRevert(wrong);
        hub.open(payer, OperatorId.wrap("DE*XYZ"), keyOf(1), address(euro), 10e6, until, signature);
        vm.expectRevert(wrong);
        hub.open(payer, OPERATOR, keyOf(1), address(c4e), 10e6, until, signature);
        vm.expectRevert(wrong);
        hub.open(payer, OPERATOR, keyOf(1), address(euro), 10e6, until + 1, signature);
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, payerOf(2)));
        hub.open(payerOf(2), OPERATOR, keyOf(1), address(euro), 10e6, until, signature);
        vm.chainId(block.chainid + 1);
        vm.expectRevert(wrong);
        hub.open(payer, OPERATOR, keyOf(1), address(euro), 10e6, until, signature);
    }

    /// @dev An asset that a later version drops opens no more, and those open are refunded still.
    function test_open_refuses_an_asset_that_is_listed_no_more() external {
        openEscrow(address(euro), 1, 10e6);
        AssetPolicy[] memory list = new AssetPolicy[](1);
        list[0] = assetPolicies()[0];
        vm.prank(address(timelock));
        policy.append(uint40(time() + 1), parameters(), list);
        skip(1);
        fundAndApprove(address(euro), 2, 10e6);
        expectOpenRefused(
            2,
            address(euro),
            10e6,
            uint64(time()),
            abi.encodeWithSelector(AssetNotListed.selector, address(euro))
        );
        lower(1, 4e6);
        assertEq(hub.withdrawable(payerOf(1), address(euro)), 6e6);
    }

    /// @dev A wallet that is a contract signs by ERC-1271.
    function test_open_by_a_contract() external {
        WalletDouble wallet = new WalletDouble(payerOf(1));
        euro.faucet(address(wallet), 10e6);
        wallet.approve(IERC20(address(euro)), address(hub), 10e6);
        uint64 until = uint64(time());
        bytes memory signature =
            sign(payerKey(1), openDigest(OPERATOR, keyOf(1), address(euro), 10e6, until));
        hub.open(address(wallet), OPERATOR, keyOf(1), address(euro), 10e6, until, signature);
        assertEq(euro.balanceOf(address(hub)), 10e6);
    }

    function test_open_with_permit() external {
        euro.faucet(payerOf(1), 10e6);
        openByPermit(euro, 1, 1, 10e6);
        assertEq(hub.escrowOf(escrowIdOf(1)).max, 10e6);
    }

    function test_open_with_permit_that_somebody_used_before() external {
        address payer = payerOf(1);
        euro.faucet(payer, 10e6);
        uint64 until = uint64(time());
        bytes32 digest = permitDigest(euro, payer, 10e6, until);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(payerKey(1), digest);
        euro.permit(payer, address(hub), 10e6, until, v, r, s);
        bytes memory signature =
            sign(payerKey(1), openDigest(OPERATOR, keyOf(1), address(euro), 10e6, until));
        openByPermit(euro, 1, 1, 10e6, signature, digest);
        assertEq(hub.escrowOf(escrowIdOf(1)).max, 10e6);
    }

    /// @dev A permit is only an allowance.
    function test_permit_alone_opens_nothing() external {
        address payer = payerOf(1);
        euro.faucet(payer, 10e6);
        bytes32 digest = permitDigest(euro, payer, 10e6, time());
        bytes memory other = sign(payerKey(2), keccak256("anything"));
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, payer));
        openByPermit(euro, 1, 1, 10e6, other, digest);
    }

    function test_open_with_permit_that_fails_needs_an_allowance() external {
        address payer = payerOf(1);
        euro.faucet(payer, 10e6);
        uint64 until = uint64(time());
        bytes memory signature =
            sign(payerKey(1), openDigest(OPERATOR, keyOf(1), address(euro), 10e6, until));
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        hub.openWithPermit(
            payer, OPERATOR, keyOf(1), address(euro), 10e6, until, signature, 27, 0, 0
        );
    }

    function test_open_with_authorization() external {
        address payer = payerOf(1);
        euro.faucet(payer, 20e6);
        uint64 until = uint64(time() + 1);
        bytes memory signature =
            sign(payerKey(1), receiveDigest(euro, payer, 10e6, until, escrowIdOf(1)));
        hub.openWithAuthorization(payer, OPERATOR, keyOf(1), address(euro), 10e6, until, signature);
        assertEq(hub.escrowOf(escrowIdOf(1)).max, 10e6);
        assertEq(euro.balanceOf(address(hub)), 10e6);
        // The nonce is the escrow's id: no other session, payer or operator.
        vm.expectRevert();
        hub.openWithAuthorization(payer, OPERATOR, keyOf(2), address(euro), 10e6, until, signature);
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, payer));
        hub.openWithAuthorization(payer, OPERATOR, keyOf(2), address(euro), 10e6, until, hex"00");
    }

    // Lowering ----------------------------------------------------------------------------------

    function test_lower_frees_the_rest_at_once() external {
        openEscrow(address(euro), 1, 10e6);
        lower(1, 4e6);
        assertEq(hub.escrowOf(escrowIdOf(1)).max, 4e6);
        assertEq(hub.withdrawFor(payerOf(1), address(euro)), 6e6);
        assertEq(euro.balanceOf(payerOf(1)), 6e6);
        lower(1, 0);
        assertEq(hub.escrowOf(escrowIdOf(1)).assetIndex, 0);
        assertEq(hub.withdrawable(payerOf(1), address(euro)), 4e6);
    }

    function test_lower_refuses() external {
        openEscrow(address(euro), 1, 10e6);
        address payer = payerOf(1);
        uint64 until = uint64(time());
        bytes memory signature = sign(OPERATOR_KEY, lowerDigest(escrowIdOf(1), 10e6, until));
        vm.expectRevert(abi.encodeWithSelector(NotLower.selector, 10e6));
        hub.lowerMax(payer, OPERATOR, keyOf(1), 10e6, until, signature);
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, vm.addr(OPERATOR_KEY)));
        hub.lowerMax(payer, OPERATOR, keyOf(1), 9e6, until, signature);
        vm.expectRevert(abi.encodeWithSelector(Expired.selector, until - 1));
        hub.lowerMax(payer, OPERATOR, keyOf(1), 9e6, until - 1, signature);
        vm.expectRevert(abi.encodeWithSelector(NoEscrow.selector, escrowIdOf(2)));
        hub.lowerMax(payerOf(2), OPERATOR, keyOf(2), 9e6, until, signature);
        // An operator without keys has no signature.
        OperatorId stranger = OperatorId.wrap("DE*XYZ");
        bytes32 id = hub.escrowIdOf(payer, stranger, keyOf(1));
        euro.faucet(payer, 10e6);
        vm.prank(payer);
        euro.approve(address(hub), 10e6);
        bytes memory opened =
            sign(payerKey(1), openDigest(stranger, keyOf(1), address(euro), 10e6, until));
        hub.open(payer, stranger, keyOf(1), address(euro), 10e6, until, opened);
        signature = sign(OPERATOR_KEY, lowerDigest(id, 1, until));
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, address(0)));
        hub.lowerMax(payer, stranger, keyOf(1), 1, until, signature);
    }

    // Refund ------------------------------------------------------------------------------------

    function test_refund_in_two_steps_by_the_payer_alone() external {
        openEscrow(address(euro), 1, 10e6);
        uint40 openedAt = uint40(time());
        skip(11 days - 1);
        vm.prank(payerOf(1));
        vm.expectRevert(abi.encodeWithSelector(TooEarly.selector, openedAt + 11 days));
        hub.askRefund(OPERATOR, keyOf(1));
        skip(1);
        vm.prank(STRANGER);
        vm.expectPartialRevert(NoEscrow.selector);
        hub.askRefund(OPERATOR, keyOf(1));
        vm.expectRevert(abi.encodeWithSelector(NotAsked.selector, escrowIdOf(1)));
        hub.refund(payerOf(1), OPERATOR, keyOf(1));
        askRefund(1, openedAt + 14 days);
        skip(1 days);
        // Asked again nothing is prolonged.
        askRefund(1, openedAt + 14 days);
        skip(2 days - 1);
        vm.expectRevert(abi.encodeWithSelector(TooEarly.selector, openedAt + 14 days));
        hub.refund(payerOf(1), OPERATOR, keyOf(1));
        skip(1);
        vm.expectEmit(address(hub));
        emit Refunded(escrowIdOf(1), 10e6);
        vm.prank(STRANGER);
        hub.refund(payerOf(1), OPERATOR, keyOf(1));
        assertEq(hub.withdrawable(payerOf(1), address(euro)), 10e6);
        vm.expectRevert(abi.encodeWithSelector(NoEscrow.selector, escrowIdOf(1)));
        hub.refund(payerOf(1), OPERATOR, keyOf(1));
        fundAndApprove(address(euro), 1, 10e6);
        bytes memory exists = abi.encodeWithSelector(EscrowExists.selector, escrowIdOf(1));
        expectOpenRefused(1, address(euro), 10e6, uint64(time()), exists);
    }

    /// @dev A later policy with longer terms does not bind who opened before it.
    function test_refund_by_the_terms_of_when_it_was_opened() external {
        openEscrow(address(euro), 1, 10e6);
        uint40 openedAt = uint40(time());
        PolicyParameters memory longer = parameters();
        (longer.refundAskAfter, longer.refundPayAfter) = (30 days, 14 days);
        vm.prank(address(timelock));
        policy.append(uint40(time() + 1), longer, assetPolicies());
        skip(11 days);
        askRefund(1, openedAt + 14 days);
        skip(3 days);
        hub.refund(payerOf(1), OPERATOR, keyOf(1));
    }

    /// @dev Its leaf is then skipped, and the number stays free.
    function test_refund_is_paid_under_a_pending_batch() external {
        Batch memory batch = walletBatch(address(euro), 1);
        skip(11 days);
        askRefund(1, uint40(time() + 3 days));
        skip(3 days);
        batch.validUntil = uint64(time());
        propose(batch);
        hub.refund(payerOf(1), OPERATOR, keyOf(1));
        assertEq(settle(batch), 0);
        assertFalse(hub.isSettled(OPERATOR, address(euro), 1));
        assertEq(hub.withdrawable(payerOf(1), address(euro)), 10e6);
    }

    // Gateway, host -----------------------------------------------------------------------------

    function test_gateway_deposits_and_withdraws_what_is_free() external {
        depositGateway(address(euro), 10e6);
        Batch memory batch = emptyBatch(address(euro), 1);
        batch.leaves[0] = leafOf(1, 0, Rail.Fiat, 4e6, 0);
        (batch.fiatTotal, batch.gateway) = (4e6, GATEWAY);
        propose(batch);
        assertEq(freeOf(address(euro)), 6e6);
        assertEq(lockedOf(address(euro)), 4e6);
        vm.startPrank(GATEWAY);
        vm.expectRevert(abi.encodeWithSelector(NotEnough.selector, 7e6, 6e6));
        hub.withdrawGateway(address(euro), 7e6);
        vm.expectEmit(address(hub));
        emit GatewayWithdrawn(GATEWAY, address(euro), 6e6);
        hub.withdrawGateway(address(euro), 6e6);
        assertEq(euro.balanceOf(GATEWAY), 6e6);
        vm.expectRevert(ZeroAmount.selector);
        hub.depositGateway(address(euro), 0);
        vm.expectRevert(abi.encodeWithSelector(AssetNotListed.selector, address(shares)));
        hub.depositGateway(address(shares), 1);
        vm.stopPrank();
    }

    function test_host_prepays() external {
        prepay(10e6);
        vm.startPrank(HOST);
        vm.expectEmit(address(hub));
        emit MaxRateSet(HOST, 5);
        hub.setMaxRate(5);
        (uint128 amount, uint128 maxRate) = hub.prepaidOf(HOST);
        assertEq(amount, 10e6);
        assertEq(maxRate, 5);
        vm.expectRevert(abi.encodeWithSelector(NotEnough.selector, 11e6, 10e6));
        hub.unprepay(11e6);
        vm.expectEmit(address(hub));
        emit Unprepaid(HOST, 4e6);
        hub.unprepay(4e6);
        assertEq(c4e.balanceOf(HOST), 4e6);
        vm.expectRevert(ZeroAmount.selector);
        hub.prepay(0);
        vm.stopPrank();
    }

    function test_withdraw_to_another_and_for_another() external {
        openEscrow(address(euro), 1, 10e6);
        lower(1, 4e6);
        vm.prank(payerOf(1));
        vm.expectEmit(address(hub));
        emit Withdrawn(payerOf(1), address(euro), STRANGER, 6e6);
        assertEq(hub.withdraw(address(euro), STRANGER), 6e6);
        assertEq(euro.balanceOf(STRANGER), 6e6);
        assertEq(hub.withdrawFor(payerOf(1), address(euro)), 0);
        lower(1, 1e6);
        vm.prank(STRANGER);
        assertEq(hub.withdrawFor(payerOf(1), address(euro)), 3e6);
        assertEq(euro.balanceOf(payerOf(1)), 3e6);
    }

    // Steps -------------------------------------------------------------------------------------

    function fundAndApprove(address asset, uint256 session, uint256 amount) private {
        fund(asset, payerOf(session), amount);
        vm.prank(payerOf(session));
        IERC20(asset).approve(address(hub), amount);
    }

    function expectOpenRefused(
        uint256 session,
        address asset,
        uint64 max,
        uint64 until,
        bytes memory reason
    ) private {
        bytes memory signature = sign(
            payerKey(session), openDigest(OPERATOR, keyOf(session), asset, max, until)
        );
        vm.expectRevert(reason);
        hub.open(payerOf(session), OPERATOR, keyOf(session), asset, max, until, signature);
    }

    function askRefund(uint256 session, uint40 payableAt) private {
        vm.prank(payerOf(session));
        vm.expectEmit(address(hub));
        emit RefundAsked(escrowIdOf(session), payableAt);
        hub.askRefund(OPERATOR, keyOf(session));
    }
}
