// The published TypeScript client in a closed loop, for benches: one process, as Node is.
//
//   node spend.mjs '{"url", "key", "inFlight", "warmUpMs", "measuredMs"}'
//
// Every purchase is of another URL, `?n=` and a number. It prints `begin` and `end` around what is measured, then
// {"latenciesUs": [...], "errors": {"what": count}}.
import { setTimeout as sleep } from "node:timers/promises";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { privateKeyToAccount } from "viem/accounts";

const plan = JSON.parse(process.argv[2]);
const scheme = new ExactEvmScheme(privateKeyToAccount(plan.key));
const pay = wrapFetchWithPayment(fetch, new x402Client().register("eip155:8453", scheme));

const begin = performance.now() + plan.warmUpMs;
const end = begin + plan.measuredMs;
const latenciesUs = [];
const errors = {};
let next = 0;

async function buy(url) {
  const response = await pay(url);
  const isSettled = response.headers.has("payment-response");
  const body = await response.text();
  if (response.status !== 200 || !isSettled || body !== "data") throw new Error(`answered ${response.status}`);
}

async function buyer() {
  while (performance.now() < end) {
    const sent = performance.now();
    try {
      await buy(`${plan.url}?n=${next++}`);
      const done = performance.now();
      if (done >= begin && done < end) latenciesUs.push(Math.round((done - sent) * 1000));
    } catch (error) {
      errors[error.message] = (errors[error.message] ?? 0) + 1;
      // So that a seller that refuses everything is not asked in a spin.
      await sleep(20);
    }
  }
}

const say = (text) => process.stdout.write(`${text}\n`);
setTimeout(() => say("begin"), plan.warmUpMs);
setTimeout(() => say("end"), plan.warmUpMs + plan.measuredMs);
await Promise.all([sleep(plan.warmUpMs + plan.measuredMs + 1), ...Array.from({ length: plan.inFlight }, buyer)]);
say(JSON.stringify({ latenciesUs, errors }));
process.exit(0);
