//! The provenance: which commit, lock file, recipe and compiler an image was made from, as SLSA 1.0.
