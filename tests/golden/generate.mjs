// Writes orders.json: orders and what they hash to, computed with viem alone, so that neither our Solidity nor our Python
// is its own judge. Run it after a deliberate change of the cases below:
//   node tests/golden/generate.mjs          viem is taken from tests/acceptance/js, or from the folder in VIEM_HOME
//   node tests/golden/generate.mjs --check  exits 1 if the file would change
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const FILE = new URL("orders.json", import.meta.url);
const home = process.env.VIEM_HOME ? pathToFileURL(`${resolve(process.env.VIEM_HOME)}/`) : new URL("../acceptance/js/", import.meta.url);
const { concat, encodeAbiParameters, encodePacked, getAddress, hashTypedData, keccak256, pad, size, stringToHex, toHex } =
  createRequire(new URL("package.json", home))("viem");

const PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3";
const MAX_UINT256 = 2n ** 256n - 1n;
const MAX_UINT32 = 2 ** 32 - 1;
const ALPHA = 31337;
const BETA = 31338;

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
const PERMIT2_TYPES = {
  PermitBatchWitnessTransferFrom: [
    { name: "permitted", type: "TokenPermissions[]" },
    { name: "spender", type: "address" },
    { name: "nonce", type: "uint256" },
    { name: "deadline", type: "uint256" },
    { name: "witness", type: "Permit2Witness" },
  ],
  TokenPermissions: [
    { name: "token", type: "address" },
    { name: "amount", type: "uint256" },
  ],
  Permit2Witness: [
    { name: "user", type: "address" },
    { name: "expires", type: "uint32" },
    { name: "inputOracle", type: "address" },
    { name: "outputs", type: "MandateOutput[]" },
  ],
  MandateOutput: MANDATE_OUTPUT,
};
const ERC3009_TYPES = {
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

// -- what the hashes are

function orderId(order, settler) {
  const inputs = concat(order.inputs.map(({ token, amount }) => encodePacked(["uint256", "uint256"], [BigInt(token), amount])));
  const outputs = encodeAbiParameters([{ type: "tuple[]", components: MANDATE_OUTPUT }], [order.outputs]);
  return keccak256(
    encodePacked(
      ["uint256", "address", "address", "uint256", "uint32", "uint32", "address", "bytes32", "bytes"],
      [BigInt(order.originChainId), settler, order.user, order.nonce, order.expires, order.fillDeadline, order.inputOracle, keccak256(inputs), outputs],
    ),
  );
}

function permit2Digest(order, settler) {
  return hashTypedData({
    domain: { name: "Permit2", chainId: order.originChainId, verifyingContract: PERMIT2 },
    types: PERMIT2_TYPES,
    primaryType: "PermitBatchWitnessTransferFrom",
    message: { permitted: order.inputs, spender: settler, nonce: order.nonce, deadline: BigInt(order.fillDeadline), witness: order },
  });
}

function erc3009Digest(order, settler, { token, name, version, value }) {
  return hashTypedData({
    domain: { name, version, chainId: order.originChainId, verifyingContract: token },
    types: ERC3009_TYPES,
    primaryType: "ReceiveWithAuthorization",
    message: { from: order.user, to: settler, value, validAfter: 0n, validBefore: BigInt(order.fillDeadline), nonce: orderId(order, settler) },
  });
}

const packedEnd = (output) =>
  encodePacked(
    ["bytes32", "uint256", "bytes32", "uint16", "bytes", "uint16", "bytes"],
    [output.token, output.amount, output.recipient, size(output.callbackData), output.callbackData, size(output.context), output.context],
  );

const outputHash = (output) =>
  keccak256(concat([encodePacked(["bytes32", "bytes32", "uint256"], [output.oracle, output.settler, BigInt(output.chainId)]), packedEnd(output)]));

const fillDescription = (solver, id, timestamp, output) =>
  concat([encodePacked(["bytes32", "bytes32", "uint32"], [solver, id, timestamp]), packedEnd(output)]);

// -- the cases

const address = (name) => getAddress(`0x${keccak256(stringToHex(name)).slice(-40)}`);
const word = (hexAddress) => pad(hexAddress, { size: 32 }).toLowerCase();
const named = (name) => word(address(name));

const dutch = (start, stop, slope) => encodePacked(["bytes1", "uint32", "uint32", "uint256"], ["0x01", start, stop, slope]);
const exclusive = (solver, until) => encodePacked(["bytes1", "bytes32", "uint32"], ["0xe0", solver, until]);
const exclusiveDutch = (solver, start, stop, slope) =>
  encodePacked(["bytes1", "bytes32", "uint32", "uint32", "uint256"], ["0xe1", solver, start, stop, slope]);

function output(changes = {}) {
  return {
    oracle: named("oracle beta"),
    settler: named("output settler"),
    chainId: BETA,
    token: named("USDC beta"),
    amount: 995_000_000n,
    recipient: named("recipient"),
    callbackData: "0x",
    context: "0x",
    ...changes,
  };
}

function order(changes = {}) {
  return {
    user: address("user"),
    nonce: 1n,
    originChainId: ALPHA,
    expires: 1_800_007_200,
    fillDeadline: 1_800_003_600,
    inputOracle: address("oracle alpha"),
    inputs: [{ token: address("USDC alpha"), amount: 1_000_000_000n }],
    outputs: [output()],
    ...changes,
  };
}

const CASES = [
  { name: "bridge, one input, one output, empty context", order: order() },
  {
    name: "swap on one chain, limit as one byte",
    order: order({
      inputOracle: address("output settler"),
      outputs: [output({ oracle: named("output settler"), chainId: ALPHA, token: named("WETH alpha"), amount: 400_000_000_000_000_000n, context: "0x00" })],
    }),
  },
  { name: "Dutch", order: order({ nonce: 3n, outputs: [output({ context: dutch(1_800_000_000, 1_800_000_600, 12_345n) })] }) },
  { name: "exclusive limit", order: order({ nonce: 4n, outputs: [output({ context: exclusive(named("solver"), 1_800_000_030) })] }) },
  {
    name: "exclusive Dutch with the largest slope",
    order: order({ nonce: 5n, outputs: [output({ context: exclusiveDutch(named("solver"), 1_800_000_030, 1_800_000_090, MAX_UINT256) })] }),
  },
  {
    name: "three inputs, three outputs on three chains, callback data",
    order: order({
      nonce: 6n,
      inputs: [
        { token: address("USDC alpha"), amount: 1n },
        { token: address("WETH alpha"), amount: 2_000_000_000_000_000_000n },
        { token: address("USDC alpha"), amount: 7n },
      ],
      outputs: [
        output({ callbackData: "0xc0ffee" }),
        output({ chainId: ALPHA, oracle: named("output settler"), callbackData: toHex(new Uint8Array(100).fill(0xab)), context: "0x00" }),
        output({ chainId: 10, amount: 1n, callbackData: "0x00", context: dutch(1, 2, 3n) }),
      ],
    }),
  },
  {
    name: "largest numbers",
    order: order({
      nonce: MAX_UINT256,
      expires: MAX_UINT32,
      fillDeadline: MAX_UINT32,
      inputs: [{ token: address("WETH alpha"), amount: MAX_UINT256 }],
      outputs: [output({ amount: MAX_UINT256, chainId: Number.MAX_SAFE_INTEGER })],
    }),
  },
  {
    name: "public chains, native output, zero nonce",
    order: order({ nonce: 0n, originChainId: 1, outputs: [output({ chainId: 42_161, token: pad("0x", { size: 32 }), amount: 10n ** 18n })] }),
  },
  {
    name: "identifiers that fill all 32 bytes",
    order: order({
      nonce: 2n ** 255n + 9n,
      outputs: [output({ oracle: keccak256("0x01"), settler: keccak256("0x02"), token: keccak256("0x03"), recipient: keccak256("0x04") })],
    }),
  },
  {
    name: "same bytes split differently between callback data and context",
    order: order({ nonce: 10n, outputs: [output({ callbackData: "0x0102", context: "0x03" }), output({ callbackData: "0x01", context: "0x0203" })] }),
  },
];

// -- the file

const TOKEN_DOMAINS = {
  [address("USDC alpha")]: { name: "USD Coin", version: "2" },
  [address("WETH alpha")]: { name: "Wrapped Ether", version: "1" },
};

function vector({ name, order }, index) {
  const settler = address("input settler");
  const id = orderId(order, settler);
  const tokens = order.inputs.map(({ token, amount }) => ({ token, ...TOKEN_DOMAINS[token], value: amount }));
  const fill = { solver: named("solver"), timestamp: 1_800_000_100 + index, outputIndex: order.outputs.length - 1 };
  const filled = order.outputs[fill.outputIndex];
  const description = fillDescription(fill.solver, id, fill.timestamp, filled);
  const attestation = { remoteChainId: BigInt(filled.chainId), remoteOracle: filled.oracle, application: filled.settler, dataHash: keccak256(description) };
  return {
    name,
    settler,
    order,
    orderId: id,
    permit2: { chainId: order.originChainId, digest: permit2Digest(order, settler) },
    erc3009: tokens.map((domain) => ({ ...domain, digest: erc3009Digest(order, settler, domain) })),
    outputHashes: order.outputs.map(outputHash),
    fill: {
      ...fill,
      recordHash: keccak256(encodePacked(["bytes32", "uint32"], [fill.solver, fill.timestamp])),
      description,
      dataHash: keccak256(description),
      attestationDigest: hashTypedData({
        domain: { name: "AttestedOracle", version: "1", chainId: order.originChainId, verifyingContract: order.inputOracle },
        types: ATTESTATION_TYPES,
        primaryType: "FillAttestation",
        message: attestation,
      }),
    },
  };
}

const snakeCase = (key) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Big numbers as decimal strings, keys in snake_case. */
function plain(value) {
  if (typeof value === "bigint") return value.toString();
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [snakeCase(key), plain(inner)]));
  }
  return value;
}

const text = `${JSON.stringify({ orders: CASES.map((item, index) => plain(vector(item, index))) }, null, 2)}\n`;
if (process.argv.includes("--check")) {
  const same = existsSync(FILE) && readFileSync(FILE, "utf8") === text;
  if (!same) process.stderr.write(`${fileURLToPath(FILE)} is not what generate.mjs writes\n`);
  process.exitCode = same ? 0 : 1;
} else {
  writeFileSync(FILE, text);
}
