// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Batch, Leaf, LeafMeter} from "./Types.sol";

/// @title BatchLib: the EIP-712 hash of a batch, and what two leaves are compared by.
library BatchLib {
    bytes32 internal constant BATCH_TYPEHASH = keccak256(
        "Batch(bytes8 operatorId,address asset,bytes32 checkpoint,uint64 treeSize,address topic,"
        "uint64 sequenceNumber,uint64 validUntil,address proposer,uint128 c4eRate,address gateway,"
        "uint128 fiatTotal,bytes32[] passports,uint256[] leaves,uint256[] health)"
    );

    /// @dev Where the passport's place stands in a leaf's meter word.
    uint256 private constant PASSPORT_PLACE = uint256(0xff) << 72;

    /// @notice hashStruct of a batch; with the hub's domain separator it makes the digest.
    function hashBatch(Batch calldata batch) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                BATCH_TYPEHASH,
                batch.operatorId,
                batch.asset,
                batch.checkpoint,
                batch.treeSize,
                batch.topic,
                batch.sequenceNumber,
                batch.validUntil,
                batch.proposer,
                batch.c4eRate,
                batch.gateway,
                batch.fiatTotal,
                hashWords(batch.passports),
                hashLeaves(batch.leaves),
                keccak256(abi.encodePacked(batch.health))
            )
        );
    }

    /// @notice keccak256 of the leaves' words, one after the other.
    /// @dev A leaf is four whole words that lie in calldata as they are hashed, and the compiler
    /// has checked that all of them are there. Solidity cannot pack an array of structs; copying
    /// word by word costs 1,228 gas a leaf instead of 51 (test/BatchLib.t.sol compares both).
    function hashLeaves(Leaf[] calldata leaves) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40) // what lies above is scratch
            let size := shl(7, leaves.length)
            calldatacopy(free, leaves.offset, size)
            hash := keccak256(free, size)
        }
    }

    /// @notice keccak256 of words, one after the other, as abi.encodePacked has them.
    /// @dev As for leaves: copied at once, not word by word.
    function hashWords(bytes32[] calldata words) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40) // what lies above is scratch
            let size := shl(5, words.length)
            calldatacopy(free, words.offset, size)
            hash := keccak256(free, size)
        }
    }

    /// @notice What a leaf says whatever batch it stands in: its words, with its passport's id for
    /// the passport's place in that batch. Panics where the batch has no such place.
    function identityOf(Batch calldata batch, uint256 leaf) internal pure returns (bytes32) {
        Leaf calldata it = batch.leaves[leaf];
        bytes32 passport = batch.passports[it.meter.passportIndex()];
        uint256 meter = LeafMeter.unwrap(it.meter) & ~PASSPORT_PLACE;
        return keccak256(abi.encode(it.evidenceDigest, it.party, it.money, meter, passport));
    }
}
