// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IInputSettlerEscrow} from "../src/interfaces/IInputSettlerEscrow.sol";
import {IOracle} from "../src/interfaces/IOracle.sol";
import {Identifier} from "../src/libraries/Identifier.sol";
import {OrderStatus, SolveParams, StandardOrder} from "../src/types/OrderTypes.sol";
import {CallbackRecipient, ReentrantToken, Wallet} from "./support/Doubles.sol";
import {Fixture} from "./support/Fixture.sol";

contract InputSettlerFinaliseTest is Fixture {
    address private payee = address(0xca11);

    function _allowOpenDigest(bytes32 orderId, bytes32 destination, bytes memory call) private view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("OIFEscrow"),
                keccak256("1"),
                block.chainid,
                address(escrow)
            )
        );
        assertEq(escrow.DOMAIN_SEPARATOR(), domain);
        bytes32 typeHash = keccak256("AllowOpen(bytes32 orderId,bytes32 destination,bytes call)");
        return _digest(domain, keccak256(abi.encode(typeHash, orderId, destination, keccak256(call))));
    }

    function _expectRefused(StandardOrder memory order, SolveParams[] memory params, bytes memory reason) private {
        vm.expectRevert(reason);
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(payee), "");
    }

    // -- finalise

    function test_finalise__proven_by_the_solver__pays_the_destination_and_tells() public {
        StandardOrder memory order = _order();
        bytes32 orderId = _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        vm.expectEmit(address(escrow));
        emit IInputSettlerEscrow.Finalised(orderId, _id(solver.addr), _id(payee));
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(payee), "");
        assertEq(usdc.balanceOf(payee), AMOUNT_IN);
        assertEq(usdc.balanceOf(address(escrow)), 0);
        assertEq(uint8(escrow.orderStatus(orderId)), uint8(OrderStatus.Claimed));
    }

    function test_finalise__several_inputs_and_outputs__pays_all_inputs() public {
        StandardOrder memory order = _bigOrder();
        _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(payee), "");
        assertEq(usdc.balanceOf(payee), AMOUNT_IN);
        assertEq(weth.balanceOf(payee), AMOUNT_OUT);
    }

    function test_finalise__outputs_filled_by_two_solvers_at_two_times__pays_the_first() public {
        StandardOrder memory order = _bigOrder();
        bytes32 orderId = _open(order);
        SolveParams[] memory params = new SolveParams[](2);
        params[0] = SolveParams(uint32(block.timestamp), _id(solver.addr));
        params[1] = SolveParams(uint32(block.timestamp + 60), _id(stranger.addr));
        vm.prank(solver.addr);
        settler.fill(orderId, order.outputs[0], order.fillDeadline, abi.encode(params[0].solver));
        skip(60);
        vm.prank(solver.addr);
        settler.fill(orderId, order.outputs[1], order.fillDeadline, abi.encode(params[1].solver));
        settler.setAttestation(orderId, params[0].solver, params[0].timestamp, order.outputs[0]);

        _expectRefused(order, params, abi.encodeWithSelector(IOracle.NotProven.selector));
        settler.setAttestation(orderId, params[1].solver, params[1].timestamp, order.outputs[1]);

        // The second solver has no say, and one solver cannot pass for both.
        vm.expectRevert(IInputSettlerEscrow.NotOrderOwner.selector);
        vm.prank(stranger.addr);
        escrow.finalise(order, params, _id(payee), "");
        bytes32 second = params[1].solver;
        params[1].solver = _id(solver.addr);
        _expectRefused(order, params, abi.encodeWithSelector(IOracle.NotProven.selector));
        params[1].solver = second;

        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(payee), "");
        assertEq(usdc.balanceOf(payee), AMOUNT_IN);
    }

    function test_finalise__remote_fill_attested_by_two_of_three__pays() public {
        StandardOrder memory order = _order();
        order.inputOracle = address(oracle);
        order.outputs[0].chainId = REMOTE_CHAIN;
        order.outputs[0].oracle = _id(address(oracle));
        bytes32 orderId = _open(order);
        SolveParams[] memory params = new SolveParams[](1);
        params[0] = SolveParams(uint32(block.timestamp), _id(solver.addr));
        bytes32 dataHash =
            encodings.fillDescriptionHash(params[0].solver, orderId, params[0].timestamp, order.outputs[0]);
        bytes32 remoteOracle = order.outputs[0].oracle;
        bytes32 application = order.outputs[0].settler;
        bytes32 digest = oracle.attestationDigest(REMOTE_CHAIN, remoteOracle, application, dataHash);

        _expectRefused(order, params, abi.encodeWithSelector(IOracle.NotProven.selector));
        oracle.submit(REMOTE_CHAIN, remoteOracle, application, dataHash, _attest(_two(0, 2), digest));
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(payee), "");
        assertEq(usdc.balanceOf(payee), AMOUNT_IN);
    }

    function test_finalise__not_filled__is_refused() public {
        StandardOrder memory order = _order();
        _open(order);
        SolveParams[] memory params = new SolveParams[](1);
        params[0] = SolveParams(uint32(block.timestamp), _id(solver.addr));
        _expectRefused(order, params, abi.encodeWithSelector(IOracle.NotProven.selector));
    }

    function test_finalise__fill_of_another_order__is_refused() public {
        StandardOrder memory order = _order();
        _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        order.nonce += 1;
        _open(order);
        _expectRefused(order, params, abi.encodeWithSelector(IOracle.NotProven.selector));
    }

    function test_finalise__by_a_stranger__is_refused() public {
        StandardOrder memory order = _order();
        _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        vm.expectRevert(IInputSettlerEscrow.NotOrderOwner.selector);
        vm.prank(stranger.addr);
        escrow.finalise(order, params, _id(stranger.addr), "");
    }

    function test_finalise__stranger_claims_to_be_the_solver__is_refused() public {
        StandardOrder memory order = _order();
        _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        params[0].solver = _id(stranger.addr);
        vm.expectRevert(IOracle.NotProven.selector);
        vm.prank(stranger.addr);
        escrow.finalise(order, params, _id(stranger.addr), "");
    }

    function test_finalise__never_opened__is_refused() public {
        StandardOrder memory order = _order();
        SolveParams[] memory params = _fillAndProve(order);
        _expectRefused(order, params, abi.encodeWithSelector(IInputSettlerEscrow.InvalidOrderStatus.selector));
    }

    function test_finalise__twice__is_refused() public {
        StandardOrder memory order = _order();
        _open(order);
        order.nonce += 1;
        _open(order); // the escrow holds enough for a second payout
        SolveParams[] memory params = _fillAndProve(order);
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(payee), "");
        _expectRefused(order, params, abi.encodeWithSelector(IInputSettlerEscrow.InvalidOrderStatus.selector));
    }

    function test_finalise__filled_after_the_fill_deadline__is_refused() public {
        StandardOrder memory order = _order();
        bytes32 orderId = _open(order);
        uint32 late = order.fillDeadline + 1;
        vm.warp(late);
        // The output settler believes the deadline it is told; the escrow knows the real one.
        vm.prank(solver.addr);
        settler.fill(orderId, order.outputs[0], late, abi.encode(_id(solver.addr)));
        settler.setAttestation(orderId, _id(solver.addr), late, order.outputs[0]);
        SolveParams[] memory params = new SolveParams[](1);
        params[0] = SolveParams(late, _id(solver.addr));
        _expectRefused(
            order, params, abi.encodeWithSelector(IInputSettlerEscrow.FilledTooLate.selector, order.fillDeadline, late)
        );
    }

    function test_finalise__filled_at_the_fill_deadline__pays() public {
        StandardOrder memory order = _order();
        _open(order);
        vm.warp(order.fillDeadline);
        SolveParams[] memory params = _fillAndProve(order);
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(payee), "");
        assertEq(usdc.balanceOf(payee), AMOUNT_IN);
    }

    function test_finalise__after_expiry_and_not_refunded__pays() public {
        StandardOrder memory order = _order();
        _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        vm.warp(uint256(order.expires) + 365 days);
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(payee), "");
        assertEq(usdc.balanceOf(payee), AMOUNT_IN);
    }

    function test_finalise__wrong_number_of_fills__is_refused() public {
        StandardOrder memory order = _bigOrder();
        _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        SolveParams[] memory one = new SolveParams[](1);
        one[0] = params[0];
        _expectRefused(order, one, abi.encodeWithSelector(IInputSettlerEscrow.SolveParamsLength.selector, 1, 2));
        _expectRefused(
            order, new SolveParams[](0), abi.encodeWithSelector(IInputSettlerEscrow.SolveParamsLength.selector, 0, 2)
        );
    }

    function test_finalise__destination_is_no_address__is_refused() public {
        StandardOrder memory order = _order();
        _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        vm.startPrank(solver.addr);
        vm.expectRevert(IInputSettlerEscrow.ZeroValue.selector);
        escrow.finalise(order, params, 0, "");
        bytes32 dirty = _id(payee) | bytes32(uint256(1) << 200);
        vm.expectRevert(abi.encodeWithSelector(Identifier.DirtyAddress.selector, dirty));
        escrow.finalise(order, params, dirty, "");
    }

    function test_finalise__with_a_call__hands_it_to_the_destination_after_the_payment() public {
        StandardOrder memory order = _order();
        _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        CallbackRecipient destination = new CallbackRecipient();
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(address(destination)), hex"c0ffee");
        assertEq(destination.calls(), 1);
        assertEq(destination.token(), bytes32(order.inputs[0][0]));
        assertEq(destination.amount(), AMOUNT_IN);
        assertEq(destination.data(), hex"c0ffee");
    }

    function test_finalise__destination_refunds_within_the_call__is_refused() public {
        StandardOrder memory order = _order();
        _open(order);
        order.nonce += 1;
        _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        CallbackRecipient destination = new CallbackRecipient();
        destination.arm(address(escrow), abi.encodeCall(escrow.refund, (order)));
        vm.warp(uint256(order.expires) + 1);
        vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(address(destination)), hex"00");
    }

    // -- finaliseWithSignature

    function test_finaliseWithSignature__of_the_solver__anyone_may_pay_out() public {
        StandardOrder memory order = _order();
        bytes32 orderId = _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        CallbackRecipient destination = new CallbackRecipient();
        bytes memory signature = _sign(solver, _allowOpenDigest(orderId, _id(address(destination)), hex"c0ffee"));
        vm.expectEmit(address(escrow));
        emit IInputSettlerEscrow.Finalised(orderId, _id(solver.addr), _id(address(destination)));
        vm.prank(stranger.addr);
        escrow.finaliseWithSignature(order, params, _id(address(destination)), hex"c0ffee", signature);
        assertEq(usdc.balanceOf(address(destination)), AMOUNT_IN);
        assertEq(destination.data(), hex"c0ffee");
    }

    function test_finaliseWithSignature__of_a_contract_wallet__pays() public {
        Wallet wallet = new Wallet(solver.addr);
        StandardOrder memory order = _order();
        bytes32 orderId = _open(order);
        SolveParams[] memory params = new SolveParams[](1);
        params[0] = SolveParams(uint32(block.timestamp), _id(address(wallet)));
        vm.prank(solver.addr);
        settler.fill(orderId, order.outputs[0], order.fillDeadline, abi.encode(params[0].solver));
        settler.setAttestation(orderId, params[0].solver, params[0].timestamp, order.outputs[0]);
        bytes memory signature = _sign(solver, _allowOpenDigest(orderId, _id(payee), ""));
        escrow.finaliseWithSignature(order, params, _id(payee), "", signature);
        assertEq(usdc.balanceOf(payee), AMOUNT_IN);
    }

    function test_finaliseWithSignature__not_of_the_solver_or_for_something_else__is_refused() public {
        StandardOrder memory order = _order();
        bytes32 orderId = _open(order);
        SolveParams[] memory params = _fillAndProve(order);
        bytes[] memory bad = new bytes[](6);
        bad[0] = _sign(stranger, _allowOpenDigest(orderId, _id(payee), ""));
        bad[1] = _sign(solver, _allowOpenDigest(orderId, _id(stranger.addr), ""));
        bad[2] = _sign(solver, _allowOpenDigest(orderId, _id(payee), hex"00"));
        bad[3] = _sign(solver, _allowOpenDigest(bytes32(uint256(orderId) + 1), _id(payee), ""));
        bad[4] = "";
        bad[5] = new bytes(65);
        for (uint256 i = 0; i < bad.length; ++i) {
            vm.expectRevert(IInputSettlerEscrow.InvalidSigner.selector);
            escrow.finaliseWithSignature(order, params, _id(payee), "", bad[i]);
        }
    }

    function test_finaliseWithSignature__solver_is_no_address__is_refused() public {
        StandardOrder memory order = _order();
        bytes32 orderId = _open(order);
        bytes32 dirty = _id(solver.addr) | bytes32(uint256(1) << 160);
        vm.prank(solver.addr);
        settler.fill(orderId, order.outputs[0], order.fillDeadline, abi.encode(dirty));
        settler.setAttestation(orderId, dirty, uint32(block.timestamp), order.outputs[0]);
        SolveParams[] memory params = new SolveParams[](1);
        params[0] = SolveParams(uint32(block.timestamp), dirty);
        bytes memory signature = _sign(solver, _allowOpenDigest(orderId, _id(payee), ""));
        vm.expectRevert(abi.encodeWithSelector(Identifier.DirtyAddress.selector, dirty));
        escrow.finaliseWithSignature(order, params, _id(payee), "", signature);
        _expectRefused(order, params, abi.encodeWithSelector(IInputSettlerEscrow.NotOrderOwner.selector));
    }

    function test_finaliseWithSignature__not_filled__is_refused() public {
        StandardOrder memory order = _order();
        bytes32 orderId = _open(order);
        SolveParams[] memory params = new SolveParams[](1);
        params[0] = SolveParams(uint32(block.timestamp), _id(solver.addr));
        bytes memory signature = _sign(solver, _allowOpenDigest(orderId, _id(payee), ""));
        vm.expectRevert(IOracle.NotProven.selector);
        escrow.finaliseWithSignature(order, params, _id(payee), "", signature);
    }

    // -- refund

    function test_refund__after_expiry__returns_the_inputs_to_the_user_and_tells() public {
        StandardOrder memory order = _bigOrder();
        bytes32 orderId = _open(order);
        vm.warp(uint256(order.expires) + 1);
        vm.expectEmit(address(escrow));
        emit IInputSettlerEscrow.Refunded(orderId);
        vm.prank(stranger.addr);
        escrow.refund(order);
        assertEq(usdc.balanceOf(user.addr), 100 * AMOUNT_IN);
        assertEq(weth.balanceOf(user.addr), 100 * AMOUNT_OUT);
        assertEq(uint8(escrow.orderStatus(orderId)), uint8(OrderStatus.Refunded));
    }

    function test_refund__sponsored_order__returns_to_the_user_not_the_sponsor() public {
        StandardOrder memory order = _order();
        order.user = recipient;
        escrow.openFor(order, user.addr, _permit2Signature(user, order));
        vm.warp(uint256(order.expires) + 1);
        escrow.refund(order);
        assertEq(usdc.balanceOf(recipient), AMOUNT_IN);
    }

    function test_refund__at_expiry__is_refused() public {
        StandardOrder memory order = _order();
        _open(order);
        vm.warp(order.expires);
        vm.expectRevert(IInputSettlerEscrow.TimestampNotPassed.selector);
        escrow.refund(order);
    }

    /// @dev Without a second between fill deadline and expiry, who fills last has to finalise at once.
    function test_refund__order_that_expires_with_its_fill_deadline__races_the_solver_of_the_last_second() public {
        StandardOrder memory order = _order();
        order.expires = order.fillDeadline;
        _open(order);
        vm.warp(order.fillDeadline);
        SolveParams[] memory params = _fillAndProve(order);
        uint256 filled = vm.snapshotState();
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(solver.addr), "");
        vm.revertToState(filled);
        skip(1);
        escrow.refund(order);
        vm.expectRevert(IInputSettlerEscrow.InvalidOrderStatus.selector);
        vm.prank(solver.addr);
        escrow.finalise(order, params, _id(solver.addr), "");
    }

    function test_refund__never_opened__is_refused() public {
        StandardOrder memory order = _order();
        vm.warp(uint256(order.expires) + 1);
        vm.expectRevert(IInputSettlerEscrow.InvalidOrderStatus.selector);
        escrow.refund(order);
    }

    function test_refund__twice__is_refused() public {
        StandardOrder memory order = _order();
        _open(order);
        order.nonce += 1;
        _open(order);
        vm.warp(uint256(order.expires) + 1);
        escrow.refund(order);
        vm.expectRevert(IInputSettlerEscrow.InvalidOrderStatus.selector);
        escrow.refund(order);
    }

    function test_refund__token_that_refunds_again_within__is_refused() public {
        ReentrantToken token = new ReentrantToken();
        token.mint(user.addr, 2 * AMOUNT_IN);
        vm.prank(user.addr);
        token.approve(address(escrow), 2 * AMOUNT_IN);
        StandardOrder memory order = _order();
        order.inputs[0][0] = uint256(uint160(address(token)));
        _open(order);
        order.nonce += 1;
        _open(order);
        vm.warp(uint256(order.expires) + 1);
        token.arm(address(escrow), abi.encodeCall(escrow.refund, (order)));
        vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        escrow.refund(order);
    }

    /// @dev Whoever comes first, the inputs leave once and the other way stays closed.
    function testFuzz_finalise_and_refund__in_either_order__pay_out_once(bool refundFirst, uint256 amount) public {
        StandardOrder memory order = _order();
        order.inputs[0][1] = amount = bound(amount, 1, 50 * AMOUNT_IN);
        _open(order);
        StandardOrder memory other = _order();
        other.nonce += 1;
        other.inputs[0][1] = amount;
        _open(other);
        SolveParams[] memory params = _fillAndProve(order);
        vm.warp(uint256(order.expires) + 1);
        if (refundFirst) escrow.refund(order);
        vm.prank(solver.addr);
        if (refundFirst) vm.expectRevert(IInputSettlerEscrow.InvalidOrderStatus.selector);
        escrow.finalise(order, params, _id(payee), "");
        if (!refundFirst) {
            vm.expectRevert(IInputSettlerEscrow.InvalidOrderStatus.selector);
            escrow.refund(order);
        }
        assertEq(usdc.balanceOf(payee), refundFirst ? 0 : amount);
        assertEq(usdc.balanceOf(address(escrow)), amount);
    }
}
