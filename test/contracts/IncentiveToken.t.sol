// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IncentiveToken} from "../../contracts/IncentiveToken.sol";
import {Test} from "./Vm.sol";

/// @notice Supply, emission, stakes and fees.
contract IncentiveTokenTest is Test {
    uint256 private constant GENESIS = 200_000_000 ether;
    uint256 private constant START = 1_800_000_000;
    address private ada = address(0xADA);
    address private bob = address(0xB0B);
    IncentiveToken private token;

    function setUp() public {
        vm.warp(START);
        token = new IncentiveToken(address(this), address(this), GENESIS);
        token.transfer(ada, 1_000_000 ether);
        token.transfer(bob, 1_000_000 ether);
    }

    function test_EmissionHalves() public view {
        uint256 total = token.EMISSION_TOTAL();
        uint256 period = token.HALVING_PERIOD();
        assertEq(total, 800_000_000 ether, "all but genesis");
        assertEq(token.emittedUntil(START), 0, "nothing yet");
        assertEq(token.emittedUntil(START + period / 2), total / 4, "half of the first period");
        assertEq(token.emittedUntil(START + period), total / 2, "first period");
        assertEq(token.emittedUntil(START + 2 * period), total * 3 / 4, "second period");
        assertEq(token.emittedUntil(START + 500 * period), total, "never more");
    }

    function test_CapHoldsForEver() public {
        vm.prank(ada);
        token.stake(1 ether, 730 days);
        vm.warp(START + 500 * token.HALVING_PERIOD());
        vm.prank(ada);
        token.claim();
        assertEq(token.totalMinted(), token.CAP(), "all there ever is");
    }

    function test_GenesisBeyondTheCapIsRefused() public {
        vm.expectRevert(IncentiveToken.CapExceeded.selector);
        new IncentiveToken(address(this), address(this), 1_000_000_001 ether);
    }

    function test_LongerLocksWeighUpToThreeTimes() public {
        assertEq(token.multiplierBps(0), 10_000, "no lock");
        assertEq(token.multiplierBps(365 days), 20_000, "a year");
        assertEq(token.multiplierBps(730 days), 30_000, "the most");
        vm.prank(ada);
        token.stake(100 ether, 730 days);
        vm.prank(bob);
        token.stake(150 ether, 365 days);
        vm.warp(START + 30 days);
        uint256 hers = token.claimable(ada);
        assertTrue(hers > 0, "earned");
        assertEq(hers, token.claimable(bob), "equal weights earn equally");
        vm.prank(ada);
        assertEq(token.claim(), hers, "paid as told");
        vm.prank(ada);
        assertEq(token.claim(), 0, "once");
    }

    function test_LocksHold() public {
        vm.prank(ada);
        token.stake(100 ether, 7 days);
        vm.expectRevert(abi.encodeWithSelector(IncentiveToken.StillLocked.selector, START + 7 days));
        vm.prank(ada);
        token.unstake(0);
        vm.warp(START + 7 days);
        vm.prank(ada);
        token.unstake(0);
        assertEq(token.balanceOf(ada), 1_000_000 ether, "back");
        assertTrue(token.claimable(ada) > 0, "rewards stay");
        vm.expectRevert(IncentiveToken.NoSuchPosition.selector);
        vm.prank(ada);
        token.unstake(0);
    }

    function test_BadStakesAreRefused() public {
        vm.expectRevert(IncentiveToken.BadAmount.selector);
        token.stake(0, 7 days);
        vm.expectRevert(IncentiveToken.BadLock.selector);
        token.stake(1, 7 days - 1);
        vm.expectRevert(IncentiveToken.BadLock.selector);
        token.stake(1, 730 days + 1);
        for (uint256 i = 0; i < 64; ++i) token.stake(1, 7 days);
        vm.expectRevert(IncentiveToken.TooManyPositions.selector);
        token.stake(1, 7 days);
    }

    function test_PauseStopsStakesNotWithdrawals() public {
        vm.prank(ada);
        token.stake(100 ether, 7 days);
        token.pause();
        vm.expectRevert();
        vm.prank(ada);
        token.stake(100 ether, 7 days);
        vm.warp(START + 7 days);
        vm.prank(ada);
        token.unstake(0);
        vm.prank(ada);
        assertTrue(token.claim() > 0, "claimed");
        vm.expectRevert();
        vm.prank(ada);
        token.unpause();
        token.unpause();
    }

    function test_FeesWaitForAStaker() public {
        vm.prank(bob);
        assertEq(token.chargeComputation(1_000 ether), 970 ether, "net");
        assertEq(token.balanceOf(bob), 999_970 ether, "fee and burn taken");
        assertEq(token.totalBurned(), 10 ether, "one percent");
        assertEq(token.waitingFees(), 20 ether, "two percent");
        vm.prank(ada);
        token.stake(1 ether, 7 days);
        vm.prank(bob);
        token.chargeComputation(1_000 ether);
        assertTrue(token.claimable(ada) >= 40 ether - 1, "both fees");
        vm.prank(ada);
        token.claim();
        assertTrue(token.balanceOf(address(token)) >= token.totalStaked() + token.unpaidRewards(), "covered");
    }

    function test_StakedTokensKeepTheirVote() public {
        vm.prank(ada);
        token.delegate(ada);
        assertEq(token.getVotes(ada), 1_000_000 ether, "all");
        vm.prank(ada);
        token.stake(400_000 ether, 7 days);
        assertEq(token.getVotes(ada), 1_000_000 ether, "staked too");
        vm.prank(ada);
        token.delegate(bob);
        assertEq(token.getVotes(bob), 1_000_000 ether, "delegated");
        vm.warp(START + 7 days);
        vm.prank(ada);
        token.unstake(0);
        assertEq(token.getVotes(bob), 1_000_000 ether, "never more");
        assertEq(token.getPastTotalSupply(START + 1), GENESIS, "supply of votes");
    }

    /// forge-config: default.fuzz.runs = 256
    function testFuzz_EmissionNeverFallsOrPassesTheTotal(uint64 early, uint64 late) public view {
        uint256 first = START + uint256(early);
        uint256 second = first + uint256(late);
        assertTrue(token.emittedUntil(first) <= token.emittedUntil(second), "grows");
        assertTrue(token.emittedUntil(second) <= token.EMISSION_TOTAL(), "bounded");
    }
}
