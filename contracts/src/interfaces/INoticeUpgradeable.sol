// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title INoticeUpgradeable: new code only after seven weeks of notice.
/// @notice The owner (Timelock) names the next implementation by address, code hash and hash of
/// its call; 49 days later, for 14 days, anybody may switch to exactly that. The notice is longer
/// than any exit: unbonding (21 d), a bond frozen on top (21 d) and a settlement window (under 7 d).
/// One upgrade a proxy is pending at a time.
interface INoticeUpgradeable {
    /// @param implementation Address of the next implementation; zero: none is pending.
    /// @param executableFrom First second at which the switch may happen.
    /// @param executableUntil Last one.
    /// @param codeHash EXTCODEHASH of the implementation.
    /// @param dataHash keccak256 of the call that the proxy makes with the switch; of nothing for
    /// no call.
    struct Notice {
        address implementation;
        uint40 executableFrom;
        uint40 executableUntil;
        bytes32 codeHash;
        bytes32 dataHash;
    }

    event UpgradeAnnounced(
        address indexed implementation,
        bytes32 codeHash,
        bytes32 dataHash,
        uint40 executableFrom,
        uint40 executableUntil
    );
    event UpgradeCancelled(address indexed implementation);

    error NotOwner(address caller);
    error ZeroOwner();
    /// @dev Another upgrade can still be executed.
    error UpgradePending(address implementation);
    /// @dev No upgrade to this implementation is announced.
    error UpgradeNotAnnounced(address implementation);
    error UpgradeTooEarly(uint40 executableFrom);
    error UpgradeTooLate(uint40 executableUntil);
    /// @dev The code at the address is not the one announced.
    error WrongCode(bytes32 codeHash);
    /// @dev The call is not the one announced.
    error WrongData(bytes32 dataHash);

    /// @notice Announce an upgrade. Only the owner. The code must be at its address already, so
    /// that everybody can read it during the notice. Emits UpgradeAnnounced. Fails with
    /// UpgradePending, WrongCode.
    function announceUpgrade(address implementation, bytes32 codeHash, bytes32 dataHash) external;

    /// @notice Withdraw the pending announcement. Only the owner. Emits UpgradeCancelled. Fails
    /// with UpgradeNotAnnounced.
    function cancelUpgrade() external;

    /// @notice The pending announcement; all zero if there is none.
    function pendingUpgrade() external view returns (Notice memory);

    /// @notice The Timelock; it never changes.
    function owner() external view returns (address);
}
