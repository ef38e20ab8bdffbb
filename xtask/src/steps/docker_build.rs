//! Step: docker-build.
