// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IOracle} from "./interfaces/IOracle.sol";

/// @title The reading side that every oracle here shares
abstract contract OracleBase is IOracle {
    /// @dev Bytes of chain id, remote oracle, application and data hash.
    uint256 private constant RECORD = 4 * 32;

    /// @inheritdoc IOracle
    function isProven(uint256 remoteChainId, bytes32 remoteOracle, bytes32 application, bytes32 dataHash)
        external
        view
        returns (bool)
    {
        return _isProven(remoteChainId, remoteOracle, application, dataHash);
    }

    /// @inheritdoc IOracle
    function efficientRequireProven(bytes calldata proofSeries) external view {
        require(proofSeries.length % RECORD == 0, NotDivisible(proofSeries.length, RECORD));
        for (uint256 from = 0; from < proofSeries.length; from += RECORD) {
            (uint256 remoteChainId, bytes32 remoteOracle, bytes32 application, bytes32 dataHash) =
                abi.decode(proofSeries[from:from + RECORD], (uint256, bytes32, bytes32, bytes32));
            require(_isProven(remoteChainId, remoteOracle, application, dataHash), NotProven());
        }
    }

    /// @dev Whether the one statement is proven.
    function _isProven(uint256 remoteChainId, bytes32 remoteOracle, bytes32 application, bytes32 dataHash)
        internal
        view
        virtual
        returns (bool);
}
