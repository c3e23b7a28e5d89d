// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {SolveParams, StandardOrder} from "../src/types/OrderTypes.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice Gas of the main path, one input and one ERC-20 output, into build/gas/GasTest.json. The figures mean something
/// with --isolate only (see `make gas`), where every call is a transaction of its own.
contract GasTest is Fixture {
    function test_main_path__permit2__writes_its_gas() public {
        StandardOrder memory order = _order();
        // Receivers that hold the token already, as most do: a first balance costs 17,100 gas more.
        weth.mint(recipient, 1);
        usdc.mint(address(0xca11), 1);
        bytes memory signature = _permit2Signature(user, order);
        bytes32 orderId = escrow.orderIdentifier(order);
        SolveParams[] memory params = new SolveParams[](1);
        params[0] = SolveParams(uint32(block.timestamp), _id(solver.addr));

        vm.startPrank(solver.addr);
        escrow.openFor(order, user.addr, signature);
        vm.snapshotGasLastCall("openFor (Permit2)");
        settler.fill(orderId, order.outputs[0], order.fillDeadline, abi.encode(params[0].solver));
        vm.snapshotGasLastCall("fill");
        settler.setAttestation(orderId, params[0].solver, params[0].timestamp, order.outputs[0]);
        vm.snapshotGasLastCall("setAttestation");
        escrow.finalise(order, params, _id(address(0xca11)), "");
        vm.snapshotGasLastCall("finalise");
        assertEq(usdc.balanceOf(address(0xca11)), AMOUNT_IN + 1);
    }

    function test_other_ways__open_attest_refund__write_their_gas() public {
        StandardOrder memory order = _order();
        vm.prank(user.addr);
        escrow.open(order);
        vm.snapshotGasLastCall("open");
        order.nonce = 8;
        bytes memory signature = abi.encodePacked(hex"01", _erc3009Signature(user, order, 0));
        vm.prank(solver.addr);
        escrow.openFor(order, user.addr, signature);
        vm.snapshotGasLastCall("openFor (ERC-3009)");

        bytes32 digest = oracle.attestationDigest(REMOTE_CHAIN, bytes32("o"), bytes32("a"), bytes32("d"));
        bytes[] memory signatures = _attest(_two(0, 1), digest);
        vm.prank(solver.addr);
        oracle.submit(REMOTE_CHAIN, bytes32("o"), bytes32("a"), bytes32("d"), signatures);
        vm.snapshotGasLastCall("submit (2 attesters)");

        usdc.mint(user.addr, 1);
        vm.warp(uint256(order.expires) + 1);
        vm.prank(solver.addr);
        escrow.refund(order);
        vm.snapshotGasLastCall("refund");
        assertEq(usdc.balanceOf(user.addr), 99 * AMOUNT_IN + 1);
    }
}
