// A foreign facilitator: @x402/core and @x402/evm on viem, behind plain HTTP. How it is started: peer.mjs.
//
// The signer is put together as the package's own documentation does: one viem client per key, and each write takes
// the next key in turn. Reads go through the first. viem asks a node for receipts every `pollMs`.
// It serves POST /verify, POST /settle and GET /supported.
import { createServer } from "node:http";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { BatchSettlementEvmScheme } from "@x402/evm/batch-settlement/facilitator";
import { ExactEvmScheme } from "@x402/evm/exact/facilitator";
import { ExactEvmSchemeV1 } from "@x402/evm/exact/v1/facilitator";
import { UptoEvmScheme } from "@x402/evm/upto/facilitator";
import { createWalletClient, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { chain, listening, servers, start } from "./peer.mjs";

const clients = start.keys.map((key) =>
  createWalletClient({
    account: privateKeyToAccount(key),
    chain,
    transport: http(start.rpc),
    pollingInterval: start.pollMs,
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
const facilitator = new x402Facilitator()
  .register(start.network, new ExactEvmScheme(signer))
  .register(start.network, new UptoEvmScheme(signer))
  .register(start.network, new BatchSettlementEvmScheme(signer));
// The older protocol knows some chains by name, and no others.
if (start.v1Network) facilitator.registerV1(start.v1Network, new ExactEvmSchemeV1(signer));

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

await servers(async () => {
  const server = createServer((request, response) => {
    answer(request).then(
      (value) => send(response, 200, value),
      (error) => send(response, 500, { error: error instanceof Error ? error.message : String(error) }),
    );
  });
  // A benchmark's connections are kept open however long a settlement takes.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 120_000;
  return listening(server, 4096);
});
