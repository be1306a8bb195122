// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {C4EToken, Coin, TestEuro, create} from "./Contracts.sol";
import {TestBase} from "./TestBase.sol";
import {vm} from "./Vm.sol";

/// @dev A contract wallet that approves whatever its owner sent it before.
contract ApprovingWallet is IERC1271 {
    bytes32 public approved;

    function approve(bytes32 hash) external {
        approved = hash;
    }

    function isValidSignature(bytes32 hash, bytes calldata) external view returns (bytes4) {
        return hash == approved ? IERC1271.isValidSignature.selector : bytes4(0);
    }
}

/// @dev The same for both assets that are ours.
abstract contract TransferAuthorizationTest is TestBase {
    uint256 private constant KEY = 4711;
    address private constant BOB = address(0xB0B);
    uint256 private constant START = 1_800_000_000;

    Coin private _asset;
    address private _payer = vm.addr(KEY);

    function give(address to, uint256 amount) internal virtual returns (Coin);

    function setUp() external {
        vm.warp(START);
        _asset = give(_payer, 1000);
    }

    function separator() internal view returns (bytes32) {
        (, string memory name, string memory version, uint256 chain, address self,,) =
            _asset.eip712Domain();
        return keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256(bytes(name)),
                keccak256(bytes(version)),
                chain,
                self
            )
        );
    }

    function digest(string memory kind, address from, address to, uint256 value, bytes32 nonce)
        internal
        view
        returns (bytes32)
    {
        string memory fields =
            "(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)";
        bytes32 typehash = keccak256(abi.encodePacked(kind, fields));
        bytes32 hash = keccak256(abi.encode(typehash, from, to, value, 0, START + 100, nonce));
        return keccak256(abi.encodePacked("\x19\x01", separator(), hash));
    }

    /// @dev Nonces are free, in any order: an escrow id serves as one.
    function testFuzz_any_nonce_once(bytes32[4] memory nonces) external {
        for (uint256 i = 0; i < 4; ++i) {
            bytes32 hash = digest("ReceiveWithAuthorization", _payer, BOB, 10, nonces[i]);
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, hash);
            bool used = _asset.authorizationState(_payer, nonces[i]);
            vm.prank(BOB);
            if (used) {
                vm.expectRevert(
                    abi.encodeWithSelector(
                        ERC3009.ERC3009UsedAuthorization.selector, _payer, nonces[i]
                    )
                );
            }
            _asset.receiveWithAuthorization(_payer, BOB, 10, 0, START + 100, nonces[i], v, r, s);
            assertTrue(_asset.authorizationState(_payer, nonces[i]), "used");
        }
    }

    function test_only_the_payee_receives() external {
        bytes32 hash = digest("ReceiveWithAuthorization", _payer, BOB, 10, "n");
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, hash);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, BOB));
        _asset.receiveWithAuthorization(_payer, BOB, 10, 0, START + 100, "n", v, r, s);
    }

    function test_other_values_than_signed() external {
        bytes32 hash = digest("TransferWithAuthorization", _payer, BOB, 10, "n");
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, hash);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _asset.transferWithAuthorization(_payer, BOB, 11, 0, START + 100, "n", v, r, s);
        _asset.transferWithAuthorization(_payer, BOB, 10, 0, START + 100, "n", v, r, s);
        assertEq(_asset.balanceOf(BOB), 10);
    }

    function test_not_after_its_time() external {
        bytes32 hash = digest("TransferWithAuthorization", _payer, BOB, 10, "n");
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(KEY, hash);
        skip(100);
        vm.expectRevert(
            abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, 0, START + 100)
        );
        _asset.transferWithAuthorization(_payer, BOB, 10, 0, START + 100, "n", v, r, s);
    }

    function test_contract_wallets_sign_too() external {
        ApprovingWallet wallet = new ApprovingWallet();
        vm.prank(_payer);
        _asset.transfer(address(wallet), 100);
        bytes32 hash = digest("TransferWithAuthorization", address(wallet), BOB, 10, "n");
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        _asset.transferWithAuthorization(address(wallet), BOB, 10, 0, START + 100, "n", "");
        wallet.approve(hash);
        _asset.transferWithAuthorization(address(wallet), BOB, 10, 0, START + 100, "n", "");
        assertEq(_asset.balanceOf(BOB), 10);
    }
}

contract C4ETransferAuthorizationTest is TransferAuthorizationTest {
    function give(address to, uint256 amount) internal override returns (Coin) {
        C4EToken c4e = C4EToken(create("C4EToken", abi.encode(address(this), address(1))));
        c4e.transfer(to, amount);
        return c4e;
    }
}

contract TestEuroTransferAuthorizationTest is TransferAuthorizationTest {
    function give(address to, uint256 amount) internal override returns (Coin) {
        TestEuro euro = TestEuro(create("TestEuro", ""));
        euro.faucet(to, amount);
        return euro;
    }
}
