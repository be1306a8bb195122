// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {IAttesterRegistry} from "../../src/interfaces/IAttesterRegistry.sol";
import {Batch} from "../../src/Types.sol";
import {BatchLibCaller, create} from "../Contracts.sol";

/// @title HubDouble: what the registry sees of a hub, driven by a test.
contract HubDouble is EIP712("ChargEra Settlement", "1") {
    BatchLibCaller private immutable _library = BatchLibCaller(create("BatchLibCaller", ""));

    /// @dev As the hub's.
    function initialize(address) external {}

    function batchDigest(Batch calldata batch) external view returns (bytes32) {
        return _hashTypedDataV4(_library.hashBatch(batch));
    }

    function slash(IAttesterRegistry registry, uint112 signers, uint16 bps, address challenger)
        external
        returns (uint256)
    {
        return registry.slash(signers, bps, challenger);
    }

    function freeze(IAttesterRegistry registry, uint112 signers, uint40 until) external {
        registry.freeze(signers, until);
    }
}
