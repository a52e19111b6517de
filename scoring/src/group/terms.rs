//! What decides a session, in words, so that two who want different ones are told what differs.

use thiserror::Error;

use crate::contract::{Contract, ContractError};
use crate::model::Model;
use crate::session::SessionOptions;

/// A setting of somebody who joins is not that of the group.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the session-group `{group}` has {setting}={there}, this stream asks for {setting}={here}")]
pub struct Conflict {
    /// Name of the group.
    pub group: String,
    /// Name of the setting.
    pub setting: String,
    /// In the group.
    pub there: String,
    /// As asked for.
    pub here: String,
}

/// All that decides a session, by the names of the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms(Vec<(String, String)>);

impl Terms {
    /// Of a session of that model. `contract` is what is said in place of the model's own.
    ///
    /// # Errors
    ///
    /// Where the model's own contract is wrong.
    pub fn new(model: &Model, contract: Option<&Contract>, options: &SessionOptions) -> Result<Self, ContractError> {
        let contract = match contract {
            Some(contract) => contract.clone(),
            None => Contract::from_metadata(model.metadata())?.unwrap_or_default(),
        };
        // How numbers are copied does not change them.
        let SessionOptions { provider, device_id, threads, engine_cache, lease: _, bind: _ } = options;
        let cache = engine_cache.as_ref().map_or_else(|| "none".to_owned(), |folder| folder.display().to_string());
        let mut terms = vec![
            // A file by another name is the same model.
            ("model-digest".to_owned(), model.sha256().to_owned()),
            ("provider".to_owned(), provider.to_string()),
            ("device-id".to_owned(), device_id.to_string()),
            ("threads".to_owned(), threads.to_string()),
            ("engine-cache".to_owned(), cache),
        ];
        let keys = contract.to_metadata().into_iter().filter(|(key, _)| !key.starts_with("provenance."));
        terms.extend(keys.map(|(key, value)| (format!("model-config's {key}"), value)));
        Ok(Self(terms))
    }

    /// Compares with those of somebody who comes to the group.
    pub(super) fn check(&self, other: &Self, group: &str) -> Result<(), Conflict> {
        let conflict = |setting: &str, there: Option<&str>, here: Option<&str>| Conflict {
            group: group.to_owned(),
            setting: setting.to_owned(),
            there: there.unwrap_or("unset").to_owned(),
            here: here.unwrap_or("unset").to_owned(),
        };
        for (setting, there) in &self.0 {
            let here = other.get(setting);
            if here != Some(there) {
                return Err(conflict(setting, Some(there), here));
            }
        }
        match other.0.iter().find(|(setting, _)| self.get(setting).is_none()) {
            Some((setting, here)) => Err(conflict(setting, None, Some(here))),
            None => Ok(()),
        }
    }

    fn get(&self, setting: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == setting).map(|(_, value)| value.as_str())
    }
}
