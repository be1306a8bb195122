// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAttesterRegistry} from "../../src/interfaces/IAttesterRegistry.sol";
import {Attestation, Batch, Leaf, LeafMoney} from "../../src/Types.sol";
import {AttesterRegistry, C4EToken} from "../Contracts.sol";
import {Deployment} from "../Deployment.sol";
import {HubDouble} from "../doubles/HubDouble.sol";
import {vm} from "../Vm.sol";

/// @dev Attesters come, go, are slashed and frozen at random; a model keeps what must be true.
contract AttesterRegistryHandler is Deployment {
    struct Seen {
        address signer;
        uint256 bond;
        uint256 leftAt;
        bool isActive;
        bool isSlashed;
    }

    address public constant CHALLENGER = address(0xC4A);
    uint256 private constant MOST = 10;

    uint256 public clock = START;
    uint256 public genesisSupply;
    uint256 public deposited;
    uint256 public withdrawn;
    uint256 public slashed;
    Seen[] public seen;
    /// @dev How often what a function is for has really happened.
    mapping(bytes32 => uint256) public did;

    constructor() {
        deploy();
        genesisSupply = c4e.totalSupply();
        deposited = ATTESTERS * BOND;
        for (uint256 i = 0; i < ATTESTERS; ++i) {
            seen.push(Seen(signerOf(uint8(i)), BOND, 0, true, false));
        }
    }

    modifier atClock() {
        vm.warp(clock);
        _;
    }

    function deployHub() internal override returns (address) {
        return
            proxy(
                address(new HubDouble()), abi.encodeCall(HubDouble.initialize, (address(timelock)))
            );
    }

    function contracts() external view returns (AttesterRegistry, C4EToken) {
        return (registry, c4e);
    }

    function count() public view returns (uint256) {
        return seen.length;
    }

    function wait(uint256 duration) external atClock {
        clock += bound(duration, 0, 9 days);
        ++did["wait"];
    }

    function admit() external atClock {
        if (seen.length < MOST) admitOne();
    }

    function admitOne() private returns (uint8 index) {
        index = uint8(seen.length);
        c4e.transfer(beneficiaryOf(index), BOND);
        vm.prank(beneficiaryOf(index));
        c4e.approve(address(registry), BOND);
        vm.prank(address(timelock));
        assertEq(registry.admit(signerOf(index), beneficiaryOf(index)), index);
        seen.push(Seen(signerOf(index), BOND, 0, true, false));
        deposited += BOND;
        ++did["admit"];
    }

    function leave(uint256 choice, bool isEvicted) external atClock {
        uint8 index = uint8(choice % seen.length);
        Seen storage it = seen[index];
        vm.prank(isEvicted ? address(timelock) : beneficiaryOf(index));
        (bool done,) = address(registry)
            .call(
                isEvicted
                    ? abi.encodeCall(registry.evict, (index))
                    : abi.encodeCall(registry.askUnbond, (index))
            );
        assertTrue(done == it.isActive, "whoever is active may leave, and nobody else");
        if (!done) return;
        (it.isActive, it.leftAt) = (false, clock);
        ++did[isEvicted ? bytes32("evict") : bytes32("ask to unbond")];
    }

    /// @dev I13: paid out exactly when 21 days have passed and no freeze holds.
    function withdraw(uint256 choice) external atClock {
        uint8 index = uint8(choice % seen.length);
        Seen storage it = seen[index];
        uint256 frozenUntil = registry.attesterOf(index).frozenUntil;
        uint256 before = c4e.balanceOf(beneficiaryOf(index));
        bool mayBe =
            it.leftAt != 0 && it.bond != 0 && clock >= it.leftAt + 21 days && clock >= frozenUntil;
        try registry.withdrawBond(index) {
            assertTrue(mayBe, "paid out too early");
            assertEq(c4e.balanceOf(beneficiaryOf(index)) - before, it.bond);
            withdrawn += it.bond;
            it.bond = 0;
            ++did["pay out"];
        } catch {
            assertFalse(mayBe, "not paid out in time");
            ++did["refuse to pay out"];
        }
    }

    /// @dev I13: nobody gets out of it but by being paid out.
    function slash(uint112 signers, uint16 bps) external atClock {
        bps %= 4001;
        uint256 expected = 0;
        for (uint256 i = 0; i < seen.length; ++i) {
            if ((signers >> i) & 1 == 0) continue;
            uint256 part = seen[i].bond * bps / 10_000;
            if (part != 0 && seen[i].leftAt != 0) ++did["slash one who is leaving"];
            seen[i].bond -= part;
            expected += part;
        }
        assertEq(HubDouble(address(hub)).slash(registry, signers, bps, CHALLENGER), expected);
        slashed += expected;
        if (expected != 0) ++did["slash"];
    }

    function freeze(uint112 signers, uint256 duration) external atClock {
        uint40 until = uint40(clock + bound(duration, 0, 30 days));
        HubDouble(address(hub)).freeze(registry, signers, until);
        for (uint8 i = 0; i < seen.length; ++i) {
            if (registry.attesterOf(i).frozenUntil > clock) ++did["freeze"];
        }
    }

    function equivocate(uint256 choice) external atClock {
        // Rarely: it ends an attester for ever.
        uint8 index = uint8(choice % (3 * MOST));
        if (index >= seen.length || seen[index].isSlashed) return;
        Seen storage it = seen[index];
        Batch memory a = batchOf(1);
        Batch memory b = batchOf(2);
        bytes memory signatureA = sign(attesterKey(index), hub.batchDigest(a));
        bytes memory signatureB = sign(attesterKey(index), hub.batchDigest(b));
        vm.prank(CHALLENGER);
        registry.slashEquivocation(index, a, 0, signatureA, b, 0, signatureB);
        slashed += it.bond;
        (it.bond, it.isActive, it.isSlashed) = (0, false, true);
        ++did["slash for equivocation"];
    }

    /// @dev I14: any set of signers, or only active ones, with a signature doubled or not.
    function attestAs(uint16 signers, bytes32 digest, uint256 kind) external atClock {
        (uint112 mask,) = registry.masks();
        if (kind % 4 == 0) signers = uint16(mask);
        else if (kind % 4 == 1) signers &= uint16(mask);
        bool isDoubled = (kind >> 8) % 3 == 0;
        Attestation memory attestation = attest(digest, signers);
        uint256 signatures = attestation.signatures.length;
        if (isDoubled && signatures > 1) {
            attestation.signatures[signatures - 1] = attestation.signatures[0];
        }
        uint256 active = 0;
        bool allActive = true;
        for (uint256 i = 0; i < 16; ++i) {
            bool isActive = i < seen.length && seen[i].isActive;
            if (isActive) ++active;
            if ((signers >> i) & 1 != 0 && !isActive) allActive = false;
        }
        uint256 needed = active <= 3 ? 2 : 2 * active / 3 + 1;
        assertEq(registry.quorum(), needed);
        bool isQuorum = allActive && signatures >= needed && !(isDoubled && signatures > 1);
        try registry.checkQuorum(digest, attestation) returns (uint256 found, uint256 quorum) {
            assertTrue(isQuorum, "no quorum, and it passed");
            assertEq(found, signatures);
            assertEq(quorum, needed);
            ++did["find a quorum"];
        } catch {
            assertFalse(isQuorum, "a quorum, and it failed");
            ++did["find no quorum"];
        }
    }

    /// @dev What chance may have left out, once, with attesters who have done nothing yet.
    function doEverything() external {
        this.wait(1 days);
        uint8 evicted = admitOne();
        uint8 leaving = admitOne();
        uint8 lying = admitOne();
        this.leave(evicted, true);
        this.leave(leaving, false);
        this.slash(uint112(1) << leaving, 2000);
        this.freeze(uint112(1) << leaving, 5 days);
        this.withdraw(leaving);
        clock += 30 days;
        this.withdraw(leaving);
        this.equivocate(lying);
        admitOne();
        admitOne();
        this.attestAs(0, "a quorum", 1 << 8);
        this.attestAs(0, "nobody", 3 | 1 << 8);
    }

    function batchOf(uint256 money) internal view returns (Batch memory batch) {
        batch.operatorId = OPERATOR;
        batch.asset = address(euro);
        batch.passports = new bytes32[](1);
        batch.leaves = new Leaf[](1);
        batch.leaves[0].money = LeafMoney.wrap(money);
    }
}

