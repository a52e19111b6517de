//! What the worker asks of a connection to a broker.

use std::time::Duration;

use thiserror::Error;

use super::backlog::{Backlog, Message};
use super::settings::Plan;

/// A broker that says nothing for so long is not there.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// Why a connection did not come about, or ended.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    #[error(transparent)]
    Mqtt(Box<rumqttc::ConnectionError>),
    #[error("the connection was closed")]
    Closed,
    #[error("the broker does not answer")]
    Silent,
    #[error(transparent)]
    Kafka(Box<rskafka::client::error::Error>),
    #[error("the cluster has no topic {0}")]
    NoTopic(String),
}

impl LinkError {
    /// What a person can do about it.
    pub(super) fn advice(&self) -> &'static str {
        use rumqttc::{ConnectReturnCode, ConnectionError};
        match self {
            Self::Mqtt(error) => match &**error {
                ConnectionError::ConnectionRefused(
                    ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
                ) => "See that user and password are those of the broker",
                ConnectionError::Tls(_) => {
                    "See that ca-file holds the authority of the broker's certificate, and the certificate the host's name"
                }
                ConnectionError::MqttState(_) => "Another client with the same client-id would have this effect too",
                _ => "See that the broker is running and the uri names it",
            },
            Self::Closed | Self::Silent => "See that the broker is running and the uri names it",
            Self::Kafka(_) => "See that the cluster is running, and that uri, ca-file, user and password are right",
            Self::NoTopic(_) => "Create it, or correct the property topic",
        }
    }
}

/// A connection to a broker.
pub(super) trait Link: Sized {
    /// Makes one.
    async fn connect(plan: &Plan) -> Result<Self, LinkError>;

    /// Sends messages, and tells `backlog` of each that the broker has, or never takes.
    async fn deliver(&mut self, batch: &[Message], backlog: &Backlog, tell: &dyn Fn(Told)) -> Result<(), LinkError>;

    /// Keeps the connection alive. Ends when it is lost.
    async fn idle(&mut self) -> LinkError;

    /// Takes leave.
    async fn close(self);
}

/// What the element has to hear of.
#[derive(Debug)]
pub(super) enum Told {
    Connected,
    /// A connection was lost, or did not come about; the next try is after that time.
    Disconnected(LinkError, Duration),
    /// The broker never takes a record, and that is the first loss of a burst.
    Refused(String),
    /// No more records are being lost.
    BurstOver,
    /// The worker is gone, which is a mistake in it.
    Panicked(String),
}
