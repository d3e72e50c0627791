use crate::Invalid;

/// The longest name, in bytes: keys are made of it.
const LONGEST: usize = 64;

pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), Invalid> {
    let is_fine = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    if (1..=LONGEST).contains(&name.len()) && name.chars().all(is_fine) {
        return Ok(());
    }
    let limit = format!("has 1 to {LONGEST} characters of a-z, A-Z, 0-9, `-`, `_` and `.`");
    Err(Invalid::new(field, format!("{name:?}"), limit))
}
