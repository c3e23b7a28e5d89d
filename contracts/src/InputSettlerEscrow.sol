// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IInputCallback} from "./interfaces/ICallbacks.sol";
import {IInputSettlerEscrow} from "./interfaces/IInputSettlerEscrow.sol";
import {IOracle} from "./interfaces/IOracle.sol";
import {InputCollector} from "./InputCollector.sol";
import {Identifier} from "./libraries/Identifier.sol";
import {OrderHash} from "./libraries/OrderHash.sol";
import {OutputEncoding} from "./libraries/OutputEncoding.sol";
import {MandateOutput, OrderStatus, SolveParams, StandardOrder} from "./types/OrderTypes.sol";

/// @title Input settler: escrows the inputs of orders
/// @notice No owner, no fee, no pause: the inputs of an open order leave exactly once, to whom the proven solver of its
/// first output names, or after the expiry to the order's user.
contract InputSettlerEscrow is IInputSettlerEscrow, InputCollector, EIP712, ReentrancyGuardTransient {
    using Identifier for address;
    using Identifier for bytes32;
    using SafeERC20 for IERC20;

    bytes32 public constant ALLOW_OPEN_TYPEHASH =
        keccak256("AllowOpen(bytes32 orderId,bytes32 destination,bytes call)");

    bytes1 private constant SIGNATURE_PERMIT2 = 0x00;
    bytes1 private constant SIGNATURE_ERC3009 = 0x01;
    bytes1 private constant SIGNATURE_SELF = 0xff;

    mapping(bytes32 orderId => OrderStatus) public orderStatus;

    constructor() EIP712("OIFEscrow", "1") {}

    /// @inheritdoc IInputSettlerEscrow
    function open(StandardOrder calldata order) external nonReentrant {
        _register(order);
        uint256[] memory before = _balances(order.inputs);
        _collectApproved(order.inputs, msg.sender);
        _requireReceived(order.inputs, before);
    }

    /// @inheritdoc IInputSettlerEscrow
    function openFor(StandardOrder calldata order, address sponsor, bytes calldata signature) external nonReentrant {
        bytes32 orderId = _register(order);
        uint256[] memory before = _balances(order.inputs);
        bytes1 kind = signature.length == 0 ? SIGNATURE_SELF : signature[0];
        if (kind == SIGNATURE_PERMIT2) {
            _collectByPermit2(order, sponsor, signature[1:]);
        } else if (kind == SIGNATURE_ERC3009) {
            _collectByAuthorization(order, orderId, sponsor, signature[1:]);
        } else if (kind == SIGNATURE_SELF) {
            require(msg.sender == sponsor, InvalidSigner());
            _collectApproved(order.inputs, msg.sender);
        } else {
            revert SignatureNotSupported(kind);
        }
        _requireReceived(order.inputs, before);
    }

    /// @inheritdoc IInputSettlerEscrow
    function finalise(
        StandardOrder calldata order,
        SolveParams[] calldata solveParams,
        bytes32 destination,
        bytes calldata call
    ) external nonReentrant {
        bytes32 orderId = _claim(order, solveParams);
        require(solveParams[0].solver == msg.sender.toIdentifier(), NotOrderOwner());
        _payOut(order, orderId, solveParams[0].solver, destination, call);
    }

    /// @inheritdoc IInputSettlerEscrow
    function finaliseWithSignature(
        StandardOrder calldata order,
        SolveParams[] calldata solveParams,
        bytes32 destination,
        bytes calldata call,
        bytes calldata orderOwnerSignature
    ) external nonReentrant {
        bytes32 orderId = _claim(order, solveParams);
        bytes32 digest =
            _hashTypedDataV4(keccak256(abi.encode(ALLOW_OPEN_TYPEHASH, orderId, destination, keccak256(call))));
        address owner = solveParams[0].solver.toAddress();
        require(SignatureChecker.isValidSignatureNowCalldata(owner, digest, orderOwnerSignature), InvalidSigner());
        _payOut(order, orderId, solveParams[0].solver, destination, call);
    }

    /// @inheritdoc IInputSettlerEscrow
    function refund(StandardOrder calldata order) external nonReentrant {
        require(block.timestamp > order.expires, TimestampNotPassed());
        bytes32 orderId = _leaveEscrow(order, OrderStatus.Refunded);
        emit Refunded(orderId);
        _send(order.inputs, order.user);
    }

    /// @inheritdoc IInputSettlerEscrow
    function orderIdentifier(StandardOrder calldata order) public view returns (bytes32) {
        return OrderHash.orderIdentifier(order, address(this));
    }

    /// @notice EIP-712 domain separator of this contract on this chain.
    // solhint-disable-next-line func-name-mixedcase
    function DOMAIN_SEPARATOR() external view returns (bytes32) {
        return _domainSeparatorV4();
    }

    /// @dev Checks that the order may be opened and marks it as opened; the inputs have to follow.
    function _register(StandardOrder calldata order) private returns (bytes32 orderId) {
        require(order.originChainId == block.chainid, WrongChain(order.originChainId, block.chainid));
        require(block.timestamp < order.fillDeadline && block.timestamp < order.expires, TimestampPassed());
        require(order.fillDeadline <= order.expires, FillDeadlineAfterExpiry(order.fillDeadline, order.expires));
        require(order.user != address(0), ZeroValue());
        require(order.outputs.length > 0, NoOutputs());
        _requireDistinct(order.outputs);

        orderId = orderIdentifier(order);
        require(orderStatus[orderId] == OrderStatus.None, InvalidOrderStatus());
        orderStatus[orderId] = OrderStatus.Deposited;
        emit Open(orderId, order);
    }

    /// @dev Fill records and proofs are by output, so where one stands twice a single payment would count for both.
    function _requireDistinct(MandateOutput[] calldata outputs) private pure {
        uint256 count = outputs.length;
        if (count == 1) return;
        bytes32[] memory hashes = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            hashes[i] = OutputEncoding.outputHash(outputs[i]);
            for (uint256 j = 0; j < i; ++j) {
                require(hashes[i] != hashes[j], DuplicateOutput(i));
            }
        }
    }

    /// @dev Marks the order as claimed, provided that all its outputs are proven filled in time by these solvers.
    function _claim(StandardOrder calldata order, SolveParams[] calldata solveParams)
        private
        returns (bytes32 orderId)
    {
        orderId = _leaveEscrow(order, OrderStatus.Claimed);
        _requireFilled(order, orderId, solveParams);
    }

    /// @dev The only way out of the escrow: from Deposited to one of the two final statuses, once.
    function _leaveEscrow(StandardOrder calldata order, OrderStatus to) private returns (bytes32 orderId) {
        orderId = orderIdentifier(order);
        require(orderStatus[orderId] == OrderStatus.Deposited, InvalidOrderStatus());
        orderStatus[orderId] = to;
    }

    function _requireFilled(StandardOrder calldata order, bytes32 orderId, SolveParams[] calldata solveParams)
        private
        view
    {
        uint256 count = order.outputs.length;
        require(solveParams.length == count, SolveParamsLength(solveParams.length, count));
        bytes32[] memory records = new bytes32[](4 * count);
        for (uint256 i = 0; i < count; ++i) {
            MandateOutput calldata output = order.outputs[i];
            uint32 timestamp = solveParams[i].timestamp;
            require(timestamp <= order.fillDeadline, FilledTooLate(order.fillDeadline, timestamp));
            records[4 * i] = bytes32(output.chainId);
            records[4 * i + 1] = output.oracle;
            records[4 * i + 2] = output.settler;
            records[4 * i + 3] = OutputEncoding.fillDescriptionHash(solveParams[i].solver, orderId, timestamp, output);
        }
        IOracle(order.inputOracle).efficientRequireProven(abi.encodePacked(records));
    }

    function _payOut(
        StandardOrder calldata order,
        bytes32 orderId,
        bytes32 solver,
        bytes32 destination,
        bytes calldata call
    ) private {
        address receiver = destination.toAddress();
        require(receiver != address(0), ZeroValue());
        emit Finalised(orderId, solver, destination);
        _send(order.inputs, receiver);
        if (call.length > 0) IInputCallback(receiver).orderFinalised(order.inputs, call);
    }

    function _send(uint256[2][] calldata inputs, address to) private {
        for (uint256 i = 0; i < inputs.length; ++i) {
            IERC20(bytes32(inputs[i][0]).toAddress()).safeTransfer(to, inputs[i][1]);
        }
    }
}
