// A foreign client: mppx, of which it is the x402 mode that pays here. How it is told what to pay: ../node/peer.mjs.
import { Mppx, evm } from "mppx/client";
import { Header } from "mppx/x402";
import { privateKeyToAccount } from "viem/accounts";
import { client, fetched, init, start } from "../node/peer.mjs";

const { network, token } = start;
const mppx = Mppx.create({
  methods: [
    evm.charge({
      account: privateKeyToAccount(start.key),
      networks: [Number(network.split(":")[1])],
      currencies: [token.address],
      authorization: { name: token.name, version: token.version },
      decimals: token.decimals,
      maxAmount: "1000",
    }),
  ],
  // Its own protocol comes first otherwise, where a server has both.
  orderChallenges: (candidates) => candidates.filter(({ challenge }) => challenge.request.scheme === "exact"),
  polyfill: false,
});

await client(
  async (asked) => fetched(await mppx.fetch(asked.url, init(asked))),
  (headers) => headers["payment-response"] && Header.decodePaymentResponse(headers["payment-response"]),
);
