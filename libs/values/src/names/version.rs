//! Matching interface names that differ in their version.

/// An interface name taken apart.
pub(super) struct Versioned<'a> {
    pub(super) base: &'a str,
    pub(super) version: Option<Version<'a>>,
}

/// A semantic version, ordered by precedence of its numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version<'a> {
    numbers: [u64; 3],
    pre: &'a str,
}

impl<'a> Versioned<'a> {
    pub(super) fn new(name: &'a str) -> Versioned<'a> {
        match name.split_once('@') {
            Some((base, version)) => Versioned { base, version: Version::parse(version) },
            None => Versioned { base: name, version: None },
        }
    }
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Option<Version<'a>> {
        let text = text.split_once('+').map_or(text, |(before, _)| before);
        let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
        let mut parts = numbers.split('.').map(|part| part.parse().ok());
        let numbers = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(Version { numbers, pre })
    }

    /// Whether code written for one may use the other: the same first number that is not zero.
    /// Pre-releases are compatible with nothing but themselves.
    pub(super) fn compatible(&self, other: &Version<'_>) -> bool {
        if !self.pre.is_empty() || !other.pre.is_empty() {
            return self.numbers == other.numbers && self.pre == other.pre;
        }
        match (self.numbers, other.numbers) {
            ([0, 0, a], [0, 0, b]) => a == b,
            ([0, a, _], [0, b, _]) => a == b,
            ([a, ..], [b, ..]) => a == b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Versioned;

    #[test]
    fn compatibility_is_that_of_semantic_versions() {
        for (a, b, expected) in [
            ("1.2.3", "1.9.0", true),
            ("1.2.3", "2.2.3", false),
            ("0.2.0", "0.2.3", true),
            ("0.2.0", "0.3.0", false),
            ("0.2.0", "1.2.0", false),
            ("0.0.1", "0.0.1+build", true),
            ("0.0.1", "0.0.2", false),
            ("0.0.1", "0.1.1", false),
            ("1.0.0-rc.1", "1.0.0", false),
            ("1.0.0-rc.1", "1.0.0-rc.1", true),
        ] {
            let (a, b) = (format!("x@{a}"), format!("x@{b}"));
            let (a, b) = (Versioned::new(&a), Versioned::new(&b));
            assert_eq!(a.version.unwrap().compatible(&b.version.unwrap()), expected);
        }
        assert!(Versioned::new("x@one").version.is_none());
    }
}
