// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @notice The one call of Permit2 that the escrow makes.
interface IPermit2 {
    /// @param token Token that may be taken.
    /// @param amount Most that may be taken.
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    /// @param permitted One entry per token.
    /// @param nonce Unordered nonce of the owner.
    /// @param deadline Unix seconds, the last second the signature is good for.
    struct PermitBatchTransferFrom {
        TokenPermissions[] permitted;
        uint256 nonce;
        uint256 deadline;
    }

    /// @param to Receiver.
    /// @param requestedAmount Amount to take.
    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    /// @notice Moves the owner's tokens by a signature that also covers `witness`.
    function permitWitnessTransferFrom(
        PermitBatchTransferFrom calldata permit,
        SignatureTransferDetails[] calldata transferDetails,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external;
}

/// @notice ERC-3009 with the signature as bytes, as contract wallets need it.
interface IERC3009Bytes {
    /// @notice As {IERC3009-transferWithAuthorization}.
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice As {IERC3009-receiveWithAuthorization}.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;

    /// @notice As {IERC3009Cancel-cancelAuthorization}.
    function cancelAuthorization(address authorizer, bytes32 nonce, bytes calldata signature) external;
}
