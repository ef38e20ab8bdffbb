//! Chooses the package and the binary to ship: the user's choice, what the Dockerfile starts, `default-run`, or the
//! only one.

use std::io::{IsTerminal as _, Write as _, stdin, stdout};

use anyhow::Result;

use super::dockerfile::Dockerfile;
use super::findings::{Found, Place, Shipped};
use super::repository::Repository;
use launchway_core::exit::{Exit, Failure};

/// The binary that ships; asks on a terminal if the repository does not determine it.
pub(super) fn shipped(
    repository: &Repository,
    dockerfile: Option<&Dockerfile>,
    package: Option<&str>,
    binary: Option<&str>,
) -> Result<Found<Shipped>> {
    let all = programs(repository);
    let fits = |shipped: &&Shipped| {
        package.is_none_or(|name| shipped.package == name) && binary.is_none_or(|name| shipped.binary == name)
    };
    let programs: Vec<&Shipped> = all.iter().filter(fits).collect();
    let found = |shipped: &Shipped, place: Place| Ok(Found::new(shipped.clone(), place));
    if programs.is_empty() {
        let message = if all.is_empty() {
            "no package of this workspace has a binary: there is no service to ship".to_owned()
        } else {
            format!(
                "no binary matches `--package` and `--binary`; the workspace has:\n{}",
                list(&all.iter().collect::<Vec<_>>())
            )
        };
        return Err(Failure::new(Exit::Usage, message).into());
    }
    if package.is_some() || binary.is_some() {
        if let [only] = programs.as_slice() {
            return found(only, Place::of("the command line"));
        }
    } else if let Some((shipped, line)) = dockerfile.and_then(|file| of_dockerfile(&programs, file)) {
        let path = dockerfile.map(|file| file.path.as_str()).unwrap_or_default();
        return found(shipped, Place::line(path, line));
    }
    let defaults = repository.cargo.packages.iter().filter_map(|package| {
        let binary = package.default_run.as_ref()?;
        programs.iter().find(|shipped| shipped.package == package.name && shipped.binary == *binary)
    });
    if let [only] = defaults.collect::<Vec<_>>().as_slice() {
        return found(only, Place::of("`default-run`"));
    }
    match programs.as_slice() {
        [only] => found(only, Place::of("the only binary")),
        several => ask(several),
    }
}

/// Every binary of the workspace, except its own tools.
fn programs(repository: &Repository) -> Vec<Shipped> {
    let packages = repository.cargo.packages.iter().filter(|package| package.name != "xtask");
    let of = |package: &super::repository::Package| {
        let name = package.name.clone();
        package
            .binaries()
            .map(|binary| Shipped { package: name.clone(), binary: binary.to_owned() })
            .collect::<Vec<_>>()
    };
    packages.flat_map(of).collect()
}

/// The binary that an image starts, else the one that it contains, else the one that it compiles.
fn of_dockerfile<'a>(programs: &[&'a Shipped], file: &Dockerfile) -> Option<(&'a Shipped, usize)> {
    let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let named = |name: &str| match programs
        .iter()
        .filter(|shipped| shipped.binary == name)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [only] => Some(**only),
        _ => None,
    };
    let chain = file.chain();
    let instructions = || chain.iter().rev().flat_map(|stage| &stage.instructions);
    let started = instructions().filter(|found| matches!(found.keyword.as_str(), "ENTRYPOINT" | "CMD"));
    let started = started
        .flat_map(|found| found.words().into_iter().flatten().take(3).map(|word| (found.line, base(&word))));
    let copied =
        || instructions().filter_map(super::dockerfile::Instruction::copy).filter(|copy| copy.from.is_some());
    // A `COPY` may rename a binary.
    let renamed = |name: &str| {
        copied().find(|copy| base(&copy.target) == name && named(&base(&copy.sources[0])).is_some())
    };
    if let Some(found) = started.into_iter().find_map(|(line, name)| {
        let shipped = named(&name).or_else(|| named(&base(renamed(&name)?.sources.first()?)))?;
        Some((shipped, line))
    }) {
        return Some(found);
    }
    if let Some(found) = copied().find_map(|copy| Some((named(&base(copy.sources.first()?))?, copy.line))) {
        return Some(found);
    }
    let runs =
        file.stages.iter().flat_map(|stage| &stage.instructions).filter(|found| found.keyword == "RUN");
    runs.into_iter().find_map(|run| {
        let words: Vec<&str> = run.text.split_whitespace().collect();
        let values = words.windows(2).filter(|pair| pair[0] == "--bin").map(|pair| pair[1]);
        values.into_iter().find_map(named).map(|shipped| (shipped, run.line))
    })
}

fn list(programs: &[&Shipped]) -> String {
    let lines = programs.iter().enumerate().map(|(number, shipped)| {
        format!("  {}  package `{}`, binary `{}`", number + 1, shipped.package, shipped.binary)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Asks the user on a terminal; elsewhere, fails with the choices.
fn ask(programs: &[&Shipped]) -> Result<Found<Shipped>> {
    let listed = list(programs);
    let unclear = || {
        let message = format!(
            "several binaries could be the service: choose with `--package` or `--binary`:\n{listed}"
        );
        Failure::new(Exit::Usage, message)
    };
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(unclear().into());
    }
    let mut out = stdout();
    write!(out, "Which binary is the service?\n{listed}\nnumber: ")?;
    out.flush()?;
    let mut line = String::new();
    stdin().read_line(&mut line)?;
    let chosen = line.trim().parse::<usize>().ok().and_then(|number| programs.get(number.checked_sub(1)?));
    let shipped = chosen.ok_or_else(unclear)?;
    Ok(Found::new((*shipped).clone(), Place::of("your answer")))
}
