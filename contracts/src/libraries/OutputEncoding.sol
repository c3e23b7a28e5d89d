// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {MandateOutput} from "../types/OrderTypes.sol";

/// @notice Packed encodings of an output and of its fill. Both end with the same bytes, from the token on.
library OutputEncoding {
    /// @dev Bytes of solver, order id and timestamp, which stand before the common end of a fill description.
    uint256 private constant DESCRIPTION_HEAD = 32 + 32 + 4;
    /// @dev Bytes of a fill description whose callback data and context are empty.
    uint256 private constant MIN_DESCRIPTION = DESCRIPTION_HEAD + 3 * 32 + 2 + 2;

    /// @notice The callback data does not fit its 16-bit length.
    error CallOutOfRange();
    /// @notice The context does not fit its 16-bit length.
    error ContextOutOfRange();

    /// @notice Hash that names the output in fill records.
    function outputHash(MandateOutput calldata output) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(output.oracle, output.settler, output.chainId, _commonEnd(output)));
    }

    /// @notice keccak256 of the fill description: the statement that an oracle proves.
    function fillDescriptionHash(bytes32 solver, bytes32 orderId, uint32 timestamp, MandateOutput calldata output)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encodePacked(solver, orderId, timestamp, _commonEnd(output)));
    }

    /// @notice keccak256 of solver and timestamp: what a fill record stores.
    function fillRecordHash(bytes32 solver, uint32 timestamp) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(solver, timestamp));
    }

    /// @notice Reads a fill description back.
    /// @param payload A fill description.
    /// @param oracle Oracle the output is assumed to name.
    /// @param settler Output settler the output is assumed to name.
    /// @param chainId Chain the output is assumed to name.
    /// @return valid False if the payload is too short to be one; the rest is zero then.
    /// @return orderId Order the fill is for.
    /// @return hash Output hash of the described output under the three assumptions.
    /// @return record Fill record hash of the described fill.
    function decodeFillDescription(bytes calldata payload, bytes32 oracle, bytes32 settler, uint256 chainId)
        internal
        pure
        returns (bool valid, bytes32 orderId, bytes32 hash, bytes32 record)
    {
        if (payload.length < MIN_DESCRIPTION) return (false, 0, 0, 0);
        bytes32 solver = bytes32(payload[0:32]);
        orderId = bytes32(payload[32:64]);
        uint32 timestamp = uint32(bytes4(payload[64:DESCRIPTION_HEAD]));
        hash = keccak256(abi.encodePacked(oracle, settler, chainId, payload[DESCRIPTION_HEAD:]));
        return (true, orderId, hash, fillRecordHash(solver, timestamp));
    }

    function _commonEnd(MandateOutput calldata output) private pure returns (bytes memory) {
        require(output.callbackData.length <= type(uint16).max, CallOutOfRange());
        require(output.context.length <= type(uint16).max, ContextOutOfRange());
        return abi.encodePacked(
            output.token,
            output.amount,
            output.recipient,
            // Both lengths were just seen to fit.
            // forge-lint: disable-next-line(unsafe-typecast)
            uint16(output.callbackData.length),
            output.callbackData,
            // forge-lint: disable-next-line(unsafe-typecast)
            uint16(output.context.length),
            output.context
        );
    }
}
