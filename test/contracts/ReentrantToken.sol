// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice A token that calls back in the middle of a transfer, and vouches for any transfer that is asked of it.
contract ReentrantToken {
    address private _target;
    bytes private _call;
    mapping(address account => uint256 amount) public sentTo;

    error ReentryRefused();

    function attack(address target, bytes calldata call) external {
        _target = target;
        _call = call;
    }

    function transferFrom(address, address, uint256) external returns (bool) {
        _callBack();
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        _callBack();
        sentTo[to] += amount;
        return true;
    }

    function chargeComputation(uint256 amount) external returns (uint256) {
        _callBack();
        return amount;
    }

    function burn(uint256) external {
        _callBack();
    }

    function _callBack() private {
        if (_target == address(0)) return;
        (bool through,) = _target.call(_call);
        if (!through) revert ReentryRefused();
    }
}
