//! What a mistake is answered with.

use std::error::Error;
use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Line;

/// Why nothing runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Help or version: printed, and all is well.
    Shown(String),
    /// One line that says what is wrong and what is right.
    Mistake(String),
}

impl Refusal {
    /// What clap says in several lines, in one.
    pub(super) fn of(error: &clap::Error, words: &[OsString]) -> Self {
        let place = Place::of(words);
        let told = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
        let (kind, choices) = (place.kind(), place.choices());
        Self::Mistake(match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                return Self::Shown(error.to_string().trim_end().to_owned());
            }
            ErrorKind::InvalidSubcommand => {
                let word = told(ContextKind::InvalidSubcommand);
                format!("unknown {kind} `{word}`; choose from: {choices}")
            }
            ErrorKind::UnknownArgument => {
                let word = told(ContextKind::InvalidArg);
                format!("unknown {kind} `{word}`; choose from: {choices}")
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                format!("choose the {kind}: {choices}")
            }
            ErrorKind::MissingRequiredArgument => {
                let missing = match error.get(ContextKind::InvalidArg) {
                    Some(ContextValue::Strings(missing)) => missing.join(", "),
                    _ => told(ContextKind::InvalidArg),
                };
                format!("missing: {missing}")
            }
            ErrorKind::ValueValidation => {
                let flag = told(ContextKind::InvalidArg);
                let flag = flag.split_whitespace().next().unwrap_or_default();
                let reason = error.source().map(ToString::to_string).unwrap_or_default();
                format!("{flag}: {reason}")
            }
            ErrorKind::InvalidValue => {
                let flag = told(ContextKind::InvalidArg);
                let flag = flag.split_whitespace().next().unwrap_or_default();
                let (value, valid) = (
                    told(ContextKind::InvalidValue),
                    told(ContextKind::ValidValue),
                );
                if valid.is_empty() {
                    format!("{flag}: its value is missing")
                } else {
                    format!("{flag}: `{value}` is none of: {valid}")
                }
            }
            // Two that exclude each other, or one given twice: the first line says it all.
            _ => {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default();
                line.trim_start_matches("error: ").to_owned()
            }
        })
    }
}

/// How far the command line was understood, and so what could have followed.
struct Place(clap::Command);

impl Place {
    fn of(words: &[OsString]) -> Self {
        let mut here = Line::command();
        here.build();
        for word in words.iter().skip(1) {
            // Flags and their values may come between commands.
            if let Some(next) = here.find_subcommand(word) {
                here = next.clone();
            }
        }
        Self(here)
    }

    fn kind(&self) -> &'static str {
        if self.0.has_subcommands() {
            "command"
        } else {
            "flag"
        }
    }

    fn choices(&self) -> String {
        let names: Vec<String> = if self.0.has_subcommands() {
            let commands = self.0.get_subcommands();
            commands
                .map(|command| command.get_name().to_owned())
                .collect()
        } else {
            let flags = self.0.get_arguments().filter_map(|flag| flag.get_long());
            let flags = flags.filter(|flag| !["help", "version"].contains(flag));
            flags.map(|flag| format!("--{flag}")).collect()
        };
        names.join(", ")
    }
}
