// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Test} from "forge-std/Test.sol";

import {OrderStatus} from "../../src/types/OrderTypes.sol";
import {EscrowHandler} from "./EscrowHandler.sol";

/// @notice What holds after any sequence of actions of anybody. How long the campaigns are is in foundry.toml.
contract EscrowInvariants is Test {
    EscrowHandler private _handler;

    function setUp() public {
        _handler = new EscrowHandler();
        _handler.setUp();
        bytes4[] memory actions = new bytes4[](8);
        actions[0] = EscrowHandler.open.selector;
        actions[1] = EscrowHandler.openAgain.selector;
        actions[2] = EscrowHandler.fill.selector;
        actions[3] = EscrowHandler.prove.selector;
        actions[4] = EscrowHandler.finalise.selector;
        actions[5] = EscrowHandler.refund.selector;
        actions[6] = EscrowHandler.changeOrder.selector;
        actions[7] = EscrowHandler.passTime.selector;
        targetSelector(FuzzSelector(address(_handler), actions));
        targetContract(address(_handler));
    }

    /// @notice The escrow's balance of every token is at least the sum of its open orders.
    function invariant_escrow_balance_covers_the_open_orders() public view {
        address[] memory tokens = _handler.tokens();
        for (uint256 i = 0; i < tokens.length; ++i) {
            assertGe(IERC20(tokens[i]).balanceOf(_handler.escrowAddress()), _handler.owed(tokens[i]));
        }
    }

    /// @notice An order pays out once, to the proven solver or back to the user, never both.
    function invariant_an_order_pays_out_once() public view {
        for (uint256 i = 0; i < _handler.entries(); ++i) {
            assertLe(_handler.payouts(i), 1);
        }
    }

    /// @notice Nothing but the order's own life changes its status.
    function invariant_a_stranger_cannot_change_an_order() public view {
        for (uint256 i = 0; i < _handler.entries(); ++i) {
            (OrderStatus booked, OrderStatus actual) = _handler.statuses(i);
            assertEq(uint8(booked), uint8(actual));
        }
    }

    /// @notice Every action kept what the contracts promise: proofs by m distinct attesters before a payout, outputs paid
    /// at most once and never with less than the order, bad tokens and callbacks harming only themselves.
    function invariant_no_promise_was_broken() public view {
        assertEq(_handler.violation(), "");
    }

    /// @notice The output settler holds nothing between calls.
    function invariant_output_settler_holds_nothing() public view {
        address[] memory tokens = _handler.tokens();
        for (uint256 i = 0; i < tokens.length; ++i) {
            assertEq(IERC20(tokens[i]).balanceOf(_handler.settlerAddress()), 0);
        }
        assertEq(_handler.settlerAddress().balance, 0);
    }

    /// @notice A campaign in which nothing happens proves nothing.
    function test_handler__plain_life_of_two_orders__settles_one_and_refunds_the_other() public {
        _handler.open(0, 0, 5, 4);
        _handler.fill(0, 0, 0, false);
        _handler.prove(0, 0, 1, false);
        _handler.finalise(0, 2, 4);
        assertEq(_handler.claimed(), 1);
        _handler.open(1, 2, 5, 5);
        for (uint256 i = 0; i < 8; ++i) {
            _handler.passTime(20 minutes);
        }
        _handler.refund(0);
        assertEq(_handler.refunded(), 1);
        assertEq(_handler.violation(), "");
    }

    function test_handler__order_proven_by_attesters__settles() public {
        _handler.open(0, 0, 5, 1);
        _handler.fill(0, 1, 0, false);
        _handler.prove(0, 2, 2, false);
        _handler.finalise(0, 2, 4);
        assertEq(_handler.claimed(), 0);
        _handler.prove(0, 0, 2, false);
        _handler.finalise(0, 2, 4);
        assertEq(_handler.claimed(), 1);
        assertEq(_handler.violation(), "");
    }

    /// @notice Random actions reach every outcome: what the campaigns find to hold, they have seen at work.
    function test_handler__random_actions__reach_every_outcome() public {
        uint256[8] memory reached;
        for (uint256 round = 0; round < 4; ++round) {
            setUp();
            for (uint256 i = 0; i < 500; ++i) {
                _act(keccak256(abi.encode(round, i)));
            }
            assertEq(_handler.violation(), "");
            reached[0] += _handler.opened();
            reached[1] += _handler.openedBySignature();
            reached[2] += _handler.filled();
            reached[3] += _handler.attestedWhileFilling();
            reached[4] += _handler.refusedProofs();
            reached[5] += _handler.claimed();
            reached[6] += _handler.claimedWithCall();
            reached[7] += _handler.refunded();
        }
        for (uint256 i = 0; i < reached.length; ++i) {
            assertGt(reached[i], 0, vm.toString(i));
        }
    }

    function _act(bytes32 seed) private {
        uint256[4] memory word;
        for (uint256 j = 0; j < 4; ++j) {
            word[j] = uint256(keccak256(abi.encode(seed, j)));
        }
        uint256 action = uint256(seed) % 8;
        if (action == 0) _handler.open(word[0], word[1], word[2], word[3]);
        if (action == 1) _handler.openAgain(word[0]);
        if (action == 2) _handler.fill(word[0], word[1], word[2], word[3] % 2 == 0);
        if (action == 3) _handler.prove(word[0], word[1], word[2], word[3] % 2 == 0);
        if (action == 4) _handler.finalise(word[0], word[1], word[2]);
        if (action == 5) _handler.refund(word[0]);
        if (action == 6) _handler.changeOrder(word[0], word[1]);
        if (action == 7) _handler.passTime(word[0]);
    }
}
