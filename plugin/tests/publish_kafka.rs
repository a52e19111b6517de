//! `deepfakepublish` and Kafka: Tansu, a broker of others that speaks its protocol, and librdkafka's mock of a cluster with
//! Debian's kcat as the consumer, for what only a mock can be told to do.

use std::process::Command;

use brokers::kafka::{MockCluster, Tansu};
use brokers::{Certificate, Rig, line, valid};

mod brokers;
mod results;

fn frames<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<u64> {
    texts.into_iter().map(|text| valid(text)["frame"].as_u64().unwrap()).collect()
}

/// The frames among messages, without those that came twice.
fn once(messages: &[(u32, String, String)]) -> Vec<u64> {
    let mut frames = frames(messages.iter().map(|(_, _, text)| text));
    let mut seen = std::collections::HashSet::new();
    frames.retain(|frame| seen.insert(*frame));
    frames
}

#[test]
fn a_real_broker_gives_back_what_it_got() {
    let broker = Tansu::new(None);
    let mut rig = Rig::new(&[("uri", &broker.uri()), ("topic", "faces"), ("key", "studio-1")]);
    rig.push(0..300);
    rig.push_event(gst::event::Eos::new());
    assert_eq!((rig.count("published"), rig.count("lost")), (300, 0));
    let got = broker.records("faces", 300);
    assert_eq!(frames(got.iter().map(|(_, text)| text)), (0..300).collect::<Vec<_>>());
    assert!(got.iter().all(|(key, _)| key == "studio-1"));
}

#[test]
fn records_go_over_tls_to_whom_the_authority_vouches_for() {
    let certificate = Certificate::new();
    let broker = Tansu::new(Some(&certificate));
    let ca = certificate.authority().to_str().unwrap().to_owned();
    let mut rig = Rig::new(&[("uri", &broker.uri()), ("topic", "faces"), ("ca-file", &ca)]);
    rig.push(0..20);
    rig.stop();
    assert_eq!((rig.count("published"), rig.warnings()), (20, vec![]));
    assert_eq!(frames(broker.records("faces", 20).iter().map(|(_, text)| text)), (0..20).collect::<Vec<_>>());

    let stranger = Certificate::new();
    let ca = stranger.authority().to_str().unwrap().to_owned();
    let mut rig = Rig::new(&[("uri", &broker.uri()), ("topic", "faces"), ("ca-file", &ca), ("flush-timeout", "0")]);
    rig.push(0..5);
    rig.wait_for("disconnected");
    assert!(rig.warnings()[0].contains("certificate"));
    rig.stop();
    assert_eq!((rig.count("published"), rig.count("lost")), (0, 5));
}

#[test]
fn a_topic_that_is_not_there_is_told() {
    let cluster = MockCluster::new("faces", 1);
    let mut rig = Rig::new(&[("uri", &cluster.uri()), ("topic", "fakes"), ("flush-timeout", "0")]);
    rig.wait_for("disconnected");
    let warnings = rig.warnings();
    assert!(warnings[0].contains("no topic fakes") && warnings[0].contains("Create it"), "{warnings:?}");
}

#[test]
fn a_broker_that_is_away_costs_nothing_within_the_queue() {
    let mut cluster = MockCluster::new("faces", 1);
    let mut rig = Rig::new(&[("uri", &cluster.uri()), ("topic", "faces")]);
    rig.push(0..100);
    rig.wait_for("connected");
    assert_eq!(once(&cluster.messages("faces", None, 100)), (0..100).collect::<Vec<_>>());
    // The answer to them may still be on its way.
    rig.wait_until_published(100);
    cluster.tell("down");
    rig.push(100..300);
    assert_eq!((rig.count("lost"), rig.count("queued")), (0, 200));
    cluster.tell("up");
    rig.push_event(gst::event::Eos::new());
    rig.stop();
    assert_eq!((rig.count("published"), rig.count("lost")), (300, 0));
    assert_eq!(once(&cluster.messages("faces", None, 300)), (0..300).collect::<Vec<_>>());
}

