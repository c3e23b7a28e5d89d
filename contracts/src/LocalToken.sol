// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IERC3009Bytes} from "./interfaces/ITokenTransfers.sol";

/// @title A token for local chains and tests
/// @notice NOT FOR VALUE: anyone can mint any amount. It stands in for tokens such as USDC: ERC-20, ERC-2612 and ERC-3009,
/// the latter with signatures as (v, r, s) and as bytes. EIP-712 domain: the token's name, version "1".
contract LocalToken is ERC20Permit, ERC3009, IERC3009Bytes {
    uint8 private immutable _decimals;

    /// @param name_ Name, also of the EIP-712 domain.
    /// @param symbol_ Symbol.
    /// @param decimals_ Decimals of the displayed unit.
    constructor(string memory name_, string memory symbol_, uint8 decimals_) ERC20(name_, symbol_) ERC20Permit(name_) {
        _decimals = decimals_;
    }

    /// @notice Makes `amount` for `to`, out of nothing, for anyone who asks.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    /// @inheritdoc IERC3009Bytes
    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        bytes32 typeHash = TRANSFER_WITH_AUTHORIZATION_TYPEHASH;
        _requireSigned(from, abi.encode(typeHash, from, to, value, validAfter, validBefore, nonce), signature);
        _transferWithAuthorization(from, to, value, validAfter, validBefore, nonce);
    }

    /// @inheritdoc IERC3009Bytes
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        // Only the payee may use it, or a stranger could take it out of the payee's transaction.
        require(to == msg.sender, ERC20InvalidReceiver(to));
        bytes32 typeHash = RECEIVE_WITH_AUTHORIZATION_TYPEHASH;
        _requireSigned(from, abi.encode(typeHash, from, to, value, validAfter, validBefore, nonce), signature);
        _transferWithAuthorization(from, to, value, validAfter, validBefore, nonce);
    }

    /// @inheritdoc IERC3009Bytes
    function cancelAuthorization(address authorizer, bytes32 nonce, bytes calldata signature) external {
        _requireSigned(authorizer, abi.encode(CANCEL_AUTHORIZATION_TYPEHASH, authorizer, nonce), signature);
        _cancelAuthorization(authorizer, nonce);
    }

    /// @notice Decimals of the displayed unit.
    function decimals() public view override returns (uint8) {
        return _decimals;
    }

    function _requireSigned(address signer, bytes memory message, bytes calldata signature) private view {
        bytes32 digest = _hashTypedDataV4(keccak256(message));
        require(SignatureChecker.isValidSignatureNowCalldata(signer, digest, signature), ERC3009InvalidSignature());
    }
}
