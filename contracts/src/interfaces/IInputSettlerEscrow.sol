// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {OrderStatus, SolveParams, StandardOrder} from "../types/OrderTypes.sol";

/// @notice Holds the inputs of orders until their outputs are proven delivered or the orders expire.
interface IInputSettlerEscrow {
    /// @notice The inputs of the order are in escrow.
    event Open(bytes32 indexed orderId, StandardOrder order);
    /// @notice The inputs were paid to `destination` for `solver`, who filled the order.
    event Finalised(bytes32 indexed orderId, bytes32 solver, bytes32 destination);
    /// @notice The inputs went back to the order's user.
    event Refunded(bytes32 indexed orderId);

    /// @notice The order was opened, claimed or refunded already, or never opened.
    error InvalidOrderStatus();
    /// @notice It is too late: the fill deadline or the expiry is reached.
    error TimestampPassed();
    /// @notice It is too early: the order has not expired.
    error TimestampNotPassed();
    /// @notice An order could still be filled when it is refundable already.
    error FillDeadlineAfterExpiry(uint32 fillDeadline, uint32 expires);
    /// @notice The order is for another origin chain than this one.
    error WrongChain(uint256 expected, uint256 actual);
    /// @notice The signature is not one of the account that had to sign, or the caller is not the sponsor.
    error InvalidSigner();
    /// @notice The first byte of the signature names no known kind.
    error SignatureNotSupported(bytes1 signatureType);
    /// @notice There must be exactly one signature per input.
    error SignatureAndInputsNotEqual(uint256 signatures, uint256 inputs);
    /// @notice The fill happened after the order's fill deadline.
    error FilledTooLate(uint32 fillDeadline, uint32 timestamp);
    /// @notice Only the solver of the first output decides where the inputs go.
    error NotOrderOwner();
    /// @notice There must be exactly one pair of solver and timestamp per output.
    error SolveParamsLength(uint256 solveParams, uint256 outputs);
    /// @notice An order without outputs could never be earned.
    error NoOutputs();
    /// @notice The output at this index is the same as one before it: a single payment would count for both.
    error DuplicateOutput(uint256 index);
    /// @notice A value that must be set is zero: the user of an order, or the destination of a payout.
    error ZeroValue();
    /// @notice The escrow received less than the order promises, as with a token that keeps a fee.
    error InsufficientInput(address token, uint256 received, uint256 expected);

    /// @notice Escrows the order's inputs from the caller, who has approved this contract.
    function open(StandardOrder calldata order) external;

    /// @notice Escrows the order's inputs from `sponsor`, who has signed for it.
    /// @param order Order to open; its user need not be the sponsor.
    /// @param sponsor Account that pays the inputs.
    /// @param signature Kind in the first byte, then the signature. 0x00: Permit2 batch witness transfer. 0x01: ERC-3009
    /// receive authorisation, a single one (one input) or abi.encode(bytes[]), one per input. 0xff or empty: none, the
    /// caller is the sponsor and has approved this contract.
    function openFor(StandardOrder calldata order, address sponsor, bytes calldata signature) external;

    /// @notice Pays the inputs to `destination` once every output is proven filled in time. Caller: the first solver.
    /// @param order The opened order.
    /// @param solveParams Solver and time of the fill of each output, in the order of the outputs.
    /// @param destination Receiver of the inputs, an address in 32 bytes.
    /// @param call If not empty, handed to `destination` after the payment (see {IInputCallback}).
    function finalise(
        StandardOrder calldata order,
        SolveParams[] calldata solveParams,
        bytes32 destination,
        bytes calldata call
    ) external;

    /// @notice As {finalise}, by anyone, with the first solver's EIP-712 signature of
    /// AllowOpen(bytes32 orderId,bytes32 destination,bytes call).
    function finaliseWithSignature(
        StandardOrder calldata order,
        SolveParams[] calldata solveParams,
        bytes32 destination,
        bytes calldata call,
        bytes calldata orderOwnerSignature
    ) external;

    /// @notice Sends the inputs back to the order's user after `expires`. By anyone.
    function refund(StandardOrder calldata order) external;

    /// @notice Id of the order, bound to its origin chain and this contract.
    function orderIdentifier(StandardOrder calldata order) external view returns (bytes32);

    /// @notice Where the order stands.
    function orderStatus(bytes32 orderId) external view returns (OrderStatus);
}
