// Golden vectors of extensions that say who somebody is, made by the published TypeScript packages.
//
//   node identity.mjs [--check]
//
// Writes crates/tollway-evm/tests/vectors/identity.json, or with --check only compares it and exits 1 if it differs.
// Two runs give the same bytes. `theirs` is what the packages write; `ours` is what we write, with their verdict on it.
import "./frozen.mjs";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { KEY } from "./frozen.mjs";

const signIn = await import("@x402/extensions/sign-in-with-x");
const builderCode = await import("@x402/extensions/builder-code");
const { x402Client } = await import("@x402/core/client");
const { x402ResourceServer } = await import("@x402/core/server");
const { privateKeyToAccount } = await import("viem/accounts");

const account = privateKeyToAccount(KEY);
const vectors = { signIn: [], suffix: [], append: [], echo: [] };

const bare = {
  domain: "api.example.com",
  uri: "https://api.example.com/data",
  version: "1",
  nonce: "a1b2c3d4e5f67890a1b2c3d4e5f67890",
  issuedAt: "2025-06-15T15:06:40.000Z",
};
const challenges = {
  bare,
  usual: { ...bare, expirationTime: "2025-06-15T15:11:40.000Z", statement: "Sign in", resources: [bare.uri] },
  everything: {
    ...bare,
    domain: "localhost:4021",
    uri: "http://localhost:4021/data?x=1&y=%C3%BC",
    expirationTime: "2025-06-15T15:11:40.000Z",
    notBefore: "2025-06-15T15:06:40Z",
    requestId: "request-7",
    statement: "Read again, for free: what you have bought!",
    resources: ["http://localhost:4021/data?x=1&y=%C3%BC", "ipfs://bafybeigdyrzt5sfp7"],
  },
};
for (const [name, info] of Object.entries(challenges)) {
  for (const chainId of ["eip155:1", "eip155:84532"]) {
    const asked = { ...info, chainId, type: "eip191" };
    const proof = await signIn.createSIWxPayload(asked, account, info.uri);
    const text = signIn.createSIWxMessage(asked, account.address);
    const { domain, uri, version, nonce, issuedAt, expirationTime, notBefore, requestId, statement, resources } = info;
    const message = { domain, uri, version, nonce, issuedAt, expirationTime, notBefore, requestId, statement, resources };
    const { address, type, signature } = proof;
    const ours = signIn.encodeSIWxHeader({ ...message, chainId, address, type, signature });
    const verdict = await signIn.verifySIWxSignature(signIn.parseSIWxHeader(ours));
    vectors.signIn.push({ name, info, chainId, text, signature, theirs: signIn.encodeSIWxHeader(proof), ours, verdict });
  }
}

const eleven = Array.from({ length: 11 }, (_, at) => `code_${at}`);
for (const codes of [
  { a: "bc_myapp" },
  { a: "bc_myapp", w: "bc_myfacilitator" },
  { w: "us" },
  { s: ["one"] },
  { a: "x".repeat(32), w: "y".repeat(32), s: eleven.map((code) => code.padEnd(32, "_")) },
]) {
  const suffix = builderCode.encodeBuilderCodeSuffix(codes);
  const read = builderCode.parseBuilderCodeSuffixFromCalldata(`0xe3ee160e${suffix.slice(2)}`);
  vectors.suffix.push({ codes, suffix, read });
}

const client = new x402Client();
for (const [declared, codes] of [
  [{ a: "shop" }, ["mine"]],
  [{ a: "shop", s: ["theirs", "mine"] }, ["mine", "ours"]],
  [{ a: "shop", s: "theirs" }, ["mine"]],
  [undefined, ["mine"]],
]) {
  const extensions = declared && { "builder-code": { info: declared } };
  const payment = { x402Version: 2, extensions };
  const enriched = await new builderCode.BuilderCodeClientExtension(codes).enrichPaymentPayload(payment);
  const merged = client.mergeExtensions(extensions, enriched.extensions);
  vectors.append.push({ declared: extensions ?? {}, codes, merged });
}

const server = new x402ResourceServer().registerExtension(
  signIn.createSIWxResourceServerExtension({ origin: "https://api.example.com", storage: new signIn.InMemorySIWxStorage() }),
);
const code = (info) => ({ "builder-code": { info } });
const visit = (info) => ({ "sign-in-with-x": { info: { ...bare, ...info } } });
const cases = [
  [{}, {}],
  [{ e: { info: { a: 1 } } }, {}],
  [{ e: { info: { a: 1 } } }, { other: 1 }],
  [{ e: { info: { a: 1 } } }, { e: { info: { a: 1, b: 2 } } }],
  [{ e: { info: { a: 1 } } }, { e: { info: { a: 2 } } }],
  [{ e: { info: { a: 1 } } }, { e: { info: {} } }],
  [{ e: { info: { a: 1 } } }, { e: { a: 1 } }],
  [{ e: { info: { a: 1 } } }, { e: 1 }],
  [{ e: { info: { a: { b: [1, 2] } } } }, { e: { info: { a: { b: [1, 2], c: 3 } } } }],
  [{ e: { info: { a: { b: [1, 2] } } } }, { e: { info: { a: { b: [2, 1] } } } }],
  [code({ a: "shop" }), code({ a: "shop", s: ["mine"] })],
  [code({ a: "shop" }), code({ a: "other" })],
  [code({ a: "shop" }), code({ s: ["mine"] })],
  [code({ a: "shop", s: ["x"] }), code({ a: "shop", s: ["mine", "x"] })],
  [code({ a: "shop", s: ["x"] }), code({ a: "shop", s: "x" })],
  [code({ a: "shop", s: ["x"] }), code({ a: "shop", s: ["mine"] })],
  [code({ a: "shop", s: ["x"] }), code({ a: "shop", s: ["x", ...eleven.slice(0, 9)] })],
  [code({ a: "shop", s: ["x"] }), code({ a: "shop", s: ["x", ...eleven.slice(0, 10)] })],
  [{}, code({ s: ["mine"] })],
  [{}, code({ a: "shop" })],
  [visit(), visit()],
  [visit(), visit({ nonce: "another1", issuedAt: "2020-01-01T00:00:00Z" })],
  [visit(), visit({ domain: "evil.example" })],
  [visit(), visit({ uri: "https://api.example.com/other" })],
];
for (const [declared, echoed] of cases) {
  const { valid } = server.validateExtensions({ extensions: declared }, { x402Version: 2, extensions: echoed });
  vectors.echo.push({ declared, echoed, valid });
}

const path = fileURLToPath(new URL("../../crates/tollway-evm/tests/vectors/identity.json", import.meta.url));
const text = `${JSON.stringify(vectors, null, 1)}\n`;
if (!process.argv.includes("--check")) {
  writeFileSync(path, text);
} else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
  console.error("identity.json is not what the packages produce: run `cargo xtask codegen vectors`");
  process.exit(1);
}
console.log(`${Object.values(vectors).flat().length} vectors`);
