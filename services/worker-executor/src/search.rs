//! The query language over oplog entries (services spec 1.10): terms, "phrases", /regexes/,
//! `field:clause`, `NOT`, `AND`, `OR`, parentheses; terms side by side are joined by AND.

use emet_model::WorkerError;
use regex::Regex;
use serde_json::Value as Json;

/// A parsed query.
#[derive(Clone, Debug)]
pub(crate) enum Query {
    /// Contained, in any case.
    Term(String),
    /// Contained, as written.
    Phrase(String),
    Regex(Regex),
    Field(Vec<String>, Box<Query>),
    Not(Box<Query>),
    And(Vec<Query>),
    Or(Vec<Query>),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    Close,
    Not,
    And,
    Or,
    Field(String),
    Term(String),
    Phrase(String),
    Regex(String),
}

fn invalid(reason: impl std::fmt::Display) -> WorkerError {
    WorkerError::invalid(format!("Invalid oplog query: {reason}"))
}

fn tokens(text: &str) -> Result<Vec<Token>, WorkerError> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            c if c.is_whitespace() => drop(chars.next()),
            '(' | ')' => {
                chars.next();
                out.push(if c == '(' { Token::Open } else { Token::Close });
            }
            '"' | '/' => {
                chars.next();
                let mut quoted = String::new();
                loop {
                    match chars.next() {
                        None => return Err(invalid(format!("a closing {c} is missing"))),
                        Some(end) if end == c => break,
                        Some('\\') if chars.peek() == Some(&c) => quoted.extend(chars.next()),
                        Some(other) => quoted.push(other),
                    }
                }
                out.push(if c == '"' { Token::Phrase(quoted) } else { Token::Regex(quoted) });
            }
            _ => out.push(word(&mut chars)),
        }
    }
    Ok(out)
}

/// A word ends at white space or a parenthesis; one that ends in `:` or `=` names a field.
fn word(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Token {
    let mut word = String::new();
    while let Some(&c) = chars.peek() {
        if c.is_whitespace() || c == '(' || c == ')' {
            break;
        }
        chars.next();
        if (c == ':' || c == '=')
            && !word.is_empty()
            && chars.peek().is_some_and(|n| !n.is_whitespace())
        {
            return Token::Field(word);
        }
        word.push(c);
    }
    match word.as_str() {
        "NOT" => Token::Not,
        "AND" => Token::And,
        "OR" => Token::Or,
        _ => Token::Term(word),
    }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
}

/// Deepest nesting of a query.
const MAX_DEPTH: usize = 64;

impl Parser {
    fn any(&mut self) -> Result<Query, WorkerError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(invalid("it is nested too deeply"));
        }
        let mut alternatives = vec![self.all()?];
        while self.tokens.next_if_eq(&Token::Or).is_some() {
            alternatives.push(self.all()?);
        }
        self.depth -= 1;
        Ok(if alternatives.len() == 1 { alternatives.remove(0) } else { Query::Or(alternatives) })
    }

    fn all(&mut self) -> Result<Query, WorkerError> {
        let mut conditions = vec![self.one()?];
        loop {
            match self.tokens.peek() {
                None | Some(Token::Close | Token::Or) => break,
                Some(Token::And) => {
                    self.tokens.next();
                    conditions.push(self.one()?);
                }
                Some(_) => conditions.push(self.one()?),
            }
        }
        Ok(if conditions.len() == 1 { conditions.remove(0) } else { Query::And(conditions) })
    }

    fn one(&mut self) -> Result<Query, WorkerError> {
        match self.tokens.next() {
            Some(Token::Not) => Ok(Query::Not(Box::new(self.one()?))),
            Some(Token::Open) => {
                let inner = self.any()?;
                self.tokens
                    .next_if_eq(&Token::Close)
                    .ok_or_else(|| invalid("a closing ) is missing"))?;
                Ok(inner)
            }
            Some(Token::Field(path)) => Ok(Query::Field(
                path.split('.').map(str::to_lowercase).collect(),
                Box::new(self.one()?),
            )),
            Some(Token::Term(term)) => Ok(Query::Term(term.to_lowercase())),
            Some(Token::Phrase(phrase)) => Ok(Query::Phrase(phrase)),
            Some(Token::Regex(regex)) => Regex::new(&regex).map(Query::Regex).map_err(invalid),
            Some(other) => Err(invalid(format!("unexpected {other:?}"))),
            None => Err(invalid("something is missing at the end")),
        }
    }
}

