//! The instructions that determine how the image starts.

use anyhow::Result;
use parse_dockerfile::{
    Command, HealthcheckArguments, HealthcheckInstruction, Instruction, JsonOrStringArray,
};

use super::{Reader, ShellForm, Step};
use launchway_registry::oci::Healthcheck;

/// A command as written.
enum Form {
    Exec(Vec<String>),
    Shell(String),
}

impl Reader<'_, '_> {
    /// `ENV`, `LABEL`, `EXPOSE`, `USER`, `VOLUME`, `WORKDIR`, `STOPSIGNAL`, `ENTRYPOINT`, `CMD`, `HEALTHCHECK`.
    pub(super) fn setting(&mut self, instruction: &Instruction<'_>) -> Result<()> {
        match instruction {
            Instruction::Env(env) => {
                let line = self.line(env.env.span.start);
                let pairs =
                    self.words().pairs(&env.arguments.value).map_err(|error| self.file.error(line, error))?;
                for (name, value) in pairs {
                    let pair = format!("{name}={value}");
                    let set = &mut self.stage.settings.env;
                    match set.iter_mut().find(|pair| pair.split('=').next() == Some(&name)) {
                        Some(old) => *old = pair,
                        None => set.push(pair),
                    }
                    self.variables.insert(name, value);
                }
            }
            Instruction::Label(label) => {
                let line = self.line(label.label.span.start);
                let pairs = self
                    .words()
                    .pairs(&label.arguments.value)
                    .map_err(|error| self.file.error(line, error))?;
                self.stage.settings.labels.extend(pairs);
            }
            Instruction::Expose(expose) => {
                for port in &expose.arguments {
                    let port = self.port(expose.expose.span.start, &port.value)?;
                    self.stage.settings.exposed_ports.insert(port);
                }
            }
            Instruction::Volume(volume) => {
                let place = volume.volume.span.start;
                let paths: Vec<&str> = match &volume.arguments {
                    JsonOrStringArray::Json(words) => words.value.iter().map(|word| &*word.value).collect(),
                    JsonOrStringArray::String(words) => words.iter().map(|word| &*word.value).collect(),
                };
                for path in paths {
                    let path = format!("/{}", self.absolute(&self.filled(place, "VOLUME", path)?));
                    self.stage.settings.volumes.insert(path);
                }
            }
            Instruction::User(user) => {
                let place = user.user.span.start;
                self.stage.settings.user = self.filled(place, "USER", &user.arguments.value)?;
                self.stage.user_line = Some(self.line(place));
            }
            Instruction::Workdir(workdir) => {
                let place = workdir.workdir.span.start;
                let path = self.absolute(&self.filled(place, "WORKDIR", &workdir.arguments.value)?);
                self.stage.settings.working_dir = format!("/{path}");
                self.stage.steps.push(Step::Folder { line: self.line(place), path });
            }
            Instruction::Stopsignal(signal) => {
                let place = signal.stopsignal.span.start;
                let name = self.filled(place, "STOPSIGNAL", &signal.arguments.value)?;
                let is_signal = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "+-".contains(c);
                if !name.chars().all(is_signal) {
                    return self.refuse(place, format!("`{name}` is not a signal such as `SIGTERM`"));
                }
                self.stage.settings.stop_signal = name;
            }
            Instruction::Entrypoint(entrypoint) => {
                let place = entrypoint.entrypoint.span.start;
                let words = self.words_of(place, "ENTRYPOINT", &entrypoint.arguments)?;
                self.stage.settings.entrypoint = Some(words);
                // "If CMD is defined from the base image, setting ENTRYPOINT will reset CMD to an empty value."
                if !self.has_cmd {
                    self.stage.settings.cmd = None;
                }
            }
            Instruction::Cmd(cmd) => {
                self.stage.settings.cmd = Some(self.words_of(cmd.cmd.span.start, "CMD", &cmd.arguments)?);
                self.has_cmd = true;
            }
            Instruction::Healthcheck(check) => {
                self.stage.settings.healthcheck = Some(self.healthcheck(check)?);
            }
            // The parser may learn new instructions.
            other => return self.refuse(0, format!("the builtin engine does not support this: {other:?}")),
        }
        Ok(())
    }

    /// The word, which must not be empty after variables are replaced.
    fn filled(&self, place: usize, instruction: &str, word: &str) -> Result<String> {
        let value = self.expand(place, word)?;
        if value.trim().is_empty() {
            return Err(self
                .file
                .error(self.line(place), format!("`{instruction} {word}` expands to nothing")));
        }
        Ok(value)
    }

