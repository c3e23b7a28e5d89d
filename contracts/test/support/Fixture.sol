// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {Test, Vm} from "forge-std/Test.sol";

import {AttestedOracle} from "../../src/AttestedOracle.sol";
import {InputSettlerEscrow} from "../../src/InputSettlerEscrow.sol";
import {LocalToken} from "../../src/LocalToken.sol";
import {OutputSettler} from "../../src/OutputSettler.sol";
import {MandateOutput, SolveParams, StandardOrder} from "../../src/types/OrderTypes.sol";
import {Encodings} from "./Encodings.sol";

interface IDomain {
    function DOMAIN_SEPARATOR() external view returns (bytes32);
}

/// @notice One chain with everything on it, and orders, signatures and fills to use it with.
abstract contract Fixture is Test {
    address internal constant PERMIT2 = 0x000000000022D473030F116dDEE9F6B43aC78BA3;
    uint256 internal constant AMOUNT_IN = 1000e6;
    uint256 internal constant AMOUNT_OUT = 0.4e18;
    uint256 internal constant REMOTE_CHAIN = 31_338;

    InputSettlerEscrow internal escrow;
    OutputSettler internal settler;
    AttestedOracle internal oracle;
    LocalToken internal usdc;
    LocalToken internal weth;
    Encodings internal encodings;

    Vm.Wallet internal user;
    Vm.Wallet internal solver;
    Vm.Wallet internal stranger;
    Vm.Wallet[] internal attesters;
    address internal recipient = address(0xbeef);

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        vm.etch(PERMIT2, vm.getDeployedCode("../build/contracts/Permit2.sol/Permit2.json"));
        escrow = new InputSettlerEscrow();
        settler = new OutputSettler();
        encodings = new Encodings();
        usdc = new LocalToken("USD Coin", "USDC", 6);
        weth = new LocalToken("Wrapped Ether", "WETH", 18);
        user = vm.createWallet("user");
        solver = vm.createWallet("solver");
        stranger = vm.createWallet("stranger");
        address[] memory set = new address[](3);
        for (uint256 i = 0; i < set.length; ++i) {
            attesters.push(vm.createWallet(string.concat("attester", vm.toString(i))));
            set[i] = attesters[i].addr;
        }
        oracle = new AttestedOracle(set, 2);

        usdc.mint(user.addr, 100 * AMOUNT_IN);
        weth.mint(user.addr, 100 * AMOUNT_OUT);
        weth.mint(solver.addr, 100 * AMOUNT_OUT);
        usdc.mint(solver.addr, 100 * AMOUNT_IN);
        vm.startPrank(user.addr);
        usdc.approve(PERMIT2, type(uint256).max);
        weth.approve(PERMIT2, type(uint256).max);
        usdc.approve(address(escrow), type(uint256).max);
        weth.approve(address(escrow), type(uint256).max);
        vm.stopPrank();
        vm.startPrank(solver.addr);
        usdc.approve(address(settler), type(uint256).max);
        weth.approve(address(settler), type(uint256).max);
        vm.stopPrank();
    }

    // -- orders

    /// @dev One input of USDC for one output of WETH on this chain; the output settler is its own oracle.
    function _order() internal view returns (StandardOrder memory order) {
        order.user = user.addr;
        order.nonce = 7;
        order.originChainId = block.chainid;
        order.expires = uint32(block.timestamp + 2 hours);
        order.fillDeadline = uint32(block.timestamp + 1 hours);
        order.inputOracle = address(settler);
        order.inputs = new uint256[2][](1);
        order.inputs[0] = [uint256(uint160(address(usdc))), AMOUNT_IN];
        order.outputs = new MandateOutput[](1);
        order.outputs[0] = _output();
    }

    function _output() internal view returns (MandateOutput memory output) {
        output.oracle = _id(address(settler));
        output.settler = _id(address(settler));
        output.chainId = block.chainid;
        output.token = _id(address(weth));
        output.amount = AMOUNT_OUT;
        output.recipient = _id(recipient);
    }

    /// @dev Two inputs, two outputs.
    function _bigOrder() internal view returns (StandardOrder memory order) {
        order = _order();
        order.inputs = new uint256[2][](2);
        order.inputs[0] = [uint256(uint160(address(usdc))), AMOUNT_IN];
        order.inputs[1] = [uint256(uint160(address(weth))), AMOUNT_OUT];
        order.outputs = new MandateOutput[](2);
        order.outputs[0] = _output();
        order.outputs[1] = _output();
        order.outputs[1].token = _id(address(usdc));
        order.outputs[1].amount = AMOUNT_IN;
    }

    function _id(address account) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(account)));
    }

    // -- signatures

    function _sign(Vm.Wallet memory wallet, bytes32 digest) internal returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(wallet, digest);
        return abi.encodePacked(r, s, v);
    }

    function _digest(bytes32 domainSeparator, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domainSeparator, structHash));
    }

    function _permit2Digest(StandardOrder memory order) internal view returns (bytes32) {
        bytes32[] memory permitted = new bytes32[](order.inputs.length);
        for (uint256 i = 0; i < permitted.length; ++i) {
            permitted[i] = keccak256(
                abi.encode(
                    keccak256("TokenPermissions(address token,uint256 amount)"), order.inputs[i][0], order.inputs[i][1]
                )
            );
        }
        bytes32 typeHash = keccak256(
            abi.encodePacked(
                "PermitBatchWitnessTransferFrom(TokenPermissions[] permitted,address spender,uint256 nonce,uint256 deadline,",
                encodings.permit2WitnessTypeString()
            )
        );
        bytes32 structHash = keccak256(
            abi.encode(
                typeHash,
                keccak256(abi.encodePacked(permitted)),
                address(escrow),
                order.nonce,
                uint256(order.fillDeadline),
                encodings.witnessHash(order)
            )
        );
        return _digest(IDomain(PERMIT2).DOMAIN_SEPARATOR(), structHash);
    }

    function _permit2Signature(Vm.Wallet memory wallet, StandardOrder memory order) internal returns (bytes memory) {
        return abi.encodePacked(hex"00", _sign(wallet, _permit2Digest(order)));
    }

    function _receiveDigest(LocalToken token, address from, address to, uint256 value, uint256 before, bytes32 nonce)
        internal
        view
        returns (bytes32)
    {
        bytes32 typeHash = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        return
            _digest(
                token.DOMAIN_SEPARATOR(), keccak256(abi.encode(typeHash, from, to, value, uint256(0), before, nonce))
            );
    }

    function _erc3009Signature(Vm.Wallet memory wallet, StandardOrder memory order, uint256 input)
        internal
        returns (bytes memory)
    {
        bytes32 orderId = escrow.orderIdentifier(order);
        return _sign(
            wallet,
            _receiveDigest(
                LocalToken(address(uint160(order.inputs[input][0]))),
                wallet.addr,
                address(escrow),
                order.inputs[input][1],
                order.fillDeadline,
                orderId
            )
        );
    }

    function _attest(uint256[] memory who, bytes32 digest) internal returns (bytes[] memory signatures) {
        signatures = new bytes[](who.length);
        for (uint256 i = 0; i < who.length; ++i) {
            signatures[i] = _sign(attesters[who[i]], digest);
        }
    }

    function _two(uint256 a, uint256 b) internal pure returns (uint256[] memory pair) {
        pair = new uint256[](2);
        (pair[0], pair[1]) = (a, b);
    }

    // -- steps

    function _open(StandardOrder memory order) internal returns (bytes32) {
        vm.prank(user.addr);
        escrow.open(order);
        return escrow.orderIdentifier(order);
    }

    /// @dev Fills every output by the solver and makes the fills provable on this chain.
    function _fillAndProve(StandardOrder memory order) internal returns (SolveParams[] memory params) {
        bytes32 orderId = escrow.orderIdentifier(order);
        params = new SolveParams[](order.outputs.length);
        for (uint256 i = 0; i < params.length; ++i) {
            params[i] = SolveParams(uint32(block.timestamp), _id(solver.addr));
            vm.prank(solver.addr);
            settler.fill(orderId, order.outputs[i], order.fillDeadline, abi.encode(_id(solver.addr)));
            settler.setAttestation(orderId, params[i].solver, params[i].timestamp, order.outputs[i]);
        }
    }
}
