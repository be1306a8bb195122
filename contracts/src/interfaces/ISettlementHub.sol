// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestation, Batch, OperatorId} from "../Types.sol";

/// @title ISettlementTypes: what SettlementHub stores, says and refuses.
interface ISettlementTypes {
    enum State {
        None,
        Pending, // proposed; the window runs or is over
        Settled,
        Killed
    }

    /// @param proposedAt, windowEndsAt Seconds.
    /// @param quorum Signatures that were needed when it was proposed.
    /// @param disputed Bit i: leaf i is aside.
    /// @param signers Registry indexes as bits.
    struct BatchState {
        uint40 proposedAt;
        uint40 windowEndsAt;
        State state;
        uint8 quorum;
        uint48 disputed;
        uint112 signers;
    }

    /// @param assetIndex As in NetworkPolicy; 0: no such escrow.
    /// @param max Most that a bill may draw, VAT included.
    /// @param askedAt When its payer asked it back; 0: he did not.
    struct Escrow {
        uint8 assetIndex;
        uint64 max;
        uint40 openedAt;
        uint40 askedAt;
    }

    struct Dispute {
        bytes32 digest;
        address disputer;
        uint96 bond;
        address asset;
        uint64 amount; // aside: net, and VAT on the wallet rail
        uint40 openedAt;
        uint8 leaf;
        bool isOpen;
    }

    event EscrowOpened(
        bytes32 indexed escrowId,
        address indexed payer,
        OperatorId indexed operatorId,
        bytes16 sessionKey,
        address asset,
        uint64 max
    );
    event EscrowLowered(bytes32 indexed escrowId, uint64 max);
    event RefundAsked(bytes32 indexed escrowId, uint40 payableAt);
    event Refunded(bytes32 indexed escrowId, uint64 amount);
    event GatewayDeposited(address indexed gateway, address indexed asset, uint256 amount);
    event GatewayWithdrawn(address indexed gateway, address indexed asset, uint256 amount);
    event Prepaid(address indexed host, uint256 amount);
    event Unprepaid(address indexed host, uint256 amount);
    event MaxRateSet(address indexed host, uint128 maxRate);
    event Proposed(
        bytes32 indexed digest,
        OperatorId indexed operatorId,
        address indexed asset,
        address proposer,
        uint112 signers,
        uint40 windowEndsAt
    );
    /// @notice Bit i of `paid`: leaf i was paid; every other leaf was skipped or is disputed.
    event Settled(bytes32 indexed digest, address indexed caller, uint48 paid, uint48 disputed);
    /// @notice Why: 1 no quorum left, 2 overlap, 3 impossible leaf.
    event Killed(bytes32 indexed digest, uint8 why, address indexed challenger);
    /// @notice F of a batch: burned as C4E, and what went to the Timelock in the asset instead.
    event FeesTaken(bytes32 indexed digest, uint256 burnedC4E, uint256 feesInAsset);
    event Disputed(
        uint256 indexed disputeId,
        bytes32 indexed digest,
        uint8 leaf,
        address indexed disputer,
        bytes32 reasonDigest,
        uint256 bond
    );
    event DisputeEnded(uint256 indexed disputeId, bool leafStands);
    event Withdrawn(address indexed account, address indexed asset, address to, uint256 amount);

    error AssetNotListed(address asset);
    error EscrowExists(bytes32 escrowId);
    error NoEscrow(bytes32 escrowId);
    error ZeroAmount();
    error Expired(uint256 deadline);
    error WrongSignature(address expected);
    error NotLower(uint64 max);
    error TooEarly(uint40 at);
    error NotAsked(bytes32 escrowId);
    error NotEnough(uint256 asked, uint256 available);
    error BatchKnown(bytes32 digest);
    error WrongState(bytes32 digest, State state);
    error BadBatch(bytes32 what);
    error BadLeaf(uint256 leaf, bytes32 what);
    error RateOutOfRange(uint128 rate, uint128 least, uint128 most);
    error OverBond(uint8 attester, uint256 exposure, uint256 bond);
    error WindowOpen(uint40 endsAt);
    error WindowOver(uint40 endedAt);
    error StillQuorum(bytes32 digest);
    error NoFault();
    error LeafAside(uint256 leaf);
    error NoDispute(uint256 disputeId);
    error NotGovernor(address caller);
    /// @dev A token that takes a fee: the balance after is not what it should be.
    error NotReceived(address asset, uint256 expected, uint256 balance);
    /// @dev Its signers were slashed: it can only be killed.
    error WithoutQuorum(bytes32 digest);
    /// @dev `settle` would skip this leaf: there is nothing to set aside.
    error NotPayable(uint256 leaf);
}

