use super::*;

#[test]
fn jobs_and_steps_know_each_other() {
    for (place, job) in PIPELINE.iter().enumerate() {
        assert_eq!(job.id.job().id, job.id);
        assert_eq!(job.needs, place.checked_sub(1).map(|before| PIPELINE[before].id));
        for step in job.steps {
            assert_eq!(step.job(), job.id);
        }
        for name in job.variables.iter().chain(job.optional) {
            assert!(variable(name).is_some(), "{name} is not in the table of variables");
        }
    }
}

#[test]
fn every_variable_belongs_to_a_job_and_is_needed_by_one_at_most() {
    for variable in &VARIABLES {
        let name = &variable.name;
        let needed = PIPELINE.iter().filter(|job| job.variables.contains(name)).count();
        let taken = PIPELINE.iter().any(|job| job.optional.contains(name));
        assert!(needed == 1 || (needed == 0 && taken), "{name}");
        assert!(PIPELINE.iter().all(|job| !(job.variables.contains(name) && job.optional.contains(name))));
    }
}

#[test]
fn only_jobs_of_a_release_have_variables() {
    for job in &PIPELINE {
        assert_eq!(job.when == When::Always, job.variables.is_empty(), "{}", job.id);
    }
}

fn page(name: &str) -> String {
    fs_err::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)).unwrap()
}

fn code(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_readme_shows_the_table() {
    let readme = page("README.md");
    for job in &PIPELINE {
        let steps: Vec<&str> = job.steps.iter().map(|step| step.name()).collect();
        let secrets = if job.variables.is_empty() { "none".to_owned() } else { code(job.variables) };
        let needs = job.needs.map(|needs| format!(" {needs}")).unwrap_or_default();
        let row = format!(
            "| {} |{needs} | {} | {} | {secrets} |",
            job.id,
            job.when.words("master"),
            steps.join(", ")
        );
        assert!(readme.contains(&row), "README.md lacks: {row}");
    }
    for exit in launchway_core::exit::Exit::ALL {
        let row = format!("| {} | {} |", exit.code(), exit.meaning());
        assert!(readme.contains(&row), "README.md lacks: {row}");
    }
}

#[test]
fn the_guide_says_where_every_secret_goes() {
    let guide = page("docs/deployment.md");
    for job in &PIPELINE {
        for name in job.variables {
            let row = format!("| `{name}` | {} |", job.id);
            assert!(guide.contains(&row), "docs/deployment.md lacks: {row}");
        }
        for name in job.optional {
            let row = format!("| `{name}` | {}, optional |", job.id);
            assert!(guide.contains(&row), "docs/deployment.md lacks: {row}");
        }
    }
}

#[test]
fn the_readme_shows_the_configuration_as_it_is() {
    let (readme, manifest) = (page("README.md"), page("Cargo.toml"));
    let settings = |text: &str| -> Vec<String> {
        text.lines()
            .skip_while(|line| *line != "[workspace.metadata.pipeline]")
            .take_while(|line| !line.starts_with("```") && !line.starts_with("[workspace.lints"))
            .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    };
    assert_eq!(settings(&readme), settings(&manifest));
}

#[test]
fn the_guide_has_a_section_for_every_exit_code() {
    let guide = page("docs/deployment.md");
    for exit in launchway_core::exit::Exit::ALL {
        let heading = format!("\n### {}: {}\n", exit.code(), exit.meaning());
        assert!(guide.contains(&heading), "docs/deployment.md lacks: {heading}");
    }
}
