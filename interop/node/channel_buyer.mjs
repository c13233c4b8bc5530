// A foreign buyer that pays by channel: @x402/fetch with scheme batch-settlement.
//
//   node channel_buyer.mjs --shop URL --chain URL --key 0x.. --network eip155:8453 --asset 0x..
//
// It buys SHOP/data three times and SHOP/partly once, forgets all it knows and buys SHOP/data again, then asks its money
// back. What it wants to know of the chain it reads at CHAIN/<channel>: {balance, claimed}.
// stdout: one line of JSON, for each request {status, body, sent, settlement}; then the refund's {settlement}.
import { parseArgs } from "node:util";
import { BatchSettlementEvmScheme } from "@x402/evm/batch-settlement/client";
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { privateKeyToAccount } from "viem/accounts";

const text = { type: "string" };
const { values: options } = parseArgs({
  options: { shop: text, chain: text, key: text, network: text, asset: text },
});

const account = privateKeyToAccount(options.key);
const signer = {
  address: account.address,
  signTypedData: (message) => account.signTypedData(message),
  readContract: async ({ args: [channel] }) => {
    const { balance, claimed } = await (await fetch(`${options.chain}/${channel}`)).json();
    return [BigInt(balance), BigInt(claimed)];
  },
};

// Somebody who remembers nothing yet.
function buyer() {
  const scheme = new BatchSettlementEvmScheme(signer);
  const client = new x402Client().register(options.network, scheme);
  const { network, asset } = options;
  client.setSpendControls({ allowedAssets: [{ network, asset, maxAmountPerPayment: "1000000" }] });
  const sent = [];
  const watched = async (request, init) => {
    const asked = new Request(request, init);
    const header = asked.headers.get("PAYMENT-SIGNATURE");
    if (header) sent.push(JSON.parse(atob(header)).payload.type);
    return fetch(asked);
  };
  return { scheme, sent, pay: wrapFetchWithPayment(watched, client) };
}

const told = [];
let { scheme, sent, pay } = buyer();
for (const path of ["/data", "/data", "/partly", "/data", "forget", "/data"]) {
  if (path === "forget") {
    ({ scheme, sent, pay } = buyer());
    continue;
  }
  const answer = await pay(`${options.shop}${path}`);
  const header = answer.headers.get("PAYMENT-RESPONSE");
  const settlement = header && decodePaymentResponseHeader(header);
  told.push({ status: answer.status, body: await answer.text(), sent: sent.splice(0), settlement });
}
told.push({ settlement: await scheme.refund(`${options.shop}/data`) });
console.log(JSON.stringify(told));
process.exit(0);
