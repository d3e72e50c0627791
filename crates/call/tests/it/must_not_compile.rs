//! What a user can't write, and what the compiler says to it.

/// CALL-1, CALL-14, CALL-15: misuses are errors of the compiler. Each case names its rule.
///
/// `TRYBUILD=overwrite` writes the expected errors anew, for the toolchain in `rust-toolchain.toml`.
#[test]
fn misuses_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/must_not_compile/*.rs");
}
