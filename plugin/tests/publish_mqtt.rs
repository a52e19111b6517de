//! `deepfakepublish` and a real MQTT broker with a real subscriber: Debian's mosquitto.

use std::sync::{Arc, Mutex};

use brokers::mosquitto::{Mosquitto, Subscriber};
use brokers::{Certificate, Rig, line};
use deepfake_scoring::geometry::Rect;
use deepfake_scoring::verdict::Verdict;
use gst::prelude::*;
use serde_json::Value;

mod brokers;
mod results;

#[test]
fn a_subscriber_gets_what_a_pipeline_scored() {
    results::init();
    let broker = Mosquitto::new("");
    let mut subscriber = Subscriber::new(&broker, &[]);
    for qos in 0..3 {
        let topic = format!("studio/{qos}");
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc num-buffers=200 name=v ! video/x-raw,width=64,height=48 ! deepfakejson name=j stream-name=studio \
             j.src ! fakesink \
             j.json ! deepfakepublish name=p uri={} topic={topic} qos={qos} flush-timeout=60000",
            broker.uri()
        ))
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
        results::attach(&pipeline.by_name("v").unwrap().static_pad("src").unwrap(), |n| {
            let face = results::face(1, Rect::new(0.25, 0.25, 0.25, 0.5), Verdict::Real, 0.125);
            (n % 3 > 0).then(|| results::scores(n, vec![face]))
        });
        let publish = pipeline.by_name("p").unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let seen = sent.clone();
        publish.static_pad("sink").unwrap().add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let map = info.buffer().unwrap().map_readable().unwrap();
            seen.lock().unwrap().push(serde_json::from_slice::<Value>(&map).unwrap());
            gst::PadProbeReturn::Ok
        });
        pipeline.set_state(gst::State::Playing).unwrap();
        let end = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &end).unwrap();
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
        // All of it was published before the end was told.
        let stats = publish.property::<gst::Structure>("stats");
        let count = |name| stats.get::<u64>(name).unwrap();
        let counts = ["received", "published", "lost", "queued", "connections"].map(count);
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(counts, [200, 200, 0, 0, 1], "qos {qos}");

        let received: Vec<_> = (0..200).map(|_| subscriber.next(&topic)).collect();
        assert_eq!(received, *sent.lock().unwrap(), "qos {qos}");
    }
}

#[test]
fn a_broker_that_is_restarted_costs_nothing_within_the_queue() {
    let mut broker = Mosquitto::new("");
    let mut rig = Rig::new(&[("uri", &broker.uri()), ("topic", "t")]);
    let persistent = ["-c", "-i", "subscriber"];
    let mut subscriber = Subscriber::new(&broker, &persistent);
    rig.push(0..100);
    assert_eq!(subscriber.frames("t", 100), (0..100).collect::<Vec<_>>());
    drop(subscriber);
    rig.wait_for("connected");
    // The subscriber may have a record before the element has its acknowledgement, and then it would come twice.
    rig.wait_until_published(100);

    broker.stop();
    let told = rig.wait_for("disconnected");
    assert!(!told.get::<&str>("error").unwrap().is_empty());
    rig.push(100..300);
    assert_eq!((rig.count("lost"), rig.count("queued")), (0, 200));
    broker.start();
    let mut subscriber = Subscriber::new(&broker, &persistent);
    assert_eq!(subscriber.frames("t", 200), (100..300).collect::<Vec<_>>());
    rig.wait_for("connected");

    rig.push(300..310);
    assert_eq!(subscriber.frames("t", 10), (300..310).collect::<Vec<_>>());
    rig.stop();
    let counts = ["received", "published", "lost", "queued", "connections"].map(|name| rig.count(name));
    assert_eq!(counts, [310, 310, 0, 0, 2]);
}

#[test]
fn a_broker_that_is_killed_in_the_middle_gets_what_it_had_not_acknowledged() {
    let mut broker = Mosquitto::new("");
    let mut rig = Rig::new(&[("uri", &broker.uri()), ("topic", "t")]);
    rig.wait_for("connected");
    rig.push(0..2000);
    broker.kill();
    rig.wait_for("disconnected");
    let before = rig.count("published");
    broker.start();
    rig.wait_for("connected");
    rig.push_event(gst::event::Eos::new());
    rig.stop();
    assert!(before <= 2000);
    assert_eq!((rig.count("published"), rig.count("lost")), (2000, 0));
}

