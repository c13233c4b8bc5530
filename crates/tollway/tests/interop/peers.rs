//! Who there is: us, and each published package in the role that it is published for, with what it lacks.

use crate::cases::Case;

/// What a package is, by the list that pins it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Package {
    /// Ours.
    Ours,
    /// A package for node, below `interop/<directory>`.
    Npm { directory: &'static str, name: &'static str },
    /// A package for Python.
    Pip(&'static str),
    /// A published crate.
    Crate(&'static str),
}

/// The program that plays it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// None: it runs in this process.
    Ours,
    /// A script of `interop/node`.
    Node(&'static str),
    /// A script of `interop/mppx`.
    Mppx(&'static str),
    /// A script of `interop/python`, and what it is to use.
    Python(&'static str, &'static str),
    /// A role of `interop/rust`.
    Rust(&'static str),
}

/// One of us or of them, in one role.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Unique among those of its role.
    pub(crate) id: &'static str,
    /// What it is called on the page.
    pub(crate) name: &'static str,
    pub(crate) package: Package,
    pub(crate) program: Program,
    /// What it cannot do at all, and why that is.
    pub(crate) lacks: &'static [(Case, &'static str)],
}

impl Peer {
    pub(crate) const fn is_ours(&self) -> bool {
        matches!(self.package, Package::Ours)
    }

    /// Why it has nothing for `case`.
    pub(crate) fn lack(&self, case: Case) -> Option<&'static str> {
        self.lacks.iter().find(|(lacking, _)| *lacking == case).map(|(_, why)| *why)
    }
}

const OURS: Peer =
    Peer { id: "tollway", name: "**Tollway**", package: Package::Ours, program: Program::Ours, lacks: &[] };

const fn npm(name: &'static str) -> Package {
    Package::Npm { directory: "node", name }
}

/// The newest of its name is older than its siblings.
const AXIOS_LACKS: &[(Case, &str)] = &[
    (
        Case::BuilderCode,
        "2.11.0 is its newest, whose core replaces what a seller declared instead of adding to it",
    ),
    (Case::SignIn, "2.11.0 is its newest, whose core has no hooks for it"),
    (
        Case::BatchSettlement,
        "2.11.0 is its newest, whose core has no hooks for schemes: nothing tells the channel what was charged",
    ),
];
const NO_RECEIPTS: (Case, &str) = (Case::OfferReceipt, "the Python package has no `offer-receipt`");
const NO_SYNC_SIGN_IN: (Case, &str) =
    (Case::SignIn, "the package's hooks for it are async, and what is built on its sync side fails at them");
const NO_EXTENSIONS: &str = "it has no extensions but those for gas";
/// Of the packages called `x402-` for Rust.
const X402_RS_LACKS: &[(Case, &str)] = &[
    NO_AUTH_CAPTURE,
    NO_CHANNELS,
    (Case::PaymentIdentifier, NO_EXTENSIONS),
    (Case::BuilderCode, NO_EXTENSIONS),
    (Case::SignIn, NO_EXTENSIONS),
    (Case::OfferReceipt, NO_EXTENSIONS),
];
const NO_AUTH_CAPTURE: (Case, &str) = (Case::AuthCapture, "it has no scheme `auth-capture`");
const NO_CHANNELS: (Case, &str) = (Case::BatchSettlement, "it has no scheme `batch-settlement`");
const NO_AUTH_CAPTURE_SERVER: (Case, &str) =
    (Case::AuthCapture, "it has the client of `auth-capture`, no server and no facilitator");
const MPPX_EXTENSIONS: &str = "it has no extensions but its own";
const EIP3009_ONLY: &str = "it speaks EIP-3009 only";
/// Of what is published for v1 alone.
const V1_LACKS: &[(Case, &str)] = &[
    (Case::Eip3009, V1_ONLY),
    (Case::Permit2, V1_ONLY),
    (Case::Upto, V1_ONLY),
    (Case::AuthCapture, V1_ONLY),
    (Case::BatchSettlement, V1_ONLY),
    (Case::PaymentIdentifier, V1_ONLY),
    (Case::BuilderCode, V1_ONLY),
    (Case::SignIn, V1_ONLY),
    (Case::OfferReceipt, V1_ONLY),
];
/// Of mppx, in both of its roles.
const MPPX_LACKS: &[(Case, &str)] = &[
    (Case::Permit2, EIP3009_ONLY),
    (Case::Upto, EIP3009_ONLY),
    (Case::AuthCapture, EIP3009_ONLY),
    NO_CHANNELS,
    (Case::PaymentIdentifier, MPPX_EXTENSIONS),
    (Case::BuilderCode, MPPX_EXTENSIONS),
    (Case::SignIn, MPPX_EXTENSIONS),
    (Case::OfferReceipt, MPPX_EXTENSIONS),
    (Case::V1, V2_ONLY),
];

const SERVER_V2: &str = "it sells by v2 only";
const V2_ONLY: &str = "it speaks v2 only";
const V1_ONLY: &str = "it speaks v1 only";

