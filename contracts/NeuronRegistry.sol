// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IComputationToken} from "./IComputationToken.sol";

/// @title Who computes: identity, bond, reputation and roles of neurons
/// @author HAL9
/// @notice A neuron is the address that signs its votes. Its bond is what it loses when it lies; it is locked while a round
/// it votes in is open.
/// @dev Not upgradeable. Invariant: the contract's balance covers the sum of all bonds.
contract NeuronRegistry is AccessControl, Pausable, ReentrancyGuard {
    using SafeERC20 for IComputationToken;

    /// @notice A registered neuron.
    /// @param bond What it has at stake, in 10^-18 HAL9.
    /// @param openRounds Rounds it votes in that are not settled.
    /// @param reputation From 0 to 10,000; begins at 5,000.
    /// @param roles Bits of ROLE_COMPUTE, ROLE_VERIFY, ROLE_ARBITRATE.
    /// @param exitAt When the bond may be taken out, seconds since 1970; 0 while it stays.
    /// @param identity Hash of what describes the neuron outside the chain.
    struct Neuron {
        uint128 bond;
        uint32 openRounds;
        uint16 reputation;
        uint8 roles;
        uint64 exitAt;
        bytes32 identity;
    }

    /// @notice Markets that lock and slash bonds.
    bytes32 public constant MARKET_ROLE = keccak256("MARKET_ROLE");
    /// @notice May stop registrations; never exits.
    bytes32 public constant PAUSER_ROLE = keccak256("PAUSER_ROLE");
    /// @notice Computes results.
    uint8 public constant ROLE_COMPUTE = 1;
    /// @notice Checks results of others.
    uint8 public constant ROLE_VERIFY = 2;
    /// @notice Votes in disputes.
    uint8 public constant ROLE_ARBITRATE = 4;
    /// @notice Highest reputation.
    uint16 public constant MAX_REPUTATION = 10_000;
    /// @notice Time between asking to leave and taking the bond.
    uint256 public constant EXIT_DELAY = 7 days;

    /// @notice The token bonds are in.
    IComputationToken public immutable TOKEN;
    /// @notice Least bond of a neuron that may vote, in 10^-18 HAL9.
    uint256 public immutable MIN_BOND;

    /// @notice Sum of all bonds.
    uint256 public totalBonded;
    mapping(address neuron => Neuron record) private _neurons;

    /// @notice A neuron joined, or changed what it says about itself.
    /// @param neuron Its address.
    /// @param identity Hash of its description.
    /// @param roles Its roles.
    /// @param bond Its whole bond.
    event Registered(address indexed neuron, bytes32 indexed identity, uint8 roles, uint256 bond);
    /// @notice A neuron wants to leave.
    /// @param neuron Its address.
    /// @param exitAt When it may take its bond.
    event ExitRequested(address indexed neuron, uint256 exitAt);
    /// @notice A neuron left with its bond.
    /// @param neuron Its address.
    /// @param bond What it took.
    event Exited(address indexed neuron, uint256 bond);
    /// @notice A neuron lost a part of its bond.
    /// @param neuron Its address.
    /// @param amount What it lost.
    event Slashed(address indexed neuron, uint256 amount);
    /// @notice A neuron's reputation changed.
    /// @param neuron Its address.
    /// @param reputation What it is now.
    event ReputationChanged(address indexed neuron, uint16 reputation);

    /// @notice No neuron has this address.
    error NotRegistered();
    /// @notice The bond would be below MIN_BOND, or beyond what is counted.
    error BadBond();
    /// @notice At least one role, and none but the three.
    error BadRoles();
    /// @notice The description is not hashed.
    error BadIdentity();
    /// @notice The neuron lacks the role.
    error WrongRole();
    /// @notice The neuron is leaving.
    error Leaving();
    /// @notice The exit was not asked for, its time has not come, or rounds are open.
    error CannotExit();

    /// @notice Binds the registry to its token.
    /// @param admin Gives and takes roles; hand it to the timelock.
    /// @param token What bonds are in.
    /// @param minBond Least bond, in 10^-18 HAL9; above 0.
    constructor(address admin, IComputationToken token, uint256 minBond) {
        if (minBond == 0) revert BadBond();
        TOKEN = token;
        MIN_BOND = minBond;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(PAUSER_ROLE, admin);
    }

    /// @notice Stops registrations.
    function pause() external onlyRole(PAUSER_ROLE) {
        _pause();
    }

    /// @notice Allows registrations again.
    function unpause() external onlyRole(PAUSER_ROLE) {
        _unpause();
    }

    /// @notice Registers the caller, or changes its description and adds to its bond; a neuron that asked to leave stays.
    /// @param identity Hash of its description.
    /// @param roles Its roles.
    /// @param amount Added to the bond, in 10^-18 HAL9; approved before.
    function register(bytes32 identity, uint8 roles, uint256 amount) external whenNotPaused nonReentrant {
        if (identity == bytes32(0)) revert BadIdentity();
        if (roles == 0 || roles > (ROLE_COMPUTE | ROLE_VERIFY | ROLE_ARBITRATE)) revert BadRoles();
        Neuron storage neuron = _neurons[msg.sender];
        uint256 bond = neuron.bond + amount;
        if (bond < MIN_BOND || bond > type(uint128).max) revert BadBond();
        if (neuron.identity == bytes32(0)) neuron.reputation = MAX_REPUTATION / 2;
        neuron.bond = uint128(bond);
        neuron.identity = identity;
        neuron.roles = roles;
        neuron.exitAt = 0;
        totalBonded += amount;
        emit Registered(msg.sender, identity, roles, bond);
        if (amount > 0) TOKEN.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @notice Asks to leave: no new rounds from now, and the bond after EXIT_DELAY.
    function requestExit() external {
        Neuron storage neuron = _neurons[msg.sender];
        if (neuron.roles == 0) revert NotRegistered();
        if (neuron.exitAt != 0) revert Leaving();
        neuron.exitAt = uint64(block.timestamp + EXIT_DELAY);
        emit ExitRequested(msg.sender, neuron.exitAt);
    }

    /// @notice Takes the bond and leaves. The reputation stays with the address.
    function exit() external nonReentrant {
        Neuron storage neuron = _neurons[msg.sender];
        if (neuron.exitAt == 0 || block.timestamp < neuron.exitAt || neuron.openRounds != 0) revert CannotExit();
        uint256 bond = neuron.bond;
        neuron.bond = 0;
        neuron.roles = 0;
        neuron.exitAt = 0;
        totalBonded -= bond;
        emit Exited(msg.sender, bond);
        TOKEN.safeTransfer(msg.sender, bond);
    }

    /// @notice Locks the bond of a neuron that votes in a round.
    /// @param neuron Its address.
    /// @param role What it must be.
    function enterRound(address neuron, uint8 role) external onlyRole(MARKET_ROLE) {
        Neuron storage record = _neurons[neuron];
        if (record.roles == 0) revert NotRegistered();
        if (record.roles & role == 0) revert WrongRole();
        if (record.exitAt != 0) revert Leaving();
        if (record.bond < MIN_BOND) revert BadBond();
        ++record.openRounds;
    }

    /// @notice Frees the bond after a round is settled.
    /// @param neuron Its address.
    /// @param reward Reputation won, or lost when negative.
    function leaveRound(address neuron, int16 reward) external onlyRole(MARKET_ROLE) {
        Neuron storage record = _neurons[neuron];
        --record.openRounds;
        if (reward == 0) return;
        int256 changed = int256(uint256(record.reputation)) + reward;
        if (changed < 0) changed = 0;
        if (changed > int256(uint256(MAX_REPUTATION))) changed = int256(uint256(MAX_REPUTATION));
        // Between 0 and 10,000.
        record.reputation = uint16(uint256(changed));
        emit ReputationChanged(neuron, record.reputation);
    }

    /// @notice Takes a part of a bond to the market that asks, which says what becomes of it.
    /// @param neuron Its address.
    /// @param bps Part of MIN_BOND, in 1/10,000; at most what the bond holds is taken.
    /// @return taken In 10^-18 HAL9.
    function slash(address neuron, uint256 bps) external onlyRole(MARKET_ROLE) nonReentrant returns (uint256 taken) {
        Neuron storage record = _neurons[neuron];
        taken = (MIN_BOND * bps) / 10_000;
        if (taken > record.bond) taken = record.bond;
        // At most the bond.
        record.bond -= uint128(taken);
        totalBonded -= taken;
        emit Slashed(neuron, taken);
        TOKEN.safeTransfer(msg.sender, taken);
    }

    /// @notice What is known of a neuron.
    /// @param neuron Its address.
    /// @return record All zero when there is none.
    function neuronOf(address neuron) external view returns (Neuron memory record) {
        return _neurons[neuron];
    }

    /// @notice Whether a neuron may vote in new rounds.
    /// @param neuron Its address.
    /// @return active Registered, bonded and not leaving.
    function isActive(address neuron) external view returns (bool active) {
        Neuron storage record = _neurons[neuron];
        return record.roles != 0 && record.exitAt == 0 && record.bond >= MIN_BOND;
    }
}
