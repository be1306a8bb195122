// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestation, OperatorId} from "../src/Types.sol";
import {IAttesterRegistry} from "../src/interfaces/IAttesterRegistry.sol";
import {IChargerPassport} from "../src/interfaces/IChargerPassport.sol";
import {ChargerPassportFixture} from "./ChargerPassportFixture.sol";
import {vm} from "./Vm.sol";

/// @title What happens to a minted passport: custody, commission, retirement, and its history.
contract ChargerPassportLifeTest is ChargerPassportFixture {
    IChargerPassport.CustodyKind private constant OWNER = IChargerPassport.CustodyKind.Owner;
    IChargerPassport.CustodyKind private constant OPERATOR_KIND =
    IChargerPassport.CustodyKind.Operator;
    IChargerPassport.CustodyKind private constant METER = IChargerPassport.CustodyKind.Meter;
    IChargerPassport.CustodyKind private constant FIRMWARE = IChargerPassport.CustodyKind.Firmware;
    IChargerPassport.CustodyKind private constant LOCATION = IChargerPassport.CustodyKind.Location;
    IChargerPassport.CustodyKind private constant REPAIR = IChargerPassport.CustodyKind.Repair;
    IChargerPassport.CustodyKind private constant RETIREMENT =
    IChargerPassport.CustodyKind.Retirement;

    bytes32 private tokenId;

    function setUp() public override {
        super.setUp();
        tokenId = mint(request());
    }

    // record ----------------------------------------------------------------------------------

    function test_record_isAppended() public {
        bytes32 digest = passport.custodyDigest(tokenId, FIRMWARE, RECORD, LOG_INDEX, 0);
        Attestation memory attestation = attest(digest);
        vm.expectEmit(address(passport));
        emit IChargerPassport.CustodyRecorded(tokenId, 0, FIRMWARE, RECORD, LOG_INDEX, 0);
        vm.prank(STRANGER);
        passport.record(
            tokenId, FIRMWARE, RECORD, LOG_INDEX, 0, attestation, sign(HOST_KEY, digest)
        );
        skip(10);
        record(tokenId, REPAIR, 0, HOST_KEY);

        IChargerPassport.CustodyRecord[] memory custody = passport.custodyOf(tokenId);
        assertEq(custody.length, 2);
        assertTrue(custody[0].kind == FIRMWARE && custody[1].kind == REPAIR);
        assertEq(custody[0].recordedAt, START + CONTEST_PERIOD);
        assertEq(custody[1].recordedAt, START + CONTEST_PERIOD + 10);
        assertEq(custody[0].logIndex, LOG_INDEX);
        assertEq(custody[0].recordDigest, RECORD);
        assertEq(custody[0].value, 0);
    }

    /// @dev The number in the digest makes a record's signatures good for one place only.
    function test_record_cannotBeRepeated() public {
        bytes32 digest = passport.custodyDigest(tokenId, REPAIR, RECORD, LOG_INDEX, 0);
        Attestation memory attestation = attest(digest);
        bytes memory consent = sign(HOST_KEY, digest);
        passport.record(tokenId, REPAIR, RECORD, LOG_INDEX, 0, attestation, consent);
        vm.expectRevert(wrongHost(HOST));
        passport.record(tokenId, REPAIR, RECORD, LOG_INDEX, 0, attestation, consent);
    }

    function test_record_needsHostAndQuorum() public {
        bytes32 digest = passport.custodyDigest(tokenId, REPAIR, RECORD, LOG_INDEX, 0);
        Attestation memory attestation = attest(digest);
        vm.expectRevert(wrongHost(HOST));
        passport.record(
            tokenId, REPAIR, RECORD, LOG_INDEX, 0, attestation, sign(NEW_HOST_KEY, digest)
        );
        attestation = attest(digest, 3);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NoQuorum.selector, 2, 3));
        passport.record(tokenId, REPAIR, RECORD, LOG_INDEX, 0, attestation, sign(HOST_KEY, digest));
    }

    function test_record_isForMintedOnesOnly() public {
        bytes32 pending = register(request("PENDING"));
        expectRecordRefused(
            pending, REPAIR, 0, wrongStatus(pending, IChargerPassport.Status.Pending)
        );
        vm.prank(HOST);
        passport.retire(tokenId, RECORD, LOG_INDEX);
        expectRecordRefused(
            tokenId, REPAIR, 0, wrongStatus(tokenId, IChargerPassport.Status.Retired)
        );
    }

    function test_record_ofAnOwnerChangesTheHost() public {
        record(tokenId, OWNER, bytes32(uint256(uint160(NEW_HOST))), HOST_KEY);
        (address host, uint16 commission,,) = passport.settlementFacts(tokenId);
        assertEq(host, NEW_HOST);
        assertEq(commission, 3000);
        // The NFT and what it collects are a matter of their own.
        assertEq(passport.ownerOf(uint256(tokenId)), HOST);
        expectRecordRefused(tokenId, REPAIR, 0, wrongHost(NEW_HOST));
        record(tokenId, REPAIR, 0, NEW_HOST_KEY);
        vm.prank(HOST);
        vm.expectRevert(abi.encodeWithSelector(IChargerPassport.NotHost.selector, HOST));
        passport.lowerCommission(tokenId, 0);
    }

    function test_record_ofAnOperatorChangesTheOperator() public {
        record(tokenId, OPERATOR_KIND, "DE*ABC", HOST_KEY);
        assertTrue(passport.factsOf(tokenId).operatorId == operatorOf("DE*ABC"));
    }

    function test_record_ofAPlaceChangesThePlace() public {
        int32[2] memory lats = [int32(-90e7), 90e7];
        int32[2] memory lons = [int32(180e7), -180e7];
        for (uint256 i = 0; i < 2; ++i) {
            record(tokenId, LOCATION, placeOf(lats[i], lons[i]), HOST_KEY);
            IChargerPassport.Facts memory facts = passport.factsOf(tokenId);
            assertTrue(facts.latE7 == lats[i] && facts.lonE7 == lons[i]);
        }
    }

    function test_record_ofAMeterChangesTheKey() public {
        bytes32 exchanged = keccak256("exchanged meter");
        record(tokenId, METER, exchanged, HOST_KEY);
        assertEq(passport.factsOf(tokenId).meterKeyHash, exchanged);
        assertEq(passport.meterKeyHolder(exchanged), tokenId);
        // The old key stays this passport's, which may take its meter back.
        assertEq(passport.meterKeyHolder(METER_KEY), tokenId);
        IChargerPassport.RegistrationRequest memory other = request("OTHER");
        other.meterKeyHash = METER_KEY;
        expectRefused(other, meterKeyInUse(METER_KEY, tokenId));
        record(tokenId, METER, METER_KEY, HOST_KEY);
        record(tokenId, METER, 0, HOST_KEY);
        assertEq(passport.factsOf(tokenId).meterKeyHash, 0);
        assertEq(passport.meterKeyHolder(0), 0);
    }

    function test_record_refusesAnothersMeter() public {
        bytes32 other = register(request("OTHER"));
        bytes32 key = keccak256("OTHER");
        expectRecordRefused(tokenId, METER, key, meterKeyInUse(key, other));
    }

    function test_record_refusesValuesThatTheKindDoesNotHave() public {
        expectRecordRefused(tokenId, OWNER, 0, outOfRange("value"));
        expectRecordRefused(tokenId, OWNER, bytes32(uint256(1) << 160), outOfRange("value"));
        expectRecordRefused(
            tokenId, OWNER, bytes32(uint256(1) << 160 | uint160(HOST)), outOfRange("value")
        );
        expectRecordRefused(tokenId, OPERATOR_KIND, 0, outOfRange("value"));
        expectRecordRefused(tokenId, OPERATOR_KIND, "DE*ABC   !", outOfRange("value"));
        expectRecordRefused(tokenId, OPERATOR_KIND, bytes32(uint256(1)), outOfRange("value"));
        expectRecordRefused(tokenId, FIRMWARE, "1", outOfRange("value"));
        expectRecordRefused(tokenId, REPAIR, bytes32(uint256(1)), outOfRange("value"));
        expectRecordRefused(tokenId, LOCATION, bytes32(uint256(1) << 64), outOfRange("value"));
        expectRecordRefused(tokenId, LOCATION, placeOf(-90e7 - 1, 0), outOfRange("latE7"));
        expectRecordRefused(tokenId, LOCATION, placeOf(0, 180e7 + 1), outOfRange("lonE7"));
        expectRecordRefused(tokenId, RETIREMENT, 0, outOfRange("kind"));
        assertEq(passport.custodyOf(tokenId).length, 0);
    }

    // retire, lowerCommission -------------------------------------------------------------------

    function test_retire_isForEver() public {
        skip(100);
        vm.expectEmit(address(passport));
        emit IChargerPassport.CustodyRecorded(tokenId, 0, RETIREMENT, RECORD, LOG_INDEX, 0);
        vm.prank(HOST);
        passport.retire(tokenId, RECORD, LOG_INDEX);
        assertTrue(passport.factsOf(tokenId).status == IChargerPassport.Status.Retired);
        (address host,, uint40 registeredAt, uint40 retiredAt) = passport.settlementFacts(tokenId);
        assertEq(host, HOST);
        assertEq(registeredAt, START + CONTEST_PERIOD);
        assertEq(retiredAt, START + CONTEST_PERIOD + 100);
        assertTrue(passport.custodyOf(tokenId)[0].kind == RETIREMENT);

        bytes memory reason = wrongStatus(tokenId, IChargerPassport.Status.Retired);
        vm.startPrank(HOST);
        vm.expectRevert(reason);
        passport.retire(tokenId, RECORD, LOG_INDEX);
        vm.expectRevert(reason);
        passport.lowerCommission(tokenId, 0);
        // The NFT, with what its units are owed, can still change hands.
        passport.transferFrom(HOST, STRANGER, uint256(tokenId));
        vm.stopPrank();
        assertEq(passport.ownerOf(uint256(tokenId)), STRANGER);
    }

    function test_retire_isTheHostsAlone() public {
        vm.prank(HOST);
        passport.transferFrom(HOST, STRANGER, uint256(tokenId));
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IChargerPassport.NotHost.selector, STRANGER));
        passport.retire(tokenId, RECORD, LOG_INDEX);
        vm.prank(HOST);
        passport.retire(tokenId, RECORD, LOG_INDEX);
    }

    function test_lowerCommission_onlyFalls() public {
        vm.startPrank(HOST);
        vm.expectRevert(
            abi.encodeWithSelector(IChargerPassport.CommissionTooHigh.selector, 3001, 3000)
        );
        passport.lowerCommission(tokenId, 3001);
        vm.expectEmit(address(passport));
        emit IChargerPassport.CommissionLowered(tokenId, 2999);
        passport.lowerCommission(tokenId, 2999);
        vm.expectRevert(
            abi.encodeWithSelector(IChargerPassport.CommissionTooHigh.selector, 3000, 2999)
        );
        passport.lowerCommission(tokenId, 3000);
        passport.lowerCommission(tokenId, 0);
        vm.stopPrank();
        (, uint16 commission,,) = passport.settlementFacts(tokenId);
        assertEq(commission, 0);
    }

    function test_lowerCommission_isTheHostsOfAMintedOne() public {
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IChargerPassport.NotHost.selector, STRANGER));
        passport.lowerCommission(tokenId, 0);
        bytes32 pending = register(request("PENDING"));
        vm.prank(HOST);
        vm.expectRevert(wrongStatus(pending, IChargerPassport.Status.Pending));
        passport.lowerCommission(pending, 0);
    }

    // History ---------------------------------------------------------------------------------

    function test_history_tellsWhoWasInForce() public {
        uint40 minted = uint40(START) + CONTEST_PERIOD;
        skip(100);
        record(tokenId, OWNER, bytes32(uint256(uint160(NEW_HOST))), HOST_KEY);
        record(tokenId, OPERATOR_KIND, "DE*ABC", NEW_HOST_KEY);
        skip(100);
        record(tokenId, OPERATOR_KIND, "FR*XYZ", NEW_HOST_KEY);

        assertEq(passport.hostAt(tokenId, minted - 1), address(0));
        assertEq(passport.hostAt(tokenId, minted), HOST);
        assertEq(passport.hostAt(tokenId, minted + 99), HOST);
        assertEq(passport.hostAt(tokenId, minted + 100), NEW_HOST);
        assertEq(passport.hostAt(tokenId, type(uint40).max), NEW_HOST);
        assertTrue(passport.operatorAt(tokenId, minted - 1) == OperatorId.wrap(0));
        assertTrue(passport.operatorAt(tokenId, minted) == OPERATOR);
        assertTrue(passport.operatorAt(tokenId, minted + 99) == OPERATOR);
        assertTrue(passport.operatorAt(tokenId, minted + 100) == operatorOf("DE*ABC"));
        assertTrue(passport.operatorAt(tokenId, minted + 199) == operatorOf("DE*ABC"));
        assertTrue(passport.operatorAt(tokenId, minted + 200) == operatorOf("FR*XYZ"));
        assertTrue(
            passport.operatorAt(keccak256("unknown"), type(uint40).max) == OperatorId.wrap(0)
        );
    }

    /// @dev Two changes in one second: the later one holds from it on.
    function test_history_keepsTheLastOfASecond() public {
        skip(100);
        record(tokenId, OPERATOR_KIND, "DE*ABC", HOST_KEY);
        record(tokenId, OPERATOR_KIND, "FR*XYZ", HOST_KEY);
        uint40 at_ = uint40(time());
        assertTrue(passport.operatorAt(tokenId, at_) == operatorOf("FR*XYZ"));
        assertTrue(passport.operatorAt(tokenId, at_ - 1) == OPERATOR);
    }

    /// @dev Long enough for both ways that the lookup searches.
    function testFuzz_history_answersAnyTime(uint16[12] memory gaps, uint32 asked) public {
        uint40 from = uint40(time());
        OperatorId expected = OPERATOR;
        asked = uint32(bound(asked, 0, 12 * 65_536));
        for (uint256 i = 0; i < gaps.length; ++i) {
            skip(gaps[i]);
            bytes32 value = bytes8(uint64(i + 1));
            record(tokenId, OPERATOR_KIND, value, HOST_KEY);
            if (time() <= from + asked) expected = OperatorId.wrap(bytes8(value));
        }
        assertTrue(passport.operatorAt(tokenId, from + asked) == expected);
    }

    function placeOf(int32 latE7, int32 lonE7) private pure returns (bytes32) {
        return bytes32(uint256(uint32(latE7)) << 32 | uint32(lonE7));
    }
}
