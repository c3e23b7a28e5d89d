// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {AttestedOracle} from "../src/AttestedOracle.sol";
import {InputSettlerEscrow} from "../src/InputSettlerEscrow.sol";
import {LocalToken} from "../src/LocalToken.sol";
import {MandateOutput, StandardOrder} from "../src/types/OrderTypes.sol";
import {Fixture, IDomain} from "./support/Fixture.sol";

/// @notice Our contracts hash the orders of tests/golden/orders.json as viem does. Python reads the same file.
contract GoldenVectorsTest is Fixture {
    string private constant FILE = "../tests/golden/orders.json";
    uint256 private constant LEAST = 8;

    string private json;
    bytes private escrowCode;

    function setUp() public override {
        super.setUp();
        escrowCode = address(escrow).code;
        json = vm.readFile(FILE);
    }

    function test_golden_vectors__every_order__hashes_as_elsewhere() public {
        uint256 count = 0;
        for (; vm.keyExistsJson(json, _orderPath(count)); ++count) {
            _check(_orderPath(count));
        }
        assertGe(count, LEAST);
    }

    function _check(string memory path) private {
        string memory name = _string(path, ".name");
        StandardOrder memory order = _parseOrder(string.concat(path, ".order"));
        // The contracts bind hashes to their chain and address: put them where the vector says they are.
        escrow = InputSettlerEscrow(_address(path, ".settler"));
        vm.etch(address(escrow), escrowCode);
        vm.chainId(order.originChainId);

        bytes32 orderId = escrow.orderIdentifier(order);
        assertEq(orderId, _bytes32(path, ".order_id"), name);
        assertEq(_permit2Digest(order), _bytes32(path, ".permit2.digest"), name);
        for (uint256 i = 0; i < order.inputs.length; ++i) {
            _checkErc3009(string.concat(path, _at(".erc3009", i)), order, orderId, name);
        }
        for (uint256 i = 0; i < order.outputs.length; ++i) {
            bytes32 hash = _bytes32(path, _at(".output_hashes", i));
            assertEq(encodings.outputHash(order.outputs[i]), hash, name);
        }
        _checkFill(string.concat(path, ".fill"), order, orderId, name);
    }

    function _checkErc3009(string memory path, StandardOrder memory order, bytes32 orderId, string memory name)
        private
    {
        // The token's own domain separator, at the token's own place.
        address place = _address(path, ".token");
        string memory tokenName = _string(path, ".name");
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(tokenName)),
                keccak256(bytes(_string(path, ".version"))),
                block.chainid,
                place
            )
        );
        vm.mockCall(place, abi.encodeCall(IDomain.DOMAIN_SEPARATOR, ()), abi.encode(domain));
        bytes32 digest = _receiveDigest(
            LocalToken(place), order.user, address(escrow), _uint(path, ".value"), order.fillDeadline, orderId
        );
        assertEq(digest, _bytes32(path, ".digest"), name);
    }

    function _checkFill(string memory path, StandardOrder memory order, bytes32 orderId, string memory name) private {
        MandateOutput memory output = order.outputs[_uint(path, ".output_index")];
        bytes32 who = _bytes32(path, ".solver");
        uint32 timestamp = uint32(_uint(path, ".timestamp"));
        bytes32 dataHash = encodings.fillDescriptionHash(who, orderId, timestamp, output);
        assertEq(dataHash, _bytes32(path, ".data_hash"), name);
        assertEq(keccak256(vm.parseJsonBytes(json, string.concat(path, ".description"))), dataHash, name);
        assertEq(encodings.fillRecordHash(who, timestamp), _bytes32(path, ".record_hash"), name);

        vm.etch(order.inputOracle, address(oracle).code);
        bytes32 digest = AttestedOracle(order.inputOracle)
            .attestationDigest(output.chainId, output.oracle, output.settler, dataHash);
        assertEq(digest, _bytes32(path, ".attestation_digest"), name);
    }

    function _parseOrder(string memory path) private view returns (StandardOrder memory order) {
        order.user = _address(path, ".user");
        order.nonce = _uint(path, ".nonce");
        order.originChainId = _uint(path, ".origin_chain_id");
        order.expires = uint32(_uint(path, ".expires"));
        order.fillDeadline = uint32(_uint(path, ".fill_deadline"));
        order.inputOracle = _address(path, ".input_oracle");
        order.inputs = new uint256[2][](_length(path, ".inputs"));
        for (uint256 i = 0; i < order.inputs.length; ++i) {
            string memory input = string.concat(path, _at(".inputs", i));
            order.inputs[i] = [uint256(uint160(_address(input, ".token"))), _uint(input, ".amount")];
        }
        order.outputs = new MandateOutput[](_length(path, ".outputs"));
        for (uint256 i = 0; i < order.outputs.length; ++i) {
            order.outputs[i] = _parseOutput(string.concat(path, _at(".outputs", i)));
        }
    }

    function _parseOutput(string memory path) private view returns (MandateOutput memory output) {
        output.oracle = _bytes32(path, ".oracle");
        output.settler = _bytes32(path, ".settler");
        output.chainId = _uint(path, ".chain_id");
        output.token = _bytes32(path, ".token");
        output.amount = _uint(path, ".amount");
        output.recipient = _bytes32(path, ".recipient");
        output.callbackData = vm.parseJsonBytes(json, string.concat(path, ".callback_data"));
        output.context = vm.parseJsonBytes(json, string.concat(path, ".context"));
    }

    function _orderPath(uint256 index) private pure returns (string memory) {
        return _at(".orders", index);
    }

    function _at(string memory list, uint256 index) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(index), "]");
    }

    function _length(string memory path, string memory list) private view returns (uint256 count) {
        while (vm.keyExistsJson(json, string.concat(path, _at(list, count)))) ++count;
    }

    function _uint(string memory path, string memory key) private view returns (uint256) {
        return vm.parseJsonUint(json, string.concat(path, key));
    }

    function _address(string memory path, string memory key) private view returns (address) {
        return vm.parseJsonAddress(json, string.concat(path, key));
    }

    function _bytes32(string memory path, string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(json, string.concat(path, key));
    }

    function _string(string memory path, string memory key) private view returns (string memory) {
        return vm.parseJsonString(json, string.concat(path, key));
    }
}
