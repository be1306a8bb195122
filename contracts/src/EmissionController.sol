// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NoticeUpgradeable} from "./NoticeUpgradeable.sol";

/// @title EmissionController: the only address that may mint C4E along the schedule.
/// @notice This implementation mints nothing, notifies nothing and sets no vote's weight: it keeps
/// the address, which the immutable contracts name, until usage mining is announced as its upgrade.
contract EmissionController is NoticeUpgradeable {
    /// @param owner_ The Timelock.
    function initialize(address owner_) external initializer {
        _setOwner(owner_);
    }
}
