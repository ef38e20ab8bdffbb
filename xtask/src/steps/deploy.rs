//! Step: deploy.
