// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IInputCallback, IOutputCallback} from "../../src/interfaces/ICallbacks.sol";

/// @notice Keeps one per cent of every transfer.
contract FeeToken is ERC20("Fee", "FEE") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0)) return super._update(from, to, value);
        super._update(from, address(0xfee), value / 100);
        super._update(from, to, value - value / 100);
    }
}

/// @notice Says that a transfer failed instead of reverting.
contract FalseToken {
    mapping(address => uint256) public balanceOf;

    function transferFrom(address, address, uint256) external pure returns (bool) {
        return false;
    }

    function transfer(address, uint256) external pure returns (bool) {
        return false;
    }
}

/// @notice Says that every transfer worked and moves nothing.
contract LyingToken {
    mapping(address => uint256) public balanceOf;

    function transferFrom(address, address, uint256) external pure returns (bool) {
        return true;
    }

    function receiveWithAuthorization(address, address, uint256, uint256, uint256, bytes32, bytes calldata) external {}
}

/// @notice Takes from the recipient what it was to be paid.
contract TakingToken is ERC20("Taking", "TAKE") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        _transfer(to, from, value);
        return true;
    }
}

/// @notice Moves tokens the first time only, and says that it worked every time.
contract OnceToken is ERC20("Once", "ONCE") {
    bool private _moved;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        if (!_moved) _transfer(from, to, value);
        _moved = true;
        return true;
    }
}

/// @notice Calls a target from within a transfer, once, and passes its failure on.
contract ReentrantToken is ERC20("Reentrant", "RE") {
    address private _target;
    bytes private _call;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function arm(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (_target == address(0) || from == address(0)) return;
        address target = _target;
        _target = address(0);
        (bool success, bytes memory reason) = target.call(_call);
        if (success) return;
        assembly ("memory-safe") {
            revert(add(reason, 32), mload(reason))
        }
    }
}

/// @notice Remembers the callbacks it gets and, if armed, calls a target within them.
contract CallbackRecipient is IOutputCallback, IInputCallback {
    bytes32 public token;
    uint256 public amount;
    uint256 public calls;
    bytes public data;
    address private _target;
    bytes private _call;

    function arm(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function outputFilled(bytes32 token_, uint256 amount_, bytes calldata data_) external {
        (token, amount, data) = (token_, amount_, data_);
        _called();
    }

    function orderFinalised(uint256[2][] calldata inputs, bytes calldata data_) external {
        (token, amount, data) = (bytes32(inputs[0][0]), inputs[0][1], data_);
        _called();
    }

    function _called() private {
        ++calls;
        if (_target == address(0)) return;
        (bool success, bytes memory reason) = _target.call(_call);
        if (success) return;
        assembly ("memory-safe") {
            revert(add(reason, 32), mload(reason))
        }
    }

    receive() external payable {}
}

/// @notice A contract wallet that one key signs for.
contract Wallet is IERC1271 {
    address private immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        (address signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        return signer == OWNER ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }

    function call(address target, bytes calldata data) external returns (bytes memory) {
        (bool success, bytes memory result) = target.call(data);
        require(success, "call failed");
        return result;
    }
}
