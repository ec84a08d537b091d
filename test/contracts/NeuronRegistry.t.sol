// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {NeuronRegistry} from "../../contracts/NeuronRegistry.sol";
import {Network} from "./Network.sol";

/// @notice Who may compute, and what it costs to lie.
contract NeuronRegistryTest is Network {
    function setUp() public {
        deploy();
        enlist(0, 1);
    }

    function test_BondIdentityAndRolesAreNeeded() public {
        vm.expectRevert(NeuronRegistry.BadBond.selector);
        registry.register(SPEC, 1, BOND - 1);
        vm.expectRevert(NeuronRegistry.BadRoles.selector);
        registry.register(SPEC, 0, BOND);
        vm.expectRevert(NeuronRegistry.BadRoles.selector);
        registry.register(SPEC, 8, BOND);
        vm.expectRevert(NeuronRegistry.BadIdentity.selector);
        registry.register(bytes32(0), 1, BOND);
    }

    function test_LeavesAfterTheDelayWithItsBond() public {
        vm.startPrank(neuron(0));
        vm.expectRevert(NeuronRegistry.CannotExit.selector);
        registry.exit();
        registry.requestExit();
        vm.expectRevert(NeuronRegistry.Leaving.selector);
        registry.requestExit();
        vm.expectRevert(NeuronRegistry.CannotExit.selector);
        registry.exit();
        later(registry.EXIT_DELAY());
        registry.exit();
        vm.stopPrank();
        assertEq(token.balanceOf(neuron(0)), 2 * BOND, "bond");
        assertTrue(!registry.isActive(neuron(0)), "gone");
    }

    function test_ReputationSurvivesLeaving() public {
        registry.grantRole(registry.MARKET_ROLE(), address(this));
        registry.enterRound(neuron(0), 1);
        registry.leaveRound(neuron(0), -30_000);
        assertEq(registry.neuronOf(neuron(0)).reputation, 0, "never below zero");
        vm.startPrank(neuron(0));
        registry.requestExit();
        later(registry.EXIT_DELAY());
        registry.exit();
        registry.register(SPEC, 1, BOND);
        vm.stopPrank();
        assertEq(registry.neuronOf(neuron(0)).reputation, 0, "not washed off");
        registry.enterRound(neuron(0), 1);
        registry.leaveRound(neuron(0), 30_000);
        assertEq(registry.neuronOf(neuron(0)).reputation, 10_000, "bounded");
    }

    function test_OnlyMarketsLockAndSlash() public {
        vm.expectRevert();
        registry.enterRound(neuron(0), 1);
        vm.expectRevert();
        registry.leaveRound(neuron(0), 0);
        vm.expectRevert();
        registry.slash(neuron(0), 1);
    }

    function test_SlashedNeuronMustTopUp() public {
        registry.grantRole(registry.MARKET_ROLE(), address(this));
        uint256 before = token.balanceOf(address(this));
        assertEq(registry.slash(neuron(0), 5_000), BOND / 2, "half");
        assertEq(registry.slash(neuron(0), 10_000), BOND / 2, "no more than there is");
        assertEq(token.balanceOf(address(this)), before + BOND, "to who slashed");
        vm.expectRevert(NeuronRegistry.BadBond.selector);
        registry.enterRound(neuron(0), 1);
        vm.prank(neuron(0));
        registry.register(SPEC, 1, BOND);
        registry.enterRound(neuron(0), 1);
        vm.expectRevert(NeuronRegistry.WrongRole.selector);
        registry.enterRound(neuron(0), 4);
    }

    function test_PauseStopsRegistrationsNotExits() public {
        registry.pause();
        vm.expectRevert();
        vm.prank(neuron(0));
        registry.register(SPEC, 1, 0);
        vm.prank(neuron(0));
        registry.requestExit();
        later(registry.EXIT_DELAY());
        vm.prank(neuron(0));
        registry.exit();
        registry.unpause();
        vm.prank(neuron(0));
        registry.register(SPEC, 1, BOND);
    }
}
