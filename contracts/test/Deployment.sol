// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAttesterRegistry} from "../src/interfaces/IAttesterRegistry.sol";
import {ISettlementHub} from "../src/interfaces/ISettlementHub.sol";
import {AssetPolicy, Attestation, OperatorId, PolicyParameters} from "../src/Types.sol";
import {
    AttesterRegistry,
    C4EToken,
    ChargerPassport,
    ChargerShares,
    EmissionController,
    NetworkPolicy,
    NetworkTimelock,
    TestEuro,
    create
} from "./Contracts.sol";
import {HubDouble} from "./doubles/HubDouble.sol";
import {TestBase} from "./TestBase.sol";
import {vm} from "./Vm.sol";

/// @title Deployment: the whole set in the order of production, with four attesters.
/// @dev A test calls `deploy()` in its `setUp`. The test contract holds the genesis supply.
abstract contract Deployment is TestBase {
    uint256 internal constant START = 1_800_000_000; // 2027-01-15 08:00:00 UTC
    OperatorId internal constant OPERATOR = OperatorId.wrap("NL*C4E");
    uint256 internal constant OPERATOR_KEY = uint256(keccak256("operator"));
    uint256 internal constant BOND = 10_000e6;
    uint256 internal constant ATTESTERS = 4;

    address internal bootstrap = address(0xB007);
    NetworkTimelock internal timelock;
    TestEuro internal euro;
    C4EToken internal c4e;
    NetworkPolicy internal policy;
    AttesterRegistry internal registry;
    EmissionController internal emission;
    ChargerPassport internal passport;
    ChargerShares internal shares;
    ISettlementHub internal hub;

    function deploy() internal {
        vm.warp(START);
        uint256 first = vm.getNonce(address(this));
        address registryProxy = vm.computeCreateAddress(address(this), first + 7);
        address emissionProxy = vm.computeCreateAddress(address(this), first + 9);
        address hubProxy = vm.computeCreateAddress(address(this), first + 13);

        timelock = NetworkTimelock(create("NetworkTimelock", abi.encode(bootstrap)));
        euro = TestEuro(create("TestEuro", ""));
        c4e = C4EToken(create("C4EToken", abi.encode(address(this), emissionProxy)));
        policy = NetworkPolicy(
            proxy(
                create("NetworkPolicy", ""),
                abi.encodeCall(
                    NetworkPolicy.initialize,
                    (address(timelock), uint40(START), parameters(), assetPolicies())
                )
            )
        );
        address implementation = create("AttesterRegistry", abi.encode(c4e, hubProxy));
        c4e.transfer(registryProxy, ATTESTERS * BOND);
        // A transaction like the others, though forge counts it only under `isolate`.
        vm.setNonce(address(this), uint64(first) + 7);
        registry = AttesterRegistry(
            proxy(
                implementation,
                abi.encodeCall(
                    AttesterRegistry.initialize,
                    (address(timelock), genesis(), OPERATOR, operatorKeys())
                )
            )
        );
        emission = EmissionController(
            proxy(
                create("EmissionController", ""),
                abi.encodeCall(EmissionController.initialize, (address(timelock)))
            )
        );
        passport = ChargerPassport(
            create(
                "ChargerPassport",
                abi.encode(address(policy), registryProxy, address(c4e), emissionProxy)
            )
        );
        shares = ChargerShares(
            create("ChargerShares", abi.encode(address(passport), hubProxy, emissionProxy))
        );
        hub = ISettlementHub(deployHub());

        assertEq(address(registry), registryProxy, "registry as foretold");
        assertEq(address(emission), emissionProxy, "emission controller as foretold");
        assertEq(address(hub), hubProxy, "hub as foretold");
    }

    /// @dev Implementation and proxy: two contracts.
    function deployHub() internal virtual returns (address) {
        return
            proxy(
                address(new HubDouble()), abi.encodeCall(HubDouble.initialize, (address(timelock)))
            );
    }

    function proxy(address implementation, bytes memory call) internal returns (address) {
        return create("ERC1967Proxy", abi.encode(implementation, call));
    }

    function parameters() internal pure virtual returns (PolicyParameters memory) {
        return PolicyParameters({
            feeBps: 500,
            opsBps: 100,
            reserveBps: 0,
            settlementWindow: 1 days,
            refundAskAfter: 11 days,
            refundPayAfter: 3 days,
            contestPeriod: 3 days,
            rulingTimeout: 21 days,
            anchorInterval: 1 hours,
            anchorSessions: 100,
            disputeBond: 20e6,
            priceStepInterval: 15 minutes,
            lowUseBps: 1500,
            minedHours: 0x3f,
            serviceEnergyWh: 50_000_000,
            serviceDays: 365,
            faultScoreMin: 7000,
            uptimeBpsMin: 9500
        });
    }

    /// @dev Once C4E and the test euro stand.
    function assetPolicies() internal view virtual returns (AssetPolicy[] memory list) {
        list = new AssetPolicy[](2);
        list[0] = AssetPolicy({
            asset: address(c4e),
            decimals: 6,
            currency: 0,
            ceilingPerKwh: 40e6,
            ceilingPerHour: 200e6,
            ceilingFlat: 100e6,
            c4eRate: 1e6
        });
        list[1] = AssetPolicy({
            asset: address(euro),
            decimals: 6,
            currency: "EUR",
            ceilingPerKwh: 2e6,
            ceilingPerHour: 10e6,
            ceilingFlat: 5e6,
            c4eRate: 20e6
        });
    }

    function operatorKeys() internal pure returns (IAttesterRegistry.Operator memory) {
        return IAttesterRegistry.Operator(
            vm.addr(OPERATOR_KEY), keccak256("log key of the operator"), address(0x1001)
        );
    }

    function genesis() internal pure returns (AttesterRegistry.Genesis[] memory list) {
        list = new AttesterRegistry.Genesis[](ATTESTERS);
        for (uint8 i = 0; i < ATTESTERS; ++i) {
            list[i] = AttesterRegistry.Genesis(signerOf(i), beneficiaryOf(i));
        }
    }

    function attesterKey(uint8 index) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("attester", index)));
    }

    function signerOf(uint8 index) internal pure returns (address) {
        return vm.addr(attesterKey(index));
    }

    function beneficiaryOf(uint8 index) internal pure returns (address) {
        return vm.addr(uint256(keccak256(abi.encode("beneficiary", index))));
    }

    /// @dev The signatures of these attesters (bit i: index i) over a digest.
    function attest(bytes32 digest, uint112 signers)
        internal
        pure
        returns (Attestation memory attestation)
    {
        attestation.signers = signers;
        uint256 count = 0;
        for (uint8 i = 0; i < 112; ++i) {
            count += (signers >> i) & 1;
        }
        attestation.signatures = new bytes[](count);
        count = 0;
        for (uint8 i = 0; i < 112; ++i) {
            if ((signers >> i) & 1 != 0) {
                attestation.signatures[count++] = sign(attesterKey(i), digest);
            }
        }
    }

    /// @dev The first three: a quorum.
    function attest(bytes32 digest) internal pure returns (Attestation memory) {
        return attest(digest, 7);
    }
}
