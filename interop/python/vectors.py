"""Golden vectors made by the published Python package, both protocol versions.

    python vectors.py [--check]

Writes crates/tollway-core/tests/vectors/python.json, or with --check only compares it and exits 1 if it
differs. Each vector is {name, producer, kind, version, wire, decoded}: `wire` is what travels (base64 of a
header, or the text of a body), `decoded` the object inside. Two runs give the same bytes.
"""

import base64
import json
import os
import pathlib
import secrets
import sys
import time

import httpx
from eth_account import Account
from x402 import x402ClientSync
from x402.http.facilitator_client import FacilitatorConfig, HTTPFacilitatorClientSync
from x402.http.utils import (
    decode_payment_required_header,
    encode_payment_required_header,
    encode_payment_response_header,
    encode_payment_signature_header,
)
from x402.mechanisms.evm.exact.client import ExactEvmScheme as ExactBuyer
from x402.mechanisms.evm.exact.server import ExactEvmScheme as ExactSeller
from x402.mechanisms.evm.exact.v1.client import ExactEvmSchemeV1
from x402.mechanisms.evm.upto.client import UptoEvmScheme as UptoBuyer
from x402.schemas import AssetAmount, PaymentRequired, ResourceInfo, SupportedResponse
from x402.schemas.config import ResourceConfig
from x402.schemas.v1 import PaymentRequiredV1
from x402.server import x402ResourceServerSync

