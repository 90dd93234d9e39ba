//! emet-values
