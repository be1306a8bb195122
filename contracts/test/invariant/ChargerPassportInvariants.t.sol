// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestation, OperatorId} from "../../src/Types.sol";
import {IChargerPassport} from "../../src/interfaces/IChargerPassport.sol";
import {C4EToken, ChargerPassport, EmissionController} from "../Contracts.sol";
import {ChargerPassportFixture} from "../ChargerPassportFixture.sol";
import {vm} from "../Vm.sol";

/// @title Passports lived through at random, with a notebook beside the contract.
/// @dev Each action ends with one to 2^18 seconds more, so that what holds at `time() - 1` is what
/// it left. Everybody's key is one of four.
contract PassportHandler is ChargerPassportFixture {
    uint256 private constant FIRST_STATIONS = 6;
    uint256 public constant PEOPLE = 4;

    /// @param digest Over the custody records so far.
    struct Notes {
        bytes32 registrationHash;
        uint256 weight;
        uint16 commissionBps;
        uint256 records;
        bytes32 digest;
    }

    /// @dev A value from a time on.
    struct Change {
        uint40 from;
        bytes32 value;
    }

    bytes32[] public tokenIds;
    mapping(bytes32 tokenId => Notes) public notes;
    mapping(bytes32 tokenId => Change[]) private hosts;
    mapping(bytes32 tokenId => Change[]) private operators;
    mapping(bytes4 selector => uint256) public calls;
    uint256 public bonds;
    uint256 private nonces;

    constructor(ChargerPassport passport_, C4EToken c4e_, EmissionController emission_) {
        (passport, c4e, emission) = (passport_, c4e_, emission_);
        for (uint256 i = 0; i < FIRST_STATIONS; ++i) {
            tokenIds.push(passport.tokenIdOf("ALFEN", vm.toString(i)));
        }
    }

    function setUp() public override {}

    function register(uint256 station, uint256 host) public {
        (uint256 i, bool found) = pick(station, IChargerPassport.Status.None);
        if (!found) return;
        IChargerPassport.RegistrationRequest memory asked = request(vm.toString(i));
        asked.host = person(host);
        asked.nonce = bytes32(++nonces);
        Attestation memory attestation = attest(passport.registrationDigest(asked));
        bytes memory consent = sign(keyOf(host), passport.consentDigest(asked));
        passport.register(asked, attestation, consent);
        ++calls[this.register.selector];
        skip(1 + host % 2 ** 10);
    }

    function confirm(uint256 station) external {
        (uint256 i, bool found) = pick(station, IChargerPassport.Status.Pending);
        if (!found) return;
        bytes32 tokenId = tokenIds[i];
        (uint40 mintableAt,, uint64 bond, uint40 rulingEndsAt) = passport.waitingOf(tokenId);
        uint256 from = rulingEndsAt == 0 ? mintableAt : rulingEndsAt;
        if (time() < from) vm.warp(from);
        passport.confirm(tokenId);
        if (rulingEndsAt != 0) bonds -= bond;
        IChargerPassport.Facts memory facts = passport.factsOf(tokenId);
        notes[tokenId].registrationHash = facts.registrationHash;
        notes[tokenId].commissionBps = facts.commissionBps;
        hosts[tokenId].push(Change(now_(), bytes32(uint256(uint160(facts.host)))));
        operators[tokenId].push(Change(now_(), OperatorId.unwrap(facts.operatorId)));
        ++calls[this.confirm.selector];
        skip(1);
    }

    /// @dev Where nothing waits, of one that asks now.
    function contestOrRule(uint256 station, bool stands) external {
        (uint256 i, bool found) = pick(station, IChargerPassport.Status.Pending);
        if (!found) {
            register(station, station);
            (i, found) = pick(station, IChargerPassport.Status.Pending);
        }
        if (!found) return;
        bytes32 tokenId = tokenIds[i];
        (uint40 mintableAt, address challenger, uint64 bond, uint40 rulingEndsAt) =
            passport.waitingOf(tokenId);
        if (challenger == address(0) && time() < mintableAt) {
            contest(tokenId);
            bonds += BOND_OF_CONTEST;
        } else if (time() < rulingEndsAt) {
            vm.prank(GOVERNOR);
            passport.rule(tokenId, stands);
            bonds -= bond;
        }
        ++calls[this.contestOrRule.selector];
        skip(1);
    }

    function keepCustody(uint256 station, uint256 seed) external {
        bytes32 tokenId = minted(station);
        uint256 key = keyOfHost(tokenId);
        if (seed % 3 == 0) {
            bytes32 host = bytes32(uint256(uint160(person(seed >> 8))));
            record(tokenId, IChargerPassport.CustodyKind.Owner, host, key);
            hosts[tokenId].push(Change(now_(), host));
        } else if (seed % 3 == 1) {
            bytes32 operator = bytes8(uint64(seed >> 8) | 1);
            record(tokenId, IChargerPassport.CustodyKind.Operator, operator, key);
            operators[tokenId].push(Change(now_(), operator));
        } else {
            bytes32 meterKey = keccak256(abi.encode(tokenId, seed % 7));
            record(tokenId, IChargerPassport.CustodyKind.Meter, meterKey, key);
        }
        noteCustody(tokenId);
        ++calls[this.keepCustody.selector];
        skip(1 + seed % 2 ** 18);
    }

    function lowerCommission(uint256 station, uint16 by) external {
        bytes32 tokenId = minted(station);
        uint16 commissionBps = notes[tokenId].commissionBps;
        commissionBps -= by % (commissionBps + 1);
        vm.prank(passport.factsOf(tokenId).host);
        passport.lowerCommission(tokenId, commissionBps);
        notes[tokenId].commissionBps = commissionBps;
        ++calls[this.lowerCommission.selector];
    }

    function setVoteWeight(uint256 station, uint96 weight) external {
        bytes32 tokenId = minted(station);
        vm.prank(address(emission));
        passport.setVoteWeight(tokenId, weight);
        notes[tokenId].weight = weight;
        ++calls[this.setVoteWeight.selector];
        skip(1);
    }

    /// @dev Retired ones too.
    function transfer(uint256 station, uint256 to) external {
        bytes32 tokenId = tokenIds[station % stations()];
        if (statusOf(tokenId) < IChargerPassport.Status.Minted) tokenId = minted(station);
        address owner = passport.ownerOf(uint256(tokenId));
        vm.prank(owner);
        passport.transferFrom(owner, person(to), uint256(tokenId));
        ++calls[this.transfer.selector];
        skip(1);
    }

    function delegate(uint256 from, uint256 to) external {
        vm.prank(person(from));
        passport.delegate(to % 5 == 4 ? address(0) : person(to));
        ++calls[this.delegate.selector];
        skip(1);
    }

    /// @dev The first station is never retired: one is always minted.
    function retire(uint256 station) external {
        bytes32 tokenId = minted(station);
        if (tokenId == tokenIds[0]) return;
        vm.prank(passport.factsOf(tokenId).host);
        passport.retire(tokenId, RECORD, LOG_INDEX);
        notes[tokenId].weight = 0;
        noteCustody(tokenId);
        ++calls[this.retire.selector];
        skip(1);
    }

    /// @dev What chance may have left out, once, with two stations more.
    function doEverything() external {
        uint256 contested = addStation();
        uint256 accepted = addStation();
        this.register(contested, 0);
        this.contestOrRule(contested, false);
        this.contestOrRule(contested, false);
        this.register(accepted, 1);
        this.confirm(accepted);
        for (uint256 kind = 0; kind < 3; ++kind) {
            this.keepCustody(accepted, kind);
        }
        this.lowerCommission(accepted, 1);
        this.setVoteWeight(accepted, 5);
        this.transfer(accepted, 2);
        this.delegate(2, 3);
        this.retire(accepted);
    }

    function stations() public view returns (uint256) {
        return tokenIds.length;
    }

    function addStation() private returns (uint256 i) {
        i = tokenIds.length;
        tokenIds.push(passport.tokenIdOf("ALFEN", vm.toString(i)));
    }

    function hostsOf(bytes32 tokenId) external view returns (Change[] memory) {
        return hosts[tokenId];
    }

    function operatorsOf(bytes32 tokenId) external view returns (Change[] memory) {
        return operators[tokenId];
    }

    function statusOf(bytes32 tokenId) public view returns (IChargerPassport.Status) {
        return passport.factsOf(tokenId).status;
    }

    function person(uint256 seed) public pure returns (address) {
        return vm.addr(keyOf(seed));
    }

    /// @dev Digest over the records that there were when notes were last taken.
    function custodyDigestOf(bytes32 tokenId) public view returns (bytes32) {
        IChargerPassport.CustodyRecord[] memory custody = passport.custodyOf(tokenId);
        bytes32 digest;
        for (uint256 i = 0; i < notes[tokenId].records; ++i) {
            digest = keccak256(abi.encode(digest, custody[i]));
        }
        return digest;
    }

    /// @dev The first station from `station` on that stands so.
    function pick(uint256 station, IChargerPassport.Status status)
        private
        view
        returns (uint256 i, bool found)
    {
        for (uint256 k = 0; k < stations() && !found; ++k) {
            i = (station % stations() + k) % stations();
            found = statusOf(tokenIds[i]) == status;
        }
    }

    function minted(uint256 station) private view returns (bytes32) {
        (uint256 i,) = pick(station, IChargerPassport.Status.Minted);
        return tokenIds[i];
    }

    function noteCustody(bytes32 tokenId) private {
        assertEq(custodyDigestOf(tokenId), notes[tokenId].digest, "the past changed");
        notes[tokenId].records += 1;
        assertEq(passport.custodyOf(tokenId).length, notes[tokenId].records, "one record more");
        notes[tokenId].digest = custodyDigestOf(tokenId);
    }

    function keyOfHost(bytes32 tokenId) private view returns (uint256) {
        address host = passport.factsOf(tokenId).host;
        for (uint256 i = 0; i < PEOPLE; ++i) {
            if (person(i) == host) return keyOf(i);
        }
        revert("a host without a key");
    }

    function keyOf(uint256 seed) private pure returns (uint256) {
        return 1000 + seed % PEOPLE;
    }

    function now_() private view returns (uint40) {
        return uint40(time());
    }
}

