// Reads what Tollway put on the wire with the published TypeScript packages.
//
//   cargo run -q -p tollway-core --example encodings | node check.mjs
//
// stdin: JSON lines { name, kind, version, wire, object }. Each `wire` goes through the decoder and, where the
// packages have one, the schema a peer would use, and must come out as `object`. Prints how many did; lists every
// one that did not and exits 1.
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";
import {
  decodePaymentRequiredHeader,
  decodePaymentResponseHeader,
  decodePaymentSignatureHeader,
  HTTPFacilitatorClient,
} from "@x402/core/http";
import * as schemas from "@x402/core/schemas";
import { exact } from "x402/schemes";
import * as v1 from "x402/types";

const facilitator = new HTTPFacilitatorClient({ url: "http://facilitator.test" });

// Decoders by kind, version and place; a body goes through the package's client as if a facilitator had sent it.
const decoders = {
  "payment-required 2 header": (wire) =>
    accepted(schemas.PaymentRequiredV2Schema, decodePaymentRequiredHeader(wire)),
  "payment-required 1 body": (wire) => {
    const object = accepted(schemas.PaymentRequiredV1Schema, JSON.parse(wire));
    return { ...object, accepts: object.accepts.map((accept) => v1.PaymentRequirementsSchema.parse(accept)) };
  },
  "payment-payload 2 header": (wire) =>
    accepted(schemas.PaymentPayloadV2Schema, decodePaymentSignatureHeader(wire)),
  "payment-payload 1 header": (wire) => exact.evm.decodePayment(wire),
  "facilitator-request 2 body": (wire) => {
    const object = JSON.parse(wire);
    accepted(schemas.PaymentPayloadV2Schema, object.paymentPayload);
    accepted(schemas.PaymentRequirementsV2Schema, object.paymentRequirements);
    return object;
  },
  "facilitator-request 1 body": (wire) => {
    const { x402Version, ...rest } = JSON.parse(wire);
    return { x402Version, ...v1.VerifyRequestSchema.parse(rest) };
  },
  "settle-response 2 header": (wire) => decodePaymentResponseHeader(wire),
  "settle-response 1 header": (wire) => v1.settleResponseFromHeader(wire),
  "settle-response 2 body": (wire) => answered(wire, () => facilitator.settle({ x402Version: 2 }, {})),
  "settle-response 1 body": (wire) => answered(wire, () => facilitator.settle({ x402Version: 1 }, {})),
  "verify-response 2 body": (wire) => answered(wire, () => facilitator.verify({ x402Version: 2 }, {})),
  "supported 2 body": (wire) => answered(wire, () => facilitator.getSupported()),
};

let read = 0;
const faults = [];
for await (const line of createInterface({ input: process.stdin })) {
  const { name, kind, version, wire, object } = JSON.parse(line);
  const way = `${kind} ${version} ${wire.startsWith("{") ? "body" : "header"}`;
  try {
    const decoded = plain(await decoders[way](wire));
    if (isDeepStrictEqual(decoded, object)) read += 1;
    else faults.push(`${name} (${way}): read ${JSON.stringify(decoded)}, wrote ${JSON.stringify(object)}`);
  } catch (error) {
    faults.push(`${name} (${way}): ${error.message}`);
  }
}
console.log(`${read} encodings read by the TypeScript packages`);
for (const fault of faults) console.error(fault);
process.exit(faults.length === 0 && read > 0 ? 0 : 1);

// The object itself, once the schema has let it pass: a schema may drop fields it does not know.
function accepted(schema, object) {
  schema.parse(object);
  return object;
}

async function answered(body, call) {
  globalThis.fetch = async () => new Response(body, { headers: { "content-type": "application/json" } });
  return await call();
}

// Without prototypes and undefined members, which JSON does not have.
function plain(object) {
  return JSON.parse(JSON.stringify(object));
}
