// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Votes} from "@openzeppelin/contracts/governance/utils/Votes.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {Base64} from "@openzeppelin/contracts/utils/Base64.sol";
import {ERC6372Utils} from "@openzeppelin/contracts/utils/ERC6372Utils.sol";
import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Time} from "@openzeppelin/contracts/utils/types/Time.sol";

import {Attestation, OperatorId, PolicyParameters} from "./Types.sol";
import {IAttesterRegistry} from "./interfaces/IAttesterRegistry.sol";
import {IChargerPassport} from "./interfaces/IChargerPassport.sol";
import {INetworkPolicy} from "./interfaces/INetworkPolicy.sol";

/// @title ChargerPassport: see IChargerPassport for what each function promises.
/// @dev The contract calls out to the registry and the policy (views), to hosts that are contracts
/// (ERC-1271, a static call) and to C4E, which has no hooks and refuses no receiver: bonds are
/// therefore paid at once, and nothing that anybody deploys can make a state change here fail.
/// The mint calls no receiver for the same reason.
contract ChargerPassport is ERC721, EIP712, Votes, IChargerPassport {
    using SafeERC20 for IERC20;
    using Checkpoints for Checkpoints.Trace208;

    /// @param host With the three beside it the one slot that a settlement reads.
    /// @param registeredAt Time of the mint; 0 before it.
    struct Passport {
        address host;
        uint16 commissionBps;
        uint40 registeredAt;
        uint40 retiredAt;
        // One slot.
        Status status;
        uint40 requestedAt;
        OperatorId operatorId;
        int32 latE7;
        int32 lonE7;
        uint32 protocols;
        uint32 ratedW;
        uint16 evseCount;
        // A slot each.
        bytes32 metadataDigest;
        bytes32 meterKeyHash;
        bytes32 stationKeyHash;
        bytes32 registrationHash;
    }

    /// @notice What a registration waits for.
    /// @param policyVersion In force at the request: its periods and its bond hold throughout.
    /// @param rulingEndsAt When an open contest fails by itself; 0: none is open.
    /// @param challenger Who contested; zero: nobody has.
    struct Waiting {
        uint40 mintableAt;
        uint32 policyVersion;
        uint40 rulingEndsAt;
        uint64 bond;
        address challenger;
    }

    /// @notice Highest part that a host can take, basis points.
    uint16 public constant MAX_COMMISSION_BPS = 8000;

    /// @notice Part of a failed contest's bond that nobody ruled on which its host gets.
    uint256 public constant UNRULED_BOND_BPS = 500;

    uint256 private constant MAX_TEXT_LENGTH = 64;
    int32 private constant MAX_LAT_E7 = 90e7;
    int32 private constant MAX_LON_E7 = 180e7;

    bytes32 private constant CONSENT_TYPEHASH = keccak256(
        "HostConsent(bytes32 tokenId,bytes8 operatorId,address host,bytes32 metadataDigest,"
        "bytes32 meterKeyHash,bytes32 stationKeyHash,uint16 commissionBps,bytes32 nonce)"
    );
    bytes32 private constant ONBOARDING_TYPEHASH = keccak256(
        "Onboarding(bytes32 tokenId,bytes8 operatorId,address host,bytes32 metadataDigest,"
        "bytes32 meterKeyHash,bytes32 stationKeyHash,uint16 commissionBps,address topic,"
        "uint64 sequenceNumber,uint64 logIndex,bytes32 consentDigest)"
    );
    bytes32 private constant REGISTRATION_TYPEHASH = keccak256(
        "Registration(bytes32 registrationHash,int32 latE7,int32 lonE7,uint32 protocols,"
        "uint32 ratedW,uint16 evseCount)"
    );
    bytes32 private constant CUSTODY_TYPEHASH = keccak256(
        "Custody(bytes32 tokenId,uint256 number,uint8 kind,bytes32 recordDigest,uint64 logIndex,"
        "bytes32 value)"
    );

    INetworkPolicy public immutable POLICY;
    IAttesterRegistry public immutable REGISTRY;
    IERC20 public immutable C4E;
    address public immutable EMISSION_CONTROLLER;

    mapping(bytes32 tokenId => Passport) private _passports;
    mapping(bytes32 tokenId => Waiting) private _waiting;
    mapping(bytes32 tokenId => CustodyRecord[]) private _custody;
    mapping(bytes32 tokenId => Checkpoints.Trace208) private _hosts;
    mapping(bytes32 tokenId => Checkpoints.Trace208) private _operators;
    mapping(bytes32 meterKeyHash => bytes32 tokenId) private _meterKeyHolders;
    mapping(bytes32 registrationHash => bool) private _isUsed;
    mapping(bytes32 tokenId => uint256) private _weights;
    /// @dev Sum of the weights of the passports that an account owns.
    mapping(address owner => uint256) private _units;

    constructor(address policy, address registry, address c4e, address emissionController)
        ERC721("ChargEra Passport", "C4EP")
        EIP712("ChargEra Passport", "1")
    {
        POLICY = INetworkPolicy(policy);
        REGISTRY = IAttesterRegistry(registry);
        C4E = IERC20(c4e);
        EMISSION_CONTROLLER = emissionController;
    }

    // Registration ------------------------------------------------------------------------------

    /// @inheritdoc IChargerPassport
    function register(
        RegistrationRequest calldata request,
        Attestation calldata attestation,
        bytes calldata hostSignature
    ) external returns (bytes32 tokenId) {
        tokenId = tokenIdOf(request.manufacturer, request.serial);
        _checkFields(request);
        if (_passports[tokenId].status != Status.None) revert SerialInUse(tokenId);
        bytes32 hash = _checkSignatures(request, attestation, hostSignature);
        if (_isUsed[hash]) revert RegistrationUsed(hash);

        _isUsed[hash] = true;
        _takeMeterKey(request.meterKeyHash, tokenId);
        _store(tokenId, request, hash);
        uint40 mintableAt = _startContestPeriod(tokenId);
        emit RegistrationPending(tokenId, request.operatorId, request.host, hash, mintableAt);
    }

    /// @inheritdoc IChargerPassport
    function contest(bytes32 tokenId, bytes32 reasonDigest) external {
        _requireStatus(tokenId, Status.Pending);
        Waiting storage waiting = _waiting[tokenId];
        if (waiting.challenger != address(0)) revert AlreadyContested(tokenId);
        if (block.timestamp >= waiting.mintableAt) revert TooLate(waiting.mintableAt);
        (, PolicyParameters memory policy) = POLICY.parametersOf(waiting.policyVersion);

        waiting.challenger = msg.sender;
        waiting.bond = policy.disputeBond;
        waiting.rulingEndsAt = _now() + policy.rulingTimeout;
        emit Contested(tokenId, msg.sender, reasonDigest, policy.disputeBond);
        C4E.safeTransferFrom(msg.sender, address(this), policy.disputeBond);
    }

    /// @inheritdoc IChargerPassport
    function rule(bytes32 tokenId, bool stands) external {
        if (msg.sender != POLICY.governor()) revert NotGovernor(msg.sender);
        Waiting storage waiting = _waiting[tokenId];
        uint40 rulingEndsAt = waiting.rulingEndsAt;
        if (rulingEndsAt == 0) revert NotContested(tokenId);
        if (block.timestamp >= rulingEndsAt) revert TooLate(rulingEndsAt);

        uint256 bond = waiting.bond;
        address winner = stands ? _passports[tokenId].host : waiting.challenger;
        if (stands) waiting.rulingEndsAt = 0;
        else _forget(tokenId);
        emit ContestEnded(tokenId, stands);
        C4E.safeTransfer(winner, bond);
    }

    /// @inheritdoc IChargerPassport
    function confirm(bytes32 tokenId) external {
        _requireStatus(tokenId, Status.Pending);
        Waiting memory waiting = _waiting[tokenId];
        bool isContested = waiting.rulingEndsAt != 0;
        uint40 from = isContested ? waiting.rulingEndsAt : waiting.mintableAt;
        if (block.timestamp < from) revert TooEarly(from);

        Passport storage passport = _passports[tokenId];
        address host = passport.host;
        passport.status = Status.Minted;
        passport.registeredAt = _now();
        _hosts[tokenId].push(clock(), uint160(host));
        _operators[tokenId].push(clock(), uint64(OperatorId.unwrap(passport.operatorId)));
        delete _waiting[tokenId];
        if (isContested) emit ContestEnded(tokenId, true);
        emit Registered(tokenId, host, passport.registrationHash);
        _mint(host, uint256(tokenId));
        if (isContested) {
            uint256 part = waiting.bond * UNRULED_BOND_BPS / 10_000;
            C4E.safeTransfer(host, part);
            C4E.safeTransfer(waiting.challenger, waiting.bond - part);
        }
    }

    // Life --------------------------------------------------------------------------------------

    /// @inheritdoc IChargerPassport
    function record(
        bytes32 tokenId,
        CustodyKind kind,
        bytes32 recordDigest,
        uint64 logIndex,
        bytes32 value,
        Attestation calldata attestation,
        bytes calldata hostSignature
    ) external {
        _requireStatus(tokenId, Status.Minted);
        bytes32 digest = custodyDigest(tokenId, kind, recordDigest, logIndex, value);
        _checkHostSignature(_passports[tokenId].host, digest, hostSignature);
        REGISTRY.checkQuorum(digest, attestation);

        _change(tokenId, kind, value);
        _append(tokenId, kind, recordDigest, logIndex, value);
    }

    /// @inheritdoc IChargerPassport
    function retire(bytes32 tokenId, bytes32 recordDigest, uint64 logIndex) external {
        Passport storage passport = _requireHost(tokenId);
        passport.status = Status.Retired;
        passport.retiredAt = _now();
        _setWeight(tokenId, 0);
        _append(tokenId, CustodyKind.Retirement, recordDigest, logIndex, 0);
    }

    /// @inheritdoc IChargerPassport
    function lowerCommission(bytes32 tokenId, uint16 commissionBps) external {
        Passport storage passport = _requireHost(tokenId);
        uint16 most = passport.commissionBps;
        if (commissionBps > most) revert CommissionTooHigh(commissionBps, most);
        passport.commissionBps = commissionBps;
        emit CommissionLowered(tokenId, commissionBps);
    }

    /// @inheritdoc IChargerPassport
    function setVoteWeight(bytes32 tokenId, uint256 weight) external {
        if (msg.sender != EMISSION_CONTROLLER) revert NotEmissionController(msg.sender);
        _requireStatus(tokenId, Status.Minted);
        _setWeight(tokenId, weight);
    }

    // Reading -----------------------------------------------------------------------------------

    /// @inheritdoc IChargerPassport
    function factsOf(bytes32 tokenId) external view returns (Facts memory facts) {
        Passport storage passport = _passports[tokenId];
        facts.status = passport.status;
        facts.operatorId = passport.operatorId;
        facts.host = passport.host;
        facts.latE7 = passport.latE7;
        facts.lonE7 = passport.lonE7;
        facts.protocols = passport.protocols;
        facts.ratedW = passport.ratedW;
        facts.evseCount = passport.evseCount;
        facts.commissionBps = passport.commissionBps;
        facts.requestedAt = passport.requestedAt;
        facts.registeredAt = passport.registeredAt;
        facts.retiredAt = passport.retiredAt;
        facts.metadataDigest = passport.metadataDigest;
        facts.meterKeyHash = passport.meterKeyHash;
        facts.stationKeyHash = passport.stationKeyHash;
        facts.registrationHash = passport.registrationHash;
    }

    /// @inheritdoc IChargerPassport
    function settlementFacts(bytes32 tokenId)
        external
        view
        returns (address host, uint16 commissionBps, uint40 registeredAt, uint40 retiredAt)
    {
        Passport storage passport = _passports[tokenId];
        registeredAt = passport.registeredAt;
        if (registeredAt == 0) return (address(0), 0, 0, 0);
        return (passport.host, passport.commissionBps, registeredAt, passport.retiredAt);
    }

    /// @inheritdoc IChargerPassport
    function waitingOf(bytes32 tokenId)
        external
        view
        returns (uint40 mintableAt, address challenger, uint64 bond, uint40 rulingEndsAt)
    {
        Waiting storage waiting = _waiting[tokenId];
        return (waiting.mintableAt, waiting.challenger, waiting.bond, waiting.rulingEndsAt);
    }

    /// @inheritdoc IChargerPassport
    function operatorAt(bytes32 tokenId, uint40 time) external view returns (OperatorId) {
        return OperatorId.wrap(bytes8(uint64(_operators[tokenId].upperLookupRecent(time))));
    }

    /// @inheritdoc IChargerPassport
    function hostAt(bytes32 tokenId, uint40 time) external view returns (address) {
        return address(uint160(_hosts[tokenId].upperLookupRecent(time)));
    }

    /// @inheritdoc IChargerPassport
    function custodyOf(bytes32 tokenId) external view returns (CustodyRecord[] memory) {
        return _custody[tokenId];
    }

    /// @inheritdoc IChargerPassport
    function meterKeyHolder(bytes32 meterKeyHash) external view returns (bytes32 tokenId) {
        return _meterKeyHolders[meterKeyHash];
    }

    /// @inheritdoc IChargerPassport
    function voteWeight(bytes32 tokenId) external view returns (uint256) {
        return _weights[tokenId];
    }

    /// @notice A document that needs no server: which passport, and the digests that its public
    /// metadata and its onboarding must have.
    function tokenURI(uint256 id) public view override returns (string memory) {
        _requireOwned(id);
        Passport storage passport = _passports[bytes32(id)];
        string memory json = string.concat(
            '{"name":"ChargEra Passport ',
            _hex(bytes32(id)),
            '","metadata_digest":"',
            _hex(passport.metadataDigest),
            '","registration_hash":"',
            _hex(passport.registrationHash),
            '"}'
        );
        return string.concat("data:application/json;base64,", Base64.encode(bytes(json)));
    }

    // Digests -----------------------------------------------------------------------------------

    /// @inheritdoc IChargerPassport
    function tokenIdOf(string calldata manufacturer, string calldata serial)
        public
        pure
        returns (bytes32)
    {
        _checkText(manufacturer);
        _checkText(serial);
        return keccak256(abi.encode(manufacturer, serial));
    }

    /// @inheritdoc IChargerPassport
    function consentDigest(RegistrationRequest calldata request) external view returns (bytes32) {
        return _consentDigest(_agreedFields(request), request.nonce);
    }

    /// @inheritdoc IChargerPassport
    function registrationHash(RegistrationRequest calldata request)
        external
        view
        returns (bytes32)
    {
        bytes memory agreed = _agreedFields(request);
        return _registrationHash(agreed, request, _consentDigest(agreed, request.nonce));
    }

    /// @inheritdoc IChargerPassport
    function registrationDigest(RegistrationRequest calldata request)
        external
        view
        returns (bytes32)
    {
        bytes memory agreed = _agreedFields(request);
        bytes32 consent = _consentDigest(agreed, request.nonce);
        return _registrationDigest(_registrationHash(agreed, request, consent), request);
    }

    /// @inheritdoc IChargerPassport
    function custodyDigest(
        bytes32 tokenId,
        CustodyKind kind,
        bytes32 recordDigest,
        uint64 logIndex,
        bytes32 value
    ) public view returns (bytes32) {
        uint256 number = _custody[tokenId].length;
        return _hashTypedDataV4(
            keccak256(
                abi.encode(CUSTODY_TYPEHASH, tokenId, number, kind, recordDigest, logIndex, value)
            )
        );
    }

    // Votes -------------------------------------------------------------------------------------

    /// @notice Unix time in seconds (ERC-6372).
    function clock() public view override returns (uint48) {
        return Time.timestamp();
    }

    /// @notice See `clock`.
    function CLOCK_MODE() public view override returns (string memory) {
        return ERC6372Utils.timestampClockMode(clock);
    }

    /// @notice Who votes with an account's weight: itself, unless it has named another. So every
    /// weight is somebody's vote at any time.
    function delegates(address account) public view override returns (address) {
        address delegatee = super.delegates(account);
        return delegatee == address(0) ? account : delegatee;
    }

    /// @dev Naming nobody is naming oneself.
    function _delegate(address account, address delegatee) internal override {
        super._delegate(account, delegatee == address(0) ? account : delegatee);
    }

    function _getVotingUnits(address account) internal view override returns (uint256) {
        return _units[account];
    }

    /// @dev A weight moves with its passport. It is zero at the mint, and nothing burns.
    function _update(address to, uint256 id, address auth)
        internal
        override
        returns (address from)
    {
        from = super._update(to, id, auth);
        uint256 weight = _weights[bytes32(id)];
        if (weight == 0) return from;
        _units[from] -= weight;
        _units[to] += weight;
        _transferVotingUnits(from, to, weight);
    }

    function _setWeight(bytes32 tokenId, uint256 weight) private {
        address owner = ownerOf(uint256(tokenId));
        uint256 old = _weights[tokenId];
        _weights[tokenId] = weight;
        _units[owner] = _units[owner] - old + weight;
        if (weight > old) _transferVotingUnits(address(0), owner, weight - old);
        else _transferVotingUnits(owner, address(0), old - weight);
        emit VoteWeightSet(tokenId, weight);
    }

    // Parts of the above ------------------------------------------------------------------------

    /// @dev That the host consents and a quorum says that the onboarding stands in the log.
    function _checkSignatures(
        RegistrationRequest calldata request,
        Attestation calldata attestation,
        bytes calldata hostSignature
    ) private view returns (bytes32 hash) {
        bytes memory agreed = _agreedFields(request);
        bytes32 consent = _consentDigest(agreed, request.nonce);
        _checkHostSignature(request.host, consent, hostSignature);
        hash = _registrationHash(agreed, request, consent);
        REGISTRY.checkQuorum(_registrationDigest(hash, request), attestation);
    }

    function _store(bytes32 tokenId, RegistrationRequest calldata request, bytes32 hash) private {
        Passport storage passport = _passports[tokenId];
        passport.host = request.host;
        passport.commissionBps = request.commissionBps;
        passport.status = Status.Pending;
        passport.requestedAt = _now();
        passport.operatorId = request.operatorId;
        passport.latE7 = request.latE7;
        passport.lonE7 = request.lonE7;
        passport.protocols = request.protocols;
        passport.ratedW = request.ratedW;
        passport.evseCount = request.evseCount;
        passport.metadataDigest = request.metadataDigest;
        passport.meterKeyHash = request.meterKeyHash;
        passport.stationKeyHash = request.stationKeyHash;
        passport.registrationHash = hash;
    }

    function _startContestPeriod(bytes32 tokenId) private returns (uint40 mintableAt) {
        uint32 version = POLICY.versionAt(_now());
        (, PolicyParameters memory policy) = POLICY.parametersOf(version);
        mintableAt = _now() + policy.contestPeriod;
        Waiting storage waiting = _waiting[tokenId];
        waiting.mintableAt = mintableAt;
        waiting.policyVersion = version;
    }

    /// @dev As if never registered; only the registration hash stays used, so that the signatures
    /// of a registration that was ruled against cannot bring it back.
    function _forget(bytes32 tokenId) private {
        delete _meterKeyHolders[_passports[tokenId].meterKeyHash];
        delete _passports[tokenId];
        delete _waiting[tokenId];
    }

    /// @dev A meter key stays with its first passport for ever, also when the meter is exchanged.
    function _takeMeterKey(bytes32 meterKeyHash, bytes32 tokenId) private {
        if (meterKeyHash == 0) return;
        bytes32 holder = _meterKeyHolders[meterKeyHash];
        if (holder != 0 && holder != tokenId) revert MeterKeyInUse(meterKeyHash, holder);
        _meterKeyHolders[meterKeyHash] = tokenId;
    }

    /// @dev Makes the fact that `kind` names equal to `value`.
    function _change(bytes32 tokenId, CustodyKind kind, bytes32 value) private {
        Passport storage passport = _passports[tokenId];
        if (kind == CustodyKind.Owner) {
            address host = address(uint160(uint256(value)));
            _require(host != address(0) && uint256(value) == uint160(host), "value");
            passport.host = host;
            _hosts[tokenId].push(clock(), uint160(host));
        } else if (kind == CustodyKind.Operator) {
            bytes8 operatorId = bytes8(value);
            _require(operatorId != 0 && value == operatorId, "value");
            passport.operatorId = OperatorId.wrap(operatorId);
            _operators[tokenId].push(clock(), uint64(operatorId));
        } else if (kind == CustodyKind.Meter) {
            _takeMeterKey(value, tokenId);
            passport.meterKeyHash = value;
        } else if (kind == CustodyKind.Location) {
            _require(uint256(value) <= type(uint64).max, "value");
            int32 latE7 = int32(uint32(uint256(value) >> 32));
            int32 lonE7 = int32(uint32(uint256(value)));
            _checkLocation(latE7, lonE7);
            passport.latE7 = latE7;
            passport.lonE7 = lonE7;
        } else {
            _require(kind != CustodyKind.Retirement, "kind");
            _require(value == 0, "value");
        }
    }

    function _append(
        bytes32 tokenId,
        CustodyKind kind,
        bytes32 recordDigest,
        uint64 logIndex,
        bytes32 value
    ) private {
        CustodyRecord[] storage custody = _custody[tokenId];
        uint256 number = custody.length;
        custody.push(CustodyRecord(kind, _now(), logIndex, recordDigest, value));
        emit CustodyRecorded(tokenId, number, kind, recordDigest, logIndex, value);
    }

    /// @dev The members that HostConsent and Onboarding begin with, as EIP-712 encodes them.
    function _agreedFields(RegistrationRequest calldata request)
        private
        pure
        returns (bytes memory)
    {
        return abi.encode(
            tokenIdOf(request.manufacturer, request.serial),
            request.operatorId,
            request.host,
            request.metadataDigest,
            request.meterKeyHash,
            request.stationKeyHash,
            request.commissionBps
        );
    }

    function _consentDigest(bytes memory agreed, bytes32 nonce) private view returns (bytes32) {
        return _hashTypedDataV4(keccak256(bytes.concat(CONSENT_TYPEHASH, agreed, nonce)));
    }

    function _registrationHash(
        bytes memory agreed,
        RegistrationRequest calldata request,
        bytes32 consent
    ) private view returns (bytes32) {
        bytes memory place = abi.encode(
            request.topic, request.sequenceNumber, request.logIndex, consent
        );
        return _hashTypedDataV4(keccak256(bytes.concat(ONBOARDING_TYPEHASH, agreed, place)));
    }

    function _registrationDigest(bytes32 hash, RegistrationRequest calldata request)
        private
        view
        returns (bytes32)
    {
        bytes memory facts = abi.encode(
            REGISTRATION_TYPEHASH,
            hash,
            request.latE7,
            request.lonE7,
            request.protocols,
            request.ratedW,
            request.evseCount
        );
        return _hashTypedDataV4(keccak256(facts));
    }

    function _requireStatus(bytes32 tokenId, Status status) private view {
        Status actual = _passports[tokenId].status;
        if (actual != status) revert WrongStatus(tokenId, actual);
    }

    function _requireHost(bytes32 tokenId) private view returns (Passport storage passport) {
        _requireStatus(tokenId, Status.Minted);
        passport = _passports[tokenId];
        if (msg.sender != passport.host) revert NotHost(msg.sender);
    }

    function _checkHostSignature(address host, bytes32 digest, bytes calldata signature)
        private
        view
    {
        if (!SignatureChecker.isValidSignatureNowCalldata(host, digest, signature)) {
            revert WrongHostSignature(host);
        }
    }

    function _checkFields(RegistrationRequest calldata request) private pure {
        if (request.commissionBps > MAX_COMMISSION_BPS) {
            revert CommissionTooHigh(request.commissionBps, MAX_COMMISSION_BPS);
        }
        _require(OperatorId.unwrap(request.operatorId) != 0, "operatorId");
        _require(request.host != address(0), "host");
        _checkLocation(request.latE7, request.lonE7);
        _require(request.ratedW != 0, "ratedW");
        _require(request.evseCount != 0, "evseCount");
    }

    function _checkLocation(int32 latE7, int32 lonE7) private pure {
        _require(latE7 >= -MAX_LAT_E7 && latE7 <= MAX_LAT_E7, "latE7");
        _require(lonE7 >= -MAX_LON_E7 && lonE7 <= MAX_LON_E7, "lonE7");
    }

    /// @dev 1 to 64 printable ASCII characters, no space at either end, no lower-case letter: one
    /// way to write a serial number, so one passport for it.
    function _checkText(string calldata text) private pure {
        bytes calldata raw = bytes(text);
        uint256 length = raw.length;
        bool isNormal =
            length != 0 && length <= MAX_TEXT_LENGTH && raw[0] != " " && raw[length - 1] != " ";
        for (uint256 i = 0; isNormal && i < length; ++i) {
            isNormal = raw[i] >= " " && raw[i] <= "~" && (raw[i] < "a" || raw[i] > "z");
        }
        if (!isNormal) revert TextNotNormalised(text);
    }

    function _require(bool isInRange, bytes32 name) private pure {
        if (!isInRange) revert FieldOutOfRange(name);
    }

    function _now() private view returns (uint40) {
        return uint40(block.timestamp);
    }

    function _hex(bytes32 word) private pure returns (string memory) {
        return Strings.toHexString(uint256(word), 32);
    }
}
