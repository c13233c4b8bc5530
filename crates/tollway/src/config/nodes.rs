//! The nodes of a network, as an operator writes them down. Their URLs hold keys: no fault repeats one.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tollway_core::Network;
use tollway_evm::{Chain, Node, NodeRules};

use super::read_secret;

/// One node: its URL alone, or a table.
#[derive(Debug)]
pub(super) struct NodeConfig(NodeTable);

/// A table of one node.
// tidy: config crates/tollway/config/facilitator.toml
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeTable {
    url: String,
    name: Option<String>,
    requests_per_second: Option<NonZeroU32>,
    burst: Option<NonZeroU32>,
}

impl std::fmt::Debug for NodeTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeTable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'de> Deserialize<'de> for NodeConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(UrlOrTable)
    }
}

struct UrlOrTable;

impl<'de> Visitor<'de> for UrlOrTable {
    type Value = NodeConfig;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a URL, or a table with a url")
    }

    fn visit_str<E: Error>(self, url: &str) -> Result<NodeConfig, E> {
        Ok(NodeConfig(NodeTable { url: url.to_owned(), name: None, requests_per_second: None, burst: None }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<NodeConfig, A::Error> {
        NodeTable::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(NodeConfig)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<NodeConfig, E> {
        Err(E::custom("must be a URL, or a table with a url"))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<NodeConfig, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Err(A::Error::custom("must be a URL, or a table with a url"))
    }
}

/// What a network says of its nodes.
#[derive(Debug)]
pub(super) struct NodesConfig<'a> {
    pub(super) rpc_url: Option<&'a str>,
    pub(super) rpc_urls: &'a [NodeConfig],
    pub(super) max_lag_blocks: Option<u64>,
    pub(super) check_ms: Option<u64>,
}

impl NodesConfig<'_> {
    /// The chain behind them. Nothing is asked yet.
    pub(super) fn chain(
        &self,
        network: &Network,
        deadline: Duration,
        faults: &mut Vec<String>,
    ) -> Option<Chain> {
        let before = faults.len();
        let mut nodes = Vec::new();
        match (self.rpc_url, self.rpc_urls) {
            (None, []) => faults.push("rpc_urls: at least one node is required".to_owned()),
            (Some(_), [_, ..]) => {
                faults.push("rpc_url: is given beside rpc_urls; one of them is enough".to_owned())
            }
            (Some(url), []) => match url_of(url).and_then(|url| http(&url)) {
                Ok(node) => nodes.push(node),
                Err(fault) => faults.push(format!("rpc_url: {fault}")),
            },
            (None, all) => {
                for (index, NodeConfig(table)) in all.iter().enumerate() {
                    match table.node() {
                        Ok(node) => nodes.push(node),
                        Err(fault) => faults.push(format!("rpc_urls[{index}]{fault}")),
                    }
                }
            }
        }
        let usual = NodeRules::default();
        let rules = NodeRules {
            max_lag_blocks: self.max_lag_blocks.unwrap_or(usual.max_lag_blocks),
            check_every: self.check_ms.map_or(usual.check_every, Duration::from_millis),
        };
        if !(Duration::from_millis(100)..=Duration::from_secs(3_600)).contains(&rules.check_every) {
            faults.push("check_ms: must be from 100 to 3600000".to_owned());
        }
        if faults.len() > before {
            return None;
        }
        Chain::over(nodes, rules, network, deadline)
            .map_err(|error| faults.push(format!("rpc_urls: {error}")))
            .ok()
    }
}

impl NodeTable {
    fn node(&self) -> Result<Node, String> {
        let at = |fault: String| format!(".url: {fault}");
        let mut node = url_of(&self.url).and_then(|url| http(&url)).map_err(at)?;
        match self.name.as_deref() {
            Some("") => return Err(".name: must not be empty".to_owned()),
            Some(name) => node = node.named(name),
            None => {}
        }
        match (self.requests_per_second, self.burst) {
            (Some(each_second), burst) => {
                let burst = burst.unwrap_or_else(|| each_second.saturating_mul(TWICE));
                Ok(node.rate_limit(each_second, burst))
            }
            (None, Some(_)) => Err(".burst: is nothing without requests_per_second".to_owned()),
            (None, None) => Ok(node),
        }
    }
}

const TWICE: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// A URL as it stands there, or from where it says. What it is, no error tells.
fn url_of(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some(("env" | "file", _)) => read_secret(text),
        _ => Ok(text.to_owned()),
    }
}

