// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {MandateOutput, StandardOrder} from "../types/OrderTypes.sol";

/// @notice Hashes over whole orders: the order id and the Permit2 witness.
library OrderHash {
    bytes32 internal constant MANDATE_OUTPUT_TYPEHASH = keccak256(
        "MandateOutput(bytes32 oracle,bytes32 settler,uint256 chainId,bytes32 token,uint256 amount,bytes32 recipient,bytes callbackData,bytes context)"
    );

    bytes32 internal constant WITNESS_TYPEHASH = keccak256(
        "Permit2Witness(address user,uint32 expires,address inputOracle,MandateOutput[] outputs)MandateOutput(bytes32 oracle,bytes32 settler,uint256 chainId,bytes32 token,uint256 amount,bytes32 recipient,bytes callbackData,bytes context)"
    );

    /// @dev The part of the signed type that Permit2 leaves open: the witness member, then the referenced types by name.
    string internal constant PERMIT2_WITNESS_TYPE_STRING =
        "Permit2Witness witness)MandateOutput(bytes32 oracle,bytes32 settler,uint256 chainId,bytes32 token,uint256 amount,bytes32 recipient,bytes callbackData,bytes context)Permit2Witness(address user,uint32 expires,address inputOracle,MandateOutput[] outputs)TokenPermissions(address token,uint256 amount)";

    /// @notice Id of an order at an input settler.
    function orderIdentifier(StandardOrder calldata order, address inputSettler) internal pure returns (bytes32) {
        return keccak256(
            abi.encodePacked(
                order.originChainId,
                inputSettler,
                order.user,
                order.nonce,
                order.expires,
                order.fillDeadline,
                order.inputOracle,
                inputsHash(order.inputs),
                abi.encode(order.outputs)
            )
        );
    }

    /// @notice keccak256 of the pairs' words, one after the other.
    function inputsHash(uint256[2][] calldata inputs) internal pure returns (bytes32 hash) {
        // Solidity cannot pack nested arrays, but in calldata the pairs already stand packed.
        assembly ("memory-safe") {
            let size := mul(inputs.length, 64)
            let free := mload(0x40)
            calldatacopy(free, inputs.offset, size)
            hash := keccak256(free, size)
        }
    }

    /// @notice EIP-712 struct hash of Permit2Witness: what Permit2's own fields do not cover of the order.
    function witnessHash(StandardOrder calldata order) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(WITNESS_TYPEHASH, order.user, order.expires, order.inputOracle, outputsHash(order.outputs))
        );
    }

    /// @notice EIP-712 hash of MandateOutput[].
    function outputsHash(MandateOutput[] calldata outputs) internal pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](outputs.length);
        for (uint256 i = 0; i < outputs.length; ++i) {
            MandateOutput calldata output = outputs[i];
            hashes[i] = keccak256(
                abi.encode(
                    MANDATE_OUTPUT_TYPEHASH,
                    output.oracle,
                    output.settler,
                    output.chainId,
                    output.token,
                    output.amount,
                    output.recipient,
                    keccak256(output.callbackData),
                    keccak256(output.context)
                )
            );
        }
        return keccak256(abi.encodePacked(hashes));
    }
}