impl Query {
    /// Parses a query.
    pub(crate) fn parse(text: &str) -> Result<Self, WorkerError> {
        let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), depth: 0 };
        let query = parser.any()?;
        match parser.tokens.next() {
            None => Ok(query),
            Some(token) => Err(invalid(format!("unexpected {token:?}"))),
        }
    }

    /// Whether an entry, as the API shows it, fits.
    pub(crate) fn matches(&self, entry: &Json) -> bool {
        match self {
            Self::Not(inner) => !inner.matches(entry),
            Self::And(all) => all.iter().all(|q| q.matches(entry)),
            Self::Or(any) => any.iter().any(|q| q.matches(entry)),
            Self::Field(path, inner) => {
                fields(entry, path).into_iter().any(|v| inner.matches_value(v))
            }
            _ => {
                kind_names(entry).iter().any(|n| self.matches_text(n)) || self.matches_value(entry)
            }
        }
    }

    fn matches_value(&self, value: &Json) -> bool {
        match self {
            Self::Not(inner) => !inner.matches_value(value),
            Self::And(all) => all.iter().all(|q| q.matches_value(value)),
            Self::Or(any) => any.iter().any(|q| q.matches_value(value)),
            Self::Field(path, inner) => {
                fields(value, path).into_iter().any(|v| inner.matches_value(v))
            }
            _ => match value {
                Json::String(text) => self.matches_text(text),
                Json::Number(number) => self.matches_text(&number.to_string()),
                Json::Bool(value) => self.matches_text(&value.to_string()),
                Json::Array(items) => items.iter().any(|v| self.matches_value(v)),
                Json::Object(object) => {
                    let parts = object
                        .iter()
                        .filter(|(key, _)| !matches!(key.as_str(), "typ" | "timestamp" | "type"));
                    parts.into_iter().any(|(key, v)| {
                        self.matches_text(key) && v.is_null() || self.matches_value(v)
                    })
                }
                Json::Null => false,
            },
        }
    }

    fn matches_text(&self, text: &str) -> bool {
        match self {
            Self::Term(term) => text.to_lowercase().contains(term),
            Self::Phrase(phrase) => text.contains(phrase),
            Self::Regex(regex) => regex.is_match(text),
            _ => false,
        }
    }
}

/// The kind in lower case joined, kebab, and short. An entry that is shown as a kind that clients
/// know is found by its own kind, too.
fn kind_names(entry: &Json) -> Vec<String> {
    let kinds =
        ["type", "kind"].into_iter().filter_map(|key| entry.get(key).and_then(Json::as_str));
    kinds.flat_map(spellings).collect()
}

fn spellings(kind: &str) -> [String; 3] {
    let mut kebab = String::new();
    for c in kind.chars() {
        if c.is_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(c.to_lowercase());
    }
    let short = kebab.strip_suffix("-invoked").unwrap_or(&kebab).to_owned();
    [kind.to_lowercase(), kebab, short]
}

/// Values at a path anywhere in a value; wrappers of typed values are looked through.
fn fields<'a>(value: &'a Json, path: &[String]) -> Vec<&'a Json> {
    let Some((first, rest)) = path.split_first() else { return vec![value] };
    match value {
        Json::Object(object) => object
            .iter()
            .filter(|(key, _)| key.as_str() != "typ")
            .flat_map(|(key, inner)| match key.to_lowercase() == *first {
                true => fields(inner, rest),
                false => fields(inner, path),
            })
            .collect(),
        Json::Array(items) => items.iter().flat_map(|v| fields(v, path)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hits(query: &str, entry: &Json) -> bool {
        Query::parse(query).unwrap().matches(entry)
    }

    #[test]
    fn terms_phrases_regexes_fields_and_operators() {
        let entry = json!({
            "type": "ExportedFunctionInvoked", "function_name": "shop:cart/api.{add-item}", "idempotency_key": "K-1",
            "request": [{"typ": {"type": "Record"}, "value": {"product-id": "G1001", "quantity": 5}}],
        });
        for query in [
            "add-item",
            "ADD-ITEM",
            "\"add-item\"",
            "/add-.t/",
            "exported-function",
            "exportedfunctioninvoked",
            "product-id:g1001",
            "quantity:5 G1001",
            "(nope OR G1001) AND NOT g1002",
            "k-1",
        ] {
            assert!(hits(query, &entry), "{query}");
        }
        for query in [
            "\"ADD-ITEM\"",
            "product-id:G1002",
            "NOT add-item",
            "imported-function",
            "add-item nope",
        ] {
            assert!(!hits(query, &entry), "{query}");
        }
    }

    #[test]
    fn malformed_queries_are_refused() {
        for query in ["", "(", "a )", "\"open", "/[/", "NOT", "a AND"] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
    }
}
