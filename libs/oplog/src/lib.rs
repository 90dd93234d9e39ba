//! emet-oplog
