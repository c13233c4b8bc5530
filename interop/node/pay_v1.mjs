// A foreign buyer of the older protocol: pays a URL with x402-fetch.
//
//   node pay_v1.mjs --url URL --key 0x.. [--method GET] [--body JSON] [--max ATOMIC]
//
// The package knows networks only by its own names: run the chain with id 84532, which it calls base-sepolia.
// stdout: one line { status, body, settlement, headers }; `settlement` is the decoded X-PAYMENT-RESPONSE or null.
// Exits 0 if the answer is 2xx and the settlement says success; 1 otherwise, with { error } if nothing was answered.
import { parseArgs } from "node:util";
import { privateKeyToAccount } from "viem/accounts";
import { decodeXPaymentResponse, wrapFetchWithPayment } from "x402-fetch";
import { finish } from "./finish.mjs";

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    key: { type: "string" },
    method: { type: "string", default: "GET" },
    body: { type: "string" },
    max: { type: "string", default: "1000000000" },
  },
});

await finish(async () => {
  const pay = wrapFetchWithPayment(fetch, privateKeyToAccount(options.key), BigInt(options.max));
  const headers = options.body === undefined ? {} : { "content-type": "application/json" };
  return [await pay(options.url, { method: options.method, body: options.body, headers }), readSettlement];
});

function readSettlement(headers) {
  const header = headers.get("X-PAYMENT-RESPONSE");
  return header && decodeXPaymentResponse(header);
}
