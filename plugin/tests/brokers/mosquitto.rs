//! Debian's mosquitto and mosquitto_sub.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Running, free_port, run, valid};

/// An MQTT broker: Debian's mosquitto.
pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    running: Option<Running>,
}

impl Mosquitto {
    /// With more lines in its configuration.
    pub(crate) fn new(options: &str) -> Self {
        let mut this = Self { port: free_port(), folder: tempfile::tempdir().unwrap(), running: None };
        let path = this.folder.path().display();
        // Sessions are kept, so that a subscriber misses nothing while the broker is away. As root it would become another
        // user, who may not read the folder.
        let anonymous = if options.contains("allow_anonymous") { "" } else { "allow_anonymous true" };
        let config = format!(
            "listener {} 127.0.0.1\n{anonymous}\nuser root\npersistence true\npersistence_location {path}/\n\
             max_queued_messages 0\nlog_dest stderr\n{options}\n",
            this.port
        );
        std::fs::write(this.folder.path().join("mosquitto.conf"), config).unwrap();
        this.start();
        this
    }

    pub(crate) fn start(&mut self) {
        // Not on everybody's PATH.
        let program = Path::new("/usr/sbin/mosquitto");
        let program = if program.exists() { program } else { Path::new("mosquitto") };
        let mut running = Running::start(
            Command::new(program).arg("-c").arg(self.folder.path().join("mosquitto.conf")).stderr(Stdio::piped()),
        );
        let mut log = BufReader::new(running.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        let start: Vec<_> = log.by_ref().take_while(|line| !line.ends_with("running")).collect();
        assert!(running.0.try_wait().unwrap().is_none(), "{start:#?}");
        std::thread::spawn(move || log.for_each(drop));
        self.running = Some(running);
    }

    /// Ends it as a machine that is shut down does.
    pub(crate) fn stop(&mut self) {
        let mut running = self.running.take().unwrap();
        run(Command::new("kill").arg(running.0.id().to_string()));
        running.0.wait().unwrap();
    }

    /// Ends it as a machine that loses its power does.
    pub(crate) fn kill(&mut self) {
        drop(self.running.take());
    }

    pub(crate) fn uri(&self) -> String {
        format!("mqtt://localhost:{}", self.port)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Debian's mosquitto_sub, subscribed to all that a broker has.
pub(crate) struct Subscriber {
    _running: Running,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Subscriber {
    pub(crate) fn new(broker: &Mosquitto, arguments: &[&str]) -> Self {
        let mut running = Running::start(
            Command::new("stdbuf")
                .args(["-oL", "mosquitto_sub", "-h", "localhost", "-p", &broker.port.to_string()])
                .args(["-t", "#", "-q", "2", "-d", "-W", "60", "-F", "%t %p"])
                .args(arguments)
                .stdout(Stdio::piped()),
        );
        let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines().map_while(Result::ok);
        // What waited for it comes before that.
        let mut subscribed = false;
        let early: Vec<_> = lines
            .by_ref()
            .take_while(|line| {
                subscribed = line.starts_with("Subscribed");
                !subscribed
            })
            .collect();
        assert!(subscribed, "{early:#?}");
        Self { _running: running, lines: Box::new(early.into_iter().chain(lines)) }
    }

    /// The next message to that topic.
    pub(crate) fn next(&mut self, topic: &str) -> Value {
        let text = self.lines.find_map(|line| Some(line.strip_prefix(topic)?.strip_prefix(' ')?.to_owned()));
        valid(&text.expect("a message"))
    }

    /// So many frame numbers, without those that came twice.
    pub(crate) fn frames(&mut self, topic: &str, count: usize) -> Vec<u64> {
        let mut frames = Vec::new();
        while frames.len() < count {
            let frame = self.next(topic)["frame"].as_u64().unwrap();
            if !frames.contains(&frame) {
                frames.push(frame);
            }
        }
        frames
    }
}
