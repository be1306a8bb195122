// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {TransferAuthorization} from "./TransferAuthorization.sol";

/// @title TestEuro: a simulated euro, worth nothing, for demonstrations and tests.
/// @notice ERC-20 with 6 decimals, ERC-2612 and ERC-3009 as real euro coins have.
contract TestEuro is TransferAuthorization {
    /// @notice Who may mint: whoever deployed it.
    // forge-lint: disable-next-line(screaming-snake-case-immutable)
    address public immutable faucetOwner;

    error NotFaucetOwner(address caller);

    constructor() ERC20("Test Euro (simulated)", "simEUR") ERC20Permit("Test Euro (simulated)") {
        faucetOwner = msg.sender;
    }

    /// @notice Mint simulated euros to `to`, minor units. Only the deployer.
    function faucet(address to, uint256 amount) external {
        if (msg.sender != faucetOwner) revert NotFaucetOwner(msg.sender);
        _mint(to, amount);
    }

    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
