// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {NoticeUpgradeable} from "./NoticeUpgradeable.sol";
import {HubBalances} from "./HubBalances.sol";
import {HubEscrows} from "./HubEscrows.sol";
import {HubPayments} from "./HubPayments.sol";
import {HubState} from "./HubState.sol";
import {ISettlementHub} from "./interfaces/ISettlementHub.sol";
import {Split} from "./Split.sol";
import {
    Attestation,
    Batch,
    Leaf,
    LeafMeter,
    LeafMoney,
    LeafParty,
    MALFORMED,
    OperatorId,
    Rail
} from "./Types.sol";

/// @title SettlementHub: see ISettlementHub for what each function promises.
/// @dev Here a batch is proposed and settled. Money comes in and out in HubEscrows and HubBalances,
/// leaves are paid in HubPayments; challenges and disputes stand in SettlementCourt, whose code
/// runs here by delegatecall.
contract SettlementHub is HubBalances, HubEscrows, HubPayments, NoticeUpgradeable {
    using SafeCast for uint256;

    /// @dev Most leaves of a batch, most passports in its table, most health reports.
    uint256 private constant MAX_LEAVES = 48;

    /// @notice Whose code challenges and disputes are.
    address public immutable COURT;

    /// @param court A SettlementCourt with the same six addresses.
    constructor(
        address c4e,
        address passport,
        address shares,
        address policy,
        address registry,
        address timelock,
        address court
    ) HubState(c4e, passport, shares, policy, registry, timelock) {
        COURT = court;
    }

    /// @notice Once, by the proxy's constructor.
    function initialize(address owner_) external initializer {
        _setOwner(owner_);
    }

    /// @inheritdoc ISettlementHub
    function propose(
        Batch calldata batch,
        Attestation calldata attestation,
        bytes calldata gatewaySignature
    ) external returns (bytes32 digest) {
        if (block.timestamp > batch.validUntil) {
            revert Expired(batch.validUntil);
        }
        digest = _digestOf(batch);
        if (_batches[digest].state != State.None) revert BatchKnown(digest);
        uint32 version = _versionAt(uint40(block.timestamp));
        uint256 walletTotal = _checkBatch(batch, version);
        _checkRate(batch);
        (uint256 signers, uint256 needed) = REGISTRY.checkQuorum(digest, attestation);
        _expose(attestation.signers, Split.exposureOf(walletTotal, batch.c4eRate, signers));
        _lock(batch, digest, gatewaySignature);

        (uint32 window,,) = _windowsOf(version);
        uint40 windowEndsAt = uint40(block.timestamp) + window;
        _batches[digest] = BatchState({
            proposedAt: uint40(block.timestamp),
            windowEndsAt: windowEndsAt,
            state: State.Pending,
            quorum: needed.toUint8(),
            disputed: 0,
            signers: attestation.signers
        });
        emit Proposed(
            digest, batch.operatorId, batch.asset, batch.proposer, attestation.signers, windowEndsAt
        );
    }

    /// @inheritdoc ISettlementHub
    function settle(Batch calldata batch) external returns (uint48 paid) {
        (bytes32 digest, BatchState memory state) = _pending(batch);
        if (block.timestamp <= state.windowEndsAt) revert WindowOpen(state.windowEndsAt);
        if (!_hasQuorum(state)) revert WithoutQuorum(digest);
        _batches[digest].state = State.Settled;
        _moveRate(batch, state.proposedAt);

        Run memory run = _begin(batch, digest);
        Leaf[] calldata leaves = batch.leaves;
        OperatorId operatorId = batch.operatorId;
        uint256 walletTotal;
        uint128 fiatAside;
        for (uint256 i = 0; i < leaves.length; ++i) {
            Leaf calldata leaf = leaves[i];
            bool isAside = _has(state.disputed, i);
            if (leaf.meter.rail() == Rail.Wallet) walletTotal += _walletAmountOf(leaf);
            else if (isAside) fiatAside += leaf.money.amount();
            if (isAside) continue;
            Earning memory earning = _earningOf(run, batch, leaf.meter.passportIndex());
            if (!_takeLeaf(run, operatorId, leaf, earning)) continue;
            _divide(run, leaf, earning);
            paid |= uint48(1 << i);
        }
        _unexpose(batch, walletTotal, state.signers);
        _keepBits(run);
        _unlock(batch, batch.fiatTotal - fiatAside, run.fiatPaid);
        emit Settled(digest, msg.sender, paid, state.disputed);
        _payOut(run, batch, state.signers);
    }

    // Challenges and disputes -------------------------------------------------------------------

    /// @inheritdoc ISettlementHub
    function killWithoutQuorum(Batch calldata) external {
        _runInCourt();
    }

    /// @inheritdoc ISettlementHub
    function challengeOverlap(Batch calldata, uint256, Batch calldata, uint256) external {
        _runInCourt();
    }

    /// @inheritdoc ISettlementHub
    function challengeImpossible(Batch calldata, uint256) external {
        _runInCourt();
    }

    /// @inheritdoc ISettlementHub
    function dispute(Batch calldata, uint256, bytes32) external returns (uint256) {
        return abi.decode(_runInCourt(), (uint256));
    }

    /// @inheritdoc ISettlementHub
    function rule(uint256, Batch calldata, bool) external {
        _runInCourt();
    }

    /// @inheritdoc ISettlementHub
    function endDispute(uint256, Batch calldata) external {
        _runInCourt();
    }

    // Reading -----------------------------------------------------------------------------------

    /// @inheritdoc ISettlementHub
    function batchDigest(Batch calldata batch) external view returns (bytes32) {
        return _digestOf(batch);
    }

    /// @inheritdoc ISettlementHub
    function batchOf(bytes32 digest) external view returns (BatchState memory) {
        return _batches[digest];
    }

    /// @inheritdoc ISettlementHub
    function isSettled(OperatorId operatorId, address asset, uint48 cdrNo)
        external
        view
        returns (bool)
    {
        return _settled[_laneOf(operatorId, asset)][cdrNo >> 8] >> (cdrNo & 0xff) & 1 == 1;
    }

    /// @inheritdoc ISettlementHub
    function settledWord(OperatorId operatorId, address asset, uint256 word)
        external
        view
        returns (uint256)
    {
        return _settled[_laneOf(operatorId, asset)][word];
    }

    /// @inheritdoc ISettlementHub
    function exposureOf(uint8 index) external view returns (uint256) {
        return _exposures[index];
    }

    /// @inheritdoc ISettlementHub
    function disputeOf(uint256 disputeId) external view returns (Dispute memory) {
        return _disputes[disputeId];
    }

    /// @inheritdoc ISettlementHub
    function rateBounds(OperatorId operatorId, address asset)
        public
        view
        returns (uint128 last, uint128 least, uint128 most)
    {
        if (asset == address(C4E)) {
            last = uint128(Split.RATE_UNIT);
            return (last, last, last);
        }
        LaneRate memory lane = _rates[_laneOf(operatorId, asset)];
        if (lane.rate == 0) {
            most = _assetPolicyOf(asset).c4eRate;
            // Without a row there is no rate at all: then least is above most.
            return (0, most == 0 ? 1 : most, most);
        }
        (least, most) = Split.rateBounds(lane.rate, Split.daysSince(lane.at, block.timestamp));
        return (lane.rate, least, most);
    }

    /// @dev Form and sums, and policy versions up to the `latest` in force: whatever a leaf says
    /// beside, `settle` must be able to pay the others. Returns what wallets are asked for.
    function _checkBatch(Batch calldata batch, uint256 latest)
        private
        view
        returns (uint256 walletTotal)
    {
        _assetIndexOf(batch.asset);
        _refuseIf(batch.health.length > MAX_LEAVES, "health");
        _refuseIf(batch.proposer == address(0), "proposer");
        uint256 places = batch.passports.length;
        _refuseIf(places > MAX_LEAVES, "passports");
        _checkOrder(batch.passports);
        Leaf[] calldata leaves = batch.leaves;
        uint256 count = leaves.length;
        _refuseIf(count == 0 || count > MAX_LEAVES, "leaves");
        uint256 fiatTotal;
        bool hasFiat;
        // No sum of 48 numbers of 65 bits overflows; of version 0, one less is above the latest.
        unchecked {
            for (uint256 i = 0; i < count; ++i) {
                Leaf calldata leaf = leaves[i];
                // Words, not the functions of their types: calls would double what a leaf costs.
                uint256 meter = LeafMeter.unwrap(leaf.meter);
                uint256 money = LeafMoney.unwrap(leaf.money);
                if (
                    meter & MALFORMED != 0 || uint8(meter >> 72) >= places
                        || uint256(uint32(meter >> 16)) - 1 >= latest
                ) revert BadLeaf(i, "meter");
                if (uint8(meter >> 56) == uint8(Rail.Fiat)) {
                    hasFiat = true;
                    fiatTotal += money >> 192;
                } else {
                    if (LeafParty.unwrap(leaf.party) >> 96 == 0) revert BadLeaf(i, "payer");
                    walletTotal += (money >> 192) + uint64(money >> 128);
                }
            }
        }
        _refuseIf(fiatTotal != batch.fiatTotal, "fiatTotal");
        _refuseIf(hasFiat != (batch.gateway != address(0)), "gateway");
    }

    /// @dev Each is greater than the one before it.
    function _checkOrder(bytes32[] calldata passports) private pure {
        bytes32 last;
        uint256 count = passports.length;
        for (uint256 i = 0; i < count; ++i) {
            bytes32 passport;
            // `passports[i]`, whose bound the loop has looked at.
            assembly ("memory-safe") {
                passport := calldataload(add(passports.offset, shl(5, i)))
            }
            if (passport <= last) revert BadBatch("passports");
            last = passport;
        }
    }

    function _refuseIf(bool isWrong, bytes32 what) private pure {
        if (isWrong) revert BadBatch(what);
    }

    function _checkRate(Batch calldata batch) private view {
        (, uint128 least, uint128 most) = rateBounds(batch.operatorId, batch.asset);
        uint128 rate = batch.c4eRate;
        if (rate < least || rate > most) revert RateOutOfRange(rate, least, most);
    }

    /// @dev Adds to what each signer answers for, never more than he can lose.
    function _expose(uint112 signers, uint256 exposure) private {
        if (exposure == 0) return;
        for (uint8 i = 0; signers >> i != 0; ++i) {
            if (!_has(signers, i)) continue;
            uint256 total = _exposures[i] + exposure;
            uint256 bond = REGISTRY.bondOf(i);
            if (total > bond) revert OverBond(i, total, bond);
            _exposures[i] = total.toUint64();
        }
    }

    /// @dev The gateway signs the digest, so it knows every leaf that it pays.
    function _lock(Batch calldata batch, bytes32 digest, bytes calldata gatewaySignature) private {
        if (batch.gateway == address(0)) return;
        _checkSignature(batch.gateway, digest, gatewaySignature);
        GatewayBalance storage balance = _gateways[batch.gateway][batch.asset];
        uint128 total = batch.fiatTotal;
        uint128 free = balance.free;
        if (total > free) revert NotEnough(total, free);
        balance.free = free - total;
        balance.locked += total;
    }

    /// @dev The lane's first rate, or the first one after the days that the last one used: what is
    /// settled moves a lane by at most 10 % a day, however many batches there are.
    function _moveRate(Batch calldata batch, uint40 proposedAt) private {
        if (batch.asset == address(C4E)) return;
        LaneRate storage last = _rates[_laneOf(batch.operatorId, batch.asset)];
        uint40 at = last.at;
        if (proposedAt <= at) return;
        if (at == 0) at = proposedAt;
        else at += uint40(Split.daysSince(at, proposedAt) * 1 days);
        (last.rate, last.at) = (batch.c4eRate, at);
    }

    /// @dev The same call, by the court's code on this contract's storage.
    function _runInCourt() private returns (bytes memory) {
        return Address.functionDelegateCall(COURT, msg.data);
    }
}
