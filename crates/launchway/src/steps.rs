//! The five steps: each plans, then runs.

pub(crate) mod deploy;
pub(crate) mod docker_build;
pub(crate) mod lint;
pub(crate) mod push;
pub(crate) mod test_coverage;
