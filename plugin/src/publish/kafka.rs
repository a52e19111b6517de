//! Kafka.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use rskafka::BackoffConfig;
use rskafka::chrono::DateTime;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use tokio::time::timeout;

use super::SaslMechanism;
use super::backlog::{Backlog, Message};
use super::link::{Link, LinkError, SILENCE, Told};
use super::settings::Plan;

/// The client's own tries, which go on for good unless told. The worker's are spaced better, and can be told of.
const TRIES: Duration = Duration::from_secs(3);
/// A broker may itself wait for half a minute until its replicas have a record.
const ANSWER: Duration = Duration::from_secs(35);

pub(super) struct Kafka {
    partition: PartitionClient,
    key: Option<Vec<u8>>,
}

fn client(plan: &Plan) -> ClientBuilder {
    let brokers = plan.target.brokers.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        base: 2.0,
        deadline: Some(TRIES),
    };
    let mut builder = ClientBuilder::new(brokers).client_id(plan.client_id.as_str()).backoff_config(backoff);
    if let Some(tls) = &plan.tls {
        builder = builder.tls_config(tls.clone());
    }
    if let Some((user, password)) = &plan.login {
        let credentials = Credentials::new(user.clone(), password.0.clone());
        builder = builder.sasl_config(match plan.sasl_mechanism {
            SaslMechanism::Plain => SaslConfig::Plain(credentials),
            SaslMechanism::ScramSha256 => SaslConfig::ScramSha256(credentials),
            SaslMechanism::ScramSha512 => SaslConfig::ScramSha512(credentials),
        });
    }
    builder
}

impl From<Error> for LinkError {
    fn from(error: Error) -> Self {
        Self::Kafka(Box::new(error))
    }
}

/// Whether the broker takes the request for too large, or will never take it for another reason.
fn is_refusal(error: &Error) -> bool {
    let Error::ServerError { protocol_error, .. } = error else { return false };
    matches!(
        protocol_error,
        ProtocolError::MessageTooLarge | ProtocolError::RecordListTooLarge | ProtocolError::InvalidRecord
    )
}

impl Kafka {
    async fn open(plan: &Plan) -> Result<Self, LinkError> {
        let client = client(plan).build().await?;
        let topics = client.list_topics().await?;
        let topic = topics.into_iter().find(|topic| topic.name == plan.topic);
        let partitions: Vec<i32> = topic.into_iter().flat_map(|topic| topic.partitions).collect();
        if partitions.is_empty() {
            return Err(LinkError::NoTopic(plan.topic.clone()));
        }
        // All records of an element go to one partition, so that they keep their order.
        let chosen = plan.key.as_deref().unwrap_or(&plan.client_id);
        let chosen = partitions[positive(murmur2(chosen.as_bytes())) as usize % partitions.len()];
        let partition = client.partition_client(&plan.topic, chosen, UnknownTopicHandling::Error).await?;
        Ok(Self { partition, key: plan.key.clone().map(String::into_bytes) })
    }

    fn records(&self, batch: &[Message]) -> Vec<Record> {
        let record = |message: &Message| {
            let at = message.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Record {
                key: self.key.clone(),
                value: Some(message.payload.to_vec()),
                headers: BTreeMap::new(),
                timestamp: DateTime::from_timestamp(at.as_secs() as i64, at.subsec_nanos()).unwrap_or_default(),
            }
        };
        batch.iter().map(record).collect()
    }
}

impl Link for Kafka {
    async fn connect(plan: &Plan) -> Result<Self, LinkError> {
        timeout(SILENCE, Self::open(plan)).await.map_err(|_| LinkError::Silent)?
    }

    async fn deliver(&mut self, batch: &[Message], backlog: &Backlog, tell: &dyn Fn(Told)) -> Result<(), LinkError> {
        let mut rest = batch;
        let mut size = batch.len();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            let produce = self.partition.produce(self.records(now), Compression::NoCompression);
            match timeout(ANSWER, produce).await.map_err(|_| LinkError::Silent)? {
                Ok(_) => {
                    if backlog.confirm(now.len()) {
                        tell(Told::BurstOver);
                    }
                    rest = later;
                }
                Err(error) if is_refusal(&error) && now.len() > 1 => size = now.len() / 2,
                Err(error) if is_refusal(&error) => {
                    if backlog.refuse() {
                        tell(Told::Refused(error.to_string()));
                    }
                    rest = later;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn idle(&mut self) -> LinkError {
        // Kafka has no sign of life: whether a connection still works, the next record shows.
        std::future::pending().await
    }

    async fn close(self) {}
}

fn positive(hash: u32) -> u32 {
    hash & 0x7fff_ffff
}

/// The hash by which Kafka's own clients choose the partition for a key: MurmurHash2 with their seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hashed_as_kafka_does() {
        // As the tests of Kafka's own client have them.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }
}