fn http(url: &str) -> Result<Node, String> {
    Node::http(url).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use tollway_core::Network;
    use tollway_evm::Chain;

    use super::{NodeConfig, NodesConfig};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        rpc_url: Option<String>,
        #[serde(default)]
        rpc_urls: Vec<NodeConfig>,
        check_ms: Option<u64>,
    }

    /// What becomes of a network's lines; the chain, or all faults.
    fn read(text: &str) -> Result<Chain, Vec<String>> {
        let figment =
            figment::Figment::from(<figment::providers::Toml as figment::providers::Format>::string(text));
        let written: Written = figment.extract().map_err(|errors| {
            errors.into_iter().map(|error| super::super::fault(&error)).collect::<Vec<String>>()
        })?;
        assert!(!format!("{written:?}").contains("SECRET"), "{text}");
        let config = NodesConfig {
            rpc_url: written.rpc_url.as_deref(),
            rpc_urls: &written.rpc_urls,
            max_lag_blocks: None,
            check_ms: written.check_ms,
        };
        let mut faults = Vec::new();
        let chain = config.chain(&Network::evm(1), std::time::Duration::from_secs(5), &mut faults);
        chain.ok_or(faults)
    }

    #[test]
    fn a_node_is_a_url_or_a_table_and_is_called_by_its_host_or_name() {
        let text = "rpc_urls = [\"https://one.example.org/SECRET\", \
                    { url = \"https://SECRET.example.org\", name = \"paid\", requests_per_second = 5 }]";
        let names: Vec<String> = read(text).unwrap().nodes().into_iter().map(|node| node.name).collect();
        assert_eq!(names, ["one.example.org", "paid"]);
    }

    #[test]
    fn every_fault_names_its_key_and_repeats_no_url() {
        for (text, fault) in [
            ("", "rpc_urls: at least one"),
            ("rpc_url = \"x\"\nrpc_urls = [\"https://a.example.org\"]", "rpc_url: is given beside"),
            ("rpc_urls = [\"https://a.example.org\", \"SECRET\"]", "rpc_urls[1].url: "),
            ("rpc_urls = [\"ftp://SECRET.example.org\"]", "rpc_urls[0].url: "),
            ("rpc_urls = [\"env:NOT_SET_ANYWHERE\"]", "NOT_SET_ANYWHERE is not set"),
            ("rpc_urls = [{ url = \"https://a.example.org\", burst = 5 }]", "rpc_urls[0].burst: "),
            ("rpc_urls = [{ url = \"https://a.example.org\", name = \"\" }]", "rpc_urls[0].name: "),
            ("rpc_urls = [{ url = \"https://a.example.org\", rate = 5 }]", "rate"),
            ("rpc_urls = [{ name = \"a\" }]", "url"),
            (
                "rpc_urls = [{ url = \"https://a.example.org\", requests_per_second = 0 }]",
                "requests_per_second",
            ),
            ("rpc_urls = [[\"https://SECRET.example.org\"]]", "must be a URL"),
            ("rpc_urls = [7]", "must be a URL"),
            ("rpc_urls = [\"https://a.example.org\"]\ncheck_ms = 1", "check_ms: "),
        ] {
            let faults = read(text).unwrap_err().join("; ");
            assert!(faults.contains(fault) && !faults.contains("SECRET"), "{text}: {faults}");
        }
        let many = vec!["\"https://a.example.org\""; 17].join(", ");
        assert!(read(&format!("rpc_urls = [{many}]")).unwrap_err()[0].contains("1 to 16"));
    }
}
