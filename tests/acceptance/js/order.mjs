// What an order hashes to and how it is signed, by viem alone: the other judge beside our Python and our Solidity.
// Orders are in the form of tests/golden/orders.json: snake_case keys, numbers as decimal strings or numbers.
import { concat, encodeAbiParameters, encodePacked, hashTypedData, keccak256, size } from "viem";

export const PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3";

const MANDATE_OUTPUT = [
  { name: "oracle", type: "bytes32" },
  { name: "settler", type: "bytes32" },
  { name: "chainId", type: "uint256" },
  { name: "token", type: "bytes32" },
  { name: "amount", type: "uint256" },
  { name: "recipient", type: "bytes32" },
  { name: "callbackData", type: "bytes" },
  { name: "context", type: "bytes" },
];
const TOKEN_PERMISSIONS = [
  { name: "token", type: "address" },
  { name: "amount", type: "uint256" },
];
const PERMIT2_TYPES = {
  PermitBatchWitnessTransferFrom: [
    { name: "permitted", type: "TokenPermissions[]" },
    { name: "spender", type: "address" },
    { name: "nonce", type: "uint256" },
    { name: "deadline", type: "uint256" },
    { name: "witness", type: "Permit2Witness" },
  ],
  TokenPermissions: TOKEN_PERMISSIONS,
  Permit2Witness: [
    { name: "user", type: "address" },
    { name: "expires", type: "uint32" },
    { name: "inputOracle", type: "address" },
    { name: "outputs", type: "MandateOutput[]" },
  ],
  MandateOutput: MANDATE_OUTPUT,
};
const RECEIVE_TYPES = {
  ReceiveWithAuthorization: [
    { name: "from", type: "address" },
    { name: "to", type: "address" },
    { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" },
    { name: "validBefore", type: "uint256" },
    { name: "nonce", type: "bytes32" },
  ],
};
const ATTESTATION_TYPES = {
  FillAttestation: [
    { name: "remoteChainId", type: "uint256" },
    { name: "remoteOracle", type: "bytes32" },
    { name: "application", type: "bytes32" },
    { name: "dataHash", type: "bytes32" },
  ],
};

export function orderId(order, settler) {
  const inputs = order.inputs.map((input) => encodePacked(["uint256", "uint256"], [BigInt(input.token), BigInt(input.amount)]));
  const outputs = encodeAbiParameters([{ type: "tuple[]", components: MANDATE_OUTPUT }], [order.outputs.map(mandateOutput)]);
  return keccak256(
    encodePacked(
      ["uint256", "address", "address", "uint256", "uint32", "uint32", "address", "bytes32", "bytes"],
      [
        BigInt(order.origin_chain_id),
        settler,
        order.user,
        BigInt(order.nonce),
        Number(order.expires),
        Number(order.fill_deadline),
        order.input_oracle,
        keccak256(concat(inputs)),
        outputs,
      ],
    ),
  );
}

/** The typed data a user signs for Permit2; for viem's signTypedData and hashTypedData. */
export function permit2TypedData(order, settler) {
  return {
    domain: { name: "Permit2", chainId: Number(order.origin_chain_id), verifyingContract: PERMIT2 },
    types: PERMIT2_TYPES,
    primaryType: "PermitBatchWitnessTransferFrom",
    message: {
      permitted: order.inputs.map(({ token, amount }) => ({ token, amount: BigInt(amount) })),
      spender: settler,
      nonce: BigInt(order.nonce),
      deadline: BigInt(order.fill_deadline),
      witness: {
        user: order.user,
        expires: Number(order.expires),
        inputOracle: order.input_oracle,
        outputs: order.outputs.map(mandateOutput),
      },
    },
  };
}

export const permit2Digest = (order, settler) => hashTypedData(permit2TypedData(order, settler));

/** `domain`: the token's { token, name, version } and the `value` it is asked to move. */
export function erc3009Digest(order, settler, { token, name, version, value }) {
  return hashTypedData({
    domain: { name, version, chainId: Number(order.origin_chain_id), verifyingContract: token },
    types: RECEIVE_TYPES,
    primaryType: "ReceiveWithAuthorization",
    message: {
      from: order.user,
      to: settler,
      value: BigInt(value),
      validAfter: 0n,
      validBefore: BigInt(order.fill_deadline),
      nonce: orderId(order, settler),
    },
  });
}

export function outputHash(output) {
  const head = encodePacked(["bytes32", "bytes32", "uint256"], [output.oracle, output.settler, BigInt(output.chain_id)]);
  return keccak256(concat([head, packedPayment(output)]));
}

export function fillDescription(solver, id, timestamp, output) {
  return concat([encodePacked(["bytes32", "bytes32", "uint32"], [solver, id, timestamp]), packedPayment(output)]);
}

export const fillRecordHash = (solver, timestamp) => keccak256(encodePacked(["bytes32", "uint32"], [solver, timestamp]));

/** What attesters sign about the fill that hashes to `dataHash`, for the oracle of the order on its origin. */
export function attestationDigest(order, output, dataHash) {
  return hashTypedData({
    domain: {
      name: "AttestedOracle",
      version: "1",
      chainId: Number(order.origin_chain_id),
      verifyingContract: order.input_oracle,
    },
    types: ATTESTATION_TYPES,
    primaryType: "FillAttestation",
    message: {
      remoteChainId: BigInt(output.chain_id),
      remoteOracle: output.oracle,
      application: output.settler,
      dataHash,
    },
  });
}

function mandateOutput(output) {
  return {
    oracle: output.oracle,
    settler: output.settler,
    chainId: BigInt(output.chain_id),
    token: output.token,
    amount: BigInt(output.amount),
    recipient: output.recipient,
    callbackData: output.callback_data,
    context: output.context,
  };
}

function packedPayment(output) {
  return encodePacked(
    ["bytes32", "uint256", "bytes32", "uint16", "bytes", "uint16", "bytes"],
    [
      output.token,
      BigInt(output.amount),
      output.recipient,
      size(output.callback_data),
      output.callback_data,
      size(output.context),
      output.context,
    ],
  );
}
