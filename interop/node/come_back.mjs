// A foreign buyer that has an identity: buys a URL with @x402/fetch, then comes back for it by signing in.
//
//   node come_back.mjs --url URL --key 0x.. --network eip155:8453 --asset 0x.. --code my_client
//
// stdout: one line [{ status, body, paid }, { status, body, paid }]: of the purchase, and of coming back.
import { parseArgs } from "node:util";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { BuilderCodeClientExtension } from "@x402/extensions/builder-code";
import { createSIWxClientExtension } from "@x402/extensions/sign-in-with-x";
import { wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { privateKeyToAccount } from "viem/accounts";

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    key: { type: "string" },
    network: { type: "string" },
    asset: { type: "string" },
    code: { type: "string" },
  },
});

const account = privateKeyToAccount(options.key);
const client = new x402Client()
  .register(options.network, new ExactEvmScheme(account))
  .registerExtension(createSIWxClientExtension({ signers: [account] }))
  .registerExtension(new BuilderCodeClientExtension(options.code));
const { network, asset } = options;
client.setSpendControls({ allowedAssets: [{ network, asset, maxAmountPerPayment: "10000" }] });
const pay = wrapFetchWithPayment(fetch, client);

const told = [];
for (let time = 0; time < 2; time += 1) {
  const answer = await pay(options.url);
  const paid = answer.headers.has("PAYMENT-RESPONSE");
  told.push({ status: answer.status, body: await answer.text(), paid });
}
console.log(JSON.stringify(told));
process.exit(0);
