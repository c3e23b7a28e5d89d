// Computes every vector of tests/golden/orders.json anew from its order. Usage: node golden.mjs [ORDERS_JSON]
// Prints what differs, one line each, and how many values were compared; exits 1 on any difference and on an empty file.
import { readFileSync } from "node:fs";
import { keccak256 } from "viem";
import {
  attestationDigest,
  erc3009Digest,
  fillDescription,
  fillRecordHash,
  orderId,
  outputHash,
  permit2Digest,
} from "./order.mjs";

const LEAST_ORDERS = 8;

const file = process.argv[2] ?? new URL("../../golden/orders.json", import.meta.url);
const { orders } = JSON.parse(readFileSync(file, "utf8"));
let compared = 0;
let different = 0;

for (const vector of orders) compare(vector);
if (orders.length < LEAST_ORDERS) {
  different += 1;
  process.stdout.write(`only ${orders.length} orders; at least ${LEAST_ORDERS} are wanted\n`);
}
process.stdout.write(`${orders.length} orders, ${compared} values, ${different} different\n`);
process.exitCode = different === 0 ? 0 : 1;

function compare({ name, settler, order, order_id, permit2, erc3009, output_hashes, fill }) {
  const expect = (what, expected, actual) => {
    compared += 1;
    if (expected === actual) return;
    different += 1;
    process.stdout.write(`${name}: ${what} is ${expected} in the file, ${actual} by viem\n`);
  };
  const id = orderId(order, settler);
  expect("order_id", order_id, id);
  expect("permit2.chain_id", permit2.chain_id, order.origin_chain_id);
  expect("permit2.digest", permit2.digest, permit2Digest(order, settler));
  expect("erc3009.length", erc3009.length, order.inputs.length);
  erc3009.forEach((token, index) => expect(`erc3009[${index}].digest`, token.digest, erc3009Digest(order, settler, token)));
  expect("output_hashes.length", output_hashes.length, order.outputs.length);
  order.outputs.forEach((output, index) => expect(`output_hashes[${index}]`, output_hashes[index], outputHash(output)));

  const filled = order.outputs[fill.output_index];
  const description = fillDescription(fill.solver, id, fill.timestamp, filled);
  const dataHash = keccak256(description);
  expect("fill.record_hash", fill.record_hash, fillRecordHash(fill.solver, fill.timestamp));
  expect("fill.description", fill.description, description);
  expect("fill.data_hash", fill.data_hash, dataHash);
  expect("fill.attestation_digest", fill.attestation_digest, attestationDigest(order, filled, dataHash));
}
