//! Where records go: what the property `uri` says.

use thiserror::Error;

/// What a broker speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Mqtt,
    Kafka,
}

/// A broker, or some of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) protocol: Protocol,
    pub(super) tls: bool,
    /// Host and port of each; one for MQTT.
    pub(super) brokers: Vec<(String, u16)>,
}

/// Why a URI says nothing.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum TargetError {
    #[error("uri is not set: say where the records go, as in mqtt://broker.example")]
    Missing,
    #[error("the uri {0} has no scheme that is known: mqtt, mqtts, kafka and kafkas are")]
    Scheme(String),
    #[error("the uri {uri} cannot be read: {problem}")]
    Unreadable { uri: String, problem: &'static str },
    #[error("user names and passwords do not belong into the uri, where others can read them: set user and password")]
    UserInfo,
    #[error("the uri {0} has more than host and port: the topic is a property of its own")]
    TooMuch(String),
    #[error("the uri {0} names several brokers: MQTT has one")]
    Several(String),
}

impl Target {
    pub(super) fn parse(uri: Option<&str>) -> Result<Self, TargetError> {
        let uri = uri.filter(|uri| !uri.is_empty()).ok_or(TargetError::Missing)?;
        // Before anything else, since the other errors show the URI.
        if uri.contains('@') {
            return Err(TargetError::UserInfo);
        }
        let unknown = || TargetError::Scheme(uri.to_owned());
        let (scheme, rest) = uri.split_once("://").ok_or_else(unknown)?;
        let (protocol, tls, port) = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" => (Protocol::Mqtt, false, 1883),
            "mqtts" => (Protocol::Mqtt, true, 8883),
            "kafka" => (Protocol::Kafka, false, 9092),
            "kafkas" => (Protocol::Kafka, true, 9093),
            _ => return Err(unknown()),
        };
        let brokers = rest.trim_end_matches('/').split(',').map(|broker| broker_of(uri, broker, port));
        let brokers = brokers.collect::<Result<Vec<_>, _>>()?;
        if protocol == Protocol::Mqtt && brokers.len() > 1 {
            return Err(TargetError::Several(uri.to_owned()));
        }
        Ok(Self { protocol, tls, brokers })
    }
}

fn broker_of(uri: &str, broker: &str, default_port: u16) -> Result<(String, u16), TargetError> {
    let unreadable = |problem| TargetError::Unreadable { uri: uri.to_owned(), problem };
    if broker.contains(['/', '?', '#']) {
        return Err(TargetError::TooMuch(uri.to_owned()));
    }
    // Colons within brackets are those of an address of IPv6.
    let (host, port) = match broker.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (broker, None),
    };
    let is_address = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    if host.is_empty() {
        return Err(unreadable("a host is missing"));
    }
    if !is_address && host.contains([':', '[', ']', ' ']) {
        return Err(unreadable("a host is no name and no address (IPv6 goes into brackets)"));
    }
    let port = match port {
        None => default_port,
        Some(port) => {
            port.parse().ok().filter(|port| *port > 0).ok_or_else(|| unreadable("a port is not from 1 to 65535"))?
        }
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Result<Target, TargetError> {
        Target::parse(Some(uri))
    }

    #[test]
    fn uris_are_read() {
        use Protocol::{Kafka, Mqtt};
        for (uri, protocol, tls, brokers) in [
            ("mqtt://broker", Mqtt, false, vec![("broker", 1883)]),
            ("MQTTS://broker.example:1/", Mqtt, true, vec![("broker.example", 1)]),
            ("mqtt://[::1]:1884", Mqtt, false, vec![("[::1]", 1884)]),
            ("kafka://a,b:19092", Kafka, false, vec![("a", 9092), ("b", 19092)]),
            ("kafkas://127.0.0.1", Kafka, true, vec![("127.0.0.1", 9093)]),
        ] {
            let brokers = brokers.into_iter().map(|(host, port)| (host.to_owned(), port)).collect();
            assert_eq!(parse(uri), Ok(Target { protocol, tls, brokers }), "{uri}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_uri_is_told_without_its_secrets() {
        assert_eq!(Target::parse(None), Err(TargetError::Missing));
        assert_eq!(parse(""), Err(TargetError::Missing));
        assert_eq!(parse("mqtt://me:secret@broker"), Err(TargetError::UserInfo));
        assert!(!TargetError::UserInfo.to_string().contains("secret"));
        for uri in ["broker", "http://broker", "mqtt:broker"] {
            assert_eq!(parse(uri), Err(TargetError::Scheme(uri.to_owned())));
        }
        for uri in ["mqtt://broker/topic", "kafka://a?b=c", "kafka://a#b"] {
            assert_eq!(parse(uri), Err(TargetError::TooMuch(uri.to_owned())));
        }
        for uri in [
            "mqtt://",
            "mqtt://::1",
            "mqtt://[a]",
            "mqtt://a b",
            "mqtt://:1",
            "mqtt://a:0",
            "mqtt://a:65536",
            "mqtt://a:x",
            "kafka://a,,b",
            "kafka://a,",
        ] {
            assert!(matches!(parse(uri), Err(TargetError::Unreadable { .. })), "{uri}");
        }
        assert_eq!(parse("mqtt://a,b"), Err(TargetError::Several("mqtt://a,b".to_owned())));
    }
}
