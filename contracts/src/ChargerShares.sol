// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {IERC721Metadata} from "@openzeppelin/contracts/token/ERC721/extensions/IERC721Metadata.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";

import {IChargerShares} from "./interfaces/IChargerShares.sol";

/// @title ChargerShares: see IChargerShares for what each function promises.
/// @dev Units never change in number, so all that the accounting needs of an (id, asset) is the
/// integer total ever notified. An account is owed
///     owed += units x (total - paidTotal),  paidTotal = total
/// in millionths of minor units: exact, whatever the order of notifications, transfers and claims.
/// The passport itself is the account of address zero, with the units that are not released; the
/// ERC-1155 mint of `release` is thus a transfer from it like any other.
contract ChargerShares is ERC1155, IChargerShares {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    /// @param paidTotal The (id, asset)'s total up to which `owedMillionths` is counted.
    /// @param owedMillionths Owed at that total and not paid, in millionths of minor units.
    struct Account {
        uint128 paidTotal;
        uint128 owedMillionths;
    }

    /// @param held Notified and not yet paid out, minor units.
    /// @param isKnown Whether it stands in the list of assets.
    struct Holding {
        uint248 held;
        bool isKnown;
    }

    /// @notice Units of every passport; also the number of owed parts in one minor unit.
    uint256 public constant UNITS = 1_000_000;

    /// @notice Most assets there can ever be: each costs every transfer two slots.
    uint256 public constant MAX_ASSETS = 8;

    /// @dev All accounts of an (id, asset) together are never owed more than UNITS x total: with
    /// this bound on the total, no `owedMillionths` can overflow and no claim or transfer fail.
    uint256 private constant MAX_TOTAL = type(uint128).max / UNITS;

    /// @dev The account of the passport itself.
    address private constant THE_PASSPORT = address(0);

    IERC721Metadata public immutable PASSPORT;
    address public immutable HUB;
    address public immutable EMISSION_CONTROLLER;

    address[] private _assets;
    mapping(address asset => Holding) private _holdings;
    mapping(uint256 id => uint256) private _released;
    mapping(uint256 id => mapping(address asset => uint128)) private _totals;
    mapping(uint256 id => mapping(address asset => mapping(address account => Account))) private
        _accounts;

    constructor(address passport, address hub, address emissionController) ERC1155("") {
        PASSPORT = IERC721Metadata(passport);
        HUB = hub;
        EMISSION_CONTROLLER = emissionController;
    }

    /// @inheritdoc IChargerShares
    function release(uint256 id, address to, uint256 units) external {
        if (PASSPORT.ownerOf(id) != msg.sender) revert NotPassportOwner(msg.sender);
        uint256 left = unreleased(id);
        if (units > left) revert NotEnoughUnits(units, left);
        // Before the mint, whose last step calls the receiver.
        emit Released(id, to, units);
        _mint(to, id, units, "");
    }

    /// @inheritdoc IChargerShares
    function notify(address asset, uint256[] calldata ids, uint256[] calldata amounts) external {
        if (msg.sender != HUB && msg.sender != EMISSION_CONTROLLER) revert NotNotifier(msg.sender);
        if (ids.length != amounts.length) {
            revert ERC1155InvalidArrayLength(ids.length, amounts.length);
        }
        uint256 sum;
        for (uint256 i = 0; i < ids.length; ++i) {
            uint256 amount = amounts[i];
            if (amount == 0) continue;
            _credit(ids[i], asset, amount);
            sum += amount;
        }
        if (sum != 0) _receive(asset, sum);
    }

    /// @inheritdoc IChargerShares
    function claim(uint256 id, address asset, address holder) external returns (uint256 amount) {
        uint128 total = _totals[id][asset];
        if (total == 0 || holder == THE_PASSPORT) return 0;
        amount = _draw(id, asset, holder, total);
        if (PASSPORT.ownerOf(id) == holder) amount += _draw(id, asset, THE_PASSPORT, total);
        if (amount == 0) return 0;
        _holdings[asset].held -= amount.toUint248();
        emit Claimed(id, asset, holder, amount);
        IERC20(asset).safeTransfer(holder, amount);
    }

    /// @inheritdoc IChargerShares
    function claimable(uint256 id, address asset, address holder)
        external
        view
        returns (uint256 amount)
    {
        if (_totals[id][asset] == 0 || holder == THE_PASSPORT) return 0;
        amount = owedMillionths(id, asset, holder) / UNITS;
        if (PASSPORT.ownerOf(id) == holder) {
            amount += owedMillionths(id, asset, THE_PASSPORT) / UNITS;
        }
    }

    /// @inheritdoc IChargerShares
    function owedMillionths(uint256 id, address asset, address account)
        public
        view
        returns (uint256)
    {
        return _owed(_accounts[id][asset][account], _unitsOf(id, account), _totals[id][asset]);
    }

    /// @inheritdoc IChargerShares
    function totalNotified(uint256 id, address asset) external view returns (uint256) {
        return _totals[id][asset];
    }

    /// @inheritdoc IChargerShares
    function heldOf(address asset) external view returns (uint256) {
        return _holdings[asset].held;
    }

    /// @inheritdoc IChargerShares
    function unreleased(uint256 id) public view returns (uint256) {
        return UNITS - _released[id];
    }

    /// @inheritdoc IChargerShares
    function assets() external view returns (address[] memory) {
        return _assets;
    }

    /// @notice The passport's own document: units have no other.
    function uri(uint256 id) public view override returns (string memory) {
        return PASSPORT.tokenURI(id);
    }

    /// @dev Brings both sides of every move of units up to date before they change. The only mint
    /// is `release`; nothing burns.
    function _update(address from, address to, uint256[] memory ids, uint256[] memory values)
        internal
        override
    {
        uint256 count = _assets.length;
        for (uint256 i = 0; i < ids.length; ++i) {
            for (uint256 k = 0; k < count; ++k) {
                address asset = _assets[k];
                uint128 total = _totals[ids[i]][asset];
                _bringUpToDate(ids[i], asset, from, total);
                _bringUpToDate(ids[i], asset, to, total);
            }
        }
        if (from == THE_PASSPORT) _released[ids[0]] += values[0];
        super._update(from, to, ids, values);
    }

    /// @dev Also of an account without units: else it would earn from long ago on its first ones.
    function _bringUpToDate(uint256 id, address asset, address account, uint128 total) private {
        Account storage stored = _accounts[id][asset][account];
        Account memory read = stored;
        if (read.paidTotal == total) return;
        read.owedMillionths = _owed(read, _unitsOf(id, account), total).toUint128();
        read.paidTotal = total;
        _accounts[id][asset][account] = read;
    }

    /// @dev Takes the whole minor units that an account is owed; the fraction stays its own.
    function _draw(uint256 id, address asset, address account, uint128 total)
        private
        returns (uint256 amount)
    {
        uint256 owed = _owed(_accounts[id][asset][account], _unitsOf(id, account), total);
        amount = owed / UNITS;
        if (amount == 0) return 0;
        _accounts[id][asset][account] = Account(total, (owed % UNITS).toUint128());
    }

    /// @dev The first credit of an (id, asset) asks whether there are holders; a minted passport
    /// is never unmade.
    function _credit(uint256 id, address asset, uint256 amount) private {
        uint256 total = _totals[id][asset];
        if (total == 0) PASSPORT.ownerOf(id);
        total += amount;
        if (total > MAX_TOTAL) revert TotalOutOfRange(id, asset);
        _totals[id][asset] = total.toUint128();
        emit Notified(id, asset, amount);
    }

    /// @dev Not even the hub can credit what has not arrived.
    function _receive(address asset, uint256 sum) private {
        Holding memory holding = _holdings[asset];
        if (!holding.isKnown) {
            if (_assets.length == MAX_ASSETS) revert TooManyAssets();
            _assets.push(asset);
            holding.isKnown = true;
        }
        uint256 held = holding.held + sum;
        uint256 balance = IERC20(asset).balanceOf(address(this));
        if (balance < held) revert NotReceived(asset, held, balance);
        holding.held = held.toUint248();
        _holdings[asset] = holding;
    }

    function _owed(Account memory account, uint256 units, uint128 total)
        private
        pure
        returns (uint256)
    {
        uint256 since = total - account.paidTotal;
        // units <= UNITS and total <= MAX_TOTAL: both terms are under 2^128.
        unchecked {
            return account.owedMillionths + units * since;
        }
    }

    function _unitsOf(uint256 id, address account) private view returns (uint256) {
        return account == THE_PASSPORT ? unreleased(id) : balanceOf(account, id);
    }
}
