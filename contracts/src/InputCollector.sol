// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IInputSettlerEscrow} from "./interfaces/IInputSettlerEscrow.sol";
import {IERC3009Bytes, IPermit2} from "./interfaces/ITokenTransfers.sol";
import {Identifier} from "./libraries/Identifier.sol";
import {OrderHash} from "./libraries/OrderHash.sol";
import {StandardOrder} from "./types/OrderTypes.sol";

/// @title The ways in which the inputs of an order come into the escrow
/// @dev The escrow's balances are taken before and compared after, so that no token, whatever it does or returns, lets an
/// order stand for more than came in: it would be paid from the inputs of others.
abstract contract InputCollector {
    using Identifier for bytes32;
    using SafeERC20 for IERC20;

    /// @dev The same on every chain.
    IPermit2 private constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    /// @dev Bytes of the shortest abi.encode(bytes[]) with one element: two offsets and two lengths.
    uint256 private constant MIN_ENCODED_ARRAY = 4 * 32;

    /// @dev By allowance of the payer to this contract.
    function _collectApproved(uint256[2][] calldata inputs, address payer) internal {
        for (uint256 i = 0; i < inputs.length; ++i) {
            // The payer is always the caller, see open and openFor.
            IERC20(_token(inputs[i])).safeTransferFrom(payer, address(this), inputs[i][1]);
        }
    }

    /// @dev By the sponsor's Permit2 signature, which covers all of the order but its chain, and that is in the domain.
    function _collectByPermit2(StandardOrder calldata order, address sponsor, bytes calldata signature) internal {
        uint256 count = order.inputs.length;
        IPermit2.PermitBatchTransferFrom memory permit;
        permit.permitted = new IPermit2.TokenPermissions[](count);
        permit.nonce = order.nonce;
        permit.deadline = order.fillDeadline;
        IPermit2.SignatureTransferDetails[] memory details = new IPermit2.SignatureTransferDetails[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 amount = order.inputs[i][1];
            permit.permitted[i] = IPermit2.TokenPermissions(_token(order.inputs[i]), amount);
            details[i] = IPermit2.SignatureTransferDetails(address(this), amount);
        }
        PERMIT2.permitWitnessTransferFrom(
            permit, details, sponsor, OrderHash.witnessHash(order), OrderHash.PERMIT2_WITNESS_TYPE_STRING, signature
        );
    }

    /// @dev By the sponsor's ERC-3009 authorisations, whose nonce is the order id and so covers all of the order.
    function _collectByAuthorization(
        StandardOrder calldata order,
        bytes32 orderId,
        address sponsor,
        bytes calldata signature
    ) internal {
        uint256 count = order.inputs.length;
        if (count == 1 && !_isEncodedArray(signature)) {
            _receive(order.inputs[0], order.fillDeadline, orderId, sponsor, signature);
            return;
        }
        bytes[] memory signatures = abi.decode(signature, (bytes[]));
        require(signatures.length == count, IInputSettlerEscrow.SignatureAndInputsNotEqual(signatures.length, count));
        for (uint256 i = 0; i < count; ++i) {
            _receive(order.inputs[i], order.fillDeadline, orderId, sponsor, signatures[i]);
        }
    }

    /// @dev Balances of this contract, per input.
    function _balances(uint256[2][] calldata inputs) internal view returns (uint256[] memory balances) {
        balances = new uint256[](inputs.length);
        for (uint256 i = 0; i < inputs.length; ++i) {
            balances[i] = IERC20(_token(inputs[i])).balanceOf(address(this));
        }
    }

    /// @dev Requires that at least the inputs came in since `before`. A token may stand in several inputs: their sum.
    function _requireReceived(uint256[2][] calldata inputs, uint256[] memory before) internal view {
        for (uint256 i = 0; i < inputs.length; ++i) {
            uint256 expected = 0;
            for (uint256 j = 0; j < inputs.length; ++j) {
                if (inputs[j][0] == inputs[i][0]) expected += inputs[j][1];
            }
            address token = _token(inputs[i]);
            uint256 balance = IERC20(token).balanceOf(address(this));
            uint256 received = balance > before[i] ? balance - before[i] : 0;
            require(received >= expected, IInputSettlerEscrow.InsufficientInput(token, received, expected));
        }
    }

    function _receive(
        uint256[2] calldata input,
        uint32 fillDeadline,
        bytes32 orderId,
        address sponsor,
        bytes memory signature
    ) private {
        IERC3009Bytes(_token(input))
            .receiveWithAuthorization(sponsor, address(this), input[1], 0, fillDeadline, orderId, signature);
    }

    /// @dev Whether a single input's signature is abi.encode(bytes[]) of one element: it begins with 0x20 and 1, which as
    /// a bare signature would be an r and an s that nobody can find a key for.
    function _isEncodedArray(bytes calldata signature) private pure returns (bool) {
        return signature.length >= MIN_ENCODED_ARRAY && uint256(bytes32(signature[0:32])) == 32
            && uint256(bytes32(signature[32:64])) == 1;
    }

    function _token(uint256[2] calldata input) private pure returns (address) {
        return bytes32(input[0]).toAddress();
    }
}