#[test]
fn beyond_the_queue_losses_are_counted_and_told() {
    for (leaky, kept) in [("downstream", 70..100), ("upstream", 0..30)] {
        let mut broker = Mosquitto::new("");
        let persistent = ["-c", "-i", "subscriber"];
        drop(Subscriber::new(&broker, &persistent));
        broker.stop();
        let properties = [("uri", &*broker.uri()), ("topic", "t"), ("leaky", leaky), ("max-queued-records", "30")];
        let mut rig = Rig::new(&properties);
        rig.wait_for("disconnected");
        assert_eq!(rig.warnings().len(), 1, "that the broker is away is told");
        rig.push(0..100);
        let losing = rig.wait_for("losing");
        assert_eq!(losing.get::<u64>("lost").unwrap(), 1);
        assert_eq!((rig.count("lost"), rig.count("queued")), (70, 30));
        let warnings = rig.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("max-queued-records"), "{warnings:?}");

        broker.start();
        let recovered = rig.wait_for("recovered");
        assert_eq!(recovered.get::<u64>("lost").unwrap(), 70);
        let mut subscriber = Subscriber::new(&broker, &persistent);
        assert_eq!(subscriber.frames("t", 30), kept.collect::<Vec<_>>());
        rig.stop();
        assert_eq!((rig.count("published"), rig.count("lost")), (30, 70));
    }
}

#[test]
fn records_go_over_tls_to_whom_the_authority_vouches_for() {
    let certificate = Certificate::new();
    let files = format!("certfile {}\nkeyfile {}", certificate.file().display(), certificate.key().display());
    let broker = Mosquitto::new(&files);
    let ca = certificate.authority().to_str().unwrap().to_owned();
    let mut subscriber = Subscriber::new(&broker, &["--cafile", &ca]);
    let uri = format!("mqtts://localhost:{}", broker.port);
    let mut rig = Rig::new(&[("uri", &uri), ("topic", "t"), ("ca-file", &ca)]);
    rig.push(0..20);
    assert_eq!(subscriber.frames("t", 20), (0..20).collect::<Vec<_>>());
    rig.stop();
    assert_eq!((rig.count("published"), rig.warnings()), (20, vec![]));

    // Another authority, another name than the certificate's, and no TLS at all.
    let stranger = Certificate::new();
    let stranger = stranger.authority();
    for (uri, ca) in [
        (uri.clone(), Some(stranger.to_str().unwrap())),
        (uri.replace("localhost", "127.0.0.1"), Some(&*ca)),
        (broker.uri(), None),
    ] {
        let mut properties = vec![("uri", &*uri), ("topic", "t"), ("flush-timeout", "0")];
        properties.extend(ca.map(|ca| ("ca-file", ca)));
        let mut rig = Rig::new(&properties);
        rig.push(0..5);
        rig.wait_for("disconnected");
        let warnings = rig.warnings();
        assert!(ca.is_none() || warnings[0].contains("certificate"), "{warnings:?}");
        rig.stop();
        assert_eq!((rig.count("published"), rig.count("lost"), rig.count("connections")), (0, 5, 0));
    }
}

#[test]
fn brokers_that_ask_for_a_password_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwords");
    let mut make = std::process::Command::new("mosquitto_passwd");
    assert!(make.arg("-c").arg("-b").arg(&passwords).args(["me", "hunter2"]).status().unwrap().success());
    let broker = Mosquitto::new(&format!("allow_anonymous false\npassword_file {}", passwords.display()));
    let mut subscriber = Subscriber::new(&broker, &["-u", "me", "-P", "hunter2"]);
    let login = |password| [("uri", &*broker.uri()), ("topic", "t"), ("user", "me"), ("password", password)].map(own);
    let mut wrong = Rig::new(&borrow(&login("hunter1")));
    wrong.wait_for("disconnected");
    let warnings = wrong.warnings();
    assert!(warnings[0].contains("user and password"), "{warnings:?}");
    assert!(!warnings[0].contains("hunter1"), "{warnings:?}");

    let mut right = Rig::new(&borrow(&login("hunter2")));
    right.push(0..5);
    assert_eq!(subscriber.frames("t", 5), [0, 1, 2, 3, 4]);
    // It can be written and not read, so that no dump of properties shows it.
    let password = right.element.find_property("password").unwrap();
    assert!(!password.flags().contains(glib::ParamFlags::READABLE));
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn borrow(properties: &[(String, String)]) -> Vec<(&str, &str)> {
    properties.iter().map(|(name, value)| (&**name, &**value)).collect()
}

/// Somebody who accepts connections and never says a word.
fn silence() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("mqtt://{}", listener.local_addr().unwrap());
    (listener, uri)
}

