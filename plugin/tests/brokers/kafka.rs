//! Brokers of Kafka's protocol: Tansu, and librdkafka's mock of a cluster with Debian's kcat.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rskafka::client::ClientBuilder;
use rskafka::client::partition::{OffsetAt, UnknownTopicHandling};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Certificate, Running, free_port, run};

/// librdkafka's mock of a Kafka cluster.
pub(crate) struct MockCluster {
    running: Running,
    answers: Box<dyn Iterator<Item = String>>,
    pub(crate) broker: String,
}

impl MockCluster {
    pub(crate) fn new(topic: &str, partitions: u32) -> Self {
        let mut running = Running::start(
            Command::new("python3")
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/brokers/mock_cluster.py"))
                .args([topic, &partitions.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped()),
        );
        let mut answers = BufReader::new(running.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        let broker = answers.next().expect("the mock cluster says where it is");
        Self { running, answers: Box::new(answers), broker }
    }

    pub(crate) fn uri(&self) -> String {
        format!("kafka://{}", self.broker)
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.running.0.stdin.as_mut().unwrap(), "{command}").unwrap();
        assert_eq!(self.answers.next().as_deref(), Some("done"), "{command}");
    }

    /// The next `count` messages of a partition, or of all: partition, key and text of each.
    pub(crate) fn messages(&self, topic: &str, partition: Option<u32>, count: usize) -> Vec<(u32, String, String)> {
        let mut kcat = Command::new("timeout");
        kcat.args(["60", "kcat", "-C", "-q", "-b", &self.broker, "-t", topic, "-o", "beginning"]);
        kcat.args(["-c", &count.to_string(), "-f", "%p\\t%k\\t%s\\n"]);
        if let Some(partition) = partition {
            kcat.args(["-p", &partition.to_string()]);
        }
        let output = kcat.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| {
                let fields: Vec<_> = line.splitn(3, '\t').collect();
                (fields[0].parse().unwrap(), fields[1].to_owned(), fields[2].to_owned())
            })
            .collect()
    }
}

/// A broker of Kafka's protocol: Tansu, which keeps everything in memory, with a topic `faces` of three partitions.
pub(crate) struct Tansu {
    _running: Vec<Running>,
    /// That of TLS where there is one.
    port: u16,
    trust: Option<Arc<rustls::ClientConfig>>,
}

const PARTITIONS: i32 = 3;

impl Tansu {
    /// With TLS in front of it where there is a certificate.
    pub(crate) fn new(certificate: Option<&Certificate>) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/tansu/tansu");
        let (port, tls) = (free_port(), certificate.map(|_| free_port()));
        let mut broker = Command::new(&program);
        broker.args(["broker", "--storage-engine", "memory://tansu/", "--listener-url"]);
        broker.arg(format!("tcp://127.0.0.1:{port}")).arg("--advertised-listener-url");
        broker.arg(format!("tcp://localhost:{}", tls.unwrap_or(port))).stdout(Stdio::piped());
        let mut running = vec![Running::start(&mut broker)];
        let mut log = BufReader::new(running[0].0.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(log.any(|line| line.starts_with("ready")), "Tansu is not ready");
        std::thread::spawn(move || log.for_each(drop));
        if let (Some(certificate), Some(tls)) = (certificate, tls) {
            let (file, key) = (certificate.file(), certificate.key());
            let listen = format!(
                "OPENSSL-LISTEN:{tls},bind=127.0.0.1,fork,reuseaddr,verify=0,cert={},key={}",
                file.display(),
                key.display()
            );
            let mut socat = Command::new("socat");
            // It says when it listens.
            socat.args(["-d", "-d", &listen, &format!("TCP:127.0.0.1:{port}")]).stderr(Stdio::piped());
            running.push(Running::start(&mut socat));
            let mut log = BufReader::new(running[1].0.stderr.take().unwrap()).lines().map_while(Result::ok);
            assert!(log.any(|line| line.contains("listening on")), "socat does not listen");
            std::thread::spawn(move || log.for_each(drop));
        }
        let broker = format!("tcp://127.0.0.1:{port}");
        let partitions = PARTITIONS.to_string();
        run(Command::new(&program).args([
            "topic",
            "create",
            "--partitions",
            &partitions,
            "--broker",
            &broker,
            "faces",
        ]));
        Self { _running: running, port: tls.unwrap_or(port), trust: certificate.map(trust) }
    }

    fn address(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub(crate) fn uri(&self) -> String {
        format!("{}://{}", if self.trust.is_some() { "kafkas" } else { "kafka" }, self.address())
    }

    /// The first records of the topic, all of which are in one partition: key and text of each.
    pub(crate) fn records(&self, topic: &str, count: usize) -> Vec<(String, String)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = ClientBuilder::new(vec![self.address()]);
            if let Some(trust) = &self.trust {
                client = client.tls_config(trust.clone());
            }
            let client = client.build().await.unwrap();
            for partition in 0..PARTITIONS {
                let partition = client.partition_client(topic, partition, UnknownTopicHandling::Error).await.unwrap();
                let mut records = Vec::new();
                while partition.get_offset(OffsetAt::Latest).await.unwrap() > records.len() as i64 {
                    let (more, _) = partition.fetch_records(records.len() as i64, 1..1_000_000, 1_000).await.unwrap();
                    records.extend(more.into_iter().map(|more| more.record));
                }
                if !records.is_empty() {
                    assert_eq!(records.len(), count);
                    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).unwrap();
                    return records.into_iter().map(|record| (text(record.key), text(record.value))).collect();
                }
            }
            panic!("no partition of {topic} has a record");
        })
    }
}

fn trust(certificate: &Certificate) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate.authority()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
