// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";
import {INoticeUpgradeable} from "./interfaces/INoticeUpgradeable.sol";

/// @dev Base of every contract behind a proxy. Anybody may execute an announced upgrade by
/// `upgradeToAndCall`. Its storage stands in a namespace (ERC-7201), so that what derives from it
/// has slots from 0 on for itself.
abstract contract NoticeUpgradeable is INoticeUpgradeable, Initializable, UUPSUpgradeable {
    uint40 public constant UPGRADE_NOTICE = 49 days;
    uint40 public constant UPGRADE_TERM = 14 days;

    /// @custom:storage-location erc7201:chargera.storage.NoticeUpgradeable
    struct NoticeStorage {
        address owner;
        Notice notice;
    }

    // keccak256(abi.encode(uint256(keccak256("chargera.storage.NoticeUpgradeable")) - 1))
    // & ~bytes32(uint256(0xff)); test/NoticeUpgradeable.t.sol recomputes it.
    bytes32 private constant NOTICE_STORAGE =
        0x11970f35e0c3ea20dea95fdc8b1b341619de8e010df1429d10a90da1b2ec1200;

    modifier onlyOwner() {
        _checkOwner();
        _;
    }

    /// @dev An implementation by itself can never be initialized.
    constructor() {
        _disableInitializers();
    }

    /// @inheritdoc INoticeUpgradeable
    function announceUpgrade(address implementation, bytes32 codeHash, bytes32 dataHash)
        external
        onlyOwner
    {
        Notice storage notice = _storage().notice;
        address pending = notice.implementation;
        if (pending != address(0) && block.timestamp <= notice.executableUntil) {
            revert UpgradePending(pending);
        }
        // For an account without code EXTCODEHASH is zero or the hash of nothing.
        bytes32 found = implementation.codehash;
        if (found != codeHash || implementation.code.length == 0) revert WrongCode(found);
        uint40 from = uint40(block.timestamp) + UPGRADE_NOTICE;
        uint40 until = from + UPGRADE_TERM;
        _storage().notice = Notice(implementation, from, until, codeHash, dataHash);
        emit UpgradeAnnounced(implementation, codeHash, dataHash, from, until);
    }

    /// @inheritdoc INoticeUpgradeable
    function cancelUpgrade() external onlyOwner {
        address pending = _storage().notice.implementation;
        if (pending == address(0)) revert UpgradeNotAnnounced(address(0));
        delete _storage().notice;
        emit UpgradeCancelled(pending);
    }

    /// @notice Execute the announced upgrade. Anybody, in its term. Fails with UpgradeNotAnnounced,
    /// WrongData, WrongCode, UpgradeTooEarly, UpgradeTooLate.
    function upgradeToAndCall(address implementation, bytes memory data) public payable override {
        bytes32 dataHash = keccak256(data);
        if (implementation == address(0) || implementation != _storage().notice.implementation) {
            revert UpgradeNotAnnounced(implementation);
        }
        if (dataHash != _storage().notice.dataHash) revert WrongData(dataHash);
        super.upgradeToAndCall(implementation, data);
    }

    /// @inheritdoc INoticeUpgradeable
    function pendingUpgrade() external view returns (Notice memory) {
        return _storage().notice;
    }

    /// @inheritdoc INoticeUpgradeable
    function owner() public view returns (address) {
        return _storage().owner;
    }

    /// @dev Once, by the initializer of what derives from this.
    function _setOwner(address owner_) internal onlyInitializing {
        if (owner_ == address(0)) revert ZeroOwner();
        _storage().owner = owner_;
    }

    /// @dev UUPSUpgradeable calls it from `upgradeToAndCall`, before it switches: code and term are
    /// checked here, address and call were above. The announcement is used up first, since the new
    /// code runs within the same call.
    function _authorizeUpgrade(address implementation) internal override {
        Notice memory notice = _storage().notice;
        if (block.timestamp < notice.executableFrom) revert UpgradeTooEarly(notice.executableFrom);
        if (block.timestamp > notice.executableUntil) {
            revert UpgradeTooLate(notice.executableUntil);
        }
        bytes32 found = implementation.codehash;
        if (found != notice.codeHash) revert WrongCode(found);
        delete _storage().notice;
    }

    function _checkOwner() internal view {
        if (msg.sender != owner()) revert NotOwner(msg.sender);
    }

    function _storage() private pure returns (NoticeStorage storage it) {
        bytes32 slot = NOTICE_STORAGE;
        assembly ("memory-safe") {
            it.slot := slot
        }
    }
}
