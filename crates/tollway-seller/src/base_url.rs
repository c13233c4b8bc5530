//! The public base URL: where buyers see this seller. Resource URLs are built on it, never on the `Host`
//! header, which the buyer writes.

use http::Uri;
use url::Url;

/// A validated public base URL, without its trailing slash.
#[derive(Clone, Debug)]
pub(crate) struct PublicBase(String);

impl PublicBase {
    /// Validates `text`: http or https, a host, no credentials, query or fragment.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("must be an absolute URL: {error}"))?;
        let fault = match url {
            ref url if !matches!(url.scheme(), "http" | "https") => "must be http or https",
            ref url if url.query().is_some() => "must have no query",
            ref url if url.fragment().is_some() => "must have no fragment",
            ref url if !url.username().is_empty() || url.password().is_some() => "must hold no credentials",
            _ => return Ok(Self(url.as_str().trim_end_matches('/').to_owned())),
        };
        Err(fault.to_owned())
    }

    /// The URL as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL of the resource at the path and query of `uri`. Safe to stand in a JSON string as it is.
    pub(crate) fn resource_url(&self, uri: &Uri) -> String {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut url = String::with_capacity(self.0.len() + path.len() + 1);
        url.push_str(&self.0);
        if !path.starts_with('/') {
            url.push('/');
        }
        url.push_str(path);
        if path.bytes().all(is_plain) { url } else { json_safe(&url) }
    }
}

/// The characters of nearly every URL: they mean themselves in a URL and in JSON.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'/' | b'?'
                | b'&'
                | b'='
                | b'%'
                | b'-'
                | b'.'
                | b'_'
                | b'~'
                | b'+'
                | b','
                | b':'
                | b';'
                | b'@'
                | b'!'
                | b'$'
                | b'('
                | b')'
                | b'*'
        )
}

/// Percent-encodes what a URL should not hold. What no parser reads is escaped byte by byte.
pub(crate) fn json_safe(url: &str) -> String {
    let text = Url::parse(url).map_or_else(|_| url.to_owned(), String::from);
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte == b'\\' || byte == b'"' || !byte.is_ascii_graphic() {
            safe.push_str(&format!("%{byte:02X}"));
        } else {
            safe.push(char::from(byte));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::PublicBase;

    #[test]
    fn a_resource_url_is_the_base_with_path_and_query() {
        let base = PublicBase::parse("https://api.example.com/v1/").unwrap();
        let url = |uri: &str| base.resource_url(&uri.parse().unwrap());
        assert_eq!(url("/data?x=1"), "https://api.example.com/v1/data?x=1");
        assert_eq!(url("http://evil.example/data"), "https://api.example.com/v1/data");
        assert_eq!(url("/"), "https://api.example.com/v1/");
    }

    #[test]
    fn a_resource_url_never_breaks_out_of_json() {
        let base = PublicBase::parse("https://api.example.com").unwrap();
        for uri in [r#"/a"b"#, r"/a?q=\n", r"/a\b", "/{a}", "/%22"] {
            let url = base.resource_url(&uri.parse().unwrap());
            assert_eq!(serde_json::to_string(&url).unwrap(), format!("\"{url}\""), "{uri}");
        }
    }

    #[test]
    fn a_base_url_with_anything_else_is_refused() {
        for wrong in ["", "api.example.com", "ftp://x", "https://x/?a", "https://x/#a", "https://u:p@x/"] {
            assert!(PublicBase::parse(wrong).is_err(), "{wrong}");
        }
    }
}
