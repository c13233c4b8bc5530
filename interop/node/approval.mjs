// A foreign buyer, or a foreign facilitator, of payments whose approval of Permit2 is a transaction that others send
// (erc20ApprovalGasSponsoring): @x402/core and @x402/evm on viem, unchanged.
//
//   node approval.mjs buy    --rpc URL --key 0x.. --url URL
//   node approval.mjs settle --rpc URL --key 0x.. --request '{"paymentPayload", "paymentRequirements"}'
//
// stdout: one JSON line: { status, body } of the bought page, or { isValid, invalidReason?, success?, errorReason? }.
import { parseArgs } from "node:util";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme as ExactBuyer } from "@x402/evm/exact/client";
import { ExactEvmScheme as ExactFacilitator } from "@x402/evm/exact/facilitator";
import { createErc20ApprovalGasSponsoringExtension } from "@x402/extensions";
import { wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { createWalletClient, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { foundry } from "viem/chains";

const names = ["rpc", "key", "url", "request"];
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: Object.fromEntries(names.map((name) => [name, { type: "string" }])),
});
const network = "eip155:31337";
const chain = createWalletClient({
  account: privateKeyToAccount(options.key),
  chain: foundry,
  transport: http(options.rpc),
  pollingInterval: 50,
}).extend(publicActions);
const readContract = (args) => chain.readContract({ ...args, args: args.args ?? [] });

async function buy() {
  const wallet = {
    address: chain.account.address,
    signTypedData: (message) => chain.account.signTypedData(message),
    readContract,
    getTransactionCount: (args) => chain.getTransactionCount(args),
    signTransaction: (transaction) => chain.account.signTransaction(transaction),
    estimateFeesPerGas: () => chain.estimateFeesPerGas(),
  };
  const client = new x402Client().setSpendControls(false).register(network, new ExactBuyer(wallet));
  const answer = await wrapFetchWithPayment(fetch, client)(options.url);
  return { status: answer.status, body: await answer.text() };
}

async function settle() {
  const signer = {
    ...toFacilitatorEvmSigner({
      address: chain.account.address,
      getCode: (args) => chain.getCode(args),
      readContract,
      verifyTypedData: (args) => chain.verifyTypedData(args),
      writeContract: (args) => chain.writeContract({ ...args, args: args.args ?? [] }),
      sendTransaction: (args) => chain.sendTransaction(args),
      waitForTransactionReceipt: (args) => chain.waitForTransactionReceipt(args),
    }),
    getAddresses: () => [chain.account.address],
  };
  const sendTransactions = async (transactions) => {
    const hashes = [];
    for (const one of transactions) {
      const hash =
        typeof one === "string"
          ? await chain.sendRawTransaction({ serializedTransaction: one })
          : await chain.sendTransaction(one);
      await chain.waitForTransactionReceipt({ hash });
      hashes.push(hash);
    }
    return hashes;
  };
  const facilitator = new x402Facilitator()
    .register(network, new ExactFacilitator(signer))
    .registerExtension(createErc20ApprovalGasSponsoringExtension({ ...signer, sendTransactions }));
  const { paymentPayload, paymentRequirements } = JSON.parse(options.request);
  const { isValid, invalidReason } = await facilitator.verify(paymentPayload, paymentRequirements);
  const { success, errorReason } = isValid ? await facilitator.settle(paymentPayload, paymentRequirements) : {};
  return { isValid, invalidReason, success, errorReason };
}

console.log(JSON.stringify(await { buy, settle }[positionals[0]]()));
