// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Identifier} from "../../../src/libraries/Identifier.sol";

/// @notice What the compiler's own model checker proves of addresses in words.
contract AnyAddress {
    function comesBackFromItsWord(address account) external pure {
        assert(Identifier.toAddress(Identifier.toIdentifier(account)) == account);
    }
}
