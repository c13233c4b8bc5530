// The published TypeScript server with scheme batch-settlement, for benches: one process, as Node is.
//
//   node channels.mjs '{"facilitator", "network", "payTo", "token": {address, name, version}, "price", "path",
//                       "authorizerKey", "withdrawDelay", "directory"}'
//
// Channels are kept in files below `directory`, or in memory if there is none. It prints where it serves.
import { createServer } from "node:http";
import { HTTPFacilitatorClient, x402ResourceServer } from "@x402/core/server";
import { BatchSettlementEvmScheme } from "@x402/evm/batch-settlement/server";
import { FileChannelStorage } from "@x402/evm/batch-settlement/server/file-storage";
import { paymentMiddleware } from "@x402/express";
import express from "express";
import { privateKeyToAccount } from "viem/accounts";

const start = JSON.parse(process.argv[2]);
const { network, payTo, token, price, directory, withdrawDelay } = start;
const scheme = new BatchSettlementEvmScheme(payTo, {
  receiverAuthorizerSigner: privateKeyToAccount(start.authorizerKey),
  withdrawDelay,
  ...(directory && { storage: new FileChannelStorage({ directory }) }),
});
const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: start.facilitator })).register(network, scheme);
const { address: asset, name, version } = token;
const accepts = {
  scheme: "batch-settlement",
  network,
  payTo,
  price: { asset, amount: price, extra: { name, version } },
};
const app = express();
app.use(paymentMiddleware({ [`GET ${start.path}`]: { accepts, mimeType: "text/plain" } }, server));
app.get(start.path, (_, response) => response.type("text/plain").send("data"));

const http = createServer(app);
// A load's connections are kept open however long an answer takes.
http.requestTimeout = 0;
http.keepAliveTimeout = 120_000;
http.listen(0, "127.0.0.1", 4096, () => process.stdout.write(`127.0.0.1:${http.address().port}\n`));
process.stdin.resume().on("end", () => process.exit(0));
