//! What an answer says of the node that gave it: an answer to the question, or a sign that another node should be
//! asked.

use std::time::Duration;

use alloy_json_rpc::{
    ErrorPayload, RequestPacket, Response, ResponsePacket, ResponsePayload, RpcError, SerializedRequest,
};
use alloy_transport::TransportError;

use super::error::Unanswered;

/// Why a node is not asked, or was asked in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    Slow,
    /// An HTTP status that is none of an answer.
    Http,
    /// An answer that is not of the question.
    Malformed,
    /// Over the node's limits, as it says.
    Limited,
    /// It says that it is in trouble.
    Troubled,
    /// It is on another chain.
    OtherChain,
    /// It lags behind what was already seen, or fell back.
    Behind,
    /// It cannot answer this question; others it may.
    Unable,
    /// Our own limit for it. Nothing was asked.
    Throttled,
}

impl Why {
    /// One word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Slow => "slow",
            Self::Http => "http",
            Self::Malformed => "malformed",
            Self::Limited => "limited",
            Self::Troubled => "troubled",
            Self::OtherChain => "other_chain",
            Self::Behind => "behind",
            Self::Unable => "unable",
            Self::Throttled => "throttled",
        }
    }
}

/// An answer that is none.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) why: Why,
    /// What came, for who asked, if no other node answers.
    pub(super) came: Result<ResponsePacket, TransportError>,
    /// How long the node wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl From<Unanswered> for Trouble {
    fn from(unanswered: Unanswered) -> Self {
        Self::of_error(unanswered.into())
    }
}

impl Trouble {
    /// What a transport's error means.
    pub(super) fn of_error(error: TransportError) -> Self {
        let retry_after = match &error {
            RpcError::Transport(kind) => kind.retry_after(),
            _ => None,
        };
        let why = match (Unanswered::of(&error), &error) {
            (Some(Unanswered::Late), _) => Why::Slow,
            (Some(Unanswered::TooLong), _) | (_, RpcError::DeserError { .. }) => Why::Malformed,
            (Some(Unanswered::Throttled), _) => Why::Throttled,
            (_, RpcError::Transport(kind)) => match kind.as_http_error() {
                Some(http) if http.status == 429 => Why::Limited,
                Some(_) => Why::Http,
                None => Why::Unreachable,
            },
            _ => Why::Unreachable,
        };
        Self { why, came: Err(error), retry_after }
    }

    /// Whether what was asked certainly never reached the node.
    pub(super) fn never_left(&self) -> bool {
        let unanswered = self.came.as_ref().err().and_then(Unanswered::of);
        matches!(unanswered, Some(Unanswered::NotReached | Unanswered::Throttled))
    }
}

/// Holds an answer against its question.
pub(super) fn judge(asked: &RequestPacket, answer: ResponsePacket) -> Result<ResponsePacket, Trouble> {
    match fault(asked, &answer) {
        None => Ok(answer),
        Some(why) => Err(Trouble { why, came: Ok(answer), retry_after: None }),
    }
}

fn fault(asked: &RequestPacket, answer: &ResponsePacket) -> Option<Why> {
    let answers = answer.responses();
    if matches!((asked, answer), (RequestPacket::Batch(_), ResponsePacket::Single(_))) {
        // One error for all of a batch.
        let said = answers.iter().find_map(|one| one.payload.as_error());
        return Some(said.and_then(|error| trouble("", error)).unwrap_or(Why::Malformed));
    }
    if matches!((asked, answer), (RequestPacket::Single(_), ResponsePacket::Batch(_))) {
        return Some(Why::Malformed);
    }
    asked.requests().iter().find_map(|request| {
        let of_it: Vec<&Response> = answers.iter().filter(|answer| &answer.id == request.id()).collect();
        match of_it[..] {
            [only] => match &only.payload {
                ResponsePayload::Failure(error) => trouble(request.method(), error),
                // A node that has only begun.
                ResponsePayload::Success(result)
                    if asks_for_head(request) && result.get().trim() == "null" =>
                {
                    Some(Why::Troubled)
                }
                ResponsePayload::Success(result) => {
                    (!is_of(request.method(), result.get())).then_some(Why::Malformed)
                }
            },
            _ => Some(Why::Malformed),
        }
    })
}

