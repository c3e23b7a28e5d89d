// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Vm} from "forge-std/Vm.sol";

import {LocalToken} from "../../src/LocalToken.sol";
import {MandateOutput, OrderStatus, SolveParams, StandardOrder} from "../../src/types/OrderTypes.sol";
import {CallbackRecipient, FalseToken, FeeToken, LyingToken, ReentrantToken} from "../support/Doubles.sol";
import {Fixture} from "../support/Fixture.sol";

/// @notice Does to the contracts what anybody might do, in any order, and keeps its own books of what must be true.
/// @dev No action reverts: what is refused leaves the books as they were, and what should have been refused and was not
/// is a violation, which the invariants look for.
contract EscrowHandler is Fixture {
    /// @dev What the books say of one order.
    struct Entry {
        // abi.encode(StandardOrder): the compiler cannot copy nested arrays to storage.
        bytes order;
        bytes32 orderId;
        // Paid to a solver's destination, and back to the user.
        uint256 claims;
        uint256 refunds;
        // Times the output was paid, and by whom and when first.
        uint256 fills;
        bytes32 solver;
        uint32 filledAt;
        // Whether the fill was made provable in one of the two honest ways.
        bool proven;
    }

    uint256 private constant OPENED_AT_MOST = 60;

    Entry[] private _entries;
    address[] private _users;
    address[] private _solvers;
    address[] private _tokens;
    FeeToken private _feeToken;
    FalseToken private _falseToken;
    LyingToken private _lyingToken;
    ReentrantToken private _reentrantToken;
    CallbackRecipient private _callback;

    /// @notice Sum of the inputs of all open orders, per token.
    mapping(address token => uint256) public owed;
    /// @notice First promise that was broken; empty while all hold.
    string public violation;
    uint256 public opened;
    uint256 public filled;
    uint256 public claimed;
    uint256 public refunded;

    function setUp() public override {
        super.setUp();
        _users = [user.addr, address(0xa11ce), address(0xb0b)];
        _solvers = [solver.addr, address(0x501e4)];
        _feeToken = new FeeToken();
        _falseToken = new FalseToken();
        _lyingToken = new LyingToken();
        _reentrantToken = new ReentrantToken();
        _callback = new CallbackRecipient();
        _tokens = [
            address(usdc),
            address(weth),
            address(_feeToken),
            address(_falseToken),
            address(_lyingToken),
            address(_reentrantToken)
        ];
        for (uint256 i = 0; i < _users.length; ++i) {
            _provide(_users[i], address(escrow));
        }
        for (uint256 i = 0; i < _solvers.length; ++i) {
            _provide(_solvers[i], address(settler));
        }
    }

    // -- actions

    /// @notice A user escrows an order in one of the tokens, good or bad, proven by one of the two oracles.
    function open(uint256 who, uint256 token, uint256 amount, uint256 shape) external {
        if (_entries.length >= OPENED_AT_MOST) return;
        StandardOrder memory order = _makeOrder(who, token, amount, shape);
        address input = address(uint160(order.inputs[0][0]));
        uint256 before = IERC20(input).balanceOf(address(escrow));
        if (shape % 7 == 0) _reentrantToken.arm(address(escrow), abi.encodeCall(escrow.open, (order)));
        vm.prank(order.user);
        try escrow.open(order) {
            uint256 received = IERC20(input).balanceOf(address(escrow)) - before;
            _require(received >= order.inputs[0][1], "opened with less than the order's inputs");
            owed[input] += order.inputs[0][1];
            Entry storage entry = _entries.push();
            entry.order = abi.encode(order);
            entry.orderId = escrow.orderIdentifier(order);
            ++opened;
        } catch {}
    }

    /// @notice The same order again.
    function openAgain(uint256 which) external {
        if (_entries.length == 0) return;
        StandardOrder memory order = _decode(_pick(which));
        vm.prank(order.user);
        try escrow.open(order) {
            _require(false, "opened twice");
        } catch {}
    }

    /// @notice A solver pays the output, with or without an offer, first or again.
    function fill(uint256 which, uint256 who, uint256 offer, bool offers) external {
        if (_entries.length == 0) return;
        Entry storage entry = _pick(which);
        StandardOrder memory order = _decode(entry);
        MandateOutput memory output = order.outputs[0];
        address by = _solvers[who % _solvers.length];
        uint256 least = _priceNow(output);
        offer = bound(offer, 0, 2 * least);
        bytes memory data = offers ? abi.encode(_id(by), offer) : abi.encode(_id(by));
        address receiver = address(uint160(uint256(output.recipient)));
        _callback.arm(address(0), "");
        if (offer % 5 == 0) {
            bytes memory again = abi.encodeCall(settler.fill, (entry.orderId, output, order.fillDeadline, data));
            _callback.arm(address(settler), again);
        }
        uint256 before = weth.balanceOf(receiver);
        vm.prank(by);
        try settler.fill(entry.orderId, output, order.fillDeadline, data) {
            uint256 paid = weth.balanceOf(receiver) - before;
            if (entry.fills > 0) {
                _require(paid == 0, "an output was paid twice");
                return;
            }
            _require(paid >= least && paid >= output.amount, "an output was paid with less than the order asks");
            if (offers && offer > 0) _require(paid == offer, "not the offered amount was paid");
            _require(block.timestamp <= order.fillDeadline, "filled after the deadline");
            entry.fills = 1;
            entry.solver = _id(by);
            entry.filledAt = uint32(block.timestamp);
            ++filled;
        } catch {}
    }

    /// @notice The fill is made provable: by the settler itself, or by attesters, of whom some may sign twice, sign
    /// something else, or not sign.
    function prove(uint256 which, uint256 first, uint256 second, bool lie) external {
        if (_entries.length == 0) return;
        Entry storage entry = _pick(which);
        StandardOrder memory order = _decode(entry);
        MandateOutput memory output = order.outputs[0];
        bytes32 claimant = lie ? _id(stranger.addr) : entry.solver;
        bool honest = entry.fills > 0 && !lie;
        if (order.inputOracle == address(settler)) {
            try settler.setAttestation(entry.orderId, claimant, entry.filledAt, output) {
                _require(honest, "the settler attested to a fill that never was");
                entry.proven = true;
            } catch {}
            return;
        }
        if (!honest) return; // attesters sign what they have seen and nothing else
        bytes32 dataHash = encodings.fillDescriptionHash(claimant, entry.orderId, entry.filledAt, output);
        bytes32 digest = oracle.attestationDigest(output.chainId, output.oracle, output.settler, dataHash);
        (first, second) = (first % (attesters.length + 1), second % (attesters.length + 1));
        bytes[] memory signatures = new bytes[](2);
        signatures[0] = _signatureOf(first, digest);
        signatures[1] = _signatureOf(second, digest);
        if (first == second && first % 2 == 0) {
            bytes[] memory one = new bytes[](1);
            one[0] = signatures[0];
            signatures = one;
        }
        try oracle.submit(output.chainId, output.oracle, output.settler, dataHash, signatures) {
            bool enough = first != second && first < attesters.length && second < attesters.length;
            _require(enough || entry.proven, "proven without enough distinct attesters");
            entry.proven = true;
        } catch {}
    }

    /// @notice Somebody, the solver or not, wants the inputs, for the true or a wrong time, with or without a callback.
    function finalise(uint256 which, uint256 who, uint256 shape) external {
        if (_entries.length == 0) return;
        Entry storage entry = _pick(which);
        StandardOrder memory order = _decode(entry);
        address by = address(uint160(uint256(entry.solver)));
        if (who % 4 == 0) by = stranger.addr;
        if (who % 4 == 1) by = _solvers[shape % _solvers.length];
        SolveParams[] memory params = new SolveParams[](1);
        params[0].solver = shape % 8 == 1 ? _id(by) : entry.solver;
        params[0].timestamp = shape % 8 == 2 ? entry.filledAt + 1 : entry.filledAt;
        bytes memory call = shape % 6 == 0 ? bytes(hex"00") : bytes("");
        _callback.arm(address(0), "");
        if (call.length > 0) _callback.arm(address(escrow), abi.encodeCall(escrow.refund, (order)));
        address token = address(uint160(order.inputs[0][0]));
        uint256 before = IERC20(token).balanceOf(address(_callback));
        vm.prank(by);
        try escrow.finalise(order, params, _id(address(_callback)), call) {
            _require(entry.claims + entry.refunds == 0, "an order paid out twice");
            _require(entry.fills == 1, "finalised without a fill");
            _require(entry.proven, "finalised without proof");
            _require(
                _id(by) == entry.solver && params[0].solver == entry.solver, "finalised by another than the solver"
            );
            _require(entry.filledAt <= order.fillDeadline, "finalised with a late fill");
            uint256 received = IERC20(token).balanceOf(address(_callback)) - before;
            _require(received == order.inputs[0][1], "not the inputs were paid out");
            entry.claims = 1;
            owed[token] -= order.inputs[0][1];
            ++claimed;
        } catch {}
    }

    /// @notice Anybody asks for a refund, early or late, before or after another way out.
    function refund(uint256 which) external {
        if (_entries.length == 0) return;
        Entry storage entry = _pick(which);
        StandardOrder memory order = _decode(entry);
        address token = address(uint160(order.inputs[0][0]));
        uint256 before = IERC20(token).balanceOf(order.user);
        vm.prank(stranger.addr);
        try escrow.refund(order) {
            _require(entry.claims + entry.refunds == 0, "an order paid out twice");
            _require(block.timestamp > order.expires, "refunded before its expiry");
            uint256 received = IERC20(token).balanceOf(order.user) - before;
            _require(received == order.inputs[0][1], "not the inputs were refunded to the user");
            entry.refunds = 1;
            owed[token] -= order.inputs[0][1];
            ++refunded;
        } catch {}
    }

    /// @notice A stranger tries an order that differs in one field from one that is open.
    function changeOrder(uint256 which, uint256 field) external {
        if (_entries.length == 0) return;
        Entry storage entry = _pick(which);
        StandardOrder memory order = _decode(entry);
        field %= 7;
        if (field == 0) order.user = stranger.addr;
        if (field == 1) order.expires = uint32(block.timestamp - 1);
        if (field == 2) order.inputOracle = stranger.addr;
        if (field == 3) order.inputs[0][1] += 1;
        if (field == 4) order.inputs[0][0] = uint256(uint160(address(weth))) | (uint256(1) << 200);
        if (field == 5) order.outputs[0].recipient = _id(stranger.addr);
        if (field == 6) order.outputs[0].amount = 1;
        if (escrow.orderIdentifier(order) == entry.orderId) return; // the new value is the old one
        SolveParams[] memory params = new SolveParams[](1);
        params[0] = SolveParams(entry.filledAt, entry.solver);
        vm.startPrank(stranger.addr);
        try escrow.refund(order) {
            _require(false, "a changed order was refunded");
        } catch {}
        params[0].solver = _id(stranger.addr);
        try escrow.finalise(order, params, _id(stranger.addr), "") {
            _require(false, "a changed order was finalised");
        } catch {}
        vm.stopPrank();
    }

    function passTime(uint256 duration) external {
        vm.warp(block.timestamp + bound(duration, 1, 20 minutes));
    }

    // -- books

    function entries() external view returns (uint256) {
        return _entries.length;
    }

    function tokens() external view returns (address[] memory) {
        return _tokens;
    }

    function escrowAddress() external view returns (address) {
        return address(escrow);
    }

    function settlerAddress() external view returns (address) {
        return address(settler);
    }

    /// @notice Status of an order as the books have it, and as the escrow has it.
    function statuses(uint256 which) external view returns (OrderStatus booked, OrderStatus actual) {
        Entry storage entry = _entries[which];
        booked = OrderStatus.Deposited;
        if (entry.claims > 0) booked = OrderStatus.Claimed;
        if (entry.refunds > 0) booked = OrderStatus.Refunded;
        actual = escrow.orderStatus(entry.orderId);
    }

    function payouts(uint256 which) external view returns (uint256) {
        return _entries[which].claims + _entries[which].refunds;
    }

    // -- inside

    function _require(bool kept, string memory breach) private {
        if (!kept && bytes(violation).length == 0) violation = breach;
    }

    function _makeOrder(uint256 who, uint256 token, uint256 amount, uint256 shape)
        private
        view
        returns (StandardOrder memory order)
    {
        order = _order();
        order.user = _users[who % _users.length];
        order.nonce = _entries.length;
        // Half of them in good tokens, or little would ever be settled.
        uint256 index = token % 2 == 0 ? (token / 2) % 2 : (token / 2) % _tokens.length;
        order.inputs[0] = [uint256(uint160(_tokens[index])), bound(amount, 0, 1e20)];
        if (shape % 2 == 1) order.inputOracle = address(oracle);
        MandateOutput memory output = order.outputs[0];
        output.amount = bound(amount >> 128, 0, 1e18);
        if (shape % 3 == 1) {
            uint32 from = uint32(block.timestamp + shape % 600);
            output.context = abi.encodePacked(bytes1(0x01), from, from + uint32(shape % 1800), uint256(1e12));
        }
        if (shape % 3 == 2) {
            uint32 until = uint32(block.timestamp + shape % 600);
            output.context = abi.encodePacked(bytes1(0xe0), _id(_solvers[0]), until);
        }
        if (shape % 5 == 0) {
            output.recipient = _id(address(_callback));
            output.callbackData = hex"c0ffee";
        }
    }

    /// @dev What an output costs now, written down a second time, from the specification and not from the code.
    function _priceNow(MandateOutput memory output) private view returns (uint256) {
        if (output.context.length != 41) return output.amount;
        (uint32 from, uint32 to) = _dutchTimes(output.context);
        uint256 time = block.timestamp < from ? from : block.timestamp;
        return time >= to ? output.amount : output.amount + (to - time) * 1e12;
    }

    function _dutchTimes(bytes memory context) private pure returns (uint32 from, uint32 to) {
        for (uint256 i = 1; i < 5; ++i) {
            from = (from << 8) | uint8(context[i]);
            to = (to << 8) | uint8(context[i + 4]);
        }
    }

    function _signatureOf(uint256 who, bytes32 digest) private returns (bytes memory) {
        return who < attesters.length ? _sign(attesters[who], digest) : _sign(stranger, digest);
    }

    /// @dev Mostly one of the latest orders, so that one and the same meets several actions.
    function _pick(uint256 which) private view returns (Entry storage) {
        uint256 count = _entries.length;
        uint256 back = which % 4 == 0 ? which % count : which % (count < 4 ? count : 4);
        return _entries[count - 1 - back];
    }

    function _decode(Entry storage entry) private view returns (StandardOrder memory) {
        return abi.decode(entry.order, (StandardOrder));
    }

    function _provide(address account, address spender) private {
        usdc.mint(account, 1e24);
        weth.mint(account, 1e24);
        _feeToken.mint(account, 1e24);
        _reentrantToken.mint(account, 1e24);
        vm.startPrank(account);
        usdc.approve(spender, type(uint256).max);
        weth.approve(spender, type(uint256).max);
        _feeToken.approve(spender, type(uint256).max);
        _reentrantToken.approve(spender, type(uint256).max);
        vm.stopPrank();
    }
}
