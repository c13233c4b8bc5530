"""A foreign facilitator: the x402 package behind FastAPI. How it is started: peer.py.

    python facilitator.py facilitator JSON

It serves POST /verify, POST /settle and GET /supported, in threads: the package's signer for web3 blocks.
"""

import logging
import socket

import uvicorn
from fastapi import Body, FastAPI
from peer import START, serve_threads
from x402 import x402FacilitatorSync
from x402.mechanisms.evm.batch_settlement.facilitator import BatchSettlementEvmFacilitator
from x402.mechanisms.evm.exact import register_exact_evm_facilitator
from x402.mechanisms.evm.signers import FacilitatorWeb3Signer
from x402.mechanisms.evm.upto.facilitator import UptoEvmScheme
from x402.schemas import parse_payment_payload, parse_payment_requirements


def facilitator_app() -> FastAPI:
    signer = FacilitatorWeb3Signer(START.keys[0], START.rpc)
    facilitator = register_exact_evm_facilitator(x402FacilitatorSync(), signer, START.network)
    facilitator.register([START.network], UptoEvmScheme(signer))
    facilitator.register([START.network], BatchSettlementEvmFacilitator(signer))
    app = FastAPI()

    def answered(ask, body: dict) -> dict:
        payload = parse_payment_payload(body["paymentPayload"])
        requirements = parse_payment_requirements(payload.x402_version, body["paymentRequirements"])
        return ask(payload, requirements).model_dump(by_alias=True, exclude_none=True)

    @app.post("/verify")
    def verify(body: dict = Body()):
        return answered(facilitator.verify, body)

    @app.post("/settle")
    def settle(body: dict = Body()):
        return answered(facilitator.settle, body)

    @app.get("/supported")
    def supported():
        return facilitator.get_supported().model_dump(by_alias=True, exclude_none=True)

    return app


def main() -> None:
    logging.disable(logging.CRITICAL)
    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(facilitator_app(), log_config=None))
    serve_threads([f"http://127.0.0.1:{bound.getsockname()[1]}"], [lambda: server.run(sockets=[bound])])


if __name__ == "__main__":
    main()
