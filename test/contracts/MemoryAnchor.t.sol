// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemoryAnchor} from "../../contracts/MemoryAnchor.sol";
import {Test} from "./Vm.sol";

/// @notice Logs of roots, and proofs from the vectors that the TypeScript tests read too.
contract MemoryAnchorTest is Test {
    MemoryAnchor private anchors;
    bytes32 private constant STREAM = keccak256("stream");

    function setUp() public {
        anchors = new MemoryAnchor();
    }

    function test_LogsOnlyGrowAndBelongToTheirWriter() public {
        anchors.anchor(STREAM, 0, keccak256("a"), 10_000);
        vm.expectRevert(abi.encodeWithSelector(MemoryAnchor.WrongPosition.selector, 1));
        anchors.anchor(STREAM, 0, keccak256("a"), 1);
        anchors.anchor(STREAM, 1, keccak256("b"), 1);
        vm.prank(address(0xB0B));
        anchors.anchor(STREAM, 0, keccak256("c"), 1);
        assertEq(anchors.lengthOf(address(this), STREAM), 2, "mine");
        assertEq(anchors.lengthOf(address(0xB0B), STREAM), 1, "his");
        assertEq(uint256(anchors.anchorAt(address(this), STREAM, 0).root), uint256(keccak256("a")), "as anchored");
    }

    function test_SeveralInOneTransactionBelongToWhoSentThemAndAreAllThereOrNone() public {
        bytes[] memory calls = new bytes[](3);
        for (uint256 n = 0; n < calls.length; ++n) calls[n] = abi.encodeCall(MemoryAnchor.anchor, (STREAM, n, keccak256(abi.encode(n)), 1));
        vm.prank(address(0xB0B));
        bytes[] memory results = anchors.multicall(calls);
        assertEq(results.length, 3, "a result for each");
        assertEq(anchors.lengthOf(address(0xB0B), STREAM), 3, "of the sender");
        assertEq(anchors.lengthOf(address(this), STREAM), 0, "of nobody else");
        assertEq(anchors.lengthOf(address(anchors), STREAM), 0, "nor of the contract");
        // The second is there already: the reason is that of the call, and the first is not anchored either.
        calls[0] = abi.encodeCall(MemoryAnchor.anchor, (STREAM, 3, keccak256("d"), 1));
        vm.prank(address(0xB0B));
        vm.expectRevert(abi.encodeWithSelector(MemoryAnchor.WrongPosition.selector, 4));
        anchors.multicall(calls);
        assertEq(anchors.lengthOf(address(0xB0B), STREAM), 3, "all or none");
    }

    function test_BadBatchesAreRefused() public {
        vm.expectRevert(MemoryAnchor.BadCount.selector);
        anchors.anchor(STREAM, 0, keccak256("a"), 0);
        vm.expectRevert(MemoryAnchor.BadCount.selector);
        anchors.anchor(STREAM, 0, keccak256("a"), 10_001);
        vm.expectRevert(MemoryAnchor.BadRoot.selector);
        anchors.anchor(STREAM, 0, bytes32(0), 1);
    }

    function test_ProofsOfTheVectors() public {
        string memory json = vm.readFile("test/contracts/merkle-vectors.json");
        string[5] memory trees = ["0", "1", "2", "3", "4"];
        string[2] memory leaves = ["0", "1"];
        for (uint256 t = 0; t < trees.length; ++t) {
            string memory tree = string.concat(".trees[", trees[t], "]");
            anchors.anchor(STREAM, t, vm.parseJsonBytes32(json, string.concat(tree, ".root")), 1);
            for (uint256 l = 0; l < leaves.length; ++l) {
                string memory leaf = string.concat(tree, ".proofs[", leaves[l], "]");
                bytes32 hash = vm.parseJsonBytes32(json, string.concat(leaf, ".hash"));
                bytes32[] memory proof = vm.parseJsonBytes32Array(json, string.concat(leaf, ".proof"));
                assertTrue(anchors.verify(address(this), STREAM, t, hash, proof), leaf);
                assertTrue(!anchors.verify(address(this), STREAM, t, keccak256(abi.encode(hash)), proof), "another hash");
                assertTrue(!anchors.verify(address(this), STREAM, t + 1, hash, proof), "no such batch");
                assertTrue(!anchors.verify(address(0xB0B), STREAM, t, hash, proof), "another writer");
            }
        }
    }
}
