//! The element's properties, and what they come to when it is started.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::QoS;
use thiserror::Error;

use super::backlog::Limits;
use super::target::{Protocol, Target, TargetError};
use super::tls::{self, TlsError};
use super::{Leaky, SaslMechanism};

/// The properties.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) uri: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) sasl_mechanism: SaslMechanism,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) qos: u32,
    pub(super) key: Option<String>,
    pub(super) max_queued_records: u32,
    pub(super) max_queued_bytes: u64,
    pub(super) leaky: Leaky,
    /// In milliseconds, as is the next.
    pub(super) flush_timeout: u32,
    pub(super) max_reconnect_delay: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            uri: None,
            topic: None,
            client_id: None,
            user: None,
            password: None,
            sasl_mechanism: SaslMechanism::default(),
            ca_file: None,
            qos: 1,
            key: None,
            // Some minutes of video, and a size that any machine which decodes video has to spare.
            max_queued_records: 10_000,
            max_queued_bytes: 64 << 20,
            leaky: Leaky::default(),
            flush_timeout: 5_000,
            max_reconnect_delay: 30_000,
        }
    }
}

/// What no log is to show.
#[derive(Clone)]
pub(super) struct Secret(pub(super) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// How to reach the broker, and what to do there.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) target: Target,
    pub(super) topic: String,
    pub(super) client_id: String,
    pub(super) login: Option<(String, Secret)>,
    pub(super) sasl_mechanism: SaslMechanism,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) qos: QoS,
    pub(super) key: Option<String>,
    pub(super) max_reconnect_delay: Duration,
}

/// Why the element does not start.
#[derive(Debug, Error)]
pub(super) enum SettingsError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("ca-file is set, but {0}:// is not encrypted: use {0}s://")]
    CaFileUnused(&'static str),
    #[error("topic is not set: say under which name the records are published")]
    NoTopic,
    #[error("the topic {topic:?} cannot be published to: {problem}")]
    Topic { topic: String, problem: &'static str },
    #[error("password is set without a user")]
    PasswordAlone,
    #[error("user is set without a password, which Kafka's authentication needs")]
    UserAlone,
    #[error("the thread that publishes cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Settings {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            records: self.max_queued_records as usize,
            bytes: usize::try_from(self.max_queued_bytes).unwrap_or(usize::MAX),
            leaky: self.leaky,
        }
    }

    pub(super) fn flush_timeout(&self) -> Duration {
        Duration::from_millis(self.flush_timeout.into())
    }

    /// Checks the properties against each other.
    pub(super) fn plan(&self) -> Result<Plan, SettingsError> {
        let target = Target::parse(self.uri.as_deref())?;
        let topic = self.topic.clone().filter(|topic| !topic.is_empty()).ok_or(SettingsError::NoTopic)?;
        if let Some(problem) = topic_problem(target.protocol, &topic) {
            return Err(SettingsError::Topic { topic, problem });
        }
        let login = match (&self.user, &self.password) {
            (Some(user), Some(password)) => Some((user.clone(), password.clone())),
            (Some(user), None) if target.protocol == Protocol::Mqtt => Some((user.clone(), Secret(String::new()))),
            (Some(_), None) => return Err(SettingsError::UserAlone),
            (None, Some(_)) => return Err(SettingsError::PasswordAlone),
            (None, None) => None,
        };
        let tls = match (target.tls, &self.ca_file) {
            (true, file) => Some(tls::client_config(file.as_deref())?),
            (false, None) => None,
            (false, Some(_)) => {
                let scheme = if target.protocol == Protocol::Mqtt { "mqtt" } else { "kafka" };
                return Err(SettingsError::CaFileUnused(scheme));
            }
        };
        Ok(Plan {
            target,
            topic,
            // A broker throws out the elder of two clients with one name.
            client_id: self.client_id.clone().unwrap_or_else(|| format!("deepfakepublish-{:08x}", glib::random_int())),
            login,
            sasl_mechanism: self.sasl_mechanism,
            tls,
            qos: match self.qos {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            },
            key: self.key.clone(),
            max_reconnect_delay: Duration::from_millis(self.max_reconnect_delay.into()),
        })
    }
}

fn topic_problem(protocol: Protocol, topic: &str) -> Option<&'static str> {
    match protocol {
        Protocol::Mqtt if topic.contains(['+', '#', '\0']) => Some("+ and # are for subscribers"),
        Protocol::Mqtt if topic.len() > usize::from(u16::MAX) => Some("it is too long"),
        Protocol::Kafka if topic.len() > 249 => Some("Kafka's topics have 249 characters at most"),
        Protocol::Kafka if !topic.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) => {
            Some("Kafka's topics are of letters, digits, dots, underscores and hyphens")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(uri: &str, topic: &str) -> Settings {
        Settings { uri: Some(uri.into()), topic: Some(topic.into()), ..Settings::default() }
    }

    fn problem(settings: &Settings) -> String {
        settings.plan().unwrap_err().to_string()
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = settings("kafka://a", "t");
            change(&mut settings);
            problem(&settings)
        };
        assert!(with(|s| s.uri = None).contains("uri is not set"));
        assert!(with(|s| s.topic = None).contains("topic is not set"));
        assert!(with(|s| s.topic = Some("a/b".into())).contains("hyphens"));
        assert!(with(|s| s.topic = Some("a".repeat(250))).contains("249"));
        assert!(with(|s| s.user = Some("me".into())).contains("without a password"));
        assert!(with(|s| s.password = Some(Secret("x".into()))).contains("without a user"));
        assert!(with(|s| s.ca_file = Some("ca.pem".into())).contains("use kafkas://"));
        assert!(problem(&settings("mqtt://a", "a/+")).contains("subscribers"));
        assert!(settings("mqtt://a", "a/b").plan().is_ok());
    }

    #[test]
    fn clients_have_names_of_their_own() {
        let plan = || settings("mqtt://a", "t").plan().unwrap().client_id;
        assert_ne!(plan(), plan());
        let named = Settings { client_id: Some("studio".into()), ..settings("mqtt://a", "t") };
        assert_eq!(named.plan().unwrap().client_id, "studio");
    }

    #[test]
    fn passwords_are_not_shown() {
        let mut settings = settings("mqtt://a", "t");
        settings.user = Some("me".into());
        settings.password = Some(Secret("hunter2".into()));
        assert!(!format!("{settings:?}{:?}", settings.plan().unwrap()).contains("hunter2"));
    }
}
