//! Checks that Docker can build the whole Dockerfile without `BuildKit`, for when buildx is not installed.

use anyhow::Result;
use parse_dockerfile::{Instruction, Source};

use super::flags;
use crate::dockerfile::Dockerfile;

/// Checks that no stage uses features of `BuildKit` only: its options, and here-documents.
///
/// Errors have [`Exit::Usage`](launchway_core::exit::Exit::Usage) and a line for each problem, with its location.
pub(crate) fn check(file: &Dockerfile) -> Result<()> {
    let parsed = file.parse()?;
    let refused =
        parsed.instructions.iter().filter_map(|instruction| check_instruction(file, instruction).err());
    let refused: Vec<_> = refused.collect();
    if refused.is_empty() { Ok(()) } else { Err(super::all(&refused)) }
}

fn check_instruction(file: &Dockerfile, instruction: &Instruction<'_>) -> Result<()> {
    let (name, options) = flags(instruction);
    // Docker Engine 20.10, `builder/dockerfile`: the options of its own builder.
    let known: &[&str] = match name {
        "ADD" => &["chown"],
        "COPY" => &["chown", "from"],
        "FROM" => &["platform"],
        "HEALTHCHECK" => &["interval", "timeout", "start-period", "retries"],
        _ => &[],
    };
    if let Some(option) = options.iter().find(|option| !known.contains(&option.name.value.as_ref())) {
        return Err(file.error(
            file.line(option.flag_span().start),
            format!("`{name} --{}` needs BuildKit: install buildx", option.name.value),
        ));
    }
    let here_document = match instruction {
        Instruction::Run(run) => run.here_docs.first(),
        Instruction::Copy(copy) => copy.src.iter().find_map(here_document),
        Instruction::Add(add) => add.src.iter().find_map(here_document),
        Instruction::Onbuild(onbuild) => return check_instruction(file, &onbuild.instruction),
        _ => None,
    };
    match here_document {
        Some(document) => Err(file.error(
            // The span is that of the contents, which start one line below.
            file.line(document.span.start) - 1,
            "a here-document needs BuildKit: install buildx",
        )),
        None => Ok(()),
    }
}

fn here_document<'s, 't>(source: &'s Source<'t>) -> Option<&'s parse_dockerfile::HereDoc<'t>> {
    match source {
        Source::HereDoc(document) => Some(document),
        _ => None,
    }
}
