// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The proxy that what can change stands behind, compiled as everything else is.
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