#[test]
fn the_stream_never_waits_for_a_broker_that_says_nothing() {
    let (_listener, uri) = silence();
    let mut rig = Rig::new(&[("uri", &uri), ("topic", "t"), ("max-queued-records", "100")]);
    // Whatever waited for the broker would wait until it is given up, much longer than this takes.
    rig.push(0..1000);
    assert_eq!(["received", "lost", "queued", "connections"].map(|name| rig.count(name)), [1000, 900, 100, 0]);
    // That it is given up may be told too by now, but not before the loss.
    let warnings = rig.warnings();
    assert!(warnings[0].starts_with("Records are lost"), "{warnings:?}");
    assert!(!warnings[1..].iter().any(|text| text.starts_with("Records are lost")), "{warnings:?}");

    rig.element.set_property("flush-timeout", 0u32);
    rig.stop();
    assert_eq!((rig.count("published"), rig.count("lost"), rig.count("queued")), (0, 1000, 0));
    let warnings = rig.warnings();
    assert!(warnings.iter().any(|text| text.contains("100 could not be delivered")), "{warnings:?}");
}

#[test]
fn the_end_of_the_stream_waits_no_longer_than_told() {
    let (_listener, uri) = silence();
    let mut rig = Rig::new(&[("uri", &uri), ("topic", "t"), ("flush-timeout", "1")]);
    rig.push(0..10);
    rig.push_event(gst::event::Eos::new());
    assert_eq!(rig.count("queued"), 10);
}

#[test]
fn a_stop_ends_the_waiting_at_the_end_of_the_stream() {
    let (_listener, uri) = silence();
    let mut rig = Rig::new(&[("uri", &uri), ("topic", "t"), ("flush-timeout", "4294967295")]);
    rig.push(0..10);
    let element = rig.element.clone();
    let (tell, at_the_end) = std::sync::mpsc::channel();
    element.static_pad("sink").unwrap().add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, _| {
        let _ = tell.send(());
        gst::PadProbeReturn::Ok
    });
    std::thread::scope(|scope| {
        scope.spawn(|| rig.push_event(gst::event::Eos::new()));
        at_the_end.recv().unwrap();
        element.set_property("flush-timeout", 0u32);
        element.set_state(gst::State::Null).unwrap();
    });
    assert_eq!(rig.count("lost"), 10);
}

#[test]
fn two_clients_of_one_name_are_told() {
    let broker = Mosquitto::new("");
    let properties = [("uri", &*broker.uri()), ("topic", "t"), ("client-id", "twin")];
    let mut first = Rig::new(&properties);
    first.wait_for("connected");
    let _second = Rig::new(&properties);
    first.wait_for("disconnected");
    assert!(first.warnings()[0].contains("broker"), "what happened is told");
}

#[test]
fn lines_may_come_several_in_a_buffer() {
    let broker = Mosquitto::new("");
    let mut subscriber = Subscriber::new(&broker, &[]);
    let mut rig = Rig::new(&[("uri", &broker.uri()), ("topic", "t")]);
    rig.push_text(&format!("{}\n\n{}\n{}", line(0), line(1), line(2)));
    assert_eq!(subscriber.frames("t", 3), [0, 1, 2]);
    assert_eq!(rig.count("received"), 3);
}

#[test]
fn mistakes_in_the_settings_are_told_before_anything_plays() {
    results::init();
    for (properties, problem) in [
        (vec![], "uri is not set"),
        (vec![("uri", "mqtt://localhost")], "topic is not set"),
        (vec![("uri", "amqp://localhost"), ("topic", "t")], "no scheme that is known"),
        (vec![("uri", "mqtt://me:secret@localhost"), ("topic", "t")], "set user and password"),
        (vec![("uri", "mqtt://localhost"), ("topic", "a/#")], "for subscribers"),
        (vec![("uri", "mqtts://localhost"), ("topic", "t"), ("ca-file", "/nowhere.pem")], "/nowhere.pem"),
    ] {
        let element = gst::ElementFactory::make("deepfakepublish").build().unwrap();
        for (name, value) in properties {
            element.set_property_from_str(name, value);
        }
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        assert!(element.set_state(gst::State::Paused).is_err());
        let message = bus.pop_filtered(&[gst::MessageType::Error]).unwrap();
        let gst::MessageView::Error(error) = message.view() else { unreachable!() };
        assert!(error.error().matches(gst::ResourceError::Settings), "{error:?}");
        assert!(error.error().message().contains(problem), "{error:?}");
        assert!(!format!("{error:?}").contains("secret"));
        element.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn everything_is_described() {
    results::init();
    results::assert_described("deepfakepublish");
}
