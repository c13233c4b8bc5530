// How a partner talks with the test that started it: one JSON argument, lines of JSON, an end.
//
//   node ROLE.mjs '{"rpc", "network", "v1Network", "token": {address, name, version, decimals}, "price", ...}'
//
// A client also gets `key`. It prints {"ready": true}, then reads one {url, body?, extended?, forget?, refund?} a line, POSTs
// the body if there is one, uses its extensions if it is told to, loses what it knows of channels if it is told to, or asks a
// channel's rest back, all of it (true) or so much; and prints for each {status, body, settlement, headers} or {error}. A
// server gets `payTo` and `facilitators`, each {url, routes, authorizerKey?}; it prints {"urls": [...]}, one of its own for
// each facilitator, and with such a key it claims and settles what its channels owe at POST /claim. A facilitator gets `keys` and `pollMs`; it prints
// {"urls": [its]}.
// All serve until their stdin ends, so that none outlives the test that started it.
import { createInterface } from "node:readline";
import { createPublicClient, defineChain, http } from "viem";

export const start = JSON.parse(process.argv[2]);

export const chain = defineChain({
  id: Number(start.network.split(":")[1]),
  name: "under test",
  nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
  rpcUrls: { default: { http: [start.rpc] } },
});

export const reader = () => createPublicClient({ chain, transport: http(start.rpc) });

// A request as fetch takes it.
export function init({ body }) {
  return body === undefined ? {} : { method: "POST", body, headers: { "content-type": "application/json" } };
}

// Pays the URLs that come in; `pay` answers {status, body, headers}, `settlement` reads the receipt out of headers.
export async function client(pay, settlement) {
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    try {
      const answer = await pay(JSON.parse(line));
      say({ settlement: settlement(answer.headers) ?? null, ...answer });
    } catch (error) {
      say({ error: error.message, cause: error.cause?.message });
    }
  }
  process.exit(0);
}

// Serves what `serve(facilitator)` listens with, once for each facilitator; a facilitator itself serves once.
export async function servers(serve) {
  process.stdin.resume().on("end", () => process.exit(0));
  say({ urls: await Promise.all((start.facilitators ?? [null]).map((facilitator) => serve(facilitator))) });
}

// An http.Server once it listens, as the URL it has.
export function listening(server, backlog = 511) {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", backlog, () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}

export async function fetched(response) {
  const { status, headers } = response;
  return { status, body: await response.text(), headers: Object.fromEntries(headers) };
}

function say(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
