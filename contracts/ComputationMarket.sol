// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IComputationToken} from "./IComputationToken.sol";
import {NeuronRegistry} from "./NeuronRegistry.sol";

/// @title Proof of Computation: several neurons compute, the majority is paid, liars pay
/// @author HAL9
/// @notice A request holds its payment in escrow. Neurons commit to a hash of their result, then reveal it; or a named panel signs
/// its results and one transaction reports them. After the tally anybody may challenge with a bond, which opens a round with
/// more and other neurons. Settlement pays those who revealed the final result and slashes the others; everybody fetches
/// what they are owed.
/// @dev Not upgradeable. Invariant: the contract's balance covers `totalHeld`, the sum of escrow, challenge bonds and debts.
contract ComputationMarket is AccessControl, Pausable, ReentrancyGuard, EIP712 {
    using SafeERC20 for IComputationToken;

    /// @notice Where a request stands. `Open`: neurons commit and reveal. `Tallied`: it may be challenged, then settled.
    enum State {
        None,
        Open,
        Tallied,
        Settled,
        Refunded
    }

    /// @notice What a requester asks for.
    /// @param spec Hash of what is to be computed.
    /// @param payment Put in escrow, in 10^-18 HAL9.
    /// @param commitSeconds How long neurons may commit.
    /// @param revealSeconds How long they may reveal afterwards.
    /// @param challengeSeconds How long a tally may be challenged.
    /// @param minNeurons Least number of revealed results, 3 or more.
    /// @param shareBps Part of the revealed results that must agree, in 1/10,000; above one half.
    /// @param offChain Whether the panel signs results, reported in one transaction, instead of commits and reveals.
    struct Terms {
        bytes32 spec;
        uint128 payment;
        uint32 commitSeconds;
        uint32 revealSeconds;
        uint32 challengeSeconds;
        uint16 minNeurons;
        uint16 shareBps;
        bool offChain;
    }

    /// @notice A request.
    /// @param terms As asked for.
    /// @param requester Who asked.
    /// @param state Where it stands.
    /// @param round The current round, from 0.
    /// @param panelSize Neurons that were named; 0: any may take part.
    /// @param result The final result, once settled.
    struct Request {
        Terms terms;
        address requester;
        State state;
        uint8 round;
        uint16 panelSize;
        bytes32 result;
    }

    /// @notice A round of votes.
    /// @param commitEnds Commits are taken before this time, seconds since 1970.
    /// @param revealEnds Reveals are taken from `commitEnds` until before this time.
    /// @param challengeEnds Challenges are taken before this time; 0 until the tally.
    /// @param minNeurons Least number of revealed results.
    /// @param commits Neurons that take part.
    /// @param reveals Neurons that revealed.
    /// @param leadingVotes Votes of the leading result.
    /// @param tied Whether another result has as many.
    /// @param leading The result with the most votes so far.
    /// @param outcome What the tally found; 0: no quorum, or no majority.
    /// @param challenger Who opened the round by a challenge; 0 in round 0.
    struct Round {
        uint64 commitEnds;
        uint64 revealEnds;
        uint64 challengeEnds;
        uint16 minNeurons;
        uint16 commits;
        uint16 reveals;
        uint16 leadingVotes;
        bool tied;
        bytes32 leading;
        bytes32 outcome;
        address challenger;
    }

    /// @notice A vote. `result` is 0 until it is revealed.
    /// @param commitment See `commitmentOf`.
    /// @param result What was revealed.
    struct Vote {
        bytes32 commitment;
        bytes32 result;
    }

    /// @notice A neuron for hire.
    /// @param price Least payment for a result, in 10^-18 HAL9.
    /// @param active Whether it may be hired.
    /// @param details Hash of what it offers.
    struct Listing {
        uint128 price;
        bool active;
        bytes32 details;
    }

    /// @dev What settlement works with.
    struct Settlement {
        bytes32 result;
        uint256 slashed;
        uint256 weight;
        uint256 forfeited;
        uint256 winners;
    }

    /// @notice May stop new requests; never votes, settlements or withdrawals.
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");
    /// @notice Rounds of a request: the first and two disputes.
    uint8 public constant MAX_ROUNDS = 3;
    /// @notice Neurons of a round, so that no loop grows without bound.
    uint16 public constant MAX_VOTERS = 64;
    /// @notice Longest time of each step of a round.
    uint32 public constant MAX_STEP = 30 days;
    /// @notice What a neuron loses for a result that is not the final one, in 1/10,000 of the least bond.
    uint256 public constant LIE_BPS = 5_000;
    /// @notice What a neuron loses for not revealing, in 1/10,000 of the least bond.
    uint256 public constant SILENCE_BPS = 1_000;
    /// @notice EIP-712 type of a vote in a report.
    bytes32 public constant VOTE_TYPEHASH = keccak256("Vote(uint256 request,uint8 round,bytes32 result)");

    uint256 private constant BPS = 10_000;
    int16 private constant TRUTH_REPUTATION = 50;
    int16 private constant LIE_REPUTATION = -500;
    int16 private constant SILENCE_REPUTATION = -100;

    /// @notice What is paid with.
    IComputationToken public immutable TOKEN;
    /// @notice Who may vote.
    NeuronRegistry public immutable REGISTRY;
    /// @notice What a challenge puts at stake, in 10^-18 HAL9.
    uint256 public immutable CHALLENGE_BOND;

    /// @notice Requests so far; ids count from 1.
    uint256 public requests;
    /// @notice Escrow, challenge bonds and debts together.
    uint256 public totalHeld;
    /// @notice What may be withdrawn, in 10^-18 HAL9.
    mapping(address account => uint256 amount) public owed;
    /// @notice Neurons for hire.
    mapping(address neuron => Listing listing) public listings;

    mapping(uint256 request => Request record) private _requests;
    mapping(uint256 request => mapping(uint8 round => Round record)) private _rounds;
    mapping(uint256 request => mapping(uint8 round => address[] voters)) private _voters;
    mapping(uint256 request => mapping(uint8 round => mapping(bytes32 result => uint16 votes))) private _votesFor;
    mapping(uint256 request => mapping(address voter => mapping(uint8 round => Vote vote))) private _votes;
    mapping(uint256 request => mapping(address voter => bool taken)) private _tookPart;
    mapping(uint256 request => mapping(address neuron => uint256 price)) private _panelPrice;

    /// @notice A computation is asked for.
    /// @param request Its id.
    /// @param requester Who asked.
    /// @param spec Hash of what is to be computed.
    /// @param payment In escrow.
    event Requested(uint256 indexed request, address indexed requester, bytes32 indexed spec, uint256 payment);
    /// @notice A round began.
    /// @param request Of which request.
    /// @param round Its number.
    /// @param minNeurons Results it needs.
    /// @param commitEnds When commits end.
    /// @param revealEnds When reveals end.
    event RoundOpened(uint256 indexed request, uint8 indexed round, uint16 minNeurons, uint64 commitEnds, uint64 revealEnds);
    /// @notice A neuron committed to a result.
    /// @param request Of which request.
    /// @param round In which round.
    /// @param neuron Who.
    event Committed(uint256 indexed request, uint8 indexed round, address indexed neuron);
    /// @notice A neuron revealed its result.
    /// @param request Of which request.
    /// @param round In which round.
    /// @param neuron Who.
    /// @param result Which.
    event Revealed(uint256 indexed request, uint8 indexed round, address indexed neuron, bytes32 result);
    /// @notice A round was counted.
    /// @param request Of which request.
    /// @param round Which round.
    /// @param outcome The result; 0: none.
    /// @param challengeEnds Until when it may be challenged.
    event Tallied(uint256 indexed request, uint8 indexed round, bytes32 outcome, uint64 challengeEnds);
    /// @notice A tally was challenged.
    /// @param request Of which request.
    /// @param round The round this opened.
    /// @param challenger Who.
    event Challenged(uint256 indexed request, uint8 indexed round, address indexed challenger);
    /// @notice A request ended with a result.
    /// @param request Which.
    /// @param result The result.
    /// @param paid What those who computed share.
    /// @param slashed What the others lost.
    event SettledWith(uint256 indexed request, bytes32 indexed result, uint256 paid, uint256 slashed);
    /// @notice A request ended without a result; the payment is the requester's again.
    /// @param request Which.
    /// @param slashed What silent neurons lost; burned.
    event RefundedWith(uint256 indexed request, uint256 slashed);
    /// @notice Somebody fetched what they were owed.
    /// @param account Who.
    /// @param amount How much.
    event Withdrawn(address indexed account, uint256 amount);
    /// @notice A neuron offers itself, or stops to.
    /// @param neuron Who.
    /// @param price Least payment for a result.
    /// @param active Whether it may be hired.
    /// @param details Hash of what it offers.
    event Listed(address indexed neuron, uint256 price, bool active, bytes32 details);

    /// @notice The terms break a rule: see `Terms`.
    error BadTerms();
    /// @notice The payment is below what the named neurons ask for.
    /// @param least What they ask for.
    error PaymentTooLow(uint256 least);
    /// @notice A named neuron is not for hire, or named twice.
    /// @param neuron Which.
    error NotForHire(address neuron);
    /// @notice The request is in another state.
    error WrongState();
    /// @notice The step is over.
    error TooLate();
    /// @notice The step has not begun.
    error TooEarly();
    /// @notice The request named other neurons.
    error NotOnPanel();
    /// @notice The neuron took part already, in this round or one before.
    error AlreadyVoted();
    /// @notice The round has as many neurons as it may have.
    error RoundFull();
    /// @notice Zero is no commitment and no result.
    error ZeroValue();
    /// @notice The reveal does not match what was committed.
    error WrongReveal();
    /// @notice A signature in a report is not that neuron's.
    /// @param neuron Which.
    error BadSignature(address neuron);
    /// @notice Too few results, or too few of the panel that agree.
    error NoQuorum();
    /// @notice There is no further round.
    error NoMoreRounds();

    /// @notice Binds the market to token and registry.
    /// @param admin Gives and takes roles; hand it to the timelock.
    /// @param token What is paid with.
    /// @param registry Who may vote; it must give this contract its MARKET_ROLE.
    constructor(address admin, IComputationToken token, NeuronRegistry registry) EIP712("HAL9 ComputationMarket", "1") {
        TOKEN = token;
        REGISTRY = registry;
        CHALLENGE_BOND = registry.MIN_BOND();
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(PAUSER_ROLE, admin);
    }

    /// @notice Stops new requests.
    function pause() external onlyRole(PAUSER_ROLE) {
        _pause();
    }

    /// @notice Allows new requests again.
    function unpause() external onlyRole(PAUSER_ROLE) {
        _unpause();
    }

    /// @notice Offers the caller for hire, or stops to.
    /// @param price Least payment for a result, in 10^-18 HAL9; above 0.
    /// @param details Hash of what is offered.
    /// @param active Whether it may be hired.
    function list(uint128 price, bytes32 details, bool active) external {
        if (price == 0) revert ZeroValue();
        listings[msg.sender] = Listing(price, active, details);
        emit Listed(msg.sender, price, active, details);
    }

    /// @notice Asks for a computation and puts its payment in escrow.
    /// @param terms See `Terms`.
    /// @param panel Neurons that are hired, each listed; empty: any registered neuron may take part. An off-chain request needs one.
    /// @return request Its id.
    function open(Terms calldata terms, address[] calldata panel) external whenNotPaused nonReentrant returns (uint256 request) {
        _checkTerms(terms, panel.length);
        request = ++requests;
        Request storage record = _requests[request];
        record.terms = terms;
        record.requester = msg.sender;
        record.state = State.Open;
        record.panelSize = uint16(panel.length);
        _hire(request, terms.payment, panel);
        totalHeld += terms.payment;
        emit Requested(request, msg.sender, terms.spec, terms.payment);
        _openRound(request, 0, terms.minNeurons, terms);
        TOKEN.safeTransferFrom(msg.sender, address(this), terms.payment);
    }

    /// @notice Commits the caller to a result.
    /// @param request Of which request.
    /// @param commitment See `commitmentOf`. It names its voter: a copied one cannot be revealed by another.
    function commit(uint256 request, bytes32 commitment) external {
        Request storage record = _requests[request];
        uint8 round = record.round;
        if (record.state != State.Open || (record.terms.offChain && round == 0)) revert WrongState();
        if (block.timestamp >= _rounds[request][round].commitEnds) revert TooLate();
        if (commitment == bytes32(0)) revert ZeroValue();
        _takePart(request, round, msg.sender);
        _votes[request][msg.sender][round].commitment = commitment;
        emit Committed(request, round, msg.sender);
    }

    /// @notice Reveals the result that the caller committed to.
    /// @param request Of which request.
    /// @param result Hash of the result.
    /// @param salt What hid it.
    function reveal(uint256 request, bytes32 result, bytes32 salt) external {
        Request storage record = _requests[request];
        uint8 round = record.round;
        if (record.state != State.Open) revert WrongState();
        if (block.timestamp < _rounds[request][round].commitEnds) revert TooEarly();
        if (block.timestamp >= _rounds[request][round].revealEnds) revert TooLate();
        if (result == bytes32(0)) revert ZeroValue();
        Vote storage vote = _votes[request][msg.sender][round];
        if (vote.result != bytes32(0)) revert AlreadyVoted();
        if (vote.commitment == bytes32(0) || vote.commitment != commitmentOf(request, round, msg.sender, result, salt)) revert WrongReveal();
        vote.result = result;
        _count(request, round, result);
        emit Revealed(request, round, msg.sender, result);
    }

    /// @notice Reports the signed results of the panel of an off-chain request, those that differ included.
    /// @param request Of which request.
    /// @param voters Who signed.
    /// @param results What each signed, as `Vote` of EIP-712.
    /// @param signatures Theirs.
    function report(uint256 request, address[] calldata voters, bytes32[] calldata results, bytes[] calldata signatures) external {
        Request storage record = _requests[request];
        if (record.state != State.Open || !record.terms.offChain || record.round != 0) revert WrongState();
        if (voters.length != results.length || voters.length != signatures.length) revert BadTerms();
        Round storage round = _rounds[request][0];
        if (block.timestamp >= round.revealEnds) revert TooLate();
        uint256 count = voters.length;
        for (uint256 i = 0; i < count; ++i) {
            if (results[i] == bytes32(0)) revert ZeroValue();
            if (!SignatureChecker.isValidSignatureNow(voters[i], voteDigest(request, 0, results[i]), signatures[i])) revert BadSignature(voters[i]);
            _takePart(request, 0, voters[i]);
            _votes[request][voters[i]][0].result = results[i];
            _count(request, 0, results[i]);
            emit Revealed(request, 0, voters[i], results[i]);
        }
        // Of the whole panel: whoever reports cannot leave out those that differ.
        if (!_agreed(round, record.terms.shareBps) || round.leadingVotes * BPS < uint256(record.terms.shareBps) * record.panelSize) revert NoQuorum();
        _close(request, 0);
    }

    /// @notice Counts a round whose time is over, or whose neurons have all revealed. Anybody may call it.
    /// @param request Of which request.
    function tally(uint256 request) external {
        Request storage record = _requests[request];
        if (record.state != State.Open) revert WrongState();
        Round storage round = _rounds[request][record.round];
        bool complete = round.commits > 0 && round.reveals == round.commits && block.timestamp >= round.commitEnds;
        if (!complete && block.timestamp < round.revealEnds) revert TooEarly();
        _close(request, record.round);
    }

    /// @notice Doubts a tally: opens a round with more neurons, none of which voted before. The bond is lost unless the final result differs.
    /// @param request Of which request.
    function challenge(uint256 request) external nonReentrant {
        Request storage record = _requests[request];
        if (record.state != State.Tallied) revert WrongState();
        Round storage doubted = _rounds[request][record.round];
        if (block.timestamp >= doubted.challengeEnds) revert TooLate();
        uint8 next = record.round + 1;
        if (next == MAX_ROUNDS) revert NoMoreRounds();
        uint16 wanted = doubted.minNeurons * 2 + 1;
        record.round = next;
        record.state = State.Open;
        _rounds[request][next].challenger = msg.sender;
        totalHeld += CHALLENGE_BOND;
        emit Challenged(request, next, msg.sender);
        _openRound(request, next, wanted > MAX_VOTERS ? MAX_VOTERS : wanted, record.terms);
        TOKEN.safeTransferFrom(msg.sender, address(this), CHALLENGE_BOND);
    }

    /// @notice Ends a request: pays those who revealed the final result, slashes the others, or refunds. Anybody may call it.
    /// @param request Which.
    function settle(uint256 request) external nonReentrant {
        Request storage record = _requests[request];
        if (record.state != State.Tallied) revert WrongState();
        if (block.timestamp < _rounds[request][record.round].challengeEnds) revert TooEarly();
        Settlement memory ending;
        ending.result = _finalResult(request, record.round);
        record.state = ending.result == bytes32(0) ? State.Refunded : State.Settled;
        record.result = ending.result;
        _judge(request, record, ending);
        _returnBonds(request, record.round, ending);
        if (ending.result == bytes32(0)) _refund(request, record, ending);
        else _pay(request, record, ending);
    }

    /// @notice Fetches what the caller is owed.
    /// @return amount In 10^-18 HAL9.
    function withdraw() external nonReentrant returns (uint256 amount) {
        amount = owed[msg.sender];
        if (amount == 0) return 0;
        owed[msg.sender] = 0;
        totalHeld -= amount;
        emit Withdrawn(msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }

    /// @notice A request.
    /// @param request Its id.
    /// @return record All zero when there is none.
    function requestOf(uint256 request) external view returns (Request memory record) {
        return _requests[request];
    }

    /// @notice A round.
    /// @param request Of which request.
    /// @param round Its number.
    /// @return record All zero when there is none.
    function roundOf(uint256 request, uint8 round) external view returns (Round memory record) {
        return _rounds[request][round];
    }

    /// @notice Who took part in a round.
    /// @param request Of which request.
    /// @param round Its number.
    /// @return voters In the order they came.
    function votersOf(uint256 request, uint8 round) external view returns (address[] memory voters) {
        return _voters[request][round];
    }

    /// @notice A vote.
    /// @param request Of which request.
    /// @param round In which round.
    /// @param voter Whose.
    /// @return vote All zero when there is none.
    function voteOf(uint256 request, uint8 round, address voter) external view returns (Vote memory vote) {
        return _votes[request][voter][round];
    }

    /// @notice What a neuron signs in an off-chain round (EIP-712).
    /// @param request Of which request.
    /// @param round In which round.
    /// @param result Hash of its result.
    /// @return digest What the signature is over.
    function voteDigest(uint256 request, uint8 round, bytes32 result) public view returns (bytes32 digest) {
        return _hashTypedDataV4(keccak256(abi.encode(VOTE_TYPEHASH, request, round, result)));
    }

    /// @notice The commitment of a vote: bound to chain, market, request, round and voter.
    /// @param request Of which request.
    /// @param round In which round.
    /// @param voter Whose.
    /// @param result Hash of the result.
    /// @param salt 32 bytes nobody can guess.
    /// @return commitment What `commit` takes.
    function commitmentOf(uint256 request, uint8 round, address voter, bytes32 result, bytes32 salt) public view returns (bytes32 commitment) {
        return keccak256(abi.encode(block.chainid, address(this), request, round, voter, result, salt));
    }

    function _hire(uint256 request, uint256 payment, address[] calldata panel) private {
        uint256 least = 0;
        uint256 size = panel.length;
        for (uint256 i = 0; i < size; ++i) {
            Listing storage listing = listings[panel[i]];
            if (!listing.active || _panelPrice[request][panel[i]] != 0 || !REGISTRY.isActive(panel[i])) revert NotForHire(panel[i]);
            _panelPrice[request][panel[i]] = listing.price;
            least += listing.price;
        }
        if (payment < least) revert PaymentTooLow(least);
    }

    function _openRound(uint256 request, uint8 round, uint16 minNeurons, Terms memory terms) private {
        Round storage record = _rounds[request][round];
        record.minNeurons = minNeurons;
        record.commitEnds = uint64(block.timestamp + terms.commitSeconds);
        record.revealEnds = record.commitEnds + terms.revealSeconds;
        emit RoundOpened(request, round, minNeurons, record.commitEnds, record.revealEnds);
    }

    function _takePart(uint256 request, uint8 round, address neuron) private {
        if (round == 0 && _requests[request].panelSize != 0 && _panelPrice[request][neuron] == 0) revert NotOnPanel();
        if (_tookPart[request][neuron]) revert AlreadyVoted();
        Round storage record = _rounds[request][round];
        if (record.commits == MAX_VOTERS) revert RoundFull();
        _tookPart[request][neuron] = true;
        ++record.commits;
        _voters[request][round].push(neuron);
        REGISTRY.enterRound(neuron, round == 0 ? REGISTRY.ROLE_COMPUTE() : REGISTRY.ROLE_ARBITRATE());
    }

    function _count(uint256 request, uint8 round, bytes32 result) private {
        Round storage record = _rounds[request][round];
        uint16 votes = ++_votesFor[request][round][result];
        ++record.reveals;
        if (votes > record.leadingVotes) {
            record.leading = result;
            record.leadingVotes = votes;
            record.tied = false;
        } else if (votes == record.leadingVotes) {
            record.tied = true;
        }
    }

    function _close(uint256 request, uint8 round) private {
        Request storage record = _requests[request];
        Round storage counted = _rounds[request][round];
        record.state = State.Tallied;
        if (_agreed(counted, record.terms.shareBps)) counted.outcome = counted.leading;
        counted.challengeEnds = uint64(block.timestamp + record.terms.challengeSeconds);
        emit Tallied(request, round, counted.outcome, counted.challengeEnds);
    }

    /// @dev Frees every neuron, slashes, and adds up the weights of those who are paid.
    function _judge(uint256 request, Request storage record, Settlement memory ending) private {
        for (uint8 round = 0; round <= record.round; ++round) {
            address[] storage voters = _voters[request][round];
            uint256 count = voters.length;
            for (uint256 i = 0; i < count; ++i) {
                bytes32 result = _votes[request][voters[i]][round].result;
                if (result == bytes32(0)) {
                    ending.slashed += REGISTRY.slash(voters[i], SILENCE_BPS);
                    REGISTRY.leaveRound(voters[i], SILENCE_REPUTATION);
                } else if (ending.result == bytes32(0)) {
                    REGISTRY.leaveRound(voters[i], 0);
                } else if (result == ending.result) {
                    ending.weight += _weightOf(request, record, voters[i]);
                    REGISTRY.leaveRound(voters[i], TRUTH_REPUTATION);
                } else {
                    ending.slashed += REGISTRY.slash(voters[i], LIE_BPS);
                    REGISTRY.leaveRound(voters[i], LIE_REPUTATION);
                }
            }
        }
    }

    /// @dev A challenger whose doubt changed the result gets the bond and shares half of what liars lost; the others forfeit it.
    function _returnBonds(uint256 request, uint8 lastRound, Settlement memory ending) private {
        totalHeld += ending.slashed;
        for (uint8 round = 1; round <= lastRound; ++round) {
            if (_rounds[request][round - 1].outcome != ending.result) ++ending.winners;
        }
        uint256 prize = ending.winners == 0 ? 0 : ending.slashed / 2 / ending.winners;
        ending.forfeited = ending.slashed - prize * ending.winners;
        for (uint8 round = 1; round <= lastRound; ++round) {
            if (_rounds[request][round - 1].outcome != ending.result) owed[_rounds[request][round].challenger] += CHALLENGE_BOND + prize;
            else ending.forfeited += CHALLENGE_BOND;
        }
    }

    function _refund(uint256 request, Request storage record, Settlement memory ending) private {
        owed[record.requester] += record.terms.payment;
        totalHeld -= ending.forfeited;
        emit RefundedWith(request, ending.slashed);
        if (ending.forfeited > 0) TOKEN.burn(ending.forfeited);
    }

    function _pay(uint256 request, Request storage record, Settlement memory ending) private {
        uint256 payment = record.terms.payment;
        uint256 net = TOKEN.chargeComputation(payment);
        totalHeld -= payment - net;
        uint256 pool = net + ending.forfeited;
        uint256 paid = 0;
        for (uint8 round = 0; round <= record.round; ++round) {
            address[] storage voters = _voters[request][round];
            uint256 count = voters.length;
            for (uint256 i = 0; i < count; ++i) {
                if (_votes[request][voters[i]][round].result != ending.result) continue;
                uint256 share = (pool * _weightOf(request, record, voters[i])) / ending.weight;
                owed[voters[i]] += share;
                paid += share;
            }
        }
        // What division left over.
        owed[record.requester] += pool - paid;
        emit SettledWith(request, ending.result, paid, ending.slashed);
    }

    /// @dev Hired neurons are paid by their price, those of disputes as the average of them; of an open request all alike.
    function _weightOf(uint256 request, Request storage record, address voter) private view returns (uint256 weight) {
        if (record.panelSize == 0) return 1;
        uint256 price = _panelPrice[request][voter];
        return price == 0 ? record.terms.payment / record.panelSize : price;
    }

    /// @dev The last round that found one: a dispute without quorum changes nothing.
    function _finalResult(uint256 request, uint8 lastRound) private view returns (bytes32 result) {
        for (uint8 round = lastRound + 1; round > 0; --round) {
            result = _rounds[request][round - 1].outcome;
            if (result != bytes32(0)) return result;
        }
    }

    function _agreed(Round storage round, uint16 shareBps) private view returns (bool agreed) {
        return round.reveals >= round.minNeurons && !round.tied && round.leadingVotes * BPS >= uint256(shareBps) * round.reveals;
    }

    function _checkTerms(Terms calldata terms, uint256 panelSize) private pure {
        if (terms.spec == bytes32(0) || terms.payment == 0) revert ZeroValue();
        if (terms.minNeurons < 3 || terms.minNeurons > MAX_VOTERS || panelSize > MAX_VOTERS) revert BadTerms();
        if (panelSize != 0 && panelSize < terms.minNeurons) revert BadTerms();
        if (terms.offChain && panelSize == 0) revert BadTerms();
        if (terms.shareBps <= BPS / 2 || terms.shareBps > BPS) revert BadTerms();
        if (terms.commitSeconds == 0 || terms.revealSeconds == 0 || terms.challengeSeconds == 0) revert BadTerms();
        if (terms.commitSeconds > MAX_STEP || terms.revealSeconds > MAX_STEP || terms.challengeSeconds > MAX_STEP) revert BadTerms();
    }
}
