// A foreign client: @x402/axios. How it is told what to pay: peer.mjs.
import { decodePaymentResponseHeader, wrapAxiosWithPayment, x402Client } from "@x402/axios";
import axios from "axios";
import { both, receiptSigner } from "./buyer.mjs";
import { client, init } from "./peer.mjs";

const api = both((payments) => wrapAxiosWithPayment(axios.create(), payments), x402Client);

function told(asked) {
  const { body: data, ...rest } = init(asked);
  return { ...rest, data };
}

await client(
  async (asked) => {
    // A status that is no success is an answer too.
    const { status, data, headers } = await api(asked).request({ url: asked.url, ...told(asked) }).catch((error) => {
      if (error.response) return error.response;
      throw error;
    });
    const body = typeof data === "string" ? data : JSON.stringify(data);
    return { status, body, headers: { ...headers }, receiptSigner: await receiptSigner(asked.url, { ...headers }) };
  },
  (headers) => {
    const header = headers["payment-response"] ?? headers["x-payment-response"];
    return header && decodePaymentResponseHeader(header);
  },
);
