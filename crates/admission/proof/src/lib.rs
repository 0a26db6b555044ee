//! The proofs are in `tests/`, the benchmarks in `benches/`.
