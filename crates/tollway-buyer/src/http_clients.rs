//! The HTTP clients of a wallet: one that may be redirected and carries no payment, two that carry payments
//! and go nowhere but where they are sent.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::{Client, ClientBuilder, Request};

/// Settings of the owner's, applied to every client.
pub(crate) type Settings = Arc<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>;

/// The clients.
#[derive(Clone, Debug)]
pub(crate) struct HttpClients {
    /// For requests without a payment.
    pub(crate) unpaid: Client,
    paying: Client,
    paying_loopback: Client,
}

impl HttpClients {
    pub(crate) fn new(settings: Option<&Settings>) -> Result<Self, reqwest::Error> {
        let base = || match settings {
            Some(settings) => settings(Client::builder()),
            None => Client::builder(),
        };
        let here = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
        // A redirect would hand the payment to whoever the seller names: reqwest drops `Authorization` on the
        // way to another host, but not headers that it does not know.
        let paying = || base().redirect(reqwest::redirect::Policy::none());
        Ok(Self {
            unpaid: base().build()?,
            paying: paying().build()?,
            // Plaintext is allowed because it stays on this machine: so no proxy sees it, and `localhost` is
            // not for a name server to say.
            paying_loopback: paying().no_proxy().resolve_to_addrs("localhost", &here).build()?,
        })
    }

    /// The client to send `request` with when it carries a payment.
    pub(crate) fn paying(&self, request: &Request) -> &Client {
        if request.url().scheme() == "https" { &self.paying } else { &self.paying_loopback }
    }
}
