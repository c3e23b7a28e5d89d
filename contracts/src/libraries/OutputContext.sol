// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {MandateOutput} from "../types/OrderTypes.sol";

/// @notice What an output's context asks for. Its first byte is the kind:
/// - empty, or 0x00 alone: limit. The signed amount.
/// - 0x01, uint32 start, uint32 stop, uint256 slope: Dutch. The amount plus `slope` per second left until `stop`,
///   counted from `start` at the earliest.
/// - 0xe0, bytes32 solver, uint32 until: exclusive limit. Only `solver` may fill before `until`.
/// - 0xe1, bytes32 solver, uint32 start, uint32 stop, uint256 slope: exclusive Dutch. Only `solver` may fill before
///   `start`, when the price begins to fall.
library OutputContext {
    bytes1 internal constant LIMIT = 0x00;
    bytes1 internal constant DUTCH = 0x01;
    bytes1 internal constant EXCLUSIVE_LIMIT = 0xe0;
    bytes1 internal constant EXCLUSIVE_DUTCH = 0xe1;

    /// @notice The context is of no known kind or has not that kind's length.
    error NotImplemented();
    /// @notice Until some time only this solver may fill.
    error ExclusiveTo(bytes32 solver);

    /// @notice The least amount `solver` has to pay for the output at this moment; never below `output.amount`.
    function resolve(MandateOutput calldata output, bytes32 solver) internal view returns (uint256 amount) {
        bytes calldata context = output.context;
        if (context.length == 0) return output.amount;
        bytes1 kind = context[0];
        if (kind == LIMIT && context.length == 1) return output.amount;
        if (kind == DUTCH && context.length == 41) return _dutchAmount(output.amount, context[1:41]);
        if (kind == EXCLUSIVE_LIMIT && context.length == 37) {
            _requireSolver(solver, context[1:37]);
            return output.amount;
        }
        if (kind == EXCLUSIVE_DUTCH && context.length == 73) {
            _requireSolver(solver, context[1:37]);
            return _dutchAmount(output.amount, context[33:73]);
        }
        revert NotImplemented();
    }

    /// @param terms bytes32 solver, uint32 until.
    function _requireSolver(bytes32 solver, bytes calldata terms) private view {
        bytes32 exclusiveTo = bytes32(terms[0:32]);
        uint256 until = uint32(bytes4(terms[32:36]));
        require(solver == exclusiveTo || block.timestamp >= until, ExclusiveTo(exclusiveTo));
    }

    /// @param terms uint32 start, uint32 stop, uint256 slope.
    function _dutchAmount(uint256 amount, bytes calldata terms) private view returns (uint256) {
        uint256 start = uint32(bytes4(terms[0:4]));
        uint256 stop = uint32(bytes4(terms[4:8]));
        uint256 slope = uint256(bytes32(terms[8:40]));
        return priceAt(amount, start, stop, slope, block.timestamp);
    }

    /// @notice The Dutch curve at a time: `amount` plus `slope` per second left until `stop`, counted from `start` at the
    /// earliest. Reverts where that is no uint256: such an order cannot be filled before its price has fallen far enough.
    function priceAt(uint256 amount, uint256 start, uint256 stop, uint256 slope, uint256 time)
        internal
        pure
        returns (uint256)
    {
        uint256 from = time > start ? time : start;
        return from < stop ? amount + slope * (stop - from) : amount;
    }
}
