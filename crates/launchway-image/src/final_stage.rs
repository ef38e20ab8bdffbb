//! Parses the final stage of a Dockerfile, as far as it can be followed without Docker.
//!
//! The rules are those of the Dockerfile reference; whatever cannot be followed is rejected with its line, never
//! skipped.

pub(crate) mod classic_builder;
mod commands;
mod copy;
mod expansion;
mod from;
mod instructions;
mod mode;
mod run;
mod shell;

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::{Error, Result};
use parse_dockerfile::{Flag, FromInstruction, Instruction};

use super::dockerignore::clean;
use crate::binary::Platform;
use crate::dockerfile::Dockerfile;
pub use commands::{Command, Dialect, Login, NewGroup, NewUser};
use expansion::Words;
pub use from::BaseName;
use launchway_core::exit::{Exit, Failure};
use launchway_registry::oci::Settings;

/// What goes into the image and how it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FinalStage {
    /// The path of the Dockerfile.
    pub file: String,
    /// The base image; `None` for `scratch`.
    pub base: Option<BaseName>,
    /// The steps that create files, in order.
    pub steps: Vec<Step>,
    /// Instructions that only work in an image with a shell.
    pub shells: Vec<ShellForm>,
    /// The line of `USER`, if the stage has one.
    pub user_line: Option<usize>,
    /// How a container of the image starts.
    pub settings: Settings,
}

/// A command in shell form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellForm {
    /// The line of the instruction.
    pub line: usize,
    /// The instruction that contains it.
    pub instruction: &'static str,
    /// The command.
    pub command: String,
}

impl ShellForm {
    /// The words of the command, if the shell only has to split it into words.
    pub fn words(&self) -> Option<Vec<String>> {
        let needs_shell = |c: char| "$|&;<>`*?[]{}()~#!\"'\\=".contains(c);
        let words = self.command.strip_prefix("exec ").unwrap_or(&self.command);
        (!words.contains(needs_shell)).then(|| words.split_whitespace().map(str::to_owned).collect())
    }
}

/// The input for parsing a final stage.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Build arguments.
    pub arguments: &'a Arguments,
    /// The binaries that the image may contain.
    pub binaries: &'a Binaries,
    /// The image's platform.
    pub platform: Platform,
}

/// The names of the binaries of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binaries {
    /// The one that ships.
    pub shipped: String,
    /// The others of its package, which a copied build folder also contains.
    pub beside: Vec<String>,
    /// The binaries of the other packages.
    pub others: Vec<String>,
}

/// An instruction that creates files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Copies files from the context.
    Copy(CopyStep),
    /// Copies a binary from an earlier stage.
    Program {
        /// The name of the binary.
        name: String,
        /// Its target; its sources are those of the instruction.
        copy: CopyStep,
    },
    /// `RUN` with nothing but supported commands.
    Run {
        /// The instruction as in the file, on one line.
        text: String,
        /// The user that runs it, as in `USER`; empty for root.
        user: String,
        /// Each command with its line.
        commands: Vec<(usize, Command)>,
    },
    /// `WORKDIR` creates its folder if it does not exist.
    Folder {
        /// The line of the instruction.
        line: usize,
        /// The path in the image.
        path: String,
    },
}

/// A `COPY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyStep {
    /// The line of the instruction.
    pub line: usize,
    /// The instruction as in the file, on one line.
    pub text: String,
    /// Paths or patterns in the context.
    pub sources: Vec<String>,
    /// The path in the image, without leading or trailing `/`; empty for the root.
    pub target: String,
    /// Whether the target was written as a folder: ending in `/` or `.`.
    pub into_folder: bool,
    /// `--chown`, as written.
    pub owner: Option<String>,
    /// `--chmod`, permission bits.
    pub mode: Option<u32>,
}

/// Docker's `PATH` on Linux if an image sets none.
pub(crate) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Build arguments that the engine sets if the Dockerfile declares them: `COMMIT`, `CREATED`, `VERSION`.
pub type Arguments = BTreeMap<&'static str, String>;

impl FinalStage {
    /// Parses the final stage of a Dockerfile; `base` is what the base sets, which is nothing for `scratch`.
    ///
    /// Whatever cannot be followed is an error with [`Exit::Usage`] that starts with the file and the line.
    pub fn parse(file: &Dockerfile, inputs: Inputs<'_>, base: &Settings) -> Result<Self> {
        Self::read_stage(file, inputs, base, &Cell::new(false))
    }

