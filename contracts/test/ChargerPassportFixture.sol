// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {Attestation, OperatorId} from "../src/Types.sol";
import {IChargerPassport} from "../src/interfaces/IChargerPassport.sol";
import {Deployment} from "./Deployment.sol";
import {vm} from "./Vm.sol";

/// @title Requests with their signatures, against the contracts of production.
abstract contract ChargerPassportFixture is Deployment {
    uint256 internal constant HOST_KEY = uint256(keccak256("host"));
    uint256 internal constant NEW_HOST_KEY = uint256(keccak256("new host"));
    bytes32 internal constant METER_KEY = keccak256("meter key");
    bytes32 internal constant RECORD = keccak256("custody record");
    uint64 internal constant LOG_INDEX = 456;
    uint40 internal constant CONTEST_PERIOD = 3 days;
    uint40 internal constant RULING_TIMEOUT = 21 days;
    uint64 internal constant BOND_OF_CONTEST = 20e6;
    address internal constant GOVERNOR = address(0x60F);
    address internal constant STRANGER = address(0x57A);
    address internal constant CHALLENGER = address(0xC4A);

    address internal immutable HOST = vm.addr(HOST_KEY);
    address internal immutable NEW_HOST = vm.addr(NEW_HOST_KEY);

    function setUp() public virtual {
        deploy();
    }

    function request() internal view returns (IChargerPassport.RegistrationRequest memory asked) {
        asked.manufacturer = "ALFEN";
        asked.serial = "ACE-0001";
        asked.operatorId = OPERATOR;
        asked.host = HOST;
        asked.metadataDigest = keccak256("metadata");
        asked.meterKeyHash = METER_KEY;
        asked.stationKeyHash = keccak256("station key");
        asked.commissionBps = 3000;
        asked.latE7 = 523_702_000;
        asked.lonE7 = -45_000_000;
        asked.protocols = 3;
        asked.ratedW = 44_000;
        asked.evseCount = 2;
        asked.topic = address(0x1001);
        asked.sequenceNumber = 7;
        asked.logIndex = 123;
        asked.nonce = keccak256("nonce");
    }

    /// @dev Another station of the same host.
    function request(string memory serial)
        internal
        view
        returns (IChargerPassport.RegistrationRequest memory asked)
    {
        asked = request();
        asked.serial = serial;
        asked.meterKeyHash = keccak256(bytes(serial));
    }

    /// @dev The quorum's and the host's signatures over a request.
    function signed(IChargerPassport.RegistrationRequest memory asked)
        internal
        view
        returns (Attestation memory attestation, bytes memory consent)
    {
        attestation = attest(passport.registrationDigest(asked));
        consent = sign(HOST_KEY, passport.consentDigest(asked));
    }

    function register(IChargerPassport.RegistrationRequest memory asked)
        internal
        returns (bytes32)
    {
        (Attestation memory attestation, bytes memory consent) = signed(asked);
        return passport.register(asked, attestation, consent);
    }

    /// @dev As `register`, which must fail with `reason`.
    function expectRefused(IChargerPassport.RegistrationRequest memory asked, bytes memory reason)
        internal
    {
        (Attestation memory attestation, bytes memory consent) = signed(asked);
        vm.expectRevert(reason);
        passport.register(asked, attestation, consent);
    }

    function mint(IChargerPassport.RegistrationRequest memory asked)
        internal
        returns (bytes32 tokenId)
    {
        tokenId = register(asked);
        skip(CONTEST_PERIOD);
        passport.confirm(tokenId);
    }

    function contest(bytes32 tokenId) internal {
        c4e.transfer(CHALLENGER, BOND_OF_CONTEST);
        vm.startPrank(CHALLENGER);
        c4e.approve(address(passport), BOND_OF_CONTEST);
        passport.contest(tokenId, keccak256("it stands elsewhere"));
        vm.stopPrank();
    }

    function appointGovernor() internal {
        vm.prank(address(timelock));
        policy.setGovernor(GOVERNOR);
    }

    /// @dev Signed by the host with `key` and the quorum.
    function record(bytes32 tokenId, IChargerPassport.CustodyKind kind, bytes32 value, uint256 key)
        internal
    {
        bytes32 digest = passport.custodyDigest(tokenId, kind, RECORD, LOG_INDEX, value);
        passport.record(tokenId, kind, RECORD, LOG_INDEX, value, attest(digest), sign(key, digest));
    }

    function expectRecordRefused(
        bytes32 tokenId,
        IChargerPassport.CustodyKind kind,
        bytes32 value,
        bytes memory reason
    ) internal {
        bytes32 digest = passport.custodyDigest(tokenId, kind, RECORD, LOG_INDEX, value);
        Attestation memory attestation = attest(digest);
        bytes memory consent = sign(HOST_KEY, digest);
        vm.expectRevert(reason);
        passport.record(tokenId, kind, RECORD, LOG_INDEX, value, attestation, consent);
    }

    // Reasons ---------------------------------------------------------------------------------

    function outOfRange(bytes32 name) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IChargerPassport.FieldOutOfRange.selector, name);
    }

    function wrongStatus(bytes32 tokenId, IChargerPassport.Status status)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodeWithSelector(IChargerPassport.WrongStatus.selector, tokenId, status);
    }

    function wrongHost(address host) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IChargerPassport.WrongHostSignature.selector, host);
    }

    function meterKeyInUse(bytes32 key, bytes32 tokenId) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(IChargerPassport.MeterKeyInUse.selector, key, tokenId);
    }

    function notMinted(bytes32 tokenId) internal pure returns (bytes memory) {
        return
            abi.encodeWithSelector(IERC721Errors.ERC721NonexistentToken.selector, uint256(tokenId));
    }

    function operatorOf(string memory text) internal pure returns (OperatorId) {
        return OperatorId.wrap(bytes8(bytes(text)));
    }
}
