//! "Did you mean": names close to a misspelt one.

/// The names closest to a word, best first, if any is close.
pub(crate) fn closest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    let mut near: Vec<(usize, &str)> = names
        .map(|name| (distance(&word.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    near.sort();
    near.dedup();
    near.into_iter().map(|(_, name)| name).take(3).collect()
}

/// `did you mean a or b?`, or what else there is.
pub(crate) fn hint<'a>(word: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    const SHOWN: usize = 12;
    let near = closest(word, names.clone());
    if !near.is_empty() {
        return Some(format!("did you mean {}?", near.join(" or ")));
    }
    let mut all: Vec<&str> = names.collect();
    all.sort_unstable();
    all.dedup();
    let more = all.len().saturating_sub(SHOWN);
    let shown = all.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match (all.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("there are: {shown}")),
        (false, more) => Some(format!("there are: {shown} and {more} more")),
    }
}

/// Insertions, deletions and replacements from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (line, x) in a.chars().enumerate() {
        let mut next = vec![line + 1];
        for (pair, y) in row.windows(2).zip(&b) {
            let (&[diagonal, above], Some(&left)) = (pair, next.last()) else { continue };
            let replaced = diagonal + usize::from(x != *y);
            next.push(replaced.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }

    #[test]
    fn only_close_names_are_suggested_best_first() {
        let names = ["add-item", "add-items", "checkout"];
        assert_eq!(closest("add-itme", names.into_iter()), ["add-item", "add-items"]);
        assert!(closest("remove", names.into_iter()).is_empty());
        assert_eq!(
            hint("ad-item", names.into_iter()).unwrap(),
            "did you mean add-item or add-items?"
        );
        assert_eq!(hint("zzz", ["b", "a"].into_iter()).unwrap(), "there are: a, b");
    }
}
