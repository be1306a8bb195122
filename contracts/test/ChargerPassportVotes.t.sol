// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";

import {IChargerPassport} from "../src/interfaces/IChargerPassport.sol";
import {ChargerPassportFixture} from "./ChargerPassportFixture.sol";
import {vm} from "./Vm.sol";

/// @title Votes: a weight a passport, moving with its owner.
contract ChargerPassportVotesTest is ChargerPassportFixture {
    address private constant DELEGATE = address(0xDE1);

    bytes32 private first;
    bytes32 private second;

    function setUp() public override {
        super.setUp();
        first = register(request());
        second = register(request("SECOND"));
        skip(CONTEST_PERIOD);
        passport.confirm(first);
        passport.confirm(second);
    }

    function test_clock_isUnixTime() public view {
        assertEq(passport.clock(), time());
        assertEq(passport.CLOCK_MODE(), "mode=timestamp");
    }

    function test_setVoteWeight_isTheEmissionControllersAlone() public {
        vm.prank(HOST);
        vm.expectRevert(
            abi.encodeWithSelector(IChargerPassport.NotEmissionController.selector, HOST)
        );
        passport.setVoteWeight(first, 1);
    }

    function test_setVoteWeight_isForMintedOnesOnly() public {
        bytes32 pending = register(request("PENDING"));
        vm.startPrank(address(emission));
        vm.expectRevert(wrongStatus(pending, IChargerPassport.Status.Pending));
        passport.setVoteWeight(pending, 1);
        vm.stopPrank();
        vm.prank(HOST);
        passport.retire(first, 0, 0);
        vm.prank(address(emission));
        vm.expectRevert(wrongStatus(first, IChargerPassport.Status.Retired));
        passport.setVoteWeight(first, 1);
    }

    function test_setVoteWeight_countsAtOnce() public {
        vm.expectEmit(address(passport));
        emit IVotes.DelegateVotesChanged(HOST, 0, 500);
        vm.expectEmit(address(passport));
        emit IChargerPassport.VoteWeightSet(first, 500);
        setWeight(first, 500);
        setWeight(second, 70);
        assertEq(passport.voteWeight(first), 500);
        assertVotes(HOST, 570, 570);
        setWeight(first, 30);
        assertVotes(HOST, 100, 100);
        setWeight(first, 30);
        assertVotes(HOST, 100, 100);
    }

    function test_setVoteWeight_isBounded() public {
        setWeight(first, type(uint208).max);
        vm.prank(address(emission));
        vm.expectRevert();
        passport.setVoteWeight(second, 1);
        vm.prank(address(emission));
        vm.expectRevert();
        passport.setVoteWeight(first, uint256(type(uint208).max) + 1);
        assertVotes(HOST, type(uint208).max, type(uint208).max);
    }

    function test_votes_moveWithTheOwner() public {
        setWeight(first, 500);
        setWeight(second, 70);
        uint256 before = time();
        skip(1);
        vm.startPrank(HOST);
        passport.transferFrom(HOST, STRANGER, uint256(first));
        passport.transferFrom(HOST, HOST, uint256(second));
        vm.stopPrank();
        assertVotes(HOST, 70, 570);
        assertVotes(STRANGER, 500, 570);
        skip(1);
        assertEq(passport.getPastVotes(HOST, before), 570);
        assertEq(passport.getPastVotes(STRANGER, before), 0);
        assertEq(passport.getPastVotes(STRANGER, before + 1), 500);
    }

    /// @dev Who gets a second one has the weights of both, also to delegate.
    function test_votes_addUpWithTheSecondOne() public {
        setWeight(first, 500);
        setWeight(second, 70);
        vm.startPrank(HOST);
        passport.transferFrom(HOST, STRANGER, uint256(first));
        passport.transferFrom(HOST, STRANGER, uint256(second));
        vm.stopPrank();
        assertVotes(STRANGER, 570, 570);
        vm.prank(STRANGER);
        passport.delegate(DELEGATE);
        assertVotes(STRANGER, 0, 570);
        assertVotes(DELEGATE, 570, 570);
        vm.prank(HOST);
        passport.delegate(DELEGATE);
        assertVotes(DELEGATE, 570, 570);
    }

    function test_votes_ofARetiredOneAreZero() public {
        setWeight(first, 500);
        setWeight(second, 70);
        vm.expectEmit(address(passport));
        emit IChargerPassport.VoteWeightSet(first, 0);
        vm.prank(HOST);
        passport.retire(first, 0, 0);
        assertEq(passport.voteWeight(first), 0);
        assertVotes(HOST, 70, 70);
        vm.prank(HOST);
        passport.transferFrom(HOST, STRANGER, uint256(first));
        assertVotes(STRANGER, 0, 70);
    }

    /// @dev Retired by its host while another owns it: the owner's votes go.
    function test_votes_ofARetiredOneLeaveItsOwner() public {
        setWeight(first, 500);
        vm.prank(HOST);
        passport.transferFrom(HOST, STRANGER, uint256(first));
        vm.prank(HOST);
        passport.retire(first, 0, 0);
        assertVotes(STRANGER, 0, 0);
    }

    /// @dev Whoever never named a delegate votes himself; naming nobody is naming oneself.
    function test_delegate_isOneselfUnlessNamed() public {
        setWeight(first, 500);
        assertEq(passport.delegates(HOST), HOST);
        vm.prank(HOST);
        passport.delegate(DELEGATE);
        assertEq(passport.delegates(HOST), DELEGATE);
        assertVotes(HOST, 0, 500);
        assertVotes(DELEGATE, 500, 500);
        setWeight(second, 70);
        assertVotes(DELEGATE, 570, 570);
        vm.prank(HOST);
        passport.delegate(address(0));
        assertEq(passport.delegates(HOST), HOST);
        assertVotes(HOST, 570, 570);
        assertVotes(DELEGATE, 0, 570);
        assertEq(passport.delegates(address(0)), address(0));
    }

    function test_delegateBySig_isInThisDomain() public {
        setWeight(first, 500);
        bytes32 digest = delegation(address(passport), block.chainid);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(HOST_KEY, digest);
        passport.delegateBySig(DELEGATE, 0, time(), v, r, s);
        assertVotes(DELEGATE, 500, 500);
        (v, r, s) = vm.sign(HOST_KEY, delegation(address(c4e), block.chainid));
        passport.delegateBySig(STRANGER, 0, time(), v, r, s);
        assertEq(passport.delegates(HOST), DELEGATE);
    }

    /// @dev I15 for one step of everything: the sum of votes is the total at any time.
    function testFuzz_votes_addUp(uint96 one, uint96 two, bool moves, bool names, bool retires)
        public
    {
        setWeight(first, one);
        if (moves) {
            vm.prank(HOST);
            passport.transferFrom(HOST, STRANGER, uint256(first));
        }
        if (names) {
            vm.prank(STRANGER);
            passport.delegate(DELEGATE);
        }
        setWeight(second, two);
        setWeight(first, two);
        if (retires) {
            vm.prank(HOST);
            passport.retire(first, 0, 0);
        }
        uint256 sum =
            passport.getVotes(HOST) + passport.getVotes(STRANGER) + passport.getVotes(DELEGATE);
        assertEq(sum, passport.voteWeight(first) + passport.voteWeight(second));
        skip(1);
        assertEq(passport.getPastTotalSupply(time() - 1), sum);
    }

    function setWeight(bytes32 tokenId, uint256 weight) private {
        vm.prank(address(emission));
        passport.setVoteWeight(tokenId, weight);
    }

    function assertVotes(address account, uint256 votes, uint256 total) private {
        assertEq(passport.getVotes(account), votes);
        uint256 now_ = time();
        skip(1);
        assertEq(passport.getPastVotes(account, now_), votes);
        assertEq(passport.getPastTotalSupply(now_), total);
        vm.warp(now_);
    }

    function delegation(address verifyingContract, uint256 chainId) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("ChargEra Passport"),
                keccak256("1"),
                chainId,
                verifyingContract
            )
        );
        bytes32 content = keccak256(
            abi.encode(
                keccak256("Delegation(address delegatee,uint256 nonce,uint256 expiry)"),
                DELEGATE,
                0,
                time()
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, content));
    }
}
