// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";

import {OutputSettler} from "../../src/OutputSettler.sol";
import {MandateOutput} from "../../src/types/OrderTypes.sol";
import {Encodings} from "../support/Encodings.sol";
import {Attacker, PlainToken, Pricing, ShortToken} from "./SymbolicParts.sol";

/// @notice The output settler's promises as proofs, with any amounts, times, solvers and offers; on a Dutch curve
/// amounts of 128 and slopes of 96 bits, as in the models.
contract FillProofs is Test {
    address private constant FILLER = address(0xf111e5);
    address private constant RECIPIENT = address(0x5ec1);

    OutputSettler private _settler;
    PlainToken private _token;
    Pricing private _pricing;
    Encodings private _encodings;

    function setUp() public {
        _settler = new OutputSettler();
        _token = new PlainToken();
        _pricing = new Pricing();
        _encodings = new Encodings();
        _token.mint(FILLER, type(uint256).max);
    }

    /// @notice An output is never paid with less than the order's amount, and with exactly what was offered, if anything was.
    function check_an_output_is_never_paid_with_less_than_the_order(
        bytes32 orderId,
        uint256 amount,
        bytes32 solver,
        uint256 offer,
        uint48 deadline,
        uint32 time
    ) public {
        MandateOutput memory output = _output(amount, "");
        vm.warp(time);
        bool filled = _fill(orderId, output, deadline, abi.encode(solver, offer));
        if (!filled) return;
        uint256 paid = _token.balanceOf(RECIPIENT);
        assert(paid >= amount);
        assert(paid == (offer == 0 ? amount : offer));
        assert(time <= deadline);
    }

    /// @notice Nor with less than its Dutch curve asks at that second, be it open to anyone (0x01) or exclusive at first
    /// (0xe1), and then by nobody but its solver.
    function check_a_dutch_output_is_never_paid_below_its_curve(
        bytes32 orderId,
        uint128 amount,
        Curve memory curve,
        bool exclusive,
        uint256 offer,
        bytes32 solver,
        uint32 time
    ) public {
        bytes memory terms = abi.encodePacked(curve.start, curve.stop, uint256(curve.slope));
        MandateOutput memory output = _output(
            amount,
            exclusive ? abi.encodePacked(bytes1(0xe1), curve.exclusiveTo, terms) : abi.encodePacked(bytes1(0x01), terms)
        );
        vm.warp(time);
        if (!_fill(orderId, output, type(uint48).max, abi.encode(solver, offer))) return;
        uint256 paid = _token.balanceOf(RECIPIENT);
        uint256 from = time > curve.start ? time : curve.start;
        uint256 asked = from < curve.stop ? amount + uint256(curve.slope) * (curve.stop - from) : amount;
        assert(asked >= amount);
        assert(paid >= asked);
        assert(paid == (offer == 0 ? asked : offer));
        if (exclusive) assert(solver == curve.exclusiveTo || time >= curve.start);
    }

    /// @notice Nor by a token that moves less than it says, as one that keeps a fee: then nothing is filled.
    function check_a_token_that_moves_less_fills_nothing(
        bytes32 orderId,
        uint256 amount,
        uint256 before,
        uint256 moves,
        bytes32 solver
    ) public {
        ShortToken token = new ShortToken();
        token.move(before);
        token.transferFrom(FILLER, RECIPIENT, before);
        token.move(moves);
        MandateOutput memory output = _output(amount, "");
        output.token = bytes32(uint256(uint160(address(token))));
        bool filled = _fill(orderId, output, type(uint48).max, abi.encode(solver));
        if (filled) assert(moves >= amount && token.balanceOf(RECIPIENT) == before + moves);
        else assert(_settler.getFillRecord(orderId, _encodings.outputHash(output)) == 0);
    }

    /// @notice An output of an order is paid once, whoever tries again with whatever offer at any time.
    function check_an_output_is_paid_at_most_once(
        bytes32 orderId,
        uint256 amount,
        bytes32 solver,
        bytes32 another,
        uint256 offer,
        uint32 time
    ) public {
        MandateOutput memory output = _output(amount, "");
        vm.assume(_fill(orderId, output, type(uint48).max, abi.encode(solver)));
        bytes32 record = _settler.getFillRecord(orderId, _encodings.outputHash(output));
        vm.warp(time);
        _fill(orderId, output, type(uint48).max, abi.encode(another, offer));
        assert(_token.balanceOf(RECIPIENT) == amount);
        assert(_settler.getFillRecord(orderId, _encodings.outputHash(output)) == record);
    }

    /// @notice Nor is it paid twice to a recipient that fills again from within its callback.
    function check_a_callback_cannot_be_paid_twice(bytes32 orderId, uint128 amount, bytes32 solver) public {
        Attacker attacker = new Attacker();
        MandateOutput memory output = _output(amount, "");
        output.recipient = bytes32(uint256(uint160(address(attacker))));
        output.callbackData = hex"00";
        attacker.arm(
            address(_settler), abi.encodeCall(_settler.fill, (orderId, output, type(uint48).max, abi.encode(solver)))
        );
        _token.mint(address(attacker), 1);
        vm.assume(_fill(orderId, output, type(uint48).max, abi.encode(solver)));
        assert(!attacker.succeeded());
        assert(_token.balanceOf(address(attacker)) == uint256(amount) + 1);
    }

    /// @notice The Dutch price is the signed amount and what is left of the curve, never below the signed amount.
    function check_a_dutch_output_follows_its_curve(
        uint128 amount,
        uint32 start,
        uint32 stop,
        uint96 slope,
        uint32 time,
        bytes32 solver
    ) public {
        MandateOutput memory output = _output(amount, abi.encodePacked(bytes1(0x01), start, stop, uint256(slope)));
        vm.warp(time);
        uint256 price = _pricing.resolve(output, solver);
        assert(price >= amount);
        uint256 from = time > start ? time : start;
        if (from >= stop) assert(price == amount);
        else assert(price == amount + uint256(slope) * (stop - from));
    }

    /// @notice Until its time an exclusive output is filled by its solver or by nobody.
    function check_an_exclusive_output_waits_for_its_solver(
        uint256 amount,
        bytes32 exclusiveTo,
        uint32 until,
        uint32 time,
        bytes32 solver
    ) public {
        MandateOutput memory output = _output(amount, abi.encodePacked(bytes1(0xe0), exclusiveTo, until));
        vm.warp(time);
        bool filled = _fill(bytes32(uint256(1)), output, type(uint48).max, abi.encode(solver));
        if (filled) assert(solver == exclusiveTo || time >= until);
        else assert(solver == bytes32(0) || (solver != exclusiveTo && time < until));
    }

    /// @notice The settler attests to fills that happened, by the solver and at the time they did, and to nothing else.
    function check_the_settler_attests_only_to_its_own_fills(
        bytes32 orderId,
        uint256 amount,
        bytes32 solver,
        bytes32 claimant,
        uint32 claimedTime,
        bytes32 claimedOrder
    ) public {
        MandateOutput memory output = _output(amount, "");
        uint32 time = uint32(block.timestamp);
        vm.assume(_fill(orderId, output, type(uint48).max, abi.encode(solver)));
        (bool attested,) = address(_settler)
            .call(abi.encodeCall(_settler.setAttestation, (claimedOrder, claimant, claimedTime, output)));
        assert(attested == (claimedOrder == orderId && claimant == solver && claimedTime == time));
    }

    struct Curve {
        uint32 start;
        uint32 stop;
        uint96 slope;
        bytes32 exclusiveTo;
    }

    function _output(uint256 amount, bytes memory context) private view returns (MandateOutput memory output) {
        output.oracle = bytes32(uint256(uint160(address(_settler))));
        output.settler = output.oracle;
        output.chainId = block.chainid;
        output.token = bytes32(uint256(uint160(address(_token))));
        output.amount = amount;
        output.recipient = bytes32(uint256(uint160(RECIPIENT)));
        output.context = context;
    }

    function _fill(bytes32 orderId, MandateOutput memory output, uint48 deadline, bytes memory data)
        private
        returns (bool filled)
    {
        vm.prank(FILLER);
        (filled,) = address(_settler).call(abi.encodeCall(_settler.fill, (orderId, output, deadline, data)));
    }
}
