//! What must come of each case: it passes, a partner has nothing for it, or a partner is wrong by the standard.

use crate::cases::Case;
use crate::peers::{CLIENTS, FACILITATORS, Peer, SERVERS};

/// Three who trade, with at least one of us and at least one of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) client: &'static Peer,
    pub(crate) server: &'static Peer,
    pub(crate) facilitator: &'static Peer,
}

impl Row {
    /// Every row of the matrix.
    pub(crate) fn all() -> Vec<Self> {
        let mut rows = Vec::new();
        for facilitator in FACILITATORS {
            for server in SERVERS {
                rows.extend(CLIENTS.iter().map(|client| Self { client, server, facilitator }));
            }
        }
        rows.retain(|row| row.ours() > 0 && row.ours() < 3);
        rows
    }

    /// Who is the only one of them, or nobody if there are two.
    pub(crate) fn only_stranger(&self) -> &'static str {
        let strangers: Vec<_> = self.peers().into_iter().filter(|peer| !peer.is_ours()).collect();
        if let [only] = strangers[..] { only.id } else { "" }
    }

    fn ours(&self) -> usize {
        self.peers().into_iter().filter(|peer| peer.is_ours()).count()
    }

    const fn peers(&self) -> [&'static Peer; 3] {
        [self.client, self.server, self.facilitator]
    }

    /// What must come of `case`.
    pub(crate) fn expected(&self, case: Case) -> Expected {
        // Who cannot even offer it is named first: then there is nothing to try.
        let offered = [self.server, self.facilitator];
        let all = offered.into_iter().chain((!self.has_both_wires(case)).then_some(self.client));
        for peer in all {
            if let Some(why) = peer.lack(case) {
                return Expected::Lacks { who: peer, why };
            }
        }
        let wrong = WRONG.iter().find(|wrong| wrong.case == case && wrong.names(self));
        wrong.map_or(Expected::Pass, |wrong| Expected::Wrong { who: wrong.who, why: wrong.why })
    }

    /// Our 402 is of both versions at once: who speaks the older only pays by that.
    fn has_both_wires(&self, case: Case) -> bool {
        self.server.is_ours() && case == Case::Eip3009
    }

    /// Whether there is something to try: a route, and for an extension a client that does its part.
    pub(crate) fn is_tried(&self, case: Case) -> bool {
        self.is_sold(case) && !(case.is_extension() && self.client.lack(case).is_some())
    }

    /// Whether there is a route for `case`.
    pub(crate) fn is_sold(&self, case: Case) -> bool {
        self.server.lack(case).is_none() && self.facilitator.lack(case).is_none()
    }
}

/// What must come of a case.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// It is served, once, and the money moves, once.
    Pass,
    /// A partner has nothing for it.
    Lacks { who: &'static Peer, why: &'static str },
    /// A partner is wrong by the standard, so it fails.
    Wrong { who: &'static str, why: &'static str },
}

/// Where a partner is wrong: the case is kept, and must fail.
struct Wrong {
    case: Case,
    /// Ids, or any.
    client: Option<&'static str>,
    server: Option<&'static str>,
    facilitator: Option<&'static str>,
    who: &'static str,
    /// What it does, and what the standard says, by section.
    why: &'static str,
}

impl Wrong {
    fn names(&self, row: &Row) -> bool {
        let named = |id: Option<&str>, peer: &Peer| id.is_none_or(|id| id == peer.id);
        named(self.client, row.client)
            && named(self.server, row.server)
            && named(self.facilitator, row.facilitator)
    }
}

const CHECKSUMS: &str = "it takes an authorization only if `from` is spelled with EIP-55's checksum, which no section \
    asks for (exact on EVM, *PaymentPayload*); clients in Rust spell addresses in lower case";
const NULL_MIME_TYPE: &str = "it writes `mimeType: null` unless told otherwise; v1, 5.1.2 has an optional *string*. Who \
    reads strictly refuses the whole 402";

const OLD_ESCROWS: &str = "it is of an older text: it knows no escrow but those of version 1.0 and of August 2026, \
    refuses to sign for the current one (auth-capture on EVM, *Canonical Addresses*, as the published clients have it \
    now), and does not bind a payment to `receiverAuthorizer`, without which nobody may consent to a capture";
const NEVER_CAPTURES: &str = "it is of an older text, without `receiverAuthorizer` and payloads of type `capture` and \
    `void`: it has the money held after its handler, nothing of it captures, and the payee is not paid";
const NEW_CHALLENGE: &str = "it holds the echo of its extensions against a challenge that it has made anew meanwhile, \
    and refuses every payment that repeats what its 402 declared, as the standard asks (v2, 5.1.2, `extensions`)";

const fn checksums(case: Case, client: &'static str) -> Wrong {
    let (client, facilitator) = (Some(client), Some("python"));
    Wrong { case, client, server: None, facilitator, who: "x402 (Python)", why: CHECKSUMS }
}

/// Who echoes what the 402 declared, as all do but its own client.
const fn new_challenge(client: &'static str) -> Wrong {
    let (case, client, server) = (Case::SignIn, Some(client), Some("r402-server"));
    Wrong { case, client, server, facilitator: None, who: "r402 (server)", why: NEW_CHALLENGE }
}

const WRONG: &[Wrong] = &[
    checksums(Case::Eip3009, "x402-reqwest"),
    checksums(Case::V1, "x402-reqwest"),
    checksums(Case::Eip3009, "r402-client"),
    checksums(Case::Permit2, "r402-client"),
    checksums(Case::Upto, "r402-client"),
    checksums(Case::BuilderCode, "r402-client"),
    checksums(Case::SignIn, "r402-client"),
    checksums(Case::OfferReceipt, "r402-client"),
    new_challenge("tollway"),
    new_challenge("fetch"),
    new_challenge("httpx"),
    Wrong {
        case: Case::AuthCapture,
        client: Some("r402-client"),
        server: Some("tollway"),
        facilitator: None,
        who: "r402 (client)",
        why: OLD_ESCROWS,
    },
    Wrong {
        case: Case::AuthCapture,
        client: None,
        server: Some("r402-server"),
        facilitator: None,
        who: "r402 (server)",
        why: NEVER_CAPTURES,
    },
    Wrong {
        case: Case::V1,
        client: Some("x402-fetch"),
        server: Some("x402-axum"),
        facilitator: None,
        who: "x402-axum",
        why: NULL_MIME_TYPE,
    },
];
