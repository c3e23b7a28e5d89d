// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {OutputContext} from "../../../src/libraries/OutputContext.sol";

/// @notice What the compiler's own model checker proves of the Dutch curve. It takes every external function with any
/// arguments; each contract is a question by itself, see models.toml.
contract AnyPrice {
    function isNeverBelowTheAmount(uint256 amount, uint256 start, uint256 stop, uint256 slope, uint256 time)
        external
        pure
    {
        assert(OutputContext.priceAt(amount, start, stop, slope, time) >= amount);
    }

    function isTheAmountFromStopOn(uint256 amount, uint256 start, uint256 stop, uint256 slope, uint256 time)
        external
        pure
    {
        if (time >= stop) assert(OutputContext.priceAt(amount, start, stop, slope, time) == amount);
    }

    function standsStillUntilStart(uint256 amount, uint256 start, uint256 stop, uint256 slope, uint256 time)
        external
        pure
    {
        if (time <= start && start < stop) {
            assert(OutputContext.priceAt(amount, start, stop, slope, time) == amount + slope * (stop - start));
        }
    }
}

contract FallingPrice {
    function neverRises(uint256 amount, uint256 start, uint256 stop, uint256 slope, uint256 time, uint256 later)
        external
        pure
    {
        if (later < time) return;
        uint256 before = OutputContext.priceAt(amount, start, stop, slope, time);
        assert(OutputContext.priceAt(amount, start, stop, slope, later) <= before);
    }
}

/// @notice No price of a sensible order overflows: 3.4e38 units that fall by up to 7.9e28 units a second.
contract SensiblePrice {
    function isANumber(uint128 amount, uint32 start, uint32 stop, uint96 slope, uint256 time) external pure {
        OutputContext.priceAt(amount, start, stop, slope, time);
    }
}
