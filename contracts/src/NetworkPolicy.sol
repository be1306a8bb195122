// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {INetworkPolicy} from "./interfaces/INetworkPolicy.sol";
import {NoticeUpgradeable} from "./NoticeUpgradeable.sol";
import {AssetPolicy, PolicyParameters} from "./Types.sol";

/// @dev What a settlement asks for is one slot each: the fees and windows of a version stand in the
/// first slot of PolicyParameters, and a version's term in one of its own. A known version's
/// settlement window is never zero.
contract NetworkPolicy is INetworkPolicy, NoticeUpgradeable {
    /// @dev A version holds from `from` until the second before `until`; 0: no later one is known.
    struct Term {
        uint40 from;
        uint40 until;
    }

    /// @notice Assets over all versions, for ever.
    uint256 public constant MOST_ASSETS = 8;
    uint256 private constant ALL_BPS = 10_000;
    /// @dev What is left of a bill beside the highest part of a host.
    uint256 private constant MOST_FEE_AND_OPS_BPS = 2_000;
    uint128 private constant C4E_RATE = 1e6;

    /// @inheritdoc INetworkPolicy
    address public governor;
    /// @inheritdoc INetworkPolicy
    uint32 public latest;
    /// @inheritdoc INetworkPolicy
    address public market;

    mapping(uint32 version => Term) private _terms;
    mapping(uint32 version => PolicyParameters) private _parameters;
    mapping(uint32 version => mapping(address asset => AssetPolicy)) private _assetPolicies;
    /// @dev In the order in which versions first listed them.
    address[] private _assets;
    mapping(address asset => uint8) private _assetIndexes;

    /// @param owner_ The Timelock.
    /// @param from, parameters, assets Version 1.
    function initialize(
        address owner_,
        uint40 from,
        PolicyParameters calldata parameters,
        AssetPolicy[] calldata assets
    ) external initializer {
        _setOwner(owner_);
        _append(from, parameters, assets);
    }

    /// @inheritdoc INetworkPolicy
    function append(
        uint40 from,
        PolicyParameters calldata parameters,
        AssetPolicy[] calldata assets
    ) external onlyOwner returns (uint32 version) {
        return _append(from, parameters, assets);
    }

    /// @inheritdoc INetworkPolicy
    function setGovernor(address governor_) external onlyOwner {
        if (governor != address(0) || governor_ == address(0)) revert AlreadySet();
        governor = governor_;
        emit GovernorSet(governor_);
    }

    /// @inheritdoc INetworkPolicy
    function setMarket(address market_) external onlyOwner {
        if (market != address(0) || market_ == address(0)) revert AlreadySet();
        market = market_;
        emit MarketSet(market_);
    }

    /// @inheritdoc INetworkPolicy
    function versionAt(uint40 time) external view returns (uint32 version) {
        // The last version that begins at or before `time` is in [version, above).
        uint32 above = latest + 1;
        while (above - version > 1) {
            uint32 middle = (version + above) / 2;
            if (_terms[middle].from <= time) version = middle;
            else above = middle;
        }
    }

    /// @inheritdoc INetworkPolicy
    function isInForce(uint32 version, uint40 time) external view returns (bool) {
        Term memory term = _terms[version];
        return term.from != 0 && term.from <= time && (term.until == 0 || time < term.until);
    }

    /// @inheritdoc INetworkPolicy
    function parametersOf(uint32 version)
        external
        view
        returns (uint40 from, PolicyParameters memory parameters)
    {
        parameters = _known(version);
        from = _terms[version].from;
    }

    /// @inheritdoc INetworkPolicy
    function feesOf(uint32 version)
        external
        view
        returns (uint16 feeBps, uint16 opsBps, uint16 reserveBps)
    {
        PolicyParameters storage it = _known(version);
        return (it.feeBps, it.opsBps, it.reserveBps);
    }

    /// @inheritdoc INetworkPolicy
    function windowsOf(uint32 version)
        external
        view
        returns (uint32 settlementWindow, uint32 refundAskAfter, uint32 refundPayAfter)
    {
        PolicyParameters storage it = _known(version);
        return (it.settlementWindow, it.refundAskAfter, it.refundPayAfter);
    }

    /// @inheritdoc INetworkPolicy
    function assetOf(uint32 version, address asset) external view returns (AssetPolicy memory) {
        return _assetPolicies[version][asset];
    }

    /// @inheritdoc INetworkPolicy
    function assetsOf(uint32 version) external view returns (AssetPolicy[] memory list) {
        address[] memory all = _assets;
        uint256 count = 0;
        for (uint256 i = 0; i < all.length; ++i) {
            if (_assetPolicies[version][all[i]].asset != address(0)) all[count++] = all[i];
        }
        list = new AssetPolicy[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = _assetPolicies[version][all[i]];
        }
    }

    /// @inheritdoc INetworkPolicy
    function assetIndex(address asset) external view returns (uint8) {
        return _assetIndexes[asset];
    }

    /// @inheritdoc INetworkPolicy
    function assetAt(uint8 index) external view returns (address) {
        return index == 0 || index > _assets.length ? address(0) : _assets[index - 1];
    }

    function _append(
        uint40 from,
        PolicyParameters calldata parameters,
        AssetPolicy[] calldata assets
    ) private returns (uint32 version) {
        uint32 last = latest;
        uint40 earliest = uint40(Math.max(block.timestamp, uint256(_terms[last].from) + 1));
        if (from < earliest) revert FromTooEarly(from, earliest);
        _check(parameters);
        if (assets.length > MOST_ASSETS) revert TooManyAssets();

        version = last + 1;
        latest = version;
        if (last != 0) _terms[last].until = from;
        _terms[version].from = from;
        _parameters[version] = parameters;
        for (uint256 i = 0; i < assets.length; ++i) {
            _list(version, assets[i]);
        }
        emit PolicyAppended(version, from);
    }

    function _list(uint32 version, AssetPolicy calldata it) private {
        address asset = it.asset;
        if (_assetPolicies[version][asset].asset != address(0)) revert AssetTwice(asset);
        _require(asset.code.length != 0, "asset");
        // At most eight calls, of assets that the Timelock names.
        // slither-disable-next-line calls-loop
        _require(it.decimals <= 8 && it.decimals == IERC20Metadata(asset).decimals(), "decimals");
        bool isRate = it.currency == 0 ? it.c4eRate == C4E_RATE : it.c4eRate != 0;
        _require(isRate, "c4eRate");
        if (_assetIndexes[asset] == 0) {
            if (_assets.length >= MOST_ASSETS) revert TooManyAssets();
            _assets.push(asset);
            _assetIndexes[asset] = uint8(_assets.length);
        }
        _assetPolicies[version][asset] = it;
    }

    function _check(PolicyParameters calldata it) private pure {
        uint256 window = it.settlementWindow;
        _require(uint256(it.feeBps) + it.opsBps <= MOST_FEE_AND_OPS_BPS, "feeBps");
        _require(it.reserveBps <= ALL_BPS, "reserveBps");
        _require(window != 0 && window < 7 days, "settlementWindow");
        _require(it.refundAskAfter != 0 && it.refundAskAfter <= 30 days, "refundAskAfter");
        _require(it.refundPayAfter >= 2 * window && it.refundPayAfter <= 14 days, "refundPayAfter");
        _require(it.contestPeriod != 0 && it.contestPeriod <= 30 days, "contestPeriod");
        _require(it.rulingTimeout != 0 && it.rulingTimeout <= 21 days, "rulingTimeout");
        _require(it.anchorInterval != 0, "anchorInterval");
        _require(it.anchorSessions != 0, "anchorSessions");
        _require(it.disputeBond != 0, "disputeBond");
        _require(it.lowUseBps <= ALL_BPS, "lowUseBps");
        _require(it.uptimeBpsMin <= ALL_BPS, "uptimeBpsMin");
    }

    function _require(bool condition, bytes32 name) private pure {
        if (!condition) revert ParameterOutOfRange(name);
    }

    function _known(uint32 version) private view returns (PolicyParameters storage it) {
        it = _parameters[version];
        if (it.settlementWindow == 0) revert NoSuchVersion(version);
    }
}
