use super::*;

#[test]
fn jobs_and_steps_know_each_other() {
    for (place, job) in PIPELINE.iter().enumerate() {
        assert_eq!(job.id.job().id, job.id);
        assert_eq!(job.needs, place.checked_sub(1).map(|before| PIPELINE[before].id));
        for step in job.steps {
            assert_eq!(step.job(), job.id);
        }
        for name in job.variables {
            assert!(variable(name).is_some(), "{name} is not in the table of variables");
        }
    }
}

#[test]
fn every_variable_belongs_to_one_job() {
    for variable in &VARIABLES {
        let jobs = PIPELINE.iter().filter(|job| job.variables.contains(&variable.name)).count();
        assert_eq!(jobs, 1, "{}", variable.name);
    }
}

#[test]
fn only_jobs_of_a_release_have_variables() {
    for job in &PIPELINE {
        assert_eq!(job.when == When::Always, job.variables.is_empty(), "{}", job.id);
    }
}
