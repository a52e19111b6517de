//! The pipelines for live video, each against a real peer on loopback: an RTSP server, an RTMP server, an SRT sender, four RTP
//! senders. Frames of the programme are counted: none may be missing, however slow the scores are.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{fails, pipeline, play, records, script, succeeds, tcp_port, times, udp_ports};
use gst::prelude::*;

/// Between two looks at what another process has come to.
const POLL: Duration = Duration::from_millis(10);

/// A service that ends with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Frames of a programme, at their own pace; a key frame a second.
fn programme(frames: u32, size: &str) -> String {
    format!(
        "videotestsrc is-live=true num-buffers={frames} pattern=ball ! video/x-raw,format=I420,{size},framerate=25/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! h264parse"
    )
}

fn system_python() -> Command {
    // Debian's own: the bindings are installed for it.
    Command::new("/usr/bin/python3")
}

#[test]
fn rtsp_comes_in_and_records_go_out() {
    let mut server = system_python()
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/rtsp_server.py"))
        .arg(format!("{} ! rtph264pay name=pay0 config-interval=1", programme(75, "width=320,height=240")))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let _server = Peer(server);
    // It ends by itself where the stream ends.
    let (lines, _) = succeeds(script("rtsp-records.sh").args([address.trim(), "face-source=frame"]));
    let records = records(&lines);
    assert!(records.len() > 5 && records.len() <= 75, "{}", records.len());
    for pair in records.windows(2) {
        assert!(pair[0]["utc"].as_str().unwrap() < pair[1]["utc"].as_str().unwrap());
        assert!(pair[0]["running_time"].as_u64() < pair[1]["running_time"].as_u64());
    }
    assert!(records.iter().all(|r| r["size"]["width"] == 320));
    // The stream does not wait for the first result, and none is known after what is taken for a cut.
    let scored: Vec<_> = records.iter().filter(|r| !r["faces"].is_null()).collect();
    assert!(!scored.is_empty(), "none of {} records", records.len());
    assert!(scored.iter().all(|r| r["mode"] == "live" && r["faces"][0]["score"].is_number()));
}

/// The frames of a rendition, by their times.
fn rendition(folder: &Path, name: &str) -> Vec<gst::ClockTime> {
    let playlist = fs::read_to_string(folder.join(format!("{name}.m3u8"))).unwrap();
    assert!(playlist.starts_with("#EXTM3U") && playlist.contains("#EXT-X-ENDLIST"), "{playlist}");
    let mut all = Vec::new();
    for segment in playlist.lines().filter(|line| line.ends_with(".ts")) {
        all.extend(fs::read(folder.join(segment)).unwrap());
    }
    let whole = folder.join(format!("{name}.ts"));
    fs::write(&whole, all).unwrap();
    times(&format!(
        "filesrc location={} ! tsdemux ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au",
        whole.display()
    ))
}

/// Every frame of the programme is there, as near to the one before it as it was sent. Gives how many there are.
fn check_programme(folder: &Path, records: usize) -> usize {
    let programme = rendition(folder, "programme");
    let frames = programme.len();
    for pair in programme.windows(2) {
        let step = (pair[1] - pair[0]).mseconds();
        // Muxers move a time a little; a missing frame would be 80.
        assert!((20..65).contains(&step), "{step} ms between two frames");
    }
    let scored = rendition(folder, "scored").len();
    assert!(scored > 0 && scored <= frames, "{scored} frames are scored");
    assert_eq!(records, scored);
    println!("{frames} frames of the programme, {scored} scored");
    frames
}

/// Scoring that no machine does at the pace of the programme: the largest faces and the smallest are looked for.
const SLOW: &str = "min-face-size=1";

