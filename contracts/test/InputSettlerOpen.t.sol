// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IInputSettlerEscrow} from "../src/interfaces/IInputSettlerEscrow.sol";
import {Identifier} from "../src/libraries/Identifier.sol";
import {MandateOutput, OrderStatus, StandardOrder} from "../src/types/OrderTypes.sol";
import {FalseToken, FeeToken, LyingToken, OnceToken, ReentrantToken, Wallet} from "./support/Doubles.sol";
import {Fixture} from "./support/Fixture.sol";

interface IPermit2Errors {
    error InvalidSigner();
    error InvalidNonce();
}

contract InputSettlerOpenTest is Fixture {
    function _expectOpened(StandardOrder memory order) private returns (bytes32 orderId) {
        orderId = escrow.orderIdentifier(order);
        vm.expectEmit(address(escrow));
        emit IInputSettlerEscrow.Open(orderId, order);
    }

    function _assertEscrowed(bytes32 orderId) private view {
        assertEq(uint8(escrow.orderStatus(orderId)), uint8(OrderStatus.Deposited));
        assertEq(usdc.balanceOf(address(escrow)), AMOUNT_IN);
        assertEq(usdc.balanceOf(user.addr), 99 * AMOUNT_IN);
    }

    function _expectRefused(StandardOrder memory order, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(user.addr);
        escrow.open(order);
    }

    // -- open

    function test_open__approved_inputs__escrows_them_and_tells() public {
        StandardOrder memory order = _order();
        bytes32 orderId = _expectOpened(order);
        vm.prank(user.addr);
        escrow.open(order);
        _assertEscrowed(orderId);
    }

    function test_open__by_somebody_else__takes_the_inputs_from_the_caller() public {
        StandardOrder memory order = _order();
        vm.prank(solver.addr);
        usdc.approve(address(escrow), AMOUNT_IN);
        vm.prank(solver.addr);
        escrow.open(order);
        assertEq(usdc.balanceOf(user.addr), 100 * AMOUNT_IN);
        assertEq(usdc.balanceOf(solver.addr), 99 * AMOUNT_IN);
    }

    function test_open__several_inputs__escrows_all() public {
        _open(_bigOrder());
        assertEq(usdc.balanceOf(address(escrow)), AMOUNT_IN);
        assertEq(weth.balanceOf(address(escrow)), AMOUNT_OUT);
    }

    function test_open__same_token_twice__escrows_the_sum() public {
        StandardOrder memory order = _bigOrder();
        order.inputs[1] = [order.inputs[0][0], 5];
        _open(order);
        assertEq(usdc.balanceOf(address(escrow)), AMOUNT_IN + 5);
    }

    function test_open__twice__is_refused() public {
        StandardOrder memory order = _order();
        _open(order);
        _expectRefused(order, abi.encodeWithSelector(IInputSettlerEscrow.InvalidOrderStatus.selector));
    }

    function test_open__other_chain__is_refused() public {
        StandardOrder memory order = _order();
        order.originChainId = 1;
        _expectRefused(order, abi.encodeWithSelector(IInputSettlerEscrow.WrongChain.selector, 1, block.chainid));
    }

    function test_open__fill_deadline_now__is_refused() public {
        StandardOrder memory order = _order();
        order.fillDeadline = uint32(block.timestamp);
        _expectRefused(order, abi.encodeWithSelector(IInputSettlerEscrow.TimestampPassed.selector));
    }

    function test_open__fill_deadline_in_a_second__is_taken() public {
        StandardOrder memory order = _order();
        order.fillDeadline = uint32(block.timestamp + 1);
        order.expires = order.fillDeadline;
        _open(order);
    }

    function test_open__expired__is_refused() public {
        StandardOrder memory order = _order();
        order.expires = uint32(block.timestamp);
        _expectRefused(order, abi.encodeWithSelector(IInputSettlerEscrow.TimestampPassed.selector));
    }

    function test_open__fill_deadline_after_expiry__is_refused() public {
        StandardOrder memory order = _order();
        order.fillDeadline = order.expires + 1;
        _expectRefused(
            order,
            abi.encodeWithSelector(
                IInputSettlerEscrow.FillDeadlineAfterExpiry.selector, order.fillDeadline, order.expires
            )
        );
    }

    function test_open__no_outputs__is_refused() public {
        StandardOrder memory order = _order();
        order.outputs = new MandateOutput[](0);
        _expectRefused(order, abi.encodeWithSelector(IInputSettlerEscrow.NoOutputs.selector));
    }

    function test_open__same_output_twice__is_refused() public {
        StandardOrder memory order = _bigOrder();
        order.outputs[1] = _output();
        bytes memory reason = abi.encodeWithSelector(IInputSettlerEscrow.DuplicateOutput.selector, 1);
        _expectRefused(order, reason);
        bytes memory signature = _permit2Signature(user, order);
        vm.expectRevert(reason);
        escrow.openFor(order, user.addr, signature);
    }

    /// @dev Wherever the two stand among others.
    function testFuzz_open__two_equal_outputs_among_others__is_refused(uint256 count, uint256 first, uint256 second)
        public
    {
        count = bound(count, 2, 6);
        second = bound(second, 1, count - 1);
        first = bound(first, 0, second - 1);
        StandardOrder memory order = _order();
        order.outputs = new MandateOutput[](count);
        for (uint256 i = 0; i < count; ++i) {
            order.outputs[i] = _output();
            order.outputs[i].amount += i == second ? first : i;
        }
        _expectRefused(order, abi.encodeWithSelector(IInputSettlerEscrow.DuplicateOutput.selector, second));
        order.outputs[second].amount = 1;
        _open(order);
    }

    /// @dev Any field makes another output, which takes a payment of its own.
    function testFuzz_open__outputs_that_differ_in_one_field__are_taken(uint8 field) public {
        StandardOrder memory order = _bigOrder();
        order.outputs[1] = _output();
        field = uint8(bound(field, 0, 7));
        if (field == 0) order.outputs[1].oracle = _id(stranger.addr);
        if (field == 1) order.outputs[1].settler = _id(stranger.addr);
        if (field == 2) order.outputs[1].chainId += 1;
        if (field == 3) order.outputs[1].token = _id(address(usdc));
        if (field == 4) order.outputs[1].amount += 1;
        if (field == 5) order.outputs[1].recipient = _id(stranger.addr);
        if (field == 6) order.outputs[1].callbackData = hex"00";
        if (field == 7) order.outputs[1].context = hex"00";
        _open(order);
    }

    function test_open__no_user__is_refused() public {
        StandardOrder memory order = _order();
        order.user = address(0);
        _expectRefused(order, abi.encodeWithSelector(IInputSettlerEscrow.ZeroValue.selector));
    }

    function testFuzz_open__dirty_token_bits__is_refused(uint96 dirt) public {
        vm.assume(dirt != 0);
        StandardOrder memory order = _order();
        order.inputs[0][0] |= uint256(dirt) << 160;
        _expectRefused(order, abi.encodeWithSelector(Identifier.DirtyAddress.selector, order.inputs[0][0]));
    }

    function testFuzz_order_id__any_changed_field__is_another_order(uint256 salt, uint8 field) public view {
        StandardOrder memory order = _order();
        bytes32 before = escrow.orderIdentifier(order);
        salt = bound(salt, 1, type(uint32).max - 2);
        field = uint8(bound(field, 0, 17));
        if (field == 0) order.user = address(uint160(order.user) ^ uint160(salt));
        if (field == 1) order.nonce ^= salt;
        if (field == 2) order.originChainId ^= salt;
        if (field == 3) order.expires ^= uint32(salt);
        if (field == 4) order.fillDeadline ^= uint32(salt);
        if (field == 5) order.inputOracle = address(uint160(order.inputOracle) ^ uint160(salt));
        if (field == 6) order.inputs[0][0] ^= salt;
        if (field == 7) order.inputs[0][1] ^= salt;
        if (field == 8) order.outputs[0].oracle ^= bytes32(salt);
        if (field == 9) order.outputs[0].settler ^= bytes32(salt);
        if (field == 10) order.outputs[0].chainId ^= salt;
        if (field == 11) order.outputs[0].token ^= bytes32(salt);
        if (field == 12) order.outputs[0].amount ^= salt;
        if (field == 13) order.outputs[0].recipient ^= bytes32(salt);
        if (field == 14) order.outputs[0].callbackData = abi.encode(salt);
        if (field == 15) order.outputs[0].context = abi.encode(salt);
        if (field == 16) order.inputs = new uint256[2][](0);
        if (field == 17) order.outputs = _bigOrder().outputs;
        assertNotEq(escrow.orderIdentifier(order), before);
    }

    // -- tokens that do not keep their word

    function test_open__token_that_keeps_a_fee__is_refused() public {
        FeeToken token = new FeeToken();
        token.mint(user.addr, AMOUNT_IN);
        vm.prank(user.addr);
        token.approve(address(escrow), AMOUNT_IN);
        StandardOrder memory order = _order();
        order.inputs[0][0] = uint256(uint160(address(token)));
        bytes memory reason = abi.encodeWithSelector(
            IInputSettlerEscrow.InsufficientInput.selector, address(token), AMOUNT_IN - AMOUNT_IN / 100, AMOUNT_IN
        );
        _expectRefused(order, reason);
    }

    function test_open__token_that_returns_false__is_refused() public {
        FalseToken token = new FalseToken();
        StandardOrder memory order = _order();
        order.inputs[0][0] = uint256(uint160(address(token)));
        _expectRefused(order, abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(token)));
    }

    function test_open__token_that_moves_nothing__is_refused() public {
        LyingToken token = new LyingToken();
        StandardOrder memory order = _order();
        order.inputs[0][0] = uint256(uint160(address(token)));
        bytes memory reason =
            abi.encodeWithSelector(IInputSettlerEscrow.InsufficientInput.selector, address(token), 0, AMOUNT_IN);
        _expectRefused(order, reason);
        vm.expectRevert(reason);
        escrow.openFor(order, user.addr, abi.encodePacked(hex"01", new bytes(65)));
        bytes memory signature = _permit2Signature(user, order);
        vm.expectRevert(reason);
        escrow.openFor(order, user.addr, signature);
    }

    function test_open__token_that_moves_only_once__does_not_pass_for_two_inputs() public {
        OnceToken token = new OnceToken();
        token.mint(user.addr, 2 * AMOUNT_IN);
        StandardOrder memory order = _bigOrder();
        order.inputs[0][0] = uint256(uint160(address(token)));
        order.inputs[1] = order.inputs[0];
        _expectRefused(
            order,
            abi.encodeWithSelector(
                IInputSettlerEscrow.InsufficientInput.selector, address(token), AMOUNT_IN, 2 * AMOUNT_IN
            )
        );
    }

    function test_open__address_without_code_as_token__is_refused() public {
        StandardOrder memory order = _order();
        order.inputs[0][0] = 0x1234;
        vm.expectRevert();
        vm.prank(user.addr);
        escrow.open(order);
        bytes memory signature = _permit2Signature(user, order);
        vm.expectRevert();
        escrow.openFor(order, user.addr, signature);
        assertEq(uint8(escrow.orderStatus(escrow.orderIdentifier(order))), uint8(OrderStatus.None));
    }

    function test_open__token_that_opens_the_same_order_again__is_refused() public {
        ReentrantToken token = new ReentrantToken();
        token.mint(user.addr, AMOUNT_IN);
        StandardOrder memory order = _order();
        order.inputs[0][0] = uint256(uint160(address(token)));
        token.arm(address(escrow), abi.encodeCall(escrow.open, (order)));
        vm.prank(user.addr);
        token.approve(address(escrow), AMOUNT_IN);
        _expectRefused(order, abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
    }

    // -- openFor without a signature

    function test_openFor__sponsor_calls__escrows_without_signature() public {
        StandardOrder memory order = _order();
        bytes32 orderId = _expectOpened(order);
        vm.prank(user.addr);
        escrow.openFor(order, user.addr, "");
        _assertEscrowed(orderId);
        order.nonce = 8;
        _expectOpened(order);
        vm.prank(user.addr);
        escrow.openFor(order, user.addr, hex"ff");
    }

    function test_openFor__somebody_calls_for_the_sponsor__is_refused() public {
        StandardOrder memory order = _order();
        vm.startPrank(stranger.addr);
        vm.expectRevert(IInputSettlerEscrow.InvalidSigner.selector);
        escrow.openFor(order, user.addr, "");
        vm.expectRevert(IInputSettlerEscrow.InvalidSigner.selector);
        escrow.openFor(order, user.addr, hex"ff");
    }

    function testFuzz_openFor__unknown_kind_of_signature__is_refused(bytes1 kind) public {
        vm.assume(kind != 0x00 && kind != 0x01 && kind != 0xff);
        vm.expectRevert(abi.encodeWithSelector(IInputSettlerEscrow.SignatureNotSupported.selector, kind));
        escrow.openFor(_order(), user.addr, abi.encodePacked(kind, new bytes(65)));
    }

    // -- openFor with Permit2

    function test_openFor__permit2__escrows_by_signature() public {
        StandardOrder memory order = _order();
        bytes memory signature = _permit2Signature(user, order);
        bytes32 orderId = _expectOpened(order);
        vm.prank(solver.addr);
        escrow.openFor(order, user.addr, signature);
        _assertEscrowed(orderId);
    }

    function test_openFor__permit2_several_inputs_and_outputs__escrows_all() public {
        StandardOrder memory order = _bigOrder();
        order.outputs[0].callbackData = hex"c0ffee";
        order.outputs[1].context = abi.encodePacked(hex"e0", _id(solver.addr), uint32(5));
        escrow.openFor(order, user.addr, _permit2Signature(user, order));
        assertEq(usdc.balanceOf(address(escrow)), AMOUNT_IN);
        assertEq(weth.balanceOf(address(escrow)), AMOUNT_OUT);
    }

    function test_openFor__permit2_of_a_contract_wallet__escrows() public {
        Wallet wallet = new Wallet(user.addr);
        usdc.mint(address(wallet), AMOUNT_IN);
        wallet.call(address(usdc), abi.encodeCall(usdc.approve, (PERMIT2, AMOUNT_IN)));
        StandardOrder memory order = _order();
        escrow.openFor(order, address(wallet), _permit2Signature(user, order));
        assertEq(usdc.balanceOf(address(wallet)), 0);
    }

    function test_openFor__permit2_used_twice__is_refused() public {
        StandardOrder memory order = _order();
        bytes memory signature = _permit2Signature(user, order);
        escrow.openFor(order, user.addr, signature);
        vm.expectRevert(IInputSettlerEscrow.InvalidOrderStatus.selector);
        escrow.openFor(order, user.addr, signature);
    }

    function test_openFor__permit2_nonce_of_another_order__is_refused() public {
        StandardOrder memory order = _order();
        escrow.openFor(order, user.addr, _permit2Signature(user, order));
        order.outputs[0].amount += 1;
        bytes memory signature = _permit2Signature(user, order);
        vm.expectRevert(IPermit2Errors.InvalidNonce.selector);
        escrow.openFor(order, user.addr, signature);
    }

    function test_openFor__permit2_of_somebody_else__is_refused() public {
        StandardOrder memory order = _order();
        bytes memory signature = _permit2Signature(stranger, order);
        vm.expectRevert(IPermit2Errors.InvalidSigner.selector);
        escrow.openFor(order, user.addr, signature);
    }

    /// @dev The user's signature is good for nothing but the order it was made for.
    function testFuzz_openFor__permit2_and_a_changed_order__is_refused(uint8 field) public {
        StandardOrder memory order = _order();
        bytes memory signature = _permit2Signature(user, order);
        field = uint8(bound(field, 0, 14));
        if (field == 0) order.user = stranger.addr;
        if (field == 1) order.nonce += 1;
        if (field == 2) order.expires += 1;
        if (field == 3) order.fillDeadline += 1;
        if (field == 4) order.inputOracle = stranger.addr;
        if (field == 5) order.inputs[0][0] = uint256(uint160(address(weth)));
        if (field == 6) order.inputs[0][1] -= 1;
        if (field == 7) order.outputs[0].oracle = _id(stranger.addr);
        if (field == 8) order.outputs[0].settler = _id(stranger.addr);
        if (field == 9) order.outputs[0].chainId += 1;
        if (field == 10) order.outputs[0].token = _id(address(usdc));
        if (field == 11) order.outputs[0].amount -= 1;
        if (field == 12) order.outputs[0].recipient = _id(stranger.addr);
        if (field == 13) order.outputs[0].callbackData = hex"00";
        if (field == 14) order.outputs[0].context = hex"00";
        vm.expectRevert(IPermit2Errors.InvalidSigner.selector);
        escrow.openFor(order, user.addr, signature);
    }

    function test_openFor__permit2_of_another_settler__is_refused() public {
        StandardOrder memory order = _order();
        bytes memory signature = _permit2Signature(user, order);
        setUp();
        vm.expectRevert(IPermit2Errors.InvalidSigner.selector);
        escrow.openFor(order, user.addr, signature);
    }

    // -- openFor with ERC-3009

    function test_openFor__erc3009_bare_signature__escrows() public {
        StandardOrder memory order = _order();
        bytes memory signature = abi.encodePacked(hex"01", _erc3009Signature(user, order, 0));
        bytes32 orderId = _expectOpened(order);
        vm.prank(solver.addr);
        escrow.openFor(order, user.addr, signature);
        _assertEscrowed(orderId);
        assertTrue(usdc.authorizationState(user.addr, orderId));
    }

    function test_openFor__erc3009_array_of_one__escrows() public {
        StandardOrder memory order = _order();
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _erc3009Signature(user, order, 0);
        escrow.openFor(order, user.addr, abi.encodePacked(hex"01", abi.encode(signatures)));
        _assertEscrowed(escrow.orderIdentifier(order));
    }

    function test_openFor__erc3009_array_of_two__escrows_both() public {
        StandardOrder memory order = _bigOrder();
        bytes[] memory signatures = new bytes[](2);
        signatures[0] = _erc3009Signature(user, order, 0);
        signatures[1] = _erc3009Signature(user, order, 1);
        escrow.openFor(order, user.addr, abi.encodePacked(hex"01", abi.encode(signatures)));
        assertEq(usdc.balanceOf(address(escrow)), AMOUNT_IN);
        assertEq(weth.balanceOf(address(escrow)), AMOUNT_OUT);
    }

    function test_openFor__erc3009_of_a_contract_wallet__escrows() public {
        Wallet wallet = new Wallet(user.addr);
        usdc.mint(address(wallet), AMOUNT_IN);
        StandardOrder memory order = _order();
        bytes32 orderId = escrow.orderIdentifier(order);
        bytes32 digest = _receiveDigest(usdc, address(wallet), address(escrow), AMOUNT_IN, order.fillDeadline, orderId);
        escrow.openFor(order, address(wallet), abi.encodePacked(hex"01", _sign(user, digest)));
        assertEq(usdc.balanceOf(address(wallet)), 0);
    }

    function test_openFor__erc3009_wrong_number_of_signatures__is_refused() public {
        StandardOrder memory order = _bigOrder();
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = _erc3009Signature(user, order, 0);
        vm.expectRevert(abi.encodeWithSelector(IInputSettlerEscrow.SignatureAndInputsNotEqual.selector, 1, 2));
        escrow.openFor(order, user.addr, abi.encodePacked(hex"01", abi.encode(signatures)));
    }

    function test_openFor__erc3009_of_somebody_else__is_refused() public {
        StandardOrder memory order = _order();
        bytes memory signature = abi.encodePacked(hex"01", _erc3009Signature(stranger, order, 0));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        escrow.openFor(order, user.addr, signature);
    }

    function test_openFor__erc3009_and_a_changed_order__is_refused() public {
        StandardOrder memory order = _order();
        bytes memory signature = abi.encodePacked(hex"01", _erc3009Signature(user, order, 0));
        order.outputs[0].recipient = _id(stranger.addr);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        escrow.openFor(order, user.addr, signature);
    }

    function test_openFor__erc3009_cancelled__is_refused() public {
        StandardOrder memory order = _order();
        bytes32 orderId = escrow.orderIdentifier(order);
        bytes32 typeHash = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");
        bytes32 digest = _digest(usdc.DOMAIN_SEPARATOR(), keccak256(abi.encode(typeHash, user.addr, orderId)));
        usdc.cancelAuthorization(user.addr, orderId, _sign(user, digest));
        bytes memory signature = abi.encodePacked(hex"01", _erc3009Signature(user, order, 0));
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, user.addr, orderId));
        escrow.openFor(order, user.addr, signature);
    }
}
