//! Step: test-coverage.