#[test]
fn beyond_the_queue_losses_are_counted_and_told() {
    let mut cluster = MockCluster::new("faces", 1);
    cluster.tell("down");
    let mut rig = Rig::new(&[("uri", &cluster.uri()), ("topic", "faces"), ("max-queued-records", "30")]);
    rig.push(0..100);
    rig.wait_for("losing");
    assert_eq!((rig.count("lost"), rig.count("queued")), (70, 30));
    cluster.tell("up");
    assert_eq!(rig.wait_for("recovered").get::<u64>("lost").unwrap(), 70);
    rig.stop();
    assert_eq!((rig.count("published"), rig.count("lost")), (30, 70));
    assert_eq!(once(&cluster.messages("faces", None, 30)), (70..100).collect::<Vec<_>>());
}

#[test]
fn requests_that_are_too_large_are_cut_and_a_record_that_is_costs_itself_only() {
    const PRODUCE: i16 = 0;
    const TOO_LARGE: i16 = 10;
    let mut cluster = MockCluster::new("faces", 1);
    cluster.tell("down");
    let mut rig = Rig::new(&[("uri", &cluster.uri()), ("topic", "faces")]);
    rig.push(0..4);
    // The four together, the first two, the first.
    cluster.tell(&format!("refuse {PRODUCE} {TOO_LARGE} {TOO_LARGE} {TOO_LARGE}"));
    cluster.tell("up");
    rig.wait_for("losing");
    rig.wait_for("recovered");
    rig.stop();
    assert_eq!((rig.count("published"), rig.count("lost")), (3, 1));
    assert!(rig.warnings().iter().any(|text| text.contains("does not take one")));
    assert_eq!(once(&cluster.messages("faces", None, 3)), [1, 2, 3]);
}

#[test]
fn a_leader_that_has_moved_is_found() {
    const PRODUCE: i16 = 0;
    const NOT_LEADER: i16 = 6;
    let mut cluster = MockCluster::new("faces", 1);
    cluster.tell(&format!("refuse {PRODUCE} {NOT_LEADER}"));
    let mut rig = Rig::new(&[("uri", &cluster.uri()), ("topic", "faces")]);
    rig.push(0..10);
    rig.stop();
    assert_eq!((rig.count("published"), rig.count("lost")), (10, 0));
    assert_eq!(once(&cluster.messages("faces", None, 10)), (0..10).collect::<Vec<_>>());
}

#[test]
fn keys_choose_the_partition_that_others_would_choose() {
    let cluster = MockCluster::new("faces", 7);
    for key in ["a", "studio-1", "studio-2", "a name that is rather long"] {
        let mut rig = Rig::new(&[("uri", &cluster.uri()), ("topic", "faces"), ("key", key)]);
        rig.push(0..3);
        rig.stop();
        assert_eq!(rig.count("published"), 3, "{key}");
        let mut kcat = Command::new("bash");
        kcat.args(["-c", "printf '%s\\t%s\\n' \"$1\" \"$2\" | timeout 60 kcat -P -q -b \"$3\" -t faces -K '\t' -X topic.partitioner=murmur2"]);
        assert!(kcat.args(["kcat", key, &line(3), &cluster.broker]).status().unwrap().success());
    }
    let messages = cluster.messages("faces", None, 16);
    for key in ["a", "studio-1", "studio-2", "a name that is rather long"] {
        let mine: Vec<_> = messages.iter().filter(|(_, other, _)| other == key).collect();
        assert_eq!(mine.len(), 4, "{key}");
        assert!(mine.iter().all(|(partition, ..)| *partition == mine[0].0), "{key}: {mine:#?}");
    }
}

#[test]
fn without_a_key_an_element_keeps_to_one_partition() {
    let cluster = MockCluster::new("faces", 7);
    let mut rig = Rig::new(&[("uri", &cluster.uri()), ("topic", "faces"), ("client-id", "studio")]);
    rig.push(0..1000);
    rig.stop();
    let messages = cluster.messages("faces", None, 1000);
    assert!(messages.iter().all(|(partition, key, _)| *partition == messages[0].0 && key.is_empty()));
    assert_eq!(once(&messages), (0..1000).collect::<Vec<_>>());
}
