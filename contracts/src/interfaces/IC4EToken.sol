// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title C4EToken: the network's ERC-20, 6 decimals.
/// @notice Beside what is declared here: ERC-20, ERC-2612 (permit), ERC-3009 (transfer with
/// authorization, any nonce once), ERC-5805 votes on the timestamp clock (ERC-6372), burn. Nobody can change,
/// stop or freeze it. `mint` follows the schedule: 40 M over the first 4 years, half of that over
/// each next 4, at the rate of the day, through a bucket that holds at most 14 days; what
/// overflows can never be minted. Genesis is 100 M, the cap 180 M.
interface IC4EToken {
    /// @dev Only the EmissionController mints.
    error NotMinter(address caller);
    /// @dev The bucket holds less.
    error OverSchedule(uint256 asked, uint256 mintable);

    /// @notice Mint to `to`, minor units. Only the minter. Fails with OverSchedule. Emits Transfer.
    function mint(address to, uint256 amount) external;

    /// @notice Burn the caller's own. Emits Transfer.
    function burn(uint256 amount) external;

    /// @notice What could be minted now, minor units.
    function mintable() external view returns (uint256);

    /// @notice What the schedule gives from genesis to `time`, minor units.
    function scheduledUntil(uint256 time) external view returns (uint256);

    /// @notice When genesis was, seconds.
    function genesisTime() external view returns (uint256);

    /// @notice The EmissionController.
    function minter() external view returns (address);
}
