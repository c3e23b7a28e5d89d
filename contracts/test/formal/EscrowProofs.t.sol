// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";

import {InputSettlerEscrow} from "../../src/InputSettlerEscrow.sol";
import {MandateOutput, OrderStatus, SolveParams, StandardOrder} from "../../src/types/OrderTypes.sol";
import {Encodings} from "../support/Encodings.sol";
import {Attacker, PlainToken, StatementOracle} from "./SymbolicParts.sol";

/// @notice The escrow's promises as proofs: every argument is any value it can have. Orders have one input and,
/// but for the proof about two, one output, without callback data and context: lengths have to be fixed for the prover.
contract EscrowProofs is Test {
    address private constant PAYER = address(0xfa7e);

    InputSettlerEscrow private _escrow;
    PlainToken private _token;
    StatementOracle private _oracle;
    Encodings private _encodings;

    function setUp() public {
        _escrow = new InputSettlerEscrow();
        _token = new PlainToken();
        _oracle = new StatementOracle();
        _encodings = new Encodings();
    }

    /// @notice An order pays out once, to a solver or back to the user, never both, whatever else is in the escrow.
    function check_an_order_pays_out_at_most_once(StandardFields memory fields, uint32 later, address payee) public {
        StandardOrder memory order = _open(fields);
        _token.mint(address(_escrow), type(uint128).max); // enough for a second payout
        SolveParams[] memory params = _prove(order, fields.solver, fields.filledAt);
        vm.warp(later);
        bool claimed = _finalise(order, params, payee);
        bool refunded = _refund(order);
        bool claimedAgain = _finalise(order, params, payee);
        bool refundedAgain = _refund(order);
        uint256 payouts = _count(claimed) + _count(refunded) + _count(claimedAgain) + _count(refundedAgain);
        assert(payouts <= 1);
    }

    /// @notice The escrow's balance is at least the sum of the open orders, while two orders are opened and each leaves
    /// in either way, the one that was opened first or the other before.
    function check_escrow_balance_covers_the_open_orders(
        StandardFields memory fields,
        uint128 otherAmount,
        uint32 later,
        bool[3] memory choices,
        address payee
    ) public {
        vm.assume(payee != address(_escrow));
        StandardOrder memory first = _open(fields);
        fields.amount = otherAmount;
        fields.nonce ^= 1;
        StandardOrder memory second = _open(fields);
        if (choices[0]) (first, second) = (second, first);
        _assertCovered(first, second);
        vm.warp(later);
        _leave(first, fields, choices[1], payee);
        _assertCovered(first, second);
        _leave(second, fields, choices[2], payee);
        _assertCovered(first, second);
    }

    /// @notice Nothing is paid out for a fill that is not proven, to nobody, at no time.
    function check_no_payout_without_a_proof(
        StandardFields memory fields,
        bytes32 claimant,
        uint32 timestamp,
        address by,
        address payee
    ) public {
        StandardOrder memory order = _open(fields);
        _prove(order, fields.solver, fields.filledAt);
        vm.assume(claimant != fields.solver || timestamp != fields.filledAt);
        SolveParams[] memory params = new SolveParams[](1);
        params[0] = SolveParams(timestamp, claimant);
        vm.prank(by);
        (bool paid,) = address(_escrow)
            .call(abi.encodeCall(_escrow.finalise, (order, params, bytes32(uint256(uint160(payee))), bytes(""))));
        assert(!paid);
    }

    /// @notice Only the proven solver says where the inputs go, and only for a fill that was in time.
    function check_only_the_proven_solver_is_paid(StandardFields memory fields, address by, address payee) public {
        StandardOrder memory order = _open(fields);
        SolveParams[] memory params = _prove(order, fields.solver, fields.filledAt);
        uint256 before = _token.balanceOf(payee);
        vm.prank(by);
        (bool paid,) = address(_escrow)
            .call(abi.encodeCall(_escrow.finalise, (order, params, bytes32(uint256(uint160(payee))), bytes(""))));
        if (!paid) return;
        assert(bytes32(uint256(uint160(by))) == fields.solver);
        assert(fields.filledAt <= order.fillDeadline);
        if (payee != address(_escrow)) assert(_token.balanceOf(payee) == before + fields.amount);
    }

    /// @notice A refund goes to the user, in full, and never before the order has expired.
    function check_a_refund_waits_and_goes_to_the_user(StandardFields memory fields, uint32 later, address by) public {
        vm.assume(fields.user != address(_escrow));
        StandardOrder memory order = _open(fields);
        uint256 before = _token.balanceOf(order.user);
        vm.warp(later);
        vm.prank(by);
        bool refunded = _refund(order);
        assert(refunded == (later > order.expires));
        if (refunded) assert(_token.balanceOf(order.user) == before + fields.amount);
    }

    /// @notice What a stranger does with another order, however it differs, changes nothing of this one: opens it, has it
    /// refunded or finalises it.
    function check_a_stranger_cannot_change_an_order(
        StandardFields memory fields,
        StandardFields memory others,
        uint32 later,
        bool refunds
    ) public {
        StandardOrder memory order = _open(fields);
        bytes32 orderId = _escrow.orderIdentifier(order);
        vm.assume(_escrow.orderIdentifier(_order(others)) != orderId);
        StandardOrder memory other = _open(others);
        assert(_escrow.orderStatus(orderId) == OrderStatus.Deposited);
        vm.warp(later);
        _leave(other, others, refunds, address(0xbad));
        assert(_escrow.orderStatus(orderId) == OrderStatus.Deposited);
        assert(_token.balanceOf(address(_escrow)) >= fields.amount);
    }

    /// @notice Nor can anyone open with a payer's authorisation another order than the one it was given for, or that one
    /// twice, whatever is handed over as its signature.
    function check_an_authorisation_opens_its_order_only(
        StandardFields memory signed,
        StandardFields memory tried,
        bytes32 signature,
        address by
    ) public {
        StandardOrder memory order = _order(signed);
        bytes32 orderId = _escrow.orderIdentifier(order);
        _token.mint(PAYER, type(uint256).max);
        _token.authorise(PAYER, address(_escrow), signed.amount, signed.fillDeadline, orderId);
        StandardOrder memory other = _order(tried);
        if (!_openFor(other, abi.encodePacked(bytes1(0x01), signature), by)) return;
        assert(_escrow.orderIdentifier(other) == orderId);
        assert(_token.balanceOf(address(_escrow)) == signed.amount);
        assert(!_openFor(other, abi.encodePacked(bytes1(0x01), signature), by));
    }

    /// @notice A single payment never counts twice: no order that asks for the same output twice gets into the escrow.
    function check_no_order_asks_for_an_output_twice(
        StandardFields memory fields,
        uint256 secondAmount,
        bytes32 secondRecipient
    ) public {
        StandardOrder memory order = _order(fields);
        MandateOutput[] memory outputs = new MandateOutput[](2);
        outputs[0] = order.outputs[0];
        outputs[1] = _order(fields).outputs[0];
        (outputs[1].amount, outputs[1].recipient) = (secondAmount, secondRecipient);
        order.outputs = outputs;
        _token.mint(PAYER, fields.amount);
        vm.prank(PAYER);
        (bool opened,) = address(_escrow).call(abi.encodeCall(_escrow.open, (order)));
        if (opened) assert(secondAmount != fields.outputAmount || secondRecipient != fields.recipient);
    }

    /// @notice Two orders that differ in any field have two ids.
    function check_different_orders_have_different_ids(StandardFields memory one, StandardFields memory two)
        public
        view
    {
        vm.assume(
            one.user != two.user || one.nonce != two.nonce || one.expires != two.expires
                || one.fillDeadline != two.fillDeadline || one.amount != two.amount
                || one.outputAmount != two.outputAmount || one.recipient != two.recipient
        );
        assert(_escrow.orderIdentifier(_order(one)) != _escrow.orderIdentifier(_order(two)));
    }

    /// @notice A destination that attacks from within its callback gains nothing: the inputs leave once.
    function check_a_callback_cannot_have_the_inputs_twice(StandardFields memory fields, uint32 later) public {
        StandardOrder memory order = _open(fields);
        _token.mint(address(_escrow), type(uint128).max);
        Attacker attacker = new Attacker();
        fields.solver = bytes32(uint256(uint160(address(attacker))));
        SolveParams[] memory params = _prove(order, fields.solver, fields.filledAt);
        bytes32 destination = bytes32(uint256(uint160(address(attacker))));
        vm.warp(later);
        attacker.arm(address(_escrow), abi.encodeCall(_escrow.refund, (order)));
        uint256 before = _token.balanceOf(address(_escrow));
        vm.prank(address(attacker));
        (bool paid,) =
            address(_escrow).call(abi.encodeCall(_escrow.finalise, (order, params, destination, bytes(hex"00"))));
        assert(!attacker.succeeded());
        if (paid) assert(_token.balanceOf(address(_escrow)) == before - fields.amount);
    }

    // -- parts

    struct StandardFields {
        address user;
        uint256 nonce;
        uint32 expires;
        uint32 fillDeadline;
        uint128 amount;
        uint256 outputAmount;
        bytes32 recipient;
        bytes32 solver;
        uint32 filledAt;
    }

    function _order(StandardFields memory fields) private view returns (StandardOrder memory order) {
        order.user = fields.user;
        order.nonce = fields.nonce;
        order.originChainId = block.chainid;
        order.expires = fields.expires;
        order.fillDeadline = fields.fillDeadline;
        order.inputOracle = address(_oracle);
        order.inputs = new uint256[2][](1);
        order.inputs[0] = [uint256(uint160(address(_token))), fields.amount];
        order.outputs = new MandateOutput[](1);
        order.outputs[0].oracle = bytes32(uint256(uint160(address(_oracle))));
        order.outputs[0].settler = bytes32(uint256(uint160(address(0x5e771e))));
        order.outputs[0].chainId = 2;
        order.outputs[0].token = bytes32(uint256(uint160(address(_token))));
        order.outputs[0].amount = fields.outputAmount;
        order.outputs[0].recipient = fields.recipient;
    }

    function _open(StandardFields memory fields) private returns (StandardOrder memory order) {
        order = _order(fields);
        vm.assume(fields.user != address(0));
        vm.assume(block.timestamp < fields.fillDeadline && fields.fillDeadline <= fields.expires);
        _token.mint(PAYER, fields.amount);
        vm.prank(PAYER);
        _escrow.open(order);
    }

    function _openFor(StandardOrder memory order, bytes memory signature, address by) private returns (bool opened) {
        vm.prank(by);
        (opened,) = address(_escrow).call(abi.encodeCall(_escrow.openFor, (order, PAYER, signature)));
    }

    /// @dev By a refund, or to the payee, with a proof.
    function _leave(StandardOrder memory order, StandardFields memory fields, bool refunds, address payee) private {
        if (refunds) _refund(order);
        else _finalise(order, _prove(order, fields.solver, fields.filledAt), payee);
    }

    function _assertCovered(StandardOrder memory one, StandardOrder memory two) private view {
        assert(_token.balanceOf(address(_escrow)) >= _owed(one) + _owed(two));
    }

    function _prove(StandardOrder memory order, bytes32 solver, uint32 filledAt)
        private
        returns (SolveParams[] memory params)
    {
        params = new SolveParams[](1);
        params[0] = SolveParams(filledAt, solver);
        MandateOutput memory output = order.outputs[0];
        bytes32 dataHash = _encodings.fillDescriptionHash(solver, _escrow.orderIdentifier(order), filledAt, output);
        _oracle.prove(output.chainId, output.oracle, output.settler, dataHash);
    }

    function _finalise(StandardOrder memory order, SolveParams[] memory params, address payee)
        private
        returns (bool paid)
    {
        vm.prank(address(uint160(uint256(params[0].solver))));
        (paid,) = address(_escrow)
            .call(abi.encodeCall(_escrow.finalise, (order, params, bytes32(uint256(uint160(payee))), bytes(""))));
    }

    function _refund(StandardOrder memory order) private returns (bool refunded) {
        (refunded,) = address(_escrow).call(abi.encodeCall(_escrow.refund, (order)));
    }

    function _owed(StandardOrder memory order) private view returns (uint256) {
        bool isOpen = _escrow.orderStatus(_escrow.orderIdentifier(order)) == OrderStatus.Deposited;
        return isOpen ? order.inputs[0][1] : 0;
    }

    function _count(bool happened) private pure returns (uint256) {
        return happened ? 1 : 0;
    }
}
