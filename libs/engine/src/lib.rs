//! emet-engine
