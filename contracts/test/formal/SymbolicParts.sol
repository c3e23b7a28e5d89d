// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IOracle} from "../../src/interfaces/IOracle.sol";
import {OutputContext} from "../../src/libraries/OutputContext.sol";
import {MandateOutput} from "../../src/types/OrderTypes.sol";

/// @notice A token with nothing but the bookkeeping of balances, so that a proof is about our contracts and not about it.
contract PlainToken {
    mapping(address => uint256) public balanceOf;
    bytes32 private _authorised;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }

    /// @dev As if `from` had signed it; it is good for one transfer.
    function authorise(address from, address to, uint256 value, uint256 validBefore, bytes32 nonce) external {
        _authorised = keccak256(abi.encode(from, to, value, 0, validBefore, nonce));
    }

    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata
    ) external {
        require(to == msg.sender);
        require(_authorised == keccak256(abi.encode(from, to, value, validAfter, validBefore, nonce)));
        _authorised = 0;
        balanceOf[from] -= value;
        balanceOf[to] += value;
    }
}

/// @notice A token that moves what the proof says, whatever it is asked to move.
contract ShortToken {
    mapping(address => uint256) public balanceOf;
    uint256 private _moves;

    function move(uint256 amount) external {
        _moves = amount;
    }

    function transferFrom(address, address to, uint256) external returns (bool) {
        balanceOf[to] += _moves;
        return true;
    }
}

/// @notice An oracle that knows one statement. Which one is up to the proof.
contract StatementOracle is IOracle {
    bytes32 public proven;

    function prove(uint256 chainId, bytes32 oracle, bytes32 application, bytes32 dataHash) external {
        proven = keccak256(abi.encodePacked(chainId, oracle, application, dataHash));
    }

    function isProven(uint256 chainId, bytes32 oracle, bytes32 application, bytes32 dataHash)
        external
        view
        returns (bool)
    {
        return proven == keccak256(abi.encodePacked(chainId, oracle, application, dataHash));
    }

    function efficientRequireProven(bytes calldata proofSeries) external view {
        require(keccak256(proofSeries) == proven, NotProven());
    }
}

/// @notice Calls back into a target from within whatever it is asked, once, as an attacker would.
contract Attacker {
    address private _target;
    bytes private _call;
    bool public succeeded;

    function arm(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function outputFilled(bytes32, uint256, bytes calldata) external {
        _attack();
    }

    function orderFinalised(uint256[2][] calldata, bytes calldata) external {
        _attack();
    }

    function _attack() private {
        (succeeded,) = _target.call(_call);
    }
}

/// @notice Makes the pricing of outputs callable.
contract Pricing {
    function resolve(MandateOutput calldata output, bytes32 solver) external view returns (uint256) {
        return OutputContext.resolve(output, solver);
    }
}
