// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestation, OperatorId} from "../Types.sol";

/// @title ChargerPassport: the digital passport of a charging station.
/// @notice ERC-721; tokenId = keccak256(abi.encode(manufacturer, serial)), both trimmed and in
/// upper case. ERC-5805 votes with a weight a passport. Nobody can change it.
///
/// Digests, all EIP-712 in this contract's domain (name `ChargEra Passport`, version `1`):
/// - consent, signed by the host: `HostConsent(bytes32 tokenId,bytes8 operatorId,address host,
///   bytes32 metadataDigest,bytes32 meterKeyHash,bytes32 stationKeyHash,uint16 commissionBps,
///   bytes32 nonce)`
/// - registrationHash: `Onboarding(bytes32 tokenId,bytes8 operatorId,address host,
///   bytes32 metadataDigest,bytes32 meterKeyHash,bytes32 stationKeyHash,uint16 commissionBps,
///   address topic,uint64 sequenceNumber,uint64 logIndex,bytes32 consentDigest)`
/// - signed by attesters: `Registration(bytes32 registrationHash,int32 latE7,int32 lonE7,
///   uint32 protocols,uint32 ratedW,uint16 evseCount)`
/// - signed by attesters and host: `Custody(bytes32 tokenId,uint256 number,uint8 kind,
///   bytes32 recordDigest,uint64 logIndex,bytes32 value)`
interface IChargerPassport {
    enum Status {
        None,
        Pending, // registered; the contest period runs, or a contest is open
        Minted,
        Retired
    }

    /// @dev `value` of a custody record by kind: Owner: the new host's address; Operator: the new
    /// operator id (left-aligned); Meter: the new meterKeyHash; Location: latE7 and lonE7 as two
    /// int32 in the lowest 8 bytes; Firmware, Repair: zero. Retirement only by `retire`.
    enum CustodyKind {
        Owner,
        Operator,
        Meter,
        Firmware,
        Location,
        Repair,
        Retirement
    }

    /// @param manufacturer 1 to 64 printable ASCII characters (0x20 to 0x7e) without a space at
    /// either end and without lower-case letters; `serial` likewise.
    /// @param protocols Bit 0: OCPP 1.6, bit 1: 2.0.1, bit 2: 2.1, bit 8: OCPI 2.2.1.
    /// @param ratedW Sum of what its EVSEs can give, W.
    /// @param meterKeyHash SHA-256 of the meter key's SubjectPublicKeyInfo; zero: none.
    /// @param stationKeyHash SHA-256 of the station key's; zero: none.
    /// @param topic, sequenceNumber, logIndex Where the onboarding entry is anchored and stands.
    /// @param nonce Of the onboarding.
    struct RegistrationRequest {
        string manufacturer;
        string serial;
        OperatorId operatorId;
        address host;
        bytes32 metadataDigest;
        bytes32 meterKeyHash;
        bytes32 stationKeyHash;
        uint16 commissionBps;
        int32 latE7;
        int32 lonE7;
        uint32 protocols;
        uint32 ratedW;
        uint16 evseCount;
        address topic;
        uint64 sequenceNumber;
        uint64 logIndex;
        bytes32 nonce;
    }

    struct Facts {
        Status status;
        OperatorId operatorId;
        address host;
        int32 latE7;
        int32 lonE7;
        uint32 protocols;
        uint32 ratedW;
        uint16 evseCount;
        uint16 commissionBps;
        uint40 requestedAt;
        uint40 registeredAt;
        uint40 retiredAt;
        bytes32 metadataDigest;
        bytes32 meterKeyHash;
        bytes32 stationKeyHash;
        bytes32 registrationHash;
    }

    struct CustodyRecord {
        CustodyKind kind;
        uint40 recordedAt;
        uint64 logIndex;
        bytes32 recordDigest;
        bytes32 value;
    }

    /// @notice A registration waits for its contest period.
    event RegistrationPending(
        bytes32 indexed tokenId, OperatorId indexed operatorId, address indexed host, bytes32 registrationHash, uint40 mintableAt
    );
    event Contested(bytes32 indexed tokenId, address indexed challenger, bytes32 reasonDigest, uint256 bond);
    /// @notice A contest ended; `stands`: the registration goes on.
    event ContestEnded(bytes32 indexed tokenId, bool stands);
    event Registered(bytes32 indexed tokenId, address indexed host, bytes32 registrationHash);
    event CustodyRecorded(
        bytes32 indexed tokenId, uint256 indexed number, CustodyKind kind, bytes32 recordDigest, uint64 logIndex, bytes32 value
    );
    event CommissionLowered(bytes32 indexed tokenId, uint16 commissionBps);
    event VoteWeightSet(bytes32 indexed tokenId, uint256 weight);

    /// @dev This serial number of this manufacturer has a passport or is registering.
    error SerialInUse(bytes32 tokenId);
    /// @dev Another passport holds this meter key.
    error MeterKeyInUse(bytes32 meterKeyHash, bytes32 tokenId);
    /// @dev Not trimmed, not upper case, empty or too long.
    error TextNotNormalised(string text);
    error CommissionTooHigh(uint16 commissionBps, uint16 most);
    error WrongHostSignature(address host);
    error WrongStatus(bytes32 tokenId, Status status);
    error TooEarly(uint40 from);
    /// @dev Contests end with the contest period, rulings with the time for them.
    error TooLate(uint40 until);
    /// @dev This onboarding was registered before; a new one has another nonce and log index.
    error RegistrationUsed(bytes32 registrationHash);
    error AlreadyContested(bytes32 tokenId);
    error NotContested(bytes32 tokenId);
    error NotHost(address caller);
    error NotGovernor(address caller);
    error NotEmissionController(address caller);
    error FieldOutOfRange(bytes32 name);