/// Whether an error speaks of the node, not of what it was asked.
fn trouble(method: &str, error: &ErrorPayload) -> Option<Why> {
    let words = error.message.to_lowercase();
    let says = |known: &[&str]| known.iter().any(|word| words.contains(word));
    if error.code == 3 || says(&["revert"]) {
        return None;
    }
    let is_limit = error.code == 429
        || says(&[
            "rate limit",
            "rate-limit",
            "ratelimit",
            "too many requests",
            "requests per",
            "request limit",
            "throttl",
            "compute unit",
            "quota",
            "monthly capacity",
        ]);
    match (method, error.code) {
        _ if is_limit => Some(Why::Limited),
        // Which logs are too many differs from node to node.
        ("eth_getLogs", _) => Some(Why::Unable),
        // A rejection is an answer, and a transaction is not asked about.
        ("eth_sendRawTransaction", _) => None,
        (_, -32_005) => Some(Why::Limited),
        (_, -32_601 | -32_004) => Some(Why::Unable),
        (_, -32_603 | -32_002 | -32_700) => Some(Why::Troubled),
        _ if says(&[
            "header not found",
            "block not found",
            "unknown block",
            "missing trie node",
            "timeout",
            "timed out",
            "unavailable",
            "overloaded",
            "syncing",
            "not synced",
        ]) =>
        {
            Some(Why::Troubled)
        }
        _ => None,
    }
}

/// Whether a result can be one of the method's. What is not told apart here, the reader of the result does.
fn is_of(method: &str, result: &str) -> bool {
    let result = result.trim();
    let hex = || result.strip_prefix("\"0x").and_then(|rest| rest.strip_suffix('"'));
    let is_hex = |most: usize| {
        hex().is_some_and(|digits| {
            digits.len() <= most && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        })
    };
    let is_null_or = |field: &str| result == "null" || (result.starts_with('{') && result.contains(field));
    match method {
        "eth_chainId" | "eth_blockNumber" | "eth_getTransactionCount" => is_hex(16) && result != "\"0x\"",
        "eth_getBalance" | "eth_estimateGas" | "eth_maxPriorityFeePerGas" => is_hex(64) && result != "\"0x\"",
        "eth_call" | "eth_getCode" => is_hex(usize::MAX) && result.len().is_multiple_of(2),
        "eth_sendRawTransaction" => is_hex(64) && result.len() == 68,
        "eth_getBlockByNumber" => is_null_or("\"parentHash\""),
        "eth_getTransactionReceipt" => is_null_or("\"transactionHash\""),
        "eth_getTransactionByHash" => is_null_or("\"hash\""),
        "eth_getLogs" => result.starts_with('['),
        _ => true,
    }
}

/// The highest block that an answer speaks of, and whether it is the node's newest.
pub(super) fn newest_block(asked: &RequestPacket, answer: &ResponsePacket) -> Option<(u64, bool)> {
    let mut highest: Option<(u64, bool)> = None;
    for (request, answer) in asked.requests().iter().filter_map(|request| {
        answer.responses().iter().find(|answer| &answer.id == request.id()).map(|answer| (request, answer))
    }) {
        let ResponsePayload::Success(result) = &answer.payload else { continue };
        let text = result.get();
        let is_head = asks_for_head(request);
        let block = match request.method() {
            "eth_blockNumber" => hex_number(text.trim().trim_matches('"')),
            "eth_getBlockByNumber" if is_head => field(text, "\"number\""),
            "eth_getTransactionReceipt" | "eth_getTransactionByHash" => field(text, "\"blockNumber\""),
            _ => None,
        };
        if let Some(number) = block
            && highest.is_none_or(|(known, _)| number > known)
        {
            highest = Some((number, is_head));
        }
    }
    highest
}

fn asks_for_head(request: &SerializedRequest) -> bool {
    match request.method() {
        "eth_blockNumber" => true,
        "eth_getBlockByNumber" => request.serialized().get().contains("\"latest\""),
        _ => false,
    }
}

/// The first such field of a JSON text that is a number in hexadecimal.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.get(text.find(name)? + name.len()..)?.trim_start().strip_prefix(':')?;
    hex_number(rest.trim_start().strip_prefix('"')?.split('"').next()?)
}

pub(super) fn hex_number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// How a node's words for a raw transaction are to be read (geth, reth, Erigon, Nethermind, Besu, anvil): the lower, the
/// more it may be out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// It has it already.
    Known,
    /// Words that prove nothing.
    Doubtful,
    /// Its nonce is behind the account's: it may be included.
    NonceUsed,
    /// Another transaction holds the nonce.
    Underpriced,
    /// It is not taken, and says why.
    Rejected,
}

