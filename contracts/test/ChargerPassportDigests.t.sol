// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Base64} from "@openzeppelin/contracts/utils/Base64.sol";

import {Attestation} from "../src/Types.sol";
import {IAttesterRegistry} from "../src/interfaces/IAttesterRegistry.sol";
import {IChargerPassport} from "../src/interfaces/IChargerPassport.sol";
import {ChargerPassport, create} from "./Contracts.sol";
import {ChargerPassportFixture} from "./ChargerPassportFixture.sol";
import {vm} from "./Vm.sol";

/// @dev Consents to everything, so that a vector's host need not have a key here.
contract ConsentingHost {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return 0x1626ba7e;
    }
}

/// @title What is signed: texts, digests, the vectors that other implementations share.
contract ChargerPassportDigestsTest is ChargerPassportFixture {
    string private constant VECTORS = "../tests/vectors/settlement/passports.json";

    // Texts -----------------------------------------------------------------------------------

    function test_tokenId_takesWhatIsNormal() public view {
        bytes32 id = passport.tokenIdOf("ALFEN", "NG 910-60023 /2");
        assertEq(id, keccak256(abi.encode("ALFEN", "NG 910-60023 /2")));
        passport.tokenIdOf("!", "~");
        passport.tokenIdOf(repeat("A", 64), "@[`{");
    }

    /// @dev The two texts are apart: what ends one cannot begin the other.
    function test_tokenId_keepsTheTextsApart() public view {
        assertTrue(passport.tokenIdOf("AB", "C") != passport.tokenIdOf("A", "BC"));
    }

    function test_tokenId_refusesWhatIsNot() public {
        string[9] memory wrong = [
            "",
            " ",
            " A",
            "A ",
            "aB",
            "Bz",
            "A\tB",
            unicode"Ä",
            string(abi.encodePacked("A", bytes1(0x7f)))
        ];
        for (uint256 i = 0; i < wrong.length; ++i) {
            expectNotNormal(wrong[i]);
        }
        expectNotNormal(repeat("A", 65));
    }

    /// @dev The rule, told another way: trimmed, in upper case and printable is what stays the
    /// same when it is trimmed and put in upper case and all unprintable is taken out.
    function testFuzz_tokenId_takesOnlyFixedPoints(bytes32 seed, uint256 length) public {
        length = bound(length, 0, 32);
        bytes memory raw = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            // Mostly from the neighbourhood of what is allowed.
            raw[i] = bytes1(uint8(seed[i]) % 0x68 + 0x1d);
        }
        if (keccak256(normalise(raw)) == keccak256(raw) && length != 0) {
            assertEq(passport.tokenIdOf(string(raw), "S"), keccak256(abi.encode(string(raw), "S")));
        } else {
            expectNotNormal(string(raw));
        }
    }

    function test_register_refusesTextsToo() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        (Attestation memory attestation, bytes memory consent) = signed(asked);
        asked.serial = "ace-0001";
        vm.expectRevert(
            abi.encodeWithSelector(IChargerPassport.TextNotNormalised.selector, "ace-0001")
        );
        passport.register(asked, attestation, consent);
    }

    // Replay ----------------------------------------------------------------------------------

    /// @dev Audit class 9: signatures of another chain, contract or passport are worth nothing.
    function test_signatures_areOfOneChain() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        (Attestation memory attestation, bytes memory consent) = signed(asked);
        vm.chainId(block.chainid + 1);
        vm.expectRevert(wrongHost(HOST));
        passport.register(asked, attestation, consent);
        consent = sign(HOST_KEY, passport.consentDigest(asked));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 0));
        passport.register(asked, attestation, consent);
    }

    function test_signatures_areOfOneContract() public {
        ChargerPassport other = ChargerPassport(
            create(
                "ChargerPassport",
                abi.encode(address(policy), address(registry), address(c4e), address(emission))
            )
        );
        IChargerPassport.RegistrationRequest memory asked = request();
        (Attestation memory attestation, bytes memory consent) = signed(asked);
        vm.expectRevert(wrongHost(HOST));
        other.register(asked, attestation, consent);
        consent = sign(HOST_KEY, other.consentDigest(asked));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 0));
        other.register(asked, attestation, consent);
    }

    function test_signatures_areOfOnePassport() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        (Attestation memory attestation, bytes memory consent) = signed(asked);
        asked.serial = "ACE-0002";
        vm.expectRevert(wrongHost(HOST));
        passport.register(asked, attestation, consent);
        consent = sign(HOST_KEY, passport.consentDigest(asked));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 0));
        passport.register(asked, attestation, consent);
    }

    /// @dev The same for custody: of another passport, of another kind, value or record.
    function test_custodySignatures_areOfOneRecord() public {
        bytes32 tokenId = mint(request());
        bytes32 other = mint(request("OTHER"));
        IChargerPassport.CustodyKind kind = IChargerPassport.CustodyKind.Repair;
        bytes32 digest = passport.custodyDigest(tokenId, kind, RECORD, LOG_INDEX, 0);
        Attestation memory attestation = attest(digest);
        bytes memory consent = sign(HOST_KEY, digest);
        bytes memory reason = wrongHost(HOST);
        vm.expectRevert(reason);
        passport.record(other, kind, RECORD, LOG_INDEX, 0, attestation, consent);
        vm.expectRevert(reason);
        passport.record(
            tokenId,
            IChargerPassport.CustodyKind.Firmware,
            RECORD,
            LOG_INDEX,
            0,
            attestation,
            consent
        );
        vm.expectRevert(reason);
        passport.record(tokenId, kind, "other", LOG_INDEX, 0, attestation, consent);
        vm.expectRevert(reason);
        passport.record(tokenId, kind, RECORD, LOG_INDEX + 1, 0, attestation, consent);
        vm.expectRevert(reason);
        passport.record(tokenId, kind, RECORD, LOG_INDEX, "1", attestation, consent);
        passport.record(tokenId, kind, RECORD, LOG_INDEX, 0, attestation, consent);
    }

    /// @dev A signature's mirror image (high s) is none.
    function test_consent_hasNoSecondForm() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        (Attestation memory attestation,) = signed(asked);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(HOST_KEY, passport.consentDigest(asked));
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        bytes memory mirrored = abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? 28 : 27);
        vm.expectRevert(wrongHost(HOST));
        passport.register(asked, attestation, mirrored);
    }

    function test_domain_isAsDocumented() public view {
        (, string memory name, string memory version, uint256 chainId, address verifying,,) =
            passport.eip712Domain();
        assertEq(name, "ChargEra Passport");
        assertEq(version, "1");
        assertEq(chainId, block.chainid);
        assertEq(verifying, address(passport));
    }

    function test_tokenURI_needsNoServer() public {
        bytes32 tokenId = mint(request());
        IChargerPassport.Facts memory facts = passport.factsOf(tokenId);
        string memory json = string.concat(
            '{"name":"ChargEra Passport ',
            vm.toString(tokenId),
            '","metadata_digest":"',
            vm.toString(facts.metadataDigest),
            '","registration_hash":"',
            vm.toString(facts.registrationHash),
            '"}'
        );
        assertEq(
            passport.tokenURI(uint256(tokenId)),
            string.concat("data:application/json;base64,", Base64.encode(bytes(json)))
        );
    }

    // Vectors ---------------------------------------------------------------------------------

    function test_vectors_requests() public {
        string memory vectors = vm.readFile(VECTORS);
        uint256 i = 0;
        for (string memory at_ = row("requests", 0); vm.keyExistsJson(vectors, at_); ++i) {
            place(vectors, at_);
            IChargerPassport.RegistrationRequest memory asked = parse(vectors, at_);
            assertEq(
                passport.tokenIdOf(asked.manufacturer, asked.serial),
                vm.parseJsonBytes32(vectors, string.concat(at_, ".token_id")),
                "token id"
            );
            assertEq(
                passport.consentDigest(asked),
                vm.parseJsonBytes32(vectors, string.concat(at_, ".consent_digest")),
                "consent digest"
            );
            assertEq(
                passport.registrationHash(asked),
                vm.parseJsonBytes32(vectors, string.concat(at_, ".registration_hash")),
                "registration hash"
            );
            assertEq(
                passport.registrationDigest(asked),
                vm.parseJsonBytes32(vectors, string.concat(at_, ".registration_digest")),
                "registration digest"
            );
            at_ = row("requests", i + 1);
        }
        assertGt(i, 2, "vectors");
    }

    /// @dev The records of the vectors are those of the first request's passport, in order: each
    /// is recorded, so that the next one's number is right.
    function test_vectors_custody() public {
        string memory vectors = vm.readFile(VECTORS);
        place(vectors, row("requests", 0));
        IChargerPassport.RegistrationRequest memory asked = parse(vectors, row("requests", 0));
        vm.etch(asked.host, address(new ConsentingHost()).code);
        bytes32 tokenId = passport.register(asked, attest(passport.registrationDigest(asked)), "");
        skip(CONTEST_PERIOD);
        passport.confirm(tokenId);
        uint256 i = 0;
        for (string memory at_ = row("custody", 0); vm.keyExistsJson(vectors, at_); ++i) {
            assertEq(tokenId, vm.parseJsonBytes32(vectors, string.concat(at_, ".token_id")));
            IChargerPassport.CustodyKind kind = IChargerPassport.CustodyKind(
                uint8(number(vectors, string.concat(at_, ".kind_number")))
            );
            bytes32 recordDigest =
                vm.parseJsonBytes32(vectors, string.concat(at_, ".record_digest"));
            bytes32 value = vm.parseJsonBytes32(vectors, string.concat(at_, ".value"));
            uint64 logIndex = uint64(number(vectors, string.concat(at_, ".log_index")));
            bytes32 digest = vm.parseJsonBytes32(vectors, string.concat(at_, ".digest"));
            assertEq(passport.custodyDigest(tokenId, kind, recordDigest, logIndex, value), digest);
            passport.record(tokenId, kind, recordDigest, logIndex, value, attest(digest), "");
            at_ = row("custody", i + 1);
        }
        assertEq(i, 6, "a record of each kind");
    }

    /// @dev The passport contract on the chain and at the address of a vector.
    function place(string memory vectors, string memory at_) private {
        vm.chainId(number(vectors, string.concat(at_, ".chain_id")));
        address where = vm.parseJsonAddress(vectors, string.concat(at_, ".passport"));
        vm.etch(where, address(passport).code);
        passport = ChargerPassport(where);
    }

    function parse(string memory vectors, string memory at_)
        private
        pure
        returns (IChargerPassport.RegistrationRequest memory asked)
    {
        at_ = string.concat(at_, ".request");
        asked.manufacturer = vm.parseJsonString(vectors, string.concat(at_, ".manufacturer"));
        asked.serial = vm.parseJsonString(vectors, string.concat(at_, ".serial"));
        asked.operatorId =
            operatorOf(vm.parseJsonString(vectors, string.concat(at_, ".operator_id")));
        asked.host = vm.parseJsonAddress(vectors, string.concat(at_, ".host"));
        asked.metadataDigest = vm.parseJsonBytes32(vectors, string.concat(at_, ".metadata_digest"));
        asked.meterKeyHash = vm.parseJsonBytes32(vectors, string.concat(at_, ".meter_key_hash"));
        asked.stationKeyHash = vm.parseJsonBytes32(vectors, string.concat(at_, ".station_key_hash"));
        asked.commissionBps = uint16(number(vectors, string.concat(at_, ".commission_bps")));
        asked.latE7 = int32(vm.parseJsonInt(vectors, string.concat(at_, ".lat_e7")));
        asked.lonE7 = int32(vm.parseJsonInt(vectors, string.concat(at_, ".lon_e7")));
        asked.protocols = uint32(number(vectors, string.concat(at_, ".protocols")));
        asked.ratedW = uint32(number(vectors, string.concat(at_, ".rated_w")));
        asked.evseCount = uint16(number(vectors, string.concat(at_, ".evse_count")));
        asked.topic = vm.parseJsonAddress(vectors, string.concat(at_, ".topic"));
        asked.sequenceNumber = uint64(number(vectors, string.concat(at_, ".sequence_number")));
        asked.logIndex = uint64(number(vectors, string.concat(at_, ".log_index")));
        asked.nonce = vm.parseJsonBytes32(vectors, string.concat(at_, ".nonce"));
    }

    function row(string memory list, uint256 i) private pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "]");
    }

    function number(string memory json, string memory key) private pure returns (uint256) {
        return vm.parseJsonUint(json, key);
    }

    function expectNotNormal(string memory text) private {
        bytes memory reason =
            abi.encodeWithSelector(IChargerPassport.TextNotNormalised.selector, text);
        vm.expectRevert(reason);
        passport.tokenIdOf(text, "S");
        vm.expectRevert(reason);
        passport.tokenIdOf("M", text);
    }

    function normalise(bytes memory raw) private pure returns (bytes memory text) {
        uint256 from = 0;
        uint256 to = raw.length;
        while (from < to && raw[from] == " ") ++from;
        while (to > from && raw[to - 1] == " ") --to;
        for (uint256 i = from; i < to; ++i) {
            uint8 code = uint8(raw[i]);
            if (code < 0x20 || code >= 0x7f) continue;
            if (code >= 0x61 && code <= 0x7a) code -= 0x20;
            text = bytes.concat(text, bytes1(code));
        }
    }

    function repeat(bytes1 letter, uint256 count) private pure returns (string memory) {
        bytes memory raw = new bytes(count);
        for (uint256 i = 0; i < count; ++i) {
            raw[i] = letter;
        }
        return string(raw);
    }
}
