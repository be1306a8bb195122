// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {HubState} from "./HubState.sol";
import {ISettlementHub} from "./interfaces/ISettlementHub.sol";

/// @title HubBalances: what gateways and hosts put in, and what anybody takes out.
abstract contract HubBalances is ISettlementHub, HubState {
    using SafeERC20 for IERC20;

    /// @inheritdoc ISettlementHub
    function depositGateway(address asset, uint128 amount) external {
        if (amount == 0) revert ZeroAmount();
        _assetIndexOf(asset);
        _gateways[msg.sender][asset].free += amount;
        emit GatewayDeposited(msg.sender, asset, amount);
        _pull(asset, msg.sender, amount);
    }

    /// @inheritdoc ISettlementHub
    function withdrawGateway(address asset, uint128 amount) external {
        GatewayBalance storage balance = _gateways[msg.sender][asset];
        if (amount > balance.free) revert NotEnough(amount, balance.free);
        balance.free -= amount;
        emit GatewayWithdrawn(msg.sender, asset, amount);
        IERC20(asset).safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc ISettlementHub
    function prepay(uint128 amount) external {
        if (amount == 0) revert ZeroAmount();
        _hosts[msg.sender].amount += amount;
        emit Prepaid(msg.sender, amount);
        _pull(address(C4E), msg.sender, amount);
    }

    /// @inheritdoc ISettlementHub
    function unprepay(uint128 amount) external {
        HostBalance storage balance = _hosts[msg.sender];
        if (amount > balance.amount) revert NotEnough(amount, balance.amount);
        balance.amount -= amount;
        emit Unprepaid(msg.sender, amount);
        IERC20(address(C4E)).safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc ISettlementHub
    function setMaxRate(uint128 maxRate) external {
        _hosts[msg.sender].maxRate = maxRate;
        emit MaxRateSet(msg.sender, maxRate);
    }

    /// @inheritdoc ISettlementHub
    function withdraw(address asset, address to) external returns (uint256 amount) {
        return _withdraw(msg.sender, asset, to);
    }

    /// @inheritdoc ISettlementHub
    function withdrawFor(address account, address asset) external returns (uint256 amount) {
        return _withdraw(account, asset, account);
    }

    /// @inheritdoc ISettlementHub
    function gatewayOf(address gateway, address asset)
        external
        view
        returns (uint128 free, uint128 locked)
    {
        GatewayBalance memory balance = _gateways[gateway][asset];
        return (balance.free, balance.locked);
    }

    /// @inheritdoc ISettlementHub
    function prepaidOf(address host) external view returns (uint128 amount, uint128 maxRate) {
        HostBalance memory balance = _hosts[host];
        return (balance.amount, balance.maxRate);
    }

    /// @inheritdoc ISettlementHub
    function withdrawable(address account, address asset) external view returns (uint256) {
        return _withdrawable[account][asset];
    }

    function _withdraw(address account, address asset, address to)
        private
        returns (uint256 amount)
    {
        amount = _withdrawable[account][asset];
        if (amount == 0) return 0;
        _withdrawable[account][asset] = 0;
        emit Withdrawn(account, asset, to, amount);
        IERC20(asset).safeTransfer(to, amount);
    }
}
