// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ComputationMarket} from "../../contracts/ComputationMarket.sol";
import {IComputationToken} from "../../contracts/IComputationToken.sol";
import {IncentiveToken} from "../../contracts/IncentiveToken.sol";
import {NeuronRegistry} from "../../contracts/NeuronRegistry.sol";
import {Test} from "./Vm.sol";

/// @notice A deployed network with neurons that have bonds, and a requester with money.
abstract contract Network is Test {
    uint256 internal constant BOND = 1_000 ether;
    uint256 internal constant PAYMENT = 300 ether;
    uint32 internal constant STEP = 1 hours;
    bytes32 internal constant TRUTH = keccak256("truth");
    bytes32 internal constant LIE = keccak256("lie");
    bytes32 internal constant SPEC = keccak256("spec");

    address internal requester = address(0xA11CE);
    address internal challenger = address(0xC0DE);
    IncentiveToken internal token;
    NeuronRegistry internal registry;
    ComputationMarket internal market;
    address[] private _neurons;

    function deploy() internal {
        vm.warp(1_800_000_000);
        token = new IncentiveToken(address(this), address(this), 200_000_000 ether);
        registry = new NeuronRegistry(address(this), token, BOND);
        market = new ComputationMarket(address(this), token, registry);
        registry.grantRole(registry.MARKET_ROLE(), address(market));
        token.transfer(requester, 1_000_000 ether);
        token.transfer(challenger, 1_000_000 ether);
        allow(requester, address(market));
        allow(challenger, address(market));
    }

    function allow(address owner, address spender) internal {
        vm.prank(owner);
        token.approve(spender, type(uint256).max);
    }

    function keyOf(uint256 n) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("neuron", n)));
    }

    function neuron(uint256 n) internal view returns (address) {
        // Deriving an address is dear, and invariants ask for it a million times.
        return n < _neurons.length ? _neurons[n] : vm.addr(keyOf(n));
    }

    function enlist(uint256 from, uint256 to) internal {
        for (uint256 n = from; n < to; ++n) {
            address who = vm.addr(keyOf(n));
            _neurons.push(who);
            token.transfer(who, 2 * BOND);
            allow(who, address(registry));
            vm.prank(who);
            registry.register(keccak256(abi.encode(n)), 7, BOND);
        }
    }

    function terms(uint16 minNeurons, bool offChain) internal pure returns (ComputationMarket.Terms memory) {
        return ComputationMarket.Terms(SPEC, uint128(PAYMENT), STEP, STEP, STEP, minNeurons, 6_600, offChain);
    }

    function open(uint16 minNeurons) internal returns (uint256) {
        vm.prank(requester);
        return market.open(terms(minNeurons, false), new address[](0));
    }

    function saltOf(uint256 n) internal pure returns (bytes32) {
        return keccak256(abi.encode("salt", n));
    }

    function commit(uint256 request, uint8 round, uint256 n, bytes32 result) internal {
        bytes32 commitment = market.commitmentOf(request, round, neuron(n), result, saltOf(n));
        vm.prank(neuron(n));
        market.commit(request, commitment);
    }

    function reveal(uint256 request, uint256 n, bytes32 result) internal {
        vm.prank(neuron(n));
        market.reveal(request, result, saltOf(n));
    }

    function later(uint256 time) internal {
        // The optimizer takes block.timestamp for constant within a call.
        vm.warp(vm.getBlockTimestamp() + time);
    }

    /// @dev Neurons `from` to `to - 1` vote, the first `liars` of them for the lie; ends when reveals may be counted.
    function vote(uint256 request, uint8 round, uint256 from, uint256 to, uint256 liars) internal {
        for (uint256 n = from; n < to; ++n) commit(request, round, n, n < from + liars ? LIE : TRUTH);
        later(STEP);
        for (uint256 n = from; n < to; ++n) reveal(request, n, n < from + liars ? LIE : TRUTH);
    }

    function bondOf(uint256 n) internal view returns (uint256) {
        return registry.neuronOf(neuron(n)).bond;
    }

    function assertCovered() internal view {
        assertTrue(token.balanceOf(address(market)) >= market.totalHeld(), "market covers what it holds");
        assertTrue(token.balanceOf(address(registry)) >= registry.totalBonded(), "registry covers bonds");
        assertTrue(token.balanceOf(address(token)) >= token.totalStaked() + token.unpaidRewards(), "token covers stakes and rewards");
        assertEq(token.totalSupply() + token.totalBurned(), token.totalMinted(), "supply and burned are what was minted");
        assertTrue(token.totalMinted() <= token.CAP(), "cap");
    }
}
