// A foreign buyer and a foreign facilitator in one: @x402/core and @x402/evm on viem, unchanged, pay and settle by
// Permit2 through the contracts of a chain.
//
//   node permit2.mjs --rpc URL --payer 0x.. --facilitator 0x.. --permit-token 0x.. --plain-token 0x.. --pay-to 0x..
//
// The keys' accounts need some ether, and the payer's some of both tokens: one that knows EIP-2612 ("Permit USD", "1")
// and one that knows no signature. The payer must not have let Permit2 have either yet.
// stdout: one JSON line a payment: { name, paid, isValid, invalidReason?, success?, errorReason?, amount? }.
import { parseArgs } from "node:util";
import { x402Client } from "@x402/core/client";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme as ExactBuyer } from "@x402/evm/exact/client";
import { ExactEvmScheme as ExactFacilitator } from "@x402/evm/exact/facilitator";
import { UptoEvmScheme as UptoBuyer } from "@x402/evm/upto/client";
import { UptoEvmScheme as UptoFacilitator } from "@x402/evm/upto/facilitator";
import {
  createErc20ApprovalGasSponsoringExtension,
  declareEip2612GasSponsoringExtension,
  declareErc20ApprovalGasSponsoringExtension,
} from "@x402/extensions";
import { createWalletClient, erc20Abi, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { foundry } from "viem/chains";

const names = ["rpc", "payer", "facilitator", "permit-token", "plain-token", "pay-to"];
const { values: options } = parseArgs({ options: Object.fromEntries(names.map((name) => [name, { type: "string" }])) });
const network = "eip155:31337";

const connect = (key) =>
  createWalletClient({
    account: privateKeyToAccount(key),
    chain: foundry,
    transport: http(options.rpc),
    pollingInterval: 50,
  }).extend(publicActions);
const payer = connect(options.payer);
const settler = connect(options.facilitator);

const signer = {
  ...toFacilitatorEvmSigner({
    address: settler.account.address,
    getCode: (args) => settler.getCode(args),
    readContract: (args) => settler.readContract({ ...args, args: args.args ?? [] }),
    verifyTypedData: (args) => settler.verifyTypedData(args),
    writeContract: (args) => settler.writeContract({ ...args, args: args.args ?? [] }),
    sendTransaction: (args) => settler.sendTransaction(args),
    waitForTransactionReceipt: (args) => settler.waitForTransactionReceipt(args),
  }),
  getAddresses: () => [settler.account.address],
};
// One after the other: what the payer signed as it is, what is ours signed.
async function sendTransactions(transactions) {
  const hashes = [];
  for (const transaction of transactions) {
    const hash =
      typeof transaction === "string"
        ? await settler.sendRawTransaction({ serializedTransaction: transaction })
        : await settler.sendTransaction(transaction);
    await settler.waitForTransactionReceipt({ hash });
    hashes.push(hash);
  }
  return hashes;
}
const facilitator = new x402Facilitator()
  .register(network, new ExactFacilitator(signer))
  .register(network, new UptoFacilitator(signer))
  .registerExtension(createErc20ApprovalGasSponsoringExtension({ ...signer, sendTransactions }));

const wallet = {
  address: payer.account.address,
  signTypedData: (message) => payer.account.signTypedData(message),
  readContract: (args) => payer.readContract({ ...args, args: args.args ?? [] }),
  getTransactionCount: (args) => payer.getTransactionCount(args),
  signTransaction: (transaction) => payer.account.signTransaction(transaction),
  estimateFeesPerGas: () => payer.estimateFeesPerGas(),
};
const buyer = new x402Client()
  .setSpendControls(false)
  .register(network, new ExactBuyer(wallet))
  .register(network, new UptoBuyer(wallet));

const payTo = options["pay-to"];
const balance = (asset) => settler.readContract({ address: asset, abi: erc20Abi, functionName: "balanceOf", args: [payTo] });

async function pay(name, { scheme, asset, extra, settle = "1000", extensions }) {
  const offer = { scheme, network, amount: "1000", asset, payTo, maxTimeoutSeconds: 300, extra };
  const required = { x402Version: 2, resource: { url: "http://127.0.0.1/" }, accepts: [offer], extensions };
  const before = await balance(asset);
  const payload = await buyer.createPaymentPayload(required);
  const { isValid, invalidReason } = await facilitator.verify(payload, offer);
  const settled = isValid ? await facilitator.settle(payload, { ...offer, amount: settle }) : {};
  const { success, errorReason, amount } = settled;
  const paid = String((await balance(asset)) - before);
  console.log(JSON.stringify({ name, paid, isValid, invalidReason, success, errorReason, amount }));
}

const permit = { asset: options["permit-token"], extra: { name: "Permit USD", version: "1" } };
const plain = { asset: options["plain-token"], extra: { name: "Plain USD", version: "1" } };
const exact = ({ asset, extra }) => ({ scheme: "exact", asset, extra: { ...extra, assetTransferMethod: "permit2" } });
const upto = ({ asset, extra }, facilitatorAddress) => ({
  scheme: "upto",
  asset,
  extra: { ...extra, facilitatorAddress },
});
const mine = settler.account.address;

await pay("exact without an allowance", exact(plain));
await pay("exact with a permit", { ...exact(permit), extensions: declareEip2612GasSponsoringExtension() });
await pay("upto with a permit", {
  ...upto(permit, mine),
  settle: "250",
  extensions: declareEip2612GasSponsoringExtension(),
});
await pay("exact with an approval", { ...exact(plain), extensions: declareErc20ApprovalGasSponsoringExtension() });
await pay("exact", exact(plain));
await pay("upto, a part", { ...upto(plain, mine), settle: "400" });
await pay("upto, nothing", { ...upto(plain, mine), settle: "0" });
await pay("upto, too much", { ...upto(plain, mine), settle: "1001" });
await pay("upto by another facilitator", upto(plain, payTo));
