//! A Dockerfile as a list of stages: enough to see what ships and how it starts, without following it.

use super::code::word;

/// One instruction on one logical line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) line: usize,
    /// In capitals.
    pub(super) keyword: String,
    pub(super) text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stage {
    pub(super) line: usize,
    /// The image or stage in `FROM`, as written.
    pub(super) base: String,
    pub(super) name: Option<String>,
    pub(super) instructions: Vec<Instruction>,
}

/// A Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dockerfile {
    /// Relative to the Cargo root.
    pub(super) path: String,
    pub(super) stages: Vec<Stage>,
}

/// A `COPY`, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) line: usize,
    pub(super) from: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) mode: Option<String>,
    pub(super) sources: Vec<String>,
    pub(super) target: String,
}

impl Dockerfile {
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let mut stages: Vec<Stage> = Vec::new();
        for instruction in instructions(text) {
            if instruction.keyword == "FROM" {
                let words: Vec<&str> =
                    instruction.text.split_whitespace().filter(|word| !word.starts_with("--")).collect();
                let named = words.get(1).is_some_and(|word| word.eq_ignore_ascii_case("as"));
                stages.push(Stage {
                    line: instruction.line,
                    base: words.first().copied().unwrap_or_default().to_owned(),
                    name: words.get(2).filter(|_| named).map(|name| (*name).to_owned()),
                    instructions: Vec::new(),
                });
            } else if let Some(stage) = stages.last_mut() {
                stage.instructions.push(instruction);
            }
        }
        Self { path: path.to_owned(), stages }
    }

    /// The stage that describes the image: the last, or that of amd64 if there is one for each platform.
    pub(super) fn final_stage(&self) -> Option<&Stage> {
        let last = self.stages.last()?;
        let name = last.name.as_deref().unwrap_or_default();
        let others = ["arm64", "aarch64"].iter().any(|platform| name.contains(platform));
        let ours = |stage: &&Stage| {
            stage.name.as_deref().is_some_and(|name| name.contains("amd64") || name.contains("x86_64"))
        };
        Some(self.stages.iter().find(|stage| others && ours(stage)).unwrap_or(last))
    }

    /// The final stage and the stages that it is based on, the lowest first.
    pub(super) fn chain(&self) -> Vec<&Stage> {
        self.final_stage().map(|stage| self.with_bases(stage)).unwrap_or_default()
    }

    /// A stage and the stages that it is based on, the lowest first.
    fn with_bases<'a>(&'a self, stage: &'a Stage) -> Vec<&'a Stage> {
        let mut chain = vec![stage];
        while let Some(below) = chain.last().and_then(|stage| self.earlier(&stage.base))
            && !chain.contains(&below)
        {
            chain.push(below);
        }
        chain.reverse();
        chain
    }

    /// The stages that compile, and those that they are based on; every stage that only builds if none names cargo.
    pub(super) fn compiling(&self) -> Vec<&Stage> {
        let names_cargo = |stage: &&Stage| {
            let mut runs = stage.instructions.iter().filter(|found| found.keyword == "RUN");
            runs.any(|run| run.text.split_whitespace().any(|word| word == "cargo"))
        };
        let mut found: Vec<&Stage> = Vec::new();
        for stage in self.stages.iter().filter(names_cargo).flat_map(|stage| self.with_bases(stage)) {
            if !found.contains(&stage) {
                found.push(stage);
            }
        }
        if found.is_empty() { self.builders().collect() } else { found }
    }

    /// The stages that only build.
    pub(super) fn builders(&self) -> impl Iterator<Item = &Stage> {
        let chain: Vec<usize> = self.chain().iter().map(|stage| stage.line).collect();
        let alone = self.stages.len() == 1;
        self.stages.iter().filter(move |stage| alone || !chain.contains(&stage.line))
    }

    /// The arguments that the program is started with.
    pub(super) fn arguments(&self) -> Vec<String> {
        let chain = self.chain();
        let last = |keyword: &str| {
            let instructions = chain.iter().flat_map(|stage| &stage.instructions).rev();
            let mut found = instructions.filter(|found| found.keyword == keyword);
            found.next().and_then(Instruction::words).unwrap_or_default()
        };
        let (entrypoint, cmd) = (last("ENTRYPOINT"), last("CMD"));
        let from = usize::from(entrypoint.is_empty());
        cmd.into_iter().skip(from).collect()
    }

    fn earlier(&self, name: &str) -> Option<&Stage> {
        self.stages
            .iter()
            .find(|stage| stage.name.as_deref().is_some_and(|known| known.eq_ignore_ascii_case(name)))
    }
}

