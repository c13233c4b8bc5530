// A foreign client: @x402/fetch. How it is told what to pay: peer.mjs.
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { both } from "./buyer.mjs";
import { client, fetched, init } from "./peer.mjs";

const pay = both((payments) => wrapFetchWithPayment(fetch, payments), x402Client);

await client(
  async (asked) => fetched(await pay(asked)(asked.url, init(asked))),
  (headers) => {
    const header = headers["payment-response"] ?? headers["x-payment-response"];
    return header && decodePaymentResponseHeader(header);
  },
);
