//! Finds the variables that a service reads, the port that it listens on, and what its tests connect to.

use std::collections::BTreeMap;

use super::code::{Source, blanks, constants};
use super::findings::{Found, Sources, Variable};
use super::routes;

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
        loopback: loopback(sources),
        port: port(sources),
        port_option: port_option(sources),
        services: Vec::new(),
    }
}

fn variables(sources: &[Source], constants: &BTreeMap<String, String>) -> Vec<Found<Variable>> {
    let mut found: Vec<Found<Variable>> = Vec::new();
    let mut add = |name: Option<String>, needed: bool, source: &Source, offset: usize| {
        let Some(name) = name.filter(|name| is_name(name)) else { return };
        match found.iter_mut().find(|known| known.value.name == name) {
            Some(known) => known.value.needed |= needed,
            None => found.push(Found::new(Variable { name, needed }, source.place(offset))),
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
    let before = source.code.get(..start).unwrap_or_default();
    let before = before.rsplit([';', '{', '}']).next().unwrap_or_default();
    if ["if let", "while let", "match "].iter().any(|word| before.contains(word)) {
        return false;
    }
    let after = source.statement(end);
    let with_default = ["unwrap_or", ".ok()", "map_or", "or_else", ".is_ok", ".is_err", "Err(", ".or("];
    !with_default.iter().any(|word| after.contains(word))
        && [".expect(", ".unwrap()", "?", "context("].iter().any(|word| after.contains(word))
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
fn close(text: &str) -> Option<usize> {
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

fn is_name(name: &str) -> bool {
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

/// A loopback address that a server seems to listen on.
fn loopback(sources: &[Source]) -> Option<Found<String>> {
    sources.iter().find_map(|source| {
        let is_loopback = |value: &str| match value.rsplit_once(':') {
            Some((host, port)) => {
                matches!(host, "127.0.0.1" | "localhost" | "[::1]")
                    && port.parse().is_ok_and(|port: u16| port > 0)
            }
            None => value == "127.0.0.1",
        };
        let listens = |offset: usize| {
            let line = source.code.get(..offset).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
            let line = line.to_ascii_lowercase();
            ["bind", "addr", "host", "listen", "interface"].iter().any(|word| line.contains(word))
        };
        if source.path.contains("test") {
            return None;
        }
        let text = source.strings.iter().find(|text| is_loopback(&text.value) && listens(text.start))?;
        Some(Found::new(text.value.clone(), source.place(text.start)))
    })
}

/// The option of clap that is called a port, and that no variable sets.
fn port_option(sources: &[Source]) -> Option<Found<String>> {
    sources.iter().find_map(|source| {
        let of_field = ["#[arg(", "#[clap(", "#[structopt("].iter().find_map(|attribute| {
            source.after(attribute).find_map(|offset| {
                let rest = source.code.get(offset..)?;
                let end = close(rest)?;
                let inside = rest.get(..end)?;
                let field = rest.get(end..)?.trim_start_matches([')', ']']);
                let field =
                    field.lines().find(|line| line.contains(':') && !line.trim_start().starts_with("#["))?;
                let name = field.split(':').next()?.trim().rsplit(' ').next()?;
                let words = inside.split(',').map(str::trim);
                let long = words.clone().find(|word| word.starts_with("long"))?;
                let fits = name == "port" || matches!(name, "http_port" | "listen_port" | "server_port");
                let by_variable = words.clone().any(|word| word == "env" || word.starts_with("env "));
                let named = long.split_once('"').and_then(|(_, rest)| rest.split('"').next());
                let option = named.map_or_else(|| name.replace('_', "-"), str::to_owned);
                (fits && !by_variable).then(|| Found::new(format!("--{option}"), source.place(offset)))
            })
        });
        let of_builder = || {
            source.after(".long(").find_map(|offset| {
                let text = source.string_at(offset).filter(|text| text.value == "port")?;
                let by_variable = source.statement(text.end).contains(".env(");
                (!by_variable).then(|| Found::new("--port".to_owned(), source.place(offset)))
            })
        };
        of_field.or_else(of_builder)
    })
}

/// A port beside an address, or a number where a port has its default.
fn port(sources: &[Source]) -> Option<Found<u16>> {
    sources.iter().find_map(|source| {
        let of_address = source.strings.iter().find_map(|text| {
            let (host, port) = text.value.rsplit_once(':')?;
            let is_host = host.is_empty()
                || host == "localhost"
                || host.parse::<std::net::IpAddr>().is_ok()
                || host == "[::]";
            let port = port.parse::<u16>().ok().filter(|port| *port > 0 && is_host)?;
            Some(Found::new(port, source.place(text.start)))
        });
        let of_default = || {
            source.after("PORT").find_map(|offset| {
                let numbers =
                    source.statement(offset).split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let mut port = numbers
                    .filter_map(|word| word.replace('_', "").trim_end_matches("u16").parse::<u16>().ok());
                let port = port.find(|port| *port >= 80)?;
                Some(Found::new(port, source.place(offset)))
            })
        };
        of_address.or_else(of_default)
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

    #[test]
    fn the_address_is_found() {
        let found = read(&[Source::new("a.rs", "listener.bind(\"127.0.0.1:3000\")?;")]);
        assert_eq!(found.loopback.map(|found| found.value).as_deref(), Some("127.0.0.1:3000"));
        assert_eq!(found.port.map(|found| found.value), Some(3000));
        for text in [
            "#[arg(short, long, default_value_t = 8080)]\n    port: u16,",
            "#[clap(long = \"port\", default_value = \"80\")]\npub http_port: u16,",
            "Arg::new(\"p\").long(\"port\").default_value(\"8080\")",
        ] {
            let found = read(&[Source::new("a.rs", text)]).port_option.unwrap();
            assert_eq!(
                (found.value.as_str(), found.place.to_string().as_str()),
                ("--port", "a.rs:1"),
                "{text}"
            );
        }
        for text in ["#[arg(long, env = \"P\")]\nport: u16,", "#[arg(long)]\nhost: String,"] {
            assert_eq!(read(&[Source::new("a.rs", text)]).port_option, None, "{text}");
        }
        let found = read(&[Source::new("a.rs", "const DEFAULT_PORT: u16 = 8080;")]);
        assert_eq!(found.port.map(|found| found.value), Some(8080));
        let found = read(&[Source::new("a.rs", "let url = \"http://localhost:8080/x\"; let t = \"12:30\";")]);
        assert_eq!((found.loopback, found.port), (None, None));
    }
}
