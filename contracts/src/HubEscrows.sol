// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {IERC3009} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";

import {ISettlementHub} from "./interfaces/ISettlementHub.sol";
import {HubState} from "./HubState.sol";
import {OperatorId} from "./Types.sol";

/// @title HubEscrows: a payer's money for one session of one operator.
/// @dev An escrow is opened once for ever: its slot keeps `openedAt` when it closes, so that no
/// signature opens it again and no second bill draws on its session.
abstract contract HubEscrows is ISettlementHub, HubState {
    bytes32 private constant OPEN_TYPEHASH = keccak256(
        "Open(bytes8 operatorId,bytes16 sessionKey,address asset,uint64 max,uint64 deadline)"
    );
    bytes32 private constant LOWER_TYPEHASH =
        keccak256("Lower(bytes32 escrowId,uint64 max,uint64 deadline)");

    /// @inheritdoc ISettlementHub
    function open(
        address payer,
        OperatorId operatorId,
        bytes16 sessionKey,
        address asset,
        uint64 max,
        uint64 deadline,
        bytes calldata signature
    ) external returns (bytes32 escrowId) {
        bytes32 structHash;
        (escrowId, structHash) = _open(payer, operatorId, sessionKey, asset, max, deadline);
        _checkSignature(payer, _typed(structHash), signature);
        _pull(asset, payer, max);
    }

    /// @inheritdoc ISettlementHub
    function openWithPermit(
        address payer,
        OperatorId operatorId,
        bytes16 sessionKey,
        address asset,
        uint64 max,
        uint64 deadline,
        bytes calldata signature,
        uint8 permitV,
        bytes32 permitR,
        bytes32 permitS
    ) external returns (bytes32 escrowId) {
        bytes32 structHash;
        (escrowId, structHash) = _open(payer, operatorId, sessionKey, asset, max, deadline);
        _checkSignature(payer, _typed(structHash), signature);
        try IERC20Permit(asset)
            .permit(payer, address(this), max, deadline, permitV, permitR, permitS) {}
            catch {}
        _pull(asset, payer, max);
    }

    /// @inheritdoc ISettlementHub
    function openWithAuthorization(
        address payer,
        OperatorId operatorId,
        bytes16 sessionKey,
        address asset,
        uint64 max,
        uint64 deadline,
        bytes calldata signature
    ) external returns (bytes32 escrowId) {
        if (signature.length != 65) revert WrongSignature(payer);
        (escrowId,) = _open(payer, operatorId, sessionKey, asset, max, deadline);
        uint256 before = _balanceOf(asset);
        IERC3009(asset)
            .receiveWithAuthorization(
                payer,
                address(this),
                max,
                0,
                deadline,
                escrowId,
                uint8(signature[64]),
                bytes32(signature[:32]),
                bytes32(signature[32:64])
            );
        _checkReceived(asset, before, max);
    }

    /// @inheritdoc ISettlementHub
    function lowerMax(
        address payer,
        OperatorId operatorId,
        bytes16 sessionKey,
        uint64 max,
        uint64 deadline,
        bytes calldata operatorSignature
    ) external {
        if (block.timestamp > deadline) revert Expired(deadline);
        (bytes32 escrowId, Escrow storage escrow) = _openEscrow(payer, operatorId, sessionKey);
        if (max >= escrow.max) revert NotLower(escrow.max);
        bytes32 structHash = keccak256(abi.encode(LOWER_TYPEHASH, escrowId, max, deadline));
        address signer = REGISTRY.operatorOf(operatorId).signer;
        _checkSignature(signer, _typed(structHash), operatorSignature);
        address asset = POLICY.assetAt(escrow.assetIndex);
        uint64 freed = escrow.max - max;
        if (max == 0) _close(escrow);
        else escrow.max = max;
        emit EscrowLowered(escrowId, max);
        _credit(payer, asset, freed);
    }

    /// @inheritdoc ISettlementHub
    function askRefund(OperatorId operatorId, bytes16 sessionKey) external {
        (bytes32 escrowId, Escrow storage escrow) = _openEscrow(msg.sender, operatorId, sessionKey);
        (, uint32 askAfter, uint32 payAfter) = _windowsOf(_versionAt(escrow.openedAt));
        uint40 from = escrow.openedAt + askAfter;
        if (block.timestamp < from) revert TooEarly(from);
        if (escrow.askedAt == 0) escrow.askedAt = uint40(block.timestamp);
        emit RefundAsked(escrowId, escrow.askedAt + payAfter);
    }

    /// @inheritdoc ISettlementHub
    function refund(address payer, OperatorId operatorId, bytes16 sessionKey) external {
        (bytes32 escrowId, Escrow storage escrow) = _openEscrow(payer, operatorId, sessionKey);
        if (escrow.askedAt == 0) revert NotAsked(escrowId);
        (,, uint32 payAfter) = _windowsOf(_versionAt(escrow.openedAt));
        uint40 from = escrow.askedAt + payAfter;
        if (block.timestamp < from) revert TooEarly(from);
        address asset = POLICY.assetAt(escrow.assetIndex);
        uint64 amount = escrow.max;
        _close(escrow);
        emit Refunded(escrowId, amount);
        _credit(payer, asset, amount);
    }

    /// @inheritdoc ISettlementHub
    function escrowIdOf(address payer, OperatorId operatorId, bytes16 sessionKey)
        external
        pure
        returns (bytes32)
    {
        return _escrowIdOf(payer, operatorId, sessionKey);
    }

    /// @inheritdoc ISettlementHub
    function escrowOf(bytes32 escrowId) external view returns (Escrow memory) {
        return _escrows[escrowId];
    }

    /// @dev Writes an escrow whose money is yet to arrive in the same call. Returns what its payer
    /// has to have signed.
    function _open(
        address payer,
        OperatorId operatorId,
        bytes16 sessionKey,
        address asset,
        uint64 max,
        uint64 deadline
    ) private returns (bytes32 escrowId, bytes32 structHash) {
        if (block.timestamp > deadline) revert Expired(deadline);
        if (max == 0) revert ZeroAmount();
        uint8 assetIndex = _assetIndexOf(asset);
        // Not only listed once: the version in force says when this escrow can be asked back.
        if (_assetPolicyOf(asset).asset != asset) revert AssetNotListed(asset);
        escrowId = _escrowIdOf(payer, operatorId, sessionKey);
        if (_escrows[escrowId].openedAt != 0) revert EscrowExists(escrowId);
        _escrows[escrowId] = Escrow(assetIndex, max, uint40(block.timestamp), 0);
        emit EscrowOpened(escrowId, payer, operatorId, sessionKey, asset, max);
        structHash =
            keccak256(abi.encode(OPEN_TYPEHASH, operatorId, sessionKey, asset, max, deadline));
    }

    function _openEscrow(address payer, OperatorId operatorId, bytes16 sessionKey)
        private
        view
        returns (bytes32, Escrow storage)
    {
        bytes32 escrowId = _escrowIdOf(payer, operatorId, sessionKey);
        Escrow storage escrow = _escrows[escrowId];
        if (escrow.assetIndex == 0) revert NoEscrow(escrowId);
        return (escrowId, escrow);
    }
}
