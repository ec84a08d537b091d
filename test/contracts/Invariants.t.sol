// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ComputationMarket} from "../../contracts/ComputationMarket.sol";
import {IncentiveToken} from "../../contracts/IncentiveToken.sol";
import {NeuronRegistry} from "../../contracts/NeuronRegistry.sol";
import {Network} from "./Network.sol";

/// @notice Does at random what people and neurons may do, and keeps the books that the invariants are checked against.
contract Actors is Network {
    uint256 private constant NEURONS = 24;

    uint256 public settled;
    uint256[] public asked;
    mapping(uint256 request => uint256 reveals) public revealsOf;
    mapping(uint256 n => uint256 reveals) public revealsBy;

    constructor() {
        deploy();
        enlist(0, NEURONS);
    }

    function contracts() external view returns (address, address, address) {
        return (address(token), address(registry), address(market));
    }

    function neurons() external pure returns (uint256) {
        return NEURONS;
    }

    function addressOf(uint256 n) external view returns (address) {
        return neuron(n);
    }

    function holders() external view returns (address[] memory all) {
        all = new address[](NEURONS + 6);
        for (uint256 n = 0; n < NEURONS; ++n) all[n] = neuron(n);
        all[NEURONS] = address(this);
        all[NEURONS + 1] = requester;
        all[NEURONS + 2] = challenger;
        all[NEURONS + 3] = address(token);
        all[NEURONS + 4] = address(registry);
        all[NEURONS + 5] = address(market);
    }

    function check() external view {
        assertCovered();
    }

    function requestCount() external view returns (uint256) {
        return asked.length;
    }

    function wait(uint256 time) external {
        later(bound(time, 1, STEP));
    }

    function waitLong(uint256 time) external {
        // Not while a round is open: almost none would ever end with a result.
        if (asked.length > 0) {
            ComputationMarket.State state = market.requestOf(asked[asked.length - 1]).state;
            if (state == ComputationMarket.State.Open || state == ComputationMarket.State.Tallied) return;
        }
        later(bound(time, 1 days, 400 days));
    }

    function ask() public {
        if (token.balanceOf(requester) < PAYMENT) return;
        asked.push(open(3));
    }

    function takePart(uint256 which, uint256 from, uint256 many, uint256 lying) public {
        (uint256 request, ComputationMarket.Request memory record) = _pick(which);
        if (record.state != ComputationMarket.State.Open) return;
        if (vm.getBlockTimestamp() >= market.roundOf(request, record.round).commitEnds) return;
        for (uint256 i = 0; i < bound(many, 1, 12); ++i) {
            uint256 n = (bound(from, 0, NEURONS - 1) + i) % NEURONS;
            if (!registry.isActive(neuron(n)) || _tookPart(request, record.round, n)) continue;
            commit(request, record.round, n, i < bound(lying, 0, 4) ? LIE : TRUTH);
        }
    }

    function show(uint256 which, uint256 silent) public {
        (uint256 request, ComputationMarket.Request memory record) = _pick(which);
        if (record.state != ComputationMarket.State.Open) return;
        ComputationMarket.Round memory round = market.roundOf(request, record.round);
        if (vm.getBlockTimestamp() >= round.revealEnds) return;
        _until(round.commitEnds);
        address[] memory voters = market.votersOf(request, record.round);
        for (uint256 i = bound(silent, 0, 3); i < voters.length; ++i) {
            ComputationMarket.Vote memory cast = market.voteOf(request, record.round, voters[i]);
            if (cast.result != bytes32(0)) continue;
            uint256 n = _numberOf(voters[i]);
            bool truth = cast.commitment == market.commitmentOf(request, record.round, voters[i], TRUTH, saltOf(n));
            reveal(request, n, truth ? TRUTH : LIE);
            ++revealsOf[request];
            ++revealsBy[n];
        }
    }

    function count(uint256 which) public {
        (uint256 request, ComputationMarket.Request memory record) = _pick(which);
        if (record.state != ComputationMarket.State.Open) return;
        _until(market.roundOf(request, record.round).revealEnds);
        market.tally(request);
    }

    function doubt(uint256 which) public {
        (uint256 request, ComputationMarket.Request memory record) = _pick(which);
        if (record.state != ComputationMarket.State.Tallied || record.round == 2) return;
        if (vm.getBlockTimestamp() >= market.roundOf(request, record.round).challengeEnds || token.balanceOf(challenger) < BOND) return;
        vm.prank(challenger);
        market.challenge(request);
    }

    function end(uint256 which) public {
        (uint256 request, ComputationMarket.Request memory record) = _pick(which);
        if (record.state != ComputationMarket.State.Tallied) return;
        _until(market.roundOf(request, record.round).challengeEnds);
        market.settle(request);
        if (market.requestOf(request).result != bytes32(0)) ++settled;
    }

    /// @notice The next steps of the latest request: at random alone few would ever come to a result.
    function goOn(uint256 steps, uint256 from, uint256 many, uint256 lying, uint256 silent) external {
        for (uint256 i = 0; i < bound(steps, 1, 6); ++i) {
            (uint256 request, ComputationMarket.Request memory record) = _pick(0);
            ComputationMarket.Round memory round = market.roundOf(request, record.round);
            if (record.state == ComputationMarket.State.Tallied) {
                if (uint256(keccak256(abi.encode(steps, i))) % 3 == 0) doubt(0);
                else end(0);
            } else if (record.state != ComputationMarket.State.Open) {
                ask();
            } else if (round.commits == 0 && vm.getBlockTimestamp() < round.commitEnds) {
                takePart(0, from, many, lying);
            } else if (round.reveals == 0 && round.commits > 0 && vm.getBlockTimestamp() < round.revealEnds) {
                show(0, silent);
                if (market.roundOf(request, record.round).reveals == 0) count(0);
            } else {
                count(0);
            }
        }
    }

    function fetch(uint256 who) external {
        vm.prank(neuron(bound(who, 0, NEURONS - 1)));
        market.withdraw();
    }

    function topUp(uint256 who) external {
        uint256 n = bound(who, 0, NEURONS - 1);
        if (token.balanceOf(neuron(n)) < BOND) return;
        vm.prank(neuron(n));
        registry.register(keccak256(abi.encode(n)), 7, BOND);
    }

    function askToLeave(uint256 who) external {
        address some = neuron(bound(who, 0, NEURONS - 1));
        if (registry.neuronOf(some).roles == 0 || registry.neuronOf(some).exitAt != 0) return;
        vm.prank(some);
        registry.requestExit();
    }

    function takeBond(uint256 who) external {
        address some = neuron(bound(who, 0, NEURONS - 1));
        uint64 exitAt = registry.neuronOf(some).exitAt;
        if (exitAt == 0 || vm.getBlockTimestamp() < exitAt || registry.neuronOf(some).openRounds != 0) return;
        vm.prank(some);
        registry.exit();
    }

    function stake(uint256 who, uint256 amount, uint256 lock) external {
        address some = neuron(bound(who, 0, NEURONS - 1));
        uint256 balance = token.balanceOf(some);
        if (balance == 0 || token.positionsOf(some).length == 64) return;
        vm.prank(some);
        token.stake(bound(amount, 1, balance), bound(lock, 7 days, 730 days));
    }

    function unstake(uint256 who) external {
        address some = neuron(bound(who, 0, NEURONS - 1));
        if (token.positionsOf(some).length == 0 || vm.getBlockTimestamp() < token.positionsOf(some)[0].unlocksAt) return;
        vm.prank(some);
        token.unstake(0);
    }

    function claim(uint256 who) external {
        vm.prank(neuron(bound(who, 0, NEURONS - 1)));
        token.claim();
    }

    function _pick(uint256 which) private view returns (uint256 request, ComputationMarket.Request memory record) {
        if (asked.length == 0) return (0, record);
        // One of the latest: older ones are over.
        request = asked[asked.length - 1 - (which % (asked.length < 3 ? asked.length : 3))];
        record = market.requestOf(request);
    }

    function _until(uint256 time) private {
        if (vm.getBlockTimestamp() < time) vm.warp(time);
    }

    function _tookPart(uint256 request, uint8 round, uint256 n) private view returns (bool) {
        for (uint8 r = 0; r <= round; ++r) {
            if (market.voteOf(request, r, neuron(n)).commitment != bytes32(0)) return true;
        }
        return market.votersOf(request, round).length == market.MAX_VOTERS();
    }

    function _numberOf(address who) private view returns (uint256 n) {
        while (neuron(n) != who) ++n;
    }
}

