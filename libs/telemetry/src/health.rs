//! Whether the parts of a process are well: the latest outcome of a probe of each.
//!
//! Probes run by themselves, so that answering `GET /healthcheck` costs nothing and a store that
//! hangs cannot make it hang.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// Time between two probes of one part.
const INTERVAL: Duration = Duration::from_secs(5);
/// Longest time that a probe may take.
const LIMIT: Duration = Duration::from_secs(3);

/// The parts of a process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: Arc<Mutex<Vec<Part>>>,
}

#[derive(Debug)]
struct Part {
    name: String,
    /// None: it is well.
    trouble: Option<String>,
}

impl Health {
    /// What is not well, and why: `log store: timed out`. Nothing when all is well.
    pub fn troubles(&self) -> Vec<String> {
        let parts = self.parts.lock();
        let troubles = parts.iter().filter_map(|part| Some((part, part.trouble.as_ref()?)));
        troubles.map(|(part, trouble)| format!("{}: {trouble}", part.name)).collect()
    }

    /// Sets the state of a part that knows it by itself.
    pub fn set(&self, name: &str, trouble: Option<String>) {
        let mut parts = self.parts.lock();
        match parts.iter_mut().find(|part| part.name == name) {
            Some(part) => part.trouble = trouble,
            None => parts.push(Part { name: name.to_owned(), trouble }),
        }
    }

    /// Probes a part from now on, as long as the runtime lives. Until the first probe has ended
    /// the part is not ready.
    pub fn watch<F, Fut, E>(&self, name: &'static str, probe: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
        E: std::fmt::Display + Send,
    {
        self.set(name, Some("not probed yet".to_owned()));
        let health = self.clone();
        tokio::spawn(async move {
            loop {
                let trouble = match tokio::time::timeout(LIMIT, probe()).await {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some(format!("no answer within {} s", LIMIT.as_secs())),
                };
                if let Some(trouble) = &trouble {
                    tracing::warn!(part = name, %trouble, "a part is not well");
                }
                health.set(name, trouble);
                tokio::time::sleep(INTERVAL).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_part_is_as_well_as_its_latest_probe() {
        let health = Health::default();
        let state = Arc::new(AtomicU8::new(0));
        let shown = state.clone();
        health.watch("store", move || {
            let state = shown.load(Ordering::SeqCst);
            async move {
                match state {
                    0 => Ok(()),
                    1 => Err("broken"),
                    _ => std::future::pending().await,
                }
            }
        });
        assert_eq!(health.troubles(), ["store: not probed yet"]);
        let next = || tokio::time::sleep(INTERVAL + LIMIT);
        next().await;
        assert!(health.troubles().is_empty());
        state.store(1, Ordering::SeqCst);
        next().await;
        assert_eq!(health.troubles(), ["store: broken"]);
        state.store(2, Ordering::SeqCst);
        next().await;
        next().await;
        assert_eq!(health.troubles(), ["store: no answer within 3 s"]);
        state.store(0, Ordering::SeqCst);
        next().await;
        assert!(health.troubles().is_empty());
    }
}
