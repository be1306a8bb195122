// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IAttesterRegistry} from "../src/interfaces/IAttesterRegistry.sol";
import {IC4EToken} from "../src/interfaces/IC4EToken.sol";
import {INoticeUpgradeable} from "../src/interfaces/INoticeUpgradeable.sol";
import {ISettlementHub} from "../src/interfaces/ISettlementHub.sol";
import {
    Attestation,
    Batch,
    Leaf,
    LeafMeter,
    LeafMoney,
    LeafParty,
    OperatorId
} from "../src/Types.sol";
import {AttesterRegistry, create} from "./Contracts.sol";
import {Deployment} from "./Deployment.sol";
import {HubDouble} from "./doubles/HubDouble.sol";
import {vm} from "./Vm.sol";

contract AttesterRegistryTest is Deployment {
    event AttesterAdmitted(
        uint8 indexed index, address indexed signer, address beneficiary, uint96 bond
    );
    event AttesterEvicted(uint8 indexed index);
    event Unbonding(uint8 indexed index, uint40 freeAt);
    event BondWithdrawn(uint8 indexed index, uint256 amount);
    event Slashed(uint8 indexed index, uint256 amount, address indexed challenger, uint256 bounty);
    event BondFrozen(uint8 indexed index, uint40 until);
    event OperatorAnnounced(
        OperatorId indexed operatorId, IAttesterRegistry.Operator operator, uint40 effectiveAt
    );

    address private constant CHALLENGER = address(0xC4A);
    bytes32 private constant DIGEST = keccak256("what is attested");
    OperatorId private constant OTHER = OperatorId.wrap("DE*ABC");

    HubDouble private _hub;

    function setUp() external {
        deploy();
        _hub = HubDouble(address(hub));
    }

    function deployHub() internal override returns (address) {
        return
            proxy(
                address(new HubDouble()), abi.encodeCall(HubDouble.initialize, (address(timelock)))
            );
    }

    function slash(uint112 signers, uint16 bps) internal returns (uint256) {
        return _hub.slash(registry, signers, bps, CHALLENGER);
    }

    function freeze(uint112 signers, uint256 until) internal {
        _hub.freeze(registry, signers, uint40(until));
    }

    function askUnbond(uint8 index) internal {
        vm.prank(beneficiaryOf(index));
        registry.askUnbond(index);
    }

    /// @dev With its bond.
    function admit(uint8 index) internal returns (uint8) {
        c4e.transfer(beneficiaryOf(index), BOND);
        vm.prank(beneficiaryOf(index));
        c4e.approve(address(registry), BOND);
        vm.prank(address(timelock));
        return registry.admit(signerOf(index), beneficiaryOf(index));
    }

    function bondsHeld() internal view returns (uint256 sum) {
        for (uint8 i = 0; i < registry.attesterCount(); ++i) {
            sum += registry.bondOf(i);
        }
    }

    // Genesis -----------------------------------------------------------------------------------

    function test_genesis() external view {
        assertEq(registry.attesterCount(), 4);
        assertEq(registry.quorum(), 3);
        (uint112 active, uint112 slashed) = registry.masks();
        assertEq(active, 15);
        assertEq(slashed, 0);
        assertEq(registry.C4E(), address(c4e));
        assertEq(registry.HUB(), address(hub));
        for (uint8 i = 0; i < 4; ++i) {
            IAttesterRegistry.Attester memory it = registry.attesterOf(i);
            assertEq(it.signer, signerOf(i));
            assertEq(it.beneficiary, beneficiaryOf(i));
            assertEq(it.bond, BOND);
            assertTrue(it.isActive && !it.isSlashed);
            assertEq(uint256(it.unbondingSince) + it.frozenSince + it.frozenUntil, 0);
            assertEq(registry.placeOf(signerOf(i)), i + 1);
            assertEq(registry.bondOf(i), BOND);
        }
        assertEq(registry.placeOf(address(this)), 0);
        assertEq(c4e.balanceOf(address(registry)), 4 * BOND);
        assertEq(abi.encode(registry.operatorOf(OPERATOR)), abi.encode(operatorKeys()));
    }

    function test_genesis_needs_its_bonds() external {
        address code = create("AttesterRegistry", abi.encode(c4e, hub));
        bytes memory call = abi.encodeCall(
            AttesterRegistry.initialize, (address(timelock), genesis(), OPERATOR, operatorKeys())
        );
        // One unit less than all; the proxy comes after this transfer.
        uint64 nonce = vm.getNonce(address(this)) + 10;
        c4e.transfer(vm.computeCreateAddress(address(this), nonce), 4 * BOND - 1);
        vm.setNonce(address(this), nonce);
        vm.expectRevert(
            abi.encodeWithSelector(IAttesterRegistry.BondsMissing.selector, 4 * BOND - 1, 4 * BOND)
        );
        proxy(code, call);
    }

    function test_an_implementation_needs_its_neighbours() external {
        vm.expectRevert(IAttesterRegistry.ZeroAddress.selector);
        create("AttesterRegistry", abi.encode(address(0), hub));
        vm.expectRevert(IAttesterRegistry.ZeroAddress.selector);
        create("AttesterRegistry", abi.encode(c4e, address(0)));
    }

    // Quorum ------------------------------------------------------------------------------------

    /// @dev 2 of up to 3, else floor(2n/3) + 1, as attesters come and go.
    function test_quorum_by_number_of_active_attesters() external {
        uint8[9] memory expected = [2, 2, 2, 2, 3, 4, 5, 5, 6];
        for (uint8 i = 4; i < 8; ++i) {
            admit(i);
            assertEq(registry.quorum(), expected[i + 1]);
        }
        for (uint8 left = 8; left > 0; --left) {
            assertEq(registry.quorum(), expected[left]);
            askUnbond(left - 1);
        }
        assertEq(registry.quorum(), 2, "nobody attests, and two are still needed");
    }

    function assertCount(Attestation memory attestation, uint256 signed, uint256 needed)
        private
        view
    {
        (uint256 count, uint256 quorum) = registry.checkQuorum(DIGEST, attestation);
        assertEq(count, signed);
        assertEq(quorum, needed);
    }

    function test_checkQuorum() external view {
        assertCount(attest(DIGEST, 7), 3, 3);
        assertCount(attest(DIGEST, 15), 4, 3);
        assertCount(attest(DIGEST, 13), 3, 3);
    }

    /// @dev I14 for any subset of attesters and any who left.
    function testFuzz_quorum_counts_distinct_active_signers(uint8 signers, uint8 leaving) external {
        for (uint8 i = 4; i < 8; ++i) {
            admit(i);
        }
        uint256 active = 8;
        for (uint8 i = 0; i < 8; ++i) {
            if ((leaving >> i) & 1 != 0) {
                askUnbond(i);
                --active;
            }
        }
        uint256 count = 0;
        for (uint8 i = 0; i < 8; ++i) {
            count += (signers >> i) & 1;
        }
        uint256 quorum = active <= 3 ? 2 : 2 * active / 3 + 1;
        Attestation memory attestation = attest(DIGEST, signers);
        try registry.checkQuorum(DIGEST, attestation) returns (uint256 found, uint256 needed) {
            assertEq(signers & leaving, 0, "one who left was counted");
            assertEq(found, count);
            assertEq(needed, quorum);
            assertGe(found, quorum, "under the quorum");
        } catch {
            assertTrue(signers & leaving != 0 || count < quorum, "a quorum was refused");
        }
    }

    function test_too_few_signatures() external {
        Attestation memory two = attest(DIGEST, 3);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NoQuorum.selector, 2, 3));
        registry.checkQuorum(DIGEST, two);
        Attestation memory none;
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NoQuorum.selector, 0, 3));
        registry.checkQuorum(DIGEST, none);
    }

    function test_a_signature_over_something_else() external {
        Attestation memory attestation = attest(DIGEST, 7);
        attestation.signatures[1] = sign(attesterKey(1), keccak256("else"));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 1));
        registry.checkQuorum(DIGEST, attestation);
    }

    function test_one_signer_under_three_bits() external {
        Attestation memory attestation = attest(DIGEST, 7);
        attestation.signatures[1] = attestation.signatures[0];
        attestation.signatures[2] = attestation.signatures[0];
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 1));
        registry.checkQuorum(DIGEST, attestation);
    }

    function test_signatures_out_of_order() external {
        Attestation memory attestation = attest(DIGEST, 7);
        (attestation.signatures[0], attestation.signatures[1]) =
        (attestation.signatures[1], attestation.signatures[0]);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 0));
        registry.checkQuorum(DIGEST, attestation);
    }

    function test_more_or_fewer_signatures_than_bits() external {
        Attestation memory attestation = attest(DIGEST, 7);
        attestation.signers = 15;
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.SignatureCount.selector, 3, 4));
        registry.checkQuorum(DIGEST, attestation);
        attestation = attest(DIGEST, 15);
        attestation.signers = 7;
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.SignatureCount.selector, 4, 3));
        registry.checkQuorum(DIGEST, attestation);
    }

    function test_a_bit_of_nobody() external {
        Attestation memory attestation = attest(DIGEST, 7 | (1 << 4));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotActive.selector, 4));
        registry.checkQuorum(DIGEST, attestation);
        attestation = attest(DIGEST, 7 | (uint112(1) << 111));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotActive.selector, 111));
        registry.checkQuorum(DIGEST, attestation);
    }

    /// @dev The other signature that every signature implies (n - s) is refused.
    function testFuzz_malleable_signatures(bytes32 digest, uint8 index) external {
        index %= 3;
        Attestation memory attestation = attest(digest, 7);
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(attesterKey(index), digest);
        bytes32 flipped = bytes32(order - uint256(s));
        attestation.signatures[index] = abi.encodePacked(r, flipped, v == 27 ? 28 : 27);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, index));
        registry.checkQuorum(digest, attestation);
    }

    function testFuzz_signatures_of_nobody(bytes memory junk) external {
        Attestation memory attestation = attest(DIGEST, 7);
        attestation.signatures[0] = junk;
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 0));
        registry.checkQuorum(DIGEST, attestation);
    }

    // Admission, eviction, unbonding ------------------------------------------------------------

    function test_admit() external {
        c4e.transfer(beneficiaryOf(4), BOND);
        vm.prank(beneficiaryOf(4));
        c4e.approve(address(registry), BOND);
        vm.expectEmit(address(registry));
        emit AttesterAdmitted(4, signerOf(4), beneficiaryOf(4), uint96(BOND));
        vm.prank(address(timelock));
        assertEq(registry.admit(signerOf(4), beneficiaryOf(4)), 4);
        assertEq(registry.attesterCount(), 5);
        assertEq(registry.placeOf(signerOf(4)), 5);
        assertEq(c4e.balanceOf(address(registry)), 5 * BOND);
        (uint112 active,) = registry.masks();
        assertEq(active, 31);
    }

    function test_admit_by_another() external {
        vm.expectRevert(abi.encodeWithSelector(INoticeUpgradeable.NotOwner.selector, address(this)));
        registry.admit(signerOf(4), beneficiaryOf(4));
    }

    function test_admit_without_a_bond() external {
        vm.startPrank(address(timelock));
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientAllowance.selector);
        registry.admit(signerOf(4), beneficiaryOf(4));
    }

    function test_admit_nobody() external {
        vm.startPrank(address(timelock));
        vm.expectRevert(IAttesterRegistry.ZeroAddress.selector);
        registry.admit(address(0), beneficiaryOf(4));
        vm.expectRevert(IAttesterRegistry.ZeroAddress.selector);
        registry.admit(signerOf(4), address(0));
    }

    function test_admit_a_signer_again() external {
        address[2] memory signers = [signerOf(0), signerOf(1)];
        askUnbond(1);
        vm.startPrank(address(timelock));
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IAttesterRegistry.SignerInUse.selector, signers[i])
            );
            registry.admit(signers[i], beneficiaryOf(4));
        }
    }

    function test_112_attesters_for_ever() external {
        for (uint8 i = 4; i < 112; ++i) {
            admit(i);
        }
        assertEq(registry.quorum(), 75);
        assertCount(attest(DIGEST, type(uint112).max), 112, 75);
        askUnbond(0);
        address signer = signerOf(112);
        vm.prank(address(timelock));
        vm.expectRevert(IAttesterRegistry.TooManyAttesters.selector);
        registry.admit(signer, CHALLENGER);
        assertEq(slash(type(uint112).max, 2000), 112 * BOND / 5, "all at once");
    }

    function test_evict() external {
        vm.expectEmit(address(registry));
        emit AttesterEvicted(2);
        vm.expectEmit(address(registry));
        emit Unbonding(2, uint40(START + 21 days));
        vm.prank(address(timelock));
        registry.evict(2);
        assertFalse(registry.attesterOf(2).isActive);
        Attestation memory attestation = attest(DIGEST, 7);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotActive.selector, 2));
        registry.checkQuorum(DIGEST, attestation);
        vm.prank(address(timelock));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotActive.selector, 2));
        registry.evict(2);
        skip(21 days);
        registry.withdrawBond(2);
        assertEq(c4e.balanceOf(beneficiaryOf(2)), BOND);
    }

    function test_evict_by_another() external {
        vm.expectRevert(abi.encodeWithSelector(INoticeUpgradeable.NotOwner.selector, address(this)));
        registry.evict(2);
    }

    function test_askUnbond() external {
        vm.expectEmit(address(registry));
        emit Unbonding(1, uint40(START + 21 days));
        askUnbond(1);
        IAttesterRegistry.Attester memory it = registry.attesterOf(1);
        assertFalse(it.isActive);
        assertEq(it.unbondingSince, START);
        assertEq(it.bond, BOND, "and still at stake");
        (uint112 active,) = registry.masks();
        assertEq(active, 13);
        assertEq(registry.quorum(), 2);
    }

    function test_askUnbond_twice() external {
        askUnbond(1);
        vm.prank(beneficiaryOf(1));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotActive.selector, 1));
        registry.askUnbond(1);
    }

    function test_askUnbond_by_another() external {
        address signer = signerOf(1);
        vm.prank(signer);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotBeneficiary.selector, signer));
        registry.askUnbond(1);
    }

    function test_no_such_attester() external {
        bytes memory refused = abi.encodeWithSelector(IAttesterRegistry.NoSuchAttester.selector, 4);
        vm.expectRevert(refused);
        registry.attesterOf(4);
        vm.expectRevert(refused);
        registry.bondOf(4);
        vm.expectRevert(refused);
        registry.askUnbond(4);
        vm.expectRevert(refused);
        registry.withdrawBond(4);
        vm.prank(address(timelock));
        vm.expectRevert(refused);
        registry.evict(4);
    }

    function test_withdrawBond() external {
        askUnbond(0);
        skip(21 days - 1);
        vm.expectRevert(
            abi.encodeWithSelector(IAttesterRegistry.StillBonded.selector, START + 21 days)
        );
        registry.withdrawBond(0);
        skip(1);
        vm.expectEmit(address(registry));
        emit BondWithdrawn(0, BOND);
        vm.prank(CHALLENGER); // anybody; only the beneficiary is paid
        registry.withdrawBond(0);
        assertEq(c4e.balanceOf(beneficiaryOf(0)), BOND);
        assertEq(registry.bondOf(0), 0);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NoBond.selector, 0));
        registry.withdrawBond(0);
    }

    function test_withdrawBond_of_one_who_attests() external {
        skip(1000 days);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotUnbonding.selector, 0));
        registry.withdrawBond(0);
    }

    // Slashing by the hub -----------------------------------------------------------------------

    function test_slash() external {
        uint256 supply = c4e.totalSupply();
        vm.expectEmit(address(registry));
        emit Slashed(0, 2000e6, CHALLENGER, 500e6);
        vm.expectEmit(address(registry));
        emit Slashed(2, 2000e6, CHALLENGER, 500e6);
        assertEq(slash(5, 2000), 4000e6);
        assertEq(registry.bondOf(0), 8000e6);
        assertEq(registry.bondOf(1), BOND);
        assertEq(registry.bondOf(2), 8000e6);
        assertEq(c4e.balanceOf(CHALLENGER), 1000e6);
        assertEq(c4e.totalSupply(), supply - 3000e6);
        assertTrue(registry.attesterOf(0).isActive && !registry.attesterOf(0).isSlashed);
    }

    function test_slash_by_another() external {
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotHub.selector, address(this)));
        registry.slash(1, 2000, CHALLENGER);
        vm.prank(address(timelock));
        vm.expectRevert(
            abi.encodeWithSelector(IAttesterRegistry.NotHub.selector, address(timelock))
        );
        registry.slash(1, 2000, CHALLENGER);
    }

    /// @dev I12 for any bond: what is taken is burned or bounty, to the unit.
    function testFuzz_slash_conserves(uint16[6] memory bps, uint112[6] memory signers) external {
        uint256 supply = c4e.totalSupply();
        uint256 slashed = 0;
        for (uint256 i = 0; i < 6; ++i) {
            uint256 before = bondsHeld();
            uint256 taken = slash(signers[i], bps[i] % 10_001);
            assertEq(bondsHeld(), before - taken, "taken from bonds");
            slashed += taken;
        }
        assertEq(c4e.balanceOf(address(registry)), bondsHeld(), "held = bonds");
        uint256 burned = supply - c4e.totalSupply();
        assertEq(slashed, burned + c4e.balanceOf(CHALLENGER), "slashed = burned + bounties");
        assertLe(c4e.balanceOf(CHALLENGER), slashed / 4);
    }

    function test_slash_of_nothing() external {
        assertEq(slash(0, 2000), 0);
        assertEq(slash(15, 0), 0);
        assertEq(slash(uint112(1) << 111, 2000), 0, "nobody has this index");
        slash(1, 10_000);
        assertEq(slash(1, 2000), 0, "nothing is left");
        assertEq(c4e.balanceOf(CHALLENGER), 2500e6);
    }

    /// @dev I13: whoever asked to leave loses as much as if he had stayed.
    function testFuzz_unbonding_stake_stays_slashable(uint40 later) external {
        later = uint40(bound(later, 0, 21 days));
        askUnbond(3);
        skip(later);
        assertEq(slash(8, 2000), 2000e6);
        skip(21 days - later);
        registry.withdrawBond(3);
        assertEq(c4e.balanceOf(beneficiaryOf(3)), 8000e6);
    }

    function test_a_free_bond_that_was_not_fetched_is_still_at_stake() external {
        askUnbond(3);
        skip(100 days);
        assertEq(slash(8, 2000), 2000e6);
    }

    // Freezing ----------------------------------------------------------------------------------

    function test_freeze() external {
        askUnbond(0);
        skip(20 days);
        vm.expectEmit(address(registry));
        emit BondFrozen(0, uint40(START + 30 days));
        freeze(1, START + 30 days);
        skip(10 days - 1);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.Frozen.selector, START + 30 days));
        registry.withdrawBond(0);
        assertEq(slash(1, 2000), 2000e6, "a frozen bond can be lost");
        skip(1);
        registry.withdrawBond(0);
    }

    function test_freeze_by_another() external {
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotHub.selector, address(this)));
        registry.freeze(1, uint40(START + 1));
    }

    function test_freeze_at_most_21_days_in_63() external {
        freeze(1, START + 1000 days);
        assertEq(registry.attesterOf(0).frozenUntil, START + 21 days);
        skip(10 days);
        freeze(1, START + 31 days);
        assertEq(registry.attesterOf(0).frozenUntil, START + 21 days, "not prolonged");
        skip(53 days - 1);
        freeze(1, START + 80 days);
        assertEq(registry.attesterOf(0).frozenUntil, START + 21 days, "not yet again");
        skip(1);
        freeze(1, START + 80 days);
        assertEq(registry.attesterOf(0).frozenSince, START + 63 days);
        assertEq(registry.attesterOf(0).frozenUntil, START + 80 days);
    }

    function test_freeze_is_never_shortened() external {
        freeze(3, START + 10 days);
        freeze(3, START + 5 days);
        assertEq(registry.attesterOf(0).frozenUntil, START + 10 days);
        assertEq(registry.attesterOf(1).frozenUntil, START + 10 days);
        freeze(2, START + 12 days);
        assertEq(registry.attesterOf(0).frozenUntil, START + 10 days);
        assertEq(registry.attesterOf(1).frozenUntil, START + 12 days);
    }

    function test_freeze_of_the_past_or_nobody() external {
        freeze(1, START);
        freeze(1, 0);
        freeze(uint112(1) << 50, START + 1 days);
        assertEq(registry.attesterOf(0).frozenSince, 0);
    }

    /// @dev Whatever the hub asks for: no window of 63 days holds more than 21 frozen ones.
    function testFuzz_freeze_budget(uint256 seed) external {
        uint256 calls = 24;
        uint256[] memory since = new uint256[](calls);
        uint256[] memory until = new uint256[](calls);
        uint256 spells = 0;
        for (uint256 i = 0; i < calls; ++i) {
            uint256 roll = uint256(keccak256(abi.encode(seed, i)));
            skip(roll % 15 days);
            freeze(1, time() + (roll >> 64) % 40 days);
            IAttesterRegistry.Attester memory it = registry.attesterOf(0);
            if (it.frozenSince == 0) continue;
            if (spells == 0 || since[spells - 1] != it.frozenSince) ++spells;
            since[spells - 1] = it.frozenSince;
            until[spells - 1] = it.frozenUntil;
        }
        // A window holds most where it begins with a spell.
        for (uint256 i = 0; i < spells; ++i) {
            uint256 end = since[i] + 63 days;
            uint256 frozen = 0;
            for (uint256 j = i; j < spells && since[j] < end; ++j) {
                frozen += (until[j] < end ? until[j] : end) - since[j];
            }
            assertLe(frozen, 21 days);
            assertGt(until[i], since[i], "a spell has a length");
        }
    }

    // Equivocation ------------------------------------------------------------------------------

    function batchOf(uint48 cdrNo, uint64 amount) internal view returns (Batch memory batch) {
        batch.operatorId = OPERATOR;
        batch.asset = address(euro);
        batch.checkpoint = keccak256("checkpoint");
        batch.passports = new bytes32[](1);
        batch.passports[0] = keccak256("passport");
        batch.leaves = new Leaf[](1);
        batch.leaves[0] = Leaf({
            evidenceDigest: keccak256(abi.encode(amount)),
            party: LeafParty.wrap((uint256(cdrNo) << 48) | 12),
            money: LeafMoney.wrap((uint256(amount) << 192) | 99),
            meter: LeafMeter.wrap(uint256(1) << 16)
        });
    }

    function slashEquivocation(uint8 index, Batch memory a, Batch memory b) internal {
        bytes memory signatureA = sign(attesterKey(index), hub.batchDigest(a));
        bytes memory signatureB = sign(attesterKey(index), hub.batchDigest(b));
        vm.prank(CHALLENGER);
        registry.slashEquivocation(index, a, 0, signatureA, b, 0, signatureB);
    }

    function refuseEquivocation(Batch memory a, Batch memory b) internal {
        bytes memory signatureA = sign(attesterKey(0), hub.batchDigest(a));
        bytes memory signatureB = sign(attesterKey(0), hub.batchDigest(b));
        vm.expectRevert(IAttesterRegistry.NoEquivocation.selector);
        registry.slashEquivocation(0, a, 0, signatureA, b, 0, signatureB);
    }

    function test_slashEquivocation() external {
        uint256 supply = c4e.totalSupply();
        vm.expectEmit(address(registry));
        emit Slashed(1, BOND, CHALLENGER, BOND / 4);
        slashEquivocation(1, batchOf(7, 100), batchOf(7, 101));
        IAttesterRegistry.Attester memory it = registry.attesterOf(1);
        assertTrue(it.isSlashed && !it.isActive);
        assertEq(it.bond, 0);
        assertEq(c4e.balanceOf(CHALLENGER), 2500e6);
        assertEq(c4e.totalSupply(), supply - 7500e6);
        (uint112 active, uint112 slashed) = registry.masks();
        assertEq(active, 13);
        assertEq(slashed, 2);
        assertEq(registry.quorum(), 2);
        assertEq(registry.bondOf(0) + registry.bondOf(2) + registry.bondOf(3), 3 * BOND);
        vm.prank(beneficiaryOf(1));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NotActive.selector, 1));
        registry.askUnbond(1);
    }

    function test_slashEquivocation_once() external {
        slashEquivocation(1, batchOf(7, 100), batchOf(7, 101));
        Batch memory a = batchOf(7, 100);
        Batch memory b = batchOf(7, 102);
        bytes memory signatureA = sign(attesterKey(1), hub.batchDigest(a));
        bytes memory signatureB = sign(attesterKey(1), hub.batchDigest(b));
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.AlreadySlashed.selector, 1));
        registry.slashEquivocation(1, a, 0, signatureA, b, 0, signatureB);
    }

    function test_slashEquivocation_while_unbonding() external {
        askUnbond(1);
        skip(21 days - 1);
        slashEquivocation(1, batchOf(7, 100), batchOf(7, 101));
        assertEq(c4e.balanceOf(CHALLENGER), 2500e6);
        assertEq(registry.quorum(), 2, "three are active, as before");
        skip(1);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NoBond.selector, 1));
        registry.withdrawBond(1);
    }

    function test_slashEquivocation_of_one_who_is_gone() external {
        askUnbond(1);
        skip(21 days);
        registry.withdrawBond(1);
        slashEquivocation(1, batchOf(7, 100), batchOf(7, 101));
        (, uint112 slashed) = registry.masks();
        assertEq(slashed, 2, "his signatures are void");
        assertEq(c4e.balanceOf(CHALLENGER), 0);
    }

    function test_slashEquivocation_by_what_differs() external {
        // The same words, another passport behind the same place.
        Batch memory a = batchOf(7, 100);
        Batch memory b = batchOf(7, 100);
        b.passports[0] = keccak256("another passport");
        slashEquivocation(0, a, b);
        // One digit of one word.
        b = batchOf(7, 100);
        b.leaves[0].meter = LeafMeter.wrap(LeafMeter.unwrap(b.leaves[0].meter) | (1 << 128));
        slashEquivocation(1, a, b);
        // Two leaves of one batch.
        b = batchOf(7, 100);
        Leaf[] memory leaves = new Leaf[](2);
        leaves[0] = b.leaves[0];
        leaves[1] = batchOf(7, 101).leaves[0];
        b.leaves = leaves;
        bytes memory signature = sign(attesterKey(2), hub.batchDigest(b));
        registry.slashEquivocation(2, b, 0, signature, b, 1, signature);
        (, uint112 slashed) = registry.masks();
        assertEq(slashed, 7);
    }

    function test_no_equivocation() external {
        Batch memory a = batchOf(7, 100);
        Batch memory b = batchOf(7, 100);
        // The same leaf in another batch, at another checkpoint and place of its passport.
        b.checkpoint = keccak256("a later checkpoint");
        b.passports = new bytes32[](2);
        b.passports[1] = a.passports[0];
        b.leaves[0].meter = LeafMeter.wrap(LeafMeter.unwrap(b.leaves[0].meter) | (1 << 72));
        refuseEquivocation(a, b);
        refuseEquivocation(a, a);
        refuseEquivocation(a, batchOf(8, 101)); // another number
        b = batchOf(7, 101);
        b.asset = address(c4e);
        refuseEquivocation(a, b); // another lane
        b = batchOf(7, 101);
        b.operatorId = OTHER;
        refuseEquivocation(a, b);
    }

    function test_equivocation_needs_his_signatures() external {
        Batch memory a = batchOf(7, 100);
        Batch memory b = batchOf(7, 101);
        bytes memory signatureA = sign(attesterKey(0), hub.batchDigest(a));
        bytes memory signatureB = sign(attesterKey(0), hub.batchDigest(b));
        bytes memory wrong = abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 0);
        vm.expectRevert(wrong);
        registry.slashEquivocation(0, a, 0, signatureA, b, 0, signatureA);
        vm.expectRevert(wrong);
        registry.slashEquivocation(0, a, 0, signatureB, b, 0, signatureB);
        vm.expectRevert(wrong);
        registry.slashEquivocation(0, a, 0, "", b, 0, signatureB);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 1));
        registry.slashEquivocation(1, a, 0, signatureA, b, 0, signatureB);
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.NoSuchAttester.selector, 9));
        registry.slashEquivocation(9, a, 0, signatureA, b, 0, signatureB);
        // Signatures for another chain or hub are for nothing here.
        signatureB = sign(attesterKey(0), new HubDouble().batchDigest(b));
        vm.expectRevert(wrong);
        registry.slashEquivocation(0, a, 0, signatureA, b, 0, signatureB);
    }

    /// @dev A place that a batch does not have is an error, not an excuse.
    function test_equivocation_of_a_leaf_that_is_not_there() external {
        Batch memory a = batchOf(7, 100);
        Batch memory b = batchOf(7, 101);
        bytes memory panic = abi.encodeWithSignature("Panic(uint256)", 0x32);
        vm.expectRevert(panic);
        registry.slashEquivocation(0, a, 1, "", b, 0, "");
        b.passports = new bytes32[](0);
        vm.expectRevert(panic);
        registry.slashEquivocation(0, a, 0, "", b, 0, "");
    }

    // Operators ---------------------------------------------------------------------------------

    function keysOf(uint256 key) internal pure returns (IAttesterRegistry.Operator memory) {
        return IAttesterRegistry.Operator(vm.addr(key), bytes32(key), address(uint160(key)));
    }

    function test_a_new_operator_at_once() external {
        vm.expectEmit(address(registry));
        emit OperatorAnnounced(OTHER, keysOf(5), uint40(START));
        vm.prank(address(timelock));
        registry.setOperator(OTHER, keysOf(5));
        assertEq(abi.encode(registry.operatorOf(OTHER)), abi.encode(keysOf(5)));
    }

    function test_a_new_operator_by_another() external {
        assertEq(registry.operatorOf(OTHER).signer, address(0));
        vm.expectRevert(abi.encodeWithSelector(INoticeUpgradeable.NotOwner.selector, address(this)));
        registry.setOperator(OTHER, keysOf(5));
    }

    function test_new_keys_two_days_later() external {
        bytes memory before = abi.encode(operatorKeys());
        vm.expectEmit(address(registry));
        emit OperatorAnnounced(OPERATOR, keysOf(5), uint40(START + 2 days));
        vm.prank(vm.addr(OPERATOR_KEY));
        registry.setOperator(OPERATOR, keysOf(5));
        skip(2 days - 1);
        assertEq(abi.encode(registry.operatorOf(OPERATOR)), before);
        skip(1);
        assertEq(abi.encode(registry.operatorOf(OPERATOR)), abi.encode(keysOf(5)));
        // The old signer has no say now, the new one has.
        vm.prank(vm.addr(OPERATOR_KEY));
        vm.expectRevert(
            abi.encodeWithSelector(IAttesterRegistry.NotOperator.selector, vm.addr(OPERATOR_KEY))
        );
        registry.setOperator(OPERATOR, keysOf(6));
        vm.prank(vm.addr(5));
        registry.setOperator(OPERATOR, keysOf(6));
        assertEq(abi.encode(registry.operatorOf(OPERATOR)), abi.encode(keysOf(5)));
        skip(2 days);
        assertEq(abi.encode(registry.operatorOf(OPERATOR)), abi.encode(keysOf(6)));
    }

    function test_keys_announced_again_replace_the_pending_ones() external {
        vm.startPrank(vm.addr(OPERATOR_KEY));
        registry.setOperator(OPERATOR, keysOf(5));
        skip(1 days);
        registry.setOperator(OPERATOR, keysOf(6));
        skip(1 days);
        assertEq(abi.encode(registry.operatorOf(OPERATOR)), abi.encode(operatorKeys()));
        skip(1 days);
        assertEq(abi.encode(registry.operatorOf(OPERATOR)), abi.encode(keysOf(6)));
    }

    function test_an_operators_keys_are_not_the_owners() external {
        vm.prank(address(timelock));
        vm.expectRevert(
            abi.encodeWithSelector(IAttesterRegistry.NotOperator.selector, address(timelock))
        );
        registry.setOperator(OPERATOR, keysOf(5));
    }

    function test_an_incomplete_operator() external {
        bytes4 refused = IAttesterRegistry.OperatorIncomplete.selector;
        IAttesterRegistry.Operator memory it = keysOf(5);
        vm.startPrank(address(timelock));
        vm.expectRevert(refused);
        registry.setOperator(OperatorId.wrap(0), it);
        it.signer = address(0);
        vm.expectRevert(refused);
        registry.setOperator(OTHER, it);
        it = keysOf(5);
        it.logKey = 0;
        vm.expectRevert(refused);
        registry.setOperator(OTHER, it);
        vm.stopPrank();
        vm.prank(vm.addr(OPERATOR_KEY));
        vm.expectRevert(refused);
        registry.setOperator(OPERATOR, it);
    }
}
