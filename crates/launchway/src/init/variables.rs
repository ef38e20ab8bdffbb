//! Finds the variables that a service reads, the port that it listens on, and what its tests connect to.

use std::collections::BTreeMap;

use super::code::{Source, blanks, constants, word};
use super::findings::{Found, Sources, Variable};
use super::{port, routes};

/// Variables of the machine, of cargo and of well-known libraries, which a service works without.
const ORDINARY: [&str; 24] = [
    "HOME",
    "PATH",
    "USER",
    "USERNAME",
    "LOGNAME",
    "SHELL",
    "PWD",
    "TERM",
    "COLORTERM",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "HOSTNAME",
    "EDITOR",
    "PAGER",
    "NO_COLOR",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "APPDATA",
    "CI",
    "PORT",
];

/// Reads the sources.
pub(super) fn read(sources: &[Source]) -> Sources {
    let constants = constants(sources);
    Sources {
        health: routes::health(sources),
        version: routes::version(sources),
        variables: variables(sources, &constants),
        prefixes: prefixes(sources),
        loopback: port::loopback(sources),
        port: port::default(sources),
        port_option: port::port_option(sources),
        termination: termination(sources),
        services: Vec::new(),
    }
}

fn variables(sources: &[Source], constants: &BTreeMap<String, String>) -> Vec<Found<Variable>> {
    let mut found: Vec<Found<Variable>> = Vec::new();
    let mut add = |name: Option<String>, needed: bool, source: &Source, offset: usize| {
        let Some(name) = name.filter(|name| is_name(name)) else { return };
        if let Some(known) = found.iter_mut().find(|known| known.value.name == name) {
            known.value.needed |= needed;
        } else {
            let variable = Variable { name, needed, elsewhere: None };
            found.push(Found::new(variable, source.place(offset)));
        }
    };
    for source in sources {
        for call in ["env::var(", "env::var_os(", "dotenv::var(", "dotenvy::var(", "env::remove_var("] {
            for offset in source.after(call) {
                let (name, end) = argument(source, offset, constants);
                add(name, needs(source, offset - call.len(), end), source, offset);
            }
        }
        // The builder of clap; a `Command`'s `env` takes a value too.
        for offset in source.after(".env(") {
            let (name, end) = argument(source, offset, constants);
            if source.code.get(end..).unwrap_or_default().trim_start().starts_with(')') {
                add(name, false, source, offset);
            }
        }
        for attribute in ["#[arg(", "#[clap(", "#[structopt("] {
            for offset in source.after(attribute) {
                if let Some((name, needed, at)) = derived(source, offset, constants) {
                    add(Some(name), needed, source, at);
                }
            }
        }
    }
    found
}

/// The first argument of a call, a string or a constant, and where it ends.
fn argument(source: &Source, offset: usize, constants: &BTreeMap<String, String>) -> (Option<String>, usize) {
    let rest = source.code.get(offset..).unwrap_or_default();
    let skipped = blanks(rest) + rest.trim_start().bytes().take_while(|byte| *byte == b'&').count();
    let start = offset + skipped;
    if let Some(text) = source.string_at(start) {
        return (Some(text.value.clone()), text.end);
    }
    let rest = source.code.get(start..).unwrap_or_default();
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c)).unwrap_or(rest.len());
    let name = rest.get(..end).unwrap_or_default().rsplit("::").next().unwrap_or_default();
    (constants.get(name).cloned(), start + end)
}

/// Whether the service fails if the call returns an error.
fn needs(source: &Source, start: usize, end: usize) -> bool {
    const FAILS: [&str; 5] = [".expect(", ".unwrap()", "?", "context(", ".ok_or"];

    let before = source.code.get(..start).unwrap_or_default();
    let before = before.rsplit([';', '{', '}']).next().unwrap_or_default();
    if ["if let", "while let", "match "].iter().any(|word| before.contains(word)) {
        return false;
    }
    let with_default = ["unwrap_or", "map_or", "or_else", ".is_ok", ".is_err", ".is_some", "Err(", ".or("];
    let calls = outer(source.statement(end));
    if with_default.iter().any(|word| calls.contains(word)) {
        return false;
    }
    // A value that is bound first may be required later in the function.
    let required_later = || {
        let name = before.trim_start().strip_prefix("let ")?.trim_start_matches("mut ");
        let name = word(name);
        let rest = source.code.get(end..)?.split("fn ").next()?;
        let is_use =
            |at: usize| !rest[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        let mut uses = rest.match_indices(name).filter(|(at, _)| !name.is_empty() && is_use(*at));
        Some(uses.any(|(at, _)| {
            let call = &rest[at + name.len()..];
            FAILS.iter().any(|fails| *fails != "?" && call.starts_with(fails))
        }))
    };
    FAILS.iter().any(|call| calls.contains(call)) || required_later().unwrap_or_default()
}

/// The calls of a chain without their arguments.
fn outer(chain: &str) -> String {
    let (mut depth, mut lowest) = (0_i32, 0_i32);
    let mut calls = String::new();
    for c in chain.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        lowest = lowest.min(depth);
        if depth == lowest || depth == lowest + 1 && matches!(c, '(' | '[' | '{') {
            calls.push(c);
        }
    }
    calls
}

