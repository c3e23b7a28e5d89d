// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @notice What a user signs: inputs offered on the origin chain for outputs wanted anywhere.
/// @param user Owner of the order; gets the inputs back if it is refunded.
/// @param nonce Makes the order unique; also the Permit2 nonce where Permit2 carries the signature.
/// @param originChainId Chain that escrows the inputs.
/// @param expires Unix seconds; after it a refund is open to anyone.
/// @param fillDeadline Unix seconds; the last second at which a fill counts.
/// @param inputOracle Contract on the origin chain that is asked for the proof of the fills.
/// @param inputs Pairs of (token address as a number, amount in the token's smallest unit).
/// @param outputs What has to be delivered, all of it, before the inputs are paid out.
struct StandardOrder {
    address user;
    uint256 nonce;
    uint256 originChainId;
    uint32 expires;
    uint32 fillDeadline;
    address inputOracle;
    uint256[2][] inputs;
    MandateOutput[] outputs;
}

/// @notice One delivery an order asks for. Addresses stand right-aligned in 32 bytes.
/// @param oracle Contract on the destination chain that vouches for the fill to the input oracle.
/// @param settler Output settler on the destination chain.
/// @param chainId Destination chain.
/// @param token Token to deliver; zero is the chain's native currency.
/// @param amount Least amount to deliver, in the token's smallest unit.
/// @param recipient Who receives it.
/// @param callbackData If not empty, handed to the recipient after the payment. At most 65,535 bytes.
/// @param context Kind of output and its parameters, see {OutputContext}. At most 65,535 bytes.
struct MandateOutput {
    bytes32 oracle;
    bytes32 settler;
    uint256 chainId;
    bytes32 token;
    uint256 amount;
    bytes32 recipient;
    bytes callbackData;
    bytes context;
}

/// @notice Who filled an output and when, as its fill record says.
/// @param timestamp Unix seconds of the block of the fill.
/// @param solver Who is paid for it.
struct SolveParams {
    uint32 timestamp;
    bytes32 solver;
}

/// @notice Life of an order in the escrow. Claimed and Refunded are final.
enum OrderStatus {
    None,
    Deposited,
    Claimed,
    Refunded
}
