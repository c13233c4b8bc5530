"""Reads what Tollway put on the wire with the published Python package.

    cargo run -q -p tollway-core --example encodings | python check.py

stdin: JSON lines {name, kind, version, wire, object}. Each `wire` goes through the decoder a peer would use and
must come out as `object`, less what the package's models do not know. Prints how many did; lists every one
that did not and exits 1.
"""

import json
import sys

import httpx
from x402.http.facilitator_client import FacilitatorConfig, HTTPFacilitatorClientSync
from x402.http.utils import (
    decode_payment_required_header,
    decode_payment_response_header,
    decode_payment_signature_header,
)
from x402.schemas import (
    parse_payment_payload,
    parse_payment_required,
    parse_payment_requirements,
    PaymentPayload,
    PaymentRequirements,
)

# Fields the package's models drop, and the objects that hold whatever their maker put in.
DROPPED = {"futureTop", "futureResource", "futureOffer"}
FREE_FORM = {"extra", "extensions", "payload", "outputSchema"}


def plain(model) -> dict:
    return model.model_dump(by_alias=True, exclude_none=True)


def known(value):
    """The object less what the models drop."""
    if isinstance(value, dict):
        return {
            key: inner if key in FREE_FORM else known(inner) for key, inner in value.items() if key not in DROPPED
        }
    return [known(inner) for inner in value] if isinstance(value, list) else value


def answered(wire: str, call):
    """What the package's facilitator client makes of `wire` as an answer."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=wire.encode()))
    config = FacilitatorConfig(url="http://facilitator.test", http_client=httpx.Client(transport=transport))
    return plain(call(HTTPFacilitatorClientSync(config)))


def request(wire: str) -> dict:
    """A facilitator's reading of a request body."""
    body = json.loads(wire)
    version = body["x402Version"]
    return {
        "x402Version": version,
        "paymentPayload": plain(parse_payment_payload(body["paymentPayload"])),
        "paymentRequirements": plain(parse_payment_requirements(version, body["paymentRequirements"])),
    }


def answer_decoders() -> dict:
    terms = PaymentRequirements(
        scheme="exact", network="eip155:1", asset="", amount="1", pay_to="", max_timeout_seconds=1
    )
    payment = PaymentPayload(payload={}, accepted=terms)
    return {
        "settle-response": lambda wire: answered(wire, lambda client: client.settle(payment, terms)),
        "verify-response": lambda wire: answered(wire, lambda client: client.verify(payment, terms)),
        "supported": lambda wire: answered(wire, lambda client: client.get_supported()),
    }


HEADERS = {
    "payment-required": decode_payment_required_header,
    "payment-payload": decode_payment_signature_header,
    "settle-response": decode_payment_response_header,
}
BODIES = {
    "payment-required": lambda wire: plain(parse_payment_required(wire.encode())),
    "facilitator-request": request,
    **answer_decoders(),
}


def main() -> int:
    read, faults = 0, []
    for line in sys.stdin:
        case = json.loads(line)
        wire, kind = case["wire"], case["kind"]
        body = wire.startswith("{")
        way = f"{case['name']} ({kind} {case['version']} {'body' if body else 'header'})"
        try:
            decoded = BODIES[kind](wire) if body else plain(HEADERS[kind](wire))
        except Exception as error:  # whatever the package raises is the finding
            faults.append(f"{way}: {error!r}")
            continue
        if decoded == known(case["object"]):
            read += 1
        else:
            faults.append(f"{way}: read {json.dumps(decoded)}, wrote {json.dumps(case['object'])}")
    print(f"{read} encodings read by the Python package")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 0 if read and not faults else 1


if __name__ == "__main__":
    sys.exit(main())
