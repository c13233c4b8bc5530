// A foreign buyer: pays a URL with @x402/fetch and @x402/evm.
//
//   node pay.mjs --url URL --key 0x.. --token 0x.. --rpc URL [--network eip155:31337]
//                [--method GET] [--body JSON] [--max ATOMIC]
//
// stdout: one line { status, body, settlement, headers }; `settlement` is the decoded PAYMENT-RESPONSE or null.
// Exits 0 if the answer is 2xx and the settlement says success; 1 otherwise, with { error } if nothing was answered.
import { parseArgs } from "node:util";
import { toClientEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { createPublicClient, defineChain, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { finish } from "./finish.mjs";

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    key: { type: "string" },
    token: { type: "string" },
    rpc: { type: "string" },
    network: { type: "string", default: "eip155:31337" },
    method: { type: "string", default: "GET" },
    body: { type: "string" },
    max: { type: "string", default: "1000000000" },
  },
});

await finish(async () => {
  const chain = defineChain({
    id: Number(options.network.split(":")[1]),
    name: "under test",
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [options.rpc] } },
  });
  const reader = createPublicClient({ chain, transport: http(options.rpc) });
  const signer = toClientEvmSigner(privateKeyToAccount(options.key), reader);
  const client = new x402Client().register(
    options.network,
    new ExactEvmScheme(signer, { rpcUrl: options.rpc }),
  );
  // Without this the package refuses every token it does not know.
  client.setSpendControls({
    allowedAssets: [{ network: options.network, asset: options.token, maxAmountPerPayment: options.max }],
  });
  const pay = wrapFetchWithPayment(fetch, client);
  const headers = options.body === undefined ? {} : { "content-type": "application/json" };
  return [await pay(options.url, { method: options.method, body: options.body, headers }), readSettlement];
});

function readSettlement(headers) {
  const header = headers.get("PAYMENT-RESPONSE");
  return header && decodePaymentResponseHeader(header);
}