    /// @notice Begin a registration. Anybody, with a quorum of attesters over the Registration
    /// digest and the host's signature (ECDSA or ERC-1271) over the consent.
    /// Emits RegistrationPending. Fails with SerialInUse, MeterKeyInUse, TextNotNormalised,
    /// CommissionTooHigh (8000), WrongHostSignature, RegistrationUsed, FieldOutOfRange, and as
    /// `checkQuorum`.
    function register(
        RegistrationRequest calldata request,
        Attestation calldata attestation,
        bytes calldata hostSignature
    ) external returns (bytes32 tokenId);

    /// @notice Contest a pending registration, once, with the policy's bond (C4E, approved before).
    /// Period, bond and time for a ruling are those of the policy version in force at the request.
    /// Emits Contested. Fails with WrongStatus, AlreadyContested, TooLate.
    function contest(bytes32 tokenId, bytes32 reasonDigest) external;

    /// @notice Decide a contest. Only the Governor. If it does not stand it is as if never
    /// registered and the challenger gets his bond back; else the host gets the bond.
    /// Emits ContestEnded. Fails with NotGovernor, NotContested, TooLate.
    function rule(bytes32 tokenId, bool stands) external;

    /// @notice Mint to the host once the contest period is over and no contest is open. A contest
    /// that nobody ruled on in time has failed: 5 % of its bond to the host, the rest back.
    /// Anybody. Emits Registered and ERC-721 Transfer. Fails with WrongStatus, TooEarly.
    function confirm(bytes32 tokenId) external;

    /// @notice Append a custody record with a quorum's and the host's signatures; changes the
    /// fact that its kind names. Anybody. Emits CustodyRecorded. Fails with WrongHostSignature, WrongStatus,
    /// MeterKeyInUse, FieldOutOfRange (kind Retirement, a value that the kind does not have).
    function record(
        bytes32 tokenId,
        CustodyKind kind,
        bytes32 recordDigest,
        uint64 logIndex,
        bytes32 value,
        Attestation calldata attestation,
        bytes calldata hostSignature
    ) external;

    /// @notice Retire for ever; sessions that end later earn nothing, votes are zero. Only the host.
    /// Emits CustodyRecorded, VoteWeightSet. Fails with WrongStatus, NotHost.
    function retire(bytes32 tokenId, bytes32 recordDigest, uint64 logIndex) external;

    /// @notice Lower the host's part for ever, basis points. Only the host. Emits
    /// CommissionLowered. Fails with WrongStatus, NotHost, CommissionTooHigh.
    function lowerCommission(bytes32 tokenId, uint16 commissionBps) external;

    /// @notice Set what a passport's votes weigh. Only the EmissionController. Emits VoteWeightSet.
    /// Fails with NotEmissionController, WrongStatus.
    function setVoteWeight(bytes32 tokenId, uint256 weight) external;

    function factsOf(bytes32 tokenId) external view returns (Facts memory);
    /// @notice What `settle` needs: one slot. All zero before the mint.
    function settlementFacts(bytes32 tokenId)
        external
        view
        returns (address host, uint16 commissionBps, uint40 registeredAt, uint40 retiredAt);
    /// @notice When a pending one can be confirmed; who contested it, the bond (C4E minor units) and
    /// when the contest fails by itself (0: none is open). All zero once it is minted.
    function waitingOf(bytes32 tokenId)
        external
        view
        returns (uint40 mintableAt, address challenger, uint64 bond, uint40 rulingEndsAt);
    /// @notice The operator in force at a time; zero before the registration.
    function operatorAt(bytes32 tokenId, uint40 time) external view returns (OperatorId);
    /// @notice The host in force at a time; zero before the registration.
    function hostAt(bytes32 tokenId, uint40 time) external view returns (address);
    function custodyOf(bytes32 tokenId) external view returns (CustodyRecord[] memory);
    /// @notice The passport that holds a meter key, pending ones too; zero: none.
    function meterKeyHolder(bytes32 meterKeyHash) external view returns (bytes32 tokenId);
    function voteWeight(bytes32 tokenId) external view returns (uint256);

    /// @notice The passport id of a serial number. Fails with TextNotNormalised.
    function tokenIdOf(string calldata manufacturer, string calldata serial)
        external
        pure
        returns (bytes32);

    function consentDigest(RegistrationRequest calldata request) external view returns (bytes32);
    function registrationHash(RegistrationRequest calldata request) external view returns (bytes32);
    function registrationDigest(RegistrationRequest calldata request) external view returns (bytes32);
    /// @notice Digest of the passport's next custody record: `number` is how many it has.
    function custodyDigest(bytes32 tokenId, CustodyKind kind, bytes32 recordDigest, uint64 logIndex, bytes32 value)
        external
        view
        returns (bytes32);
}
