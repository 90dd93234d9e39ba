//! Filters over workers: the filter strings, the filter tree and their meaning
//! (services spec 1.7, guest spec 4.9).

use crate::{Timestamp, WorkerMetadata, WorkerStatus};
use serde::{Deserialize, Serialize};

/// Comparison of texts. `Like` is containment, case-sensitive, without wildcards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StringComparator {
    /// Equal.
    Equal,
    /// Different.
    NotEqual,
    /// Contains.
    Like,
    /// Does not contain.
    NotLike,
}

impl StringComparator {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "=" | "==" | "eq" | "equal" => Self::Equal,
            "!=" | "ne" | "notequal" => Self::NotEqual,
            "like" => Self::Like,
            "notlike" => Self::NotLike,
            _ => return None,
        })
    }

    fn matches(self, value: &str, pattern: &str) -> bool {
        match self {
            Self::Equal => value == pattern,
            Self::NotEqual => value != pattern,
            Self::Like => value.contains(pattern),
            Self::NotLike => !value.contains(pattern),
        }
    }
}

/// Comparison of ordered values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparator {
    /// Equal.
    Equal,
    /// Different.
    NotEqual,
    /// At least.
    GreaterEqual,
    /// More than.
    Greater,
    /// At most.
    LessEqual,
    /// Less than.
    Less,
}

impl Comparator {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "=" | "==" | "eq" | "equal" => Self::Equal,
            "!=" | "ne" | "notequal" => Self::NotEqual,
            ">=" | "ge" | "greaterequal" => Self::GreaterEqual,
            ">" | "gt" | "greater" => Self::Greater,
            "<=" | "le" | "lessequal" => Self::LessEqual,
            "<" | "lt" | "less" => Self::Less,
            _ => return None,
        })
    }

    fn matches<T: PartialOrd>(self, value: &T, bound: &T) -> bool {
        match self {
            Self::Equal => value == bound,
            Self::NotEqual => value != bound,
            Self::GreaterEqual => value >= bound,
            Self::Greater => value > bound,
            Self::LessEqual => value <= bound,
            Self::Less => value < bound,
        }
    }
}

/// A condition on a worker. The serde form is the filter tree of the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum WorkerFilter {
    /// By name.
    Name {
        /// How to compare.
        comparator: StringComparator,
        /// With what.
        value: String,
    },
    /// By status, ordered by its number.
    Status {
        /// How to compare.
        comparator: Comparator,
        /// With what.
        value: WorkerStatus,
    },
    /// By current component version.
    Version {
        /// How to compare.
        comparator: Comparator,
        /// With what.
        value: u64,
    },
    /// By time of creation.
    CreatedAt {
        /// How to compare.
        comparator: Comparator,
        /// With what.
        value: Timestamp,
    },
    /// By a variable of the environment; its name is compared case-insensitively. A worker
    /// without it never matches.
    Env {
        /// The variable.
        name: String,
        /// How to compare.
        comparator: StringComparator,
        /// With what.
        value: String,
    },
    /// All of them; none matches everything.
    And {
        /// The conditions.
        filters: Vec<WorkerFilter>,
    },
    /// Any of them; none matches everything.
    Or {
        /// The conditions.
        filters: Vec<WorkerFilter>,
    },
    /// Not this.
    Not {
        /// The condition.
        filter: Box<WorkerFilter>,
    },
}