/// forge-config: default.invariant.fail-on-revert = true
/// forge-config: default.invariant.runs = 10
/// forge-config: default.invariant.depth = 256
contract AttesterRegistryInvariants is Deployment {
    AttesterRegistryHandler private _handler;
    AttesterRegistry private _registry;
    C4EToken private _c4e;

    function setUp() external {
        _handler = new AttesterRegistryHandler();
        (_registry, _c4e) = _handler.contracts();
        bytes4[] memory selectors = new bytes4[](8);
        selectors[0] = AttesterRegistryHandler.wait.selector;
        selectors[1] = AttesterRegistryHandler.admit.selector;
        selectors[2] = AttesterRegistryHandler.leave.selector;
        selectors[3] = AttesterRegistryHandler.withdraw.selector;
        selectors[4] = AttesterRegistryHandler.slash.selector;
        selectors[5] = AttesterRegistryHandler.freeze.selector;
        selectors[6] = AttesterRegistryHandler.equivocate.selector;
        selectors[7] = AttesterRegistryHandler.attestAs.selector;
        target(address(_handler), selectors);
    }

    function invariant_bonds_and_indexes() external view {
        checkAll();
    }

    function checkAll() internal view {
        checkBonds();
        checkIndexes();
    }

    /// @dev I12: slashed = burned + bounties; what came in is held, paid out or slashed.
    function checkBonds() internal view {
        uint256 bonds = 0;
        for (uint8 i = 0; i < _handler.count(); ++i) {
            (, uint256 bond,,,) = _handler.seen(i);
            assertEq(_registry.bondOf(i), bond);
            bonds += bond;
        }
        assertEq(_c4e.balanceOf(address(_registry)), bonds, "held = bonds");
        assertEq(_handler.deposited(), bonds + _handler.withdrawn() + _handler.slashed());
        uint256 burned = _handler.genesisSupply() - _c4e.totalSupply();
        uint256 bounties = _c4e.balanceOf(_handler.CHALLENGER());
        assertEq(_handler.slashed(), burned + bounties, "slashed = burned + bounties");
        assertLe(bounties, _handler.slashed() / 4);
    }

    /// @dev Indexes, signers and masks say the same as the model, for ever.
    function checkIndexes() internal view {
        (uint112 active, uint112 slashed) = _registry.masks();
        assertEq(_registry.attesterCount(), _handler.count());
        for (uint8 i = 0; i < _handler.count(); ++i) {
            (address signer,, uint256 leftAt, bool isActive, bool isSlashed) = _handler.seen(i);
            IAttesterRegistry.Attester memory it = _registry.attesterOf(i);
            assertEq(it.signer, signer);
            assertEq(_registry.placeOf(it.signer), uint256(i) + 1);
            assertEq(it.unbondingSince, leftAt);
            assertTrue((active >> i) & 1 == 1 == isActive && it.isActive == isActive);
            assertTrue((slashed >> i) & 1 == 1 == isSlashed && it.isSlashed == isSlashed);
            assertLe(it.frozenUntil, uint256(it.frozenSince) + 21 days);
        }
        assertEq(active >> _handler.count(), 0);
        assertEq(slashed >> _handler.count(), 0);
    }

    /// @dev Nothing above passes because nothing happened.
    function afterInvariant() external {
        _handler.doEverything();
        checkAll();
        bytes32[12] memory all = [
            bytes32("wait"),
            "admit",
            "evict",
            "ask to unbond",
            "pay out",
            "refuse to pay out",
            "slash",
            "slash one who is leaving",
            "freeze",
            "slash for equivocation",
            "find a quorum",
            "find no quorum"
        ];
        for (uint256 i = 0; i < all.length; ++i) {
            assertGt(_handler.did(all[i]), 0, string.concat("never did it ", vm.toString(all[i])));
        }
    }
}
