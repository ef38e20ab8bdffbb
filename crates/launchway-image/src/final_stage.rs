//! The final stage of a Dockerfile, read as far as it can be followed without Docker.
//!
//! The rules are those of the Dockerfile reference; what cannot be followed is refused with its line, never skipped.

pub(crate) mod classic_builder;
mod expansion;
mod from;
mod instructions;

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::{Error, Result};
use parse_dockerfile::{CopyInstruction, Flag, FromInstruction, Instruction, Source};

use super::dockerignore::clean;
use crate::dockerfile::Dockerfile;
use expansion::Words;
pub use from::BaseName;
use launchway_core::exit::{Exit, Failure};
use launchway_registry::oci::Settings;

/// What goes into the image and how it starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FinalStage {
    /// The path of the Dockerfile.
    pub file: String,
    /// The base image; nothing for `scratch`.
    pub base: Option<BaseName>,
    /// What makes the files, in the order of the stage; the binary is not among them.
    pub steps: Vec<Step>,
    /// Where the binary goes: a `COPY` whose only source is the binary in an earlier stage.
    pub binary: CopyStep,
    /// How a container of the image starts.
    pub settings: Settings,
}

/// An instruction that makes files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Copies files of the context.
    Copy(CopyStep),
    /// `WORKDIR` makes its folder where there is none.
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
    /// The instruction as it stands in the file, on one line.
    pub text: String,
    /// Paths or patterns in the context.
    pub sources: Vec<String>,
    /// The path in the image, without a `/` in front or behind; empty for the root.
    pub target: String,
    /// Whether the target was written as a folder: with a `/` or a `.` at its end.
    pub into_folder: bool,
    /// `--chown`, as written.
    pub owner: Option<String>,
    /// `--chmod`, permission bits.
    pub mode: Option<u32>,
}

/// Docker's `PATH` on Linux where an image sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Build arguments that the engine sets where the Dockerfile declares them: `COMMIT`, `CREATED`, `VERSION`.
pub type Arguments = BTreeMap<&'static str, String>;

impl FinalStage {
    /// Reads the final stage of a Dockerfile; `binary` is the name of the binary, and `base` what the base sets, which is
    /// nothing for `scratch`.
    ///
    /// What cannot be followed is an error with [`Exit::Usage`] that begins with
    /// the file and the line.
    pub fn parse(file: &Dockerfile, arguments: &Arguments, binary: &str, base: &Settings) -> Result<Self> {
        Self::read(file, arguments, binary, base).0
    }

    /// Reads it without knowing what the base sets: `None` where a variable decides that only the base may set.
    pub fn parse_blind(file: &Dockerfile, binary: &str) -> Result<Option<Self>> {
        match Self::read(file, &Arguments::default(), binary, &Settings::default()) {
            (stage, false) => stage.map(Some),
            (Ok(stage), true) => Ok(stage.base.is_none().then_some(stage)),
            (Err(error), true) => match BaseName::find(file, &Arguments::default())? {
                Some(_) => Ok(None),
                None => Err(error),
            },
        }
    }

    /// The stage, and whether it has a variable that nothing sets.
    fn read(file: &Dockerfile, arguments: &Arguments, binary: &str, base: &Settings) -> (Result<Self>, bool) {
        let unset = Cell::new(false);
        (Self::read_stage(file, arguments, binary, base, &unset), unset.get())
    }

    fn read_stage(
        file: &Dockerfile,
        arguments: &Arguments,
        binary: &str,
        base: &Settings,
        unset: &Cell<bool>,
    ) -> Result<Self> {
        let parsed = file.parse()?;
        let stages: Vec<&FromInstruction<'_>> = parsed.stages().map(|stage| stage.from).collect();
        let Some(stage) = parsed.stages().last() else { return Err(file.error(1, "there is no stage")) };
        let mut reader = Reader {
            file,
            binary,
            arguments,
            earlier: stages.split_last().map_or(&[], |(_, earlier)| earlier),
            escape: parsed.parser_directives.escape.as_ref().map_or('\\', |escape| escape.value.value),
            variables: BTreeMap::new(),
            globals: BTreeMap::new(),
            unset,
            has_cmd: false,
            stage: Self { file: file.path().to_owned(), settings: base.clone(), ..Self::default() },
        };
        for global in parsed.global_args() {
            reader.argument(reader.line(global.arg.span.start), &global.arguments.value, true)?;
        }
        // A global argument is known to `FROM` only, until the stage declares it again.
        reader.stage.base = reader.base(stage.from)?;
        reader.globals = std::mem::take(&mut reader.variables);
        reader.inherit();
        let refused =
            stage.instructions.iter().filter_map(|instruction| reader.instruction(instruction).err());
        let mut refused: Vec<Error> = refused.collect();
        // A `COPY` that was refused may have been the one.
        if reader.stage.binary.line == 0 && refused.is_empty() {
            refused.push(file.error(
                reader.line(stage.from.from.span.start),
                format!(
                    "the final stage does not copy the binary: it needs a `COPY --from=<stage> …/release/{binary} <path>`"
                ),
            ));
        }
        match refused.len() {
            0 => Ok(reader.stage),
            1 => Err(refused.remove(0)),
            // The user who fixes one wants to see the others.
            _ => {
                let lines: Vec<String> = refused.iter().map(|error| format!("{error:#}")).collect();
                Err(Failure::new(Exit::Usage, lines.join("\n")).into())
            }
        }
    }
}

