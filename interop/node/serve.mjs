// A foreign seller: an express server that sells with @x402/express.
//
//   node serve.mjs --facilitator URL --token 0x.. --pay-to 0x.. [--network eip155:31337]
//                  [--name "USD Coin"] [--token-version 2] [--port 0]
//
// The first line of stdout is its URL; port 0 takes a free one. The facilitator must be up and support `exact` on the
// network. Routes: GET /paid ($0.01) and POST /paid-post ($0.01, echoes the body) are sold, GET /fails ($0.01)
// answers 500 once paid for, GET /served counts what was handed out, unpaid. It serves until it is killed, or until
// its stdin ends if that is a pipe, so that it does not outlive the test that started it.
import { fstatSync } from "node:fs";
import { parseArgs } from "node:util";
import { HTTPFacilitatorClient } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import express from "express";

const { values: options } = parseArgs({
  options: {
    facilitator: { type: "string" },
    token: { type: "string" },
    "pay-to": { type: "string" },
    network: { type: "string", default: "eip155:31337" },
    name: { type: "string", default: "USD Coin" },
    "token-version": { type: "string", default: "2" },
    port: { type: "string", default: "0" },
  },
});

if (fstatSync(0).isFIFO() || fstatSync(0).isSocket()) process.stdin.resume().on("end", () => process.exit(0));

const scheme = new ExactEvmScheme().registerMoneyParser(async (dollars) => ({
  amount: String(Math.round(Number(dollars) * 1e6)),
  asset: options.token,
  extra: { name: options.name, version: options["token-version"] },
}));
const seller = new x402ResourceServer(new HTTPFacilitatorClient({ url: options.facilitator })).register(
  options.network,
  scheme,
);
const sold = (description) => ({
  accepts: { scheme: "exact", network: options.network, payTo: options["pay-to"], price: "$0.01" },
  description,
  mimeType: "application/json",
});

const served = { paid: 0, paidPost: 0, fails: 0 };
const app = express();
app.get("/served", (_request, response) => response.json(served));
app.use(express.json());
app.use(
  paymentMiddleware(
    {
      "GET /paid": sold("A paid answer"),
      "POST /paid-post": sold("A paid echo"),
      "GET /fails": sold("A paid failure"),
    },
    seller,
  ),
);
app.get("/paid", (_request, response) => {
  served.paid += 1;
  response.json({ paid: true });
});
app.post("/paid-post", (request, response) => {
  served.paidPost += 1;
  response.json({ paid: true, echo: request.body });
});
app.get("/fails", (_request, response) => {
  served.fails += 1;
  response.status(500).json({ paid: false });
});
const listener = app.listen(Number(options.port), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${listener.address().port}`);
});
