// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";

import {AttestedOracle} from "../../src/AttestedOracle.sol";

/// @notice The oracle's promises as proofs: two of three attesters, any statement, any signatures of the right length.
contract OracleProofs is Test {
    AttestedOracle private _oracle;
    address[] private _set;

    function setUp() public {
        _set = [address(0xa1), address(0xa2), address(0xa3)];
        _oracle = new AttestedOracle(_set, 2);
    }

    /// @notice A statement becomes proven by signatures of distinct attesters over exactly it, and by nothing else.
    function check_a_proof_takes_distinct_attesters(
        uint256 chainId,
        bytes32 remoteOracle,
        bytes32 application,
        bytes32 dataHash,
        Parts memory first,
        Parts memory second
    ) public {
        bytes[] memory signatures = new bytes[](2);
        signatures[0] = abi.encodePacked(first.r, first.s, first.v);
        signatures[1] = abi.encodePacked(second.r, second.s, second.v);
        (bool accepted,) = address(_oracle)
            .call(abi.encodeCall(_oracle.submit, (chainId, remoteOracle, application, dataHash, signatures)));
        assert(accepted == _oracle.isProven(chainId, remoteOracle, application, dataHash));
        if (!accepted) return;
        bytes32 digest = _oracle.attestationDigest(chainId, remoteOracle, application, dataHash);
        address one = ecrecover(digest, first.v, first.r, first.s);
        address two = ecrecover(digest, second.v, second.r, second.s);
        assert(one != two && _isAttester(one) && _isAttester(two));
    }

    /// @notice One signature less than the threshold proves nothing, whosever it is.
    function check_too_few_signatures_prove_nothing(
        uint256 chainId,
        bytes32 remoteOracle,
        bytes32 application,
        bytes32 dataHash,
        Parts memory only
    ) public {
        bytes[] memory signatures = new bytes[](1);
        signatures[0] = abi.encodePacked(only.r, only.s, only.v);
        (bool accepted,) = address(_oracle)
            .call(abi.encodeCall(_oracle.submit, (chainId, remoteOracle, application, dataHash, signatures)));
        assert(!accepted && !_oracle.isProven(chainId, remoteOracle, application, dataHash));
    }

    /// @notice A proof is of one statement: no other one, however near, becomes proven with it.
    function check_a_proof_is_of_one_statement_only(
        bytes32[4] memory statement,
        bytes32[4] memory another,
        Parts memory first,
        Parts memory second
    ) public {
        vm.assume(
            statement[0] != another[0] || statement[1] != another[1] || statement[2] != another[2]
                || statement[3] != another[3]
        );
        bytes[] memory signatures = new bytes[](2);
        signatures[0] = abi.encodePacked(first.r, first.s, first.v);
        signatures[1] = abi.encodePacked(second.r, second.s, second.v);
        _oracle.submit(uint256(statement[0]), statement[1], statement[2], statement[3], signatures);
        assert(!_oracle.isProven(uint256(another[0]), another[1], another[2], another[3]));
    }

    struct Parts {
        bytes32 r;
        bytes32 s;
        uint8 v;
    }

    function _isAttester(address account) private view returns (bool) {
        return account == _set[0] || account == _set[1] || account == _set[2];
    }
}
