// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Challenges} from "./Challenges.sol";
import {HubPayments} from "./HubPayments.sol";
import {HubState} from "./HubState.sol";
import {Split} from "./Split.sol";
import {Batch, Leaf, PolicyParameters, Rail} from "./Types.sol";

/// @title SettlementCourt: how a batch is killed and a leaf disputed.
/// @notice The second half of SettlementHub, which is too large for one contract: the hub runs
/// these functions by delegatecall on its own storage. They are described in ISettlementHub. Called
/// directly they find no batch.
contract SettlementCourt is HubPayments {
    using SafeCast for uint256;

    uint16 private constant SLASH_BPS = 2_000;
    uint256 private constant LOST_BOND_TO_HOST_BPS = 500;

    uint8 private constant KILLED_WITHOUT_QUORUM = 1;
    uint8 private constant KILLED_FOR_OVERLAP = 2;
    uint8 private constant KILLED_IMPOSSIBLE = 3;

    constructor(
        address c4e,
        address passport,
        address shares,
        address policy,
        address registry,
        address timelock
    ) HubState(c4e, passport, shares, policy, registry, timelock) {}

    /// @dev See ISettlementHub.
    function killWithoutQuorum(Batch calldata batch) external {
        (bytes32 digest, BatchState memory state) = _pending(batch);
        if (_hasQuorum(state)) revert StillQuorum(digest);
        _kill(batch, digest, state, KILLED_WITHOUT_QUORUM);
    }

    /// @dev See ISettlementHub.
    function challengeOverlap(
        Batch calldata batch,
        uint256 leaf,
        Batch calldata other,
        uint256 otherLeaf
    ) external {
        (bytes32 digest, BatchState memory state) = _challengeable(batch, leaf);
        bytes32 otherDigest = _digestOf(other);
        BatchState memory otherState = _batches[otherDigest];
        if (otherState.state != State.Pending && otherState.state != State.Settled) {
            revert WrongState(otherDigest, otherState.state);
        }
        if (otherLeaf >= other.leaves.length) revert BadLeaf(otherLeaf, "place");
        Leaf calldata later = batch.leaves[leaf];
        Leaf calldata earlier = other.leaves[otherLeaf];
        if (
            batch.operatorId != other.operatorId
                || !Challenges.isLater(batch, later, other, earlier)
                || !Challenges.overlap(batch, later, other, earlier)
        ) revert NoFault();
        _kill(batch, digest, state, KILLED_FOR_OVERLAP);
        // Who signed one of the two may have been right.
        uint112 guilty = state.signers & otherState.signers;
        if (guilty != 0) REGISTRY.slash(guilty, SLASH_BPS, msg.sender);
    }

    /// @dev See ISettlementHub.
    function challengeImpossible(Batch calldata batch, uint256 leaf) external {
        (bytes32 digest, BatchState memory state) = _challengeable(batch, leaf);
        if (!Challenges.isImpossible(batch, batch.leaves[leaf], state.proposedAt, PASSPORT, POLICY))
        {
            revert NoFault();
        }
        _kill(batch, digest, state, KILLED_IMPOSSIBLE);
        REGISTRY.slash(state.signers, SLASH_BPS, msg.sender);
    }

    /// @dev See ISettlementHub.
    function dispute(Batch calldata batch, uint256 leaf, bytes32 reasonDigest)
        external
        returns (uint256 disputeId)
    {
        (bytes32 digest, BatchState memory state) = _challengeable(batch, leaf);
        if (_has(state.disputed, leaf)) revert LeafAside(leaf);
        uint64 amount = _setAside(batch, digest, batch.leaves[leaf], leaf);
        PolicyParameters memory terms = _termsAt(uint40(block.timestamp));
        uint256 bond = Math.max(Split.inC4E(amount, batch.c4eRate), terms.disputeBond)
            << _countOf(state.disputed);
        disputeId = _disputeIdOf(digest, leaf);
        _disputes[disputeId] = Dispute({
            digest: digest,
            disputer: msg.sender,
            bond: bond.toUint96(),
            asset: batch.asset,
            amount: amount,
            openedAt: uint40(block.timestamp),
            leaf: uint8(leaf),
            isOpen: true
        });
        _batches[digest].disputed = state.disputed | uint48(1 << leaf);
        emit Disputed(disputeId, digest, uint8(leaf), msg.sender, reasonDigest, bond);
        REGISTRY.freeze(state.signers, uint40(block.timestamp) + terms.rulingTimeout);
        _pull(address(C4E), msg.sender, bond);
    }

    /// @dev See ISettlementHub.
    function rule(uint256 disputeId, Batch calldata batch, bool leafStands) external {
        if (msg.sender != POLICY.governor()) revert NotGovernor(msg.sender);
        (Dispute memory it, uint112 signers) = _endDispute(disputeId, batch, leafStands);
        if (leafStands) {
            address host = _payAside(batch, it, signers);
            _credit(host, address(C4E), it.bond);
        } else {
            _giveBack(batch, it);
            _credit(it.disputer, address(C4E), it.bond);
            REGISTRY.slash(signers, SLASH_BPS, it.disputer);
        }
    }

    /// @dev See ISettlementHub.
    function endDispute(uint256 disputeId, Batch calldata batch) external {
        (Dispute memory it, uint112 signers) = _endDispute(disputeId, batch, true);
        uint40 from = it.openedAt + _termsAt(it.openedAt).rulingTimeout;
        if (block.timestamp < from) revert TooEarly(from);
        address host = _payAside(batch, it, signers);
        uint256 lost = Split.shareOf(it.bond, LOST_BOND_TO_HOST_BPS);
        _credit(host, address(C4E), lost);
        _credit(it.disputer, address(C4E), it.bond - lost);
    }

    function _challengeable(Batch calldata batch, uint256 leaf)
        private
        view
        returns (bytes32 digest, BatchState memory state)
    {
        (digest, state) = _pending(batch);
        if (block.timestamp > state.windowEndsAt) revert WindowOver(state.windowEndsAt);
        if (leaf >= batch.leaves.length) revert BadLeaf(leaf, "place");
    }

    /// @dev As if the batch had never been; only its digest stays known.
    function _kill(Batch calldata batch, bytes32 digest, BatchState memory state, uint8 why)
        private
    {
        _batches[digest].state = State.Killed;
        _unexpose(batch, _walletTotalOf(batch), state.signers);
        for (uint256 i = 0; state.disputed >> i != 0; ++i) {
            if (_has(state.disputed, i)) _undispute(batch, digest, i);
        }
        _unlock(batch, batch.fiatTotal, 0);
        emit Killed(digest, why, msg.sender);
    }

    function _walletTotalOf(Batch calldata batch) private pure returns (uint256 total) {
        Leaf[] calldata leaves = batch.leaves;
        for (uint256 i = 0; i < leaves.length; ++i) {
            Leaf calldata leaf = leaves[i];
            if (leaf.meter.rail() == Rail.Wallet) total += _walletAmountOf(leaf);
        }
    }

    /// @dev Takes a leaf's amount out of escrow or lock until its dispute ends.
    function _setAside(Batch calldata batch, bytes32 digest, Leaf calldata leaf, uint256 place)
        private
        returns (uint64 amount)
    {
        Run memory run = _begin(batch, digest);
        Earning memory earning = _earningOf(run, batch, leaf.meter.passportIndex());
        if (!_takeLeaf(run, batch.operatorId, leaf, earning)) revert NotPayable(place);
        _keepBits(run);
        amount = leaf.money.amount();
        if (leaf.meter.rail() == Rail.Fiat) _unlock(batch, amount, amount);
        else amount += leaf.money.vat();
    }

    /// @dev The batch of the dispute was killed: its leaf may come again.
    function _undispute(Batch calldata batch, bytes32 digest, uint256 place) private {
        uint256 disputeId = _disputeIdOf(digest, place);
        Dispute memory it = _disputes[disputeId];
        _disputes[disputeId].isOpen = false;
        Leaf calldata leaf = batch.leaves[place];
        if (leaf.meter.rail() == Rail.Fiat) {
            _gateways[batch.gateway][batch.asset].locked += it.amount;
        } else {
            Escrow storage escrow = _escrows[
                _escrowIdOf(leaf.party.payer(), batch.operatorId, leaf.money.sessionKey())
            ];
            escrow.assetIndex = POLICY.assetIndex(batch.asset);
            escrow.max = it.amount;
        }
        uint256 cdrNo = leaf.party.cdrNo();
        _settled[_laneOf(batch.operatorId, batch.asset)][cdrNo >> 8] &= ~(1 << (cdrNo & 0xff));
        emit DisputeEnded(disputeId, false);
        _credit(it.disputer, address(C4E), it.bond);
    }

    function _endDispute(uint256 disputeId, Batch calldata batch, bool leafStands)
        private
        returns (Dispute memory it, uint112 signers)
    {
        it = _disputes[disputeId];
        bytes32 digest = _digestOf(batch);
        if (!it.isOpen || it.digest != digest) revert NoDispute(disputeId);
        BatchState memory state = _batches[digest];
        if (state.state != State.Settled) revert WrongState(digest, state.state);
        _disputes[disputeId].isOpen = false;
        emit DisputeEnded(disputeId, leafStands);
        return (it, state.signers);
    }

    /// @dev Pays the leaf as `settle` would have. Returns its host.
    function _payAside(Batch calldata batch, Dispute memory it, uint112 signers)
        private
        returns (address)
    {
        Run memory run = _begin(batch, it.digest);
        Leaf calldata leaf = batch.leaves[it.leaf];
        Earning memory earning = _earningOf(run, batch, leaf.meter.passportIndex());
        _divide(run, leaf, earning);
        _payOut(run, batch, signers);
        return earning.host;
    }

    function _giveBack(Batch calldata batch, Dispute memory it) private {
        Leaf calldata leaf = batch.leaves[it.leaf];
        if (leaf.meter.rail() == Rail.Fiat) {
            _gateways[batch.gateway][batch.asset].free += it.amount;
        } else {
            _credit(leaf.party.payer(), batch.asset, it.amount);
        }
    }

    function _disputeIdOf(bytes32 digest, uint256 leaf) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(digest, leaf)));
    }

    /// @dev The parameters in force at a time that is not in the future.
    function _termsAt(uint40 time) private view returns (PolicyParameters memory terms) {
        (, terms) = POLICY.parametersOf(POLICY.versionAt(time));
    }
}
