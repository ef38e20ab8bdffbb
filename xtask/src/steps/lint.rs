//! Step: lint.
