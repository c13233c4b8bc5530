// Golden vectors of scheme `batch-settlement`, made by the published TypeScript client and server.
//
//   node vectors_batch_settlement.mjs [--check]
//
// Writes crates/tollway-evm/tests/vectors/batch_settlement.json, or with --check only compares it and exits 1 if it differs.
// - channels: { name, network, config, channelId }.
// - payments: { name, offer, salt, now, random, voucherKey, charged, balance, payload }: what the client signed for the offer,
//   when it knew the channel so.
// - refunds: the same with `amount`, through the client's own refund.
// - requests: { name, request, rows }: what the server asks a facilitator for, with its own key or without.
// Two runs give the same bytes.
import { KEY, NOW_SECONDS } from "./frozen.mjs";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const { BatchSettlementEvmScheme: Buyer, computeChannelId } = await import("@x402/evm/batch-settlement/client");
const { BatchSettlementEvmScheme: Seller } = await import("@x402/evm/batch-settlement/server");
const { privateKeyToAccount } = await import("viem/accounts");

const USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
const PAY_TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const FACILITATOR = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
const ZERO = "0x0000000000000000000000000000000000000000";
const NO_SALT = `0x${"00".repeat(32)}`;
const SALT = `0x${"a7".repeat(32)}`;
// The next well-known development keys.
const VOUCHER_KEY = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
const AUTHORIZER_KEY = "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6";
const account = privateKeyToAccount(KEY);
const authorizer = privateKeyToAccount(AUTHORIZER_KEY);

const extra = {
  name: "USD Coin",
  version: "2",
  receiverAuthorizer: authorizer.address,
  withdrawDelay: 900,
  minDeposit: "100000",
};
const offer = (more = {}, terms = {}) => ({
  scheme: "batch-settlement",
  network: "eip155:8453",
  amount: "10000",
  asset: USDC,
  payTo: PAY_TO,
  maxTimeoutSeconds: 300,
  extra: { ...extra, ...terms },
  ...more,
});

const payments = [];
async function pay(name, requirements, { salt = NO_SALT, voucherKey, charged, balance } = {}) {
  const voucherSigner = voucherKey ? privateKeyToAccount(voucherKey) : undefined;
  const buyer = new Buyer(account, { salt, voucherSigner });
  const config = buyer.buildChannelConfig(requirements);
  const channelId = computeChannelId(config, requirements.network);
  if (balance !== undefined) {
    await buyer.storage.set(channelId.toLowerCase(), { chargedCumulativeAmount: charged, balance });
  }
  const { payload } = await buyer.createPaymentPayload(2, structuredClone(requirements));
  const signed = payload.deposit?.authorization;
  const random = signed?.erc3009Authorization?.salt ?? signed?.permit2Authorization?.nonce;
  payments.push({
    name, offer: requirements, salt, now: NOW_SECONDS, random, voucherKey, charged: charged ?? "0", balance, payload,
  });
  return { config, channelId, payload };
}

const first = await pay("deposit", offer());
await pay("deposit-with-voucher-key", offer(), { voucherKey: VOUCHER_KEY });
await pay("deposit-salted", offer(), { salt: SALT });
await pay("top-up", offer(), { charged: "95000", balance: "100000" });
await pay("deposit-least", offer({}, { minDeposit: "1" }));
await pay("deposit-permit2", offer({}, { assetTransferMethod: "permit2" }));
await pay("deposit-permit2-salted", offer({ network: "eip155:31337" }, { assetTransferMethod: "permit2" }), { salt: SALT });
await pay("deposit-another-chain", offer({ network: "eip155:31337" }));
await pay("deposit-longest-delay", offer({ maxTimeoutSeconds: 60 }, { withdrawDelay: 2_592_000 }));
await pay("voucher", offer(), { charged: "0", balance: "100000" });
await pay("voucher-later", offer(), { charged: "73210", balance: "100000" });
await pay("voucher-with-voucher-key", offer(), { charged: "12", balance: "100000", voucherKey: VOUCHER_KEY });
await pay("voucher-largest", offer({ amount: "1" }), {
  charged: String(2n ** 128n - 2n), balance: String(2n ** 128n - 1n),
});

