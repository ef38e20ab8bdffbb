//! `RUN`: the commands of a final stage that only affect files and accounts.

use anyhow::{Error, Result};
use parse_dockerfile::{Command as Form, RunInstruction};

use super::commands::command;
use super::expansion::Words;
use super::shell::{Line, lines};
use super::{OR_DOCKER, Reader, Step, all};
use crate::dockerfile::Dockerfile;

impl Reader<'_, '_> {
    /// The error lists every command that cannot be followed.
    pub(super) fn run(&mut self, run: &RunInstruction<'_>) -> Result<()> {
        let place = run.run.span.start;
        if let Some(option) = run.options.first() {
            return self.refuse(
                place,
                format!("`RUN --{}` is not supported by the builtin engine", option.name.value),
            );
        }
        let (first, written) = match (&run.arguments, run.here_docs.first()) {
            (_, Some(document)) => (self.line(document.span.start), lines(&document.value, '\\')),
            (Form::Exec(words), None) => {
                let words = words.value.iter().map(|word| format!("'{}'", word.value)).collect();
                (self.line(place), vec![Line { below: 0, words, needs: None }])
            }
            (Form::Shell(text), None) => (self.line(text.span.start), lines(text.value, self.escape)),
            // The parser may learn new forms.
            (_, None) => return self.refuse(place, "the builtin engine does not support this form of `RUN`"),
        };
        let mut commands = Vec::new();
        let mut refused: Vec<Error> = Vec::new();
        for Line { below, words, needs } in written {
            let line = first + below;
            let result = match needs {
                Some(what) => Err(format!("{what} needs a shell, which the builtin engine does not start")),
                None => self.command(&words),
            };
            match result {
                Ok(found) => commands.extend(found.map(|command| (line, command))),
                Err(reason) => {
                    let shown: String = words.join(" ").chars().take(60).collect();
                    refused.push(self.file.error(
                        line,
                        format!("`RUN {shown}`: {reason}: run it in an earlier stage{OR_DOCKER}"),
                    ));
                }
            }
        }
        match refused.len() {
            0 => {}
            1 => return Err(refused.remove(0)),
            _ => return Err(all(&refused)),
        }
        if self.stage.base.is_none() {
            return self
                .refuse(place, "nothing can `RUN` in `scratch`, which is empty: do it in an earlier stage");
        }
        let text = format!("RUN {}", text(self.file, run).split_whitespace().collect::<Vec<_>>().join(" "));
        let user = self.stage.settings.user.clone();
        self.stage.steps.push(Step::Run { text, user, commands });
        Ok(())
    }

    fn command(&self, written: &[String]) -> Result<Option<super::Command>, String> {
        // The shell's escapes are not those of the file.
        let words = Words { escape: '\\', variables: &self.variables, unset: self.unset };
        let mut expanded = Vec::new();
        for word in written {
            let text = words.expand(word)?;
            let quoted = word.contains(['"', '\'', '\\']);
            if !quoted && word.contains('$') {
                // A shell would split a value with spaces into several words, and drop an empty one.
                expanded.extend(text.split_whitespace().map(str::to_owned));
            } else {
                expanded.push(text);
            }
        }
        command(&expanded, &|path| self.absolute(path))
    }
}

/// The commands, without comments and line continuations.
pub(super) fn text(file: &Dockerfile, run: &RunInstruction<'_>) -> String {
    match (&run.arguments, run.here_docs.first()) {
        (_, Some(document)) => document.value.clone().into_owned(),
        (Form::Exec(words), None) => {
            words.value.iter().map(|word| &*word.value).collect::<Vec<_>>().join(" ")
        }
        (Form::Shell(text), None) => {
            let text = file.text().get(text.span.clone()).unwrap_or_default();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            lines.map(|line| line.trim_end().trim_end_matches(['\\', '`'])).collect::<Vec<_>>().join(" ")
        }
        (_, None) => String::new(),
    }
}