pub(crate) const CLIENTS: &[Peer] = &[
    OURS,
    Peer {
        id: "fetch",
        name: "@x402/fetch",
        package: npm("@x402/fetch"),
        program: Program::Node("fetch.mjs"),
        lacks: &[],
    },
    Peer {
        id: "axios",
        name: "@x402/axios",
        package: npm("@x402/axios"),
        program: Program::Node("axios.mjs"),
        lacks: AXIOS_LACKS,
    },
    Peer {
        id: "httpx",
        name: "x402 (httpx)",
        package: Package::Pip("x402"),
        program: Program::Python("client.py", "httpx"),
        lacks: &[NO_RECEIPTS, NO_AUTH_CAPTURE],
    },
    Peer {
        id: "requests",
        name: "x402 (requests)",
        package: Package::Pip("x402"),
        program: Program::Python("client.py", "requests"),
        lacks: &[NO_RECEIPTS, NO_AUTH_CAPTURE, NO_SYNC_SIGN_IN],
    },
    Peer {
        id: "x402-reqwest",
        name: "x402-reqwest",
        package: Package::Crate("x402-reqwest"),
        program: Program::Rust("x402-reqwest"),
        lacks: X402_RS_LACKS,
    },
    Peer {
        id: "r402-client",
        name: "r402 (client)",
        package: Package::Crate("r402"),
        program: Program::Rust("r402-client"),
        lacks: &[
            (Case::V1, V2_ONLY),
            (
                Case::BatchSettlement,
                "it signs vouchers only: it opens no channel, follows no correction, and asks for nothing back",
            ),
            (Case::PaymentIdentifier, "it has the seller's half of `payment-identifier`, not the buyer's"),
        ],
    },
    Peer {
        id: "mppx-client",
        name: "mppx (client)",
        package: Package::Npm { directory: "mppx", name: "mppx" },
        program: Program::Mppx("client.mjs"),
        lacks: MPPX_LACKS,
    },
    Peer {
        id: "x402-fetch",
        name: "x402-fetch",
        package: npm("x402-fetch"),
        program: Program::Node("fetch_v1.mjs"),
        lacks: V1_LACKS,
    },
];

pub(crate) const SERVERS: &[Peer] = &[
    OURS,
    Peer {
        id: "express",
        name: "@x402/express",
        package: npm("@x402/express"),
        program: Program::Node("express.mjs"),
        lacks: &[NO_AUTH_CAPTURE_SERVER, (Case::V1, SERVER_V2)],
    },
    Peer {
        id: "hono",
        name: "@x402/hono",
        package: npm("@x402/hono"),
        program: Program::Node("hono.mjs"),
        lacks: &[NO_AUTH_CAPTURE_SERVER, (Case::V1, SERVER_V2)],
    },
    Peer {
        id: "fastapi",
        name: "x402 (FastAPI)",
        package: Package::Pip("x402"),
        program: Program::Python("server.py", "fastapi"),
        lacks: &[NO_RECEIPTS, NO_AUTH_CAPTURE, (Case::V1, SERVER_V2)],
    },
    Peer {
        id: "flask",
        name: "x402 (Flask)",
        package: Package::Pip("x402"),
        program: Program::Python("server.py", "flask"),
        lacks: &[NO_RECEIPTS, NO_AUTH_CAPTURE, NO_SYNC_SIGN_IN, (Case::V1, SERVER_V2)],
    },
    Peer {
        id: "x402-axum",
        name: "x402-axum",
        package: Package::Crate("x402-axum"),
        program: Program::Rust("x402-axum"),
        lacks: X402_RS_LACKS,
    },
    Peer {
        id: "r402-server",
        name: "r402 (server)",
        package: Package::Crate("r402"),
        program: Program::Rust("r402-server"),
        lacks: &[
            (Case::V1, V2_ONLY),
            (
                Case::BatchSettlement,
                "it has offers for it, and nothing that counts what was charged on a channel",
            ),
        ],
    },
    Peer {
        id: "mppx-server",
        name: "mppx (server)",
        package: Package::Npm { directory: "mppx", name: "mppx" },
        program: Program::Mppx("server.mjs"),
        lacks: MPPX_LACKS,
    },
    Peer {
        id: "x402-express",
        name: "x402-express",
        package: npm("x402-express"),
        program: Program::Node("express_v1.mjs"),
        lacks: V1_LACKS,
    },
];

pub(crate) const FACILITATORS: &[Peer] = &[
    OURS,
    Peer {
        id: "core",
        name: "@x402/core",
        package: npm("@x402/core"),
        program: Program::Node("facilitator.mjs"),
        lacks: &[NO_AUTH_CAPTURE_SERVER],
    },
    Peer {
        id: "python",
        name: "x402 (Python)",
        package: Package::Pip("x402"),
        program: Program::Python("facilitator.py", "facilitator"),
        lacks: &[NO_AUTH_CAPTURE],
    },
    Peer {
        id: "x402-facilitator-local",
        name: "x402-facilitator-local",
        package: Package::Crate("x402-facilitator-local"),
        program: Program::Rust("x402-facilitator-local"),
        lacks: &[NO_AUTH_CAPTURE, NO_CHANNELS],
    },
];