#[test]
fn rtmp_comes_in_and_hls_goes_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let port = tcp_port();
    let callback = TcpListener::bind("127.0.0.1:0").unwrap();
    fs::write(
        folder.join("nginx.conf"),
        format!(
            "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n\
             daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/error.log;\n\
             events {{ }}\n\
             rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; on_play http://{1}/; }} }} }}\n",
            folder.display(),
            callback.local_addr().unwrap()
        ),
    )
    .unwrap();
    let nginx = Command::new("/usr/sbin/nginx")
        .arg("-e")
        .arg(folder.join("error.log"))
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"))
        .spawn();
    let _nginx = Peer(nginx.unwrap());
    let address = format!("rtmp://127.0.0.1:{port}/live/programme");
    let out = folder.join("out");
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(120), "nginx does not listen");
        std::thread::sleep(POLL);
    }
    let mut run = script("live-hls.sh")
        .arg(&address)
        .arg(&out)
        .args(["--keep", SLOW])
        .env("IDLE_SECONDS", "60")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // nginx asks before it lets somebody play: from then on, all that is sent is for the pipeline.
    callback.set_nonblocking(true).unwrap();
    let mut asking = loop {
        match callback.accept() {
            Ok((asking, _)) => break asking,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(run.try_wait().unwrap().is_none(), "it ended before it asked for the programme");
        std::thread::sleep(POLL);
    };
    asking.set_nonblocking(false).unwrap();
    let mut head = BufReader::new(asking.try_clone().unwrap());
    let mut line = String::new();
    while head.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    asking.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    drop((asking, head));

    let frames = 100;
    play(&pipeline(&format!(
        "{} ! flvmux streamable=true latency=2000000000 name=mux ! rtmp2sink location={address} \
         audiotestsrc is-live=true num-buffers=172 ! audio/x-raw,rate=44100,channels=2 ! avenc_aac ! aacparse ! mux.",
        programme(frames, "width=1280,height=720")
    )));
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let records = records(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(check_programme(&out, records.len()), frames as usize);
    let sound = times(&format!("filesrc location={}/programme.ts ! tsdemux ! aacparse", out.display()));
    assert!(sound.len() > 150, "{} packets of sound", sound.len());
    assert!(fs::read_to_string(out.join("index.html")).unwrap().contains("scored.m3u8"));
}

#[test]
fn srt_comes_in_and_hls_goes_out() {
    let folder = tempfile::tempdir().unwrap();
    let [port] = udp_ports();
    // Made first: it may have to build the plugin.
    let mut run = script("live-hls.sh");
    let sender = pipeline(&format!(
        "{} ! mpegtsmux alignment=7 ! srtsink uri=srt://127.0.0.1:{port}?mode=listener wait-for-connection=true latency=2000",
        programme(u32::MAX >> 1, "width=640,height=480")
    ));
    sender.set_state(gst::State::Playing).unwrap();
    let mut run = run
        .arg(format!("srt://127.0.0.1:{port}"))
        .arg(folder.path())
        .args(["--keep", "--silent", SLOW])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Until some seconds of the programme have come, the first of them after the latency.
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let mut count = 0;
    for line in lines.by_ref() {
        count += 1;
        let record = records(&line.unwrap()).remove(0);
        if record["running_time"].as_u64() > Some(7_000_000_000) {
            break;
        }
    }
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    count += lines.count();
    let output = run.wait_with_output().unwrap();
    sender.set_state(gst::State::Null).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let frames = check_programme(folder.path(), count);
    assert!(frames >= 100, "{frames}");
}

#[test]
fn four_rtp_streams_are_watched_in_one_process() {
    let ports = udp_ports::<4>();
    let names = ["studio", "stage", "guest", "remote"];
    let mut monitor = script("rtp-monitor.sh");
    monitor.args(names.iter().zip(ports).map(|(name, port)| format!("{name}={port}")));
    let mut monitor =
        monitor.args(["--", "face-source=frame"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let senders: String = ports
        .iter()
        .enumerate()
        .map(|(n, port)| {
            // Sizes of their own, so that no stream can be taken for another.
            let size = format!("width={},height=120", 160 + 16 * n);
            format!(
                "videotestsrc is-live=true ! video/x-raw,format=I420,{size},framerate=25/1 ! x264enc tune=zerolatency \
                 speed-preset=ultrafast key-int-max=10 ! rtph264pay config-interval=-1 ! udpsink host=127.0.0.1 port={port} "
            )
        })
        .collect();
    let senders = pipeline(&senders);
    senders.set_state(gst::State::Playing).unwrap();

    // Until each was heard of often enough.
    let mut lines = BufReader::new(monitor.stdout.take().unwrap());
    let mut heard = BTreeMap::new();
    while heard.len() < names.len() || heard.values().any(|count| *count < 5) {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended: {heard:?}");
        let record = records(&line).remove(0);
        let name = record["stream"].as_str().unwrap().to_owned();
        let index = names.iter().position(|n| *n == name).unwrap();
        assert_eq!(record["size"]["width"], 160 + 16 * index);
        *heard.entry(name).or_insert(0) += 1;
    }
    assert!(Command::new("kill").args(["-INT", &monitor.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    records(&rest);
    let output = monitor.wait_with_output().unwrap();
    senders.set_state(gst::State::Null).unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

#[test]
fn wrong_addresses_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let said = fails(script("rtsp-records.sh").arg("http://a.example/b"), 1);
    assert!(said.contains("usage: ") && said.contains("rtsp://"), "{said}");
    let said = fails(script("live-hls.sh").arg("udp://:1").arg(folder.path()), 1);
    assert!(said.contains("neither rtmp:// nor srt://"), "{said}");
    let said = fails(script("rtp-monitor.sh").arg("5004"), 1);
    assert!(said.contains("is not NAME=PORT"), "{said}");
    // Nobody is there.
    let address = format!("rtsp://127.0.0.1:{}/none", tcp_port());
    let said = fails(script("rtsp-records.sh").arg(address), 1);
    assert!(said.contains("ERROR") && said.to_lowercase().contains("connect"), "{said}");
}