/// The variable of a field that clap reads, whether it is required, and its location.
fn derived(
    source: &Source,
    offset: usize,
    constants: &BTreeMap<String, String>,
) -> Option<(String, bool, usize)> {
    let rest = source.code.get(offset..)?;
    let end = close(rest)?;
    let attribute = rest.get(..end)?;
    let at = attribute.match_indices("env").map(|(at, _)| at).find(|at| {
        let before = attribute[..*at].trim_end();
        let in_string = source.strings.iter().any(|text| text.start < offset + at && offset + at < text.end);
        (before.is_empty() || before.ends_with(',')) && !in_string
    })?;
    let after = attribute.get(at + 3..)?;
    let field = rest.get(end..)?.trim_start_matches([')', ']']);
    // Other attributes may come in between.
    let field = field.lines().find(|line| line.contains(':') && !line.trim_start().starts_with("#["))?;
    let (name, kind) = field.split_once(':')?;
    let name = name.trim().rsplit(' ').next()?;
    let name = match after.trim_start().strip_prefix('=') {
        Some(value) => {
            let start = offset + at + 3 + (after.len() - value.len());
            argument(source, start, constants).0?
        }
        None if after.trim_start().is_empty() || after.trim_start().starts_with(',') => {
            name.to_ascii_uppercase()
        }
        None => return None,
    };
    let kind = kind.trim();
    let optional = kind.starts_with("Option<") || kind.starts_with("Vec<") || kind.starts_with("bool");
    Some((name, !optional && !attribute.contains("default"), offset + at))
}

/// Where a parenthesis that was opened before the text is closed.
pub(super) fn close(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some(place),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

pub(super) fn is_name(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let cargo = ["CARGO_", "RUSTUP_", "XDG_", "DEP_"].iter().any(|prefix| name.starts_with(prefix));
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(is_part)
        && !cargo
        && (name == "PORT" || !ORDINARY.contains(&name))
}

/// The prefixes of `config`, `figment` and `envy`.
fn prefixes(sources: &[Source]) -> Vec<Found<String>> {
    let mut found: Vec<Found<String>> = Vec::new();
    for source in sources {
        for call in ["with_prefix(", "prefixed("] {
            for offset in source.after(call) {
                if let Some(text) = source.string_at(offset)
                    && is_name(text.value.trim_end_matches('_'))
                {
                    found.push(Found::new(text.value.clone(), source.place(offset)));
                }
            }
        }
    }
    found
}

/// Where the sources handle SIGTERM.
fn termination(sources: &[Source]) -> Option<Found<String>> {
    sources.iter().find_map(|source| {
        let offset =
            ["SignalKind::terminate", "SIGTERM"].iter().find_map(|sign| source.after(sign).next())?;
        Some(Found::new("handled".to_owned(), source.place(offset)))
    })
}

/// What the service's tests connect to.
pub(super) fn services(tests: &[(String, String)]) -> Vec<Found<&'static str>> {
    const SIGNS: [(&str, &[&str]); 5] = [
        ("PostgreSQL", &["postgres://", "PgPool", "PgConnection", "sqlx::test"]),
        ("MySQL", &["mysql://", "MySqlPool", "MySqlConnection"]),
        ("Redis", &["redis://"]),
        ("MongoDB", &["mongodb://"]),
        ("Docker", &["testcontainers"]),
    ];
    let found = |(name, signs): &(&'static str, &[&str])| {
        tests.iter().find_map(|(path, text)| {
            let offset = signs.iter().find_map(|sign| text.find(sign))?;
            Some(Found::new(*name, super::findings::Place::line(path, super::code::line_of(text, offset))))
        })
    };
    SIGNS.iter().filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let found = read(&[Source::new("src/main.rs", text)]).variables.into_iter();
        found
            .map(|v| format!("{}{} {}", v.value.name, if v.value.needed { "!" } else { "" }, v.place))
            .collect()
    }

    #[test]
    fn variables_are_found_with_whether_they_are_needed() {
        for (text, expected) in [
            ("let a = env::var(\"A\").unwrap_or_default();", "A src/main.rs:1"),
            ("let a = std::env::var(\"A\")\n    .expect(\"A\");", "A! src/main.rs:1"),
            (
                "let a = env::var(\n  names::A,\n)?;\nmod names { pub const A: &str = \"MY_A\"; }",
                "MY_A! src/main.rs:1",
            ),
            ("if let Ok(a) = env::var(\"A\") { b()?; }", "A src/main.rs:1"),
            ("let a = env::var(\"A\").ok().expect(\"A\");", "A! src/main.rs:1"),
            ("let a = env::var(\"A\").ok();\nlet b = Some(2);\nuse_it(1, a.unwrap());", "A! src/main.rs:1"),
            ("let a = env::var(\"A\").ok();\n}\nfn b(a: T) { c(1, a.unwrap()) }", "A src/main.rs:1"),
            ("let a = env::var(\"A\").ok().map(|a| a.parse().expect(\"a number\"));", "A src/main.rs:1"),
            (
                "let a = env::var(\"A\").ok().and_then(|a| Some(a.parse().ok()?)).unwrap_or(1);",
                "A src/main.rs:1",
            ),
            ("let port: u16 = env::var(\"PORT\").ok().and_then(p).unwrap_or(1);", "PORT src/main.rs:1"),
            ("#[clap(long, env = \"A_B\")]\npub b: Option<String>,", "A_B src/main.rs:1"),
            ("#[arg(\n long,\n env)]\n#[serde(x)]\nlisten: String,", "LISTEN! src/main.rs:3"),
            ("#[arg(long, env = \"A\", default_value_t = 1)]\na: u8,", "A src/main.rs:1"),
            ("Arg::new(\"x\").env(\"A\").long(\"x\")", "A src/main.rs:1"),
        ] {
            assert_eq!(of(text), [expected], "{text}");
        }
        for text in [
            "Command::new(\"x\").env(\"A\", \"1\")",
            "env::var(\"HOME\")?",
            "// env::var(\"A\")?",
            "#[arg(help = \"env\")]\na: u8,",
        ] {
            assert!(of(text).is_empty(), "{text}");
        }
    }
}
