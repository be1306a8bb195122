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
    /// @param unbondingSince Since when the bond goes free, seconds; 0: it does not.
    /// @param frozenSince, frozenUntil When the bond last stayed for disputes, seconds.
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

    event AttesterAdmitted(
        uint8 indexed index, address indexed signer, address beneficiary, uint96 bond
    );
    event AttesterEvicted(uint8 indexed index);
    /// @notice The attester counts no more, by his own wish or evicted.
    event Unbonding(uint8 indexed index, uint40 freeAt);
    event BondWithdrawn(uint8 indexed index, uint256 amount);
    /// @notice `amount` was taken: `bounty` of it for `challenger`, the rest burned.
    event Slashed(uint8 indexed index, uint256 amount, address indexed challenger, uint256 bounty);
    event BondFrozen(uint8 indexed index, uint40 until);
    event OperatorAnnounced(OperatorId indexed operatorId, Operator operator, uint40 effectiveAt);

    error ZeroAddress();
    error NoSuchAttester(uint8 index);
    error NotBeneficiary(address caller);
    error NotHub(address caller);
    error TooManyAttesters();
    error SignerInUse(address signer);
    error NotActive(uint8 index);
    error NotUnbonding(uint8 index);
    error StillBonded(uint40 freeAt);
    error Frozen(uint40 until);
    /// @dev It was taken or paid out.
    error NoBond(uint8 index);
    /// @dev The registry holds less than the bonds of its first attesters.
    error BondsMissing(uint256 held, uint256 needed);
    /// @dev Each bit needs its signature, and no more.
    error SignatureCount(uint256 signatures, uint256 signers);
    /// @dev Fewer signatures than the quorum.
    error NoQuorum(uint256 signatures, uint256 quorum);
    /// @dev The signature at this place is not by the attester whose bit is set.
    error WrongSignature(uint8 index);
    /// @dev The two leaves are the same, or not of one number in one lane.
    error NoEquivocation();
    /// @dev This attester was slashed for equivocation before.
    error AlreadySlashed(uint8 index);
    error NotOperator(address caller);
    /// @dev The operator's id, signer or log key is zero.
    error OperatorIncomplete();

    /// @notice Admit an attester whose bond `beneficiary` has approved. Only the owner
    /// (Timelock). Emits AttesterAdmitted. Fails with ZeroAddress, SignerInUse (also by one who left),
    /// TooManyAttesters (112 for ever), and as ERC-20 where bond or approval is missing.
    function admit(address signer, address beneficiary) external returns (uint8 index);

    /// @notice Stop counting an attester; his bond goes free as after `askUnbond`. Only the owner.
    /// Emits AttesterEvicted, Unbonding. Fails with NotActive.
    function evict(uint8 index) external;

    /// @notice Stop counting at once; the bond is free 21 days later, and can be lost until it is
    /// paid out. Only the beneficiary. Emits Unbonding. Fails with NotBeneficiary, NotActive.
    function askUnbond(uint8 index) external;

    /// @notice Pay out a free bond to its beneficiary. Anybody. Emits BondWithdrawn. Fails with
    /// NotUnbonding, StillBonded, Frozen, NoBond.
    function withdrawBond(uint8 index) external;

    /// @notice Prove that an attester signed two different leaves for one number of one lane.
    /// Anybody. He alone loses his whole bond: 25 % to the caller, the rest burned.
    /// @param leafA Place of the leaf in `a`; `signatureA` is over `a`'s digest; likewise for b.
    /// Emits Slashed. Fails with NoEquivocation (the leaves are equal with their passports resolved,
    /// or have other numbers or lanes), WrongSignature, AlreadySlashed; panics where a batch has no
    /// such leaf or passport. Works on who left, too: his signatures on pending batches are void.
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
    /// Emits Slashed for each who had a bond. Returns the sum. It fails for no signer.
    function slash(uint112 signers, uint16 bps, address challenger) external returns (uint256 taken);

    /// @notice Keep these bonds for a dispute until then, as far as that is at most 21 d in any 63.
    /// Only the hub. Emits BondFrozen for each that is now kept longer. It fails for no signer.
    function freeze(uint112 signers, uint40 until) external;

    /// @notice Fail unless at least a quorum of active attesters has signed `digest`.
    /// Signatures are 65 bytes with the lower s (EIP-2), ascending by index as the bits are: none
    /// counts twice. Fails with SignatureCount, NotActive, WrongSignature, NoQuorum. Returns how many
    /// have signed, and how many are needed now.
    function checkQuorum(bytes32 digest, Attestation calldata attestation)
        external
        view
        returns (uint256 count, uint256 needed);

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
    /// Only the owner for a new operator, only his signer in force for an existing one; what was
    /// announced and is not in force yet is replaced. Emits OperatorAnnounced. Fails with NotOwner,
    /// NotOperator, OperatorIncomplete.
    function setOperator(OperatorId operatorId, Operator calldata operator) external;
    /// @notice The keys in force now; all zero for an unknown operator.
    function operatorOf(OperatorId operatorId) external view returns (Operator memory);
}
