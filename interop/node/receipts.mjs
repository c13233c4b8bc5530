// Signed offers and receipts by the published TypeScript package.
//
//   node receipts.mjs [--check]     writes crates/tollway-evm/tests/vectors/offer_receipt.json, or compares it
//   node receipts.mjs --verify      reads [{ kind, signed, key? }] from stdin and prints what the package says of each
//
// Two runs give the same bytes: clock and signatures are repeatable.
import "./frozen.mjs";
import { createPrivateKey, createPublicKey, sign as signWith } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { KEY } from "./frozen.mjs";

const package_ = await import("@x402/extensions/offer-receipt");
const { p256 } = await import("@noble/curves/nist");
const { secp256k1 } = await import("@noble/curves/secp256k1");
const { privateKeyToAccount } = await import("viem/accounts");

const TRANSACTION = `0x${"ab".repeat(32)}`;
const PAYER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const RESOURCE = "https://api.example.com/data?city=Z%C3%BCrich";
const SEED = "4d5b5f5c9d2a1f0e8c7b6a594837261504f3e2d1c0bfae9d8c7b6a5948372615";
const account = privateKeyToAccount(KEY);
const stranger = privateKeyToAccount(`0x${SEED}`);

if (process.argv.includes("--verify")) {
  await verify(JSON.parse(readFileSync(0, "utf8")));
} else {
  save(await vectors());
}

async function vectors() {
  const terms = {
    acceptIndex: 0,
    scheme: "exact",
    network: "eip155:8453",
    asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
    payTo: account.address,
    amount: "10000",
  };
  const list = [];
  for (const { name, issuer, standing, jwk } of issuers()) {
    const offer = await issuer.issueOffer(RESOURCE, terms);
    list.push({ name: `offer-${name}`, kind: "offer", standing, jwk, signed: offer });
    const full = await issuer.issueReceipt(RESOURCE, PAYER, "eip155:8453", TRANSACTION);
    list.push({ name: `receipt-${name}`, kind: "receipt", standing, jwk, signed: full });
    const minimal = await issuer.issueReceipt(RESOURCE, PAYER, "eip155:8453");
    list.push({ name: `receipt-${name}-minimal`, kind: "receipt", standing, jwk, signed: minimal });
  }
  return list;
}

// Every kind of key that the package knows, and what a verifier can tell of it without asking anybody.
function issuers() {
  const eip712 = (signer) => package_.createEIP712OfferReceiptIssuer("unused", (data) => signer.signTypedData(data));
  const jws = (algorithm, kid, sign) =>
    package_.createJWSOfferReceiptIssuer(kid, { kid, format: "jws", algorithm, sign });
  const ecdsa = (curve, secret) => async (bytes) =>
    Buffer.from(curve.sign(await digest(bytes), secret, { prehash: false }).toBytes("compact")).toString("base64url");
  const secret = KEY.slice(2);
  const ed25519 = createPrivateKey({
    key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(SEED, "hex")]),
    format: "der",
    type: "pkcs8",
  });
  const ed25519Public = createPublicKey(ed25519).export({ format: "jwk" });
  const edDsa = async (bytes) => signWith(null, bytes, ed25519).toString("base64url");
  const p256Jwk = () => {
    const point = p256.getPublicKey(SEED, false);
    const part = (from) => Buffer.from(point.slice(from, from + 32)).toString("base64url");
    return { kty: "EC", crv: "P-256", x: part(1), y: part(33) };
  };
  const didJwk = `did:jwk:${Buffer.from(JSON.stringify(p256Jwk())).toString("base64url")}#0`;
  const didKey = (code, key) => `did:key:z${base58(Buffer.concat([Buffer.from(code, "hex"), Buffer.from(key)]))}`;
  const secp = didKey("e701", secp256k1.getPublicKey(secret, true));
  const ed = didKey("ed01", Buffer.from(ed25519Public.x, "base64url"));
  const nist = didKey("8024", p256.getPublicKey(SEED, true));
  return [
    { name: "eip712", issuer: eip712(account), standing: "payTo" },
    { name: "eip712-stranger", issuer: eip712(stranger), standing: "stranger" },
    { name: "es256k", issuer: jws("ES256K", secp, ecdsa(secp256k1, secret)), standing: "payTo" },
    { name: "eddsa", issuer: jws("EdDSA", ed, edDsa), standing: "stranger" },
    { name: "es256", issuer: jws("ES256", nist, ecdsa(p256, SEED)), standing: "stranger" },
    { name: "es256-jwk", issuer: jws("ES256", didJwk, ecdsa(p256, SEED)), standing: "stranger" },
    {
      name: "did-web",
      issuer: jws("EdDSA", "did:web:api.example.com#key-1", edDsa),
      standing: "unchecked",
      jwk: { ...ed25519Public, kid: "did:web:api.example.com#key-1" },
    },
  ];
}

async function verify(list) {
  const told = [];
  for (const { kind, signed, key } of list) {
    const what = kind === "offer" ? "Offer" : "Receipt";
    const form = signed.format === "jws" ? "JWS" : "EIP712";
    try {
      const answer = await package_[`verify${what}Signature${form}`](signed, key);
      told.push(form === "JWS" ? { payload: answer } : answer);
    } catch (error) {
      told.push({ error: String(error) });
    }
  }
  console.log(JSON.stringify(told));
}

async function digest(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

function base58(bytes) {
  const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
  let number = BigInt(`0x${bytes.toString("hex")}`);
  let text = "";
  for (; number > 0n; number /= 58n) text = alphabet[Number(number % 58n)] + text;
  return text;
}

function save(list) {
  const path = fileURLToPath(
    new URL("../../crates/tollway-evm/tests/vectors/offer_receipt.json", import.meta.url),
  );
  const text = `${JSON.stringify(list, null, 1)}\n`;
  if (!process.argv.includes("--check")) {
    writeFileSync(path, text);
  } else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
    console.error("offer_receipt.json is not what the package produces: run `cargo xtask codegen vectors`");
    process.exit(1);
  }
  console.log(`${list.length} signed offers and receipts`);
}
