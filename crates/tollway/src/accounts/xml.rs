//! Just enough XML to write a payment file: elements, one attribute, text. What is not closed is closed at the end.

/// A document under construction.
#[derive(Debug)]
pub(super) struct Xml {
    text: String,
    open: Vec<&'static str>,
}

impl Xml {
    pub(super) fn new(namespace: &str) -> Self {
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
        Self { text: format!("{head}<Document xmlns=\"{}\">\n", escaped(namespace)), open: vec!["Document"] }
    }

    pub(super) fn open(&mut self, name: &'static str) {
        self.indent();
        self.text.push_str(&format!("<{name}>\n"));
        self.open.push(name);
    }

    pub(super) fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.indent();
            self.text.push_str(&format!("</{name}>\n"));
        }
    }

    pub(super) fn leaf(&mut self, name: &'static str, value: &str) {
        self.indent();
        self.text.push_str(&format!("<{name}>{}</{name}>\n", escaped(value)));
    }

    pub(super) fn leaf_with(&mut self, name: &'static str, attribute: (&str, &str), value: &str) {
        let (key, of) = attribute;
        self.indent();
        self.text.push_str(&format!("<{name} {key}=\"{}\">{}</{name}>\n", escaped(of), escaped(value)));
    }

    /// A leaf within elements that hold nothing else.
    pub(super) fn within(&mut self, path: &[&'static str], name: &'static str, value: &str) {
        path.iter().for_each(|name| self.open(name));
        self.leaf(name, value);
        path.iter().for_each(|_| self.close());
    }

    pub(super) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }

    fn indent(&mut self) {
        self.text.push_str(&"  ".repeat(self.open.len()));
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}
