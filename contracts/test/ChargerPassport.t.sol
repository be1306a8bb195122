// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";

import {Attestation, OperatorId, PolicyParameters} from "../src/Types.sol";
import {IAttesterRegistry} from "../src/interfaces/IAttesterRegistry.sol";
import {IChargerPassport} from "../src/interfaces/IChargerPassport.sol";
import {INetworkPolicy} from "../src/interfaces/INetworkPolicy.sol";
import {ChargerPassportFixture} from "./ChargerPassportFixture.sol";
import {vm} from "./Vm.sol";

/// @dev A host that is a contract: it consents to one digest and cannot receive any NFT.
contract HostContract is IERC1271 {
    bytes32 private immutable AGREED;

    constructor(bytes32 agreed) {
        AGREED = agreed;
    }

    function isValidSignature(bytes32 hash, bytes calldata) external view returns (bytes4) {
        return hash == AGREED ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// @title From a request to the mint, with and without a contest.
contract ChargerPassportTest is ChargerPassportFixture {
    // register --------------------------------------------------------------------------------

    function test_constructor_keepsTheAddresses() public view {
        assertEq(passport.POLICY(), address(policy));
        assertEq(passport.REGISTRY(), address(registry));
        assertEq(passport.C4E(), address(c4e));
        assertEq(passport.EMISSION_CONTROLLER(), address(emission));
        assertEq(passport.name(), "ChargEra Passport");
    }

    function test_register_waitsForItsContestPeriod() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        bytes32 tokenId = passport.tokenIdOf("ALFEN", "ACE-0001");
        (Attestation memory attestation, bytes memory consent) = signed(asked);
        bytes32 hash = passport.registrationHash(asked);
        vm.expectEmit(address(passport));
        emit IChargerPassport.RegistrationPending(
            tokenId, OPERATOR, HOST, hash, uint40(START) + CONTEST_PERIOD
        );
        vm.prank(STRANGER);
        assertEq(passport.register(asked, attestation, consent), tokenId);

        IChargerPassport.Facts memory facts = passport.factsOf(tokenId);
        assertTrue(facts.status == IChargerPassport.Status.Pending);
        assertTrue(facts.operatorId == OPERATOR);
        assertEq(facts.host, HOST);
        assertTrue(facts.latE7 == asked.latE7 && facts.lonE7 == asked.lonE7);
        assertEq(facts.protocols, asked.protocols);
        assertEq(facts.ratedW, asked.ratedW);
        assertEq(facts.evseCount, asked.evseCount);
        assertEq(facts.commissionBps, asked.commissionBps);
        assertEq(facts.requestedAt, START);
        assertEq(facts.registeredAt, 0);
        assertEq(facts.retiredAt, 0);
        assertEq(facts.metadataDigest, asked.metadataDigest);
        assertEq(facts.meterKeyHash, METER_KEY);
        assertEq(facts.stationKeyHash, asked.stationKeyHash);
        assertEq(facts.registrationHash, hash);
        assertEq(passport.meterKeyHolder(METER_KEY), tokenId);
        (uint40 mintableAt, address challenger, uint64 bond, uint40 rulingEndsAt) =
            passport.waitingOf(tokenId);
        assertEq(mintableAt, START + CONTEST_PERIOD);
        assertEq(challenger, address(0));
        assertEq(uint256(bond) + rulingEndsAt, 0);
    }

    /// @dev A pending passport earns nothing, has no owner and no history.
    function test_register_givesNothingYet() public {
        bytes32 tokenId = register(request());
        (address host, uint16 commission, uint40 registeredAt, uint40 retiredAt) =
            passport.settlementFacts(tokenId);
        assertEq(host, address(0));
        assertEq(uint256(commission) + registeredAt + retiredAt, 0);
        assertEq(passport.hostAt(tokenId, uint40(START)), address(0));
        assertTrue(passport.operatorAt(tokenId, uint40(START)) == OperatorId.wrap(0));
        vm.expectRevert(notMinted(tokenId));
        passport.ownerOf(uint256(tokenId));
        vm.expectRevert(notMinted(tokenId));
        passport.tokenURI(uint256(tokenId));
    }

    function test_register_refusesASerialTwice() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        bytes32 tokenId = register(asked);
        asked.nonce = keccak256("another nonce");
        bytes memory reason = abi.encodeWithSelector(IChargerPassport.SerialInUse.selector, tokenId);
        expectRefused(asked, reason);
        skip(CONTEST_PERIOD);
        passport.confirm(tokenId);
        expectRefused(asked, reason);
        vm.prank(HOST);
        passport.retire(tokenId, 0, 0);
        expectRefused(asked, reason);
    }

    function test_register_refusesAMeterKeyTwice() public {
        bytes32 tokenId = register(request());
        IChargerPassport.RegistrationRequest memory other = request("ACE-0002");
        other.meterKeyHash = METER_KEY;
        expectRefused(other, meterKeyInUse(METER_KEY, tokenId));
        skip(CONTEST_PERIOD);
        passport.confirm(tokenId);
        expectRefused(other, meterKeyInUse(METER_KEY, tokenId));
    }

    function test_register_takesAnyNumberWithoutAMeterKey() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        asked.meterKeyHash = 0;
        register(asked);
        asked.serial = "ACE-0002";
        register(asked);
        assertEq(passport.meterKeyHolder(0), 0);
    }

    function test_register_boundsEveryField() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        asked.commissionBps = 8001;
        expectRefused(
            asked, abi.encodeWithSelector(IChargerPassport.CommissionTooHigh.selector, 8001, 8000)
        );
        asked = request();
        asked.operatorId = OperatorId.wrap(0);
        expectRefused(asked, outOfRange("operatorId"));
        asked = request();
        asked.host = address(0);
        expectRefused(asked, outOfRange("host"));
        asked = request();
        asked.ratedW = 0;
        expectRefused(asked, outOfRange("ratedW"));
        asked = request();
        asked.evseCount = 0;
        expectRefused(asked, outOfRange("evseCount"));
    }

    function testFuzz_register_boundsThePlace(int32 latE7, int32 lonE7) public {
        IChargerPassport.RegistrationRequest memory asked = request();
        (asked.latE7, asked.lonE7) = (latE7, lonE7);
        if (latE7 < -90e7 || latE7 > 90e7) expectRefused(asked, outOfRange("latE7"));
        else if (lonE7 < -180e7 || lonE7 > 180e7) expectRefused(asked, outOfRange("lonE7"));
        else register(asked);
    }

    function test_register_takesTheEndsOfTheEarth() public {
        int32[2] memory lats = [int32(-90e7), 90e7];
        int32[2] memory lons = [int32(-180e7), 180e7];
        for (uint256 i = 0; i < 2; ++i) {
            IChargerPassport.RegistrationRequest memory asked = request(vm.toString(i));
            (asked.latE7, asked.lonE7, asked.commissionBps) = (lats[i], lons[i], 8000);
            IChargerPassport.Facts memory facts = passport.factsOf(register(asked));
            assertTrue(facts.latE7 == lats[i] && facts.lonE7 == lons[i]);
            int32 beyond = i == 0 ? int32(-1) : int32(1);
            asked.latE7 += beyond;
            asked.serial = "BEYOND";
            expectRefused(asked, outOfRange("latE7"));
            (asked.latE7, asked.lonE7) = (0, lons[i] + beyond);
            expectRefused(asked, outOfRange("lonE7"));
        }
    }

    function test_register_needsTheHostsConsent() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        (Attestation memory attestation,) = signed(asked);
        bytes memory consent = sign(NEW_HOST_KEY, passport.consentDigest(asked));
        vm.expectRevert(wrongHost(HOST));
        passport.register(asked, attestation, consent);
        vm.expectRevert(wrongHost(HOST));
        passport.register(asked, attestation, "");
        bytes memory hash = sign(HOST_KEY, passport.registrationHash(asked));
        vm.expectRevert(wrongHost(HOST));
        passport.register(asked, attestation, hash);
    }

    function test_register_needsAQuorum() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        bytes memory consent = sign(HOST_KEY, passport.consentDigest(asked));
        Attestation memory two = attest(passport.registrationDigest(asked), 3);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NoQuorum.selector, 2, 3));
        passport.register(asked, two, consent);
        Attestation memory other = attest(passport.registrationHash(asked));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 0));
        passport.register(asked, other, consent);
    }

    /// @dev Facts that only attesters sign cannot be changed either.
    function test_register_bindsEveryFactToTheQuorum() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        (Attestation memory attestation, bytes memory consent) = signed(asked);
        bytes memory reason = abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 0);
        for (uint256 i = 0; i < 8; ++i) {
            IChargerPassport.RegistrationRequest memory forged = request();
            if (i == 0) forged.latE7 += 1;
            if (i == 1) forged.lonE7 += 1;
            if (i == 2) forged.protocols += 1;
            if (i == 3) forged.ratedW += 1;
            if (i == 4) forged.evseCount += 1;
            if (i == 5) forged.topic = address(1);
            if (i == 6) forged.sequenceNumber += 1;
            if (i == 7) forged.logIndex += 1;
            vm.expectRevert(reason);
            passport.register(forged, attestation, consent);
        }
        passport.register(asked, attestation, consent);
    }

    function test_register_takesAContractForAHost() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        asked.host = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        HostContract host = new HostContract(passport.consentDigest(asked));
        assertEq(address(host), asked.host);
        (Attestation memory attestation,) = signed(asked);
        bytes32 tokenId = passport.register(asked, attestation, "anything");
        // Not a receiver of NFTs, and no matter.
        skip(CONTEST_PERIOD);
        passport.confirm(tokenId);
        assertEq(passport.ownerOf(uint256(tokenId)), address(host));
        asked.serial = "ACE-0002";
        (attestation,) = signed(asked);
        vm.expectRevert(wrongHost(address(host)));
        passport.register(asked, attestation, "anything");
    }

    function test_register_needsAPolicy() public {
        IChargerPassport.RegistrationRequest memory asked = request();
        (Attestation memory attestation, bytes memory consent) = signed(asked);
        vm.warp(START - 1);
        vm.expectRevert(abi.encodeWithSelector(INetworkPolicy.NoSuchVersion.selector, 0));
        passport.register(asked, attestation, consent);
    }

    // confirm ---------------------------------------------------------------------------------

    function test_confirm_mintsToTheHost() public {
        bytes32 tokenId = register(request());
        bytes32 hash = passport.factsOf(tokenId).registrationHash;
        skip(CONTEST_PERIOD - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IChargerPassport.TooEarly.selector, uint40(START) + CONTEST_PERIOD
            )
        );
        passport.confirm(tokenId);
        skip(1);
        vm.expectEmit(address(passport));
        emit IChargerPassport.Registered(tokenId, HOST, hash);
        vm.expectEmit(address(passport));
        emit IERC721.Transfer(address(0), HOST, uint256(tokenId));
        vm.prank(STRANGER);
        passport.confirm(tokenId);

        assertEq(passport.ownerOf(uint256(tokenId)), HOST);
        assertTrue(passport.factsOf(tokenId).status == IChargerPassport.Status.Minted);
        (address host, uint16 commission, uint40 registeredAt, uint40 retiredAt) =
            passport.settlementFacts(tokenId);
        assertEq(host, HOST);
        assertEq(commission, 3000);
        assertEq(registeredAt, START + CONTEST_PERIOD);
        assertEq(retiredAt, 0);
        (uint40 mintableAt,,,) = passport.waitingOf(tokenId);
        assertEq(mintableAt, 0);
    }

    function test_confirm_isForPendingOnesOnly() public {
        bytes32 unknown = keccak256("unknown");
        vm.expectRevert(wrongStatus(unknown, IChargerPassport.Status.None));
        passport.confirm(unknown);
        bytes32 tokenId = mint(request());
        vm.expectRevert(wrongStatus(tokenId, IChargerPassport.Status.Minted));
        passport.confirm(tokenId);
    }

    // contest, rule ---------------------------------------------------------------------------

    function test_contest_takesTheBondAndStopsTheMint() public {
        bytes32 tokenId = register(request());
        c4e.transfer(CHALLENGER, BOND_OF_CONTEST);
        vm.startPrank(CHALLENGER);
        c4e.approve(address(passport), BOND_OF_CONTEST);
        vm.expectEmit(address(passport));
        emit IChargerPassport.Contested(tokenId, CHALLENGER, "reason", BOND_OF_CONTEST);
        passport.contest(tokenId, "reason");
        vm.stopPrank();
        assertEq(c4e.balanceOf(address(passport)), BOND_OF_CONTEST);
        (, address challenger, uint64 bond, uint40 rulingEndsAt) = passport.waitingOf(tokenId);
        assertEq(challenger, CHALLENGER);
        assertEq(bond, BOND_OF_CONTEST);
        assertEq(rulingEndsAt, START + RULING_TIMEOUT);
        skip(RULING_TIMEOUT - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IChargerPassport.TooEarly.selector, uint40(START) + RULING_TIMEOUT
            )
        );
        passport.confirm(tokenId);
    }

    function test_contest_isOneAndInTime() public {
        bytes32 tokenId = register(request());
        bytes32 late = register(request("LATE"));
        contest(tokenId);
        vm.expectRevert(abi.encodeWithSelector(IChargerPassport.AlreadyContested.selector, tokenId));
        passport.contest(tokenId, 0);
        skip(CONTEST_PERIOD);
        vm.expectRevert(
            abi.encodeWithSelector(
                IChargerPassport.TooLate.selector, uint40(START) + CONTEST_PERIOD
            )
        );
        passport.contest(late, 0);
        passport.confirm(late);
        vm.expectRevert(wrongStatus(late, IChargerPassport.Status.Minted));
        passport.contest(late, 0);
    }

    function test_contest_needsTheBond() public {
        bytes32 tokenId = register(request());
        vm.prank(STRANGER);
        vm.expectRevert();
        passport.contest(tokenId, 0);
        (, address challenger,,) = passport.waitingOf(tokenId);
        assertEq(challenger, address(0));
    }

    function test_confirm_endsAContestThatNobodyRuledOn() public {
        bytes32 tokenId = register(request());
        contest(tokenId);
        skip(RULING_TIMEOUT);
        vm.expectEmit(address(passport));
        emit IChargerPassport.ContestEnded(tokenId, true);
        passport.confirm(tokenId);
        assertEq(passport.ownerOf(uint256(tokenId)), HOST);
        assertEq(c4e.balanceOf(HOST), BOND_OF_CONTEST / 20);
        assertEq(c4e.balanceOf(CHALLENGER), BOND_OF_CONTEST - BOND_OF_CONTEST / 20);
        assertEq(c4e.balanceOf(address(passport)), 0);
    }

    function test_rule_thatItStandsGivesTheHostTheBond() public {
        appointGovernor();
        bytes32 tokenId = register(request());
        contest(tokenId);
        vm.expectEmit(address(passport));
        emit IChargerPassport.ContestEnded(tokenId, true);
        vm.prank(GOVERNOR);
        passport.rule(tokenId, true);
        assertEq(c4e.balanceOf(HOST), BOND_OF_CONTEST);
        // Still for its period, and never contested again.
        vm.expectRevert(
            abi.encodeWithSelector(
                IChargerPassport.TooEarly.selector, uint40(START) + CONTEST_PERIOD
            )
        );
        passport.confirm(tokenId);
        vm.expectRevert(abi.encodeWithSelector(IChargerPassport.AlreadyContested.selector, tokenId));
        passport.contest(tokenId, 0);
        vm.prank(GOVERNOR);
        vm.expectRevert(abi.encodeWithSelector(IChargerPassport.NotContested.selector, tokenId));
        passport.rule(tokenId, false);
        skip(CONTEST_PERIOD);
        passport.confirm(tokenId);
        assertEq(passport.ownerOf(uint256(tokenId)), HOST);
        assertEq(c4e.balanceOf(HOST), BOND_OF_CONTEST);
    }

    function test_rule_thatItDoesNotStandForgetsIt() public {
        appointGovernor();
        IChargerPassport.RegistrationRequest memory asked = request();
        bytes32 tokenId = register(asked);
        bytes32 hash = passport.factsOf(tokenId).registrationHash;
        contest(tokenId);
        skip(RULING_TIMEOUT - 1);
        vm.expectEmit(address(passport));
        emit IChargerPassport.ContestEnded(tokenId, false);
        vm.prank(GOVERNOR);
        passport.rule(tokenId, false);
        assertEq(c4e.balanceOf(CHALLENGER), BOND_OF_CONTEST);
        assertTrue(passport.factsOf(tokenId).status == IChargerPassport.Status.None);
        assertEq(passport.factsOf(tokenId).registrationHash, 0);
        assertEq(passport.meterKeyHolder(METER_KEY), 0);
        vm.expectRevert(wrongStatus(tokenId, IChargerPassport.Status.None));
        passport.confirm(tokenId);
        // Its signatures do not bring it back; a new onboarding does.
        expectRefused(
            asked, abi.encodeWithSelector(IChargerPassport.RegistrationUsed.selector, hash)
        );
        asked.nonce = keccak256("another nonce");
        assertEq(register(asked), tokenId);
    }

    function test_rule_isTheGovernorsAlone() public {
        bytes32 tokenId = register(request());
        contest(tokenId);
        address[3] memory others = [HOST, CHALLENGER, address(timelock)];
        for (uint256 i = 0; i < 3; ++i) {
            // While there is no Governor, nobody's address is his.
            if (i == 2) appointGovernor();
            vm.prank(others[i]);
            vm.expectRevert(
                abi.encodeWithSelector(IChargerPassport.NotGovernor.selector, others[i])
            );
            passport.rule(tokenId, true);
        }
    }

    function test_rule_isInTimeAndOnAContest() public {
        appointGovernor();
        bytes32 tokenId = register(request());
        vm.prank(GOVERNOR);
        vm.expectRevert(abi.encodeWithSelector(IChargerPassport.NotContested.selector, tokenId));
        passport.rule(tokenId, false);
        contest(tokenId);
        skip(RULING_TIMEOUT);
        vm.prank(GOVERNOR);
        vm.expectRevert(
            abi.encodeWithSelector(
                IChargerPassport.TooLate.selector, uint40(START) + RULING_TIMEOUT
            )
        );
        passport.rule(tokenId, false);
    }

    /// @dev A later policy shortens or lengthens nothing that was begun before it.
    function test_contest_runsByThePolicyOfItsRequest() public {
        bytes32 tokenId = register(request());
        vm.startPrank(address(timelock));
        policy.append(uint40(START) + 1, laterParameters(), assetPolicies());
        vm.stopPrank();
        skip(1);
        contest(tokenId);
        (uint40 mintableAt,, uint64 bond, uint40 rulingEndsAt) = passport.waitingOf(tokenId);
        assertEq(mintableAt, START + CONTEST_PERIOD);
        assertEq(bond, BOND_OF_CONTEST);
        assertEq(rulingEndsAt, START + 1 + RULING_TIMEOUT);
        (mintableAt,,,) = passport.waitingOf(register(request("LATER")));
        assertEq(mintableAt, START + 1 + 1 days);
    }

    function laterParameters() private pure returns (PolicyParameters memory later) {
        later = parameters();
        (later.contestPeriod, later.rulingTimeout, later.disputeBond) = (1 days, 10 days, 21e6);
    }
}
