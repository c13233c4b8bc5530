// A foreign server: @x402/express. How it is told what to sell: peer.mjs.
import { createServer } from "node:http";
import { paymentMiddleware, setSettlementOverrides } from "@x402/express";
import express from "express";
import { listening, servers } from "./peer.mjs";
import { answer, charged, claimed, resourceServer, sold } from "./seller.mjs";

await servers(async (facilitator) => {
  const app = express();
  const server = createServer(app);
  const url = await listening(server);
  app.post("/claim", (_, response, next) => claimed(url).then((told) => response.json(told), next));
  app.use(paymentMiddleware(sold(facilitator), resourceServer(facilitator, url)));
  app.use(express.text({ type: () => true }));
  app.all("/:route", (request, response) => {
    const overrides = charged(request.path);
    if (overrides) setSettlementOverrides(response, overrides);
    const [status, text] = answer(request.path, request.body);
    response.status(status).type("text/plain").send(text);
  });
  return url;
});
