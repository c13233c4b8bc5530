"""A foreign client: the x402 package over httpx or requests. How it is told what to pay: peer.py.

    python client.py httpx|requests JSON
"""

import asyncio
import json
import sys

import requests
from eth_account import Account
from peer import START, say
from x402 import x402Client, x402ClientSync
from x402.extensions.builder_code import BuilderCodeClientExtension
from x402.extensions.payment_identifier import PAYMENT_IDENTIFIER, append_payment_identifier_to_extensions
from x402.extensions.sign_in_with_x import CreateSIWxClientExtensionOptions, create_siwx_client_extension
from x402.http.clients import wrapHttpxWithPayment, wrapRequestsWithPayment
from x402.http.utils import decode_payment_response_header
from x402.mechanisms.evm.batch_settlement.client import (
    BatchSettlementEvmScheme,
    BatchSettlementEvmSchemeOptions,
    RefundOptions,
)
from x402.mechanisms.evm.exact.client import ExactEvmScheme
from x402.mechanisms.evm.exact.v1.client import ExactEvmSchemeV1
from x402.mechanisms.evm.signers import EthAccountSignerWithRPC
from x402.mechanisms.evm.upto.client import UptoEvmScheme

TIMEOUT_SECONDS = 60


class Channels(dict):
    """What is known of channels. It can be lost."""

    def set(self, key, context):
        self[key] = context

    def delete(self, key):
        self.pop(key, None)


CHANNELS = Channels()
SIGNER = EthAccountSignerWithRPC(Account.from_key(START.key), START.rpc)
ON_CHANNELS = BatchSettlementEvmScheme(SIGNER, BatchSettlementEvmSchemeOptions(storage=CHANNELS, rpc_url=START.rpc))


def aside(line: str) -> dict | None:
    """What a line asks of channels beside a payment, as ../node/peer.mjs has it; none if it asks for a payment."""
    fields = json.loads(line)
    if fields.get("forget"):
        CHANNELS.clear()
    if not fields.get("refund"):
        return None
    amount = None if fields["refund"] is True else fields["refund"]
    settled = ON_CHANNELS.refund(fields["url"], RefundOptions(amount=amount))
    return {"status": 200, "settlement": settled.model_dump(by_alias=True, exclude_none=True), "headers": {}}


class Named:
    """Names each payment where the seller asks for it."""

    key = PAYMENT_IDENTIFIER

    def enrich_payment_payload(self, payment, _required):
        extensions = append_payment_identifier_to_extensions({**(payment.extensions or {})})
        return payment.model_copy(update={"extensions": extensions})


def registered(client):
    """Registers every EVM scheme on a client, sync or async."""
    client.register(START.network, ExactEvmScheme(SIGNER))
    client.register(START.network, UptoEvmScheme(SIGNER))
    client.register(START.network, ON_CHANNELS)
    client.register_v1(START.v1Network, ExactEvmSchemeV1(SIGNER))
    # Without this the package refuses every token it does not know.
    allowed = [
        {"network": network, "asset": START.token.address, "max_amount_per_payment": "1000000000"}
        for network in (START.network, START.v1Network)
    ]
    client.set_spend_controls({"allowed_assets": allowed})
    return client


def extended(client):
    """Registers every extension as well."""
    client.register_extension(BuilderCodeClientExtension("partner_agent"))
    client.register_extension(Named())
    # Its hooks are async: a sync client takes them, and then fails at them.
    if isinstance(client, x402Client):
        options = CreateSIWxClientExtensionOptions(signers=[Account.from_key(START.key)])
        client.register_extension(create_siwx_client_extension(options))
    return registered(client)


def asked(line: str, body_name: str) -> tuple[str, str, dict]:
    """Method, URL and the rest of what a line asks for."""
    fields = json.loads(line)
    if "body" not in fields:
        return "GET", fields["url"], {}
    return "POST", fields["url"], {body_name: fields["body"], "headers": {"content-type": "application/json"}}


def told(response) -> dict:
    header = response.headers.get("PAYMENT-RESPONSE") or response.headers.get("X-PAYMENT-RESPONSE")
    settlement = decode_payment_response_header(header).model_dump(by_alias=True, exclude_none=True) if header else None
    return {
        "status": response.status_code,
        "body": response.text,
        "settlement": settlement,
        "headers": {name.lower(): value for name, value in response.headers.items()},
    }


async def over_httpx() -> None:
    async with (
        wrapHttpxWithPayment(registered(x402Client()), timeout=TIMEOUT_SECONDS) as plain,
        wrapHttpxWithPayment(extended(x402Client()), timeout=TIMEOUT_SECONDS) as extending,
    ):
        for line in sys.stdin:
            try:
                method, url, options = asked(line, "content")
                http = extending if json.loads(line).get("extended") else plain
                say(aside(line) or told(await http.request(method, url, **options)))
            except Exception as error:  # whatever the package raises is the answer
                say({"error": repr(error)})


def over_requests() -> None:
    plain = wrapRequestsWithPayment(requests.Session(), registered(x402ClientSync()))
    extending = wrapRequestsWithPayment(requests.Session(), extended(x402ClientSync()))
    for line in sys.stdin:
        try:
            method, url, options = asked(line, "data")
            session = extending if json.loads(line).get("extended") else plain
            say(aside(line) or told(session.request(method, url, timeout=TIMEOUT_SECONDS, **options)))
        except Exception as error:  # whatever the package raises is the answer
            say({"error": repr(error)})


if __name__ == "__main__":
    say({"ready": True})
    if sys.argv[1] == "httpx":
        asyncio.run(over_httpx())
    else:
        over_requests()