PRODUCER = "x402-python 2.25.0"
# The first well-known development key: it holds nothing anywhere.
ACCOUNT = Account.from_key("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
PAY_TO = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
TOKEN = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
FACILITATOR = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
USDC_BASE = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
TRANSACTION = "0x" + "ab" * 32
DOMAIN = {"name": "USD Coin", "version": "2"}

vectors: list[dict] = []
replies: dict[str, dict] = {}
bodies: list[str] = []


def freeze() -> None:
    """Makes signing repeatable: a clock that stands still and random bytes that count."""
    draws = 0

    def counted(size: int) -> bytes:
        nonlocal draws
        draws += 1
        return bytes((draws * 17 + i * 7) & 255 for i in range(size))

    time.time = lambda: 1_750_000_000.0
    os.urandom = counted
    secrets.token_bytes = counted
    secrets.randbits = lambda bits: int.from_bytes(counted((bits + 7) // 8), "big") >> (-bits % 8)


def add(name: str, kind: str, version: int, wire: str) -> None:
    text = wire if wire.startswith("{") else base64.b64decode(wire)
    vectors.append(
        dict(name=name, producer=PRODUCER, kind=kind, version=version, wire=wire, decoded=json.loads(text))
    )


class Kinds:
    """A facilitator that only says what it supports."""

    def get_supported(self) -> SupportedResponse:
        chains = [8453, 84532, 137, 14, 4326, 42220, 5042, 31337]
        kinds = [dict(x402Version=2, scheme="exact", network=f"eip155:{chain}") for chain in chains]
        return SupportedResponse.model_validate(dict(kinds=kinds))


def exact(chain: int, price, **more) -> dict:
    return dict(scheme="exact", network=f"eip155:{chain}", pay_to=PAY_TO, price=price, **more)


def resource(**more) -> ResourceInfo:
    bare = dict(url="https://api.example.com/weather?city=Z%C3%BCrich&u=1", description="", mime_type="")
    return ResourceInfo(**{**bare, **more})


def local_price(amount: str, network: str) -> AssetAmount | None:
    if network != "eip155:31337":
        return None
    return AssetAmount(amount=str(round(float(amount) * 1e6)), asset=TOKEN, extra=DOMAIN)


def payment_required() -> dict[str, PaymentRequired]:
    """What sellers ask for."""
    seller = x402ResourceServerSync(Kinds())
    seller.register("eip155:*", ExactSeller().register_money_parser(local_price))
    seller.initialize()

    text = 'Wetter für Zürich ☀ 天気 🚀 "quoted" \\ / \u2028 \u0001'
    largest = {"amount": str(2**256 - 1), "asset": TOKEN, "extra": {"name": "Big ☃", "version": "1"}}
    odd = {"zeta": 423.20917087271323, "alpha": {"b": [1, 2.5, "3", None, True], "a": "x"}, "nil": None, "weird key": "/"}
    extensions = {
        "bazaar": {"info": {"input": {"queryParams": {"city": "Zürich"}}}, "schema": {"type": "object"}},
        "x-unknown": {"info": {"n": 1, "z": None}},
    }
    branded = resource(service_name="Weather Co", tags=["weather", "json"], icon_url="https://api.example.com/i.png")
    unpaid = "Payment required"
    cases = {
        "base-cents": ([exact(8453, "$0.01")], resource(mime_type="application/json"), unpaid, None),
        "base-sepolia-float-price": ([exact(84532, 0.5, max_timeout_seconds=60)], resource(), unpaid, None),
        "polygon-one-unit": ([exact(137, "0.0000019")], resource(), unpaid, None),
        "flare-unicode": ([exact(14, "$0.25")], resource(description=text), unpaid, None),
        "celo-two-assets": ([exact(42220, "0.10 USAT"), exact(42220, "$0.10")], resource(), unpaid, None),
        "arc": ([exact(5042, "$0.10")], resource(), unpaid, None),
        "megaeth-permit2-18-decimals": ([exact(4326, "$0.75")], resource(), unpaid, None),
        "local-branded": ([exact(31337, "$0.02", max_timeout_seconds=90)], branded, unpaid, None),
        "upfront": ([exact(8453, "$0.01", extra={"paymentFlow": "upfront"})], resource(), unpaid, None),
        "largest-amount": ([exact(31337, largest, max_timeout_seconds=2147483647)], resource(), unpaid, None),
        "odd-extra": ([exact(31337, "$0.03", extra=odd)], resource(), unpaid, None),
        "extensions": ([exact(31337, "$0.04")], resource(), unpaid, extensions),
        "bare-resource": (
            [exact(8453, "$0.01")],
            ResourceInfo(url="https://x.example/é"),
            "invalid_exact_evm_payload_signature",
            None,
        ),
    }
    made = {}
    for name, (options, described, error, declared) in cases.items():
        offers = []
        for option in options:
            offers += seller.build_payment_requirements(ResourceConfig(**option))
        wire = encode_payment_required_header(
            seller.create_payment_required_response(offers, described, error, declared)
        )
        add(f"required-{name}", "payment-required", 2, wire)
        made[name] = decode_payment_required_header(wire)
    return made


def payments(required: dict[str, PaymentRequired]) -> dict:
    """What buyers answer, each the first offer of one of the above, and some altered offers."""
    client = x402ClientSync()
    client.register("eip155:*", ExactBuyer(ACCOUNT))
    client.register("eip155:8453", UptoBuyer(ACCOUNT))
    client.register("eip155:8453", ExactBuyer(ACCOUNT))
    client.set_spend_controls(False)

    local = required["local-branded"].model_dump(by_alias=True)
    offer = {**local["accepts"][0], "futureOffer": ["k"], "payTo": PAY_TO.lower(), "asset": TOKEN.lower()}
    unknown = {**local, "futureTop": 1, "accepts": [offer], "error": None}
    no_resource = {name: value for name, value in local.items() if name != "resource"}
    upto = {
        **required["base-cents"].model_dump(by_alias=True)["accepts"][0],
        "scheme": "upto",
        "extra": {**DOMAIN, "assetTransferMethod": "permit2", "facilitatorAddress": FACILITATOR},
    }
    cases = {
        **required,
        "unknown-fields-lowercase-addresses": PaymentRequired.model_validate(unknown),
        "no-resource": PaymentRequired.model_validate(no_resource),
        "upto": PaymentRequired.model_validate(
            dict(x402Version=2, resource={"url": "https://x.example/y"}, accepts=[upto])
        ),
    }
    made = {}
    for name, object in cases.items():
        made[name] = client.create_payment_payload(object)
        add(f"payment-{name}", "payment-payload", 2, encode_payment_signature_header(made[name]))
    return made


def facilitator() -> HTTPFacilitatorClientSync:
    """The package's own client of a facilitator, answered from `replies`; what it sent is kept in `bodies`."""

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content.decode())
        return httpx.Response(200, json=replies[request.url.path])

    http = httpx.Client(transport=httpx.MockTransport(answer))
    return HTTPFacilitatorClientSync(FacilitatorConfig(url="http://facilitator.test", http_client=http))


def facilitator_requests(client: HTTPFacilitatorClientSync, paid: dict) -> None:
    """What sellers send to a facilitator."""
    replies["/verify"] = {"isValid": True, "payer": ACCOUNT.address}
    names = [
        "local-branded",
        "extensions",
        "odd-extra",
        "megaeth-permit2-18-decimals",
        "largest-amount",
        "flare-unicode",
        "upto",
    ]
    for name in names:
        client.verify(paid[name], paid[name].accepted)
        add(f"verify-{name}", "facilitator-request", 2, bodies[-1])


def settle_responses(client: HTTPFacilitatorClientSync, paid: dict) -> None:
    """What sellers return to buyers: a facilitator's answer, read and written by the seller."""
    success = dict(success=True, payer=ACCOUNT.address, transaction=TRANSACTION, network="eip155:31337")
    failure = dict(success=False, transaction="", network="eip155:31337")
    cases = {
        "success": success,
        "success-amount-extra": {
            **success,
            "amount": str(2**128),
            "extra": {"channelId": "0x01", "n": 1.5},
            "extensions": {"offer-receipt": {"info": {"s": "ü☃🚀"}}},
            "future": 1,
        },
        "pending": {
            **failure,
            "errorReason": "settlement_pending",
            "errorMessage": "“timeout”",
            "payer": ACCOUNT.address,
            "transaction": TRANSACTION,
        },
        "failed-nulls": {**failure, "errorReason": "transaction_failed", "errorMessage": None, "extra": None},
    }
    payment = paid["local-branded"]
    for name, reply in cases.items():
        replies["/settle"] = reply
        wire = encode_payment_response_header(client.settle(payment, payment.accepted))
        add(f"settlement-{name}", "settle-response", 2, wire)


def version_one(facilitator_client: HTTPFacilitatorClientSync) -> None:
    """The older protocol."""
    offers = {
        "base-sepolia": ("0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC"),
        "base": (USDC_BASE, "USD Coin"),
        "story": ("0xF1815bd50389c46847f0Bda824eC8da914045D14", "Bridged USDC"),
    }
    client = x402ClientSync()
    client.set_spend_controls(False)
    for network, (asset, name) in offers.items():
        client.register_v1(network, ExactEvmSchemeV1(ACCOUNT))
        offer = dict(
            scheme="exact",
            network=network,
            maxAmountRequired="10000",
            resource="https://api.example.com/weather",
            description="Wetter für Zürich ☀",
            mimeType="application/json",
            payTo=PAY_TO,
            maxTimeoutSeconds=60,
            asset=asset,
            outputSchema=None,
            extra={"name": name, "version": "2"},
        )
        required = PaymentRequiredV1.model_validate(
            dict(x402Version=1, error="X-PAYMENT header is required", accepts=[offer])
        )
        body = required.model_dump_json(by_alias=True, exclude_none=True)
        add(f"v1-required-{network}", "payment-required", 1, body)
        payment = client.create_payment_payload(required)
        add(f"v1-payment-{network}", "payment-payload", 1, encode_payment_signature_header(payment))
        facilitator_client.verify(payment, required.accepts[0])
        add(f"v1-verify-{network}", "facilitator-request", 1, bodies[-1])


def save() -> int:
    root = pathlib.Path(__file__).resolve().parents[2]
    path = root / "crates/tollway-core/tests/vectors/python.json"
    text = json.dumps(vectors, indent=1, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv:
        path.write_text(text, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != text:
        print("python.json is not what the package produces: run `cargo xtask codegen vectors`", file=sys.stderr)
        return 1
    print(f"{len(vectors)} vectors")
    return 0


def main() -> int:
    freeze()
    paid = payments(payment_required())
    client = facilitator()
    facilitator_requests(client, paid)
    settle_responses(client, paid)
    version_one(client)
    return save()


if __name__ == "__main__":
    sys.exit(main())
