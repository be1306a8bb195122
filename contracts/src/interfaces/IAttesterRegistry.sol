// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestation, Batch, OperatorId} from "../Types.sol";

/// @title AttesterRegistry: who may say what happened, and what it costs to lie.
/// @notice An attester has an index that is never used again, one signing address and a bond in
/// C4E. Operators have their keys here too.
interface IAttesterRegistry {
    /// @param signer Address whose signatures count.
    /// @param beneficiary Who gets the bond back.
    /// @param bond C4E minor units.
    /// @param unbondingSince When unbonding was asked for, seconds; 0: never.
    /// @param frozenUntil Until when the bond stays for a dispute, seconds.
    /// @param isActive Whether its signatures count.
    /// @param isSlashed Whether its whole bond was taken for signing two different leaves.
    struct Attester {
        address signer;
        address beneficiary;
        uint96 bond;
        uint40 unbondingSince;
        uint40 frozenSince;
        uint40 frozenUntil;
        bool isActive;
        bool isSlashed;
    }

    /// @param signer Signs for the operator (lowered escrow maxima).
    /// @param logKey Ed25519 public key of its log.
    /// @param topic Where its log is anchored, as a long-zero address.
    struct Operator {
        address signer;
        bytes32 logKey;
        address topic;
    }

    event AttesterAdmitted(uint8 indexed index, address indexed signer, address beneficiary, uint96 bond);
    event AttesterEvicted(uint8 indexed index);
    event UnbondingAsked(uint8 indexed index, uint40 freeAt);
    event BondWithdrawn(uint8 indexed index, uint256 amount);
    /// @notice `amount` was taken: `bounty` of it for `challenger`, the rest burned.
    event Slashed(uint8 indexed index, uint256 amount, address indexed challenger, uint256 bounty);
    event BondFrozen(uint8 indexed index, uint40 until);
    event OperatorAnnounced(OperatorId indexed operatorId, Operator operator, uint40 effectiveAt);

    error NoSuchAttester(uint8 index);
    error NotBeneficiary(address caller);
    error NotHub(address caller);
    error TooManyAttesters();
    error SignerInUse(address signer);
    error NotActive(uint8 index);
    error StillBonded(uint40 freeAt);
    error Frozen(uint40 until);
    /// @dev Fewer signatures than the quorum.
    error NoQuorum(uint256 signatures, uint256 quorum);
    /// @dev The signature at this place is not by the attester whose bit is set.
    error WrongSignature(uint8 index);
    /// @dev The two leaves are the same, or not of one number in one lane.
    error NoEquivocation();
    error NotOperator(address caller);

    /// @notice Admit an attester whose bond the caller's beneficiary has approved. Only the owner
    /// (Timelock). Emits AttesterAdmitted. Fails with SignerInUse, TooManyAttesters (112 for ever).
    function admit(address signer, address beneficiary) external returns (uint8 index);

    /// @notice Stop counting an attester; his bond goes free as after `askUnbond`. Only the owner.
    function evict(uint8 index) external;

    /// @notice Stop counting at once; the bond is free 21 days later. Only the beneficiary.
    function askUnbond(uint8 index) external;

    /// @notice Pay out a free bond to its beneficiary. Anybody. Fails with StillBonded, Frozen.
    function withdrawBond(uint8 index) external;

    /// @notice Prove that an attester signed two different leaves for one number of one lane.
    /// Anybody. He alone loses his whole bond: 25 % to the caller, the rest burned.
    /// @param leafA Place of the leaf in `a`; `signatureA` is over `a`'s digest; likewise for b.
    /// Fails with NoEquivocation (same digest of leaf with its passport resolved, other number,
    /// other lane), WrongSignature.
    function slashEquivocation(
        uint8 index,
        Batch calldata a,
        uint256 leafA,
        bytes calldata signatureA,
        Batch calldata b,
        uint256 leafB,
        bytes calldata signatureB
    ) external;

    /// @notice Take `bps` of each signer's bond: 25 % to `challenger`, the rest burned. Only the hub.
    function slash(uint112 signers, uint16 bps, address challenger) external returns (uint256 taken);

    /// @notice Keep these bonds for a dispute: at most 21 d in any 63. Only the hub.
    function freeze(uint112 signers, uint40 until) external;

    /// @notice Fail unless at least a quorum of active attesters has signed `digest`.
    /// Fails with WrongSignature, NotActive, NoQuorum. Returns how many have.
    function checkQuorum(bytes32 digest, Attestation calldata attestation)
        external
        view
        returns (uint256 count);

    /// @notice Signatures that are enough: 2 of up to 3 active attesters, else floor(2n/3) + 1.
    function quorum() external view returns (uint256);

    /// @notice Bit i: attester i counts. Bit i of the second: he was slashed for equivocation.
    function masks() external view returns (uint112 active, uint112 slashed);

    function attesterOf(uint8 index) external view returns (Attester memory);
    function attesterCount() external view returns (uint256);
    /// @notice Index + 1 of the attester with this signing address; 0: none.
    function placeOf(address signer) external view returns (uint256);
    /// @notice The bond that can still be lost, C4E minor units.
    function bondOf(uint8 index) external view returns (uint96);

    /// @notice Announce an operator's keys, in force 2 days later (the first ones at once).
    /// Only the owner for a new operator, only his signer for an existing one.
    function setOperator(OperatorId operatorId, Operator calldata operator) external;
    /// @notice The keys in force now; all zero for an unknown operator.
    function operatorOf(OperatorId operatorId) external view returns (Operator memory);
}
