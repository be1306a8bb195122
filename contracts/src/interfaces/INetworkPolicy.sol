// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AssetPolicy, PolicyParameters} from "../Types.sol";

/// @title NetworkPolicy: numbered versions of every operating parameter.
/// @notice A version never changes and none is ever removed; each holds from its time until the
/// next one's. Versions count from 1.
interface INetworkPolicy {
    /// @notice A version was appended; it holds from `from`, a Unix time in seconds.
    event PolicyAppended(uint32 indexed version, uint40 from);
    /// @notice Rulings are `governor`'s from now on.
    event GovernorSet(address indexed governor);
    /// @notice Reserves go to `market` from now on.
    event MarketSet(address indexed market);

    /// @dev `from` is in the past or not after the last version's.
    error FromTooEarly(uint40 from, uint40 earliest);
    /// @dev A parameter is outside what any version may have.
    error ParameterOutOfRange(bytes32 name);
    /// @dev Over 8 assets in a version, or a ninth one over all versions.
    error TooManyAssets();
    /// @dev The same asset twice in one version.
    error AssetTwice(address asset);
    /// @dev The address is set already or zero.
    error AlreadySet();
    /// @dev No version has this number.
    error NoSuchVersion(uint32 version);

    /// @notice Append a version. Only the owner (Timelock). Emits PolicyAppended.
    /// @param from When it begins to hold: now or later, after the last version's.
    /// Fails with FromTooEarly, ParameterOutOfRange (named by the field), TooManyAssets, AssetTwice.
    /// No version may say more than this, whoever owns the policy:
    /// - feeBps + opsBps <= 2,000, so that a host's part of up to 8,000 leaves something to holders;
    ///   reserveBps, lowUseBps, uptimeBpsMin <= 10,000;
    /// - 0 < settlementWindow < 7 d, shorter than any exit; 2 x settlementWindow <= refundPayAfter
    ///   <= 14 d, so that a batch in flight can still be paid; 0 < refundAskAfter <= 30 d;
    /// - 0 < contestPeriod <= 30 d; 0 < rulingTimeout <= 21 d, as long as a bond stays frozen;
    /// - anchorInterval, anchorSessions and disputeBond over zero;
    /// - an asset's decimals are the ones it reports, at most 8; its c4eRate is over zero, and 10^6
    ///   where it stands for no currency (C4E).
    function append(
        uint40 from,
        PolicyParameters calldata parameters,
        AssetPolicy[] calldata assets
    ) external returns (uint32 version);

    /// @notice Name the Governor, whose rulings decide disputes and contests. Only the owner, once.
    function setGovernor(address governor_) external;

    /// @notice Name the MaintenanceMarket, which keeps reserves. Only the owner, once.
    function setMarket(address market_) external;

    /// @notice Who rules; zero until there is a Governor.
    function governor() external view returns (address);

    /// @notice Who keeps reserves; zero until there is one: then reserves are zero.
    function market() external view returns (address);

    /// @notice The newest version's number.
    function latest() external view returns (uint32 version);

    /// @notice The version in force at `time` (seconds); 0 before the first.
    function versionAt(uint40 time) external view returns (uint32 version);

    /// @notice Whether `version` is the one in force at `time`; false for an unknown one.
    function isInForce(uint32 version, uint40 time) external view returns (bool);

    /// @notice The parameters of a version and from when it holds. Fails with NoSuchVersion.
    function parametersOf(uint32 version)
        external
        view
        returns (uint40 from, PolicyParameters memory parameters);

    /// @notice What `settle` needs of a version; basis points. Fails with NoSuchVersion.
    function feesOf(uint32 version)
        external
        view
        returns (uint16 feeBps, uint16 opsBps, uint16 reserveBps);

    /// @notice How long batches wait and escrows are kept in a version; seconds. Fails with
    /// NoSuchVersion.
    function windowsOf(uint32 version)
        external
        view
        returns (uint32 settlementWindow, uint32 refundAskAfter, uint32 refundPayAfter);

    /// @notice What a version says of an asset; all zero where it does not list it.
    function assetOf(uint32 version, address asset) external view returns (AssetPolicy memory);

    /// @notice All assets of a version, by their number. Where several stand for one currency,
    /// bills on the fiat rail are in the first.
    function assetsOf(uint32 version) external view returns (AssetPolicy[] memory);

    /// @notice A small number that an asset keeps for ever, from 1; 0 if no version lists it.
    function assetIndex(address asset) external view returns (uint8);

    /// @notice The asset with that number; zero if there is none.
    function assetAt(uint8 index) external view returns (address);
}
