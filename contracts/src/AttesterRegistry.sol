// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {BatchLib} from "./BatchLib.sol";
import {IAttesterRegistry} from "./interfaces/IAttesterRegistry.sol";
import {IC4EToken} from "./interfaces/IC4EToken.sol";
import {ISettlementHub} from "./interfaces/ISettlementHub.sol";
import {NoticeUpgradeable} from "./NoticeUpgradeable.sol";
import {Attestation, Batch, OperatorId} from "./Types.sol";

/// @dev It calls no contract but the C4E token and, for a digest, the hub: neither calls back. It
/// holds C4E for bonds only, never less than their sum.
contract AttesterRegistry is IAttesterRegistry, NoticeUpgradeable {
    using SafeERC20 for IERC20;

    /// @dev What a signature is checked by and what can be lost stand in one slot.
    struct Member {
        address signer;
        uint96 bond;
        address beneficiary;
        uint40 unbondingSince;
        uint40 frozenSince;
        uint40 frozenUntil;
    }

    /// @dev Whom `initialize` admits.
    struct Genesis {
        address signer;
        address beneficiary;
    }

    struct OperatorKeys {
        Operator current;
        Operator next;
        uint40 nextFrom; // 0: none was announced
    }

    uint96 public constant BOND = 10_000e6;
    uint40 public constant UNBONDING = 21 days;
    uint40 public constant MOST_FROZEN = 21 days;
    /// @notice Shortest time from one freeze's begin to the next one's.
    uint40 public constant FREEZE_CYCLE = 63 days;
    uint40 public constant OPERATOR_NOTICE = 2 days;
    /// @notice As many as a bitmap of registry indexes has bits.
    uint256 public constant MOST_ATTESTERS = 112;
    uint256 private constant ALL_BPS = 10_000;

    IC4EToken public immutable C4E;
    ISettlementHub public immutable HUB;

    uint112 private _active;
    uint112 private _slashed;
    uint8 private _activeCount;
    /// @dev Beside the masks, which every reader of it has read: an array's length would not be.
    uint8 private _memberCount;
    mapping(uint256 index => Member) private _members;
    mapping(address signer => uint256) private _places;
    mapping(OperatorId => OperatorKeys) private _operators;

    modifier onlyHub() {
        if (msg.sender != address(HUB)) revert NotHub(msg.sender);
        _;
    }

    constructor(IC4EToken c4e, ISettlementHub hub) {
        if (address(c4e) == address(0) || address(hub) == address(0)) revert ZeroAddress();
        C4E = c4e;
        HUB = hub;
    }

    /// @notice Begin with these attesters, whose bonds were transferred here before, and this
    /// operator.
    /// @param owner_ The Timelock.
    function initialize(
        address owner_,
        Genesis[] calldata attesters,
        OperatorId operatorId,
        Operator calldata operator
    ) external initializer {
        _setOwner(owner_);
        for (uint256 i = 0; i < attesters.length; ++i) {
            _admit(attesters[i].signer, attesters[i].beneficiary);
        }
        uint256 held = IERC20(address(C4E)).balanceOf(address(this));
        uint256 needed = attesters.length * BOND;
        if (held < needed) revert BondsMissing(held, needed);
        _setFirstKeys(operatorId, operator);
    }

    // Attesters ---------------------------------------------------------------------------------

    /// @inheritdoc IAttesterRegistry
    function admit(address signer, address beneficiary) external onlyOwner returns (uint8 index) {
        index = _admit(signer, beneficiary);
        // The beneficiary's approval is his consent; only the Timelock gets here.
        // slither-disable-next-line arbitrary-send-erc20
        IERC20(address(C4E)).safeTransferFrom(beneficiary, address(this), BOND);
    }

    /// @inheritdoc IAttesterRegistry
    function evict(uint8 index) external onlyOwner {
        emit AttesterEvicted(index);
        _unbond(_member(index), index);
    }

    /// @inheritdoc IAttesterRegistry
    function askUnbond(uint8 index) external {
        Member storage member = _member(index);
        if (msg.sender != member.beneficiary) revert NotBeneficiary(msg.sender);
        _unbond(member, index);
    }

    /// @inheritdoc IAttesterRegistry
    function withdrawBond(uint8 index) external {
        Member storage member = _member(index);
        uint40 since = member.unbondingSince;
        if (since == 0) revert NotUnbonding(index);
        if (block.timestamp < since + UNBONDING) revert StillBonded(since + UNBONDING);
        if (block.timestamp < member.frozenUntil) revert Frozen(member.frozenUntil);
        uint256 amount = member.bond;
        if (amount == 0) revert NoBond(index);
        member.bond = 0;
        emit BondWithdrawn(index, amount);
        IERC20(address(C4E)).safeTransfer(member.beneficiary, amount);
    }

    // Slashing ----------------------------------------------------------------------------------

    /// @inheritdoc IAttesterRegistry
    function slashEquivocation(
        uint8 index,
        Batch calldata a,
        uint256 leafA,
        bytes calldata signatureA,
        Batch calldata b,
        uint256 leafB,
        bytes calldata signatureB
    ) external {
        Member storage member = _member(index);
        if (_has(_slashed, index)) revert AlreadySlashed(index);
        if (!_contradict(a, leafA, b, leafB)) revert NoEquivocation();
        address signer = member.signer;
        if (!_isBy(signer, HUB.batchDigest(a), signatureA)) revert WrongSignature(index);
        if (!_isBy(signer, HUB.batchDigest(b), signatureB)) revert WrongSignature(index);

        _slashed |= _bit(index);
        if (_has(_active, index)) _deactivate(index);
        uint256 amount = member.bond;
        member.bond = 0;
        uint256 bounty = _logSlash(index, amount, msg.sender);
        _payOut(amount, bounty, msg.sender);
    }

    /// @inheritdoc IAttesterRegistry
    function slash(uint112 signers, uint16 bps, address challenger)
        external
        onlyHub
        returns (uint256 taken)
    {
        uint256 bounties = 0;
        uint256 count = _memberCount;
        for (uint8 index = 0; index < count; ++index) {
            if (!_has(signers, index)) continue;
            Member storage member = _members[index];
            uint256 amount = (uint256(member.bond) * bps) / ALL_BPS;
            if (amount == 0) continue;
            member.bond -= uint96(amount);
            taken += amount;
            bounties += _logSlash(index, amount, challenger);
        }
        _payOut(taken, bounties, challenger);
    }

    /// @inheritdoc IAttesterRegistry
    function freeze(uint112 signers, uint40 until) external onlyHub {
        uint256 count = _memberCount;
        for (uint8 index = 0; index < count; ++index) {
            if (_has(signers, index)) _freeze(_members[index], index, until);
        }
    }

    // Operators ---------------------------------------------------------------------------------

    /// @inheritdoc IAttesterRegistry
    function setOperator(OperatorId operatorId, Operator calldata operator) external {
        OperatorKeys storage keys = _operators[operatorId];
        Operator memory current = operatorOf(operatorId);
        if (current.signer == address(0)) {
            _checkOwner();
            _setFirstKeys(operatorId, operator);
            return;
        }
        if (msg.sender != current.signer) revert NotOperator(msg.sender);
        _checkOperator(operatorId, operator);
        uint40 from = uint40(block.timestamp) + OPERATOR_NOTICE;
        keys.current = current;
        keys.next = operator;
        keys.nextFrom = from;
        emit OperatorAnnounced(operatorId, operator, from);
    }

    /// @inheritdoc IAttesterRegistry
    function operatorOf(OperatorId operatorId) public view returns (Operator memory) {
        OperatorKeys storage keys = _operators[operatorId];
        uint40 from = keys.nextFrom;
        return from != 0 && block.timestamp >= from ? keys.next : keys.current;
    }

    // Reading -----------------------------------------------------------------------------------

    /// @inheritdoc IAttesterRegistry
    function checkQuorum(bytes32 digest, Attestation calldata attestation)
        external
        view
        returns (uint256 count, uint256 needed)
    {
        uint112 signers = attestation.signers;
        uint112 active = _active;
        for (uint8 index = 0; signers >> index != 0; ++index) {
            if (!_has(signers, index)) continue;
            if (!_has(active, index)) revert NotActive(index);
            if (count >= attestation.signatures.length) {
                revert SignatureCount(attestation.signatures.length, count + 1);
            }
            if (!_isBy(_members[index].signer, digest, attestation.signatures[count])) {
                revert WrongSignature(index);
            }
            ++count;
        }
        if (count != attestation.signatures.length) {
            revert SignatureCount(attestation.signatures.length, count);
        }
        needed = quorum();
        if (count < needed) revert NoQuorum(count, needed);
    }

    /// @inheritdoc IAttesterRegistry
    function quorum() public view returns (uint256) {
        uint256 count = _activeCount;
        return count <= 3 ? 2 : (2 * count) / 3 + 1;
    }

    /// @inheritdoc IAttesterRegistry
    function masks() external view returns (uint112 active, uint112 slashed) {
        return (_active, _slashed);
    }

    /// @inheritdoc IAttesterRegistry
    function attesterOf(uint8 index) external view returns (Attester memory) {
        Member memory member = _member(index);
        return Attester({
            signer: member.signer,
            beneficiary: member.beneficiary,
            bond: member.bond,
            unbondingSince: member.unbondingSince,
            frozenSince: member.frozenSince,
            frozenUntil: member.frozenUntil,
            isActive: _has(_active, index),
            isSlashed: _has(_slashed, index)
        });
    }

    /// @inheritdoc IAttesterRegistry
    function attesterCount() external view returns (uint256) {
        return _memberCount;
    }

    /// @inheritdoc IAttesterRegistry
    function placeOf(address signer) external view returns (uint256) {
        return _places[signer];
    }

    /// @inheritdoc IAttesterRegistry
    function bondOf(uint8 index) external view returns (uint96) {
        return _member(index).bond;
    }

    // Inside ------------------------------------------------------------------------------------

    function _admit(address signer, address beneficiary) private returns (uint8 index) {
        if (signer == address(0) || beneficiary == address(0)) revert ZeroAddress();
        if (_places[signer] != 0) revert SignerInUse(signer);
        uint256 count = _memberCount;
        if (count >= MOST_ATTESTERS) revert TooManyAttesters();
        index = uint8(count);
        _members[count] = Member(signer, BOND, beneficiary, 0, 0, 0);
        _places[signer] = count + 1;
        // In a loop at genesis only.
        // slither-disable-start costly-loop
        _active |= _bit(index);
        ++_activeCount;
        ++_memberCount;
        // slither-disable-end costly-loop
        emit AttesterAdmitted(index, signer, beneficiary, BOND);
    }

    function _unbond(Member storage member, uint8 index) private {
        if (!_has(_active, index)) revert NotActive(index);
        _deactivate(index);
        member.unbondingSince = uint40(block.timestamp);
        emit Unbonding(index, uint40(block.timestamp) + UNBONDING);
    }

    function _deactivate(uint8 index) private {
        _active &= ~_bit(index);
        --_activeCount;
    }

    /// @dev A cycle of 63 days has one freeze of at most 21; within it later calls may prolong it up
    /// to there. Cycles do not overlap, so no 63 days hold more than 21 frozen ones.
    function _freeze(Member storage member, uint8 index, uint40 until) private {
        uint40 since = member.frozenSince;
        if (since == 0 || block.timestamp >= since + FREEZE_CYCLE) {
            since = uint40(block.timestamp);
        }
        if (until > since + MOST_FROZEN) until = since + MOST_FROZEN;
        if (until <= member.frozenUntil || until <= block.timestamp) return;
        member.frozenSince = since;
        member.frozenUntil = until;
        emit BondFrozen(index, until);
    }

    /// @return bounty The challenger's part of what is taken.
    function _logSlash(uint8 index, uint256 amount, address challenger)
        private
        returns (uint256 bounty)
    {
        bounty = amount / 4;
        emit Slashed(index, amount, challenger, bounty);
    }

    function _payOut(uint256 taken, uint256 bounty, address challenger) private {
        if (taken == 0) return;
        C4E.burn(taken - bounty);
        IERC20(address(C4E)).safeTransfer(challenger, bounty);
    }

    function _setFirstKeys(OperatorId operatorId, Operator calldata operator) private {
        _checkOperator(operatorId, operator);
        _operators[operatorId].current = operator;
        emit OperatorAnnounced(operatorId, operator, uint40(block.timestamp));
    }

    function _member(uint8 index) private view returns (Member storage) {
        if (index >= _memberCount) revert NoSuchAttester(index);
        return _members[index];
    }

    /// @dev Two leaves of one number in one lane that do not say the same.
    function _contradict(Batch calldata a, uint256 leafA, Batch calldata b, uint256 leafB)
        private
        pure
        returns (bool)
    {
        return a.operatorId == b.operatorId && a.asset == b.asset
            && a.leaves[leafA].party.cdrNo() == b.leaves[leafB].party.cdrNo()
            && BatchLib.identityOf(a, leafA) != BatchLib.identityOf(b, leafB);
    }

    function _checkOperator(OperatorId operatorId, Operator calldata operator) private pure {
        bool isComplete = OperatorId.unwrap(operatorId) != 0 && operator.signer != address(0)
            && operator.logKey != 0;
        if (!isComplete) revert OperatorIncomplete();
    }

    /// @dev No attester's address is zero, so a signature that recovers to nobody is nobody's; why
    /// it does is nobody's concern.
    function _isBy(address signer, bytes32 digest, bytes calldata signature)
        private
        pure
        returns (bool)
    {
        // slither-disable-next-line unused-return
        (address recovered,,) = ECDSA.tryRecoverCalldata(digest, signature);
        return recovered == signer;
    }

    function _has(uint112 mask, uint8 index) private pure returns (bool) {
        return (mask >> index) & 1 != 0;
    }

    function _bit(uint8 index) private pure returns (uint112) {
        return uint112(1) << index;
    }
}
