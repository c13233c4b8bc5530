// A foreign server: mppx, whose charges take x402 payments too. How it is told what to sell: ../node/peer.mjs.
import { createServer } from "node:http";
import { Mppx, Request, evm } from "mppx/server";
import { formatUnits } from "viem";
import { listening, servers, start } from "../node/peer.mjs";

const SOLD = ["/exact-eip3009", "/echo", "/fails"];
const { network, payTo, price, token } = start;

await servers(async ({ url, routes }) => {
  const mppx = Mppx.create({
    methods: [
      evm.charge({
        chainId: Number(network.split(":")[1]),
        currency: token.address,
        decimals: token.decimals,
        authorization: { name: token.name, version: token.version },
        recipient: payTo,
        x402: { facilitator: url },
      }),
    ],
    secretKey: "a key for tests that is as long as the package wants it",
  });
  const charge = mppx.charge({ amount: formatUnits(BigInt(price), token.decimals) });
  const handler = async (request) => {
    const path = new URL(request.url).pathname;
    if (!SOLD.includes(path) || !routes.includes(path)) return new Response(null, { status: 404 });
    const body = await request.clone().text();
    const result = await charge(request);
    if (result.status === 402) return result.challenge;
    return result.withReceipt(new Response(`sold ${path}${body}`, { status: path === "/fails" ? 500 : 200 }));
  };
  return listening(createServer(Request.toNodeListener(handler)));
});
