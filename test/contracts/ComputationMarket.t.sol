// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ComputationMarket} from "../../contracts/ComputationMarket.sol";
import {IComputationToken} from "../../contracts/IComputationToken.sol";
import {NeuronRegistry} from "../../contracts/NeuronRegistry.sol";
import {ReentrantToken} from "./ReentrantToken.sol";
import {Network} from "./Network.sol";

/// @notice Rounds that go well, and every way in which somebody may want to spoil one.
contract ComputationMarketTest is Network {
    function setUp() public {
        deploy();
        enlist(0, 12);
    }

    function test_ThreeAgreeAndArePaid() public {
        uint256 request = open(3);
        vote(request, 0, 0, 3, 0);
        market.tally(request);
        later(STEP);
        market.settle(request);
        ComputationMarket.Request memory settled = market.requestOf(request);
        assertTrue(settled.state == ComputationMarket.State.Settled && settled.result == TRUTH, "settled with the truth");
        // 300 less 2 % fee and 1 % burn, shared by three.
        for (uint256 n = 0; n < 3; ++n) assertEq(market.owed(neuron(n)), 97 ether, "owed");
        vm.prank(neuron(0));
        market.withdraw();
        assertEq(token.balanceOf(neuron(0)), BOND + 97 ether, "withdrawn");
        vm.prank(neuron(0));
        assertEq(market.withdraw(), 0, "only once");
        assertEq(token.totalBurned(), 3 ether, "burned");
        assertEq(registry.neuronOf(neuron(0)).reputation, 5_050, "reputation");
        assertCovered();
    }

    function test_LiarsArePunishedAndTheirLossIsShared() public {
        uint256 request = open(3);
        vote(request, 0, 0, 7, 2);
        market.tally(request);
        later(STEP);
        market.settle(request);
        assertEq(bondOf(0), BOND / 2, "liar lost half");
        assertEq(bondOf(6), BOND, "honest lost nothing");
        assertEq(market.owed(neuron(0)), 0, "no reward for a lie");
        assertEq(market.owed(neuron(6)), (291 ether + BOND) / 5, "share of payment and slashed bonds");
        assertEq(registry.neuronOf(neuron(0)).reputation, 4_500, "reputation");
        assertCovered();
    }

    function test_CopiedCommitCannotBeRevealed() public {
        uint256 request = open(3);
        bytes32 commitment = market.commitmentOf(request, 0, neuron(0), TRUTH, saltOf(0));
        vm.prank(neuron(0));
        market.commit(request, commitment);
        vm.prank(neuron(1));
        market.commit(request, commitment);
        later(STEP);
        reveal(request, 0, TRUTH);
        vm.expectRevert(ComputationMarket.WrongReveal.selector);
        vm.prank(neuron(1));
        market.reveal(request, TRUTH, saltOf(0));
    }

    function test_CommitOfAnotherRoundOrRequestCannotBeRevealed() public {
        uint256 first = open(3);
        uint256 second = open(3);
        bytes32 commitment = market.commitmentOf(first, 0, neuron(0), TRUTH, saltOf(0));
        vm.prank(neuron(0));
        market.commit(second, commitment);
        later(STEP);
        vm.expectRevert(ComputationMarket.WrongReveal.selector);
        vm.prank(neuron(0));
        market.reveal(second, TRUTH, saltOf(0));
    }

    function test_LateCommitIsRefused() public {
        uint256 request = open(3);
        later(STEP);
        vm.expectRevert(ComputationMarket.TooLate.selector);
        vm.prank(neuron(0));
        market.commit(request, bytes32(uint256(1)));
    }

    function test_EarlyAndLateRevealsAreRefused() public {
        uint256 request = open(3);
        commit(request, 0, 0, TRUTH);
        vm.expectRevert(ComputationMarket.TooEarly.selector);
        vm.prank(neuron(0));
        market.reveal(request, TRUTH, saltOf(0));
        later(2 * STEP);
        vm.expectRevert(ComputationMarket.TooLate.selector);
        vm.prank(neuron(0));
        market.reveal(request, TRUTH, saltOf(0));
    }

    function test_WrongRevealIsRefused() public {
        uint256 request = open(3);
        commit(request, 0, 0, TRUTH);
        later(STEP);
        vm.expectRevert(ComputationMarket.WrongReveal.selector);
        vm.prank(neuron(0));
        market.reveal(request, LIE, saltOf(0));
        vm.expectRevert(ComputationMarket.WrongReveal.selector);
        vm.prank(neuron(0));
        market.reveal(request, TRUTH, saltOf(1));
        vm.expectRevert(ComputationMarket.WrongReveal.selector);
        vm.prank(neuron(5));
        market.reveal(request, TRUTH, saltOf(5));
    }

    function test_NoVoteCountsTwice() public {
        uint256 request = open(3);
        commit(request, 0, 0, TRUTH);
        vm.expectRevert(ComputationMarket.AlreadyVoted.selector);
        vm.prank(neuron(0));
        market.commit(request, bytes32(uint256(2)));
        later(STEP);
        reveal(request, 0, TRUTH);
        vm.expectRevert(ComputationMarket.AlreadyVoted.selector);
        vm.prank(neuron(0));
        market.reveal(request, TRUTH, saltOf(0));
    }

    function test_TieRefundsAndSlashesNobody() public {
        uint256 request = open(3);
        vote(request, 0, 0, 4, 2);
        market.tally(request);
        later(STEP);
        uint256 before = token.balanceOf(requester);
        market.settle(request);
        assertTrue(market.requestOf(request).state == ComputationMarket.State.Refunded, "refunded");
        vm.prank(requester);
        market.withdraw();
        assertEq(token.balanceOf(requester), before + PAYMENT, "whole payment back");
        for (uint256 n = 0; n < 4; ++n) assertEq(bondOf(n), BOND, "nobody knows who lied");
        assertCovered();
    }

    function test_NoQuorumRefundsAndSilenceCosts() public {
        uint256 request = open(3);
        for (uint256 n = 0; n < 3; ++n) commit(request, 0, n, TRUTH);
        later(STEP);
        reveal(request, 0, TRUTH);
        reveal(request, 1, TRUTH);
        vm.expectRevert(ComputationMarket.TooEarly.selector);
        market.tally(request);
        later(STEP);
        market.tally(request);
        later(STEP);
        market.settle(request);
        assertTrue(market.requestOf(request).state == ComputationMarket.State.Refunded, "refunded");
        assertEq(bondOf(2), BOND - BOND / 10, "silent neuron");
        assertEq(bondOf(0), BOND, "others");
        assertEq(token.totalBurned(), BOND / 10, "burned");
        assertCovered();
    }

    function test_GriefingByNonRevealCostsTheGrieferAndHoldsNobodyUp() public {
        uint256 request = open(3);
        for (uint256 n = 0; n < 6; ++n) commit(request, 0, n, TRUTH);
        later(STEP);
        for (uint256 n = 0; n < 4; ++n) reveal(request, n, TRUTH);
        later(STEP);
        market.tally(request);
        later(STEP);
        market.settle(request);
        assertTrue(market.requestOf(request).result == TRUTH, "right result");
        assertEq(bondOf(4) + bondOf(5), 2 * BOND - BOND / 5, "both griefers paid");
        assertEq(market.owed(neuron(0)), (291 ether + BOND / 5) / 4, "to those they griefed");
        assertCovered();
    }

    function test_DisputeOverturnsAWrongResult() public {
        uint256 request = open(3);
        vote(request, 0, 0, 3, 3);
        market.tally(request);
        vm.prank(challenger);
        market.challenge(request);
        vm.expectRevert(ComputationMarket.AlreadyVoted.selector);
        vm.prank(neuron(0));
        market.commit(request, bytes32(uint256(1)));
        vote(request, 1, 3, 10, 0);
        market.tally(request);
        later(STEP);
        market.settle(request);
        assertTrue(market.requestOf(request).result == TRUTH, "overturned");
        for (uint256 n = 0; n < 3; ++n) assertEq(bondOf(n), BOND / 2, "liars");
        assertEq(market.owed(challenger), BOND + (3 * BOND / 2) / 2, "challenger");
        assertCovered();
    }

    function test_DisputeWithoutReasonCostsTheChallenger() public {
        uint256 request = open(3);
        vote(request, 0, 0, 3, 0);
        market.tally(request);
        vm.prank(challenger);
        market.challenge(request);
        later(2 * STEP);
        market.tally(request);
        later(STEP);
        market.settle(request);
        assertTrue(market.requestOf(request).result == TRUTH, "a dispute nobody takes part in changes nothing");
        assertEq(market.owed(challenger), 0, "bond lost");
        assertEq(market.owed(neuron(0)), (291 ether + BOND) / 3, "to those who were doubted");
        assertCovered();
    }

    function test_ChallengesEnd() public {
        enlist(12, 25);
        uint256 request = open(3);
        vote(request, 0, 0, 3, 0);
        market.tally(request);
        vm.prank(challenger);
        market.challenge(request);
        vote(request, 1, 3, 10, 0);
        market.tally(request);
        vm.prank(challenger);
        market.challenge(request);
        vote(request, 2, 10, 25, 0);
        market.tally(request);
        vm.expectRevert(ComputationMarket.NoMoreRounds.selector);
        vm.prank(challenger);
        market.challenge(request);
        later(STEP);
        vm.expectRevert(ComputationMarket.TooLate.selector);
        vm.prank(challenger);
        market.challenge(request);
        market.settle(request);
        vm.expectRevert(ComputationMarket.WrongState.selector);
        market.settle(request);
        assertCovered();
    }

    function test_HiredNeuronsArePaidByPrice() public {
        for (uint256 n = 0; n < 3; ++n) {
            vm.prank(neuron(n));
            market.list(uint128((n + 1) * 50 ether), keccak256("offer"), true);
        }
        address[] memory panel = _panel(3);
        vm.prank(requester);
        uint256 request = market.open(terms(3, false), panel);
        vm.expectRevert(ComputationMarket.NotOnPanel.selector);
        vm.prank(neuron(5));
        market.commit(request, bytes32(uint256(1)));
        vote(request, 0, 0, 3, 0);
        market.tally(request);
        later(STEP);
        market.settle(request);
        assertEq(market.owed(neuron(0)), 48.5 ether, "a sixth");
        assertEq(market.owed(neuron(2)), 145.5 ether, "a half");
        panel[2] = neuron(9);
        vm.expectRevert(abi.encodeWithSelector(ComputationMarket.NotForHire.selector, neuron(9)));
        vm.prank(requester);
        market.open(terms(3, false), panel);
    }

    function test_SignedReportSettlesInOneTransaction() public {
        uint256 request = _openOffChain(4);
        (address[] memory voters, bytes32[] memory results, bytes[] memory signatures) = _signed(request, 4, 1);
        market.report(request, voters, results, signatures);
        later(STEP);
        market.settle(request);
        assertTrue(market.requestOf(request).result == TRUTH, "result");
        assertEq(bondOf(0), BOND / 2, "the one that differed");
        assertEq(bondOf(1), BOND, "the others");
        assertCovered();
    }

    function test_ReportNeedsTheQuorumOfTheWholePanelAndRealSignatures() public {
        uint256 request = _openOffChain(7);
        (address[] memory voters, bytes32[] memory results, bytes[] memory signatures) = _signed(request, 4, 0);
        vm.expectRevert(ComputationMarket.NoQuorum.selector);
        market.report(request, voters, results, signatures);
        (voters, results, signatures) = _signed(request, 5, 0);
        results[0] = LIE;
        vm.expectRevert(abi.encodeWithSelector(ComputationMarket.BadSignature.selector, neuron(0)));
        market.report(request, voters, results, signatures);
        (voters, results, signatures) = _signed(request, 5, 0);
        voters[1] = voters[0];
        signatures[1] = signatures[0];
        vm.expectRevert(ComputationMarket.AlreadyVoted.selector);
        market.report(request, voters, results, signatures);
        vm.expectRevert(ComputationMarket.WrongState.selector);
        vm.prank(neuron(0));
        market.commit(request, bytes32(uint256(1)));
    }

    function test_ReportNobodyMadeIsRefunded() public {
        uint256 request = _openOffChain(3);
        later(2 * STEP);
        (address[] memory voters, bytes32[] memory results, bytes[] memory signatures) = _signed(request, 3, 0);
        vm.expectRevert(ComputationMarket.TooLate.selector);
        market.report(request, voters, results, signatures);
        market.tally(request);
        later(STEP);
        market.settle(request);
        assertEq(market.owed(requester), PAYMENT, "refunded");
    }

    function test_TermsThatBreakARuleAreRefused() public {
        ComputationMarket.Terms memory wrong = terms(2, false);
        _refused(wrong, ComputationMarket.BadTerms.selector);
        wrong = terms(3, false);
        wrong.shareBps = 5_000;
        _refused(wrong, ComputationMarket.BadTerms.selector);
        wrong = terms(3, false);
        wrong.challengeSeconds = 0;
        _refused(wrong, ComputationMarket.BadTerms.selector);
        wrong = terms(3, true);
        _refused(wrong, ComputationMarket.BadTerms.selector);
        wrong = terms(3, false);
        wrong.payment = 0;
        _refused(wrong, ComputationMarket.ZeroValue.selector);
    }

    function test_PauseStopsRequestsOnly() public {
        uint256 request = open(3);
        market.pause();
        vm.expectRevert();
        vm.prank(requester);
        market.open(terms(3, false), new address[](0));
        vote(request, 0, 0, 3, 0);
        market.tally(request);
        later(STEP);
        market.settle(request);
        vm.prank(neuron(0));
        assertEq(market.withdraw(), 97 ether, "paid while paused");
        market.unpause();
        open(3);
    }

    function test_NeuronWithoutBondOrOnItsWayOutCannotVote() public {
        uint256 request = open(3);
        vm.expectRevert(NeuronRegistry.NotRegistered.selector);
        vm.prank(requester);
        market.commit(request, bytes32(uint256(1)));
        vm.prank(neuron(0));
        registry.requestExit();
        vm.expectRevert(NeuronRegistry.Leaving.selector);
        vm.prank(neuron(0));
        market.commit(request, bytes32(uint256(1)));
    }

    function test_BondStaysWhileARoundIsOpen() public {
        uint256 request = open(3);
        commit(request, 0, 0, TRUTH);
        vm.prank(neuron(0));
        registry.requestExit();
        later(8 days);
        vm.expectRevert(NeuronRegistry.CannotExit.selector);
        vm.prank(neuron(0));
        registry.exit();
        market.tally(request);
        later(STEP);
        market.settle(request);
        vm.prank(neuron(0));
        registry.exit();
        assertEq(token.balanceOf(neuron(0)), 2 * BOND - BOND / 10, "bond less what silence cost");
    }

    function test_ReentrantTokenGetsNothingTwice() public {
        ReentrantToken evil = new ReentrantToken();
        NeuronRegistry otherRegistry = new NeuronRegistry(address(this), IComputationToken(address(evil)), BOND);
        ComputationMarket other = new ComputationMarket(address(this), IComputationToken(address(evil)), otherRegistry);
        otherRegistry.grantRole(otherRegistry.MARKET_ROLE(), address(other));
        uint256 attacked = other.open(terms(3, false), new address[](0));
        later(2 * STEP);
        other.tally(attacked);
        later(STEP);
        other.settle(attacked);
        assertEq(other.owed(address(this)), PAYMENT, "owed");
        // A second escrow lies in the contract: what an attacker is after.
        other.open(terms(3, false), new address[](0));
        evil.attack(address(other), abi.encodeCall(other.withdraw, ()));
        vm.expectRevert(ReentrantToken.ReentryRefused.selector);
        other.withdraw();
        evil.attack(address(other), abi.encodeCall(other.settle, (attacked)));
        vm.expectRevert(ReentrantToken.ReentryRefused.selector);
        other.withdraw();
        evil.attack(address(0), "");
        other.withdraw();
        assertEq(evil.sentTo(address(this)), PAYMENT, "paid once");
        assertEq(other.totalHeld(), PAYMENT, "the other escrow is whole");
    }

    /// forge-config: default.fuzz.runs = 64
    function testFuzz_AThirdOfLiarsNeverWins(uint8 size, uint8 lying, uint8 silent) public {
        uint256 neurons = bound(size, 4, 12);
        uint256 liars = bound(lying, 0, (neurons - 1) / 3);
        uint256 silents = bound(silent, 0, (neurons - 1) / 3 - liars);
        uint256 request = open(3);
        for (uint256 n = 0; n < neurons; ++n) commit(request, 0, n, n < liars ? LIE : TRUTH);
        later(STEP);
        for (uint256 n = 0; n < neurons - silents; ++n) reveal(request, n, n < liars ? LIE : TRUTH);
        later(STEP);
        market.tally(request);
        later(STEP);
        market.settle(request);
        if (neurons - silents >= 3) assertTrue(market.requestOf(request).result == TRUTH, "truth");
        assertCovered();
    }

    function _panel(uint256 size) private view returns (address[] memory panel) {
        panel = new address[](size);
        for (uint256 n = 0; n < size; ++n) panel[n] = neuron(n);
    }

    function _openOffChain(uint256 size) private returns (uint256) {
        for (uint256 n = 0; n < size; ++n) {
            vm.prank(neuron(n));
            market.list(1 ether, keccak256("offer"), true);
        }
        vm.prank(requester);
        return market.open(terms(3, true), _panel(size));
    }

    function _signed(uint256 request, uint256 count, uint256 liars) private view returns (address[] memory voters, bytes32[] memory results, bytes[] memory signatures) {
        voters = _panel(count);
        results = new bytes32[](count);
        signatures = new bytes[](count);
        for (uint256 n = 0; n < count; ++n) {
            results[n] = n < liars ? LIE : TRUTH;
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(keyOf(n), market.voteDigest(request, 0, results[n]));
            signatures[n] = abi.encodePacked(r, s, v);
        }
    }

    function _refused(ComputationMarket.Terms memory wrong, bytes4 reason) private {
        vm.expectRevert(reason);
        vm.prank(requester);
        market.open(wrong, new address[](0));
    }
}
