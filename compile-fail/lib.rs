//! Mistakes that do not compile, and what the compiler says of them: a folder for each crate.
