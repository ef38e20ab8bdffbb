//! The five steps: what each will do, and doing it.

pub(crate) mod deploy;
pub(crate) mod docker_build;
pub(crate) mod lint;
pub(crate) mod push;
pub(crate) mod test_coverage;