contract ChargerPassportInvariantsTest is ChargerPassportFixture {
    PassportHandler private handler;
    /// @dev Times and total votes of the past, which must stay as they were.
    uint256[] private times;
    uint256[] private totals;

    function setUp() public override {
        super.setUp();
        appointGovernor();
        handler = new PassportHandler(passport, c4e, emission);
        c4e.transfer(address(handler), 10_000e6);
        for (uint256 i = 0; i < 2; ++i) {
            handler.register(i, i);
            handler.confirm(i);
        }
        target(address(handler), selectors());
    }

    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: default.invariant.runs = 16
    /// forge-config: default.invariant.depth = 100
    function invariant_passports() public {
        checkAll();
    }

    function checkAll() private {
        checkVotes();
        for (uint256 i = 0; i < handler.stations(); ++i) {
            bytes32 tokenId = handler.tokenIds(i);
            checkFacts(tokenId);
            checkHistory(tokenId);
        }
        assertEq(c4e.balanceOf(address(passport)), handler.bonds(), "bonds of open contests");
    }

    /// @dev Nothing above passes because nothing happened.
    function afterInvariant() public {
        handler.doEverything();
        checkAll();
        bytes4[] memory all = selectors();
        for (uint256 i = 0; i < all.length; ++i) {
            assertGt(handler.calls(all[i]), 0, vm.toString(bytes32(all[i])));
        }
    }

    /// @dev I15: the sum of votes is the total supply of them and the sum of weights, now and at
    /// each time that was looked at before.
    function checkVotes() private {
        uint256 weights;
        for (uint256 i = 0; i < handler.stations(); ++i) {
            bytes32 tokenId = handler.tokenIds(i);
            (, uint256 weight,,,) = handler.notes(tokenId);
            assertEq(passport.voteWeight(tokenId), weight, "weight");
            weights += weight;
        }
        uint256 sum;
        for (uint256 i = 0; i < handler.PEOPLE(); ++i) {
            sum += passport.getVotes(handler.person(i));
        }
        assertEq(sum, weights, "votes now");
        times.push(time() - 1);
        totals.push(weights);
        uint256 past = uint256(keccak256(abi.encode(times.length))) % times.length;
        sum = 0;
        for (uint256 i = 0; i < handler.PEOPLE(); ++i) {
            sum += passport.getPastVotes(handler.person(i), times[past]);
        }
        assertEq(sum, totals[past], "past votes");
        assertEq(passport.getPastTotalSupply(times[past]), totals[past], "past total");
    }

    /// @dev I16: a minted passport's registration hash never changes and custody only grows; the
    /// commission only falls; a meter key is the passport's that has it.
    function checkFacts(bytes32 tokenId) private view {
        (bytes32 hash,, uint16 commissionBps, uint256 records, bytes32 digest) =
            handler.notes(tokenId);
        IChargerPassport.Facts memory facts = passport.factsOf(tokenId);
        if (facts.meterKeyHash != 0) {
            assertEq(passport.meterKeyHolder(facts.meterKeyHash), tokenId, "meter key");
        }
        if (hash == 0) return;
        assertTrue(facts.status >= IChargerPassport.Status.Minted, "minted for ever");
        assertEq(facts.registrationHash, hash, "registration hash");
        assertEq(facts.commissionBps, commissionBps, "commission");
        assertEq(passport.custodyOf(tokenId).length, records, "records");
        assertEq(handler.custodyDigestOf(tokenId), digest, "custody");
    }

    /// @dev Who was host and operator: at the time of each change, a second before it, and now.
    function checkHistory(bytes32 tokenId) private view {
        PassportHandler.Change[] memory hosts = handler.hostsOf(tokenId);
        address host;
        for (uint256 i = 0; i < hosts.length; ++i) {
            assertEq(passport.hostAt(tokenId, hosts[i].from - 1), host, "host before");
            host = address(uint160(uint256(hosts[i].value)));
            assertEq(passport.hostAt(tokenId, hosts[i].from), host, "host from then");
        }
        assertEq(passport.hostAt(tokenId, type(uint40).max), host, "host now");
        PassportHandler.Change[] memory operators = handler.operatorsOf(tokenId);
        bytes32 operator;
        for (uint256 i = 0; i < operators.length; ++i) {
            assertEq(operatorAt(tokenId, operators[i].from - 1), operator, "operator before");
            operator = operators[i].value;
            assertEq(operatorAt(tokenId, operators[i].from), operator, "operator from then");
        }
        assertEq(operatorAt(tokenId, type(uint40).max), operator, "operator now");
    }

    function operatorAt(bytes32 tokenId, uint40 when) private view returns (bytes32) {
        return OperatorId.unwrap(passport.operatorAt(tokenId, when));
    }

    function selectors() private view returns (bytes4[] memory all) {
        all = new bytes4[](9);
        all[0] = handler.retire.selector;
        all[1] = handler.register.selector;
        all[2] = handler.confirm.selector;
        all[3] = handler.contestOrRule.selector;
        all[4] = handler.keepCustody.selector;
        all[5] = handler.lowerCommission.selector;
        all[6] = handler.setVoteWeight.selector;
        all[7] = handler.transfer.selector;
        all[8] = handler.delegate.selector;
    }
}
