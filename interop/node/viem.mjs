// A foreign RPC client: uses a chain's JSON-RPC as viem does, unchanged.
//
//   node viem.mjs --rpc URL --key 0x.. --token 0x.. [--ws URL] [--chain-id 31337]
//
// The key's account needs some ether and at least 3 atomic units of the token; Multicall3 must be at its usual
// address. Without --ws the WebSocket is at the same host and port as the RPC. The chain must make a block for a
// transaction by itself.
// stdout: one line { checks: [names that held], failed: { name: why } }. Exits 1 if any failed.
import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import {
  createPublicClient,
  createWalletClient,
  defineChain,
  http,
  parseAbi,
  parseEther,
  publicActions,
  webSocket,
} from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";

const { values: options } = parseArgs({
  options: {
    rpc: { type: "string" },
    ws: { type: "string" },
    key: { type: "string" },
    token: { type: "string" },
    "chain-id": { type: "string", default: "31337" },
  },
});

const abi = parseAbi([
  "function name() view returns (string)",
  "function decimals() view returns (uint8)",
  "function balanceOf(address) view returns (uint256)",
  "function transfer(address to, uint256 value) returns (bool)",
  "event Transfer(address indexed from, address indexed to, uint256 value)",
]);
const chain = defineChain({
  id: Number(options["chain-id"]),
  name: "under test",
  nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
  rpcUrls: { default: { http: [options.rpc] } },
  contracts: { multicall3: { address: "0xcA11bde05977b3631167028862bE2a173976CA11" } },
});
const account = privateKeyToAccount(options.key);
// Somebody who holds nothing yet.
const stranger = privateKeyToAccount(generatePrivateKey()).address;
const token = { address: options.token, abi };
const client = createWalletClient({ account, chain, transport: http(options.rpc), pollingInterval: 100 }).extend(
  publicActions,
);
const balanceOf = (who) => client.readContract({ ...token, functionName: "balanceOf", args: [who] });
const transfer = (value) => client.writeContract({ ...token, functionName: "transfer", args: [stranger, value] });

const checks = {
  async chainId() {
    assert.equal(await client.getChainId(), chain.id);
  },

  async blocks() {
    const latest = await client.getBlock();
    const full = await client.getBlock({ blockNumber: latest.number, includeTransactions: true });
    assert.equal(full.hash, latest.hash);
    const genesis = await client.getBlock({ blockNumber: 0n });
    assert.equal(genesis.number, 0n);
    assert.equal((await client.getBlock({ blockHash: genesis.hash })).hash, genesis.hash);
    assert.ok((await client.getBlockNumber({ cacheTime: 0 })) >= latest.number);
  },

  async balances() {
    assert.ok((await client.getBalance({ address: account.address })) > 0n);
    assert.equal(await client.getBalance({ address: stranger }), 0n);
    assert.ok((await client.getCode({ address: options.token })).length > 2);
  },

  async readContract() {
    assert.ok((await client.readContract({ ...token, functionName: "name" })).length > 0);
    assert.ok((await balanceOf(account.address)) >= 3n);
  },

  async simulateContract() {
    const call = { ...token, account, functionName: "transfer" };
    assert.equal((await client.simulateContract({ ...call, args: [stranger, 1n] })).result, true);
    const tooMuch = client.simulateContract({ ...call, args: [stranger, 2n ** 255n] });
    await assert.rejects(tooMuch, /transfer amount exceeds balance/);
  },

  async fees() {
    assert.ok((await client.getGasPrice()) > 0n);
    const fees = await client.estimateFeesPerGas();
    assert.ok(fees.maxFeePerGas >= fees.maxPriorityFeePerGas);
    assert.ok((await client.estimateGas({ account, to: stranger, value: 1n })) >= 21000n);
    const history = await client.getFeeHistory({ blockCount: 1, rewardPercentiles: [50] });
    assert.ok(history.baseFeePerGas.length >= 1);
  },

  async sendTransaction() {
    const value = parseEther("0.001");
    const before = await client.getTransactionCount({ address: account.address });
    const hash = await client.sendTransaction({ to: stranger, value });
    const receipt = await client.waitForTransactionReceipt({ hash, timeout: 20_000 });
    assert.equal(receipt.status, "success");
    assert.equal(await client.getBalance({ address: stranger }), value);
    assert.equal((await client.getTransaction({ hash })).value, value);
    assert.equal(await client.getTransactionCount({ address: account.address }), before + 1);
  },

  async getLogs() {
    const hash = await transfer(1n);
    const { blockNumber, logs } = await client.waitForTransactionReceipt({ hash, timeout: 20_000 });
    assert.equal(logs.length, 1);
    const found = await client.getLogs({
      address: options.token,
      event: abi.find((item) => item.type === "event"),
      args: { to: stranger },
      fromBlock: blockNumber,
      toBlock: blockNumber,
    });
    assert.deepEqual(
      found.map((log) => [log.transactionHash, log.args.value]),
      [[hash, 1n]],
    );
  },

  async unknownThings() {
    const hash = `0x${"ab".repeat(32)}`;
    await assert.rejects(client.getTransactionReceipt({ hash }), { name: "TransactionReceiptNotFoundError" });
    await assert.rejects(client.getTransaction({ hash }), { name: "TransactionNotFoundError" });
    await assert.rejects(client.getBlock({ blockNumber: 1n << 60n }), { name: "BlockNotFoundError" });
  },

  async multicall() {
    const calls = [
      { ...token, functionName: "decimals" },
      { ...token, functionName: "balanceOf", args: [stranger] },
      { ...token, functionName: "transfer", args: [stranger, 2n ** 255n] },
    ];
    const results = await client.multicall({ contracts: calls });
    assert.deepEqual(
      results.map((result) => result.status),
      ["success", "success", "failure"],
    );
    assert.equal(results[0].result, 6);
  },

  async batchedRequests() {
    const batched = createPublicClient({ chain, transport: http(options.rpc, { batch: true }) });
    const [id, number, balance] = await Promise.all([
      batched.getChainId(),
      batched.getBlockNumber(),
      batched.getBalance({ address: account.address }),
    ]);
    assert.ok(id === chain.id && number >= 0n && balance > 0n);
  },

  async watchBlocks() {
    const url = options.ws ?? options.rpc.replace(/^http/, "ws");
    const socket = createPublicClient({ chain, transport: webSocket(url, { reconnect: false, retryCount: 0 }) });
    const known = await socket.getBlockNumber();
    let stop;
    const block = new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error("no block within 10 seconds")), 10_000);
      stop = socket.watchBlocks({ onBlock: resolve, onError: reject });
    });
    // The subscription is on its way; a block made before it arrives would be missed.
    await socket.getChainId();
    await new Promise((resolve) => setTimeout(resolve, 300));
    await transfer(1n);
    assert.ok((await block).number > known);
    stop();
  },
};

const held = [];
const failed = {};
for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
    held.push(name);
  } catch (error) {
    failed[name] = error.message;
  }
}
const done = Object.keys(failed).length === 0;
process.stdout.write(`${JSON.stringify({ checks: held, failed })}\n`, () => process.exit(done ? 0 : 1));
