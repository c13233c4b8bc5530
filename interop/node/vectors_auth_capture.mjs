// Golden vectors of scheme `auth-capture`, made by the published TypeScript client: the only role that it has there.
//
//   node vectors_auth_capture.mjs [--check]
//
// Writes crates/tollway-evm/tests/vectors/auth_capture.json, or with --check only compares it and exits 1 if it differs.
// Each vector is { name, offer, now, random, payload }: what the client signed for the offer at that second, when its
// randomness was `random`. Two runs give the same bytes.
import { KEY, NOW_SECONDS } from "./frozen.mjs";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const { AuthCaptureEvmScheme } = await import("@x402/evm/auth-capture/client");
const { privateKeyToAccount } = await import("viem/accounts");

const USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
const PAY_TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const OPERATOR = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
const AUTHORIZER = "0x90F79bf6EB2c4f870365E785982E1f101E93b906";
const FEES = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65";
const ZERO = "0x0000000000000000000000000000000000000000";
const CURRENT = "0xf96815976523E00e65Be8f34cA5e64b4f41EB19c";
const FIRST = "0xBdEA0D1bcC5966192B070Fdf62aB4EF5b4420cff";

const plain = {
  name: "USD Coin",
  version: "2",
  captureAuthorizer: OPERATOR,
  captureDeadline: NOW_SECONDS + 86_400,
  refundDeadline: NOW_SECONDS + 30 * 86_400,
  feeRecipient: ZERO,
  minFeeBps: 0,
  maxFeeBps: 0,
};
const bound = { ...plain, receiverAuthorizer: AUTHORIZER };
const offer = (extra, more = {}) => ({
  scheme: "auth-capture",
  network: "eip155:8453",
  amount: "1000000",
  asset: USDC,
  payTo: PAY_TO,
  maxTimeoutSeconds: 60,
  extra,
  ...more,
});

const offers = {
  "authorize-only": offer(plain),
  bound: offer(bound),
  "bound-authorizer-is-operator": offer({ ...bound, receiverAuthorizer: OPERATOR }),
  "zero-authorizer-is-unbound": offer({ ...plain, receiverAuthorizer: ZERO, policy: ZERO }),
  "fixed-fee": offer({ ...bound, minFeeBps: 100, maxFeeBps: 100, feeRecipient: FEES }),
  "fee-range": offer({ ...bound, minFeeBps: 25, maxFeeBps: 10_000, feeRecipient: FEES, captureMode: "deferred" }),
  charge: offer({ ...bound, paymentFlow: "authorization" }),
  "escrow-written-out": offer({ ...bound, paymentFlow: "escrow", captureMode: "sync", authCaptureEscrow: CURRENT }),
  "first-version": offer({ ...bound, authCaptureEscrow: FIRST }),
  permit2: offer({ ...bound, assetTransferMethod: "permit2" }),
  "permit2-unbound-first-version": offer({ ...plain, assetTransferMethod: "permit2", authCaptureEscrow: FIRST }),
  "lower-case-addresses": offer(
    { ...bound, captureAuthorizer: OPERATOR.toLowerCase(), receiverAuthorizer: AUTHORIZER.toLowerCase() },
    { asset: USDC.toLowerCase(), payTo: PAY_TO.toLowerCase() },
  ),
  "largest-amount": offer(bound, { amount: String(2n ** 120n - 1n), maxTimeoutSeconds: 86_400 }),
  "another-chain": offer(bound, { network: "eip155:31337" }),
  // The client does not tell an operator's contract from its account.
  "custom-operator": offer({ ...bound, operatorType: "custom" }),
  "custom-operator-authorize-only": offer({ ...plain, operatorType: "custom" }),
};

const client = new AuthCaptureEvmScheme(privateKeyToAccount(KEY));
const vectors = [];
for (const [name, requirements] of Object.entries(offers)) {
  const { payload } = await client.createPaymentPayload(2, structuredClone(requirements));
  const random = payload.saltNonce ?? payload.salt;
  vectors.push({ name, offer: requirements, now: NOW_SECONDS, random, payload });
}

const path = fileURLToPath(new URL("../../crates/tollway-evm/tests/vectors/auth_capture.json", import.meta.url));
const text = `${JSON.stringify(vectors, null, 1)}\n`;
if (!process.argv.includes("--check")) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
} else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
  console.error("auth_capture.json is not what the package produces: run `cargo xtask codegen vectors`");
  process.exit(1);
}
console.log(`${vectors.length} vectors`);
