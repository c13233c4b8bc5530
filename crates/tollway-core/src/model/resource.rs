//! What is being paid for.

use super::JsonObject;

/// The protected resource, as the seller describes it (specification v2, section 5.1.2).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceInfo {
    /// Absolute URL of the resource.
    pub url: String,
    /// For people.
    pub description: Option<String>,
    /// Media type of the paid answer.
    pub mime_type: Option<String>,
    /// Fields this version does not name (`serviceName`, `tags`, `iconUrl`, others), kept as they came.
    pub other: JsonObject,
}

impl ResourceInfo {
    /// A resource known only by its URL.
    ///
    /// ```
    /// use tollway_core::model::ResourceInfo;
    /// let resource = ResourceInfo::new("https://api.example.com/weather?city=Zug");
    /// assert_eq!((resource.description, resource.mime_type), (None, None));
    /// ```
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}
