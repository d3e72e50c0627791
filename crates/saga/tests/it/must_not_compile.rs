//! SAG-5: what does not fit does not compile, and the compiler says why.

#[test]
fn mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/must_not_compile/*.rs");
}
