"""A foreign buyer that pays by channel: the x402 package over requests, as ../node/channel_buyer.mjs tells it.

    python channel_buyer.py SHOP CHAIN KEY
"""

import base64
import json
import sys

import requests
from eth_account import Account
from x402 import x402ClientSync
from x402.http.clients import wrapRequestsWithPayment
from x402.http.utils import decode_payment_response_header
from x402.mechanisms.evm.batch_settlement.client import BatchSettlementEvmScheme
from x402.mechanisms.evm.signers import EthAccountSigner

SHOP, CHAIN, KEY = sys.argv[1:4]
NETWORK = "eip155:8453"


class Signer(EthAccountSigner):
    """Signs with a key, and reads channels where the test says."""

    def read_contract(self, _address, _abi, _function, *args):
        channel = args[0] if isinstance(args[0], str) else "0x" + bytes(args[0]).hex()
        seen = requests.get(f"{CHAIN}/{channel}", timeout=10).json()
        return [int(seen["balance"]), int(seen["claimed"])]


SENT = []
send = requests.adapters.HTTPAdapter.send


def watched(adapter, request, *arguments, **options):
    """Notes what kind of payment leaves."""
    if header := request.headers.get("PAYMENT-SIGNATURE"):
        SENT.append(json.loads(base64.b64decode(header))["payload"]["type"])
    return send(adapter, request, *arguments, **options)


requests.adapters.HTTPAdapter.send = watched


def buyer():
    scheme = BatchSettlementEvmScheme(Signer(Account.from_key(KEY)))
    client = x402ClientSync()
    client.register(NETWORK, scheme)
    return scheme, wrapRequestsWithPayment(requests.Session(), client)


def plain(settlement):
    return settlement.model_dump(by_alias=True, exclude_none=True)


told = []
scheme, http = buyer()
for path in ["/data", "/data", "/partly", "/data", "forget", "/data"]:
    if path == "forget":
        scheme, http = buyer()
        continue
    answer = http.get(f"{SHOP}{path}", timeout=20)
    header = answer.headers.get("PAYMENT-RESPONSE")
    settlement = plain(decode_payment_response_header(header)) if header else None
    told.append({"status": answer.status_code, "body": answer.text, "sent": list(SENT), "settlement": settlement})
    SENT.clear()
told.append({"settlement": plain(scheme.refund(f"{SHOP}/data"))})
print(json.dumps(told))
