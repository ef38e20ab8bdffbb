//! What the final stage starts from: nothing, or an image in a registry.

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::Result;
use parse_dockerfile::FromInstruction;

use super::{DEFAULT_PATH, FinalStage, Inputs, Reader};
use crate::binary::Platform;
use crate::dockerfile::Dockerfile;
use launchway_registry::ImageName;

/// The registry image that a stage starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseName {
    /// The file and the line of the `FROM`.
    pub place: String,
    /// The name of the image.
    pub image: ImageName,
}

impl BaseName {
    /// What the final stage of a Dockerfile starts from; `None` for `scratch`.
    ///
    /// Whatever cannot be followed is an error with [`Exit::Usage`](launchway_core::exit::Exit::Usage) that starts with
    /// the file and the line.
    pub fn find(file: &Dockerfile, inputs: Inputs<'_>) -> Result<Option<Self>> {
        let parsed = file.parse()?;
        let stages: Vec<&FromInstruction<'_>> = parsed.stages().map(|stage| stage.from).collect();
        let Some((stage, earlier)) = stages.split_last() else {
            return Err(file.error(1, "the Dockerfile has no stage"));
        };
        let unset = Cell::new(false);
        let mut reader = Reader {
            file,
            inputs,
            earlier,
            runs: Vec::new(),
            escape: parsed.parser_directives.escape.as_ref().map_or('\\', |escape| escape.value.value),
            variables: of_platform(inputs.platform),
            globals: BTreeMap::new(),
            unset: &unset,
            has_cmd: false,
            stage: FinalStage::default(),
        };
        for global in parsed.global_args() {
            reader.argument(reader.line(global.arg.span.start), &global.arguments.value, true)?;
        }
        reader.base(stage)
    }
}

impl Reader<'_, '_> {
    pub(super) fn base(&self, from: &FromInstruction<'_>) -> Result<Option<BaseName>> {
        let place = from.from.span.start;
        let image = self.expand(place, &from.image.value)?;
        for flag in &from.options {
            let value = flag.value.as_ref().map_or("", |value| &value.value);
            let value = self.expand(place, value)?;
            if flag.name.value != "platform" || !self.is_platform(&value) {
                return self.refuse(
                    place,
                    format!(
                        "`--{}={value}` is not the platform of this image, {}: `target` in the configuration sets it",
                        flag.name.value, self.inputs.platform
                    ),
                );
            }
        }
        if image == "scratch" {
            return Ok(None);
        }
        if self.is_earlier(&image) {
            return self.refuse(
                place,
                format!("the final stage builds on the stage `{image}`, which only Docker supports"),
            );
        }
        match image.parse() {
            Ok(image) => {
                Ok(Some(BaseName { place: format!("{}:{}", self.file.path(), self.line(place)), image }))
            }
            Err(error) => Err(self.file.error(self.line(place), format!("the base image: {error:#}"))),
        }
    }

    /// Whether a platform is the image's, by any of its names (containerd, `platforms.Normalize`).
    fn is_platform(&self, name: &str) -> bool {
        let name = name.strip_prefix("linux/").unwrap_or(name);
        match self.inputs.platform {
            Platform::Amd64 => matches!(name, "amd64" | "x86_64" | "x86-64" | "amd64/v1"),
            Platform::Arm64 => matches!(name, "arm64" | "aarch64" | "arm64/v8"),
        }
    }

    /// Whether there is an earlier stage with this name.
    pub(super) fn is_earlier(&self, name: &str) -> bool {
        let named = |from: &&FromInstruction<'_>| {
            from.as_.as_ref().is_some_and(|(_, known)| known.value.eq_ignore_ascii_case(name))
        };
        self.earlier.iter().any(named)
    }

    /// Applies the base's settings to the stage.
    pub(super) fn inherit(&mut self) {
        let env = &mut self.stage.settings.env;
        // Docker sets it in every stage without one, so that `ENV PATH=/app:$PATH` means the same here.
        if !env.iter().any(|pair| pair.starts_with("PATH=")) {
            env.push(format!("PATH={DEFAULT_PATH}"));
        }
        let pairs = env.iter().filter_map(|pair| pair.split_once('='));
        self.variables.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}

/// The platform variables that Docker sets for `FROM` (Dockerfile reference, "Automatic platform ARGs"). The build
/// platform is this machine.
pub(super) fn of_platform(target: Platform) -> BTreeMap<String, String> {
    let here = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let pairs =
        [("TARGET", target.architecture()), ("BUILD", here)].into_iter().flat_map(|(of, architecture)| {
            [
                (format!("{of}PLATFORM"), format!("linux/{architecture}")),
                (format!("{of}OS"), "linux".to_owned()),
                (format!("{of}ARCH"), architecture.to_owned()),
                (format!("{of}VARIANT"), String::new()),
            ]
        });
    pairs.collect()
}
