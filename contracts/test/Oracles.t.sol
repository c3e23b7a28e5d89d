// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AttestedOracle} from "../src/AttestedOracle.sol";
import {IOracle} from "../src/interfaces/IOracle.sol";
import {IOutputSettler} from "../src/interfaces/IOutputSettler.sol";
import {MandateOutput} from "../src/types/OrderTypes.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice The attested oracle: m signatures of distinct attesters over exactly this fill.
contract AttestedOracleTest is Fixture {
    bytes32 private constant REMOTE_ORACLE = bytes32(uint256(0xa1));
    bytes32 private constant APPLICATION = bytes32(uint256(0xa2));
    bytes32 private constant DATA_HASH = keccak256("fill");

    function _digestOf(uint256 chainId, bytes32 remoteOracle, bytes32 application, bytes32 dataHash)
        private
        view
        returns (bytes32)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("AttestedOracle"),
                keccak256("1"),
                block.chainid,
                address(oracle)
            )
        );
        bytes32 typeHash = keccak256(
            "FillAttestation(uint256 remoteChainId,bytes32 remoteOracle,bytes32 application,bytes32 dataHash)"
        );
        return _digest(domain, keccak256(abi.encode(typeHash, chainId, remoteOracle, application, dataHash)));
    }

    function _digestOf() private view returns (bytes32) {
        return _digestOf(REMOTE_CHAIN, REMOTE_ORACLE, APPLICATION, DATA_HASH);
    }

    function _submit(bytes[] memory signatures) private {
        oracle.submit(REMOTE_CHAIN, REMOTE_ORACLE, APPLICATION, DATA_HASH, signatures);
    }

    function _isProven() private view returns (bool) {
        return oracle.isProven(REMOTE_CHAIN, REMOTE_ORACLE, APPLICATION, DATA_HASH);
    }

    function _expectRefused(bytes[] memory signatures, bytes memory reason) private {
        vm.expectRevert(reason);
        _submit(signatures);
        assertFalse(_isProven());
    }

    function test_submit__two_of_three__proves_and_tells() public {
        assertFalse(_isProven());
        bytes[] memory signatures = _attest(_two(2, 0), _digestOf());
        vm.expectEmit(address(oracle));
        emit IOracle.OutputProven(REMOTE_CHAIN, REMOTE_ORACLE, APPLICATION, DATA_HASH);
        vm.prank(stranger.addr);
        _submit(signatures);
        assertTrue(_isProven());
    }

    function test_submit__all_three__proves() public {
        uint256[] memory all = new uint256[](3);
        (all[1], all[2]) = (1, 2);
        _submit(_attest(all, _digestOf()));
        assertTrue(_isProven());
    }

    function test_submit__again__changes_and_tells_nothing() public {
        _submit(_attest(_two(0, 1), _digestOf()));
        vm.recordLogs();
        _submit(new bytes[](0));
        assertEq(vm.getRecordedLogs().length, 0);
        assertTrue(_isProven());
    }

    function test_submit__one_less_than_needed__is_refused() public {
        uint256[] memory one = new uint256[](1);
        bytes[] memory signatures = _attest(one, _digestOf());
        _expectRefused(signatures, abi.encodeWithSelector(AttestedOracle.NotEnoughAttestations.selector, 1, 2));
        _expectRefused(new bytes[](0), abi.encodeWithSelector(AttestedOracle.NotEnoughAttestations.selector, 0, 2));
    }

    function test_submit__one_attester_twice__is_refused() public {
        bytes[] memory signatures = _attest(_two(1, 1), _digestOf());
        _expectRefused(signatures, abi.encodeWithSelector(AttestedOracle.DuplicateAttester.selector, attesters[1].addr));
    }

    function test_submit__one_attester_twice_in_malleated_form__is_refused() public {
        bytes[] memory signatures = _attest(_two(1, 1), _digestOf());
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(attesters[1], _digestOf());
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        signatures[1] = abi.encodePacked(r, order - uint256(s), v == 27 ? uint8(28) : uint8(27));
        _expectRefused(signatures, abi.encodeWithSelector(AttestedOracle.UnknownAttester.selector, address(0)));
    }

    function test_submit__somebody_else_signs__is_refused() public {
        bytes[] memory signatures = _attest(_two(0, 1), _digestOf());
        signatures[1] = _sign(stranger, _digestOf());
        _expectRefused(signatures, abi.encodeWithSelector(AttestedOracle.UnknownAttester.selector, stranger.addr));
    }

    function test_submit__malformed_signature__is_refused() public {
        bytes[] memory signatures = _attest(_two(0, 1), _digestOf());
        bytes[3] memory bad = [bytes(""), new bytes(65), new bytes(64)];
        for (uint256 i = 0; i < bad.length; ++i) {
            signatures[1] = bad[i];
            _expectRefused(signatures, abi.encodeWithSelector(AttestedOracle.UnknownAttester.selector, address(0)));
        }
    }

    /// @dev Signatures prove exactly the fill they were made for.
    function testFuzz_submit__anything_else_than_was_signed__is_refused(uint8 field, uint256 change) public {
        bytes[] memory signatures = _attest(_two(0, 1), _digestOf());
        change = bound(change, 1, type(uint256).max);
        uint256 chainId = field % 4 == 0 ? REMOTE_CHAIN ^ change : REMOTE_CHAIN;
        bytes32 remoteOracle = field % 4 == 1 ? REMOTE_ORACLE ^ bytes32(change) : REMOTE_ORACLE;
        bytes32 application = field % 4 == 2 ? APPLICATION ^ bytes32(change) : APPLICATION;
        bytes32 dataHash = field % 4 == 3 ? DATA_HASH ^ bytes32(change) : DATA_HASH;
        vm.expectPartialRevert(AttestedOracle.UnknownAttester.selector);
        oracle.submit(chainId, remoteOracle, application, dataHash, signatures);
        _submit(signatures);
        assertFalse(oracle.isProven(chainId, remoteOracle, application, dataHash));
    }

    function test_submit__signed_for_another_oracle_or_chain__is_refused() public {
        bytes[] memory signatures = _attest(_two(0, 1), _digestOf());
        uint256 chainId = block.chainid;
        vm.chainId(chainId + 1);
        vm.expectPartialRevert(AttestedOracle.UnknownAttester.selector);
        _submit(signatures);
        vm.chainId(chainId);
        AttestedOracle other = new AttestedOracle(oracle.attesters(), 2);
        vm.expectPartialRevert(AttestedOracle.UnknownAttester.selector);
        other.submit(REMOTE_CHAIN, REMOTE_ORACLE, APPLICATION, DATA_HASH, signatures);
    }

    function test_attestationDigest__is_the_eip712_digest() public view {
        assertEq(oracle.attestationDigest(REMOTE_CHAIN, REMOTE_ORACLE, APPLICATION, DATA_HASH), _digestOf());
    }

    function test_efficientRequireProven__series__needs_every_record() public {
        _submit(_attest(_two(0, 1), _digestOf()));
        bytes memory good = abi.encode(REMOTE_CHAIN, REMOTE_ORACLE, APPLICATION, DATA_HASH);
        bytes memory bad = abi.encode(REMOTE_CHAIN, REMOTE_ORACLE, APPLICATION, keccak256("other"));
        oracle.efficientRequireProven("");
        oracle.efficientRequireProven(good);
        oracle.efficientRequireProven(bytes.concat(good, good));
        vm.expectRevert(IOracle.NotProven.selector);
        oracle.efficientRequireProven(bytes.concat(good, bad));
        vm.expectRevert(IOracle.NotProven.selector);
        oracle.efficientRequireProven(bytes.concat(bad, good));
        vm.expectRevert(abi.encodeWithSelector(IOracle.NotDivisible.selector, 129, 128));
        oracle.efficientRequireProven(bytes.concat(good, hex"00"));
    }

    function test_constructor__set_and_threshold__are_readable_and_fixed() public view {
        assertEq(oracle.threshold(), 2);
        assertEq(oracle.attesters().length, 3);
        assertEq(oracle.attesters()[2], attesters[2].addr);
        assertTrue(oracle.isAttester(attesters[0].addr));
        assertFalse(oracle.isAttester(stranger.addr));
        assertFalse(oracle.isAttester(address(0)));
    }

    function test_constructor__unusable_set__is_refused() public {
        address[] memory set = new address[](2);
        (set[0], set[1]) = (attesters[0].addr, attesters[1].addr);
        vm.expectRevert(abi.encodeWithSelector(AttestedOracle.InvalidThreshold.selector, 0, 2));
        new AttestedOracle(set, 0);
        vm.expectRevert(abi.encodeWithSelector(AttestedOracle.InvalidThreshold.selector, 3, 2));
        new AttestedOracle(set, 3);
        set[1] = set[0];
        vm.expectRevert(abi.encodeWithSelector(AttestedOracle.DuplicateAttester.selector, set[0]));
        new AttestedOracle(set, 2);
        set[1] = address(0);
        vm.expectRevert(AttestedOracle.ZeroAttester.selector);
        new AttestedOracle(set, 2);
        set = new address[](257);
        for (uint160 i = 0; i < 257; ++i) {
            set[i] = address(i + 1);
        }
        vm.expectRevert(abi.encodeWithSelector(AttestedOracle.InvalidThreshold.selector, 1, 257));
        new AttestedOracle(set, 1);
    }

    function test_constructor__256_attesters__each_counts() public {
        address[] memory set = new address[](256);
        for (uint160 i = 0; i < 256; ++i) {
            set[i] = address(i + 1);
        }
        (set[0], set[255]) = (attesters[0].addr, attesters[1].addr);
        oracle = new AttestedOracle(set, 2);
        _submit(_attest(_two(0, 1), _digestOf()));
        assertTrue(_isProven());
    }
}

