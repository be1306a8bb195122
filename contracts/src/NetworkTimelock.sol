// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {INetworkTimelock} from "./interfaces/INetworkTimelock.sol";

contract NetworkTimelock is INetworkTimelock, TimelockController {
    uint256 public constant LEAST_DELAY = 2 days;

    /// @inheritdoc INetworkTimelock
    // forge-lint: disable-next-line(screaming-snake-case-immutable)
    address public immutable bootstrap;

    constructor(address bootstrap_)
        TimelockController(LEAST_DELAY, _only(bootstrap_), _only(address(0)), address(0))
    {
        if (bootstrap_ == address(0)) revert NoBootstrapKey();
        bootstrap = bootstrap_;
    }

    /// @inheritdoc INetworkTimelock
    function handOver(address governor) external {
        if (msg.sender != address(this)) revert NotTimelock(msg.sender);
        if (!hasRole(PROPOSER_ROLE, bootstrap)) revert AlreadyHandedOver();
        if (governor.code.length == 0) revert NotContract(governor);
        _grantRole(PROPOSER_ROLE, governor);
        _grantRole(CANCELLER_ROLE, governor);
        _revokeRole(PROPOSER_ROLE, bootstrap);
        _revokeRole(CANCELLER_ROLE, bootstrap);
        emit HandedOver(governor);
    }

    /// @notice Change the delay of later operations; never under two days.
    function updateDelay(uint256 newDelay) public override {
        if (newDelay < LEAST_DELAY) revert DelayTooShort(newDelay, LEAST_DELAY);
        super.updateDelay(newDelay);
    }

    function _only(address account) private pure returns (address[] memory list) {
        list = new address[](1);
        list[0] = account;
    }
}
