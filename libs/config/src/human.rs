//! Durations and sizes as people write them: `90s`, `1h30m`, `512MiB`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Units of time, largest first, in milliseconds.
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Units of size, largest first, in bytes. The decimal ones are understood, not printed.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1000),
    ("B", 1),
];

/// A duration: `500ms`, `10s`, `1h30m`, `2d`. A bare number is seconds. Whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HumanDuration(pub Duration);

/// A number of bytes: `512MiB`, `1.5GiB`, `10GB`. A bare number is bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("'{text}' is not a duration such as 500ms, 10s, 1h30m or 2d");
        if let Ok(seconds) = text.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| invalid());
        }
        let mut rest = text;
        let mut total = 0u64;
        while !rest.is_empty() {
            let (number, unit, tail) = part(rest).ok_or_else(invalid)?;
            let (_, length) = TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(invalid)?;
            let milliseconds = scaled(number, *length).ok_or_else(invalid)?;
            total = total.checked_add(milliseconds).ok_or_else(invalid)?;
            rest = tail;
        }
        if text.is_empty() { Err(invalid()) } else { Ok(Self(Duration::from_millis(total))) }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("'{text}' is not a size such as 64KiB, 512MiB, 4GiB or 10GB");
        if let Ok(bytes) = text.parse::<u64>() {
            return Ok(Self(bytes));
        }
        let (number, unit, rest) = part(text).ok_or_else(invalid)?;
        let known = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        match known.and_then(|(_, bytes)| scaled(number, *bytes)) {
            Some(bytes) if rest.is_empty() => Ok(Self(bytes)),
            _ => Err(invalid()),
        }
    }
}

/// The first number, the unit behind it, and what follows.
fn part(text: &str) -> Option<(&str, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim_start();
    let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(unit);
    (!number.is_empty()).then_some((number, unit, tail.trim_start()))
}

/// A decimal number times a unit, exact for whole numbers; none if it does not fit.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the range is checked, and fractions of a byte or millisecond mean nothing"
)]
fn scaled(number: &str, unit: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    let value = number.parse::<f64>().ok()? * unit as f64;
    (value < u64::MAX as f64).then_some(value as u64)
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, length) in TIMES {
            if rest >= length {
                write!(f, "{}{unit}", rest / length)?;
                rest %= length;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = SIZES
            .iter()
            .take(4)
            .find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        match binary {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed() {
        let millis = |text: &str| text.parse::<HumanDuration>().unwrap().0.as_millis();
        assert_eq!(millis("500ms"), 500);
        assert_eq!(millis("10"), 10_000);
        assert_eq!(millis("0.5"), 500);
        assert_eq!(millis("1.5s"), 1500);
        assert_eq!(millis("1h30m"), 5_400_000);
        assert_eq!(millis("1d 2h"), 93_600_000);
        for bad in ["", "s", "10 parsecs", "-1", "1h-1m", "99999999999999d", "NaN", "1.2.3s"] {
            assert!(bad.parse::<HumanDuration>().is_err(), "{bad}");
        }
        for text in ["500ms", "1h30m", "2d", "10s", "1s500ms", "0s"] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn sizes_are_read_and_printed() {
        let bytes = |text: &str| text.parse::<Size>().unwrap().0;
        assert_eq!(bytes("4096"), 4096);
        assert_eq!(bytes("64KiB"), 65_536);
        assert_eq!(bytes("1.5 gib"), 1_610_612_736);
        assert_eq!(bytes("10GB"), 10_000_000_000);
        for bad in ["", "MiB", "1 ZiB", "-1", "1MiB2KiB", "99999999TiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        for text in ["64KiB", "512MiB", "3GiB", "1023B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
    }
}
