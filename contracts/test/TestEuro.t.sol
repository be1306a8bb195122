// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestEuro, create} from "./Contracts.sol";
import {TestBase} from "./TestBase.sol";
import {vm} from "./Vm.sol";

contract TestEuroTest is TestBase {
    TestEuro private _euro = TestEuro(create("TestEuro", ""));

    function test_says_that_it_is_simulated() external view {
        assertEq(_euro.name(), "Test Euro (simulated)");
        assertEq(_euro.symbol(), "simEUR");
        assertEq(_euro.decimals(), 6);
        assertEq(_euro.totalSupply(), 0);
    }

    function test_faucet_by_its_deployer() external {
        _euro.faucet(address(0xA), 25e6);
        assertEq(_euro.balanceOf(address(0xA)), 25e6);
        assertEq(_euro.faucetOwner(), address(this));
    }

    function test_faucet_by_another() external {
        vm.prank(address(0xA));
        vm.expectRevert(abi.encodeWithSelector(TestEuro.NotFaucetOwner.selector, address(0xA)));
        _euro.faucet(address(0xA), 1);
    }

    function test_permit() external {
        uint256 key = 77;
        address payer = vm.addr(key);
        bytes32 typehash = keccak256(
            "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
        );
        bytes32 hash = keccak256(
            abi.encodePacked(
                "\x19\x01",
                _euro.DOMAIN_SEPARATOR(),
                keccak256(abi.encode(typehash, payer, address(this), 9, 0, type(uint256).max))
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, hash);
        _euro.permit(payer, address(this), 9, type(uint256).max, v, r, s);
        assertEq(_euro.allowance(payer, address(this)), 9);
        assertEq(_euro.nonces(payer), 1);
    }
}
