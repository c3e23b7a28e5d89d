// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {MandateOutput} from "../types/OrderTypes.sol";

/// @notice Pays outputs to their recipients and remembers who did so when.
interface IOutputSettler {
    /// @notice The output was paid, now and never again. `finalAmount` is what was paid, at least `output.amount`.
    event OutputFilled(
        bytes32 indexed orderId, bytes32 solver, uint32 timestamp, MandateOutput output, uint256 finalAmount
    );

    /// @notice The output is for another chain than this one.
    error WrongChain(uint256 expected, uint256 actual);
    /// @notice The output names another output settler.
    error WrongOutputSettler(bytes32 expected, bytes32 actual);
    /// @notice The output names another oracle than this contract, which can only vouch for itself.
    error WrongOutputOracle(bytes32 expected, bytes32 actual);
    /// @notice The fill deadline is over.
    error FillDeadline();
    /// @notice The first output was filled before, so its solver owns the order.
    error AlreadyFilled();
    /// @notice A solver has to be named.
    error ZeroValue();
    /// @notice `fillerData` is neither the solver alone nor the solver and one offered amount per output.
    error InvalidFillerData(uint256 length);
    /// @notice The offered amount is below what the order asks for now.
    error OfferTooLow(uint256 offered, uint256 required);
    /// @notice The call carries too little native currency for the native outputs it fills.
    error InsufficientNative(uint256 required, uint256 available);
    /// @notice The recipient received less than is to be paid, as with a token that keeps a fee or moves nothing.
    error InsufficientOutput(address token, uint256 received, uint256 expected);
    /// @notice The fill record is not of that solver and time.
    error InvalidAttestation(bytes32 stored, bytes32 given);

    /// @notice Pays one output from the caller. If it was filled before, nothing is paid and the call succeeds: look at
    /// the returned record. Native currency that is not needed goes back to the caller.
    /// @param orderId Order the output belongs to. The caller's word: the origin chain checks it.
    /// @param output Output to pay; native currency is taken from the value of the call.
    /// @param fillDeadline The order's fill deadline, Unix seconds. The caller's word: the origin chain checks it.
    /// @param fillerData bytes32 solver, then optionally a uint256 amount to pay instead of the least one.
    /// @return fillRecordHash keccak256(solver, uint32 timestamp) of the fill that stands, be it this or an earlier one.
    function fill(bytes32 orderId, MandateOutput calldata output, uint48 fillDeadline, bytes calldata fillerData)
        external
        payable
        returns (bytes32 fillRecordHash);

    /// @notice Pays all outputs of an order. Reverts if the first was filled before, since its solver owns the payout;
    /// others that were filled before are passed over.
    /// @param fillerData bytes32 solver, then optionally one uint256 offered amount per output.
    function fillOrderOutputs(
        bytes32 orderId,
        MandateOutput[] calldata outputs,
        uint48 fillDeadline,
        bytes calldata fillerData
    ) external payable;

    /// @notice Hash of the fill that stands for the output, zero if none does.
    function getFillRecord(bytes32 orderId, bytes32 outputHash) external view returns (bytes32);

    /// @notice Makes a fill provable by this contract itself, for orders whose origin is this chain. By anyone.
    function setAttestation(bytes32 orderId, bytes32 solver, uint32 timestamp, MandateOutput calldata output) external;

    /// @notice Whether every payload is the fill description of an output that was filled here and that names the
    /// caller as its oracle. Bridges ask this before they carry the payloads over.
    function hasAttested(bytes[] calldata payloads) external view returns (bool);
}
