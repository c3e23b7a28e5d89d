// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {OracleBase} from "./OracleBase.sol";

/// @title Attested oracle: a fill is proven by the signatures of m of n attesters
/// @notice The attesters and their threshold are fixed at construction: nobody can change them, nobody owns this. A proof
/// holds for exactly one fill description of one application on one chain, vouched for by one oracle.
contract AttestedOracle is OracleBase, EIP712 {
    bytes32 public constant FILL_ATTESTATION_TYPEHASH =
        keccak256("FillAttestation(uint256 remoteChainId,bytes32 remoteOracle,bytes32 application,bytes32 dataHash)");

    /// @dev Each attester has a bit in a word, by which repeated ones are found.
    uint256 private constant MAX_ATTESTERS = 256;

    /// @notice Number of distinct attesters whose signatures make a proof.
    uint256 public immutable threshold;

    address[] private _attesters;
    mapping(address attester => uint256 bit) private _bitOf;
    mapping(bytes32 statement => bool) private _proven;

    /// @notice The threshold is zero or above the number of attesters, or there are more than 256 of them.
    error InvalidThreshold(uint256 threshold, uint256 attesters);
    /// @notice The zero address cannot attest.
    error ZeroAttester();
    /// @notice The attester stands twice in the set, or signed twice.
    error DuplicateAttester(address attester);
    /// @notice A signature is malformed or is one of somebody else, or of something else.
    error UnknownAttester(address recovered);
    /// @notice Fewer attesters signed than are needed.
    error NotEnoughAttestations(uint256 given, uint256 needed);

    /// @param attesters_ Accounts that may attest, all different.
    /// @param threshold_ How many of them it takes.
    constructor(address[] memory attesters_, uint256 threshold_) EIP712("AttestedOracle", "1") {
        uint256 count = attesters_.length;
        require(threshold_ > 0 && threshold_ <= count && count <= MAX_ATTESTERS, InvalidThreshold(threshold_, count));
        for (uint256 i = 0; i < count; ++i) {
            address attester = attesters_[i];
            require(attester != address(0), ZeroAttester());
            require(_bitOf[attester] == 0, DuplicateAttester(attester));
            _bitOf[attester] = 1 << i;
        }
        _attesters = attesters_;
        threshold = threshold_;
    }

    /// @notice Proves a statement by signatures of its {attestationDigest}. By anyone. Nothing happens if it is proven.
    /// @param remoteChainId Chain of the fill.
    /// @param remoteOracle The output's oracle.
    /// @param application The output's settler.
    /// @param dataHash keccak256 of the fill description.
    /// @param signatures At least {threshold} signatures of 65 bytes, each of another attester, in any order.
    function submit(
        uint256 remoteChainId,
        bytes32 remoteOracle,
        bytes32 application,
        bytes32 dataHash,
        bytes[] calldata signatures
    ) external {
        bytes32 statement = _statement(remoteChainId, remoteOracle, application, dataHash);
        if (_proven[statement]) return;
        _requireSigned(attestationDigest(remoteChainId, remoteOracle, application, dataHash), signatures);
        _proven[statement] = true;
        emit OutputProven(remoteChainId, remoteOracle, application, dataHash);
    }

    /// @notice What attesters sign: EIP-712 FillAttestation under {name "AttestedOracle", version "1", this chain, this
    /// contract}.
    function attestationDigest(uint256 remoteChainId, bytes32 remoteOracle, bytes32 application, bytes32 dataHash)
        public
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(abi.encode(FILL_ATTESTATION_TYPEHASH, remoteChainId, remoteOracle, application, dataHash))
        );
    }

    /// @notice All accounts that may attest.
    function attesters() external view returns (address[] memory) {
        return _attesters;
    }

    /// @notice Whether the account may attest.
    function isAttester(address account) external view returns (bool) {
        return _bitOf[account] != 0;
    }

    function _requireSigned(bytes32 digest, bytes[] calldata signatures) private view {
        require(signatures.length >= threshold, NotEnoughAttestations(signatures.length, threshold));
        uint256 seen = 0;
        for (uint256 i = 0; i < signatures.length; ++i) {
            // The error is dropped on purpose: a malformed signature recovers to zero, which is no attester.
            (address attester,,) = ECDSA.tryRecoverCalldata(digest, signatures[i]);
            uint256 bit = _bitOf[attester];
            require(bit != 0, UnknownAttester(attester));
            require(seen & bit == 0, DuplicateAttester(attester));
            seen |= bit;
        }
    }

    function _statement(uint256 remoteChainId, bytes32 remoteOracle, bytes32 application, bytes32 dataHash)
        private
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(remoteChainId, remoteOracle, application, dataHash));
    }

    /// @inheritdoc OracleBase
    function _isProven(uint256 remoteChainId, bytes32 remoteOracle, bytes32 application, bytes32 dataHash)
        internal
        view
        override
        returns (bool)
    {
        return _proven[_statement(remoteChainId, remoteOracle, application, dataHash)];
    }
}
