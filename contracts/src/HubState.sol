// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {BatchLib} from "./BatchLib.sol";
import {IAttesterRegistry} from "./interfaces/IAttesterRegistry.sol";
import {IC4EToken} from "./interfaces/IC4EToken.sol";
import {IChargerPassport} from "./interfaces/IChargerPassport.sol";
import {IChargerShares} from "./interfaces/IChargerShares.sol";
import {INetworkPolicy} from "./interfaces/INetworkPolicy.sol";
import {ISettlementTypes} from "./interfaces/ISettlementHub.sol";
import {Split} from "./Split.sol";
import {Batch, Leaf, OperatorId, PolicyParameters, Rail} from "./Types.sol";

/// @title HubState: everything that the hub knows, and the steps that its parts share.
/// @dev All storage of the hub is declared here and nowhere else, since SettlementHub and
/// SettlementCourt run on the same. Everywhere state changes before a token is called, and money
/// that comes in must arrive whole: a token that takes a fee is refused, and one that calls back
/// finds the ledger as it will be. Nothing is ever pushed to an account that did not ask for it.
abstract contract HubState is ISettlementTypes, EIP712 {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

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
    /// @dev The policy's assets by their index, as they came to be used.
    mapping(uint8 assetIndex => address) internal _assets;
    mapping(bytes32 digest => BatchState) internal _batches;
    mapping(bytes32 lane => LaneRate) internal _rates;
    mapping(bytes32 lane => mapping(uint256 word => uint256)) internal _settled;
    mapping(uint256 attester => uint256) internal _exposures;
    mapping(uint256 disputeId => Dispute) internal _disputes;

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

    function _digestOf(Batch calldata batch) internal view returns (bytes32) {
        return _hashTypedDataV4(BatchLib.hashBatch(batch));
    }

    function _escrowIdOf(address payer, OperatorId operatorId, bytes16 sessionKey)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(payer, operatorId, sessionKey));
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

    /// @dev What stays says that it was opened, and whether its payer asked it back.
    function _close(bytes32 escrowId, Escrow memory escrow) internal {
        _escrows[escrowId] = Escrow(0, 0, escrow.openedAt, escrow.askedAt);
    }

    /// @dev The parameters in force at a time that is not in the future: they cannot change.
    function _termsAt(uint40 time) internal view returns (PolicyParameters memory terms) {
        (, terms) = POLICY.parametersOf(POLICY.versionAt(time));
    }

    function _pending(Batch calldata batch)
        internal
        view
        returns (bytes32 digest, BatchState memory state)
    {
        digest = _digestOf(batch);
        state = _batches[digest];
        if (state.state != State.Pending) revert WrongState(digest, state.state);
    }

    /// @dev Whether those who signed and were not caught signing two things are still enough.
    function _hasQuorum(BatchState memory state) internal view returns (bool) {
        (, uint112 slashed) = REGISTRY.masks();
        return _countOf(state.signers & ~slashed) >= state.quorum;
    }

    function _unexpose(Batch calldata batch, uint112 signers) internal {
        uint256 exposure =
            Split.exposureOf(_walletTotalOf(batch), batch.c4eRate, _countOf(signers));
        if (exposure == 0) return;
        for (uint256 rest = signers; rest != 0; rest &= rest - 1) {
            _exposures[_lowestOf(rest)] -= exposure;
        }
    }

    /// @dev Of what a batch had locked, `paid` is gone and the rest is the gateway's again.
    function _unlock(Batch calldata batch, uint256 locked, uint256 paid) internal {
        if (batch.gateway == address(0)) return;
        GatewayBalance memory balance = _gateways[batch.gateway][batch.asset];
        _gateways[batch.gateway][batch.asset] = GatewayBalance(
            (balance.free + locked - paid).toUint128(), (balance.locked - locked).toUint128()
        );
    }

    function _walletTotalOf(Batch calldata batch) internal pure returns (uint256 total) {
        uint256 count = batch.leaves.length;
        for (uint256 i = 0; i < count; ++i) {
            Leaf calldata leaf = batch.leaves[i];
            if (leaf.meter.rail() == Rail.Wallet) {
                total += uint256(leaf.money.amount()) + leaf.money.vat();
            }
        }
    }

    function _laneOf(OperatorId operatorId, address asset) internal pure returns (bytes32) {
        return keccak256(abi.encode(operatorId, asset));
    }

    function _lowestOf(uint256 bits) internal pure returns (uint8) {
        return uint8(Math.log2(bits & (~bits + 1)));
    }

    function _countOf(uint256 bits) internal pure returns (uint256 count) {
        for (; bits != 0; bits &= bits - 1) ++count;
    }
}
