// Golden vectors made by the published TypeScript packages, both protocol versions.
//
//   node vectors.mjs [--check]
//
// Writes crates/tollway-core/tests/vectors/typescript.json, or with --check only compares it and exits 1 if it
// differs. Each vector is { name, producer, kind, version, wire, decoded }: `wire` is what travels (base64 of a
// header, or the text of a body), `decoded` the object inside. Two runs give the same bytes.
import "./frozen.mjs";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { KEY } from "./frozen.mjs";

const { x402Client, x402HTTPClient } = await import("@x402/core/client");
const { x402Facilitator } = await import("@x402/core/facilitator");
const { HTTPFacilitatorClient, x402ResourceServer } = await import("@x402/core/server");
const headers = await import("@x402/core/http");
const { ExactEvmScheme: ExactBuyer } = await import("@x402/evm/exact/client");
const { ExactEvmScheme: ExactFacilitator } = await import("@x402/evm/exact/facilitator");
const { ExactEvmScheme: ExactSeller } = await import("@x402/evm/exact/server");
const { ExactEvmSchemeV1 } = await import("@x402/evm/exact/v1/client");
const { UptoEvmScheme: UptoBuyer } = await import("@x402/evm/upto/client");
const { UptoEvmScheme: UptoSeller } = await import("@x402/evm/upto/server");
const { toFacilitatorEvmSigner } = await import("@x402/evm");
const { privateKeyToAccount } = await import("viem/accounts");
const v1 = {
  ...(await import("x402/client")),
  ...(await import("x402/types")),
  ...(await import("x402/verify")),
  ...(await import("x402-express")),
};

const V2 = "@x402 2.27.0";
const V1 = "x402 1.2.0";
const PAY_TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3";
const FACILITATOR = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
const TRANSACTION = `0x${"ab".repeat(32)}`;
const MAX_UINT256 = String(2n ** 256n - 1n);
const account = privateKeyToAccount(KEY);
const domain = { name: "USD Coin", version: "2" };

const vectors = [];
function add(name, producer, kind, version, wire) {
  const json = wire.startsWith("{") ? wire : Buffer.from(wire, "base64").toString("utf8");
  vectors.push({ name, producer, kind, version, wire, decoded: JSON.parse(json) });
}

// The packages speak to a facilitator through fetch: this one answers from `replies` and keeps the last body.
const replies = {};
let lastBody;
globalThis.fetch = async (url, init = {}) => {
  lastBody = init.body;
  const reply = replies[new URL(url).pathname.slice(1)];
  return new Response(JSON.stringify(reply), { headers: { "content-type": "application/json" } });
};
const facilitator = new HTTPFacilitatorClient({ url: "http://facilitator.test/" });

const required = await paymentRequired();
const paid = await payments();
await facilitatorRequests();
await settleResponses();
await facilitatorAnswers();
await versionOne();
save();