const refunds = [];
async function refund(name, requirements, { charged, balance, amount }) {
  const buyer = new Buyer(account, { salt: SALT });
  const channelId = computeChannelId(buyer.buildChannelConfig(requirements), requirements.network);
  await buyer.storage.set(channelId.toLowerCase(), { chargedCumulativeAmount: charged, balance });
  let payload;
  const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64");
  const fetch = async (_, init) => {
    const sent = new Headers(init?.headers).get("payment-signature");
    if (!sent) {
      const required = { x402Version: 2, resource: { url: "https://shop.test/" }, accepts: [requirements] };
      return new Response("", { status: 402, headers: { "PAYMENT-REQUIRED": encoded(required) } });
    }
    payload = JSON.parse(Buffer.from(sent, "base64").toString("utf8")).payload;
    const settled = { success: true, transaction: "0x", network: requirements.network, extra: {} };
    return new Response("", { headers: { "PAYMENT-RESPONSE": encoded(settled) } });
  };
  await buyer.refund("https://shop.test/", { amount, fetch });
  refunds.push({ name, offer: requirements, salt: SALT, charged, amount, payload });
}
await refund("refund", offer(), { charged: "3200", balance: "100000" });
await refund("refund-part", offer(), { charged: "3200", balance: "100000", amount: "1500" });

// What the server asks for about three channels, of which one signs vouchers with another key.
const requests = [];
const other = await pay("voucher-to-claim", offer(), {
  salt: SALT, charged: "40000", balance: "100000", voucherKey: VOUCHER_KEY,
});
const third = await pay("voucher-to-refund", offer({}, { minDeposit: "20000" }), {
  salt: `0x${"5b".repeat(32)}`, charged: "5000", balance: "50000",
});
async function ask(name, receiverAuthorizerSigner, act) {
  const seller = new Seller(PAY_TO, { receiverAuthorizerSigner });
  const rows = [
    { ...first, charged: "10000", balance: "100000", claimed: "0", refundNonce: 0 },
    { ...other, charged: "47000", balance: "100000", claimed: "12345", refundNonce: 3 },
    { ...third, charged: "9999", balance: "50000", claimed: "0", refundNonce: 1 },
  ];
  for (const { channelId, config, payload, charged, balance, claimed, refundNonce } of rows) {
    await seller.getStorage().updateChannel(channelId, () => ({
      channelId,
      channelConfig: config,
      chargedCumulativeAmount: charged,
      signedMaxClaimable: payload.voucher.maxClaimableAmount,
      signature: payload.voucher.signature,
      balance,
      totalClaimed: claimed,
      withdrawRequestedAt: 0,
      refundNonce,
      lastRequestTimestamp: NOW_SECONDS * 1000,
    }));
  }
  const facilitator = {
    settle: async (paymentPayload, paymentRequirements) => {
      const told = rows.map(({ config, payload, charged, claimed, balance, refundNonce }) => ({
        terms: config, signed: payload.voucher.maxClaimableAmount, proof: payload.voucher.signature, total: charged,
        claimed, balance, refundNonce: String(refundNonce),
      }));
      requests.push({ name, request: { x402Version: 2, paymentPayload, paymentRequirements }, rows: told });
      return { success: true, transaction: `0x${"ab".repeat(32)}`, network: paymentRequirements.network };
    },
  };
  await act(seller.createChannelManager(facilitator, "eip155:8453", USDC));
}
for (const [suffix, key] of [["", authorizer], ["-delegated", undefined]]) {
  await ask(`claim${suffix}`, key, (manager) => manager.claim());
  await ask(`refund${suffix}`, key, (manager) => manager.refund([third.channelId]));
}
await ask("settle", authorizer, (manager) => manager.settle());

const config = { payer: account.address, payerAuthorizer: ZERO, receiver: PAY_TO, receiverAuthorizer: FACILITATOR, token: USDC };
const channels = [];
for (const [name, network, terms] of [
  ["by-the-account", "eip155:8453", { withdrawDelay: 900, salt: NO_SALT }],
  ["by-a-key", "eip155:8453", { withdrawDelay: 86_400, salt: SALT, payerAuthorizer: authorizer.address }],
  ["lower-case", "eip155:1", { withdrawDelay: 2_592_000, salt: SALT, token: USDC.toLowerCase(), receiver: PAY_TO.toLowerCase() }],
]) {
  const whole = { ...config, ...terms };
  channels.push({ name, network, config: whole, channelId: computeChannelId(whole, network) });
}

const vectors = { channels, payments, refunds, requests };
const path = fileURLToPath(new URL("../../crates/tollway-evm/tests/vectors/batch_settlement.json", import.meta.url));
const text = `${JSON.stringify(vectors, null, 1)}\n`;
if (!process.argv.includes("--check")) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
} else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
  console.error("batch_settlement.json is not what the package produces: run `cargo xtask codegen vectors`");
  process.exit(1);
}
console.log(`${channels.length + payments.length + refunds.length + requests.length} vectors`);
