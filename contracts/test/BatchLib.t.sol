// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Batch, Leaf, LeafMeter, LeafMoney, LeafParty, OperatorId, Rail} from "../src/Types.sol";
import {BatchLibCaller, create} from "./Contracts.sol";
import {TestBase} from "./TestBase.sol";
import {vm} from "./Vm.sol";

contract BatchLibTest is TestBase {
    BatchLibCaller private _caller = BatchLibCaller(create("BatchLibCaller", ""));

    /// @dev The same in plain words: a copy of each word, packed.
    function plainLeaves(Leaf[] memory leaves) internal pure returns (bytes32) {
        uint256[] memory words = new uint256[](4 * leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            words[4 * i] = uint256(leaves[i].evidenceDigest);
            words[4 * i + 1] = LeafParty.unwrap(leaves[i].party);
            words[4 * i + 2] = LeafMoney.unwrap(leaves[i].money);
            words[4 * i + 3] = LeafMeter.unwrap(leaves[i].meter);
        }
        return keccak256(abi.encodePacked(words));
    }

    function test_typehash() external view {
        assertEq(
            _caller.typehash(),
            keccak256(
                "Batch(bytes8 operatorId,address asset,bytes32 checkpoint,uint64 treeSize,address topic,uint64 sequenceNumber,uint64 validUntil,address proposer,uint128 c4eRate,address gateway,uint128 fiatTotal,bytes32[] passports,uint256[] leaves,uint256[] health)"
            )
        );
    }

    function testFuzz_hashLeaves_equals_plain_code(Leaf[] memory leaves) external view {
        assertEq(_caller.hashLeaves(leaves), plainLeaves(leaves));
    }

    function testFuzz_hashLeaves_leaves_memory_sound(Leaf[] memory leaves, bytes memory text)
        external
        view
    {
        (bytes memory before, bytes32 hash, bytes memory later) =
            _caller.hashLeavesBetween(leaves, text);
        assertEq(before, text);
        assertEq(hash, plainLeaves(leaves));
        assertEq(later, bytes.concat(text, text));
    }

    function testFuzz_hashBatch_is_the_structs_hash(Batch memory batch) external view {
        // In two halves, as one encoding of all would need more stack than there is without IR.
        bytes memory head = abi.encode(
            _caller.typehash(),
            bytes32(OperatorId.unwrap(batch.operatorId)),
            batch.asset,
            batch.checkpoint,
            uint256(batch.treeSize),
            batch.topic,
            uint256(batch.sequenceNumber),
            uint256(batch.validUntil)
        );
        bytes memory tail = abi.encode(
            batch.proposer,
            uint256(batch.c4eRate),
            batch.gateway,
            uint256(batch.fiatTotal),
            keccak256(abi.encodePacked(batch.passports)),
            plainLeaves(batch.leaves),
            keccak256(abi.encodePacked(batch.health))
        );
        assertEq(_caller.hashBatch(batch), keccak256(bytes.concat(head, tail)));
    }

    function testFuzz_hashBatch_depends_on_every_word(Batch memory batch, uint256 seed)
        external
        view
    {
        bytes32 hash = _caller.hashBatch(batch);
        if (batch.leaves.length == 0) {
            batch.leaves = new Leaf[](1);
        } else {
            uint256 word = uint256(1) << (seed % 256);
            Leaf memory leaf = batch.leaves[seed % batch.leaves.length];
            leaf.meter = LeafMeter.wrap(LeafMeter.unwrap(leaf.meter) ^ word);
        }
        assertTrue(_caller.hashBatch(batch) != hash);
    }

    function test_identityOf_resolves_the_passport() external {
        Batch memory a;
        a.passports = new bytes32[](2);
        (a.passports[0], a.passports[1]) = (bytes32(uint256(7)), bytes32(uint256(8)));
        a.leaves = new Leaf[](2);
        a.leaves[0] = Leaf(bytes32(uint256(1)), LeafParty.wrap(2), LeafMoney.wrap(3), meter(0));
        a.leaves[1] = Leaf(bytes32(uint256(1)), LeafParty.wrap(2), LeafMoney.wrap(3), meter(1));
        assertTrue(_caller.identityOf(a, 0) != _caller.identityOf(a, 1), "other passport");
        a.passports[1] = bytes32(uint256(7));
        assertEq(_caller.identityOf(a, 0), _caller.identityOf(a, 1), "same passport, other place");
        a.leaves[1].meter = meter(2);
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x32));
        _caller.identityOf(a, 1);
    }

    function meter(uint256 place) internal pure returns (LeafMeter) {
        return LeafMeter.wrap((uint256(0xabc) << 176) | (place << 72) | (uint256(9) << 16));
    }

    // Vectors -----------------------------------------------------------------------------------

    /// @dev What other implementations sign: the digest in the hub's domain, the words of leaves.
    function test_vectors() external view {
        string memory json = vm.readFile("../tests/vectors/settlement/batches.json");
        uint256 count = 0;
        for (; vm.keyExistsJson(json, row("", "batches", count)); ++count) {
            string memory at = row("", "batches", count);
            Batch memory batch = parse(json, at);
            bytes32 separator = keccak256(
                abi.encode(
                    keccak256(
                        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                    ),
                    keccak256("ChargEra Settlement"),
                    keccak256("1"),
                    vm.parseJsonUint(json, string.concat(at, ".chain_id")),
                    vm.parseJsonAddress(json, string.concat(at, ".hub"))
                )
            );
            assertEq(
                keccak256(abi.encodePacked("\x19\x01", separator, _caller.hashBatch(batch))),
                vm.parseJsonBytes32(json, string.concat(at, ".digest")),
                at
            );
        }
        assertGt(count, 3, "vectors");
    }

    function parse(string memory json, string memory at)
        internal
        view
        returns (Batch memory batch)
    {
        string memory its = string.concat(at, ".batch");
        batch.operatorId =
            OperatorId.wrap(bytes8(bytes(vm.parseJsonString(json, key(its, "operator_id")))));
        batch.asset = vm.parseJsonAddress(json, key(its, "asset"));
        batch.checkpoint = vm.parseJsonBytes32(json, key(its, "checkpoint"));
        batch.treeSize = uint64(vm.parseJsonUint(json, key(its, "tree_size")));
        batch.topic = longZero(vm.parseJsonString(json, key(its, "topic")));
        batch.sequenceNumber = uint64(vm.parseJsonUint(json, key(its, "sequence_number")));
        batch.validUntil = uint64(vm.parseJsonUint(json, key(its, "valid_until")));
        batch.proposer = vm.parseJsonAddress(json, key(its, "proposer"));
        batch.c4eRate = uint128(vm.parseJsonUint(json, key(its, "c4e_rate")));
        batch.gateway = vm.parseJsonAddress(json, key(its, "gateway"));
        batch.fiatTotal = uint128(vm.parseJsonUint(json, key(its, "fiat_total")));
        batch.passports = vm.parseJsonBytes32Array(json, key(its, "passports"));
        bytes[] memory words = vm.parseJsonBytesArray(json, key(at, "leaf_words"));
        batch.leaves = new Leaf[](words.length);
        for (uint256 i = 0; i < words.length; ++i) {
            batch.leaves[i] = abi.decode(words[i], (Leaf));
            checkLeaf(json, row(its, "leaves", i), batch.leaves[i]);
        }
        uint256 reports = 0;
        for (; vm.keyExistsJson(json, row(its, "health", reports)); ++reports) {}
        batch.health = new uint256[](reports);
        for (uint256 i = 0; i < reports; ++i) {
            string memory report = row(its, "health", i);
            batch.health[i] = (vm.parseJsonUint(json, key(report, "passport_index")) << 72)
                | (vm.parseJsonUint(json, key(report, "as_of")) << 32)
                | (vm.parseJsonUint(json, key(report, "uptime_bps")) << 16)
                | vm.parseJsonUint(json, key(report, "fault_score"));
        }
    }

    /// @dev Each field of a leaf stands where Types.sol reads it.
    function checkLeaf(string memory json, string memory at, Leaf memory leaf) internal pure {
        assertEq(leaf.evidenceDigest, vm.parseJsonBytes32(json, key(at, "evidence_digest")));
        assertEq(leaf.party.payer(), vm.parseJsonAddress(json, key(at, "payer")));
        assertEq(leaf.party.cdrNo(), vm.parseJsonUint(json, key(at, "cdr_no")));
        assertEq(leaf.party.logIndex(), vm.parseJsonUint(json, key(at, "log_index")));
        assertEq(leaf.money.amount(), vm.parseJsonUint(json, key(at, "amount")));
        assertEq(leaf.money.vat(), vm.parseJsonUint(json, key(at, "vat")));
        assertEq(
            bytes32(leaf.money.sessionKey()),
            bytes32(bytes16(vm.parseJsonBytes(json, key(at, "session_key"))))
        );
        assertEq(leaf.meter.start(), vm.parseJsonUint(json, key(at, "start")));
        assertEq(leaf.meter.end(), vm.parseJsonUint(json, key(at, "end")));
        assertEq(leaf.meter.importWh(), vm.parseJsonUint(json, key(at, "import_wh")));
        assertEq(leaf.meter.exportWh(), vm.parseJsonUint(json, key(at, "export_wh")));
        assertEq(leaf.meter.passportIndex(), vm.parseJsonUint(json, key(at, "passport_index")));
        assertEq(leaf.meter.evse(), vm.parseJsonUint(json, key(at, "evse")));
        assertEq(leaf.meter.proofLevel(), vm.parseJsonUint(json, key(at, "proof_level")));
        assertEq(leaf.meter.policyVersion(), vm.parseJsonUint(json, key(at, "policy_version")));
        assertTrue(leaf.meter.isWellFormed());
        bool isWallet =
            keccak256(bytes(vm.parseJsonString(json, key(at, "rail")))) == keccak256("wallet");
        assertTrue(leaf.meter.rail() == (isWallet ? Rail.Wallet : Rail.Fiat));
    }

    /// @dev A topic `shard.realm.number` as an address: 4, 8 and 8 bytes.
    function longZero(string memory topic) internal pure returns (address) {
        uint256[3] memory numbers;
        uint256 place = 0;
        for (uint256 i = 0; i < bytes(topic).length; ++i) {
            bytes1 character = bytes(topic)[i];
            if (character == ".") ++place;
            else numbers[place] = numbers[place] * 10 + uint8(character) - 48;
        }
        return address(uint160((numbers[0] << 128) | (numbers[1] << 64) | numbers[2]));
    }

    function key(string memory at, string memory name) internal pure returns (string memory) {
        return string.concat(at, ".", name);
    }

    function row(string memory at, string memory name, uint256 i)
        internal
        pure
        returns (string memory)
    {
        return string.concat(at, ".", name, "[", vm.toString(i), "]");
    }

    // Gas ---------------------------------------------------------------------------------------

    /// @dev The reason for the assembly: what a leaf costs either way.
    function test_hashLeaves_is_cheaper_than_plain_code() external view {
        (uint256 packed, uint256 plain) = _caller.gasOfHashes(new Leaf[](48));
        assertLt(packed, 48 * 60, "gas of 48 leaves");
        assertGt(plain, 48 * 300, "gas of 48 leaves in plain code");
    }
}
