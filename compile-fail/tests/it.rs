//! What must not compile does not, and the compiler says why.

/// CALL-1, CALL-14, CALL-15: what is finished twice, kept too long or sent without a key.
#[test]
fn calls() {
    trybuild::TestCases::new().compile_fail("call/*.rs");
}

/// SAG-5: what does not fit.
#[test]
fn sagas() {
    trybuild::TestCases::new().compile_fail("saga/*.rs");
}
