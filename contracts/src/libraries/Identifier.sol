// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @notice Addresses that stand right-aligned in 32 bytes.
library Identifier {
    /// @notice The upper 96 bits are not zero, so the word is no address.
    error DirtyAddress(bytes32 word);

    /// @notice The word that stands for an address.
    function toIdentifier(address account) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }

    /// @notice The address in a word. Reverts with {DirtyAddress} rather than dropping bits: two words must never mean
    /// the same account, or one signature could open two order ids.
    function toAddress(bytes32 word) internal pure returns (address) {
        require(uint256(word) >> 160 == 0, DirtyAddress(word));
        return address(uint160(uint256(word)));
    }
}