/// @notice The output settler as the oracle of its own chain, and as the source of what bridges carry.
contract OutputSettlerOracleTest is Fixture {
    bytes32 private constant ORDER_ID = keccak256("order");

    function _fill(MandateOutput memory output) private {
        vm.prank(solver.addr);
        settler.fill(ORDER_ID, output, uint48(block.timestamp), abi.encode(_id(solver.addr)));
    }

    function _dataHash(MandateOutput memory output) private view returns (bytes32) {
        return encodings.fillDescriptionHash(_id(solver.addr), ORDER_ID, uint32(block.timestamp), output);
    }

    function _isProven(bytes32 dataHash) private view returns (bool) {
        return settler.isProven(block.chainid, _id(address(settler)), _id(address(settler)), dataHash);
    }

    function _description(MandateOutput memory output) private view returns (bytes memory) {
        return abi.encodePacked(
            _id(solver.addr),
            ORDER_ID,
            uint32(block.timestamp),
            output.token,
            output.amount,
            output.recipient,
            uint16(output.callbackData.length),
            output.callbackData,
            uint16(output.context.length),
            output.context
        );
    }

    function test_setAttestation__of_the_fill__proves_it_and_tells() public {
        MandateOutput memory output = _output();
        _fill(output);
        bytes32 dataHash = _dataHash(output);
        assertFalse(_isProven(dataHash));
        vm.expectEmit(address(settler));
        emit IOracle.OutputProven(block.chainid, _id(address(settler)), _id(address(settler)), dataHash);
        vm.prank(stranger.addr);
        settler.setAttestation(ORDER_ID, _id(solver.addr), uint32(block.timestamp), output);
        assertTrue(_isProven(dataHash));

        vm.recordLogs();
        settler.setAttestation(ORDER_ID, _id(solver.addr), uint32(block.timestamp), output);
        assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_setAttestation__overpaid_fill__proves_the_signed_amount() public {
        MandateOutput memory output = _output();
        vm.prank(solver.addr);
        settler.fill(ORDER_ID, output, uint48(block.timestamp), abi.encode(_id(solver.addr), AMOUNT_OUT + 9));
        settler.setAttestation(ORDER_ID, _id(solver.addr), uint32(block.timestamp), output);
        assertTrue(_isProven(_dataHash(output)));
    }

    function test_setAttestation__not_as_it_was_filled__is_refused() public {
        MandateOutput memory output = _output();
        _fill(output);
        uint32 time = uint32(block.timestamp);
        vm.expectPartialRevert(IOutputSettler.InvalidAttestation.selector);
        settler.setAttestation(ORDER_ID, _id(stranger.addr), time, output);
        vm.expectPartialRevert(IOutputSettler.InvalidAttestation.selector);
        settler.setAttestation(ORDER_ID, _id(solver.addr), time + 1, output);
        vm.expectPartialRevert(IOutputSettler.InvalidAttestation.selector);
        settler.setAttestation(keccak256("other"), _id(solver.addr), time, output);
        output.amount -= 1;
        vm.expectPartialRevert(IOutputSettler.InvalidAttestation.selector);
        settler.setAttestation(ORDER_ID, _id(solver.addr), time, output);
    }

    function test_setAttestation__output_of_another_oracle__is_refused() public {
        MandateOutput memory output = _output();
        output.oracle = _id(stranger.addr);
        _fill(output);
        bytes memory reason =
            abi.encodeWithSelector(IOutputSettler.WrongOutputOracle.selector, output.oracle, _id(address(settler)));
        vm.expectRevert(reason);
        settler.setAttestation(ORDER_ID, _id(solver.addr), uint32(block.timestamp), output);
    }

    function test_isProven__asked_about_other_chains_or_contracts__is_false() public {
        MandateOutput memory output = _output();
        _fill(output);
        settler.setAttestation(ORDER_ID, _id(solver.addr), uint32(block.timestamp), output);
        bytes32 self = _id(address(settler));
        bytes32 dataHash = _dataHash(output);
        assertTrue(settler.isProven(block.chainid, self, self, dataHash));
        assertFalse(settler.isProven(block.chainid + 1, self, self, dataHash));
        assertFalse(settler.isProven(block.chainid, _id(stranger.addr), self, dataHash));
        assertFalse(settler.isProven(block.chainid, self, _id(stranger.addr), dataHash));
        settler.efficientRequireProven(abi.encode(block.chainid, self, self, dataHash));
        vm.expectRevert(IOracle.NotProven.selector);
        settler.efficientRequireProven(abi.encode(block.chainid + 1, self, self, dataHash));
    }

    function test_hasAttested__asked_by_the_outputs_oracle__knows_its_fills() public {
        MandateOutput memory output = _output();
        output.oracle = _id(stranger.addr);
        output.callbackData = "";
        output.context = abi.encodePacked(hex"e0", _id(solver.addr), uint32(0));
        bytes[] memory payloads = new bytes[](1);
        payloads[0] = _description(output);
        vm.prank(stranger.addr);
        assertFalse(settler.hasAttested(payloads));
        _fill(output);
        vm.prank(stranger.addr);
        assertTrue(settler.hasAttested(payloads));
        vm.prank(solver.addr);
        assertFalse(settler.hasAttested(payloads));
    }

    function test_hasAttested__one_payload_is_no_fill__is_false() public {
        MandateOutput memory output = _output();
        output.oracle = _id(stranger.addr);
        _fill(output);
        bytes[] memory payloads = new bytes[](2);
        payloads[0] = _description(output);
        output.amount += 1;
        payloads[1] = _description(output);
        vm.prank(stranger.addr);
        assertFalse(settler.hasAttested(payloads));
        payloads[1] = hex"c0ffee";
        vm.prank(stranger.addr);
        assertFalse(settler.hasAttested(payloads));
        payloads[1] = payloads[0];
        vm.prank(stranger.addr);
        assertTrue(settler.hasAttested(payloads));
    }

    /// @dev A description that was never written must not pass for the empty record of an output nobody filled.
    function testFuzz_hasAttested__any_bytes__is_false(bytes memory payload) public {
        _fill(_output());
        bytes[] memory payloads = new bytes[](1);
        payloads[0] = payload;
        vm.prank(address(settler));
        assertFalse(settler.hasAttested(payloads));
    }
}
