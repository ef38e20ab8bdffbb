//! YAML files of the repository, as trees whose nodes know their lines.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Spanned, budget, options};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    /// The line, from 1, of its first character; of a block, that of its first line.
    pub(super) line: usize,
    kind: Kind,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Nothing,
    Text(String),
    /// A number or a flag: where it is written, for the text is what counts.
    Plain(usize, usize),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Parses a file of one document. The error is a sentence without the file's name.
pub(super) fn parse(text: &str) -> Result<Node, String> {
    let options = options! {
        budget: budget! {
            max_depth: 32,
            max_nodes: 50_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 50_000,
        },
    };
    let mut node: Node = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
    node.write_out(text);
    Ok(node)
}

impl Node {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(known, _)| known == key).map(|(_, node)| node)
    }

    /// The text of a scalar, as written.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            Kind::Nothing | Kind::Plain(..) | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    pub(super) fn list(&self) -> &[Self] {
        match &self.kind {
            Kind::List(nodes) => nodes,
            Kind::Nothing | Kind::Text(_) | Kind::Plain(..) | Kind::Map(_) => &[],
        }
    }

    pub(super) fn entries(&self) -> &[(String, Self)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            Kind::Nothing | Kind::Text(_) | Kind::Plain(..) | Kind::List(_) => &[],
        }
    }

    /// Replaces numbers and flags with their text in the file: a tag `1.10` must not become `1.1`.
    fn write_out(&mut self, source: &str) {
        match &mut self.kind {
            Kind::Nothing | Kind::Text(_) => {}
            Kind::Plain(start, end) => {
                let text = source.get(*start..*end).unwrap_or_default().trim().to_owned();
                self.kind = Kind::Text(text);
            }
            Kind::List(nodes) => nodes.iter_mut().for_each(|node| node.write_out(source)),
            Kind::Map(entries) => entries.iter_mut().for_each(|(_, node)| node.write_out(source)),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::<Kind>::deserialize(deserializer)?;
        let number = |n: u64| usize::try_from(n).unwrap_or_default();
        let kind = match value {
            Kind::Plain(..) => {
                let span = defined.span();
                let start = number(span.byte_offset().unwrap_or_default());
                Kind::Plain(start, start + number(span.byte_len().unwrap_or_default()))
            }
            kind => kind,
        };
        Ok(Self { line: number(referenced.line()), kind })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Plain(0, 0))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Plain(0, 0))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Kind, E> {
        Ok(Kind::Plain(0, 0))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Kind, E> {
        Ok(Kind::Plain(0, 0))
    }

    fn visit_str<E>(self, text: &str) -> Result<Kind, E> {
        Ok(Kind::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Kind::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Kind::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_text_and_nodes_have_lines() {
        let text = "on: push\nenv: &e\n  TAG: 1.10\n  MODE: 0755\n  YES: yes\n  N: 5432\n  Q: \"a: b\"\nlist:\n  - a\n  - b: |\n      one\n      two\nagain:\n  <<: *e\n  N: 1\nnone:\n";
        let node = parse(text).unwrap();
        let env = node.get("env").unwrap();
        let texts: Vec<_> =
            env.entries().iter().map(|(key, node)| (key.as_str(), node.text().unwrap())).collect();
        assert_eq!(texts, [("TAG", "1.10"), ("MODE", "0755"), ("YES", "yes"), ("N", "5432"), ("Q", "a: b")]);
        let lines: Vec<_> = env.entries().iter().map(|(_, node)| node.line).collect();
        assert_eq!((node.get("on").unwrap().line, lines), (1, vec![3, 4, 5, 6, 7]));
        let list = node.get("list").unwrap().list();
        assert_eq!((list[0].text(), list[0].line), (Some("a"), 9));
        let block = list[1].get("b").unwrap();
        assert_eq!((block.text(), block.line), (Some("one\ntwo\n"), 11));
        let again = node.get("again").unwrap();
        assert_eq!(again.get("TAG").unwrap().text(), Some("1.10"));
        assert_eq!(again.get("N").unwrap().text(), Some("1"));
        assert!(node.get("none").unwrap().text().is_none() && node.get("nothing").is_none());
    }

    #[test]
    fn a_file_has_limits() {
        let deep = "[".repeat(40) + &"]".repeat(40);
        let bomb = (1..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
            let below = format!("*a{},", n - 1).repeat(10);
            format!("{text}a{n}: &a{n} [{below}]\n")
        });
        let long = "- x\n".repeat(60_000);
        for text in [deep.as_str(), &bomb, &long, "a: [", "a: 1\n---\nb: 2\n"] {
            let error = parse(text).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
        }
    }
}