/// @title SettlementHub: bills become payments, with nobody in the middle.
/// @notice Money that the hub holds is a payer's escrow, a gateway's balance, a host's prepaid
/// C4E, somebody's to withdraw, or aside for a dispute; there is no other. No signature but the
/// payer's (or his gateway's) moves his money; attesters say what happened, under bond.
/// EIP-712 domain: name `ChargEra Settlement`, version `1`.
interface ISettlementHub is ISettlementTypes {
    // The payer ---------------------------------------------------------------------------------

    /// @notice Open an escrow that the payer signed: `Open(bytes8 operatorId,bytes16 sessionKey,
    /// address asset,uint64 max,uint64 deadline)`; the allowance is from an approval or permit.
    /// Anybody may send it. Emits EscrowOpened. Fails with Expired, WrongSignature, EscrowExists,
    /// AssetNotListed, ZeroAmount.
    function open(
        address payer,
        OperatorId operatorId,
        bytes16 sessionKey,
        address asset,
        uint64 max,
        uint64 deadline,
        bytes calldata signature
    ) external returns (bytes32 escrowId);

    /// @notice As `open`, with an ERC-2612 permit first (one that fails is ignored: somebody may
    /// have used it already). Emits and fails as `open`; without an allowance as the asset does.
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
    ) external returns (bytes32 escrowId);

    /// @notice As `open`, by ERC-3009 `receiveWithAuthorization` whose nonce is the escrow id
    /// (validAfter 0, validBefore deadline, value max): one signature for all, a key's 65 bytes.
    /// Emits and fails as `open`, but for the signature, which the asset refuses in its own words.
    function openWithAuthorization(
        address payer,
        OperatorId operatorId,
        bytes16 sessionKey,
        address asset,
        uint64 max,
        uint64 deadline,
        bytes calldata signature
    ) external returns (bytes32 escrowId);

    /// @notice Lower an escrow's maximum by the operator's signature over `Lower(bytes32 escrowId,
    /// uint64 max,uint64 deadline)`; the difference is the payer's to withdraw at once. Zero closes
    /// it. Anybody may send it. Emits EscrowLowered. Fails with Expired, NoEscrow, NotLower,
    /// WrongSignature.
    function lowerMax(
        address payer,
        OperatorId operatorId,
        bytes16 sessionKey,
        uint64 max,
        uint64 deadline,
        bytes calldata operatorSignature
    ) external;

    /// @notice Ask an escrow back. Only its payer (the caller), from the policy's age on; the terms
    /// are those in force when it was opened. Asking again changes nothing. Emits RefundAsked.
    /// Fails with NoEscrow, TooEarly.
    function askRefund(OperatorId operatorId, bytes16 sessionKey) external;

    /// @notice Pay an asked refund when its time has come: it is its payer's to withdraw. Anybody.
    /// Emits Refunded. Fails with NoEscrow, NotAsked, TooEarly.
    function refund(address payer, OperatorId operatorId, bytes16 sessionKey) external;

    // Gateway and host --------------------------------------------------------------------------

    /// @notice Put in what one prepays for fiat bills, in minor units of a listed asset, approved
    /// before. The caller is the gateway. Emits GatewayDeposited. Fails with ZeroAmount,
    /// AssetNotListed, NotReceived.
    function depositGateway(address asset, uint128 amount) external;
    /// @notice Take back what no pending batch has locked. The caller is the gateway. Emits
    /// GatewayWithdrawn. Fails with NotEnough.
    function withdrawGateway(address asset, uint128 amount) external;
    /// @notice Put C4E in (approved before) for the fee of one's own sessions in other assets. The
    /// caller is the host. Emits Prepaid. Fails with ZeroAmount.
    function prepay(uint128 amount) external;
    /// @notice Take prepaid C4E back, at any time. The caller is the host. Emits Unprepaid. Fails
    /// with NotEnough.
    function unprepay(uint128 amount) external;
    /// @notice Above this rate (C4E minor units for 10^6 of the asset) one's prepaid balance counts
    /// as empty; 0: no limit. The caller is the host. Emits MaxRateSet.
    function setMaxRate(uint128 maxRate) external;

    // Batches -----------------------------------------------------------------------------------

    /// @notice Propose a batch with a quorum's signatures and, where it has fiat leaves, the
    /// gateway's, all over its digest. Anybody. Locks fiatTotal; adds the wallet total to the
    /// signers' exposures. Emits Proposed. Fails with Expired, BatchKnown (a digest is proposed
    /// once for ever), AssetNotListed, BadBatch, BadLeaf, RateOutOfRange, OverBond, NotEnough (of
    /// the gateway's), WrongSignature (the gateway's), and as `checkQuorum`.
    function propose(
        Batch calldata batch,
        Attestation calldata attestation,
        bytes calldata gatewaySignature
    ) external returns (bytes32 digest);

    /// @notice Pay a batch whose window is over; a leaf that cannot be paid is skipped. Anybody.
    /// Emits Settled, FeesTaken and, from the shares, Notified. Returns the mask of what was paid.
    /// Fails with WrongState, WindowOpen, WithoutQuorum.
    function settle(Batch calldata batch) external returns (uint48 paid);

    /// @notice Kill a pending batch that slashed signers have left without quorum (challenge a).
    /// Anybody, also after the window. Emits Killed. Fails with WrongState, StillQuorum.
    function killWithoutQuorum(Batch calldata batch) external;

    /// @notice Kill the pending batch `batch` for its leaf `leaf`, which shares its session key
    /// with, or overlaps by more than 60 s on its EVSE, a leaf in `other`, a pending or settled
    /// batch (or the same one) of the same operator, that has a lower log index, or the same one
    /// under another number or in another asset (challenge b). Anybody, within the window. Takes 20
    /// % of the bond of each who signed both. Emits Killed and, from the registry, Slashed. Fails
    /// with WrongState, WindowOver, BadLeaf, NoFault.
    function challengeOverlap(
        Batch calldata batch,
        uint256 leaf,
        Batch calldata other,
        uint256 otherLeaf
    ) external;

    /// @notice Kill a pending batch for an impossible leaf (challenge c). Anybody, within the
    /// window. Takes 20 % of each signer's bond. Emits and fails as `challengeOverlap`.
    function challengeImpossible(Batch calldata batch, uint256 leaf) external;

    /// @notice Dispute what no contract can see of a leaf in a pending batch, with a bond (C4E,
    /// approved before): what the leaf asks for in C4E or the policy's least, whichever is more,
    /// doubled for each leaf of the batch that is aside already. Sets the leaf's amount aside and
    /// freezes its signers' bonds. Anybody, within the window. Emits Disputed. Fails with
    /// WrongState, WindowOver, BadLeaf, LeafAside, NotPayable.
    function dispute(Batch calldata batch, uint256 leaf, bytes32 reasonDigest)
        external
        returns (uint256 disputeId);

    /// @notice Decide a dispute of a settled batch. Only the Governor. A leaf that stands is paid,
    /// and the bond is its host's; of one that falls the amount goes back, the bond too, and each
    /// signer loses 20 %. Emits DisputeEnded. Fails with NotGovernor, NoDispute, WrongState.
    function rule(uint256 disputeId, Batch calldata batch, bool leafStands) external;

    /// @notice End a dispute that nobody ruled on in time: the leaf pays as attested, 5 % of the
    /// bond goes to its host, the rest back. Anybody. Emits DisputeEnded. Fails with NoDispute,
    /// WrongState, TooEarly.
    function endDispute(uint256 disputeId, Batch calldata batch) external;

    /// @notice Send what is the caller's to `to`. Emits Withdrawn; where nothing is owed it returns
    /// 0 in silence. Fails as the asset does, and the claim stays.
    function withdraw(address asset, address to) external returns (uint256 amount);
    /// @notice Send what is `account`'s to it. Anybody; so that money arrives without asking. As
    /// `withdraw`.
    function withdrawFor(address account, address asset) external returns (uint256 amount);

    // Reading -----------------------------------------------------------------------------------

    /// @notice What attesters and the gateway sign.
    function batchDigest(Batch calldata batch) external view returns (bytes32);
    /// @notice keccak256(abi.encode(payer, operatorId, sessionKey)).
    function escrowIdOf(address payer, OperatorId operatorId, bytes16 sessionKey)
        external
        pure
        returns (bytes32);
    /// @notice An escrow; once closed its asset and maximum are zero, and its times stay.
    function escrowOf(bytes32 escrowId) external view returns (Escrow memory);
    /// @notice What became of a batch; all zero for an unknown digest.
    function batchOf(bytes32 digest) external view returns (BatchState memory);
    /// @notice Whether a number of a lane was paid or is disputed.
    function isSettled(OperatorId operatorId, address asset, uint48 cdrNo)
        external
        view
        returns (bool);
    /// @notice 256 such bits, of the numbers from 256 x word.
    function settledWord(OperatorId operatorId, address asset, uint256 word)
        external
        view
        returns (uint256);
    /// @notice A gateway's balance in an asset, minor units: free, and locked by pending batches.
    function gatewayOf(address gateway, address asset)
        external
        view
        returns (uint128 free, uint128 locked);
    /// @notice A host's prepaid C4E, minor units, and his highest rate.
    function prepaidOf(address host) external view returns (uint128 amount, uint128 maxRate);
    /// @notice What an account can withdraw of an asset, minor units.
    function withdrawable(address account, address asset) external view returns (uint256);
    /// @notice C4E minor units of pending wallet totals that attester `index` stands for.
    function exposureOf(uint8 index) external view returns (uint256);
    /// @notice A dispute, open or ended; its id is keccak256(abi.encode(digest, uint256 leaf)).
    function disputeOf(uint256 disputeId) external view returns (Dispute memory);
    /// @notice The lane's last rate and the bounds of what `propose` takes now.
    function rateBounds(OperatorId operatorId, address asset)
        external
        view
        returns (uint128 last, uint128 least, uint128 most);
}
