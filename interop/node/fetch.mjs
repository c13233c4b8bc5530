// A foreign client: @x402/fetch. How it is told what to pay: peer.mjs.
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { aside, both, receiptSigner } from "./buyer.mjs";
import { client, fetched, init } from "./peer.mjs";

const pay = both((payments) => wrapFetchWithPayment(fetch, payments), x402Client);

await client(
  async (asked) => {
    const told = await aside(asked);
    if (told) return told;
    const answer = await fetched(await pay(asked)(asked.url, init(asked)));
    return { ...answer, receiptSigner: await receiptSigner(asked.url, answer.headers) };
  },
  (headers) => {
    const header = headers["payment-response"] ?? headers["x-payment-response"];
    return header && decodePaymentResponseHeader(header);
  },
);
