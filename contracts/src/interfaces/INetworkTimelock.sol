// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title NetworkTimelock: owns what is owned, and does nothing without two days of notice.
/// @notice OpenZeppelin's TimelockController with nobody as administrator but itself: the bootstrap
/// key proposes and cancels until it is made to hand over, anybody executes.
interface INetworkTimelock {
    event HandedOver(address indexed governor);

    /// @dev Without a bootstrap key nobody could ever propose anything.
    error NoBootstrapKey();
    /// @dev Only the Timelock itself, by an operation that waited its delay.
    error NotTimelock(address caller);
    /// @dev The bootstrap key has handed over before, or given up.
    error AlreadyHandedOver();
    /// @dev A Governor is a contract.
    error NotContract(address governor);
    error DelayTooShort(uint256 asked, uint256 least);

    /// @notice Give the bootstrap key's rights to the Governor, for ever. Only the Timelock itself.
    /// Emits HandedOver. Fails with AlreadyHandedOver, NotContract.
    function handOver(address governor) external;

    /// @notice The key that proposes until then; shown to everybody.
    function bootstrap() external view returns (address);
}
