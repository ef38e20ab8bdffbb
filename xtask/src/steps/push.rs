//! Step: push.
