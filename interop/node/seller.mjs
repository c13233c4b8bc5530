// What a seller of the published v2 packages is made of, whichever framework carries it.
import { HTTPFacilitatorClient, x402ResourceServer } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { UptoEvmScheme } from "@x402/evm/upto/server";
import {
  InMemorySIWxStorage,
  PAYMENT_IDENTIFIER,
  builderCodeResourceServerExtension,
  createEIP712OfferReceiptIssuer,
  createOfferReceiptExtension,
  createSIWxResourceServerExtension,
  declareBuilderCodeExtension,
  declareOfferReceiptExtension,
  declarePaymentIdentifierExtension,
  declareSIWxExtension,
  paymentIdentifierResourceServerExtension,
} from "@x402/extensions";
import { privateKeyToAccount } from "viem/accounts";
import { start } from "./peer.mjs";

// A server at `origin` that settles through `url`.
export function resourceServer({ url }, origin) {
  return new x402ResourceServer(new HTTPFacilitatorClient({ url }))
    .register(start.network, new ExactEvmScheme())
    .register(start.network, new UptoEvmScheme())
    .registerExtension(builderCodeResourceServerExtension)
    .registerExtension(paymentIdentifierResourceServerExtension)
    .registerExtension(createOfferReceiptExtension(issuer()))
    .registerExtension(createSIWxResourceServerExtension({ storage: new InMemorySIWxStorage(), origin }));
}

function issuer() {
  const account = privateKeyToAccount(start.issuerKey);
  return createEIP712OfferReceiptIssuer(`did:pkh:eip155:1:${account.address}`, (data) => account.signTypedData(data));
}

// The routes that the test asked for, of those that the packages can sell.
export function sold({ routes }) {
  const { network, payTo, token, price } = start;
  const offer = (scheme, extra) => ({
    accepts: {
      scheme,
      network,
      payTo,
      price: { asset: token.address, amount: price, extra: { name: token.name, version: token.version, ...extra } },
    },
    description: "sold by a partner",
    mimeType: "text/plain",
  });
  const all = {
    "/exact-eip3009": offer("exact"),
    "/exact-permit2": offer("exact", { assetTransferMethod: "permit2" }),
    "/upto": offer("upto"),
    "/payment-identifier": {
      ...offer("exact"),
      extensions: { [PAYMENT_IDENTIFIER]: declarePaymentIdentifierExtension(true) },
    },
    "/builder-code": { ...offer("exact"), extensions: { "builder-code": declareBuilderCodeExtension("partner_app") } },
    "/sign-in-with-x": { ...offer("exact"), extensions: declareSIWxExtension() },
    "/offer-receipt": { ...offer("exact"), extensions: declareOfferReceiptExtension() },
    "/echo": offer("exact"),
    "/fails": offer("exact"),
  };
  const asked = Object.entries(all).filter(([path]) => routes.includes(path));
  return Object.fromEntries(asked.map(([path, config]) => [`${path === "/echo" ? "POST" : "GET"} ${path}`, config]));
}

// What a route says of itself once it is paid for, and of what was sent to it; `upto` is charged less than its most.
export const answer = (path, body = "") => [path === "/fails" ? 500 : 200, `sold ${path}${body}`];
export const charged = (path) => (path === "/upto" ? { amount: start.charged } : undefined);
