// A client that knows the mesh by its .proto files only. Usage: node submit_and_watch.mjs ENDPOINTS_JSON
// Signs a SWAP (USDC for WETH on the first chain) with viem, submits it through the gateway and watches it to the end.
// Prints one JSON line {intent_id, type, status, phase, obligation, events: […]} (or {error, …}) on standard output.
// Exits 0 only when the intent is COMPLETED and SETTLED.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import { concat, pad } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { orderId, permit2TypedData } from "./order.mjs";

const USDC_IN = 100n;
// Well below the reference solver's price of 1 WETH = 2000 USDC, so that its margin does not decide the test.
const MILLIWETH_OUT_PER_1000_USDC = 480n;
const FILL_WITHIN_SECONDS = 600;
const EXPIRES_AFTER_SECONDS = 3600;
const GIVE_UP_AFTER_SECONDS = Number(process.env.WATCH_SECONDS ?? 120);
const CALL_SECONDS = 20;
const RECONNECT_MS = 250;

const file = process.argv[2];
if (!file) {
  process.stderr.write("usage: node submit_and_watch.mjs ENDPOINTS_JSON\n");
  process.exit(64);
}
try {
  process.exitCode = await main(JSON.parse(readFileSync(file, "utf8")));
} catch (error) {
  print({ error: error.details ?? error.message, code: error.code, reason: error.metadata?.get("reason")?.[0] });
  process.exitCode = 1;
}

async function main(endpoints) {
  const { IntakeService, StatusService } = loadServices();
  const credentials = grpc.credentials.createInsecure();
  const intake = new IntakeService(endpoints.gateway, credentials);
  const status = new StatusService(endpoints.gateway, credentials);
  try {
    const { order, settler } = makeSwap(endpoints);
    const accepted = await submit(intake, order, await sign(endpoints, order, settler));
    const id = orderId(order, settler);
    if (accepted.intent_id !== id) throw new Error(`the mesh calls the order ${accepted.intent_id}, viem ${id}`);
    const events = await watchToTheEnd(status, id);
    return report(id, events, await intentStatus(status, id, events.at(-1).sequence));
  } finally {
    intake.close();
    status.close();
  }
}

function loadServices() {
  const root = (folder) => fileURLToPath(new URL(`../../../${folder}`, import.meta.url));
  const definition = protoLoader.loadSync(["intentmesh/v1/intake_service.proto", "intentmesh/v1/status_service.proto"], {
    includeDirs: [root("protos"), root("build/proto_deps")],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
  });
  return grpc.loadPackageDefinition(definition).intentmesh.v1;
}

function makeSwap({ chains, accounts }) {
  const { chain_id, contracts, tokens } = chains[0];
  const user = accountOf(accounts, "user").address;
  const now = Math.floor(Date.now() / 1000);
  const usdc = USDC_IN * 10n ** BigInt(tokens.USDC.decimals);
  const weth = (USDC_IN * MILLIWETH_OUT_PER_1000_USDC * 10n ** BigInt(tokens.WETH.decimals)) / 1_000_000n;
  // One chain: the output settler is its own oracle.
  const oracle = contracts.output_settler;
  const order = {
    user,
    nonce: BigInt(`0x${randomBytes(32).toString("hex")}`).toString(),
    origin_chain_id: chain_id,
    expires: now + EXPIRES_AFTER_SECONDS,
    fill_deadline: now + FILL_WITHIN_SECONDS,
    input_oracle: oracle,
    inputs: [{ token: tokens.USDC.address, amount: usdc.toString() }],
    outputs: [
      {
        oracle: word(oracle),
        settler: word(contracts.output_settler),
        chain_id,
        token: word(tokens.WETH.address),
        amount: weth.toString(),
        recipient: word(user),
        callback_data: "0x",
        context: "0x",
      },
    ],
  };
  return { order, settler: contracts.input_settler };
}

async function sign({ accounts }, order, settler) {
  const account = privateKeyToAccount(accountOf(accounts, "user").private_key);
  // 0x00 says: a Permit2 signature follows.
  return concat(["0x00", await account.signTypedData(permit2TypedData(order, settler))]);
}

async function submit(intake, order, signature) {
  const outputs = order.outputs.map((output) => ({
    ...output,
    callback_data: bytes(output.callback_data),
    context: bytes(output.context),
  }));
  const request = { order: { ...order, outputs }, signature: bytes(signature), type: "INTENT_TYPE_SWAP" };
  return unary(intake, "SubmitIntent", request);
}

/** All events in their order. A planned close or a lost connection is resumed after the last event seen. */
async function watchToTheEnd(status, intent_id) {
  const events = [];
  const giveUp = Date.now() + GIVE_UP_AFTER_SECONDS * 1000;
  for (;;) {
    const after = events.at(-1)?.sequence ?? "0";
    const stream = status.WatchIntent(
      { intent_id, after_sequence: after, end: "WATCH_END_SETTLED" },
      { deadline: giveUp },
    );
    try {
      for await (const message of stream) {
        for (const event of message.events) events.push(checkNext(events, event));
      }
      if (events.length === 0) throw new Error("the watch ended without any event");
      return events;
    } catch (error) {
      if (error.code !== grpc.status.UNAVAILABLE || Date.now() > giveUp) throw error;
      await new Promise((resume) => setTimeout(resume, RECONNECT_MS));
    }
  }
}

function checkNext(events, event) {
  const expected = BigInt(events.at(-1)?.sequence ?? 0) + 1n;
  if (BigInt(event.sequence) !== expected) throw new Error(`event ${event.sequence} came where ${expected} was due`);
  return event;
}

function intentStatus(status, intent_id, min_sequence) {
  return unary(status, "GetIntentStatus", { intent_id, min_sequence });
}

function report(intent_id, events, final) {
  print({
    intent_id,
    type: final.type,
    status: final.status,
    phase: final.phase,
    obligation: final.obligation,
    events: events.map(({ sequence, type, status, phase, message }) => ({ sequence, type, status, phase, message })),
  });
  const told = events.some((event) => event.status === "INTENT_STATUS_COMPLETED");
  const done = final.status === "INTENT_STATUS_COMPLETED" && final.phase === "INTENT_PHASE_SETTLED";
  return told && done ? 0 : 1;
}

function unary(client, method, request) {
  const deadline = Date.now() + CALL_SECONDS * 1000;
  return new Promise((resolve, reject) => {
    client[method](request, { deadline }, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

function accountOf(accounts, role) {
  const found = accounts.find((account) => account.role === role);
  if (!found) throw new Error(`the endpoints file names no ${role}`);
  return found;
}

function word(address) {
  return pad(address.toLowerCase(), { size: 32 });
}

function bytes(hex) {
  return Buffer.from(hex.slice(2), "hex");
}

function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}
