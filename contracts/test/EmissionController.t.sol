// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {NoticeUpgradeable} from "../src/NoticeUpgradeable.sol";
import {C4EToken, EmissionController} from "./Contracts.sol";
import {Deployment} from "./Deployment.sol";
import {vm} from "./Vm.sol";

/// @dev What might come later: it mints all that it can.
contract GreedyMinter is NoticeUpgradeable {
    function mintAll(C4EToken c4e, address to) external returns (uint256 amount) {
        amount = c4e.mintable();
        c4e.mint(to, amount);
    }
}

contract EmissionControllerTest is Deployment {
    function setUp() external {
        deploy();
    }

    function test_the_immutable_contracts_name_it() external view {
        assertEq(c4e.minter(), address(emission));
        assertEq(passport.EMISSION_CONTROLLER(), address(emission));
        assertEq(shares.EMISSION_CONTROLLER(), address(emission));
        assertEq(emission.owner(), address(timelock));
    }

    /// @dev It has no function but those of the notice.
    function testFuzz_it_does_nothing(bytes4 selector, bytes calldata arguments) external {
        bytes4[9] memory known = [
            EmissionController.initialize.selector,
            emission.announceUpgrade.selector,
            emission.cancelUpgrade.selector,
            emission.upgradeToAndCall.selector,
            emission.pendingUpgrade.selector,
            emission.owner.selector,
            emission.UPGRADE_NOTICE.selector,
            emission.UPGRADE_TERM.selector,
            emission.UPGRADE_INTERFACE_VERSION.selector
        ];
        for (uint256 i = 0; i < known.length; ++i) {
            if (selector == known[i]) return;
        }
        vm.prank(address(timelock));
        (bool done,) = address(emission).call(bytes.concat(selector, arguments));
        assertFalse(done, "it did something");
    }

    /// @dev I8: whatever comes after years of nothing gets what 14 days give, and not more at once.
    function test_a_later_minter_gets_at_most_14_days() external {
        skip(700 days);
        address code = address(new GreedyMinter());
        vm.prank(address(timelock));
        emission.announceUpgrade(code, code.codehash, keccak256(""));
        skip(49 days);
        emission.upgradeToAndCall(code, "");
        GreedyMinter minter = GreedyMinter(address(emission));
        uint256 now_ = time();
        uint256 minted = minter.mintAll(c4e, address(0xA));
        assertEq(minted, c4e.scheduledUntil(now_) - c4e.scheduledUntil(now_ - 14 days));
        assertEq(minter.mintAll(c4e, address(0xA)), 0);
    }
}
