// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IOutputSettler} from "../src/interfaces/IOutputSettler.sol";
import {Identifier} from "../src/libraries/Identifier.sol";
import {OutputEncoding} from "../src/libraries/OutputEncoding.sol";
import {MandateOutput} from "../src/types/OrderTypes.sol";
import {CallbackRecipient, FalseToken, FeeToken, LyingToken, OnceToken, TakingToken} from "./support/Doubles.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice Paying outputs: who, once, where, and with what.
contract OutputSettlerTest is Fixture {
    bytes32 private constant ORDER_ID = keccak256("order");

    uint48 private deadline;

    function setUp() public override {
        super.setUp();
        deadline = uint48(block.timestamp + 1 hours);
        vm.deal(solver.addr, 10 ether);
    }

    function _data(address who) private pure returns (bytes memory) {
        return abi.encode(_id(who));
    }

    function _record(address who, uint256 timestamp) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(_id(who), uint32(timestamp)));
    }

    function _fill(MandateOutput memory output) private returns (bytes32) {
        vm.prank(solver.addr);
        return settler.fill(ORDER_ID, output, deadline, _data(solver.addr));
    }

    function _expectFilled(MandateOutput memory output, uint256 amount) private {
        vm.expectEmit(address(settler));
        emit IOutputSettler.OutputFilled(ORDER_ID, _id(solver.addr), uint32(block.timestamp), output, amount);
    }

    function _expectRefused(MandateOutput memory output, bytes memory reason) private {
        bytes memory data = _data(solver.addr);
        vm.expectRevert(reason);
        vm.prank(solver.addr);
        settler.fill(ORDER_ID, output, deadline, data);
        assertEq(settler.getFillRecord(ORDER_ID, encodings.outputHash(output)), 0);
    }

    // -- fill

    function test_fill__erc20_output__pays_the_recipient_records_and_tells() public {
        MandateOutput memory output = _output();
        _expectFilled(output, AMOUNT_OUT);
        bytes32 record = _fill(output);
        assertEq(weth.balanceOf(recipient), AMOUNT_OUT);
        assertEq(record, _record(solver.addr, block.timestamp));
        assertEq(settler.getFillRecord(ORDER_ID, encodings.outputHash(output)), record);
    }

    function test_fill__for_another_solver__takes_from_the_caller_records_the_solver() public {
        vm.prank(solver.addr);
        bytes32 record = settler.fill(ORDER_ID, _output(), deadline, _data(stranger.addr));
        assertEq(record, _record(stranger.addr, block.timestamp));
        assertEq(weth.balanceOf(solver.addr), 99 * AMOUNT_OUT);
    }

    function test_fill__again__returns_the_first_record_and_pays_nothing() public {
        MandateOutput memory output = _output();
        bytes32 first = _fill(output);
        skip(5);
        vm.recordLogs();
        vm.prank(stranger.addr);
        bytes32 second = settler.fill(ORDER_ID, output, deadline, _data(stranger.addr));
        assertEq(second, first);
        assertEq(vm.getRecordedLogs().length, 0);
        assertEq(weth.balanceOf(recipient), AMOUNT_OUT);
    }

    function test_fill__same_output_of_another_order__is_paid_too() public {
        _fill(_output());
        vm.prank(solver.addr);
        settler.fill(keccak256("other"), _output(), deadline, _data(solver.addr));
        assertEq(weth.balanceOf(recipient), 2 * AMOUNT_OUT);
    }

    function test_fill__at_the_deadline__is_paid() public {
        vm.warp(deadline);
        _fill(_output());
        assertEq(weth.balanceOf(recipient), AMOUNT_OUT);
    }

    function test_fill__after_the_deadline__is_refused() public {
        vm.warp(uint256(deadline) + 1);
        _expectRefused(_output(), abi.encodeWithSelector(IOutputSettler.FillDeadline.selector));
    }

    function test_fill__other_chain__is_refused() public {
        MandateOutput memory output = _output();
        output.chainId = 1;
        _expectRefused(output, abi.encodeWithSelector(IOutputSettler.WrongChain.selector, 1, block.chainid));
    }

    function test_fill__other_settler__is_refused() public {
        MandateOutput memory output = _output();
        output.settler = _id(stranger.addr);
        _expectRefused(
            output,
            abi.encodeWithSelector(IOutputSettler.WrongOutputSettler.selector, output.settler, _id(address(settler)))
        );
    }

    function test_fill__no_solver__is_refused() public {
        vm.expectRevert(IOutputSettler.ZeroValue.selector);
        settler.fill(ORDER_ID, _output(), deadline, abi.encode(uint256(0)));
    }

    function testFuzz_fill__filler_data_of_another_length__is_refused(bytes memory data) public {
        vm.assume(data.length != 32 && data.length != 64);
        vm.expectRevert(abi.encodeWithSelector(IOutputSettler.InvalidFillerData.selector, data.length));
        settler.fill(ORDER_ID, _output(), deadline, data);
    }

    function testFuzz_fill__dirty_token_or_recipient__is_refused(uint96 dirt) public {
        vm.assume(dirt != 0);
        MandateOutput memory output = _output();
        output.token |= bytes32(uint256(dirt) << 160);
        _expectRefused(output, abi.encodeWithSelector(Identifier.DirtyAddress.selector, output.token));
        output = _output();
        output.recipient |= bytes32(uint256(dirt) << 160);
        _expectRefused(output, abi.encodeWithSelector(Identifier.DirtyAddress.selector, output.recipient));
    }

    function test_fill__token_without_code_or_returning_false__is_refused() public {
        MandateOutput memory output = _output();
        output.token = _id(stranger.addr);
        _expectRefused(output, "");
        output.token = _id(address(new FalseToken()));
        _expectRefused(
            output,
            abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(uint160(uint256(output.token))))
        );
    }

    function test_fill__not_approved__is_refused() public {
        vm.prank(solver.addr);
        weth.approve(address(settler), AMOUNT_OUT - 1);
        _expectRefused(
            _output(),
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientAllowance.selector, address(settler), AMOUNT_OUT - 1, AMOUNT_OUT
            )
        );
    }

    function test_fill__callback_data_or_context_over_16_bits_of_length__is_refused() public {
        MandateOutput memory output = _output();
        output.callbackData = new bytes(65_536);
        bytes memory data = _data(solver.addr);
        vm.expectRevert(OutputEncoding.CallOutOfRange.selector);
        settler.fill(ORDER_ID, output, deadline, data);
        output.callbackData = "";
        output.context = new bytes(65_536);
        vm.expectRevert(OutputEncoding.ContextOutOfRange.selector);
        settler.fill(ORDER_ID, output, deadline, data);
    }

    function test_output_hash__bytes_moved_from_callback_data_to_context__is_another_output() public view {
        MandateOutput memory a = _output();
        (a.callbackData, a.context) = (hex"0102", hex"03");
        MandateOutput memory b = _output();
        (b.callbackData, b.context) = (hex"01", hex"0203");
        assertNotEq(encodings.outputHash(a), encodings.outputHash(b));
    }

    // -- tokens that move less than they say

    function _expectUnderpaid(address token, uint256 received) private {
        MandateOutput memory output = _output();
        output.token = _id(token);
        _expectRefused(
            output, abi.encodeWithSelector(IOutputSettler.InsufficientOutput.selector, token, received, AMOUNT_OUT)
        );
    }

    function test_fill__token_that_keeps_a_fee__is_refused() public {
        FeeToken token = new FeeToken();
        token.mint(solver.addr, 2 * AMOUNT_OUT);
        token.mint(recipient, AMOUNT_OUT); // what they had before does not count
        vm.prank(solver.addr);
        token.approve(address(settler), type(uint256).max);
        _expectUnderpaid(address(token), AMOUNT_OUT - AMOUNT_OUT / 100);
        assertEq(token.balanceOf(recipient), AMOUNT_OUT);
    }

    function test_fill__token_that_moves_nothing__is_refused() public {
        _expectUnderpaid(address(new LyingToken()), 0);
    }

    function test_fill__token_that_takes_from_the_recipient__is_refused() public {
        TakingToken token = new TakingToken();
        token.mint(recipient, AMOUNT_OUT);
        _expectUnderpaid(address(token), 0);
    }

    function test_fillOrderOutputs__two_outputs_one_payment__is_refused() public {
        OnceToken token = new OnceToken();
        token.mint(solver.addr, 2 * AMOUNT_OUT);
        MandateOutput[] memory outputs = new MandateOutput[](2);
        (outputs[0], outputs[1]) = (_output(), _output());
        (outputs[0].token, outputs[1].token) = (_id(address(token)), _id(address(token)));
        outputs[1].amount = 1;
        vm.startPrank(solver.addr);
        token.approve(address(settler), type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IOutputSettler.InsufficientOutput.selector, address(token), 0, 1));
        settler.fillOrderOutputs(ORDER_ID, outputs, deadline, _data(solver.addr));
    }

    /// @dev Orders with such outputs are not opened, and nobody else's output is paid by it.
    function test_fillOrderOutputs__same_output_twice__is_paid_once() public {
        MandateOutput[] memory outputs = new MandateOutput[](2);
        (outputs[0], outputs[1]) = (_output(), _output());
        vm.prank(solver.addr);
        settler.fillOrderOutputs(ORDER_ID, outputs, deadline, _data(solver.addr));
        assertEq(weth.balanceOf(recipient), AMOUNT_OUT);
    }

    function test_fill__recipient_that_spends_in_its_callback__is_taken_as_paid() public {
        CallbackRecipient target = new CallbackRecipient();
        target.arm(address(weth), abi.encodeCall(weth.transfer, (stranger.addr, AMOUNT_OUT)));
        MandateOutput memory output = _output();
        (output.recipient, output.callbackData) = (_id(address(target)), hex"01");
        _fill(output);
        assertEq(weth.balanceOf(stranger.addr), AMOUNT_OUT);
    }

    /// @dev What the recipient pays itself moves nothing, however honest the token is.
    function test_fill__recipient_is_the_filler__is_recorded() public {
        MandateOutput memory output = _output();
        output.recipient = _id(solver.addr);
        uint256 before = weth.balanceOf(solver.addr);
        _expectFilled(output, AMOUNT_OUT);
        assertEq(_fill(output), _record(solver.addr, block.timestamp));
        assertEq(weth.balanceOf(solver.addr), before);
    }

    function test_fill__recipient_is_the_filler_without_the_amount__is_refused() public {
        MandateOutput memory output = _output();
        (output.recipient, output.amount) = (_id(solver.addr), weth.balanceOf(solver.addr) + 1);
        _expectRefused(
            output,
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientBalance.selector, solver.addr, output.amount - 1, output.amount
            )
        );
    }

    // -- offered amounts

    function testFuzz_fill__offer_not_below_the_order__is_what_gets_paid(uint256 offer) public {
        offer = bound(offer, AMOUNT_OUT, 100 * AMOUNT_OUT);
        MandateOutput memory output = _output();
        _expectFilled(output, offer);
        vm.prank(solver.addr);
        bytes32 record = settler.fill(ORDER_ID, output, deadline, abi.encode(_id(solver.addr), offer));
        assertEq(weth.balanceOf(recipient), offer);
        assertEq(settler.getFillRecord(ORDER_ID, encodings.outputHash(output)), record);
    }

    function testFuzz_fill__offer_below_the_order__is_refused(uint256 offer) public {
        offer = bound(offer, 1, AMOUNT_OUT - 1);
        vm.expectRevert(abi.encodeWithSelector(IOutputSettler.OfferTooLow.selector, offer, AMOUNT_OUT));
        vm.prank(solver.addr);
        settler.fill(ORDER_ID, _output(), deadline, abi.encode(_id(solver.addr), offer));
    }

    // -- native currency

    function test_fill__native_output__pays_and_returns_the_rest() public {
        MandateOutput memory output = _output();
        output.token = 0;
        _expectFilled(output, AMOUNT_OUT);
        vm.prank(solver.addr);
        settler.fill{value: 1 ether}(ORDER_ID, output, deadline, _data(solver.addr));
        assertEq(recipient.balance, AMOUNT_OUT);
        assertEq(solver.addr.balance, 10 ether - AMOUNT_OUT);
        assertEq(address(settler).balance, 0);
    }

    function test_fill__native_output_with_too_little_value__is_refused() public {
        vm.deal(address(settler), 5 ether); // forced in by somebody: not the filler's to spend
        MandateOutput memory output = _output();
        output.token = 0;
        vm.expectRevert(abi.encodeWithSelector(IOutputSettler.InsufficientNative.selector, AMOUNT_OUT, AMOUNT_OUT - 1));
        vm.prank(solver.addr);
        settler.fill{value: AMOUNT_OUT - 1}(ORDER_ID, output, deadline, _data(solver.addr));
    }

    function test_fill__value_with_a_token_output_or_a_second_fill__is_returned() public {
        MandateOutput memory output = _output();
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(solver.addr);
            settler.fill{value: 1 ether}(ORDER_ID, output, deadline, _data(solver.addr));
            assertEq(solver.addr.balance, 10 ether);
        }
    }

    function test_fillOrderOutputs__two_native_outputs__share_the_value() public {
        MandateOutput[] memory outputs = new MandateOutput[](2);
        (outputs[0], outputs[1]) = (_output(), _output());
        (outputs[0].token, outputs[1].token) = (0, 0);
        outputs[1].recipient = _id(stranger.addr);
        vm.startPrank(solver.addr);
        vm.expectRevert(abi.encodeWithSelector(IOutputSettler.InsufficientNative.selector, AMOUNT_OUT, AMOUNT_OUT - 1));
        settler.fillOrderOutputs{value: 2 * AMOUNT_OUT - 1}(ORDER_ID, outputs, deadline, _data(solver.addr));
        settler.fillOrderOutputs{value: 1 ether}(ORDER_ID, outputs, deadline, _data(solver.addr));
        assertEq(recipient.balance, AMOUNT_OUT);
        assertEq(stranger.addr.balance, AMOUNT_OUT);
        assertEq(solver.addr.balance, 10 ether - 2 * AMOUNT_OUT);
    }

    // -- callbacks

    function test_fill__callback_data__is_handed_to_the_recipient_after_the_payment() public {
        CallbackRecipient target = new CallbackRecipient();
        MandateOutput memory output = _output();
        output.recipient = _id(address(target));
        output.callbackData = hex"c0ffee";
        vm.prank(solver.addr);
        settler.fill(ORDER_ID, output, deadline, abi.encode(_id(solver.addr), AMOUNT_OUT + 1));
        assertEq(target.calls(), 1);
        assertEq(target.token(), output.token);
        assertEq(target.amount(), AMOUNT_OUT + 1);
        assertEq(target.data(), hex"c0ffee");
        _fill(output);
        assertEq(target.calls(), 1);
    }

    function test_fill__native_with_callback__pays_and_calls() public {
        CallbackRecipient target = new CallbackRecipient();
        MandateOutput memory output = _output();
        (output.token, output.recipient, output.callbackData) = (0, _id(address(target)), hex"01");
        vm.prank(solver.addr);
        settler.fill{value: AMOUNT_OUT}(ORDER_ID, output, deadline, _data(solver.addr));
        assertEq(address(target).balance, AMOUNT_OUT);
        assertEq(target.token(), 0);
    }

    function test_fill__no_callback_data__does_not_call() public {
        CallbackRecipient target = new CallbackRecipient();
        MandateOutput memory output = _output();
        output.recipient = _id(address(target));
        _fill(output);
        assertEq(target.calls(), 0);
    }

    function test_fill__callback_that_reverts__undoes_the_fill() public {
        CallbackRecipient target = new CallbackRecipient();
        target.arm(address(usdc), abi.encodeCall(usdc.transfer, (address(0), 1)));
        MandateOutput memory output = _output();
        output.recipient = _id(address(target));
        output.callbackData = hex"01";
        _expectRefused(output, abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        assertEq(weth.balanceOf(address(target)), 0);
    }

    function test_fill__callback_that_fills_again__is_refused() public {
        CallbackRecipient target = new CallbackRecipient();
        MandateOutput memory output = _output();
        output.recipient = _id(address(target));
        output.callbackData = hex"01";
        target.arm(address(settler), abi.encodeCall(settler.fill, (ORDER_ID, output, deadline, _data(address(this)))));
        _expectRefused(output, abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector));
    }

    /// @dev The record stands before the payment, so a callback can have it attested; if the fill fails after all, neither
    /// record nor attestation is left.
    function test_fill__callback_that_attests_it__stands_and_falls_with_the_fill() public {
        CallbackRecipient target = new CallbackRecipient();
        MandateOutput[] memory outputs = _bigOrder().outputs;
        (outputs[0].recipient, outputs[0].callbackData) = (_id(address(target)), hex"01");
        uint32 time = uint32(block.timestamp);
        target.arm(
            address(settler), abi.encodeCall(settler.setAttestation, (ORDER_ID, _id(solver.addr), time, outputs[0]))
        );
        bytes32 dataHash = encodings.fillDescriptionHash(_id(solver.addr), ORDER_ID, time, outputs[0]);
        bytes32 self = _id(address(settler));

        outputs[1].amount = usdc.balanceOf(solver.addr) + 1;
        vm.prank(solver.addr);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        settler.fillOrderOutputs(ORDER_ID, outputs, deadline, _data(solver.addr));
        assertFalse(settler.isProven(block.chainid, self, self, dataHash));
        assertEq(target.calls(), 0);

        _fill(outputs[0]);
        assertTrue(settler.isProven(block.chainid, self, self, dataHash));
    }

    // -- fillOrderOutputs

    function test_fillOrderOutputs__nothing_filled__pays_all() public {
        MandateOutput[] memory outputs = _bigOrder().outputs;
        _expectFilled(outputs[0], AMOUNT_OUT);
        _expectFilled(outputs[1], AMOUNT_IN);
        vm.prank(solver.addr);
        settler.fillOrderOutputs(ORDER_ID, outputs, deadline, _data(solver.addr));
        assertEq(weth.balanceOf(recipient), AMOUNT_OUT);
        assertEq(usdc.balanceOf(recipient), AMOUNT_IN);
    }

    function test_fillOrderOutputs__an_offer_per_output__pays_each() public {
        MandateOutput[] memory outputs = _bigOrder().outputs;
        vm.startPrank(solver.addr);
        vm.expectRevert(abi.encodeWithSelector(IOutputSettler.OfferTooLow.selector, 1, AMOUNT_IN));
        settler.fillOrderOutputs(ORDER_ID, outputs, deadline, abi.encode(_id(solver.addr), AMOUNT_OUT, 1));
        vm.expectRevert(abi.encodeWithSelector(IOutputSettler.InvalidFillerData.selector, 64));
        settler.fillOrderOutputs(ORDER_ID, outputs, deadline, abi.encode(_id(solver.addr), AMOUNT_OUT));
        settler.fillOrderOutputs(
            ORDER_ID, outputs, deadline, abi.encode(_id(solver.addr), AMOUNT_OUT + 2, AMOUNT_IN + 3)
        );
        assertEq(weth.balanceOf(recipient), AMOUNT_OUT + 2);
        assertEq(usdc.balanceOf(recipient), AMOUNT_IN + 3);
    }

    function test_fillOrderOutputs__first_output_filled_before__is_refused() public {
        MandateOutput[] memory outputs = _bigOrder().outputs;
        _fill(outputs[0]);
        vm.expectRevert(IOutputSettler.AlreadyFilled.selector);
        vm.prank(solver.addr);
        settler.fillOrderOutputs(ORDER_ID, outputs, deadline, _data(solver.addr));
    }

    function test_fillOrderOutputs__second_output_filled_before__passes_it_over() public {
        MandateOutput[] memory outputs = _bigOrder().outputs;
        bytes32 second = _fill(outputs[1]);
        skip(5);
        vm.prank(solver.addr);
        settler.fillOrderOutputs(ORDER_ID, outputs, deadline, _data(solver.addr));
        assertEq(usdc.balanceOf(recipient), AMOUNT_IN);
        assertEq(weth.balanceOf(recipient), AMOUNT_OUT);
        assertEq(settler.getFillRecord(ORDER_ID, encodings.outputHash(outputs[1])), second);
    }

    function test_fillOrderOutputs__after_the_deadline__is_refused() public {
        vm.warp(uint256(deadline) + 1);
        vm.expectRevert(IOutputSettler.FillDeadline.selector);
        settler.fillOrderOutputs(ORDER_ID, _bigOrder().outputs, deadline, _data(solver.addr));
    }

    /// @dev Whatever is tried afterwards, one order's output is paid once.
    function testFuzz_fill__any_number_of_times__is_paid_once(uint8 tries, uint16 gap, uint256 offer) public {
        MandateOutput memory output = _output();
        _fill(output);
        offer = bound(offer, 1, 100 * AMOUNT_OUT);
        for (uint256 i = 0; i < tries % 4; ++i) {
            skip(gap % 600);
            vm.prank(solver.addr);
            settler.fill(ORDER_ID, output, deadline, abi.encode(_id(stranger.addr), offer));
        }
        assertEq(weth.balanceOf(recipient), AMOUNT_OUT);
    }
}
