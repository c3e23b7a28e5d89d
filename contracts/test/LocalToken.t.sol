// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IERC3009, IERC3009Cancel} from "@openzeppelin/contracts/interfaces/draft-IERC3009.sol";
import {ERC3009} from "@openzeppelin/contracts/token/ERC20/extensions/draft-ERC3009.sol";

import {Wallet} from "./support/Doubles.sol";
import {Fixture} from "./support/Fixture.sol";

contract LocalTokenTest is Fixture {
    bytes32 private constant NONCE = keccak256("nonce");
    uint256 private constant VALUE = 5e6;

    uint256 private validBefore;

    function setUp() public override {
        super.setUp();
        validBefore = block.timestamp + 60;
    }

    function _authorization(string memory kind, address from, address to) private view returns (bytes32) {
        bytes32 typeHash = keccak256(
            abi.encodePacked(
                kind, "(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
            )
        );
        return _digest(
            usdc.DOMAIN_SEPARATOR(), keccak256(abi.encode(typeHash, from, to, VALUE, uint256(0), validBefore, NONCE))
        );
    }

    function _cancellation(address authorizer) private view returns (bytes32) {
        bytes32 typeHash = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");
        return _digest(usdc.DOMAIN_SEPARATOR(), keccak256(abi.encode(typeHash, authorizer, NONCE)));
    }

    function _expectMoved(address from) private {
        vm.expectEmit(address(usdc));
        emit IERC3009.AuthorizationUsed(from, NONCE);
    }

    function test_constructor__decimals_and_domain__as_given() public view {
        assertEq(usdc.decimals(), 6);
        assertEq(weth.decimals(), 18);
        assertEq(usdc.name(), "USD Coin");
        assertEq(usdc.symbol(), "USDC");
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("USD Coin"),
                keccak256("1"),
                block.chainid,
                address(usdc)
            )
        );
        assertEq(usdc.DOMAIN_SEPARATOR(), domain);
    }

    function test_mint__by_anyone__makes_tokens() public {
        vm.prank(stranger.addr);
        usdc.mint(stranger.addr, 3);
        assertEq(usdc.balanceOf(stranger.addr), 3);
    }

    function test_permit__signed__approves() public {
        bytes32 typeHash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 digest = _digest(
            usdc.DOMAIN_SEPARATOR(),
            keccak256(abi.encode(typeHash, user.addr, stranger.addr, VALUE, uint256(0), validBefore))
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(user, digest);
        usdc.permit(user.addr, stranger.addr, VALUE, validBefore, v, r, s);
        assertEq(usdc.allowance(user.addr, stranger.addr), VALUE);
    }

    function test_receiveWithAuthorization__both_forms__move_tokens_to_the_caller() public {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(user, _authorization("ReceiveWithAuthorization", user.addr, recipient));
        uint256 snapshot = vm.snapshotState();
        _expectMoved(user.addr);
        vm.prank(recipient);
        usdc.receiveWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, v, r, s);
        assertEq(usdc.balanceOf(recipient), VALUE);
        vm.revertToState(snapshot);
        _expectMoved(user.addr);
        vm.prank(recipient);
        usdc.receiveWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, abi.encodePacked(r, s, v));
        assertEq(usdc.balanceOf(recipient), VALUE);
        assertTrue(usdc.authorizationState(user.addr, NONCE));
    }

    function test_receiveWithAuthorization__not_by_the_payee__is_refused() public {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(user, _authorization("ReceiveWithAuthorization", user.addr, recipient));
        bytes memory reason = abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, recipient);
        vm.expectRevert(reason);
        usdc.receiveWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, v, r, s);
        vm.expectRevert(reason);
        usdc.receiveWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, abi.encodePacked(r, s, v));
    }

    function test_transferWithAuthorization__both_forms__move_tokens_by_anyone() public {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(user, _authorization("TransferWithAuthorization", user.addr, recipient));
        uint256 snapshot = vm.snapshotState();
        _expectMoved(user.addr);
        usdc.transferWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, v, r, s);
        vm.revertToState(snapshot);
        _expectMoved(user.addr);
        usdc.transferWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, abi.encodePacked(r, s, v));
        assertEq(usdc.balanceOf(recipient), VALUE);
    }

    function test_authorization__used_twice_or_across_forms__is_refused() public {
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(user, _authorization("TransferWithAuthorization", user.addr, recipient));
        usdc.transferWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, v, r, s);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, user.addr, NONCE));
        usdc.transferWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, abi.encodePacked(r, s, v));
        // A transfer authorisation is no receive authorisation.
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        vm.prank(recipient);
        usdc.receiveWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, abi.encodePacked(r, s, v));
    }

    function test_authorization__too_early_or_too_late__is_refused() public {
        bytes memory signature = _sign(user, _authorization("TransferWithAuthorization", user.addr, recipient));
        vm.warp(validBefore);
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009InvalidAuthorizationTime.selector, 0, validBefore));
        usdc.transferWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, signature);
        vm.warp(validBefore - 1);
        usdc.transferWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, signature);
    }

    function test_authorization__changed_or_of_somebody_else__is_refused() public {
        bytes memory signature = _sign(user, _authorization("TransferWithAuthorization", user.addr, recipient));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        usdc.transferWithAuthorization(user.addr, stranger.addr, VALUE, 0, validBefore, NONCE, signature);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        usdc.transferWithAuthorization(user.addr, recipient, VALUE + 1, 0, validBefore, NONCE, signature);
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        usdc.transferWithAuthorization(solver.addr, recipient, VALUE, 0, validBefore, NONCE, signature);
    }

    function test_authorization__of_a_contract_wallet__moves_tokens() public {
        Wallet wallet = new Wallet(user.addr);
        usdc.mint(address(wallet), VALUE);
        bytes memory signature = _sign(user, _authorization("TransferWithAuthorization", address(wallet), recipient));
        usdc.transferWithAuthorization(address(wallet), recipient, VALUE, 0, validBefore, NONCE, signature);
        assertEq(usdc.balanceOf(recipient), VALUE);
    }

    function test_cancelAuthorization__both_forms__close_the_nonce() public {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(user, _cancellation(user.addr));
        uint256 snapshot = vm.snapshotState();
        vm.expectEmit(address(usdc));
        emit IERC3009Cancel.AuthorizationCanceled(user.addr, NONCE);
        usdc.cancelAuthorization(user.addr, NONCE, v, r, s);
        vm.revertToState(snapshot);
        vm.expectEmit(address(usdc));
        emit IERC3009Cancel.AuthorizationCanceled(user.addr, NONCE);
        usdc.cancelAuthorization(user.addr, NONCE, abi.encodePacked(r, s, v));
        assertTrue(usdc.authorizationState(user.addr, NONCE));

        bytes memory signature = _sign(user, _authorization("TransferWithAuthorization", user.addr, recipient));
        vm.expectRevert(abi.encodeWithSelector(ERC3009.ERC3009UsedAuthorization.selector, user.addr, NONCE));
        usdc.transferWithAuthorization(user.addr, recipient, VALUE, 0, validBefore, NONCE, signature);
    }

    function test_cancelAuthorization__of_somebody_else__is_refused() public {
        bytes memory signature = _sign(stranger, _cancellation(user.addr));
        vm.expectRevert(ERC3009.ERC3009InvalidSignature.selector);
        usdc.cancelAuthorization(user.addr, NONCE, signature);
    }
}
