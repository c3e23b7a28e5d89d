// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {OutputContext} from "../src/libraries/OutputContext.sol";
import {MandateOutput} from "../src/types/OrderTypes.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice What the kinds of outputs cost, and who may fill them when.
contract OutputContextTest is Fixture {
    bytes32 private constant ORDER_ID = keccak256("order");

    /// @dev Fills as the solver and returns what the recipient got.
    function _paid(bytes memory context) private returns (uint256) {
        return _paidBy(context, _id(solver.addr));
    }

    function _paidBy(bytes memory context, bytes32 who) private returns (uint256) {
        MandateOutput memory output = _output();
        output.context = context;
        uint256 before = weth.balanceOf(recipient);
        vm.prank(solver.addr);
        settler.fill(ORDER_ID, output, uint48(block.timestamp), abi.encode(who));
        return weth.balanceOf(recipient) - before;
    }

    function _dutch(uint256 start, uint256 stop, uint256 slope) private pure returns (bytes memory) {
        return abi.encodePacked(hex"01", uint32(start), uint32(stop), slope);
    }

    function test_limit__empty_or_one_byte__costs_the_signed_amount() public {
        assertEq(_paid(""), AMOUNT_OUT);
        assertEq(_paid(hex"00"), AMOUNT_OUT);
    }

    function test_dutch__before_start__costs_the_whole_premium() public {
        assertEq(_paid(_dutch(block.timestamp + 10, block.timestamp + 110, 1e9)), AMOUNT_OUT + 100e9);
    }

    function test_dutch__at_the_fence_posts__falls_from_start_to_stop() public {
        uint256 start = block.timestamp;
        bytes memory context = _dutch(start, start + 100, 1e9);
        uint256 snapshot = vm.snapshotState();
        uint256[5] memory elapsed = [uint256(0), 1, 99, 100, 101];
        uint256[5] memory premium = [uint256(100e9), 99e9, 1e9, 0, 0];
        for (uint256 i = 0; i < elapsed.length; ++i) {
            vm.warp(start + elapsed[i]);
            assertEq(_paid(context), AMOUNT_OUT + premium[i]);
            vm.revertToState(snapshot);
        }
    }

    function testFuzz_dutch__any_curve_and_time__never_below_the_order_and_never_rising(
        uint32 start,
        uint32 length,
        uint32 earlier,
        uint32 later,
        uint256 slope
    ) public {
        slope = bound(slope, 0, 1e9);
        uint256 begin = bound(start, block.timestamp - 1000, block.timestamp + 1000);
        uint256 stop = begin + length % 1000;
        uint256 first = bound(earlier, block.timestamp - 2000, block.timestamp + 3000);
        uint256 second = bound(later, first, block.timestamp + 3000);
        uint256 snapshot = vm.snapshotState();
        vm.warp(first);
        uint256 dear = _paid(_dutch(begin, stop, slope));
        vm.revertToState(snapshot);
        vm.warp(second);
        uint256 cheap = _paid(_dutch(begin, stop, slope));
        assertGe(dear, cheap);
        assertGe(cheap, AMOUNT_OUT);
        assertLe(dear, AMOUNT_OUT + slope * (stop - begin));
    }

    function testFuzz_dutch__stop_not_after_start__costs_the_signed_amount(uint32 back, uint256 slope) public {
        uint256 start = block.timestamp + 50;
        assertEq(_paid(_dutch(start, start - bound(back, 0, start), slope)), AMOUNT_OUT);
    }

    function test_dutch__premium_over_256_bits__is_refused() public {
        MandateOutput memory output = _output();
        output.context = _dutch(block.timestamp, block.timestamp + 2, type(uint256).max);
        vm.expectRevert();
        settler.fill(ORDER_ID, output, uint48(block.timestamp), abi.encode(_id(solver.addr)));
    }

    function test_exclusive__others_before_the_time__are_refused() public {
        MandateOutput memory output = _output();
        output.context = abi.encodePacked(hex"e0", _id(solver.addr), uint32(block.timestamp + 10));
        skip(9);
        vm.expectRevert(abi.encodeWithSelector(OutputContext.ExclusiveTo.selector, _id(solver.addr)));
        vm.prank(solver.addr);
        settler.fill(ORDER_ID, output, uint48(block.timestamp), abi.encode(_id(stranger.addr)));
    }

    function test_exclusive__others_at_the_time__may_fill() public {
        bytes memory context = abi.encodePacked(hex"e0", _id(solver.addr), uint32(block.timestamp + 10));
        skip(10);
        assertEq(_paidBy(context, _id(stranger.addr)), AMOUNT_OUT);
    }

    function test_exclusive__the_solver__may_fill_at_once() public {
        assertEq(_paid(abi.encodePacked(hex"e0", _id(solver.addr), uint32(block.timestamp + 10))), AMOUNT_OUT);
    }

    function test_exclusive_dutch__the_solver_before_start__pays_the_whole_premium() public {
        uint32 start = uint32(block.timestamp + 10);
        bytes memory context = abi.encodePacked(hex"e1", _id(solver.addr), start, start + 100, uint256(1e9));
        assertEq(_paid(context), AMOUNT_OUT + 100e9);
    }

    function test_exclusive_dutch__others__only_from_start_on_the_falling_price() public {
        uint32 start = uint32(block.timestamp + 10);
        MandateOutput memory output = _output();
        output.context = abi.encodePacked(hex"e1", _id(solver.addr), start, start + 100, uint256(1e9));
        vm.warp(start - 1);
        vm.expectRevert(abi.encodeWithSelector(OutputContext.ExclusiveTo.selector, _id(solver.addr)));
        settler.fill(ORDER_ID, output, uint48(block.timestamp), abi.encode(_id(stranger.addr)));
        vm.warp(start + 30);
        assertEq(_paidBy(output.context, _id(stranger.addr)), AMOUNT_OUT + 70e9);
    }

    function test_offer__below_the_dutch_price__is_refused() public {
        MandateOutput memory output = _output();
        output.context = _dutch(block.timestamp, block.timestamp + 100, 1e9);
        vm.expectRevert();
        vm.prank(solver.addr);
        settler.fill(ORDER_ID, output, uint48(block.timestamp), abi.encode(_id(solver.addr), AMOUNT_OUT + 100e9 - 1));
        vm.prank(solver.addr);
        settler.fill(ORDER_ID, output, uint48(block.timestamp), abi.encode(_id(solver.addr), AMOUNT_OUT + 100e9));
        assertEq(weth.balanceOf(recipient), AMOUNT_OUT + 100e9);
    }

    function testFuzz_context__unknown_kind_or_length__is_refused(bytes1 kind, uint8 length) public {
        vm.assume(length > 0);
        bool known = (kind == 0x00 && length == 1) || (kind == 0x01 && length == 41) || (kind == 0xe0 && length == 37)
            || (kind == 0xe1 && length == 73);
        vm.assume(!known);
        _expectNotImplemented(kind, length);
    }

    function test_context__known_kinds_a_byte_off__are_refused() public {
        bytes4 kinds = 0x0001e0e1;
        uint256[4] memory lengths = [uint256(1), 41, 37, 73];
        for (uint256 i = 0; i < 4; ++i) {
            _expectNotImplemented(kinds[i], lengths[i] + 1);
            if (lengths[i] > 1) _expectNotImplemented(kinds[i], lengths[i] - 1);
            for (uint256 j = 0; j < 4; ++j) {
                if (j != i) _expectNotImplemented(kinds[i], lengths[j]);
            }
        }
    }

    function _expectNotImplemented(bytes1 kind, uint256 length) private {
        MandateOutput memory output = _output();
        output.context = new bytes(length);
        output.context[0] = kind;
        vm.expectRevert(OutputContext.NotImplemented.selector);
        settler.fill(ORDER_ID, output, uint48(block.timestamp), abi.encode(_id(solver.addr)));
    }
}