impl WorkerFilter {
    /// Parses `<property> <comparator> <value>`, three words separated by white space.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [property, comparator, value] = words.as_slice() else {
            return Err(format!(
                "Invalid filter: {text}: expected '<property> <comparator> <value>'"
            ));
        };
        let string = || {
            StringComparator::parse(comparator).ok_or_else(|| unknown_comparator(text, comparator))
        };
        let ordered =
            || Comparator::parse(comparator).ok_or_else(|| unknown_comparator(text, comparator));
        match *property {
            "name" => Ok(Self::Name { comparator: string()?, value: (*value).to_owned() }),
            "version" => {
                let value = value
                    .parse()
                    .map_err(|_| format!("Invalid filter: {text}: not a version: {value}"))?;
                Ok(Self::Version { comparator: ordered()?, value })
            }
            "status" => {
                let value = value.parse().map_err(|e| format!("Invalid filter: {text}: {e}"))?;
                Ok(Self::Status { comparator: ordered()?, value })
            }
            "createdAt" | "created_at" => {
                let value = Timestamp::parse(value).ok_or_else(|| {
                    format!("Invalid filter: {text}: not an RFC 3339 time: {value}")
                })?;
                Ok(Self::CreatedAt { comparator: ordered()?, value })
            }
            other => match other.strip_prefix("env.") {
                Some(name) if !name.is_empty() => Ok(Self::Env {
                    name: name.to_owned(),
                    comparator: string()?,
                    value: (*value).to_owned(),
                }),
                _ => Err(format!(
                    "Invalid filter: {text}: unknown property {other}; use name, version, status, createdAt or env.NAME"
                )),
            },
        }
    }

    /// All filter strings together; none if there are none.
    pub fn parse_all(texts: &[String]) -> Result<Option<Self>, String> {
        let mut filters = texts.iter().map(|t| Self::parse(t)).collect::<Result<Vec<_>, _>>()?;
        Ok(match filters.len() {
            0 => None,
            1 => filters.pop(),
            _ => Some(Self::And { filters }),
        })
    }

    /// Whether a worker fulfils the condition.
    pub fn matches(&self, worker: &WorkerMetadata) -> bool {
        match self {
            Self::Name { comparator, value } => {
                comparator.matches(&worker.worker_id.worker_name, value)
            }
            Self::Status { comparator, value } => comparator.matches(&worker.status, value),
            Self::Version { comparator, value } => {
                comparator.matches(&worker.component_version, value)
            }
            Self::CreatedAt { comparator, value } => comparator.matches(&worker.created_at, value),
            Self::Env { name, comparator, value } => worker
                .env
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .is_some_and(|(_, actual)| comparator.matches(actual, value)),
            Self::And { filters } => filters.iter().all(|f| f.matches(worker)),
            Self::Or { filters } => filters.is_empty() || filters.iter().any(|f| f.matches(worker)),
            Self::Not { filter } => !filter.matches(worker),
        }
    }
}

fn unknown_comparator(text: &str, comparator: &str) -> String {
    format!("Invalid filter: {text}: unknown comparator {comparator} for this property")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_comparator_word_is_understood_in_any_case() {
        for word in ["=", "==", "eq", "EQUAL", "!=", "ne", "NotEqual"] {
            assert!(WorkerFilter::parse(&format!("name {word} x")).is_ok(), "{word}");
        }
        for word in [">=", "ge", "GreaterEqual", ">", "gt", "<=", "le", "<", "LT"] {
            assert!(WorkerFilter::parse(&format!("version {word} 1")).is_ok(), "{word}");
        }
    }

    #[test]
    fn anything_else_than_three_words_is_refused() {
        for text in [
            "",
            "name",
            "version>=1",
            "name = a b",
            "colour = red",
            "name >= x",
            "version like 1",
            "env. = x",
        ] {
            assert!(WorkerFilter::parse(text).unwrap_err().starts_with("Invalid filter"), "{text}");
        }
    }

    #[test]
    fn the_tree_has_the_documented_json() {
        let filter: WorkerFilter = serde_json::from_str(
            r#"{"type":"And","filters":[{"type":"Status","comparator":"Equal","value":"Idle"},
                {"type":"Not","filter":{"type":"Env","name":"A","comparator":"Like","value":"x"}}]}"#,
        )
        .unwrap();
        assert!(matches!(filter, WorkerFilter::And { filters } if filters.len() == 2));
    }
}
