// A foreign server: @x402/hono. How it is told what to sell: peer.mjs.
import { createAdaptorServer } from "@hono/node-server";
import { paymentMiddleware, setSettlementOverrides } from "@x402/hono";
import { Hono } from "hono";
import { listening, servers } from "./peer.mjs";
import { answer, charged, claimed, resourceServer, sold } from "./seller.mjs";

await servers(async (facilitator) => {
  const app = new Hono();
  const server = createAdaptorServer({ fetch: app.fetch });
  const url = await listening(server);
  app.post("/claim", async (context) => context.json(await claimed(url)));
  app.use(paymentMiddleware(sold(facilitator), resourceServer(facilitator, url)));
  app.all("/:route", async (context) => {
    const overrides = charged(context.req.path);
    if (overrides) setSettlementOverrides(context, overrides);
    const [status, text] = answer(context.req.path, await context.req.text());
    return context.text(text, status);
  });
  return url;
});