    /// `8000` or `8000/udp`; the result always includes the protocol.
    fn port(&self, place: usize, word: &str) -> Result<String> {
        let port = self.expand(place, word)?;
        let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        match number.parse::<u16>() {
            Ok(1..) if matches!(protocol.as_str(), "tcp" | "udp" | "sctp") => {
                Ok(format!("{number}/{protocol}"))
            }
            _ => self.refuse(place, format!("`{port}` is not a single port such as `8000` or `8000/udp`")),
        }
    }

    /// The words of a command; for shell form, the words that Docker makes of it.
    fn words_of(
        &mut self,
        place: usize,
        instruction: &'static str,
        command: &Command<'_>,
    ) -> Result<Vec<String>> {
        Ok(match self.form(place, instruction, command)? {
            Form::Exec(words) => words,
            Form::Shell(text) => vec!["/bin/sh".to_owned(), "-c".to_owned(), text],
        })
    }

    fn form(&mut self, place: usize, instruction: &'static str, command: &Command<'_>) -> Result<Form> {
        // The last one applies.
        self.stage.shells.retain(|shell| shell.instruction != instruction);
        let text = match command {
            Command::Exec(words) => {
                return Ok(Form::Exec(
                    words.value.iter().map(|word| word.value.clone().into_owned()).collect(),
                ));
            }
            Command::Shell(text) => text,
            // The parser may learn new forms.
            _ => {
                return self.refuse(
                    place,
                    format!("the builtin engine does not support this form of `{instruction}`"),
                );
            }
        };
        if text.value.trim_start().starts_with('[') {
            // Docker would treat it as the name of a program.
            return Err(self.file.error(
                self.line(place),
                format!(
                    "`{instruction}` looks like a list but is not valid JSON: it needs double quotes around each word, commas between them and a `]` at the end, as in `[\"program\", \"argument\"]`"
                ),
            ));
        }
        let command = self.joined(text.value);
        self.stage.shells.push(ShellForm { line: self.line(place), instruction, command: command.clone() });
        Ok(Form::Shell(command))
    }

    /// Joins several lines into one, without the comments in between.
    fn joined(&self, text: &str) -> String {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let continued = |line: &str| line.trim_end().strip_suffix(self.escape).map(str::to_owned);
        lines
            .map(|line| continued(line).unwrap_or_else(|| line.to_owned()))
            .collect::<String>()
            .trim()
            .to_owned()
    }

    fn healthcheck(&mut self, check: &HealthcheckInstruction<'_>) -> Result<Healthcheck> {
        let place = check.healthcheck.span.start;
        let HealthcheckArguments::Cmd { arguments, .. } = &check.arguments else {
            if !check.options.is_empty() {
                return self.refuse(place, "`HEALTHCHECK NONE` takes no options");
            }
            return Ok(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() });
        };
        let test = match self.form(place, "HEALTHCHECK CMD", arguments)? {
            Form::Exec(words) => ["CMD".to_owned()].into_iter().chain(words).collect(),
            Form::Shell(text) => vec!["CMD-SHELL".to_owned(), text],
        };
        let mut health = Healthcheck { test, ..Healthcheck::default() };
        for flag in &check.options {
            let value = flag.value.as_ref().map_or("", |value| &value.value);
            match flag.name.value.as_ref() {
                "interval" => health.interval = self.nanoseconds(place, value)?,
                "timeout" => health.timeout = self.nanoseconds(place, value)?,
                "start-period" => health.start_period = self.nanoseconds(place, value)?,
                "retries" => match value.parse() {
                    Ok(retries) => health.retries = retries,
                    Err(_) => return self.refuse(place, format!("`--retries={value}` is not a number")),
                },
                name => {
                    return self.refuse(
                        place,
                        format!("`HEALTHCHECK --{name}` is not supported by the builtin engine"),
                    );
                }
            }
        }
        Ok(health)
    }

    fn nanoseconds(&self, place: usize, text: &str) -> Result<u64> {
        match humantime::parse_duration(text).map(|duration| u64::try_from(duration.as_nanos())) {
            // Docker rejects anything shorter than a millisecond, and 0 means its default.
            Ok(Ok(nanoseconds)) if nanoseconds == 0 || nanoseconds >= 1_000_000 => Ok(nanoseconds),
            _ => self.refuse(place, format!("`{text}` is not a duration such as `30s`")),
        }
    }
}
