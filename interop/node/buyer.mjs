// What a buyer of the published v2 packages is made of, whichever HTTP client carries it.
import { toClientEvmSigner } from "@x402/evm";
import { AuthCaptureEvmScheme } from "@x402/evm/auth-capture/client";
import { BatchSettlementEvmScheme } from "@x402/evm/batch-settlement/client";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { UptoEvmScheme } from "@x402/evm/upto/client";
import { ExactEvmSchemeV1 } from "@x402/evm/v1";
import {
  BuilderCodeClientExtension,
  PAYMENT_IDENTIFIER,
  appendPaymentIdentifierToExtensions,
  createSIWxClientExtension,
  extractReceiptFromResponse,
  verifyReceiptSignatureEIP712,
} from "@x402/extensions";
import { privateKeyToAccount } from "viem/accounts";
import { reader, start } from "./peer.mjs";

// One client as it comes, and one with extensions, by whether a request asks for them. `made` makes one of an
// x402Client, of whichever version of the core package.
export function both(made, Client) {
  const [plain, extended] = [made(registered(new Client())), made(extending(registered(new Client())))];
  return (asked) => (asked.extended ? extended : plain);
}

// What is known of channels. It can be lost.
const channels = new Map();
const storage = {
  get: async (key) => channels.get(key),
  set: async (key, context) => void channels.set(key, context),
  delete: async (key) => void channels.delete(key),
};
let onChannels;

// What a request asks of channels beside a payment: all that is known of them is lost first; or it buys nothing, and the
// rest comes back. Then it says what came of it.
export async function aside(asked) {
  if (asked.forget) channels.clear();
  if (!asked.refund) return undefined;
  const options = asked.refund === true ? {} : { amount: asked.refund };
  return { status: 200, headers: {}, settlement: await onChannels.refund(asked.url, options) };
}

// Who signed the receipt of what was bought at `url`, if there is one.
export async function receiptSigner(url, headers) {
  const receipt = extractReceiptFromResponse(new Response(null, { headers }));
  if (!receipt) return undefined;
  const { signer, payload } = await verifyReceiptSignatureEIP712(receipt);
  return payload.resourceUrl === url ? signer : undefined;
}

function registered(client) {
  const { network, v1Network, token, rpc } = start;
  const signer = toClientEvmSigner(privateKeyToAccount(start.key), reader());
  onChannels ??= new BatchSettlementEvmScheme(signer, { storage, rpcUrl: rpc });
  client
    .register(network, new ExactEvmScheme(signer, { rpcUrl: rpc }))
    .register(network, new UptoEvmScheme(signer, { rpcUrl: rpc }))
    .register(network, new AuthCaptureEvmScheme(signer))
    .register(network, onChannels)
    .registerV1(v1Network, new ExactEvmSchemeV1(signer));
  // Without this the newer packages refuse every token they do not know; the older ones have no such rule.
  const allowed = (name) => ({ network: name, asset: token.address, maxAmountPerPayment: "1000000000" });
  client.setSpendControls?.({ allowedAssets: [allowed(network), allowed(v1Network)] });
  return client;
}

function extending(client) {
  return client
    .registerExtension(new BuilderCodeClientExtension("partner_agent"))
    .registerExtension({ key: PAYMENT_IDENTIFIER, enrichPaymentPayload: named })
    .registerExtension(createSIWxClientExtension({ signers: [privateKeyToAccount(start.key)] }));
}

async function named(payment) {
  return { ...payment, extensions: appendPaymentIdentifierToExtensions({ ...payment.extensions }) };
}
