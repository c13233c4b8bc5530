// A foreign facilitator: @x402/core and @x402/evm on viem, behind plain HTTP. For benches.
//
//   node facilitator.mjs --rpc URL [--poll-ms 100] [--network eip155:31337]     with the keys in PEER_KEYS
//
// The signer is put together as the package's own documentation does: one viem client per key, and each write takes
// the next key in turn. Reads go through the first. viem asks a node for receipts every `--poll-ms`.
// The first line of stdout is `127.0.0.1:port`. It serves POST /verify, POST /settle and GET /supported until its
// stdin ends.
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/facilitator";
import { createWalletClient, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { foundry } from "viem/chains";

const { values: options } = parseArgs({
  options: {
    rpc: { type: "string" },
    "poll-ms": { type: "string", default: "100" },
    network: { type: "string", default: "eip155:31337" },
  },
});

process.stdin.resume().on("end", () => process.exit(0));

const clients = process.env.PEER_KEYS.split(",").map((key) =>
  createWalletClient({
    account: privateKeyToAccount(key),
    chain: foundry,
    transport: http(options.rpc),
    pollingInterval: Number(options["poll-ms"]),
  }).extend(publicActions),
);
const [first] = clients;
let turn = 0;
const next = () => clients[turn++ % clients.length];
const signer = {
  ...toFacilitatorEvmSigner({
    address: first.account.address,
    getCode: (args) => first.getCode(args),
    readContract: (args) => first.readContract({ ...args, args: args.args ?? [] }),
    verifyTypedData: (args) => first.verifyTypedData(args),
    writeContract: (args) => next().writeContract({ ...args, args: args.args ?? [] }),
    sendTransaction: (args) => next().sendTransaction(args),
    waitForTransactionReceipt: (args) => first.waitForTransactionReceipt(args),
  }),
  getAddresses: () => clients.map((client) => client.account.address),
};
const facilitator = new x402Facilitator().register(options.network, new ExactEvmScheme(signer));

async function answer(request) {
  if (request.method === "GET" && request.url === "/supported") return facilitator.getSupported();
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { paymentPayload, paymentRequirements } = JSON.parse(Buffer.concat(chunks).toString("utf8"));
  if (request.url === "/verify") return facilitator.verify(paymentPayload, paymentRequirements);
  if (request.url === "/settle") return facilitator.settle(paymentPayload, paymentRequirements);
  throw new Error(`there is no ${request.url}`);
}

function send(response, status, value) {
  const body = JSON.stringify(value);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

const server = createServer((request, response) => {
  answer(request).then(
    (value) => send(response, 200, value),
    (error) => send(response, 500, { error: error instanceof Error ? error.message : String(error) }),
  );
});
// A benchmark's connections are kept open however long a settlement takes.
server.requestTimeout = 0;
server.keepAliveTimeout = 120_000;
server.listen(0, "127.0.0.1", 4096, () => console.log(`127.0.0.1:${server.address().port}`));