// What sellers ask for.
async function paymentRequired() {
  const networks = [8453, 84532, 137, 14, 4326, 42220, 31337].map((id) => `eip155:${id}`);
  replies.supported = {
    kinds: [
      ...networks.map((network) => ({ x402Version: 2, scheme: "exact", network })),
      { x402Version: 2, scheme: "upto", network: "eip155:8453", extra: { facilitatorAddress: FACILITATOR } },
    ],
    extensions: [],
    signers: { "eip155:*": [FACILITATOR] },
  };
  const local = new ExactSeller().registerMoneyParser(async (amount, network) =>
    network === "eip155:31337"
      ? { amount: String(Math.round(Number(amount) * 1e6)), asset: TOKEN, extra: domain }
      : null,
  );
  const seller = new x402ResourceServer(facilitator)
    .register("eip155:*", local)
    .register("eip155:8453", new ExactSeller())
    .register("eip155:8453", new UptoSeller());
  await seller.initialize();

  const exact = (chain, price, more = {}) => ({
    scheme: "exact",
    network: `eip155:${chain}`,
    payTo: PAY_TO,
    price,
    ...more,
  });
  const explicit = (amount, extra = domain) => ({ amount, asset: TOKEN, extra });
  const bare = { url: "https://api.example.com/weather?city=Z%C3%BCrich&u=1", description: "", mimeType: "" };
  const text = 'Wetter für Zürich ☀ 天気 🚀 "quoted" \\ / \u2028 \u0001';
  const branded = {
    ...bare,
    serviceName: "Weather Co",
    tags: ["weather", "json"],
    iconUrl: "https://api.example.com/i.png",
  };
  const odd = { zeta: 423.20917087271323, alpha: { b: [1, 2.5, "3", null, true], a: "x" }, nil: null, "weird key": "/" };
  const extensions = {
    bazaar: {
      info: {
        input: { type: "http", method: "GET", queryParams: { city: "Zürich" } },
        output: { type: "json", example: { t: 21.5 } },
      },
      schema: { type: "object", properties: { input: { type: "object" } }, required: ["input"] },
    },
    "payment-identifier": { info: { required: false }, schema: {} },
    "x-unknown": { info: { n: 1 } },
  };
  const upto = { scheme: "upto", network: "eip155:8453", payTo: PAY_TO, price: "$0.10" };

  const cases = {
    "base-cents": { options: [exact(8453, "$0.01")], resource: { ...bare, mimeType: "application/json" } },
    "base-sepolia-number-price": { options: [exact(84532, 0.5, { maxTimeoutSeconds: 60 })] },
    "polygon-one-unit": { options: [exact(137, "0.0000019")] },
    "flare-unicode": { options: [exact(14, "$0.25")], resource: { ...bare, description: text } },
    "celo-three-assets": {
      options: [exact(42220, "0.10 USDT"), exact(42220, "0.10 USAT"), exact(42220, "$0.10 USD")],
    },
    "megaeth-permit2-18-decimals": { options: [exact(4326, "$0.75")] },
    "local-branded": { options: [exact(31337, "$0.02", { maxTimeoutSeconds: 90 })], resource: branded },
    "three-offers": { options: [exact(31337, explicit("1000")), exact(8453, "$0.001"), upto] },
    upto: { options: [upto] },
    upfront: { options: [exact(8453, "$0.01", { extra: { paymentFlow: "upfront" } })] },
    "largest-amount": {
      options: [
        exact(31337, explicit(MAX_UINT256, { name: "Big ☃", version: "1" }), { maxTimeoutSeconds: 2147483647 }),
      ],
    },
    "odd-extra": { options: [exact(31337, "$0.03", { extra: odd })] },
    extensions: { options: [exact(31337, "$0.04")], extensions },
    "refused-signature": { options: [exact(8453, "$0.01")], error: "invalid_exact_evm_signature" },
    "no-error": { options: [exact(8453, "$0.01")], error: undefined },
  };
  const made = {};
  for (const [name, { options, resource = bare, extensions: declared, ...rest }] of Object.entries(cases)) {
    const error = "error" in rest ? rest.error : "Payment required";
    const offers = await seller.buildPaymentRequirementsFromOptions(options, {});
    const object = await seller.createPaymentRequiredResponse(offers, resource, error, declared);
    const wire = headers.encodePaymentRequiredHeader(object);
    add(`required-${name}`, V2, "payment-required", 2, wire);
    made[name] = headers.decodePaymentRequiredHeader(wire);
  }
  return made;
}

// What buyers answer, each the first offer of one of the above, and some altered offers.
async function payments() {
  const client = new x402Client()
    .register("eip155:*", new ExactBuyer(account))
    .register("eip155:8453", new ExactBuyer(account))
    .register("eip155:8453", new UptoBuyer(account));
  client.setSpendControls(false);
  const http = new x402HTTPClient(client);

  const altered = (change) => {
    const copy = structuredClone(required["local-branded"]);
    change(copy);
    return copy;
  };
  const cases = {
    ...required,
    "unknown-fields-lowercase-addresses": altered((r) => {
      r.futureTop = { a: 1 };
      r.resource.futureResource = "r";
      Object.assign(r.accepts[0], {
        futureOffer: ["k", 1],
        payTo: PAY_TO.toLowerCase(),
        asset: TOKEN.toLowerCase(),
      });
    }),
    "null-optionals": altered((r) => {
      r.error = null;
      r.extensions = null;
      r.resource = { url: "https://x.example/é", description: null, mimeType: null };
    }),
    "no-resource": altered((r) => delete r.resource),
  };
  const made = {};
  for (const [name, offer] of Object.entries(cases)) {
    const payment = await http.createPaymentPayload(offer);
    const wire = http.encodePaymentSignatureHeader(payment)["PAYMENT-SIGNATURE"];
    add(`payment-${name}`, V2, "payment-payload", 2, wire);
    made[name] = payment;
  }
  return made;
}

