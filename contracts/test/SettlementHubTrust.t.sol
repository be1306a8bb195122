// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

import {IAttesterRegistry} from "../src/interfaces/IAttesterRegistry.sol";
import {IChargerPassport} from "../src/interfaces/IChargerPassport.sol";
import {INoticeUpgradeable} from "../src/interfaces/INoticeUpgradeable.sol";
import {Attestation, Batch, LeafMeter, Rail} from "../src/Types.sol";
import {create} from "./Contracts.sol";
import {SettlementHubFixture} from "./SettlementHubFixture.sol";
import {vm} from "./Vm.sol";

/// @dev A host who consents once, and from then on burns all gas of whoever calls him.
contract GreedyHost is IERC1271 {
    bool private _isGreedy;

    function turn() external {
        _isGreedy = true;
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        require(!_isGreedy);
        return IERC1271.isValidSignature.selector;
    }

    fallback() external {
        assembly ("memory-safe") {
            invalid()
        }
    }
}

/// @title What one party of a settlement could try against another.
contract SettlementHubTrustTest is SettlementHubFixture {
    /// @dev In storage: the optimizer may read a local of `block.chainid` anew after a cheat.
    uint256 private _chain;

    function setUp() public override {
        super.setUp();
        _chain = block.chainid;
    }

    // Signatures --------------------------------------------------------------------------------

    function test_attesters_sign_for_one_chain_and_one_hub() external {
        Batch memory batch = walletBatch(address(euro), 1);
        bytes memory wrong = abi.encodeWithSelector(IAttesterRegistry.WrongSignature.selector, 0);
        Attestation memory elsewhere = attest(digestOnAnotherChain(batch));
        vm.expectRevert(wrong);
        hub.propose(batch, elsewhere, "");
        elsewhere = attest(digestOfAnotherHub(batch));
        vm.expectRevert(wrong);
        hub.propose(batch, elsewhere, "");
        propose(batch);
    }

    function test_a_gateway_signs_for_one_chain_and_one_hub() external {
        Batch memory batch = fiatBatch(address(euro), 1);
        Attestation memory attestation = attest(hub.batchDigest(batch));
        bytes memory wrong = abi.encodeWithSelector(WrongSignature.selector, GATEWAY);
        bytes memory elsewhere = sign(GATEWAY_KEY, digestOnAnotherChain(batch));
        vm.expectRevert(wrong);
        hub.propose(batch, attestation, elsewhere);
        elsewhere = sign(GATEWAY_KEY, digestOfAnotherHub(batch));
        vm.expectRevert(wrong);
        hub.propose(batch, attestation, elsewhere);
        propose(batch);
    }

    function test_an_operator_lowers_on_one_chain() external {
        openEscrow(address(euro), 1, 10e6);
        uint64 until = uint64(time());
        address payer = payerOf(1);
        vm.chainId(_chain + 1);
        bytes memory elsewhere = sign(OPERATOR_KEY, lowerDigest(escrowIdOf(1), 1, until));
        vm.chainId(_chain);
        vm.expectRevert(abi.encodeWithSelector(WrongSignature.selector, vm.addr(OPERATOR_KEY)));
        hub.lowerMax(payer, OPERATOR, keyOf(1), 1, until, elsewhere);
    }

    /// @dev One signature lowers once: what was lowered further since does not rise again.
    function test_a_lowering_is_not_repeated() external {
        openEscrow(address(euro), 1, 10e6);
        uint64 until = uint64(time());
        address payer = payerOf(1);
        bytes memory signature = sign(OPERATOR_KEY, lowerDigest(escrowIdOf(1), 8e6, until));
        hub.lowerMax(payer, OPERATOR, keyOf(1), 8e6, until, signature);
        vm.expectRevert(abi.encodeWithSelector(NotLower.selector, 8e6));
        hub.lowerMax(payer, OPERATOR, keyOf(1), 8e6, until, signature);
        lower(1, 5e6);
        vm.expectRevert(abi.encodeWithSelector(NotLower.selector, 5e6));
        hub.lowerMax(payer, OPERATOR, keyOf(1), 8e6, until, signature);
        assertEq(hub.withdrawable(payer, address(euro)), 5e6);
    }

    // Hosts -------------------------------------------------------------------------------------

    /// @dev A host may be a contract (ERC-1271); nothing of a settlement calls it.
    function test_a_host_that_burns_gas_stops_nobody() external {
        GreedyHost host = new GreedyHost();
        bytes32 greedy = registerFor(address(host), "GREEDY-1");
        skip(3 days);
        passport.confirm(greedy);
        uint40 start = uint40(time());
        skip(1 days);
        host.turn();
        Batch memory batch = fiatBatch(address(euro), 1);
        batch.passports = new bytes32[](1);
        batch.passports[0] = greedy;
        batch.leaves[0].meter = meter(start, start + 1, 1, 0, 1, Rail.Fiat, POLICY_VERSION);
        assertEq(proposeAndSettle(batch), 1);
        assertEq(hub.withdrawFor(address(host), address(euro)), 1.5e6);
        assertEq(shares.claim(uint256(greedy), address(euro), address(host)), 3.2e6);
        assertEq(euro.balanceOf(address(host)), 4.7e6);
    }

    // Attesters ---------------------------------------------------------------------------------

    /// @dev Leaving in the second after the proposal saves nobody: neither from a challenge in the
    /// window nor from a ruling in time, and whoever waits for his bond waits for the dispute.
    function test_who_leaves_after_signing_is_slashed_all_the_same() external {
        Batch memory lie = walletBatch(address(euro), 1);
        lie.leaves[0].meter = LeafMeter.wrap(LeafMeter.unwrap(lie.leaves[0].meter) | 0xffff << 128);
        propose(lie);
        Batch memory doubted = walletBatch(address(euro), 2);
        propose(doubted);
        for (uint8 i = 0; i < 3; ++i) {
            vm.prank(beneficiaryOf(i));
            registry.askUnbond(i);
        }
        skip(1 days);
        hub.challengeImpossible(lie, 0);
        assertEq(registry.bondOf(1), BOND * 4 / 5);
        uint256 id = dispute(doubted, 0, STRANGER);
        uint40 until = uint40(time()) + 21 days;
        appointGovernor();
        skip(1);
        hub.settle(doubted);
        skip(20 days); // 21 since they left
        vm.expectRevert(abi.encodeWithSelector(IAttesterRegistry.Frozen.selector, until));
        registry.withdrawBond(0);
        vm.prank(GOVERNOR);
        hub.rule(id, doubted, false);
        assertEq(registry.bondOf(0), BOND * 4 / 5 * 4 / 5);
        vm.warp(until);
        registry.withdrawBond(0);
        assertEq(c4e.balanceOf(beneficiaryOf(0)), BOND * 4 / 5 * 4 / 5);
    }

    // Owners ------------------------------------------------------------------------------------

    /// @dev Until there is a Governor nobody rules: not the bootstrap key, not the Timelock.
    function test_the_bootstrap_key_rules_nothing() external {
        Batch memory batch = walletBatch(address(euro), 1);
        propose(batch);
        uint256 id = dispute(batch, 0, STRANGER);
        settle(batch);
        address[2] memory rulers = [bootstrap, address(timelock)];
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(rulers[i]);
            vm.expectRevert(abi.encodeWithSelector(NotGovernor.selector, rulers[i]));
            hub.rule(id, batch, false);
        }
        vm.prank(bootstrap);
        vm.expectRevert(abi.encodeWithSelector(INoticeUpgradeable.NotOwner.selector, bootstrap));
        policy.setGovernor(bootstrap);
    }

    /// @dev Other code, the same books; and who does not like it has had seven weeks to leave.
    function test_an_upgrade_keeps_the_books() external {
        openEscrow(address(euro), 1, 10e6);
        depositGateway(address(c4e), 7e6);
        proposeAndSettle(walletBatch(address(euro), 2));
        address next = nextHub();
        INoticeUpgradeable upgradeable = INoticeUpgradeable(address(hub));
        bytes32 codeHash = next.codehash;
        vm.prank(bootstrap);
        vm.expectRevert(abi.encodeWithSelector(INoticeUpgradeable.NotOwner.selector, bootstrap));
        upgradeable.announceUpgrade(next, codeHash, keccak256(""));
        vm.prank(address(timelock));
        upgradeable.announceUpgrade(next, codeHash, keccak256(""));
        skip(49 days);
        vm.prank(STRANGER);
        UUPS(address(hub)).upgradeToAndCall(next, "");
        assertEq(freeOf(address(c4e)), 7e6);
        assertTrue(hub.isSettled(OPERATOR, address(euro), 2));
        assertEq(hub.withdrawFor(payerOf(2), address(euro)), 4e6);
        vm.prank(payerOf(1));
        hub.askRefund(OPERATOR, keyOf(1));
        skip(3 days);
        hub.refund(payerOf(1), OPERATOR, keyOf(1));
        assertEq(hub.withdrawFor(payerOf(1), address(euro)), 10e6);
    }

    // Steps -------------------------------------------------------------------------------------

    function digestOnAnotherChain(Batch memory batch) private returns (bytes32 digest) {
        vm.chainId(_chain + 1);
        digest = hub.batchDigest(batch);
        vm.chainId(_chain);
    }

    function digestOfAnotherHub(Batch memory batch) private returns (bytes32) {
        return Digests(nextHub()).batchDigest(batch);
    }

    function nextHub() private returns (address) {
        return create(
            "SettlementHub",
            abi.encode(
                address(c4e),
                address(passport),
                address(shares),
                address(policy),
                address(registry),
                address(timelock),
                address(court)
            )
        );
    }

    function registerFor(address host, string memory serial) private returns (bytes32) {
        IChargerPassport.RegistrationRequest memory asked;
        asked.manufacturer = "ALFEN";
        asked.serial = serial;
        asked.operatorId = OPERATOR;
        asked.host = host;
        asked.commissionBps = COMMISSION_BPS;
        asked.ratedW = RATED_W;
        asked.evseCount = 1;
        return passport.register(asked, attest(passport.registrationDigest(asked)), "");
    }
}

interface Digests {
    function batchDigest(Batch calldata batch) external view returns (bytes32);
}

interface UUPS {
    function upgradeToAndCall(address implementation, bytes calldata data) external payable;
}
