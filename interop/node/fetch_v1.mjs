// A foreign client of the older protocol: x402-fetch. How it is told what to pay: peer.mjs.
//
// The package knows networks only by its own names: the chain under test must have an id that it has a name for.
import { privateKeyToAccount } from "viem/accounts";
import { decodeXPaymentResponse, wrapFetchWithPayment } from "x402-fetch";
import { client, fetched, init, start } from "./peer.mjs";

const pay = wrapFetchWithPayment(fetch, privateKeyToAccount(start.key), 1_000_000_000n);

await client(
  async (asked) => fetched(await pay(asked.url, init(asked))),
  (headers) => headers["x-payment-response"] && decodeXPaymentResponse(headers["x-payment-response"]),
);
