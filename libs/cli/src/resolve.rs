//! Names on the command line: components by name or id, workers by component and name.

use crate::context::Context;
use crate::failure::Failure;
use crate::suggest;
use emet_model::{Component, ComponentId, WorkerId};
use std::collections::BTreeSet;

/// The worker name that stands for a fresh worker; real names cannot start with a dash.
const FRESH: &str = "-";

impl Context {
    /// A component by id or name.
    pub(crate) async fn component_id(&self, text: &str) -> Result<ComponentId, Failure> {
        let id = text.strip_prefix("urn:component:").unwrap_or(text);
        if let Ok(id) = id.parse() {
            return Ok(id);
        }
        let found = self.client.components(Some(text)).await?;
        let ids: BTreeSet<_> =
            found.iter().map(|c| c.versioned_component_id.component_id).collect();
        match (ids.first(), ids.len()) {
            (Some(id), 1) => Ok(*id),
            (Some(_), _) => Err(Failure::new(format!("several components are called {text}"))
                .help("use the id instead: 'emet component list' shows it")),
            (None, _) => Err(self.unknown_component(text).await?),
        }
    }

    async fn unknown_component(&self, text: &str) -> Result<Failure, Failure> {
        let all = self.client.components(None).await?;
        let failure = Failure::new(format!("there is no component called {text}"));
        let hint =
            suggest::hint(text, all.iter().map(|component| component.component_name.as_str()));
        Ok(failure.help(hint.unwrap_or_else(|| {
            format!("there are no components yet: emet component add {text} FILE.wasm")
        })))
    }

    /// `component/worker` or the two apart; without a name, a fresh worker.
    pub(crate) async fn target(
        &self,
        words: &[String],
    ) -> Result<(ComponentId, Option<String>), Failure> {
        let (component, name) = split(words)?;
        let component = self.component_id(component).await?;
        if name == FRESH {
            return Ok((component, None));
        }
        WorkerId::validate_name(name)
            .map_err(|error| Failure::usage(format!("invalid worker name {name}: {error}")))?;
        Ok((component, Some(name.to_owned())))
    }

    /// The same, of a worker that needs a name.
    pub(crate) async fn worker_id(&self, words: &[String]) -> Result<WorkerId, Failure> {
        match self.target(words).await? {
            (component, Some(name)) => Ok(WorkerId::new(component, name)),
            (_, None) => Err(Failure::usage("this command needs the name of a worker")),
        }
    }

    /// The component version that a worker runs, or would be created with.
    pub(crate) async fn component_of(
        &self,
        component: ComponentId,
        worker: Option<&str>,
    ) -> Result<Component, Failure> {
        let version = match worker {
            None => None,
            Some(name) => match self.client.worker(&WorkerId::new(component, name)).await {
                Ok(metadata) => Some(metadata.component_version),
                Err(error) if error.status() == Some(404) => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(self.client.component(component, version).await?)
    }
}

/// Splits `component/worker` or takes two words.
pub(crate) fn split(words: &[String]) -> Result<(&str, &str), Failure> {
    match words {
        [one] => {
            one.rsplit_once('/').filter(|(c, w)| !c.is_empty() && !w.is_empty()).ok_or_else(|| {
                Failure::usage(format!("'{one}' does not name a worker"))
                    .help("write COMPONENT/WORKER or COMPONENT WORKER")
            })
        }
        [component, worker] => Ok((component, worker)),
        _ => Err(Failure::usage("expected COMPONENT/WORKER or COMPONENT WORKER")),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn workers_are_one_word_or_two() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(split(&words(&["shop:cart/a"])).unwrap(), ("shop:cart", "a"));
        assert_eq!(split(&words(&["shop:cart", "a"])).unwrap(), ("shop:cart", "a"));
        for wrong in [&["shop"][..], &["/a"], &["shop/"], &[]] {
            assert!(split(&words(wrong)).is_err(), "{wrong:?}");
        }
    }
}
