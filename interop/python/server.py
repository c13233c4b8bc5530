"""A foreign server: the x402 package on FastAPI or Flask. How it is told what to sell: peer.py.

    python server.py fastapi|flask JSON
"""

import logging
import socket
import sys

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from flask import Flask, make_response, request
from peer import START, serve_threads
from werkzeug.serving import make_server
from x402 import x402ResourceServer, x402ResourceServerSync
from x402.extensions.builder_code import declare_builder_code_extension
from x402.extensions.builder_code.server import BuilderCodeResourceServerExtension
from x402.extensions.payment_identifier import PAYMENT_IDENTIFIER, declare_payment_identifier_extension
from x402.extensions.payment_identifier.server import PaymentIdentifierResourceServerExtension
from x402.extensions.sign_in_with_x import (
    CreateSIWxResourceServerExtensionOptions,
    InMemorySIWxStorage,
    create_siwx_resource_server_extension,
    declare_siwx_extension,
)
from x402.http.facilitator_client import FacilitatorConfig, HTTPFacilitatorClient, HTTPFacilitatorClientSync
from x402.http.middleware import fastapi as fastapi_middleware
from x402.http.middleware import flask as flask_middleware
from x402.http.types import PaymentOption, RouteConfig
from x402.mechanisms.evm.batch_settlement.authorizer_signer import LocalAuthorizerSigner
from x402.mechanisms.evm.batch_settlement.server import (
    BatchSettlementChannelManager,
    BatchSettlementChannelManagerSync,
    BatchSettlementEvmScheme,
    BatchSettlementEvmSchemeServerConfig,
    ChannelManagerConfig,
    ChannelManagerConfigSync,
)
from x402.mechanisms.evm.exact.server import ExactEvmScheme
from x402.mechanisms.evm.upto.server import UptoEvmScheme


PARTLY = ("/upto", "/batch-settlement-partly")


def sold(routes: list[str]) -> dict[str, RouteConfig]:
    """The routes that the test asked for, of those that the package can sell."""

    def offer(scheme: str, extensions: dict | None = None, **extra) -> RouteConfig:
        price = {
            "amount": START.price,
            "asset": START.token.address,
            "extra": {"name": START.token.name, "version": START.token.version, **extra},
        }
        option = PaymentOption(scheme=scheme, pay_to=START.payTo, price=price, network=START.network)
        return RouteConfig(accepts=[option], description="sold by a partner", mime_type="text/plain", extensions=extensions)

    every = {
        "/exact-eip3009": offer("exact"),
        "/exact-permit2": offer("exact", assetTransferMethod="permit2"),
        "/upto": offer("upto"),
        "/batch-settlement": offer("batch-settlement"),
        "/batch-settlement-partly": offer("batch-settlement"),
        "/batch-settlement-permit2": offer("batch-settlement", assetTransferMethod="permit2"),
        "/payment-identifier": offer("exact", {PAYMENT_IDENTIFIER: declare_payment_identifier_extension(True)}),
        "/builder-code": offer("exact", {"builder-code": declare_builder_code_extension("partner_app")}),
        "/sign-in-with-x": offer("exact", declare_siwx_extension()),
        "/echo": offer("exact"),
        "/fails": offer("exact"),
    }
    method = {"/echo": "POST"}
    return {f"{method.get(path, 'GET')} {path}": config for path, config in every.items() if path in routes}


def registered(server, origin: str):
    """Registers every EVM scheme and extension on a server, sync or async."""
    storage = InMemorySIWxStorage()
    options = CreateSIWxResourceServerExtensionOptions(storage=storage, origin=origin)
    server.register_extension(BuilderCodeResourceServerExtension())
    server.register_extension(PaymentIdentifierResourceServerExtension())
    # Its hooks are async: a sync server takes them, and then fails at them.
    if isinstance(server, x402ResourceServer):
        server.register_extension(create_siwx_resource_server_extension(options))
    return server.register(START.network, ExactEvmScheme()).register(START.network, UptoEvmScheme())


def on_channels(server, facilitator, client, manager, config):
    """Registers channels, if there is a key to authorize claims with; and who claims what they owe."""
    key = getattr(facilitator, "authorizerKey", None)
    if key is None:
        return None
    own = BatchSettlementEvmSchemeServerConfig(receiver_authorizer_signer=LocalAuthorizerSigner(key))
    scheme = BatchSettlementEvmScheme(START.payTo, own)
    server.register(START.network, scheme)
    return manager(config(scheme, client, START.payTo, START.token.address, START.network))


def fastapi_app(facilitator, origin: str) -> FastAPI:
    client = HTTPFacilitatorClient(FacilitatorConfig(url=facilitator.url))
    app = FastAPI()
    server = registered(x402ResourceServer(client), origin)
    manager = on_channels(server, facilitator, client, BatchSettlementChannelManager, ChannelManagerConfig)
    app.add_middleware(fastapi_middleware.PaymentMiddlewareASGI, routes=sold(facilitator.routes), server=server)

    @app.post("/claim")
    async def claim():
        await manager.claim_and_settle()

    @app.api_route("/{route}", methods=["GET", "POST"])
    async def answer(request: Request):
        text = f"sold {request.url.path}{(await request.body()).decode()}"
        response = PlainTextResponse(text, status_code=500 if request.url.path == "/fails" else 200)
        if request.url.path in PARTLY:
            fastapi_middleware.set_settlement_overrides(response, {"amount": START.charged})
        return response

    return app


def flask_app(facilitator, origin: str) -> Flask:
    client = HTTPFacilitatorClientSync(FacilitatorConfig(url=facilitator.url))
    app = Flask(__name__)
    server = registered(x402ResourceServerSync(client), origin)
    manager = on_channels(server, facilitator, client, BatchSettlementChannelManagerSync, ChannelManagerConfigSync)
    flask_middleware.payment_middleware(app, routes=sold(facilitator.routes), server=server)

    @app.post("/claim")
    def claim():
        manager.claim_and_settle()
        return ""

    @app.route("/<route>", methods=["GET", "POST"])
    def answer(route: str):
        text = f"sold /{route}{request.get_data(as_text=True)}"
        response = make_response(text, 500 if route == "fails" else 200)
        if f"/{route}" in PARTLY:
            flask_middleware.set_settlement_overrides(response, {"amount": START.charged})
        return response

    return app


def main() -> None:
    logging.disable(logging.CRITICAL)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in START.facilitators]
    urls = [f"http://127.0.0.1:{bound.getsockname()[1]}" for bound in sockets]
    runs = []
    for bound, url, facilitator in zip(sockets, urls, START.facilitators, strict=True):
        if sys.argv[1] == "fastapi":
            server = uvicorn.Server(uvicorn.Config(fastapi_app(facilitator, url), log_config=None))
            runs.append(lambda server=server, bound=bound: server.run(sockets=[bound]))
        else:
            server = make_server("127.0.0.1", 0, flask_app(facilitator, url), threaded=True, fd=bound.detach())
            runs.append(server.serve_forever)
    serve_threads(urls, runs)


if __name__ == "__main__":
    main()
