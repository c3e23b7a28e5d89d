// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IOutputCallback} from "./interfaces/ICallbacks.sol";
import {IOutputSettler} from "./interfaces/IOutputSettler.sol";
import {Identifier} from "./libraries/Identifier.sol";
import {OutputContext} from "./libraries/OutputContext.sol";
import {OutputEncoding} from "./libraries/OutputEncoding.sol";
import {OracleBase} from "./OracleBase.sol";
import {MandateOutput} from "./types/OrderTypes.sol";

/// @title Output settler: pays outputs straight from the filler to the recipient
/// @notice Holds no funds, has no owner. An output of an order is paid at most once and never with less than the order
/// asks for at that moment. For orders whose origin is this chain the contract is its own oracle.
contract OutputSettler is IOutputSettler, OracleBase, ReentrancyGuardTransient {
    using Identifier for address;
    using Identifier for bytes32;
    using Math for uint256;
    using SafeERC20 for IERC20;

    uint256 private constant WORD = 32;

    mapping(bytes32 orderId => mapping(bytes32 outputHash => bytes32 fillRecordHash)) private _fillRecords;
    mapping(bytes32 dataHash => bool) private _attested;

    /// @inheritdoc IOutputSettler
    function fill(bytes32 orderId, MandateOutput calldata output, uint48 fillDeadline, bytes calldata fillerData)
        external
        payable
        nonReentrant
        returns (bytes32 fillRecordHash)
    {
        _requireOpen(fillDeadline);
        bytes32 solver = _solver(fillerData, 1);
        uint256 nativeLeft;
        (fillRecordHash,, nativeLeft) = _fill(orderId, output, solver, _offer(fillerData, 0), msg.value);
        _returnNative(nativeLeft);
    }

    /// @inheritdoc IOutputSettler
    function fillOrderOutputs(
        bytes32 orderId,
        MandateOutput[] calldata outputs,
        uint48 fillDeadline,
        bytes calldata fillerData
    ) external payable nonReentrant {
        _requireOpen(fillDeadline);
        bytes32 solver = _solver(fillerData, outputs.length);
        uint256 nativeLeft = msg.value;
        for (uint256 i = 0; i < outputs.length; ++i) {
            bool filled;
            (, filled, nativeLeft) = _fill(orderId, outputs[i], solver, _offer(fillerData, i), nativeLeft);
            require(filled || i > 0, AlreadyFilled());
        }
        _returnNative(nativeLeft);
    }

    /// @inheritdoc IOutputSettler
    function setAttestation(bytes32 orderId, bytes32 solver, uint32 timestamp, MandateOutput calldata output) external {
        // The statement does not hold the oracle, so it may stand only for outputs that name this one.
        bytes32 self = address(this).toIdentifier();
        require(output.oracle == self, WrongOutputOracle(output.oracle, self));
        bytes32 stored = _fillRecords[orderId][OutputEncoding.outputHash(output)];
        bytes32 given = OutputEncoding.fillRecordHash(solver, timestamp);
        require(stored == given, InvalidAttestation(stored, given));

        bytes32 dataHash = OutputEncoding.fillDescriptionHash(solver, orderId, timestamp, output);
        if (_attested[dataHash]) return;
        _attested[dataHash] = true;
        emit OutputProven(block.chainid, self, self, dataHash);
    }

    /// @inheritdoc IOutputSettler
    function hasAttested(bytes[] calldata payloads) external view returns (bool) {
        for (uint256 i = 0; i < payloads.length; ++i) {
            (bool valid, bytes32 orderId, bytes32 outputHash, bytes32 record) = OutputEncoding.decodeFillDescription(
                payloads[i], msg.sender.toIdentifier(), address(this).toIdentifier(), block.chainid
            );
            if (!valid || _fillRecords[orderId][outputHash] != record) return false;
        }
        return true;
    }

    /// @inheritdoc IOutputSettler
    function getFillRecord(bytes32 orderId, bytes32 outputHash) external view returns (bytes32) {
        return _fillRecords[orderId][outputHash];
    }

    /// @dev Pays the output unless it was paid before. The record is written before anyone else gets control, so no
    /// callback or token can have the same output paid again.
    /// @param offer What the filler offers to pay, zero for the least amount.
    /// @param nativeLeft Native currency of the call that is still unspent.
    /// @return record Hash of the fill that stands.
    /// @return filled Whether that is this one.
    /// @return unspent Native currency that is left after it.
    function _fill(bytes32 orderId, MandateOutput calldata output, bytes32 solver, uint256 offer, uint256 nativeLeft)
        private
        returns (bytes32 record, bool filled, uint256 unspent)
    {
        require(output.chainId == block.chainid, WrongChain(output.chainId, block.chainid));
        bytes32 self = address(this).toIdentifier();
        require(output.settler == self, WrongOutputSettler(output.settler, self));

        bytes32 outputHash = OutputEncoding.outputHash(output);
        record = _fillRecords[orderId][outputHash];
        if (record != bytes32(0)) return (record, false, nativeLeft);

        uint256 amount = _amountToPay(output, solver, offer);
        uint32 timestamp = uint32(block.timestamp);
        record = OutputEncoding.fillRecordHash(solver, timestamp);
        _fillRecords[orderId][outputHash] = record;
        emit OutputFilled(orderId, solver, timestamp, output, amount);

        unspent = _pay(output, amount, nativeLeft);
        if (output.callbackData.length > 0) {
            IOutputCallback(output.recipient.toAddress()).outputFilled(output.token, amount, output.callbackData);
        }
        return (record, true, unspent);
    }

    function _amountToPay(MandateOutput calldata output, bytes32 solver, uint256 offer) private view returns (uint256) {
        uint256 required = OutputContext.resolve(output, solver);
        if (offer == 0) return required;
        require(offer >= required, OfferTooLow(offer, required));
        return offer;
    }

    /// @return unspent Native currency that is left after the payment.
    function _pay(MandateOutput calldata output, uint256 amount, uint256 nativeLeft) private returns (uint256 unspent) {
        address recipient = output.recipient.toAddress();
        address token = output.token.toAddress();
        if (token != address(0)) {
            _payToken(IERC20(token), recipient, amount);
            return nativeLeft;
        }
        require(nativeLeft >= amount, InsufficientNative(amount, nativeLeft));
        Address.sendValue(payable(recipient), amount);
        return nativeLeft - amount;
    }

    /// @dev The recipient's balance is taken before and compared right after, so that no token, whatever it does or
    /// returns, has an output stand for more than arrived. To oneself nothing moves, and the token alone says whether
    /// the amount is there.
    function _payToken(IERC20 token, address recipient, uint256 amount) private {
        uint256 before = recipient == msg.sender ? 0 : token.balanceOf(recipient);
        token.safeTransferFrom(msg.sender, recipient, amount);
        if (recipient == msg.sender) return;
        uint256 received = token.balanceOf(recipient).saturatingSub(before);
        require(received >= amount, InsufficientOutput(address(token), received, amount));
    }

    function _returnNative(uint256 amount) private {
        if (amount > 0) Address.sendValue(payable(msg.sender), amount);
    }

    function _requireOpen(uint48 fillDeadline) private view {
        require(block.timestamp <= fillDeadline, FillDeadline());
    }

    /// @dev The solver in `fillerData`, whose length must fit the number of outputs.
    function _solver(bytes calldata fillerData, uint256 outputs) private pure returns (bytes32 solver) {
        uint256 length = fillerData.length;
        require(length == WORD || length == WORD + outputs * WORD, InvalidFillerData(length));
        solver = bytes32(fillerData[0:WORD]);
        require(solver != bytes32(0), ZeroValue());
    }

    /// @dev The amount offered for an output, zero if none is.
    function _offer(bytes calldata fillerData, uint256 index) private pure returns (uint256) {
        if (fillerData.length == WORD) return 0;
        uint256 start = WORD + index * WORD;
        return uint256(bytes32(fillerData[start:start + WORD]));
    }

    /// @inheritdoc OracleBase
    function _isProven(uint256 remoteChainId, bytes32 remoteOracle, bytes32 application, bytes32 dataHash)
        internal
        view
        override
        returns (bool)
    {
        bytes32 self = address(this).toIdentifier();
        return remoteChainId == block.chainid && remoteOracle == self && application == self && _attested[dataHash];
    }
}
