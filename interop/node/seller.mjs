// What a seller of the published v2 packages is made of, whichever framework carries it.
import { HTTPFacilitatorClient, x402ResourceServer } from "@x402/core/server";
import { BatchSettlementEvmScheme } from "@x402/evm/batch-settlement/server";
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

// By the server's origin, who claims what its channels owe.
const managers = new Map();

// Claims what the channels of the server at `origin` owe, and has it paid out.
export const claimed = (origin) => managers.get(origin).claimAndSettle();

// A server at `origin` that settles through `url`, on channels too if it has a key to authorize claims with.
export function resourceServer({ url, authorizerKey }, origin) {
  const facilitator = new HTTPFacilitatorClient({ url });
  const server = new x402ResourceServer(facilitator);
  if (authorizerKey) {
    const scheme = new BatchSettlementEvmScheme(start.payTo, {
      receiverAuthorizerSigner: privateKeyToAccount(authorizerKey),
    });
    managers.set(origin, scheme.createChannelManager(facilitator, start.network, start.token.address));
    server.register(start.network, scheme);
  }
  return server
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
    "/batch-settlement": offer("batch-settlement"),
    "/batch-settlement-partly": offer("batch-settlement"),
    "/batch-settlement-permit2": offer("batch-settlement", { assetTransferMethod: "permit2" }),
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

// What a route says of itself once it is paid for, and of what was sent to it; some are charged less than their most.
export const answer = (path, body = "") => [path === "/fails" ? 500 : 200, `sold ${path}${body}`];
const PARTLY = ["/upto", "/batch-settlement-partly"];
export const charged = (path) => (PARTLY.includes(path) ? { amount: start.charged } : undefined);
