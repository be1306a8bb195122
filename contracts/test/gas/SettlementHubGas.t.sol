// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Attestation, Batch, Rail} from "../../src/Types.sol";
import {SettlementHubFixture} from "../SettlementHubFixture.sol";
import {vm} from "../Vm.sol";

/// @title Gas of the hub's entry points, whole transactions, batches of 48 with two signatures.
/// @dev "first": nobody had a balance and no passport was ever paid; "steady": the second batch of
/// the same payers, hosts and passports, while another one is pending, as a window of a day has it.
contract SettlementHubGasTest is SettlementHubFixture {
    uint256 private constant LEAVES = 48;
    uint256 private constant MOST_A_TRANSACTION = 15_000_000;
    uint256 private constant MOST_PROPOSE = LEAVES * 5_000;

    bool private _hasOneHost = true;

    function setUp() public override {}

    function hostKey(uint256 number) internal view override returns (uint256) {
        return _hasOneHost ? HOST_KEY : uint256(keccak256(abi.encode("host", number)));
    }

    function test_wallet_c4e_48_passports() external {
        measureBoth(48, Rail.Wallet, true, "wallet C4E, 48 passports");
    }

    function test_wallet_c4e_48_passports_of_48_hosts() external {
        _hasOneHost = false;
        measureBoth(48, Rail.Wallet, true, "wallet C4E, 48 passports of 48 hosts");
    }

    function test_wallet_c4e_20_passports() external {
        (uint256 proposed, uint256 settled) =
            measureBoth(20, Rail.Wallet, true, "wallet C4E, 20 passports");
        assertLe(proposed, MOST_PROPOSE, "bar: propose");
        assertLe(settled, LEAVES * 26_000, "bar: settle from a C4E wallet");
    }

    function test_wallet_c4e_20_passports_of_20_hosts() external {
        _hasOneHost = false;
        measureBoth(20, Rail.Wallet, true, "wallet C4E, 20 passports of 20 hosts");
    }

    function test_wallet_c4e_3_passports() external {
        measureBoth(3, Rail.Wallet, true, "wallet C4E, 3 passports");
    }

    function test_wallet_euro_20_passports() external {
        measureBoth(20, Rail.Wallet, false, "wallet EUR, 20 passports");
    }

    function test_fiat_euro_48_passports() external {
        measureBoth(48, Rail.Fiat, false, "fiat EUR, 48 passports");
    }

    function test_fiat_euro_20_passports() external {
        (uint256 proposed, uint256 settled) =
            measureBoth(20, Rail.Fiat, false, "fiat EUR, 20 passports");
        assertLe(proposed, MOST_PROPOSE, "bar: propose");
        assertLe(settled, LEAVES * 20_000, "bar: settle fiat");
    }

    function test_fiat_euro_3_passports() external {
        measureBoth(3, Rail.Fiat, false, "fiat EUR, 3 passports");
    }

    function test_around_a_session() external {
        deployAll(1);
        registerOne(1);
        vm.snapshotGasLastCall("SettlementHub", "register a passport");
        openFor(address(c4e), 1, 1);
        vm.snapshotGasLastCall("SettlementHub", "open, first");
        openFor(address(c4e), 1, 2);
        vm.snapshotGasLastCall("SettlementHub", "open, steady");
        Batch memory batch = emptyBatch(address(c4e), 2);
        batch.leaves[0] = leafOf(1, 0, Rail.Wallet, 5e6, 1e6);
        batch.leaves[1] = leafOf(2, 0, Rail.Wallet, 5e6, 1e6);
        batch.leaves[1].party = party(payerOf(1), 2, 2);
        assertEq(proposeAndSettle(batch), 3);
        uint256 id = uint256(passports[0]);
        vm.prank(HOST);
        shares.release(id, STRANGER, 400_000);
        vm.prank(STRANGER);
        shares.safeTransferFrom(STRANGER, KEEPER, id, 100_000, "");
        vm.snapshotGasLastCall("SettlementHub", "transfer of shares, 1 asset, new holder");
        assertTrue(shares.claim(id, address(c4e), HOST) != 0);
        vm.snapshotGasLastCall("SettlementHub", "claim");
        assertTrue(hub.withdrawFor(HOST, address(c4e)) != 0);
        vm.snapshotGasLastCall("SettlementHub", "withdrawFor");
    }

    function measureBoth(uint256 passportCount, Rail rail, bool isC4E, string memory name)
        private
        returns (uint256 proposed, uint256 settled)
    {
        deployAll(passportCount);
        // Three attesters are left: two are a quorum.
        vm.prank(beneficiaryOf(3));
        registry.askUnbond(3);
        address asset = isC4E ? address(c4e) : address(euro);
        (, uint256 first) = measure(asset, rail, 0, string.concat(name, ", first"));
        assertLe(first, 6_000_000, "bar: a first settle of 48");
        keepOnePending(asset, rail);
        return measure(asset, rail, LEAVES, string.concat(name, ", steady"));
    }

    function keepOnePending(address asset, Rail rail) private {
        Batch memory batch = rail == Rail.Fiat ? fiatBatch(asset, 1000) : walletBatch(asset, 1000);
        propose(batch, 3);
    }

    function measure(address asset, Rail rail, uint256 from, string memory name)
        private
        returns (uint256 proposed, uint256 settled)
    {
        Batch memory batch = emptyBatch(asset, LEAVES);
        for (uint256 i = 0; i < LEAVES; ++i) {
            uint256 session = from + i;
            uint256 place = i % passports.length;
            batch.leaves[i] = leafOf(session, place, rail, uint64(5_123_457 + i), 1_023_457);
            if (rail == Rail.Wallet) {
                // The same payers again, each in a session of his own.
                batch.leaves[i].party = party(payerOf(i), uint48(session), uint48(session));
                openFor(asset, i, session);
            } else {
                batch.fiatTotal += batch.leaves[i].money.amount();
            }
        }
        if (rail == Rail.Fiat) {
            batch.gateway = GATEWAY;
            depositGateway(asset, batch.fiatTotal * 2);
        }
        bytes32 digest = hub.batchDigest(batch);
        Attestation memory attestation = attest(digest, 3);
        bytes memory signature;
        if (rail == Rail.Fiat) signature = sign(GATEWAY_KEY, digest);
        hub.propose(batch, attestation, signature);
        proposed = vm.snapshotGasLastCall("SettlementHub", string.concat("propose, ", name));
        skip(1 days + 1);
        vm.prank(KEEPER);
        uint48 paid = hub.settle(batch);
        settled = vm.snapshotGasLastCall("SettlementHub", string.concat("settle, ", name));
        assertEq(paid, type(uint48).max);
        assertLe(proposed, MOST_A_TRANSACTION, "propose");
        assertLe(settled, MOST_A_TRANSACTION, "settle");
    }

    function openFor(address asset, uint256 payer, uint256 session) private {
        uint64 max = 10e6;
        fund(asset, payerOf(payer), max);
        vm.prank(payerOf(payer));
        c4e.approve(address(hub), max);
        vm.prank(payerOf(payer));
        euro.approve(address(hub), max);
        uint64 until = uint64(time());
        bytes memory signature =
            sign(payerKey(payer), openDigest(OPERATOR, keyOf(session), asset, max, until));
        hub.open(payerOf(payer), OPERATOR, keyOf(session), asset, max, until, signature);
    }
}
