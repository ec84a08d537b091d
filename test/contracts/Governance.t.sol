// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {IGovernor} from "@openzeppelin/contracts/governance/IGovernor.sol";
import {Governance} from "../../contracts/Governance.sol";
import {IncentiveToken} from "../../contracts/IncentiveToken.sol";
import {Test} from "./Vm.sol";

/// @notice A proposal from snapshot to execution through the timelock.
contract GovernanceTest is Test {
    address private ada = address(0xADA);
    address private bob = address(0xB0B);
    IncentiveToken private token;
    TimelockController private timelock;
    Governance private governance;

    function setUp() public {
        vm.warp(1_800_000_000);
        token = new IncentiveToken(address(this), address(this), 200_000_000 ether);
        address[] memory none = new address[](0);
        address[] memory anyone = new address[](1);
        timelock = new TimelockController(2 days, none, anyone, address(this));
        governance = new Governance(token, timelock, 1 days, 7 days, 100_000 ether, 4);
        timelock.grantRole(timelock.PROPOSER_ROLE(), address(governance));
        timelock.grantRole(timelock.CANCELLER_ROLE(), address(governance));
        timelock.renounceRole(timelock.DEFAULT_ADMIN_ROLE(), address(this));
        token.grantRole(token.PAUSER_ROLE(), address(timelock));
        token.transfer(ada, 20_000_000 ether);
        token.transfer(bob, 30_000_000 ether);
        vm.prank(ada);
        token.delegate(ada);
        vm.prank(bob);
        token.delegate(bob);
        // Votes are looked up strictly before now.
        vm.warp(1_800_000_001);
    }

    function test_DecidesThroughTheTimelock() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _pauseCall();
        vm.prank(ada);
        uint256 proposal = governance.propose(targets, values, calls, "pause");
        vm.warp(1_800_000_001 + 1 days + 1);
        vm.prank(ada);
        governance.castVote(proposal, 1);
        vm.expectRevert();
        vm.prank(ada);
        governance.castVote(proposal, 1);
        vm.warp(1_800_000_001 + 8 days + 2);
        governance.queue(targets, values, calls, keccak256("pause"));
        vm.expectRevert();
        governance.execute(targets, values, calls, keccak256("pause"));
        vm.warp(1_800_000_001 + 10 days + 3);
        governance.execute(targets, values, calls, keccak256("pause"));
        assertTrue(token.paused(), "executed");
        assertTrue(governance.state(proposal) == IGovernor.ProposalState.Executed, "state");
    }

    function test_VotesBoughtAfterTheSnapshotDoNotCount() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _pauseCall();
        vm.prank(ada);
        uint256 proposal = governance.propose(targets, values, calls, "pause");
        vm.warp(1_800_000_001 + 1 days + 1);
        token.transfer(address(0xE1), 50_000_000 ether);
        vm.prank(address(0xE1));
        token.delegate(address(0xE1));
        vm.prank(address(0xE1));
        assertEq(governance.castVote(proposal, 0), 0, "no weight");
    }

    function test_NoQuorumDefeats() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _pauseCall();
        vm.prank(ada);
        uint256 proposal = governance.propose(targets, values, calls, "pause");
        vm.warp(1_800_000_001 + 8 days + 2);
        assertTrue(governance.state(proposal) == IGovernor.ProposalState.Defeated, "defeated");
        assertTrue(governance.proposalNeedsQueuing(proposal), "timelocked");
    }

    function test_SmallHoldersCannotPropose() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory calls) = _pauseCall();
        vm.expectRevert();
        vm.prank(address(0xE1));
        governance.propose(targets, values, calls, "pause");
    }

    function _pauseCall() private view returns (address[] memory targets, uint256[] memory values, bytes[] memory calls) {
        targets = new address[](1);
        targets[0] = address(token);
        values = new uint256[](1);
        calls = new bytes[](1);
        calls[0] = abi.encodeCall(token.pause, ());
    }
}
