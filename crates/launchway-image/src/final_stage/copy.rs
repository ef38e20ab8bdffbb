//! `COPY`, from the context or from what an earlier stage compiled.

use anyhow::Result;
use parse_dockerfile::{CopyInstruction, Source};

use super::{Binaries, CopyStep, Reader, Step};
use crate::dockerignore::clean;

impl Reader<'_, '_> {
    pub(super) fn copy(&mut self, copy: &CopyInstruction<'_>) -> Result<()> {
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
            return self.copy_programs(place, &stage, &step);
        }
        self.stage.steps.push(Step::Copy(step));
        Ok(())
    }

    /// `COPY --from`: without Docker, an earlier stage provides only the binaries and the folders that contain them.
    fn copy_programs(&mut self, place: usize, stage: &str, step: &CopyStep) -> Result<()> {
        let numbered = stage.parse::<usize>().is_ok_and(|index| index < self.earlier.len());
        if !numbered && !self.is_earlier(stage) {
            return self.refuse(
                place,
                format!(
                    "`{stage}` is not an earlier stage, and the builtin engine does not copy from other images"
                ),
            );
        }
        let Binaries { shipped, beside, others } = self.inputs.binaries;
        let mut found: Vec<(String, CopyStep)> = Vec::new();
        for source in &step.sources {
            // Builders put it in many places: `target/release`, `/usr/local/cargo/bin`, a folder of their own.
            let name = source.rsplit('/').next().unwrap_or_default();
            if [shipped].into_iter().chain(beside).chain(others).any(|binary| binary == name) {
                found.push((name.to_owned(), step.clone()));
            } else if let Some(inside) = self.holds_programs(source) {
                let target = clean(&format!("{}/{inside}", step.target));
                let copy = CopyStep { target, into_folder: true, ..step.clone() };
                found.extend([shipped].into_iter().chain(beside).map(|name| (name.clone(), copy.clone())));
            } else {
                return self.refuse(
                    place,
                    format!(
                        "`{source}` exists only in Docker: the builtin engine copies only binaries from an earlier stage, such as `…/{shipped}`"
                    ),
                );
            }
        }
        if found.len() > 1 && !step.into_folder && found.iter().all(|(_, copy)| copy == step) {
            return self.refuse(place, "it copies several files, so its target must end with `/`");
        }
        for (name, copy) in found {
            let before = self.stage.steps.iter().find_map(|step| match step {
                Step::Program { name: known, copy } if *known == name => Some(copy.line),
                _ => None,
            });
            match before {
                Some(line) if name == *shipped => {
                    return self.refuse(place, format!("line {line} already copies the binary"));
                }
                Some(line) => return self.refuse(place, format!("line {line} already copies `{name}`")),
                None => self.stage.steps.push(Step::Program { name, copy }),
            }
        }
        Ok(())
    }

    /// Whether a path of an earlier stage is a folder of build output, and where in it the binaries are: a profile's
    /// folder, the root of `cargo install`, or where a command puts the binary.
    fn holds_programs(&self, source: &str) -> Option<&'static str> {
        let source = source.trim_end_matches("/.").trim_end_matches('/');
        if source.is_empty() {
            return None;
        }
        let ends = ["target/release", "target/debug", "/release", "cargo/bin"];
        if ends.iter().any(|end| source.ends_with(end)) {
            return Some("");
        }
        self.runs.iter().find_map(|run| {
            let words: Vec<&str> =
                run.split([' ', '=', '\n', '\t']).filter(|word| !word.is_empty()).collect();
            let same = |word: &str| clean(word) == clean(source);
            let root = |word: &str| same(word) || same(&format!("{word}/bin"));
            words.windows(2).find_map(|pair| match pair {
                ["--root", word] if root(word) => Some(if same(word) { "bin" } else { "" }),
                ["--out-dir" | "--artifact-dir", word] if same(word) => Some(""),
                [from, to] if same(to) && from.ends_with(&format!("/{}", self.inputs.binaries.shipped)) => {
                    Some("")
                }
                _ => None,
            })
        })
    }

    /// `--chmod`: octal permission bits.
    fn mode(&self, place: usize, text: &str) -> Result<u32> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(mode),
            _ => self.refuse(place, format!("`--chmod={text}` is not an octal mode such as `0755`")),
        }
    }
}