    /// Parses it without the base's settings: `None` if it depends on a variable that only the base may set.
    pub fn parse_blind(file: &Dockerfile, binaries: &Binaries, platform: Platform) -> Result<Option<Self>> {
        let unset = Cell::new(false);
        let inputs = Inputs { arguments: &Arguments::default(), binaries, platform };
        let stage = Self::read_stage(file, inputs, &Settings::default(), &unset);
        match (stage, unset.get()) {
            (stage, false) => stage.map(Some),
            (Ok(stage), true) => Ok(stage.base.is_none().then_some(stage)),
            (Err(error), true) => match BaseName::find(file, inputs)? {
                Some(_) => Ok(None),
                None => Err(error),
            },
        }
    }

    /// The names of the binaries that it copies.
    pub fn programs(file: &Dockerfile, binaries: &Binaries, platform: Platform) -> Result<Vec<String>> {
        let inputs = Inputs { arguments: &Arguments::default(), binaries, platform };
        let stage = Self::read_stage(file, inputs, &Settings::default(), &Cell::new(false))?;
        let names = stage.steps.into_iter().filter_map(|step| match step {
            Step::Program { name, .. } => Some(name),
            _ => None,
        });
        Ok(names.collect())
    }

    fn read_stage(
        file: &Dockerfile,
        inputs: Inputs<'_>,
        base: &Settings,
        unset: &Cell<bool>,
    ) -> Result<Self> {
        let parsed = file.parse()?;
        let stages: Vec<&FromInstruction<'_>> = parsed.stages().map(|stage| stage.from).collect();
        let Some(stage) = parsed.stages().last() else {
            return Err(file.error(1, "the Dockerfile has no stage"));
        };
        let first_of_stage = stage.from.from.span.start;
        let before = parsed.instructions.iter().filter_map(|instruction| match instruction {
            Instruction::Run(run) if run.run.span.start < first_of_stage => Some(run),
            _ => None,
        });
        let mut reader = Reader {
            file,
            inputs,
            earlier: stages.split_last().map_or(&[], |(_, earlier)| earlier),
            runs: before.map(|run| run::text(file, run)).collect(),
            escape: parsed.parser_directives.escape.as_ref().map_or('\\', |escape| escape.value.value),
            variables: from::of_platform(inputs.platform),
            globals: BTreeMap::new(),
            unset,
            has_cmd: false,
            stage: Self { file: file.path().to_owned(), settings: base.clone(), ..Self::default() },
        };
        for global in parsed.global_args() {
            reader.argument(reader.line(global.arg.span.start), &global.arguments.value, true)?;
        }
        // A global argument applies to `FROM` only, until the stage declares it again.
        reader.stage.base = reader.base(stage.from)?;
        reader.globals = std::mem::take(&mut reader.variables);
        reader.inherit();
        let refused =
            stage.instructions.iter().filter_map(|instruction| reader.instruction(instruction).err());
        let mut refused: Vec<Error> = refused.collect();
        let binary = &inputs.binaries.shipped;
        let is_shipped = |step: &Step| matches!(step, Step::Program { name, .. } if name == binary);
        // The `COPY` of the binary may be one that was rejected.
        if refused.is_empty() && !reader.stage.steps.iter().any(is_shipped) {
            refused.push(file.error(
                reader.line(first_of_stage),
                format!(
                    "the final stage does not copy the binary: it needs a `COPY --from=<stage> …/release/{binary} <path>`"
                ),
            ));
        }
        match refused.len() {
            0 => Ok(reader.stage),
            1 => Err(refused.remove(0)),
            _ => Err(all(&refused)),
        }
    }
}

/// The end of every rejection that Docker would not share.
const OR_DOCKER: &str = ", or build with `--engine docker`";

/// The reasons in an error of this module, each with its file and line, without the alternative that all of them share.
pub fn reasons(error: &Error) -> Vec<String> {
    let text = format!("{error:#}");
    let reasons = text.lines().filter(|line| *line != OR_DOCKER.trim_start_matches(", "));
    reasons.map(|line| line.strip_suffix(OR_DOCKER).unwrap_or(line).to_owned()).collect()
}

/// One error of several, so that all can be fixed at once. The alternative that they share comes once, at the end.
fn all(refused: &[Error]) -> Error {
    let mut lines: Vec<String> = refused.iter().flat_map(reasons).collect();
    if refused.iter().any(|error| format!("{error:#}").contains(OR_DOCKER.trim_start_matches(", "))) {
        lines.push(OR_DOCKER.trim_start_matches(", ").to_owned());
    }
    Failure::new(Exit::Usage, lines.join("\n")).into()
}

