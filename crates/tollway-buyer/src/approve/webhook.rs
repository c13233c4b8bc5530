//! Questions posted to a URL of the owner's, which answers them in the same exchange.
//!
//! The question is signed as Standard Webhooks has it. The answer is believed because it comes over https, or from this
//! machine, from where the policy says; it must name the question, so that no answer serves for two.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use serde_json::{Value, json};
use tollway_core::{BoxFuture, Clock, SystemClock, WebhookSecret, webhook_url};

use crate::approve::{Approver, Inquiry, NotApproved, in_time};

/// The longest answer read. One has some dozens of bytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// Posts questions to a URL: `{ "type": "approval.requested", "at": …, "data": … }`. The answer is `200` with
/// `{ "approved": true, "id": "…" }`, where `id` is the question's. Everything else is no: another id, another status, a
/// redirect, an answer that is too long, and silence.
#[derive(Clone, Debug)]
pub struct WebhookApprover {
    url: Url,
    secret: WebhookSecret,
    client: Client,
    clock: Arc<dyn Clock>,
}

impl WebhookApprover {
    /// Asks at `url`: https, or http to this machine.
    ///
    /// # Errors
    /// What is wrong with the URL, for people.
    ///
    /// ```
    /// use tollway_buyer::WebhookApprover;
    /// use tollway_core::WebhookSecret;
    /// let secret = WebhookSecret::parse("sixteen bytes, or more")?;
    /// assert!(WebhookApprover::new("https://owner.example/approve", secret.clone()).is_ok());
    /// assert!(WebhookApprover::new("http://owner.example/approve", secret).is_err());
    /// # Ok::<(), &str>(())
    /// ```
    pub fn new(url: &str, secret: WebhookSecret) -> Result<Self, String> {
        let url = webhook_url(url).map_err(|fault| format!("the webhook's URL {fault}"))?;
        let mut client = Client::builder().redirect(Policy::none());
        if url.scheme() == "http" {
            // Plaintext stays on this machine: no proxy sees it, and `localhost` is not for a name server to say.
            let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            let here = here.map(|address| SocketAddr::new(address, 0));
            client = client.no_proxy().resolve_to_addrs("localhost", &here);
        }
        let client = client.build().map_err(|error| error.without_url().to_string())?;
        Ok(Self { url, secret, client, clock: Arc::new(SystemClock) })
    }

    /// Where to read the time; by default the system's clock.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tollway_buyer::WebhookApprover;
    /// fn frozen(webhook: WebhookApprover) -> WebhookApprover {
    ///     webhook.clock(Arc::new(tollway_core::ManualClock::new(tollway_core::UnixTime(1_790_000_000))))
    /// }
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    async fn post(&self, inquiry: &Inquiry) -> Result<(), NotApproved> {
        let now = self.clock.now().0;
        let body = json!({ "type": "approval.requested", "at": now, "data": inquiry.to_json() }).to_string();
        let (id, timestamp) = (format!("msg_{}", inquiry.id), now.to_string());
        let signature = self.secret.sign(&id, &timestamp, &body);
        let signature = signature.ok_or_else(|| unavailable("the question cannot be signed"))?;
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body);
        let response = request.send().await.map_err(|error| match error {
            error if error.is_connect() => unavailable("the webhook is not reached"),
            _ => unavailable("the connection to the webhook broke"),
        })?;
        if response.status().as_u16() != 200 {
            return Err(unavailable(&format!("the webhook answers {}", response.status().as_u16())));
        }
        verdict(&read(response).await?, &inquiry.id)
    }
}

impl Approver for WebhookApprover {
    fn ask<'a>(&'a self, inquiry: &'a Inquiry) -> BoxFuture<'a, Result<(), NotApproved>> {
        Box::pin(in_time(self.clock.as_ref(), inquiry, self.post(inquiry)))
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, NotApproved> {
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|_| unavailable("the connection to the webhook broke"))?
    {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(unavailable("the webhook's answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A yes is `true` and nothing like it, and names the question.
fn verdict(body: &[u8], id: &str) -> Result<(), NotApproved> {
    let answer: Value =
        serde_json::from_slice(body).map_err(|_| unavailable("the webhook's answer is not JSON"))?;
    if answer["id"].as_str() != Some(id) {
        return Err(unavailable("the webhook's answer is to another question"));
    }
    match answer["approved"] {
        Value::Bool(true) => Ok(()),
        Value::Bool(false) => Err(NotApproved::Denied),
        _ => Err(unavailable("the webhook's answer is neither yes nor no")),
    }
}

fn unavailable(why: &str) -> NotApproved {
    NotApproved::Unavailable(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{NotApproved, verdict};

    #[test]
    fn only_a_plain_yes_to_this_very_question_is_one() {
        assert_eq!(verdict(br#"{"approved":true,"id":"7f"}"#, "7f"), Ok(()));
        assert_eq!(verdict(br#"{"approved":false,"id":"7f"}"#, "7f"), Err(NotApproved::Denied));
        for wrong in [
            r#"{"approved":true}"#,
            r#"{"approved":true,"id":"80"}"#,
            r#"{"approved":true,"id":"7F"}"#,
            r#"{"approved":true,"id":["7f"]}"#,
            r#"{"approved":"true","id":"7f"}"#,
            r#"{"approved":1,"id":"7f"}"#,
            r#"{"id":"7f"}"#,
            r#"[{"approved":true,"id":"7f"}]"#,
            r#"{"approved":true,"id":"7f"} {"approved":true,"id":"7f"}"#,
            "true",
            "yes",
            "",
        ] {
            assert!(matches!(verdict(wrong.as_bytes(), "7f"), Err(NotApproved::Unavailable(_))), "{wrong}");
        }
    }
}
