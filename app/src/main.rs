//! The service that the pipeline ships.

fn main() {}
