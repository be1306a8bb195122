// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {INetworkTimelock} from "../src/interfaces/INetworkTimelock.sol";
import {NetworkTimelock, create} from "./Contracts.sol";
import {TestBase} from "./TestBase.sol";
import {vm} from "./Vm.sol";

contract NetworkTimelockTest is TestBase {
    event HandedOver(address indexed governor);

    address private constant BOOTSTRAP = address(0xB007);
    address private constant STRANGER = address(0x57);

    NetworkTimelock private _timelock;
    /// @dev Any contract serves as a Governor here.
    address private _governor = address(this);

    function setUp() external {
        vm.warp(1_800_000_000);
        _timelock = NetworkTimelock(create("NetworkTimelock", abi.encode(BOOTSTRAP)));
    }

    /// @dev Schedule a call to the Timelock itself, wait, and let a stranger execute it.
    function operate(address proposer, bytes memory call) internal {
        vm.prank(proposer);
        _timelock.schedule(address(_timelock), 0, call, 0, 0, 2 days);
        skip(2 days);
        vm.prank(STRANGER);
        _timelock.execute(address(_timelock), 0, call, 0, 0);
    }

    function test_roles_at_the_beginning() external view {
        bytes32 admin = _timelock.DEFAULT_ADMIN_ROLE();
        assertEq(_timelock.bootstrap(), BOOTSTRAP);
        assertEq(_timelock.getMinDelay(), 2 days);
        assertTrue(_timelock.hasRole(_timelock.PROPOSER_ROLE(), BOOTSTRAP));
        assertTrue(_timelock.hasRole(_timelock.CANCELLER_ROLE(), BOOTSTRAP));
        assertTrue(_timelock.hasRole(_timelock.EXECUTOR_ROLE(), address(0)), "anybody executes");
        assertTrue(_timelock.hasRole(admin, address(_timelock)));
        assertFalse(_timelock.hasRole(admin, BOOTSTRAP));
        assertFalse(_timelock.hasRole(admin, address(this)), "nor has the deployer any right");
        assertFalse(_timelock.hasRole(_timelock.PROPOSER_ROLE(), address(this)));
    }

    function test_a_bootstrap_key_is_needed() external {
        vm.expectRevert(INetworkTimelock.NoBootstrapKey.selector);
        create("NetworkTimelock", abi.encode(address(0)));
    }

    /// @dev I19: nothing before its delay, and nothing unannounced.
    function test_nothing_before_two_days() external {
        bytes memory call = abi.encodeCall(_timelock.handOver, (_governor));
        vm.prank(BOOTSTRAP);
        vm.expectRevert(
            abi.encodeWithSelector(
                TimelockController.TimelockInsufficientDelay.selector, 2 days - 1, 2 days
            )
        );
        _timelock.schedule(address(_timelock), 0, call, 0, 0, 2 days - 1);
        vm.prank(BOOTSTRAP);
        _timelock.schedule(address(_timelock), 0, call, 0, 0, 2 days);
        skip(2 days - 1);
        vm.expectPartialRevert(TimelockController.TimelockUnexpectedOperationState.selector);
        _timelock.execute(address(_timelock), 0, call, 0, 0);
    }

    function test_a_stranger_proposes_nothing() external {
        vm.prank(STRANGER);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        _timelock.schedule(address(_timelock), 0, "", 0, 0, 2 days);
    }

    function test_handOver() external {
        bytes memory call = abi.encodeCall(_timelock.handOver, (_governor));
        vm.prank(BOOTSTRAP);
        _timelock.schedule(address(_timelock), 0, call, 0, 0, 2 days);
        skip(2 days);
        vm.expectEmit(address(_timelock));
        emit HandedOver(_governor);
        _timelock.execute(address(_timelock), 0, call, 0, 0);
        bytes32 proposer = _timelock.PROPOSER_ROLE();
        bytes32 canceller = _timelock.CANCELLER_ROLE();
        assertTrue(_timelock.hasRole(proposer, _governor));
        assertTrue(_timelock.hasRole(canceller, _governor));
        assertFalse(_timelock.hasRole(proposer, BOOTSTRAP));
        assertFalse(_timelock.hasRole(canceller, BOOTSTRAP));
    }

    /// @dev What the bootstrap key scheduled before is announced still: it is the Governor's to
    /// cancel, and no longer the bootstrap key's.
    function test_after_handOver_the_bootstrap_key_can_do_nothing() external {
        bytes memory back =
            abi.encodeCall(_timelock.grantRole, (_timelock.PROPOSER_ROLE(), BOOTSTRAP));
        bytes memory call = abi.encodeCall(_timelock.handOver, (_governor));
        vm.startPrank(BOOTSTRAP);
        _timelock.schedule(address(_timelock), 0, call, 0, 0, 2 days);
        skip(1 days);
        _timelock.schedule(address(_timelock), 0, back, 0, 0, 2 days);
        vm.stopPrank();
        skip(1 days);
        _timelock.execute(address(_timelock), 0, call, 0, 0);
        bytes32 id = _timelock.hashOperation(address(_timelock), 0, back, 0, 0);
        vm.startPrank(BOOTSTRAP);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        _timelock.schedule(address(_timelock), 0, "", 0, 0, 2 days);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        _timelock.cancel(id);
        vm.stopPrank();
        _timelock.cancel(id); // by the Governor
        skip(1 days);
        vm.expectPartialRevert(TimelockController.TimelockUnexpectedOperationState.selector);
        _timelock.execute(address(_timelock), 0, back, 0, 0);
    }

    /// @dev Roles are given by the Timelock itself alone.
    function test_the_bootstrap_key_gives_no_role() external {
        bytes32 proposer = _timelock.PROPOSER_ROLE();
        bytes32 admin = _timelock.DEFAULT_ADMIN_ROLE();
        vm.startPrank(BOOTSTRAP);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        _timelock.grantRole(proposer, STRANGER);
        vm.expectPartialRevert(IAccessControl.AccessControlUnauthorizedAccount.selector);
        _timelock.grantRole(admin, BOOTSTRAP);
        vm.stopPrank();
    }

    function test_handOver_by_the_bootstrap_key_itself() external {
        vm.prank(BOOTSTRAP);
        vm.expectRevert(abi.encodeWithSelector(INetworkTimelock.NotTimelock.selector, BOOTSTRAP));
        _timelock.handOver(_governor);
    }

    function test_handOver_to_no_contract() external {
        bytes memory call = abi.encodeCall(_timelock.handOver, (STRANGER));
        vm.prank(BOOTSTRAP);
        _timelock.schedule(address(_timelock), 0, call, 0, 0, 2 days);
        skip(2 days);
        vm.expectRevert(abi.encodeWithSelector(INetworkTimelock.NotContract.selector, STRANGER));
        _timelock.execute(address(_timelock), 0, call, 0, 0);
    }

    function test_handOver_once() external {
        operate(BOOTSTRAP, abi.encodeCall(_timelock.handOver, (_governor)));
        bytes memory call = abi.encodeCall(_timelock.handOver, (address(_timelock)));
        vm.prank(_governor);
        _timelock.schedule(address(_timelock), 0, call, 0, 0, 2 days);
        skip(2 days);
        vm.expectRevert(INetworkTimelock.AlreadyHandedOver.selector);
        _timelock.execute(address(_timelock), 0, call, 0, 0);
    }

    function test_delay_may_grow() external {
        operate(BOOTSTRAP, abi.encodeCall(_timelock.updateDelay, (3 days)));
        assertEq(_timelock.getMinDelay(), 3 days);
    }

    function test_delay_never_under_two_days() external {
        bytes memory call = abi.encodeCall(_timelock.updateDelay, (2 days - 1));
        vm.prank(BOOTSTRAP);
        _timelock.schedule(address(_timelock), 0, call, 0, 0, 2 days);
        skip(2 days);
        vm.expectRevert(
            abi.encodeWithSelector(INetworkTimelock.DelayTooShort.selector, 2 days - 1, 2 days)
        );
        _timelock.execute(address(_timelock), 0, call, 0, 0);
    }

    function test_delay_changes_by_an_operation_only() external {
        vm.prank(BOOTSTRAP);
        vm.expectRevert(
            abi.encodeWithSelector(
                TimelockController.TimelockUnauthorizedCaller.selector, BOOTSTRAP
            )
        );
        _timelock.updateDelay(3 days);
    }
}
