//! The address that the service listens on, and how it learns its port: from a variable, from arguments, or not at all.

use super::code::Source;
use super::dockerfile::Dockerfile;
use super::findings::{Found, Place, Port, Sources};
use super::variables::close;

/// How the service learns its port.
pub(super) fn find(
    sources: &Sources,
    dockerfile: Option<&Dockerfile>,
    rocket: Option<Place>,
) -> Option<Found<Port>> {
    let named =
        |test: &dyn Fn(&str) -> bool| sources.variables.iter().find(|variable| test(&variable.value.name));
    if let Some(found) = named(&|name| name == "PORT") {
        return Some(Found::new(Port::Standard, found.place.clone()));
    }
    let variable =
        |name: &str, value: &str| Port::Variable { name: name.to_owned(), value: value.to_owned() };
    if let Some(place) = rocket {
        return Some(Found::new(variable("ROCKET_PORT", "$PORT"), place));
    }
    let is_address = |name: &str| ["ADDR", "LISTEN"].iter().any(|word| name.contains(word));
    let elsewhere = ["DB", "DATABASE", "REDIS", "SMTP", "MAIL", "METRICS", "PG", "MYSQL", "POSTGRES"];
    let is_port = |name: &str| name.ends_with("PORT") && !elsewhere.iter().any(|word| name.contains(word));
    if let Some(found) = named(&|name| is_port(name) && !is_address(name)) {
        return Some(Found::new(variable(&found.value.name, "$PORT"), found.place.clone()));
    }
    let chain = dockerfile.map(Dockerfile::chain).unwrap_or_default();
    let set = chain.iter().flat_map(|stage| &stage.instructions).filter(|found| found.keyword == "ENV");
    let place =
        |line: usize| Place::line(&dockerfile.map(|file| file.path.clone()).unwrap_or_default(), line);
    let address = set.flat_map(|found| found.pairs().into_iter().map(|pair| (found.line, pair)));
    let address = address.into_iter().find_map(|(line, (name, value))| {
        let (host, port) = value.rsplit_once(':').unwrap_or(("", value.as_str()));
        let is_host = host.is_empty() || host == "localhost" || host.parse::<std::net::IpAddr>().is_ok();
        let fits = is_host
            && port.parse::<u16>().is_ok_and(|port| port >= 80)
            && (!host.is_empty() || name.ends_with("PORT"));
        let value = if host.is_empty() { "$PORT".to_owned() } else { format!("{host}:$PORT") };
        fits.then(|| Found::new(variable(&name, &value), place(line)))
    });
    if address.is_some() {
        return address;
    }
    if let Some(found) = named(&|name| is_address(name) && !elsewhere.iter().any(|word| name.contains(word)))
    {
        return Some(Found::new(variable(&found.value.name, "0.0.0.0:$PORT"), found.place.clone()));
    }
    let exposed = chain.iter().flat_map(|stage| &stage.instructions).find_map(|found| {
        let port = found.text.split(['/', ' ']).next()?.parse().ok().filter(|_| found.keyword == "EXPOSE")?;
        Some(Found::new(Port::Fixed(port), place(found.line)))
    });
    let by_option = || {
        let found = sources.port_option.as_ref()?;
        let words = dockerfile.map(Dockerfile::arguments).unwrap_or_default();
        Some(Found::new(Port::Arguments(with_port(words, &found.value)), found.place.clone()))
    };
    exposed.or_else(by_option).or_else(|| {
        let found = sources.port.as_ref()?;
        Some(Found::new(Port::Fixed(found.value), found.place.clone()))
    })
}

/// The arguments with the port that is asked for, in place of the one that is named.
fn with_port(mut words: Vec<String>, option: &str) -> Vec<String> {
    let same = |word: &String| word == option || word.starts_with(&format!("{option}="));
    if let Some(at) = words.iter().position(same) {
        let end = if words.get(at).is_some_and(|word| word == option) { at + 2 } else { at + 1 };
        words.drain(at..end.min(words.len()));
    }
    words.extend([option.to_owned(), "$PORT".to_owned()]);
    words
}

/// A loopback address that a server seems to listen on.
pub(super) fn loopback(sources: &[Source]) -> Option<Found<String>> {
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
pub(super) fn port_option(sources: &[Source]) -> Option<Found<String>> {
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
pub(super) fn default(sources: &[Source]) -> Option<Found<u16>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::variables::read;

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
