//! One request on its way: read whole, sent through the wallet, followed to its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use reqwest_middleware::ClientWithMiddleware;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tollway_buyer::Tool;

use super::answer::{Answer, of_failure, of_seller, text};
use super::asking::Asking;
use super::door::{Guest, check_page};
use super::problem::Problem;
use super::target::Entrance;
use super::{BODY_UNIT, Body, Proxy};

/// Which of its tools an agent asks with, as the policy names tools. It goes no further than the proxy.
const TOOL: &str = "tollway-tool";
const MAX_TOOL_BYTES: usize = 128;
/// How long a request's body may take.
const BODY_DEADLINE: Duration = Duration::from_secs(60);
/// How long a request waits for its turn.
const TURN_DEADLINE: Duration = Duration::from_secs(10);

impl Proxy {
    /// Sends a request on, and pays for it if that is asked for and allowed.
    pub(super) async fn forward(
        &self,
        entrance: &Entrance,
        guest: &Guest,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Problem> {
        let (parts, body) = request.into_parts();
        let target = self.routes.target(entrance, &parts)?;
        check_page(&parts.headers, &target.own)?;
        let client = self.client_of(guest)?;
        let declared = text(parts.headers.get(CONTENT_LENGTH)).parse().ok();
        let (body, held) = self.read(body, declared).await?;
        let mut onward = reqwest::Request::new(parts.method.clone(), target.url.clone());
        *onward.headers_mut() = self.via.onward(&parts.headers);
        if !body.is_empty() || [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method) {
            *onward.body_mut() = Some(body.into());
        }
        let turn = turn(&self.requests, 1).await?;
        let tool = tool(&parts.headers);
        let done = self.purchase(client, onward, tool, (turn, held)).await;
        let host = target.url.host_str().unwrap_or_default().to_owned();
        let (method, path, agent) = (&parts.method, target.url.path(), guest.agent.as_deref());
        if let Ok(Answer { response, note }) = &done {
            let (status, note) = (response.status().as_u16(), note.as_deref().unwrap_or("nothing to pay"));
            tracing::info!(%method, host, path, agent, status, "{note}");
        }
        Ok(done?.response)
    }

    /// The purchase is a task of its own: a client that leaves stops it only while there is nothing to pay for yet.
    async fn purchase(
        &self,
        client: ClientWithMiddleware,
        request: reqwest::Request,
        tool: Option<Tool>,
        held: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
    ) -> Result<Answer, Problem> {
        let (stay, left) = watch::channel(());
        let asking = Arc::new(Asking::new(left));
        let asked = Arc::clone(&asking);
        let task = tokio::spawn(async move {
            let mut extensions = Extensions::new();
            extensions.insert(asked);
            if let Some(tool) = tool {
                extensions.insert(tool);
            }
            let answered = client.execute_with_extensions(request, &mut extensions).await;
            drop(held);
            answered
        });
        let answered = task.await;
        drop(stay);
        match answered {
            Ok(Ok(response)) => Ok(of_seller(&self.via, response)),
            Ok(Err(error)) => of_failure(&self.via, &error, asking.challenge()),
            Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the proxy failed")),
        }
    }

    /// The body, whole: what is paid for must be sent twice. One that is too long is refused before anything is asked.
    async fn read(
        &self,
        mut body: Incoming,
        declared: Option<usize>,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Problem> {
        let most = self.max_body_bytes;
        let too_long = || {
            let detail = format!(
                "the request's body is longer than {most} bytes (--max-body); nothing was asked, and nothing paid"
            );
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body", detail)
        };
        if http_body::Body::is_end_stream(&body) {
            return Ok((Bytes::new(), None));
        }
        if declared.is_some_and(|length| length > most) {
            return Err(too_long());
        }
        let units = declared.unwrap_or(most).div_ceil(BODY_UNIT).max(1);
        let held = turn(&self.held, u32::try_from(units).unwrap_or(u32::MAX)).await?;
        let mut read = BytesMut::new();
        let reading = async {
            while let Some(frame) = body.frame().await {
                let broken = |_| Problem::bad_request("the request's body broke off");
                let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
                if read.len() + data.len() > most {
                    return Err(too_long());
                }
                read.extend_from_slice(&data);
            }
            Ok(())
        };
        let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "body", "the request's body took too long");
        tokio::time::timeout(BODY_DEADLINE, reading).await.map_err(late)??;
        Ok((read.freeze(), Some(held)))
    }
}

/// The tool that a program says it asks with.
fn tool(headers: &HeaderMap) -> Option<Tool> {
    let name = text(headers.get(TOOL)).trim();
    (!name.is_empty() && name.len() <= MAX_TOOL_BYTES).then(|| Tool::new(name))
}

async fn turn(places: &Arc<Semaphore>, count: u32) -> Result<OwnedSemaphorePermit, Problem> {
    let waiting = Arc::clone(places).acquire_many_owned(count);
    match tokio::time::timeout(TURN_DEADLINE, waiting).await {
        Ok(Ok(place)) => Ok(place),
        _ => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the proxy is busy: try again")),
    }
}
