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
fn a_rollback_has_what_a_deploy_has_and_is_no_job_of_the_pipeline() {
    assert!(PIPELINE.iter().all(|job| job.id != ROLLBACK.id && !job.steps.contains(&StepId::Rollback)));
    assert_eq!((ROLLBACK.id.job().id, StepId::Rollback.job()), (ROLLBACK.id, ROLLBACK.id));
    let deploy = JobId::Deploy.job();
    assert_eq!((ROLLBACK.variables, ROLLBACK.optional), (deploy.variables, deploy.optional));
}

#[test]
fn every_variable_belongs_to_a_job_and_is_needed_by_one_at_most() {
    for variable in &VARIABLES {
        let name = &variable.name;
        let needed = PIPELINE.iter().filter(|job| job.variables.contains(name)).count();
        let taken = PIPELINE.iter().any(|job| job.optional.contains(name));
        // Other names for those that the build needs.
        let is_alias = DOCKER_HUB_LOGIN.contains(name);
        assert!(needed == 1 || (needed == 0 && (taken || is_alias)), "{name}");
        assert!(PIPELINE.iter().all(|job| !(job.variables.contains(name) && job.optional.contains(name))));
    }
}

#[test]
fn only_jobs_of_a_release_have_variables() {
    for job in &PIPELINE {
        assert_eq!(job.when == When::Always, job.variables.is_empty(), "{}", job.id);
    }
}
