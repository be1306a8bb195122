// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {BatchLib} from "./BatchLib.sol";
import {IAttesterRegistry} from "./interfaces/IAttesterRegistry.sol";
import {IC4EToken} from "./interfaces/IC4EToken.sol";
import {IChargerPassport} from "./interfaces/IChargerPassport.sol";
import {IChargerShares} from "./interfaces/IChargerShares.sol";
import {INetworkPolicy} from "./interfaces/INetworkPolicy.sol";
import {ISettlementTypes} from "./interfaces/ISettlementHub.sol";
import {Split} from "./Split.sol";
import {AssetPolicy, Batch, Leaf, OperatorId, Rail} from "./Types.sol";

/// @title HubState: everything that the hub knows, and the steps that its parts share.
/// @dev All storage of the hub is declared here and nowhere else, since SettlementHub and
/// SettlementCourt run on the same. Everywhere state changes before a token is called, and money
/// that comes in must arrive whole: a token that takes a fee is refused, and one that calls back
/// finds the ledger as it will be. Nothing is ever pushed to an account that did not ask for it.
abstract contract HubState is ISettlementTypes {
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

    /// @param rate C4E minor units for 10^6 of the asset.
    /// @param at End of the days that `rate` has used; in them it does not change.
    struct LaneRate {
        uint128 rate;
        uint40 at;
    }

    bytes32 private constant DOMAIN_TYPEHASH = keccak256(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    );
    bytes32 private constant DOMAIN_NAME = keccak256("ChargEra Settlement");
    bytes32 private constant DOMAIN_VERSION = keccak256("1");

    IC4EToken public immutable C4E;
    IChargerPassport public immutable PASSPORT;
    IChargerShares public immutable SHARES;
    INetworkPolicy public immutable POLICY;
    IAttesterRegistry public immutable REGISTRY;
    address public immutable TIMELOCK;

    mapping(address gateway => mapping(address asset => GatewayBalance)) internal _gateways;
    mapping(address host => HostBalance) internal _hosts;
    mapping(address account => mapping(address asset => uint256)) internal _withdrawable;
    mapping(bytes32 escrowId => Escrow) internal _escrows;
    mapping(bytes32 digest => BatchState) internal _batches;
    mapping(bytes32 lane => LaneRate) internal _rates;
    mapping(bytes32 lane => mapping(uint256 word => uint256)) internal _settled;
    /// @dev By registry index, four a slot: a quorum's are written together.
    uint64[112] internal _exposures;
    mapping(uint256 disputeId => Dispute) internal _disputes;

    constructor(
        address c4e,
        address passport,
        address shares,
        address policy,
        address registry,
        address timelock
    ) {
        C4E = IC4EToken(c4e);
        PASSPORT = IChargerPassport(passport);
        SHARES = IChargerShares(shares);
        POLICY = INetworkPolicy(policy);
        REGISTRY = IAttesterRegistry(registry);
        TIMELOCK = timelock;
    }

    function _digestOf(Batch calldata batch) internal view returns (bytes32) {
        return _typed(BatchLib.hashBatch(batch));
    }

    /// @dev EIP-712, in the domain of the proxy that this code runs for.
    function _typed(bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(DOMAIN_TYPEHASH, DOMAIN_NAME, DOMAIN_VERSION, block.chainid, address(this))
        );
        return MessageHashUtils.toTypedDataHash(domain, structHash);
    }

    function _escrowIdOf(address payer, OperatorId operatorId, bytes16 sessionKey)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(payer, operatorId, sessionKey));
    }

    /// @dev Without an event: the one of the entry point says what it comes from.
    function _credit(address account, address asset, uint256 amount) internal {
        if (amount != 0) _withdrawable[account][asset] += amount;
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

    /// @dev By a key (ECDSA) or by a contract (ERC-1271).
    function _checkSignature(address signer, bytes32 digest, bytes calldata signature)
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

    /// @dev What the policy in force now says of an asset; zero where it does not list it.
    function _assetPolicyOf(address asset) internal view returns (AssetPolicy memory) {
        return POLICY.assetOf(_versionAt(uint40(block.timestamp)), asset);
    }

    /// @dev In force at a time that is not in the future: no later one changes that.
    function _versionAt(uint40 time) internal view returns (uint32) {
        return POLICY.versionAt(time);
    }

    function _windowsOf(uint32 version)
        internal
        view
        returns (uint32 settlementWindow, uint32 refundAskAfter, uint32 refundPayAfter)
    {
        return POLICY.windowsOf(version);
    }

    /// @dev What stays says that it was opened, and whether its payer asked it back.
    function _close(Escrow storage escrow) internal {
        escrow.assetIndex = 0;
        escrow.max = 0;
    }

    function _pending(Batch calldata batch) internal view returns (bytes32, BatchState memory) {
        bytes32 digest = _digestOf(batch);
        BatchState memory state = _batches[digest];
        if (state.state != State.Pending) revert WrongState(digest, state.state);
        return (digest, state);
    }

    /// @dev Whether those who signed and were not caught signing two things are still enough.
    function _hasQuorum(BatchState memory state) internal view returns (bool) {
        (, uint112 slashed) = REGISTRY.masks();
        return _countOf(state.signers & ~slashed) >= state.quorum;
    }

    /// @dev The signers of a batch that asked wallets for `walletTotal` answer for it no more.
    function _unexpose(Batch calldata batch, uint256 walletTotal, uint112 signers) internal {
        uint256 exposure = Split.exposureOf(walletTotal, batch.c4eRate, _countOf(signers));
        if (exposure == 0) return;
        for (uint256 i = 0; signers >> i != 0; ++i) {
            if (_has(signers, i)) _exposures[i] -= uint64(exposure);
        }
    }

    /// @dev Of what a batch had locked, `paid` is gone and the rest is the gateway's again.
    function _unlock(Batch calldata batch, uint128 locked, uint128 paid) internal {
        if (batch.gateway == address(0)) return;
        GatewayBalance storage balance = _gateways[batch.gateway][batch.asset];
        balance.locked -= locked;
        balance.free += locked - paid;
    }

    /// @dev What a leaf asks a wallet for.
    function _walletAmountOf(Leaf calldata leaf) internal pure returns (uint256) {
        return uint256(leaf.money.amount()) + leaf.money.vat();
    }

    function _laneOf(OperatorId operatorId, address asset) internal pure returns (bytes32) {
        return keccak256(abi.encode(operatorId, asset));
    }

    function _has(uint256 bits, uint256 i) internal pure returns (bool) {
        return bits >> i & 1 == 1;
    }

    function _countOf(uint256 bits) internal pure returns (uint256 count) {
        for (; bits != 0; bits >>= 1) {
            count += bits & 1;
        }
    }
}
