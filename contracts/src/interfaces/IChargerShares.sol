// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title ChargerShares: who gets a charger's revenue and rewards.
/// @notice ERC-1155; id = passport id as uint256; 1,000,000 units a passport, for ever. Units that
/// are not released belong to the passport: its owner collects on them, and they and what is
/// unclaimed on them travel with the NFT. Accounting is exact: what an (id, asset) was notified
/// is an integer total, an account is owed units x (total - total at its last change), counted in
/// millionths, and payment floors and keeps the fraction. Nobody can change it.
interface IChargerShares {
    /// @notice `units` of the passport's became transferable units of `to`.
    event Released(uint256 indexed id, address indexed to, uint256 units);
    /// @notice `amount` of `asset` came in for the holders of `id`.
    event Notified(uint256 indexed id, address indexed asset, uint256 amount);
    /// @notice `holder` was paid.
    event Claimed(uint256 indexed id, address indexed asset, address indexed holder, uint256 amount);

    /// @dev Neither the hub nor the EmissionController.
    error NotNotifier(address caller);
    /// @dev A ninth asset.
    error TooManyAssets();
    /// @dev Not the passport's owner.
    error NotPassportOwner(address caller);
    /// @dev More than the passport still has.
    error NotEnoughUnits(uint256 asked, uint256 unreleased);
    /// @dev This contract has less of the asset than it would then hold for holders.
    error NotReceived(address asset, uint256 held, uint256 balance);
    /// @dev Over 2^128 millionths would have been notified for one (id, asset).
    error TotalOutOfRange(uint256 id, address asset);

    /// @notice Turn units of the passport into transferable ones of `to`. Only the passport's owner.
    /// Emits Released, TransferSingle. Fails with NotPassportOwner, NotEnoughUnits,
    /// ERC721NonexistentToken, ERC1155InvalidReceiver.
    function release(uint256 id, address to, uint256 units) external;

    /// @notice Credit the holders of each id; the sum was transferred to this contract before.
    /// Only hub and EmissionController. Emits Notified for each amount over zero; zeros do nothing.
    /// Fails with NotNotifier, ERC1155InvalidArrayLength, ERC721NonexistentToken (no passport, so
    /// no holders), NotReceived, TooManyAssets (8 for ever), TotalOutOfRange.
    function notify(address asset, uint256[] calldata ids, uint256[] calldata amounts) external;

    /// @notice Pay `holder` what he is owed of (id, asset): on his own units and, where he owns the
    /// passport, on the passport's: each floored by itself, its fraction kept. Anybody may call;
    /// only the holder is paid. Emits Claimed. Returns 0 without an event where nothing whole is
    /// owed.
    function claim(uint256 id, address asset, address holder) external returns (uint256 amount);

    /// @notice What `claim` would pay, minor units of the asset.
    function claimable(uint256 id, address asset, address holder) external view returns (uint256);

    /// @notice What an account is owed, in millionths of minor units; account zero: the passport.
    function owedMillionths(uint256 id, address asset, address account) external view returns (uint256);

    /// @notice Everything ever notified for (id, asset), minor units; it only grows.
    function totalNotified(uint256 id, address asset) external view returns (uint256);

    /// @notice Notified over all ids and not yet paid out, minor units of the asset: exactly what
    /// all accounts together are owed.
    function heldOf(address asset) external view returns (uint256);

    /// @notice Units that still belong to the passport; 1,000,000 before any release.
    function unreleased(uint256 id) external view returns (uint256);

    /// @notice The assets that were ever notified, at most 8.
    function assets() external view returns (address[] memory);
}
