// What the published TypeScript facilitator says of payments, one JSON line in, one out, in the same order.
//
//   node verdicts.mjs
//
// stdin: { op: "verify" | "settle", request: { paymentPayload, paymentRequirements } }. The clock stands still at
// NOW_SECONDS of frozen.mjs. The chain is agreeable: every contract exists, every simulation and transaction
// succeeds, and accounts have no code. So whatever is refused here breaks a rule that needs no chain.
// stdout: { valid, reason }, or { valid: false, threw } where the packages threw instead of answering.
import "./frozen.mjs";
import { createInterface } from "node:readline";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/facilitator";
import { UptoEvmScheme } from "@x402/evm/upto/facilitator";

const FACILITATOR = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";
const NETWORK = "eip155:8453";
const TRANSACTION = `0x${"ab".repeat(32)}`;
const ASSETS = ["0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"];

const signer = toFacilitatorEvmSigner({
  address: FACILITATOR,
  getCode: async ({ address }) => (ASSETS.includes(address.toLowerCase()) ? "0x60" : "0x"),
  readContract: async ({ functionName }) => (functionName === "authorizationState" ? false : 2n ** 255n),
  verifyTypedData: async () => false,
  writeContract: async () => TRANSACTION,
  sendTransaction: async () => TRANSACTION,
  waitForTransactionReceipt: async () => ({ status: "success", logs: [] }),
});

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await verdict(JSON.parse(line)))}\n`);
}

// A facilitator of its own for each line: what one of them remembers of a payment must not decide the next.
async function verdict({ op, request: { paymentPayload, paymentRequirements } }) {
  const facilitator = new x402Facilitator()
    .register(NETWORK, new ExactEvmScheme(signer))
    .register(NETWORK, new UptoEvmScheme(signer));
  try {
    if (op === "settle") {
      const { success, errorReason } = await facilitator.settle(paymentPayload, paymentRequirements);
      return { valid: success, reason: errorReason };
    }
    const { isValid, invalidReason } = await facilitator.verify(paymentPayload, paymentRequirements);
    return { valid: isValid, reason: invalidReason };
  } catch (error) {
    return { valid: false, threw: String(error?.message ?? error).slice(0, 120) };
  }
}
