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
    Vm.Wallet[] private _users;
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
    uint256 public openedBySignature;
    uint256 public filled;
    uint256 public attestedWhileFilling;
    uint256 public claimed;
    uint256 public claimedWithCall;
    uint256 public refusedProofs;
    uint256 public refunded;

    function setUp() public override {
        super.setUp();
        _users.push(user);
        _users.push(vm.createWallet("alice"));
        _users.push(vm.createWallet("bob"));
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
            _provide(_users[i].addr, address(escrow));
            _provide(_users[i].addr, PERMIT2);
        }
        for (uint256 i = 0; i < _solvers.length; ++i) {
            _provide(_solvers[i], address(settler));
        }
    }

    // -- actions

    /// @notice An order in one of the tokens, good or bad, proven by one of the two oracles, is escrowed: by its user, or by
    /// anybody with a signature of its user, which may be one over another order. It may ask for its output twice.
    function open(uint256 who, uint256 token, uint256 amount, uint256 shape) external {
        if (_entries.length >= OPENED_AT_MOST) return;
        StandardOrder memory order = _makeOrder(who, token, amount, shape);
        address input = address(uint160(order.inputs[0][0]));
        uint256 before = IERC20(input).balanceOf(address(escrow));
        if (shape % 7 == 0) _reentrantToken.arm(address(escrow), abi.encodeCall(escrow.open, (order)));
        (address by, bytes memory call, bool allowed) = _opening(order, _users[who % _users.length], (shape / 8) % 5);
        vm.prank(by);
        (bool done,) = address(escrow).call(call);
        if (!done) return;
        uint256 received = IERC20(input).balanceOf(address(escrow)) - before;
        _require(received >= order.inputs[0][1], "opened with less than the order's inputs");
        _require(allowed, "opened with a signature of another order");
        _require(order.outputs.length == 1, "opened with the same output twice");
        owed[input] += order.inputs[0][1];
        Entry storage entry = _entries.push();
        entry.order = abi.encode(order);
        entry.orderId = escrow.orderIdentifier(order);
        ++opened;
        if (by != order.user) ++openedBySignature;
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
        bool attests = _armForFill(entry.orderId, order, by, (who / 8) % 3, data);
        uint256 before = _received(output);
        vm.prank(by);
        try settler.fill(entry.orderId, output, order.fillDeadline, data) {
            uint256 paid = _received(output) - before;
            if (entry.fills > 0) {
                _require(paid == 0, "an output was paid twice");
                return;
            }
            _require(paid >= least && paid >= output.amount, "an output was paid with less than the order asks");
            if (offers && offer > 0) _require(paid == offer, "not the offered amount was paid");
            _require(block.timestamp <= order.fillDeadline, "filled after the deadline");
            _require(_mayFill(output, by), "an output was filled before its time by another than its solver");
            if (attests && output.callbackData.length > 0) {
                ++attestedWhileFilling;
                entry.proven = order.inputOracle == address(settler);
            }
            entry.fills = 1;
            entry.solver = _id(by);
            entry.filledAt = uint32(block.timestamp);
            ++filled;
        } catch {}
    }

    /// @notice The fill is made provable: by the settler itself, or by signatures, of which some may be missing, be of one
    /// attester twice, of a stranger, or of another fill than the one they are handed over for, which may be a lie.
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
        // Attesters sign what they have seen and nothing else, but anybody can hand that over as a proof of this.
        Entry storage seen = honest && (first / 16) % 8 != 7 ? entry : _pick(second / 16);
        if (seen.fills == 0) return;
        bytes32 dataHash = encodings.fillDescriptionHash(claimant, entry.orderId, entry.filledAt, output);
        bytes32 signedHash = _statementOf(seen);
        bytes32 digest = oracle.attestationDigest(output.chainId, output.oracle, output.settler, signedHash);
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
            _require(honest, "a fill was proven that never was");
            _require(signedHash == dataHash || entry.proven, "proven by signatures of something else");
            entry.proven = true;
        } catch {
            ++refusedProofs;
        }
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
        bytes memory call = shape % 3 == 0 ? bytes(hex"00") : bytes("");
        _callback.arm(address(0), "");
        if (shape % 6 == 0) _callback.arm(address(escrow), abi.encodeCall(escrow.refund, (order)));
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
            if (call.length > 0) ++claimedWithCall;
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
        order.user = _users[who % _users.length].addr;
        order.nonce = _entries.length;
        // Half of them in good tokens, or little would ever be settled.
        uint256 index = token % 2 == 0 ? (token / 2) % 2 : (token / 2) % _tokens.length;
        order.inputs[0] = [uint256(uint160(_tokens[index])), bound(amount, 0, 1e20)];
        if (shape % 2 == 1) order.inputOracle = address(oracle);
        MandateOutput memory output = order.outputs[0];
        output.amount = bound(amount >> 128, 0, 1e18);
        output.context = _makeContext((shape / 2) % 4, shape);
        if (shape % 13 == 6) output.token = _id(address(_feeToken));
        if (shape % 13 == 7) output.token = _id(address(_lyingToken));
        if (shape % 3 == 0) {
            output.recipient = _id(address(_callback));
            output.callbackData = hex"c0ffee";
        }
        if (shape % 11 == 3) {
            order.outputs = new MandateOutput[](2);
            (order.outputs[0], order.outputs[1]) = (output, output);
        }
    }

    function _makeContext(uint256 kind, uint256 shape) private view returns (bytes memory) {
        uint32 from = uint32(block.timestamp + shape % 600);
        bytes memory curve = abi.encodePacked(from, from + uint32(shape % 1800), uint256(1e12));
        if (kind == 1) return abi.encodePacked(bytes1(0x01), curve);
        if (kind == 2) return abi.encodePacked(bytes1(0xe0), _id(_solvers[0]), from);
        if (kind == 3) return abi.encodePacked(bytes1(0xe1), _id(_solvers[0]), curve);
        return "";
    }

    /// @return by Who makes the call.
    /// @return call The call that opens the order.
    /// @return allowed Whether it may: the owner makes it, or has signed for it.
    function _opening(StandardOrder memory order, Vm.Wallet memory owner, uint256 way)
        private
        returns (address by, bytes memory call, bool allowed)
    {
        if (way == 0) return (owner.addr, abi.encodeCall(escrow.open, (order)), true);
        allowed = way < 3;
        MandateOutput memory output = order.outputs[0];
        if (!allowed) output.amount += 1; // what the owner signs asks for more than what is opened with it
        bytes memory signature;
        address token = address(uint160(order.inputs[0][0]));
        if (way % 2 == 1) {
            signature = _permit2Signature(owner, order);
        } else if (token == address(usdc) || token == address(weth)) {
            signature = abi.encodePacked(hex"01", _erc3009Signature(owner, order, 0));
        } else {
            // These know no authorisations; the lying one says yes to any.
            (signature, allowed) = (abi.encodePacked(hex"01", new bytes(65)), true);
        }
        if (way >= 3) output.amount -= 1;
        return (stranger.addr, abi.encodeCall(escrow.openFor, (order, owner.addr, signature)), allowed);
    }

    /// @dev What the recipient does if it is called back: nothing, fill again, or prove the fill that is under way.
    /// @return attests Whether it is the last.
    function _armForFill(bytes32 orderId, StandardOrder memory order, address by, uint256 deed, bytes memory data)
        private
        returns (bool attests)
    {
        MandateOutput memory output = order.outputs[0];
        _callback.arm(address(0), "");
        if (deed == 1) {
            _callback.arm(address(settler), abi.encodeCall(settler.fill, (orderId, output, order.fillDeadline, data)));
        }
        attests = deed == 2;
        if (attests) {
            uint32 time = uint32(block.timestamp);
            _callback.arm(address(settler), abi.encodeCall(settler.setAttestation, (orderId, _id(by), time, output)));
        }
    }

    function _received(MandateOutput memory output) private view returns (uint256) {
        return IERC20(address(uint160(uint256(output.token)))).balanceOf(address(uint160(uint256(output.recipient))));
    }

    /// @dev What honest attesters sign of an order that was filled.
    function _statementOf(Entry storage entry) private view returns (bytes32) {
        StandardOrder memory order = _decode(entry);
        return encodings.fillDescriptionHash(entry.solver, entry.orderId, entry.filledAt, order.outputs[0]);
    }

    /// @dev What an output costs now, written down a second time, from the specification and not from the code.
    function _priceNow(MandateOutput memory output) private view returns (uint256) {
        uint256 length = output.context.length;
        if (length != 41 && length != 73) return output.amount;
        uint256 from = _timeIn(output.context, length - 40);
        uint256 to = _timeIn(output.context, length - 36);
        uint256 time = block.timestamp < from ? from : block.timestamp;
        return time >= to ? output.amount : output.amount + (to - time) * 1e12;
    }

    /// @dev Exclusive outputs name the first solver, and when it ends.
    function _mayFill(MandateOutput memory output, address by) private view returns (bool) {
        bytes memory context = output.context;
        if (context.length == 0 || uint8(context[0]) < 0xe0) return true;
        return by == _solvers[0] || block.timestamp >= _timeIn(context, 33);
    }

    function _timeIn(bytes memory context, uint256 start) private pure returns (uint256 time) {
        for (uint256 i = start; i < start + 4; ++i) {
            time = (time << 8) | uint8(context[i]);
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