// What sellers send to a facilitator.
async function facilitatorRequests() {
  replies.verify = { isValid: true, payer: account.address };
  replies.settle = settled("eip155:31337");
  const names = [
    "local-branded",
    "extensions",
    "unknown-fields-lowercase-addresses",
    "megaeth-permit2-18-decimals",
    "largest-amount",
    "upto",
  ];
  for (const name of names) {
    await facilitator.verify(paid[name], paid[name].accepted);
    add(`verify-${name}`, V2, "facilitator-request", 2, lastBody);
  }
  const payment = paid["local-branded"];
  await facilitator.settle(payment, { ...payment.accepted, amount: "7" });
  add("settle-other-amount", V2, "facilitator-request", 2, lastBody);
}

// What sellers return to buyers: a facilitator's answer, read and written by the seller.
async function settleResponses() {
  const payer = account.address;
  const cases = {
    success: settled("eip155:31337"),
    "success-reordered-nulls": {
      network: "eip155:31337",
      errorReason: null,
      extra: null,
      payer,
      transaction: TRANSACTION,
      success: true,
      amount: null,
    },
    "success-amount-extra": {
      ...settled("eip155:8453"),
      amount: String(2n ** 128n),
      extra: { channelId: "0x01", n: 1.5 },
      extensions: { "offer-receipt": { info: { s: "ü☃" } } },
    },
    pending: refused("settlement_pending", { transaction: TRANSACTION, payer, errorMessage: "“timeout”" }),
    failed: refused("invalid_exact_evm_insufficient_balance", { payer, errorMessage: "execution reverted" }),
    "failed-no-payer": refused("unexpected_settle_error"),
  };
  const payment = paid["local-branded"];
  for (const [name, reply] of Object.entries(cases)) {
    replies.settle = reply;
    const answer = await facilitator.settle(payment, payment.accepted);
    add(`settlement-${name}`, V2, "settle-response", 2, headers.encodePaymentResponseHeader(answer));
  }
}

// What a facilitator built from the packages answers where it needs no chain to know the answer.
async function facilitatorAnswers() {
  const unused = () => {
    throw new Error("no chain here");
  };
  const calls = ["readContract", "verifyTypedData", "writeContract", "sendTransaction", "getCode"];
  const signer = toFacilitatorEvmSigner({
    address: FACILITATOR,
    waitForTransactionReceipt: unused,
    ...Object.fromEntries(calls.map((call) => [call, unused])),
  });
  const ours = new x402Facilitator().register(["eip155:31337", "eip155:84532"], new ExactFacilitator(signer));
  add("supported", V2, "supported", 2, JSON.stringify(ours.getSupported()));

  const payment = paid["local-branded"];
  const nameless = { ...payment.accepted, extra: {} };
  add("verified-no-domain", V2, "verify-response", 2, JSON.stringify(await ours.verify(payment, nameless)));
  add("settled-no-domain", V2, "settle-response", 2, JSON.stringify(await ours.settle(payment, nameless)));
}