/// @notice What must hold whatever anybody does, in whatever order.
contract Invariants is Network {
    Actors private actors;

    function setUp() public {
        actors = new Actors();
        (address token_, address registry_, address market_) = actors.contracts();
        token = IncentiveToken(token_);
        registry = NeuronRegistry(registry_);
        market = ComputationMarket(market_);
    }

    /// @notice Only the actors act.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actors);
    }

    /// @notice Supply, cover, votes and rewards: see each.
    function invariant_BooksAreRight() external view {
        actors.check();
        _balancesAddUp();
        _noVoteIsCountedTwice();
        _noRewardWithoutReveal();
    }

    function _balancesAddUp() private view {
        address[] memory holders = actors.holders();
        uint256 sum = 0;
        for (uint256 i = 0; i < holders.length; ++i) sum += token.balanceOf(holders[i]);
        assertEq(sum, token.totalSupply(), "sum of balances");
    }

    function _noVoteIsCountedTwice() private view {
        uint256 count = actors.requestCount();
        for (uint256 i = 0; i < count; ++i) {
            uint256 request = actors.asked(i);
            uint256 reveals = 0;
            for (uint8 round = 0; round <= market.requestOf(request).round; ++round) reveals += market.roundOf(request, round).reveals;
            assertEq(reveals, actors.revealsOf(request), "counted votes are revealed votes");
        }
    }

    function _noRewardWithoutReveal() private view {
        for (uint256 n = 0; n < actors.neurons(); ++n) {
            if (actors.revealsBy(n) == 0) assertEq(market.owed(actors.addressOf(n)), 0, "owed without a reveal");
        }
    }
}
