// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @notice Implemented by recipients of outputs that carry callback data.
interface IOutputCallback {
    /// @notice The output was just paid.
    /// @param token Token that was paid, zero for native currency.
    /// @param amount Amount that was paid.
    /// @param executionData The output's callback data.
    function outputFilled(bytes32 token, uint256 amount, bytes calldata executionData) external;
}

/// @notice Implemented by destinations of payouts that carry a call.
interface IInputCallback {
    /// @notice The inputs were just paid.
    /// @param inputs Pairs of (token address as a number, amount).
    /// @param executionData The call of the payout.
    function orderFinalised(uint256[2][] calldata inputs, bytes calldata executionData) external;
}