impl Instruction {
    /// A `COPY` or an `ADD`.
    pub(super) fn copy(&self) -> Option<Copy> {
        if !matches!(self.keyword.as_str(), "COPY" | "ADD") {
            return None;
        }
        let mut copy = Copy { line: self.line, ..Copy::default() };
        let mut rest = self.text.trim();
        while rest.starts_with("--") {
            let (flag, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            match flag.split_once('=') {
                Some(("--from", value)) => copy.from = Some(value.to_owned()),
                Some(("--chown", value)) => copy.owner = Some(value.to_owned()),
                Some(("--chmod", value)) => copy.mode = Some(value.to_owned()),
                _ => {}
            }
            rest = after.trim_start();
        }
        let words = list(rest).unwrap_or_else(|| rest.split_whitespace().map(str::to_owned).collect());
        let (target, sources) = words.split_last()?;
        (copy.target, copy.sources) = (target.clone(), sources.to_vec());
        Some(copy)
    }

    /// The words of a command in list form, or in shell form if it needs no shell; `None` if it needs one.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        if let Some(words) = list(&self.text) {
            return Some(words);
        }
        let plain = !self.text.contains(['$', '|', '&', ';', '<', '>', '`', '*', '"', '\'', '\\', '(']);
        plain.then(|| self.text.split_whitespace().map(str::to_owned).collect())
    }

    /// The `NAME=value` pairs of an `ENV` or a `LABEL`.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let name = word(&self.text);
        if self.text.get(name.len()..).is_some_and(|rest| rest.starts_with(' ')) {
            return vec![(name.to_owned(), self.text[name.len()..].trim().to_owned())];
        }
        let words = split(&self.text);
        let pair = |word: &String| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        };
        words.iter().filter_map(pair).collect()
    }

    /// The commands of a `RUN`, also of its here-document, split at the operators between them.
    pub(super) fn commands(&self) -> Vec<String> {
        let text = self.text.replace("&&", "\n").replace("||", "\n").replace(';', "\n");
        let commands = text.lines().map(|line| line.trim().to_owned());
        commands.filter(|line| !line.is_empty() && !line.starts_with(['#', '<'])).collect()
    }
}

/// A JSON list of words.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    text.trim_start().starts_with('[').then(|| serde_json::from_str(text.trim()).ok()).flatten()
}

/// Splits at spaces, but not inside quotes.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => words.push(String::new()),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => words.last_mut().map_or((), |word| word.push(c)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn instructions(text: &str) -> Vec<Instruction> {
    let mut found: Vec<Instruction> = Vec::new();
    let mut open = false;
    let mut document: Option<String> = None;
    for (number, line) in text.lines().enumerate() {
        if let Some(end) = &document {
            if line.trim() == end {
                document = None;
            } else if let Some(last) = found.last_mut().filter(|last| last.keyword == "RUN") {
                last.text.push('\n');
                last.text.push_str(line.trim().trim_end_matches('\\'));
            }
            continue;
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (part, goes_on) = line.strip_suffix('\\').map_or((line, false), |part| (part.trim_end(), true));
        if open {
            if let Some(last) = found.last_mut() {
                last.text.push(' ');
                last.text.push_str(part);
            }
        } else {
            let (keyword, text) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
            found.push(Instruction {
                line: number + 1,
                keyword: keyword.to_ascii_uppercase(),
                text: text.trim().to_owned(),
            });
        }
        open = goes_on;
        let here = part.split("<<").nth(1).filter(|_| !goes_on);
        document = here
            .map(|end| word(end.trim_start_matches(['-', '"', '\''])).to_owned())
            .filter(|end| !end.is_empty());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
ARG A=1
FROM rust:1 AS build
ENV SQLX_OFFLINE true
RUN apt-get update && \\
    # a comment in between
    apt-get install -y clang
RUN <<EOF
FROM nothing
  # why
  apt-get install mold
EOF
FROM scratch AS amd64
COPY --from=build --chown=1:1 /x/target/release/web ./
CMD web --port 80
FROM scratch AS arm64
CMD [\"/web\", \"x\"]
";

    #[test]
    fn stages_and_instructions_are_read() {
        let file = Dockerfile::parse("Dockerfile", FILE);
        assert_eq!(file.stages.len(), 3);
        let last = file.final_stage().unwrap();
        assert_eq!((last.line, last.name.as_deref()), (12, Some("amd64")));
        let copy = last.instructions[0].copy().unwrap();
        assert_eq!(copy.from.as_deref(), Some("build"));
        assert_eq!(
            (copy.sources.join(" "), copy.target.as_str()),
            ("/x/target/release/web".to_owned(), "./")
        );
        assert_eq!(last.instructions[1].words().unwrap(), ["web", "--port", "80"]);
        let build = &file.stages[0];
        assert_eq!(build.instructions[0].pairs(), [("SQLX_OFFLINE".to_owned(), "true".to_owned())]);
        assert_eq!(build.instructions[1].commands(), ["apt-get update", "apt-get install -y clang"]);
        assert_eq!(build.instructions[1].line, 4);
        assert_eq!(build.instructions[2].commands(), ["FROM nothing", "apt-get install mold"]);
        assert_eq!(file.stages[2].instructions[0].words().unwrap(), ["/web", "x"]);
    }

    #[test]
    fn a_stage_may_be_made_from_another() {
        let file =
            Dockerfile::parse("Dockerfile", "FROM a AS base\nUSER x\nFROM b AS build\nFROM base\nCMD x\n");
        let lines: Vec<usize> = file.chain().iter().map(|stage| stage.line).collect();
        assert_eq!(lines, [1, 4]);
        assert_eq!(file.builders().map(|stage| stage.line).collect::<Vec<_>>(), [3]);
    }
}