impl Refused {
    /// Reads the words.
    ///
    /// ```
    /// use tollway_evm::Refused;
    /// assert_eq!(Refused::of("nonce too low: next nonce 5, tx nonce 4"), Refused::NonceUsed);
    /// assert_eq!(Refused::of("internal error"), Refused::Doubtful);
    /// ```
    pub fn of(words: &str) -> Self {
        let words = words.to_lowercase();
        let says = |known: &[&str]| known.iter().any(|word| words.contains(word));
        if says(&["already known", "known transaction", "already imported", "alreadyknown", "already exists"])
        {
            Self::Known
        } else if says(&["nonce too low", "nonce is too low", "oldnonce", "nonce has already been used"]) {
            Self::NonceUsed
        } else if says(&["replacement", "could not replace existing"]) {
            Self::Underpriced
        } else if says(&[
            "insufficient funds",
            "insufficientfunds",
            "intrinsic gas",
            "exceeds block gas limit",
            "exceeds the configured cap",
            "less than block base fee",
            "underpriced",
            "feetoolow",
            "invalid sender",
            "invalid chain",
        ]) {
            Self::Rejected
        } else {
            Self::Doubtful
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_json_rpc::ErrorPayload;

    use super::{Refused, Why, field, is_of, trouble};

    fn said(method: &str, code: i64, words: &str) -> Option<Why> {
        trouble(method, &ErrorPayload { code, message: words.to_owned().into(), data: None })
    }

    #[test]
    fn an_error_of_the_call_is_an_answer_and_an_error_of_the_node_is_none() {
        assert_eq!(said("eth_call", 3, "execution reverted: rate limit"), None);
        assert_eq!(said("eth_call", -32_603, "VM Exception: revert"), None);
        assert_eq!(said("eth_estimateGas", -32_000, "insufficient funds for gas * price + value"), None);
        assert_eq!(said("eth_call", -32_602, "invalid params"), None);
        assert_eq!(said("eth_call", -32_005, "limit exceeded"), Some(Why::Limited));
        assert_eq!(said("eth_call", 429, "slow down"), Some(Why::Limited));
        assert_eq!(said("eth_call", -32_000, "Too Many Requests"), Some(Why::Limited));
        assert_eq!(said("eth_call", -32_000, "header not found"), Some(Why::Troubled));
        assert_eq!(said("eth_call", -32_603, "Internal error"), Some(Why::Troubled));
        assert_eq!(said("eth_maxPriorityFeePerGas", -32_601, "no such method"), Some(Why::Unable));
        assert_eq!(said("eth_getLogs", -32_005, "query returned more than 10000 results"), Some(Why::Unable));
        assert_eq!(said("eth_sendRawTransaction", -32_603, "internal"), None);
    }

    #[test]
    fn a_result_of_another_shape_is_nonsense() {
        assert!(is_of("eth_chainId", "\"0x1\"") && is_of("eth_call", "\"0x\""));
        for (method, result) in [
            ("eth_chainId", "\"0x\""),
            ("eth_chainId", "1"),
            ("eth_chainId", "null"),
            ("eth_getBalance", "\"0xzz\""),
            ("eth_getTransactionCount", "\"0x11111111111111111\""),
            ("eth_call", "\"hello\""),
            ("eth_getCode", "\"0x1\""),
            ("eth_getTransactionReceipt", "[]"),
            ("eth_getTransactionReceipt", "{}"),
            ("eth_getBlockByNumber", "{\"nonsense\":true}"),
            ("eth_getTransactionReceipt", "\"0x\""),
            ("eth_getLogs", "{}"),
            ("eth_sendRawTransaction", "\"0x1234\""),
            ("eth_sendRawTransaction", "true"),
        ] {
            assert!(!is_of(method, result), "{method} {result}");
        }
    }

    #[test]
    fn the_block_of_a_receipt_is_found_in_its_text() {
        assert_eq!(field("{ \"a\": 1, \"blockNumber\" : \"0x1f\" }", "\"blockNumber\""), Some(31));
        assert_eq!(field("{\"blockNumber\":null}", "\"blockNumber\""), None);
        assert_eq!(field("null", "\"blockNumber\""), None);
    }

    #[test]
    fn of_two_refusals_the_one_counts_by_which_it_may_be_out() {
        let mut words =
            ["insufficient funds", "nonce too low", "txpool is full", "already known"].map(Refused::of);
        words.sort();
        assert_eq!(words, [Refused::Known, Refused::Doubtful, Refused::NonceUsed, Refused::Rejected]);
    }
}
