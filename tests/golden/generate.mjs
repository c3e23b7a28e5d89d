// Writes orders.json: orders and what they hash to, computed with viem alone (tests/acceptance/js/order.mjs), so that
// neither our Solidity nor our Python is its own judge. Run it after a deliberate change of the cases below:
//   node tests/golden/generate.mjs
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import {
  attestationDigest,
  erc3009Digest,
  fillDescription,
  fillRecordHash,
  orderId,
  outputHash,
  permit2Digest,
} from "../acceptance/js/order.mjs";

const FILE = new URL("orders.json", import.meta.url);
const { encodePacked, getAddress, keccak256, pad, stringToHex, toHex } = createRequire(
  new URL("../acceptance/js/package.json", import.meta.url),
)("viem");

const MAX_UINT256 = 2n ** 256n - 1n;
const MAX_UINT32 = 2 ** 32 - 1;
const ALPHA = 31337;
const BETA = 31338;

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

function vector({ name, order: typed }, index) {
  const settler = address("input settler");
  const order = plain(typed);
  const id = orderId(order, settler);
  const tokens = order.inputs.map(({ token, amount }) => ({ token, ...TOKEN_DOMAINS[token], value: amount }));
  const fill = { solver: named("solver"), timestamp: 1_800_000_100 + index, output_index: order.outputs.length - 1 };
  const filled = order.outputs[fill.output_index];
  const description = fillDescription(fill.solver, id, fill.timestamp, filled);
  const dataHash = keccak256(description);
  return {
    name,
    settler,
    order,
    order_id: id,
    permit2: { chain_id: order.origin_chain_id, digest: permit2Digest(order, settler) },
    erc3009: tokens.map((domain) => ({ ...domain, digest: erc3009Digest(order, settler, domain) })),
    output_hashes: order.outputs.map(outputHash),
    fill: {
      ...fill,
      record_hash: fillRecordHash(fill.solver, fill.timestamp),
      description,
      data_hash: dataHash,
      attestation_digest: attestationDigest(order, filled, dataHash),
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

writeFileSync(FILE, `${JSON.stringify({ orders: CASES.map(vector) }, null, 2)}\n`);
