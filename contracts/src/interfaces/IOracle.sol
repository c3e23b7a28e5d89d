// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @notice Answers, on the chain of the escrow, whether an application on some chain said something.
interface IOracle {
    /// @notice A statement became proven; from now on {isProven} holds for it for good.
    event OutputProven(uint256 remoteChainId, bytes32 remoteOracle, bytes32 application, bytes32 dataHash);

    /// @notice At least one of the asked statements is not proven.
    error NotProven();
    /// @notice The length of a proof series is no multiple of the length of a record.
    error NotDivisible(uint256 value, uint256 divisor);

    /// @notice Whether `application` on `remoteChainId` is proven to have stated the data that hashes to `dataHash`.
    /// @param remoteChainId Chain of the application.
    /// @param remoteOracle Oracle on that chain which vouched for the statement.
    /// @param application Contract that made the statement, for a fill the output settler.
    /// @param dataHash keccak256 of the statement, for a fill of its fill description.
    function isProven(uint256 remoteChainId, bytes32 remoteOracle, bytes32 application, bytes32 dataHash)
        external
        view
        returns (bool);

    /// @notice Reverts with {NotProven} unless every statement of the series is proven.
    /// @param proofSeries Records of 128 bytes: chain id, remote oracle, application, data hash.
    function efficientRequireProven(bytes calldata proofSeries) external view;
}
