//! emet-worker-executor
