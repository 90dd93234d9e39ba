//! emet-storage