// The older protocol, by the packages that spoke it.
async function versionOne() {
  const offer = (network, asset, name, more = {}) => ({
    scheme: "exact",
    network,
    maxAmountRequired: "10000",
    resource: "https://api.example.com/weather",
    description: "Weather",
    mimeType: "application/json",
    payTo: PAY_TO,
    maxTimeoutSeconds: 60,
    asset,
    extra: { name, version: "2" },
    ...more,
  });
  const offers = {
    "base-sepolia": offer("base-sepolia", "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC"),
    base: offer("base", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin", {
      maxAmountRequired: "999999999999999999",
      description: "Wetter für Zürich ☀ 天気",
    }),
    polygon: offer("polygon", "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USD Coin"),
    story: offer("story", "0xF1815bd50389c46847f0Bda824eC8da914045D14", "Bridged USDC"),
  };
  replies.verify = { isValid: true, payer: account.address };
  for (const [network, terms] of Object.entries(offers)) {
    const body = await v1Body(terms);
    add(`v1-required-${network}`, V1, "payment-required", 1, body);
    const parsed = JSON.parse(body).accepts.map((accept) => v1.PaymentRequirementsSchema.parse(accept));
    const chosen = v1.selectPaymentRequirements(parsed, undefined, "exact");
    const wire = await v1.createPaymentHeader(account, 1, chosen);
    add(`v1-payment-${network}`, V1, "payment-payload", 1, wire);
    const payment = JSON.parse(Buffer.from(wire, "base64").toString("utf8"));
    await v1.useFacilitator({ url: "http://facilitator.test" }).verify(payment, chosen);
    add(`v1-verify-${network}`, V1, "facilitator-request", 1, lastBody);
  }
  const malformed = await v1Body(offers.base, "!!notbase64");
  add("v1-required-after-malformed-header", V1, "payment-required", 1, malformed);

  const newer = new x402HTTPClient(new x402Client().registerV1("base-sepolia", new ExactEvmSchemeV1(account)));
  const body = { x402Version: 1, error: "Payment required", accepts: [offers["base-sepolia"]] };
  const wire = newer.encodePaymentSignatureHeader(await newer.createPaymentPayload(body))["X-PAYMENT"];
  add("v1-payment-base-sepolia-by-newer-package", V2, "payment-payload", 1, wire);

  const success = v1.settleResponseHeader(settled("base-sepolia"));
  add("v1-settlement-success", V1, "settle-response", 1, success);
  const failure = v1.settleResponseHeader({ ...refused("insufficient_funds"), network: "base-sepolia" });
  add("v1-settlement-failed", V1, "settle-response", 1, failure);
}

// Drives the older express middleware without a socket and returns the 402 body it would send.
async function v1Body(terms, payment) {
  const { hostname, pathname } = new URL(terms.resource);
  const middleware = v1.paymentMiddleware(
    terms.payTo,
    {
      [`GET ${pathname}`]: {
        network: terms.network,
        price: { amount: terms.maxAmountRequired, asset: { address: terms.asset, decimals: 6, eip712: terms.extra } },
        config: {
          description: terms.description,
          mimeType: terms.mimeType,
          maxTimeoutSeconds: terms.maxTimeoutSeconds,
        },
      },
    },
    { url: "http://facilitator.test" },
  );
  let body;
  const request = {
    method: "GET",
    protocol: "https",
    path: pathname,
    originalUrl: pathname,
    headers: { host: hostname },
    header: (name) => (name === "X-PAYMENT" ? payment : undefined),
  };
  const response = {
    status: () => response,
    json: (object) => {
      body = JSON.stringify(object);
      return response;
    },
  };
  // The middleware reports what it refuses on stderr; here the refusal is the point.
  const report = console.error;
  console.error = () => {};
  await middleware(request, response, () => {});
  console.error = report;
  return body;
}

function settled(network) {
  return { success: true, payer: account.address, transaction: TRANSACTION, network };
}

function refused(errorReason, more = {}) {
  return { success: false, errorReason, transaction: "", network: "eip155:31337", ...more };
}

function save() {
  const path = fileURLToPath(
    new URL("../../crates/tollway-core/tests/vectors/typescript.json", import.meta.url),
  );
  const text = `${JSON.stringify(vectors, null, 1)}\n`;
  if (!process.argv.includes("--check")) {
    writeFileSync(path, text);
  } else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error("typescript.json is not what the packages produce: run `cargo xtask codegen vectors`");
    process.exit(1);
  }
  console.log(`${vectors.length} vectors`);
}
