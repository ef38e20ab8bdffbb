//! The end of a drill: what was expected and what was observed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A drill: what it expects and what it observed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    /// The name of the drill.
    pub drill: String,
    /// Whether what was observed is what was expected.
    pub passed: bool,
    /// The expected end.
    pub expected: DrillEnd,
    /// The observed end.
    pub observed: DrillEnd,
    /// How long it took.
    pub milliseconds: u64,
    /// The service as the drill found it: digest, keyed hash of the variables, what `latest` points to.
    pub before: String,
    /// The service as the drill left it.
    pub after: String,
    /// The path of the file with what the run printed.
    pub page: String,
    /// Other deviations.
    pub remarks: Vec<String>,
}

/// How a drill ended: the exit code, and which release the image, the variables and `latest` belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillEnd {
    /// Absent for a run that a signal ended.
    pub exit: Option<i32>,
    /// `earlier`, `new`, `their` or `another`.
    pub image: String,
    /// The same for the variables.
    pub variables: String,
    /// The same for what `latest` points to.
    pub latest: String,
}

impl fmt::Display for DrillEnd {
    /// `exit 5: image and variables as before, latest new`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exit, image, variables, latest } = self;
        match exit {
            Some(code) => write!(f, "exit {code}: ")?,
            None => f.write_str("killed: ")?,
        }
        let sides = [("image", image), ("variables", variables), ("latest", latest)];
        let mut parts: Vec<(Vec<&str>, &str)> = Vec::new();
        for (what, side) in sides {
            match parts.iter_mut().find(|(_, known)| known == side) {
                Some((list, _)) => list.push(what),
                None => parts.push((vec![what], side)),
            }
        }
        let words = parts.iter().map(|(list, side)| {
            let side = match *side {
                "earlier" => "as before",
                "their" => "by others",
                "another" => "something else",
                side => side,
            };
            match list.split_last() {
                Some((last, [])) => format!("{last} {side}"),
                Some((last, rest)) => format!("{} and {last} {side}", rest.join(", ")),
                None => String::new(),
            }
        });
        f.write_str(&words.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_sentence() {
        let words = |exit, [image, variables, latest]: [&str; 3]| {
            let [image, variables, latest] = [image, variables, latest].map(str::to_owned);
            DrillEnd { exit, image, variables, latest }.to_string()
        };
        for (sides, expected) in [
            (["earlier"; 3], "exit 5: image, variables and latest as before"),
            (["new", "new", "earlier"], "exit 5: image and variables new, latest as before"),
            (["earlier", "their", "new"], "exit 5: image as before, variables by others, latest new"),
            (["new", "earlier", "another"], "exit 5: image new, variables as before, latest something else"),
        ] {
            assert_eq!(words(Some(5), sides), expected);
        }
        assert_eq!(words(None, ["new"; 3]), "killed: image, variables and latest new");
    }
}
