"""A foreign buyer: pays a URL with the x402 package's httpx client.

    python pay.py --url URL --key 0x.. --token 0x.. [--network eip155:31337] [--method GET] [--body JSON]
                  [--max ATOMIC]

stdout: one line {status, body, settlement, headers}; `settlement` is the decoded PAYMENT-RESPONSE or null.
Exits 0 if the answer is 2xx and the settlement says success; 1 otherwise, with {error} if nothing was answered.
"""

import argparse
import asyncio
import json
import sys

from eth_account import Account
from x402 import x402Client
from x402.http.clients import wrapHttpxWithPayment
from x402.http.utils import decode_payment_response_header
from x402.mechanisms.evm.exact.client import ExactEvmScheme


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("url", "key", "token"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--network", default="eip155:31337")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--body")
    parser.add_argument("--max", default="1000000000")
    return parser.parse_args()


async def pay(options: argparse.Namespace) -> dict:
    client = x402Client()
    client.register(options.network, ExactEvmScheme(Account.from_key(options.key)))
    # Without this the package refuses every token it does not know.
    allowed = {"network": options.network, "asset": options.token, "max_amount_per_payment": options.max}
    client.set_spend_controls({"allowed_assets": [allowed]})
    async with wrapHttpxWithPayment(client, timeout=60) as http:
        headers = {} if options.body is None else {"content-type": "application/json"}
        response = await http.request(options.method, options.url, content=options.body, headers=headers)
    header = response.headers.get("PAYMENT-RESPONSE")
    settlement = decode_payment_response_header(header).model_dump(by_alias=True, exclude_none=True) if header else None
    return {
        "status": response.status_code,
        "body": response.text,
        "settlement": settlement,
        "headers": dict(response.headers),
    }


def main() -> int:
    options = arguments()
    try:
        result = asyncio.run(pay(options))
    except Exception as error:  # whatever the package raises is the result
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(result))
    settled = result["settlement"] is not None and result["settlement"].get("success") is True
    return 0 if result["status"] // 100 == 2 and settled else 1


if __name__ == "__main__":
    sys.exit(main())
