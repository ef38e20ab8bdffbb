//! Translates the `COPY` instructions of a final stage: the binary, files of the repository, and replacements for files
//! of the builder.

use super::draft::Draft;
use crate::init::detect::Findings;
use crate::init::dockerfile::{Copy, Dockerfile, Instruction};
use crate::init::repository::Repository;

impl Draft {
    /// Translates one `COPY`.
    pub(super) fn copy(&mut self, copy: &Copy, file: &Dockerfile, findings: &Findings) {
        let Findings { repository, shipped, .. } = findings;
        let owner =
            copy.owner.as_ref().map(|owner| format!("--chown={} ", self.number(owner))).unwrap_or_default();
        let alone = file.stages.len() == 1;
        if copy.from.is_none() {
            if alone {
                let what = format!("`COPY {} {}`", copy.sources.join(" "), copy.target);
                self.drop(
                    copy.line,
                    &what,
                    "only the build needs it; copy by name what the service reads at run time",
                );
                return;
            }
            let sources: Vec<String> =
                copy.sources.iter().filter_map(|source| below(repository, file, source)).collect();
            if sources.len() == copy.sources.len() {
                let target = if copy.target.starts_with('/') {
                    copy.target.clone()
                } else {
                    self.absolute_as_written(&copy.target)
                };
                self.copies.push(format!("COPY {owner}{} {target}", sources.join(" ")));
            } else {
                self.drop(
                    copy.line,
                    &format!("`COPY {} {}`", copy.sources.join(" "), copy.target),
                    "no such file is tracked in the Cargo root",
                );
            }
            return;
        }
        for source in &copy.sources {
            let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let target = self.absolute_as_written(&copy.target);
            let into_folder = target.ends_with('/') || copy.sources.len() > 1 || copy.target == ".";
            if name == shipped.value.binary {
                self.program =
                    if into_folder { format!("{}/{name}", target.trim_end_matches('/')) } else { target };
            } else if source.ends_with("/etc/passwd") || source.ends_with("/etc/group") {
                self.accounts_of_builder(file);
            } else if source.contains("/ssl/") || source.contains("ca-certificates") {
                self.certificates = true;
            } else if source.contains("zoneinfo") {
                self.drop(
                    copy.line,
                    "zone data",
                    "the service runs in UTC; a base such as `gcr.io/distroless/static-debian12` includes it",
                );
            } else if findings
                .repository
                .cargo
                .packages
                .iter()
                .any(|package| package.binaries().any(|binary| binary == name))
            {
                self.drop(
                    copy.line,
                    &format!("the program `{name}`"),
                    "an image contains only the service's program",
                );
            } else if let Some(path) = in_context(repository, file, copy, source) {
                self.copies.push(format!("COPY {owner}{path} {target}"));
            } else if made_by_builder(file, source) {
                let path = if into_folder && copy.sources.len() == 1 && !target.ends_with('/') {
                    target
                } else {
                    target.trim_end_matches('/').to_owned()
                };
                self.folders.insert(path, copy.owner.clone());
            } else {
                self.drop(
                    copy.line,
                    &format!("`{source}`"),
                    "it exists only in the builder, and the repository has no such file",
                );
            }
        }
    }
}

/// Translates a path of the build context into one of the Cargo root; `None` if git tracks no such file.
fn below(repository: &Repository, file: &Dockerfile, source: &str) -> Option<String> {
    let source = source.trim_start_matches("./").trim_start_matches('/');
    let folder = std::path::Path::new(&file.path).parent().map(|parent| parent.join(source))?;
    let path = folder.to_string_lossy().into_owned();
    let inside = repository.inside.to_string_lossy().into_owned();
    let path = path.trim_end_matches('/');
    let pattern = path.split(['*', '?', '[']).next().unwrap_or_default();
    let tracked = repository.files.iter().any(|known| {
        known == path
            || known.starts_with(&format!("{path}/"))
            || pattern != path && known.starts_with(pattern)
    });
    let relative = if inside.is_empty() { path } else { path.strip_prefix(&format!("{inside}/"))? };
    (tracked && !relative.is_empty()).then(|| relative.to_owned())
}

/// The file of the repository that an earlier stage copied from the context.
fn in_context(repository: &Repository, file: &Dockerfile, copy: &Copy, source: &str) -> Option<String> {
    let from = copy.from.as_deref()?;
    let stage = file.stages.iter().find(|stage| stage.name.as_deref() == Some(from))?;
    let folder = stage
        .instructions
        .iter()
        .filter(|found| found.keyword == "WORKDIR")
        .map(|found| found.text.trim_end_matches('/'))
        .next_back();
    let path = source.strip_prefix(folder?)?.trim_start_matches('/');
    below(repository, file, path)
}

/// Whether an earlier stage creates a folder at this path.
fn made_by_builder(file: &Dockerfile, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let runs = file.builders().flat_map(|stage| &stage.instructions).filter(|found| found.keyword == "RUN");
    runs.flat_map(Instruction::commands).any(|command| {
        command.starts_with("mkdir")
            && command
                .split_whitespace()
                .any(|word| word.trim_end_matches('/') == path || path.ends_with(&format!("/{word}")))
    })
}
