// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IAttesterRegistry} from "./interfaces/IAttesterRegistry.sol";
import {IC4EToken} from "./interfaces/IC4EToken.sol";
import {IChargerPassport} from "./interfaces/IChargerPassport.sol";
import {IChargerShares} from "./interfaces/IChargerShares.sol";
import {INetworkPolicy} from "./interfaces/INetworkPolicy.sol";
import {ISettlementHub} from "./interfaces/ISettlementHub.sol";
import {NoticeUpgradeable} from "./NoticeUpgradeable.sol";

/// @title HubLedger: what of the hub's money is whose, and how it comes in and goes out.
/// @dev Everywhere in the hub state changes before a token is called, and money that comes in must
/// arrive whole: then a token that takes a fee is refused, and one that calls back finds
/// the ledger as it will be. Nothing is ever pushed to an account that did not ask for it.
abstract contract HubLedger is ISettlementHub, NoticeUpgradeable, EIP712 {
    using SafeERC20 for IERC20;

    /// @param locked Of pending batches; what of it is not paid becomes free again.
    struct GatewayBalance {
        uint128 free;
        uint128 locked;
    }

    /// @param amount C4E for the fees of the host's sessions in other assets.
    struct HostBalance {
        uint128 amount;
        uint128 maxRate;
    }

    IC4EToken public immutable C4E;
    IChargerPassport public immutable PASSPORT;
    IChargerShares public immutable SHARES;
    INetworkPolicy public immutable POLICY;
    IAttesterRegistry public immutable REGISTRY;
    address public immutable TIMELOCK;

    mapping(address gateway => mapping(address asset => GatewayBalance)) internal _gateways;
    mapping(address host => HostBalance) internal _hosts;
    mapping(address account => mapping(address asset => uint256)) internal _withdrawable;

    constructor(
        address c4e,
        address passport,
        address shares,
        address policy,
        address registry,
        address timelock
    ) EIP712("ChargEra Settlement", "1") {
        C4E = IC4EToken(c4e);
        PASSPORT = IChargerPassport(passport);
        SHARES = IChargerShares(shares);
        POLICY = INetworkPolicy(policy);
        REGISTRY = IAttesterRegistry(registry);
        TIMELOCK = timelock;
    }

    /// @notice Once, by the proxy's constructor.
    function initialize(address owner_) external initializer {
        _setOwner(owner_);
    }

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

    function _credit(address account, address asset, uint256 amount) internal {
        if (amount == 0) return;
        _withdrawable[account][asset] += amount;
        emit Credited(account, asset, amount);
    }

    /// @dev The last step of an entry point: the ledger counts on the amount already.
    function _pull(address asset, address from, uint256 amount) internal {
        uint256 before = _balanceOf(asset);
        IERC20(asset).safeTransferFrom(from, address(this), amount);
        _checkReceived(asset, before, amount);
    }

    function _checkReceived(address asset, uint256 before, uint256 amount) internal view {
        uint256 balance = _balanceOf(asset);
        if (balance != before + amount) revert NotReceived(asset, before + amount, balance);
    }

    function _balanceOf(address asset) internal view returns (uint256) {
        return IERC20(asset).balanceOf(address(this));
    }

    function _checkSignature(address signer, bytes32 structHash, bytes calldata signature)
        internal
        view
    {
        _checkDigestSignature(signer, _hashTypedDataV4(structHash), signature);
    }

    /// @dev By a key (ECDSA) or by a contract (ERC-1271).
    function _checkDigestSignature(address signer, bytes32 digest, bytes calldata signature)
        internal
        view
    {
        if (!SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature)) {
            revert WrongSignature(signer);
        }
    }

    function _assetIndexOf(address asset) internal view returns (uint8 index) {
        index = POLICY.assetIndex(asset);
        if (index == 0) revert AssetNotListed(asset);
    }
}
