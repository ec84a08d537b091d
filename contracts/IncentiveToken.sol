// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {IComputationToken} from "./IComputationToken.sol";

/// @title HAL9, the token that neurons are paid and bonded with
/// @author HAL9
/// @notice At most 1,000,000,000 HAL9 are ever minted: a part at the beginning, the rest as rewards of stakers over
/// halving periods of four years. Of every payment for a computation 1 % is burned and 2 % goes to stakers.
/// @dev Not upgradeable. Invariants: `totalSupply() + totalBurned == totalMinted <= CAP`, and the contract's own balance
/// covers all stakes, all rewards that were not claimed, and fees that wait for a staker. Staked tokens keep their vote.
contract IncentiveToken is ERC20, ERC20Permit, ERC20Votes, AccessControl, Pausable, IComputationToken {
    /// @notice A locked amount of one account.
    /// @param amount Locked tokens, in 10^-18 HAL9.
    /// @param weight `amount` times the multiplier of its lock: what rewards are shared by.
    /// @param unlocksAt When it may be withdrawn, seconds since 1970.
    /// @param paidIndex Value of the reward index up to which rewards were credited.
    struct Position {
        uint128 amount;
        uint128 weight;
        uint64 unlocksAt;
        uint256 paidIndex;
    }

    /// @notice May stop new stakes; never withdrawals, claims or transfers.
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");
    /// @notice Most tokens that are ever minted, in 10^-18 HAL9.
    uint256 public constant CAP = 1_000_000_000 ether;
    /// @notice Length of a period of emission; each emits half of what is left.
    uint256 public constant HALVING_PERIOD = 4 * 365 days;
    /// @notice Shortest lock of a stake.
    uint256 public constant MIN_LOCK = 7 days;
    /// @notice Lock that earns the highest multiplier, three times the weight.
    uint256 public constant MAX_LOCK = 730 days;
    /// @notice Share of a payment that goes to stakers, in 1/10,000.
    uint256 public constant FEE_BPS = 200;
    /// @notice Share of a payment that is burned, in 1/10,000.
    uint256 public constant BURN_BPS = 100;
    /// @notice Most positions of one account, so that no loop grows without bound.
    uint256 public constant MAX_POSITIONS = 64;

    uint256 private constant BPS = 10_000;
    uint256 private constant INDEX_UNIT = 1e27;
    /// @dev Beyond it less than one unit is left to emit.
    uint256 private constant LAST_PERIOD = 96;

    /// @notice When emission began, seconds since 1970.
    uint256 public immutable EMISSION_START;
    /// @notice What is emitted over all periods together, in 10^-18 HAL9.
    uint256 public immutable EMISSION_TOTAL;

    /// @notice Tokens ever minted.
    uint256 public totalMinted;
    /// @notice Tokens ever burned.
    uint256 public totalBurned;
    /// @notice Tokens locked in positions.
    uint256 public totalStaked;
    /// @notice Sum of the weights of all positions.
    uint256 public totalWeight;
    /// @notice Rewards and fees that belong to stakers and were not claimed, those waiting for a first staker included.
    uint256 public unpaidRewards;
    /// @notice Fees taken while nobody staked; shared out as soon as somebody does.
    uint256 public waitingFees;
    /// @notice Tokens staked by an account.
    mapping(address account => uint256 amount) public stakedOf;

    uint256 private _index;
    uint256 private _accruedAt;
    mapping(address account => uint256 amount) private _credited;
    mapping(address account => Position[] positions) private _positions;

    /// @notice An amount was locked.
    /// @param account Who staked.
    /// @param position Its place among the positions of the account.
    /// @param amount Locked tokens.
    /// @param unlocksAt When it may be withdrawn.
    event Staked(address indexed account, uint256 indexed position, uint256 amount, uint256 unlocksAt);
    /// @notice A position was withdrawn.
    /// @param account Who had staked.
    /// @param amount Returned tokens.
    event Unstaked(address indexed account, uint256 amount);
    /// @notice Rewards were paid.
    /// @param account To whom.
    /// @param amount How much.
    event RewardPaid(address indexed account, uint256 amount);
    /// @notice A computation was charged.
    /// @param payer Who paid: the market that holds the escrow.
    /// @param amount The whole payment.
    /// @param fee What went to stakers.
    /// @param burned What was burned.
    event ComputationCharged(address indexed payer, uint256 amount, uint256 fee, uint256 burned);

    /// @notice More than the cap would be minted.
    error CapExceeded();
    /// @notice The amount is zero or larger than the token ever gets.
    error BadAmount();
    /// @notice The lock is shorter than MIN_LOCK or longer than MAX_LOCK.
    error BadLock();
    /// @notice The account has as many positions as it may have.
    error TooManyPositions();
    /// @notice There is no such position.
    error NoSuchPosition();
    /// @notice The position is still locked.
    /// @param unlocksAt When it may be withdrawn, seconds since 1970.
    error StillLocked(uint256 unlocksAt);

    /// @notice Mints the first part; everything else is emitted to stakers.
    /// @param admin Gives and takes roles; hand it to the timelock.
    /// @param treasury Gets the first part.
    /// @param genesis The first part, at most the cap.
    constructor(address admin, address treasury, uint256 genesis) ERC20("HAL9", "HAL9") ERC20Permit("HAL9") {
        if (genesis > CAP) revert CapExceeded();
        EMISSION_START = block.timestamp;
        EMISSION_TOTAL = CAP - genesis;
        _accruedAt = block.timestamp;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(PAUSER_ROLE, admin);
        if (genesis > 0) _mint(treasury, genesis);
    }

    /// @notice Stops new stakes.
    function pause() external onlyRole(PAUSER_ROLE) {
        _pause();
    }

    /// @notice Allows new stakes again.
    function unpause() external onlyRole(PAUSER_ROLE) {
        _unpause();
    }

    /// @notice Locks tokens for rewards. They keep their vote.
    /// @param amount In 10^-18 HAL9.
    /// @param lockSeconds From MIN_LOCK to MAX_LOCK; the longer the heavier, up to three times.
    /// @return position Its place among the caller's positions.
    function stake(uint256 amount, uint256 lockSeconds) external whenNotPaused returns (uint256 position) {
        if (amount == 0 || amount > CAP) revert BadAmount();
        if (lockSeconds < MIN_LOCK || lockSeconds > MAX_LOCK) revert BadLock();
        position = _positions[msg.sender].length;
        if (position == MAX_POSITIONS) revert TooManyPositions();
        _accrue();
        uint256 weight = (amount * multiplierBps(lockSeconds)) / BPS;
        uint256 unlocksAt = block.timestamp + lockSeconds;
        totalWeight += weight;
        totalStaked += amount;
        stakedOf[msg.sender] += amount;
        // Both fit: amount <= CAP < 2^90, weight <= 3 * CAP.
        _positions[msg.sender].push(Position(uint128(amount), uint128(weight), uint64(unlocksAt), _index));
        _transfer(msg.sender, address(this), amount);
        _transferVotingUnits(address(this), msg.sender, amount);
        emit Staked(msg.sender, position, amount, unlocksAt);
    }

    /// @notice Withdraws a position whose lock is over, and credits its rewards. The last position takes its place.
    /// @param position Its place among the caller's positions.
    function unstake(uint256 position) external {
        Position[] storage mine = _positions[msg.sender];
        if (position >= mine.length) revert NoSuchPosition();
        Position memory taken = mine[position];
        if (block.timestamp < taken.unlocksAt) revert StillLocked(taken.unlocksAt);
        _accrue();
        _credited[msg.sender] += _earned(taken);
        mine[position] = mine[mine.length - 1];
        mine.pop();
        totalWeight -= taken.weight;
        totalStaked -= taken.amount;
        stakedOf[msg.sender] -= taken.amount;
        _transferVotingUnits(msg.sender, address(this), taken.amount);
        _transfer(address(this), msg.sender, taken.amount);
        emit Unstaked(msg.sender, taken.amount);
    }

    /// @notice Pays the caller what its positions earned.
    /// @return amount In 10^-18 HAL9.
    function claim() external returns (uint256 amount) {
        _accrue();
        amount = _credited[msg.sender];
        _credited[msg.sender] = 0;
        Position[] storage mine = _positions[msg.sender];
        uint256 count = mine.length;
        for (uint256 i = 0; i < count; ++i) {
            amount += _earned(mine[i]);
            mine[i].paidIndex = _index;
        }
        if (amount == 0) return 0;
        unpaidRewards -= amount;
        _transfer(address(this), msg.sender, amount);
        emit RewardPaid(msg.sender, amount);
    }

    /// @inheritdoc IComputationToken
    function chargeComputation(uint256 amount) external returns (uint256 net) {
        uint256 fee = (amount * FEE_BPS) / BPS;
        uint256 burned = (amount * BURN_BPS) / BPS;
        _accrue();
        _burn(msg.sender, burned);
        unpaidRewards += fee;
        _share(fee);
        _transfer(msg.sender, address(this), fee);
        emit ComputationCharged(msg.sender, amount, fee, burned);
        return amount - fee - burned;
    }

    /// @inheritdoc IComputationToken
    function burn(uint256 amount) external {
        _burn(msg.sender, amount);
    }

    /// @notice Positions of an account.
    /// @param account Whose.
    /// @return all Every position, in the order `unstake` counts them.
    function positionsOf(address account) external view returns (Position[] memory all) {
        return _positions[account];
    }

    /// @notice What `claim` would pay now.
    /// @param account Whose.
    /// @return amount In 10^-18 HAL9.
    function claimable(address account) external view returns (uint256 amount) {
        uint256 index = _index;
        if (totalWeight > 0) {
            index += Math.mulDiv(emittedUntil(block.timestamp) - emittedUntil(_accruedAt) + waitingFees, INDEX_UNIT, totalWeight);
        }
        amount = _credited[account];
        Position[] storage theirs = _positions[account];
        uint256 count = theirs.length;
        for (uint256 i = 0; i < count; ++i) {
            amount += Math.mulDiv(theirs[i].weight, index - theirs[i].paidIndex, INDEX_UNIT);
        }
    }

    /// @notice The schedule of emission: period n emits EMISSION_TOTAL / 2^(n+1), evenly.
    /// @param time Seconds since 1970.
    /// @return amount Emitted from the beginning until then, in 10^-18 HAL9; rounded down.
    function emittedUntil(uint256 time) public view returns (uint256 amount) {
        if (time <= EMISSION_START) return 0;
        uint256 elapsed = time - EMISSION_START;
        uint256 period = elapsed / HALVING_PERIOD;
        if (period >= LAST_PERIOD) return EMISSION_TOTAL;
        uint256 left = EMISSION_TOTAL >> period;
        return EMISSION_TOTAL - left + ((left - (left >> 1)) * (elapsed % HALVING_PERIOD)) / HALVING_PERIOD;
    }

    /// @notice Weight of a token for a lock, in 1/10,000: from 1.0 for nothing up to 3.0 for MAX_LOCK.
    /// @param lockSeconds At most MAX_LOCK.
    /// @return bps The multiplier.
    function multiplierBps(uint256 lockSeconds) public pure returns (uint256 bps) {
        return BPS + (2 * BPS * lockSeconds) / MAX_LOCK;
    }

    /// @inheritdoc ERC20Permit
    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) {
        return super.nonces(owner);
    }

    /// @notice Votes go by time, not by block: blocks of the supported chains differ in length.
    /// @return now_ Seconds since 1970.
    function clock() public view override returns (uint48 now_) {
        return uint48(block.timestamp);
    }

    /// @notice Says that votes go by time (ERC-6372).
    /// @return mode `mode=timestamp`.
    function CLOCK_MODE() public pure override returns (string memory mode) {
        return "mode=timestamp";
    }

    /// @notice Counts what is minted and burned, and holds the cap.
    /// @param from Whose balance falls; 0: minted.
    /// @param to Whose balance grows; 0: burned.
    /// @param value In 10^-18 HAL9.
    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Votes) {
        if (from == address(0)) {
            totalMinted += value;
            if (totalMinted > CAP) revert CapExceeded();
        }
        if (to == address(0)) totalBurned += value;
        super._update(from, to, value);
    }

    /// @dev Staked tokens vote as if they were still at hand.
    function _getVotingUnits(address account) internal view override returns (uint256 units) {
        if (account == address(this)) return 0;
        return super._getVotingUnits(account) + stakedOf[account];
    }

    /// @dev Mints what was emitted since the last time. Emission while nobody stakes is never minted.
    function _accrue() private {
        uint256 emitted = emittedUntil(block.timestamp) - emittedUntil(_accruedAt);
        _accruedAt = block.timestamp;
        if (totalWeight == 0) return;
        if (emitted > 0) {
            unpaidRewards += emitted;
            _mint(address(this), emitted);
        }
        _share(emitted);
    }

    /// @dev Divides an amount, and fees that waited, among all positions by weight.
    function _share(uint256 amount) private {
        if (totalWeight == 0) {
            waitingFees += amount;
            return;
        }
        uint256 shared = amount + waitingFees;
        waitingFees = 0;
        _index += Math.mulDiv(shared, INDEX_UNIT, totalWeight);
    }

    function _earned(Position memory position) private view returns (uint256 amount) {
        return Math.mulDiv(position.weight, _index - position.paidIndex, INDEX_UNIT);
    }
}
