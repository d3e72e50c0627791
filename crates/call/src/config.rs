use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use backstay_core::Invalid;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::pipeline::{Pipeline, PipelineBuilder};
use crate::settings::Settings;

/// The options of pipelines, by name, from a TOML or JSON file.
///
/// Everything is checked when the file is read, also what nobody asks for yet.
///
/// ```
/// use backstay_call::Config;
///
/// let config = Config::from_toml("stock.toml", r#"
///     [pipelines.stock]
///     deadline = "300ms"
///     bulkhead = { limit = 20, queue = 10 }
/// "#)?;
/// let stock = config.pipeline("stock")?.build()?;
/// assert_eq!(stock.name(), "stock");
///
/// let error = Config::from_toml("stock.toml", r#"
///     [pipelines.stock]
///     retry = { max_attempts = 99 }
/// "#).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "stock.toml: pipelines.stock.retry.max_attempts = 99: must be in 1..=10"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    file: String,
    pipelines: BTreeMap<String, Settings>,
}

/// Why a configuration can't be used.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{file}: can't be read: {source}")]
    Unreadable {
        /// Which file.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file's name ends neither in `.toml` nor in `.json`.
    #[error("{file}: must end in .toml or .json")]
    UnknownFormat {
        /// Which file.
        file: String,
    },
    /// The text is no TOML or JSON, a key is unknown, or a value has the wrong form.
    #[error("{file}: {key}: {problem}")]
    Malformed {
        /// Which file.
        file: String,
        /// Where in it: the path of the key, or the line.
        key: String,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// A value is out of its range, or breaks its relation to another.
    #[error("{file}: {invalid}")]
    Invalid {
        /// Which file.
        file: String,
        /// Key, value and limit.
        invalid: Invalid,
    },
    /// The file has no pipeline of this name.
    #[error("{file}: no pipeline {name:?}; it has {known:?}")]
    NoPipeline {
        /// Which file.
        file: String,
        /// The name that was asked for.
        name: String,
        /// The names it has.
        known: Vec<String>,
    },
}

/// As for people: it is what `main` prints.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    pipelines: BTreeMap<String, Settings>,
}

impl Config {
    /// Reads a file whose name ends in `.toml` or `.json`.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let file = path.display().to_string();
        let text = |file: String| {
            std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { file, source })
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Self::from_toml(file.clone(), &text(file)?),
            Some("json") => Self::from_json(file.clone(), &text(file)?),
            _ => Err(ConfigError::UnknownFormat { file }),
        }
    }

    /// Reads TOML; `file` is what errors name.
    pub fn from_toml(file: impl Into<String>, text: &str) -> Result<Self, ConfigError> {
        let file = file.into();
        let line = |error: &toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start.min(text.len()));
            format!(
                "line {}",
                text.as_bytes()[..start]
                    .split(|byte| *byte == b'\n')
                    .count()
            )
        };
        match toml::Deserializer::parse(text) {
            Ok(toml) => Self::from(file, toml, |error| {
                (line(error), error.message().to_owned())
            }),
            Err(error) => Err(ConfigError::Malformed {
                file,
                key: line(&error),
                problem: error.message().to_owned(),
            }),
        }
    }

    /// Reads JSON; `file` is what errors name.
    pub fn from_json(file: impl Into<String>, text: &str) -> Result<Self, ConfigError> {
        let file = file.into();
        let mut json = serde_json::Deserializer::from_str(text);
        let place =
            |error: &serde_json::Error| (format!("line {}", error.line()), error.to_string());
        let config = Self::from(file.clone(), &mut json, place)?;
        json.end().map_err(|error| {
            let (key, problem) = place(&error);
            ConfigError::Malformed { file, key, problem }
        })?;
        Ok(config)
    }

    /// The options of one pipeline.
    pub fn settings(&self, name: &str) -> Result<&Settings, ConfigError> {
        self.pipelines
            .get(name)
            .ok_or_else(|| ConfigError::NoPipeline {
                file: self.file.clone(),
                name: name.to_owned(),
                known: self.pipelines.keys().cloned().collect(),
            })
    }

    /// A builder with the options of one pipeline, for what no file can say: listeners, a shared budget.
    pub fn pipeline(&self, name: &str) -> Result<PipelineBuilder, ConfigError> {
        Ok(Pipeline::builder(name).settings(self.settings(name)?.clone()))
    }

    fn from<'de, D: serde::Deserializer<'de>>(
        file: String,
        text: D,
        place: impl Fn(&D::Error) -> (String, String),
    ) -> Result<Self, ConfigError> {
        let Content { pipelines } = match read(text) {
            Ok(content) => content,
            Err(error) => {
                let path = error.path().to_string();
                let (line, problem) = place(error.inner());
                let key = if path == "." { line } else { path };
                return Err(ConfigError::Malformed { file, key, problem });
            }
        };
        for (name, settings) in &pipelines {
            if let Err(mut invalid) = settings.validate() {
                invalid.field = format!("pipelines.{name}.{}", invalid.field);
                return Err(ConfigError::Invalid { file, invalid });
            }
        }
        Ok(Self { file, pipelines })
    }
}

fn read<'de, T: DeserializeOwned, D: serde::Deserializer<'de>>(
    text: D,
) -> Result<T, serde_path_to_error::Error<D::Error>> {
    serde_path_to_error::deserialize(text)
}
