// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Multicall} from "@openzeppelin/contracts/utils/Multicall.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// @title Merkle roots of memories and audit checkpoints
/// @author HAL9
/// @notice Whoever anchors has a log of its own: an append-only list of roots for each (writer, stream). Nobody can change or
/// remove one, so nothing here can be paused or upgraded.
/// @dev Trees are those of OpenZeppelin's `StandardMerkleTree` over `bytes32`: leaves are hashed twice, pairs are sorted.
/// Several batches may be anchored in one transaction (`multicall`): the writer stays who sent it, all or none are anchored. Nothing here takes
/// value or rests on a signature, so a call means the same alone and among others.
contract MemoryAnchor is Multicall {
    /// @notice One batch.
    /// @param root Root of its tree.
    /// @param at When it was anchored, seconds since 1970.
    /// @param count Leaves of the tree.
    struct Anchor {
        bytes32 root;
        uint64 at;
        uint32 count;
    }

    /// @notice Most leaves of a batch.
    uint256 public constant MAX_LEAVES = 10_000;

    mapping(address writer => mapping(bytes32 stream => Anchor[] anchors)) private _anchors;

    /// @notice A batch was anchored.
    /// @param writer Who anchored it.
    /// @param stream Which of the writer's logs.
    /// @param position Its place in the log, from 0.
    /// @param root Root of its tree.
    /// @param count Leaves of the tree.
    event Anchored(address indexed writer, bytes32 indexed stream, uint256 indexed position, bytes32 root, uint32 count);

    /// @notice From 1 to MAX_LEAVES leaves.
    error BadCount();
    /// @notice The root is zero.
    error BadRoot();
    /// @notice The log has another length than the writer thought: the batch, or one before it, is there already.
    /// @param length What it has.
    error WrongPosition(uint256 length);

    /// @notice Appends a root to a log of the caller.
    /// @param stream Which log.
    /// @param position Length of the log before: a repeated transaction fails instead of anchoring twice.
    /// @param root Root of the tree.
    /// @param count Leaves of the tree.
    function anchor(bytes32 stream, uint256 position, bytes32 root, uint32 count) external {
        if (count == 0 || count > MAX_LEAVES) revert BadCount();
        if (root == bytes32(0)) revert BadRoot();
        Anchor[] storage log = _anchors[msg.sender][stream];
        if (log.length != position) revert WrongPosition(log.length);
        log.push(Anchor(root, uint64(block.timestamp), count));
        emit Anchored(msg.sender, stream, position, root, count);
    }

    /// @notice Whether a hash is in an anchored batch.
    /// @param writer Who anchored it.
    /// @param stream In which log.
    /// @param position At which place.
    /// @param hash What was put in.
    /// @param proof Siblings from the leaf up.
    /// @return included False also when there is no such batch.
    function verify(address writer, bytes32 stream, uint256 position, bytes32 hash, bytes32[] calldata proof) external view returns (bool included) {
        Anchor[] storage log = _anchors[writer][stream];
        if (position >= log.length) return false;
        return MerkleProof.verifyCalldata(proof, log[position].root, leafOf(hash));
    }

    /// @notice Length of a log.
    /// @param writer Whose.
    /// @param stream Which.
    /// @return length Batches in it.
    function lengthOf(address writer, bytes32 stream) external view returns (uint256 length) {
        return _anchors[writer][stream].length;
    }

    /// @notice A batch.
    /// @param writer Who anchored it.
    /// @param stream In which log.
    /// @param position At which place.
    /// @return batch Reverts when there is none.
    function anchorAt(address writer, bytes32 stream, uint256 position) external view returns (Anchor memory batch) {
        return _anchors[writer][stream][position];
    }

    /// @notice Leaf of a hash, hashed twice so that no inner node can pass for one.
    /// @param hash What is put in.
    /// @return leaf What the tree is built over.
    function leafOf(bytes32 hash) public pure returns (bytes32 leaf) {
        return keccak256(bytes.concat(keccak256(abi.encode(hash))));
    }
}