/// A stage while it is read.
struct Reader<'a, 'b> {
    file: &'a Dockerfile,
    inputs: Inputs<'b>,
    earlier: &'b [&'b FromInstruction<'a>],
    /// What the earlier stages run.
    runs: Vec<String>,
    escape: char,
    /// The variables at this point: arguments, overridden by `ENV`.
    variables: BTreeMap<String, String>,
    globals: BTreeMap<String, String>,
    /// Whether an unset variable was used.
    unset: &'b Cell<bool>,
    /// Whether this stage has its own `CMD`.
    has_cmd: bool,
    stage: FinalStage,
}

impl Reader<'_, '_> {
    fn instruction(&mut self, instruction: &Instruction<'_>) -> Result<()> {
        match instruction {
            Instruction::Copy(copy) => self.copy(copy),
            Instruction::Arg(arg) => {
                self.argument(self.line(arg.arg.span.start), &arg.arguments.value, false)
            }
            Instruction::Add(add) => self.refuse(
                add.add.span.start,
                "`ADD` unpacks and downloads, which the builtin engine does not support: use `COPY`",
            ),
            Instruction::Run(run) => self.run(run),
            Instruction::Onbuild(onbuild) => {
                self.refuse(onbuild.onbuild.span.start, "an OCI image cannot have `ONBUILD`: remove it")
            }
            Instruction::Shell(shell) => self.refuse(
                shell.shell.span.start,
                "the builtin engine knows no shell but `/bin/sh`: remove `SHELL`",
            ),
            Instruction::Maintainer(maintainer) => self.refuse(
                maintainer.maintainer.span.start,
                "`MAINTAINER` is deprecated: use `LABEL org.opencontainers.image.authors=…`",
            ),
            Instruction::From(_) => Ok(()),
            other => self.setting(other),
        }
    }

    /// `ARG NAME[=default] …`; the engine's value overrides the default.
    fn argument(&mut self, line: usize, text: &str, global: bool) -> Result<()> {
        for word in self.words().split(text) {
            let (name, default) = match word.split_once('=') {
                Some((name, value)) => {
                    (name, Some(self.words().expand(value).map_err(|error| self.file.error(line, error))?))
                }
                None => (word.as_str(), None),
            };
            let value = self
                .inputs
                .arguments
                .get(name)
                .cloned()
                .or(default)
                .or_else(|| if global { None } else { self.globals.get(name).cloned() });
            // "Environment variables defined using ENV always override an ARG of the same name."
            let set_by_env = self.stage.settings.env.iter().any(|pair| pair.split('=').next() == Some(name));
            if let Some(value) = value
                && !set_by_env
            {
                self.variables.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// A path in the image, without leading or trailing `/`; a relative one starts at `WORKDIR`.
    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            clean(path)
        } else {
            clean(&format!("{}/{path}", self.stage.settings.working_dir))
        }
    }

    fn words(&self) -> Words<'_> {
        Words { escape: self.escape, variables: &self.variables, unset: self.unset }
    }

    fn expand(&self, place: usize, word: &str) -> Result<String> {
        self.words().expand(word).map_err(|error| self.file.error(self.line(place), error))
    }

    fn line(&self, place: usize) -> usize {
        self.file.line(place)
    }

    /// The instruction between two offsets and to the end of its line, on one line.
    fn logical_line(&self, start: usize, end: usize) -> String {
        let length = self
            .file
            .text()
            .get(end..)
            .and_then(|rest| rest.find('\n'))
            .unwrap_or(self.file.text().len() - end);
        let text = self.file.text().get(start..end + length).unwrap_or_default();
        let escape = self.escape.to_string();
        text.split_whitespace().filter(|word| *word != escape).collect::<Vec<_>>().join(" ")
    }

    fn refuse<T>(&self, place: usize, reason: impl AsRef<str>) -> Result<T> {
        Err(self.file.error(self.line(place), format!("{}{OR_DOCKER}", reason.as_ref())))
    }
}

/// The options of an instruction, for the two readers of the file.
fn flags<'f>(instruction: &'f Instruction<'_>) -> (&'static str, &'f [Flag<'f>]) {
    match instruction {
        Instruction::Add(add) => ("ADD", &add.options),
        Instruction::Copy(copy) => ("COPY", &copy.options),
        Instruction::Run(run) => ("RUN", &run.options),
        Instruction::Healthcheck(check) => ("HEALTHCHECK", &check.options),
        Instruction::From(from) => ("FROM", &from.options),
        _ => ("", &[]),
    }
}

#[cfg(test)]
mod tests;
