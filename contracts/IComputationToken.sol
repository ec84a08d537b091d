// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title What the market needs of the token it pays with
/// @author HAL9
/// @notice An ERC-20 that takes a fee of computations.
interface IComputationToken is IERC20 {
    /// @notice Takes the computation fee and the burn out of the caller's balance; the rest stays with the caller.
    /// @param amount The whole payment, in 10^-18 HAL9.
    /// @return net What is left of it for those who computed.
    function chargeComputation(uint256 amount) external returns (uint256 net);

    /// @notice Destroys tokens of the caller.
    /// @param amount In 10^-18 HAL9.
    function burn(uint256 amount) external;
}
