// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BatchLib} from "../../src/BatchLib.sol";
import {Batch, Leaf, LeafMeter, LeafMoney, LeafParty} from "../../src/Types.sol";

/// @title The functions of BatchLib, called from without.
/// @dev Compiled as the contracts are: the library's gas is one of its properties, and it takes
/// more stack than there is without the optimizer.
contract BatchLibCaller {
    function typehash() external pure returns (bytes32) {
        return BatchLib.BATCH_TYPEHASH;
    }

    function hashBatch(Batch calldata batch) external pure returns (bytes32) {
        return BatchLib.hashBatch(batch);
    }

    function hashLeaves(Leaf[] calldata leaves) external pure returns (bytes32) {
        return BatchLib.hashLeaves(leaves);
    }

    function hashLeavesBetween(Leaf[] calldata leaves, bytes calldata text)
        external
        pure
        returns (bytes memory before, bytes32 hash, bytes memory later)
    {
        before = text;
        hash = BatchLib.hashLeaves(leaves);
        later = bytes.concat(text, text);
    }

    function gasOfHashes(Leaf[] calldata leaves)
        external
        view
        returns (uint256 packed, uint256 plain)
    {
        uint256 start = gasleft();
        bytes32 hash = BatchLib.hashLeaves(leaves);
        packed = start - gasleft();
        start = gasleft();
        uint256[] memory words = new uint256[](4 * leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            words[4 * i] = uint256(leaves[i].evidenceDigest);
            words[4 * i + 1] = LeafParty.unwrap(leaves[i].party);
            words[4 * i + 2] = LeafMoney.unwrap(leaves[i].money);
            words[4 * i + 3] = LeafMeter.unwrap(leaves[i].meter);
        }
        bool same = hash == keccak256(abi.encodePacked(words));
        plain = start - gasleft();
        assert(same);
    }

    function identityOf(Batch calldata batch, uint256 leaf) external pure returns (bytes32) {
        return BatchLib.identityOf(batch, leaf);
    }
}
