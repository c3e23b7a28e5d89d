// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {OrderHash} from "../../src/libraries/OrderHash.sol";
import {OutputEncoding} from "../../src/libraries/OutputEncoding.sol";
import {MandateOutput, StandardOrder} from "../../src/types/OrderTypes.sol";

/// @notice Our libraries take calldata; this makes them callable.
contract Encodings {
    function orderIdentifier(StandardOrder calldata order, address settler) external pure returns (bytes32) {
        return OrderHash.orderIdentifier(order, settler);
    }

    function witnessHash(StandardOrder calldata order) external pure returns (bytes32) {
        return OrderHash.witnessHash(order);
    }

    function outputHash(MandateOutput calldata output) external pure returns (bytes32) {
        return OutputEncoding.outputHash(output);
    }

    function fillDescriptionHash(bytes32 solver, bytes32 orderId, uint32 timestamp, MandateOutput calldata output)
        external
        pure
        returns (bytes32)
    {
        return OutputEncoding.fillDescriptionHash(solver, orderId, timestamp, output);
    }

    function fillRecordHash(bytes32 solver, uint32 timestamp) external pure returns (bytes32) {
        return OutputEncoding.fillRecordHash(solver, timestamp);
    }

    function permit2WitnessTypeString() external pure returns (string memory) {
        return OrderHash.PERMIT2_WITNESS_TYPE_STRING;
    }
}
