// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";
import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {
    AttesterRegistry,
    EmissionController,
    NetworkPolicy,
    Upgradeable,
    codeOf
} from "./Contracts.sol";
import {Deployment} from "./Deployment.sol";
import {vm} from "./Vm.sol";

contract DeploymentTest is Deployment {
    function setUp() external {
        deploy();
    }

    /// @dev Optimizer and all: what tests deploy is, byte for byte, what comes with the package.
    function test_what_is_tested_is_what_is_shipped() external view {
        string[11] memory names = [
            "AttesterRegistry",
            "C4EToken",
            "ChargerPassport",
            "ChargerShares",
            "ERC1967Proxy",
            "EmissionController",
            "NetworkPolicy",
            "NetworkTimelock",
            "SettlementCourt",
            "SettlementHub",
            "TestEuro"
        ];
        for (uint256 i = 0; i < names.length; ++i) {
            string memory path =
                string.concat("../src/chargera/ledger/contracts/", names[i], ".json");
            bytes32 shipped = keccak256(vm.parseJsonBytes(vm.readFile(path), ".bytecode"));
            assertEq(keccak256(codeOf(names[i])), shipped, names[i]);
        }
    }

    function test_everything_owned_is_the_timelocks() external view {
        assertEq(policy.owner(), address(timelock));
        assertEq(registry.owner(), address(timelock));
        assertEq(emission.owner(), address(timelock));
    }

    function test_nobody_initializes_again() external {
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        policy.initialize(address(this), uint40(START), parameters(), assetPolicies());
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        registry.initialize(address(this), genesis(), OPERATOR, operatorKeys());
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        emission.initialize(address(this));
    }

    function test_nobody_initializes_an_implementation() external {
        NetworkPolicy policyCode = NetworkPolicy(implementationOf(policy));
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        policyCode.initialize(address(this), uint40(START), parameters(), assetPolicies());
        AttesterRegistry registryCode = AttesterRegistry(implementationOf(registry));
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        registryCode.initialize(address(this), genesis(), OPERATOR, operatorKeys());
        EmissionController emissionCode = EmissionController(implementationOf(emission));
        vm.expectRevert(Initializable.InvalidInitialization.selector);
        emissionCode.initialize(address(this));
    }

    function implementationOf(Upgradeable proxied) internal view returns (address) {
        bytes32 word = vm.load(address(proxied), ERC1967Utils.IMPLEMENTATION_SLOT);
        return address(uint160(uint256(word)));
    }
}