/// A stage while it is read.
struct Reader<'a, 'b> {
    file: &'a Dockerfile,
    binary: &'a str,
    arguments: &'a Arguments,
    earlier: &'b [&'b FromInstruction<'a>],
    escape: char,
    /// What `$NAME` means at this place: arguments, and `ENV` over them.
    variables: BTreeMap<String, String>,
    globals: BTreeMap<String, String>,
    /// Whether a variable was asked for that nothing sets.
    unset: &'b Cell<bool>,
    /// Whether this stage has a `CMD` of its own.
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
            Instruction::Run(run) => self.refuse(
                run.run.span.start,
                "the builtin engine does not support `RUN` in the final stage: run it in an earlier stage",
            ),
            Instruction::Onbuild(onbuild) => {
                self.refuse(onbuild.onbuild.span.start, "`ONBUILD` has no place in an OCI image: remove it")
            }
            Instruction::Shell(shell) => self.refuse(
                shell.shell.span.start,
                "`SHELL` applies to commands in shell form, which an image without a shell cannot run: remove it",
            ),
            Instruction::Maintainer(maintainer) => self.refuse(
                maintainer.maintainer.span.start,
                "`MAINTAINER` is deprecated: use `LABEL org.opencontainers.image.authors=…`",
            ),
            Instruction::From(_) => Ok(()),
            other => self.setting(other),
        }
    }

    /// `ARG NAME[=default] …`; what the engine sets wins over the default.
    fn argument(&mut self, line: usize, text: &str, global: bool) -> Result<()> {
        for word in self.words().split(text) {
            let (name, default) = match word.split_once('=') {
                Some((name, value)) => {
                    (name, Some(self.words().expand(value).map_err(|error| self.file.error(line, error))?))
                }
                None => (word.as_str(), None),
            };
            let value = self
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

    fn copy(&mut self, copy: &CopyInstruction<'_>) -> Result<()> {
        let place = copy.copy.span.start;
        let mut step = CopyStep {
            line: self.line(place),
            text: self.logical_line(place, copy.dest.span.end),
            ..CopyStep::default()
        };
        let mut stage = None;
        for flag in &copy.options {
            let value = flag.value.as_ref().map_or("", |value| &value.value);
            match (flag.name.value.as_ref(), value) {
                ("from" | "chown" | "chmod", "") => {
                    return self.refuse(place, format!("`--{}` needs a value", flag.name.value));
                }
                ("from", value) => stage = Some(value.to_owned()),
                ("chown", value) => step.owner = Some(self.expand(place, value)?),
                ("chmod", value) => step.mode = Some(self.mode(place, value)?),
                (name, _) => {
                    return self
                        .refuse(place, format!("`COPY --{name}` is not supported by the builtin engine"));
                }
            }
        }
        for source in &copy.src {
            let Source::Path(path) = source else {
                return self.refuse(place, "the builtin engine does not support here-documents: copy a file");
            };
            step.sources.push(self.expand(place, &path.value)?);
        }
        let target = self.expand(place, &copy.dest.value)?;
        step.into_folder = target.ends_with('/') || target == "." || target.ends_with("/.");
        step.target = self.absolute(&target);
        if let Some(stage) = stage {
            return self.copy_binary(place, &stage, step);
        }
        self.stage.steps.push(Step::Copy(step));
        Ok(())
    }

    /// `COPY --from`: the one file of an earlier stage that exists without Docker is the binary.
    fn copy_binary(&mut self, place: usize, stage: &str, step: CopyStep) -> Result<()> {
        let numbered = stage.parse::<usize>().is_ok_and(|index| index < self.earlier.len());
        if !numbered && !self.is_earlier(stage) {
            return self.refuse(
                place,
                format!(
                    "`{stage}` is not an earlier stage, and the builtin engine copies from no other image"
                ),
            );
        }
        // Builders leave it in many places: `target/release`, `/usr/local/cargo/bin`, a folder of their own.
        let suffix = format!("/{}", self.binary);
        let is_binary = |source: &String| source.ends_with(&suffix) || *source == self.binary;
        if !matches!(step.sources.as_slice(), [source] if is_binary(source)) {
            return self.refuse(
                place,
                format!("the builtin engine copies only the binary from an earlier stage, `…{suffix}`"),
            );
        }
        if self.stage.binary.line != 0 {
            return self.refuse(place, format!("line {} already copies the binary", self.stage.binary.line));
        }
        self.stage.binary = step;
        Ok(())
    }

    /// `--chmod`: octal permission bits.
    fn mode(&self, place: usize, text: &str) -> Result<u32> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(mode),
            _ => self.refuse(place, format!("`--chmod={text}` is not an octal mode such as `0755`")),
        }
    }

    /// A path in the image, without a `/` in front or behind; a relative one begins at `WORKDIR`.
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

    /// The instruction between two places and to the end of its line, on one line.
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

    /// Every refusal ends with the other way.
    fn refuse<T>(&self, place: usize, reason: impl AsRef<str>) -> Result<T> {
        Err(self
            .file
            .error(self.line(place), format!("{}, or build with `--engine docker`", reason.as_ref())))
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
