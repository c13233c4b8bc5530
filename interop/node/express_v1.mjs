// A foreign server of the older protocol: x402-express. How it is told what to sell: peer.mjs.
import { createServer } from "node:http";
import express from "express";
import { paymentMiddleware } from "x402-express";
import { listening, servers, start } from "./peer.mjs";

const { token, price, payTo, v1Network } = start;

await servers(async ({ url, routes }) => {
  const app = express();
  const asset = {
    address: token.address,
    decimals: token.decimals,
    eip712: { name: token.name, version: token.version },
  };
  if (routes.includes("/v1")) {
    app.use(paymentMiddleware(payTo, { "/v1": { price: { amount: price, asset }, network: v1Network } }, { url }));
    app.get("/v1", (request, response) => response.type("text/plain").send(`sold ${request.path}`));
  }
  return listening(createServer(app));
});
