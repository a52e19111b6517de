//! The page, the text track and the table that a run leaves beside its records.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

mod common;

use std::path::Path;

use common::{fails, file, program, records, sample, succeeds};

/// The beginning of the sample, in which a face is seen, under a name that would be markup.
fn clip(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("a <b> & \"c\".mkv");
    let sample = sample();
    file(
        &folder.join("clip.mkv"),
        &format!(
            "filesrc location={} ! decodebin ! identity eos-after=24 ! x264enc speed-preset=ultrafast ! matroskamux",
            sample.display()
        ),
    );
    std::fs::rename(folder.join("clip.mkv"), &path).unwrap();
    path
}

#[test]
fn a_run_leaves_a_page_a_text_track_and_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let video = clip(folder.path());
    let [html, vtt, csv] = ["report.html", "verdicts.vtt", "table.csv"].map(|name| folder.path().join(name));
    let (lines, said) =
        succeeds(program().arg(&video).arg("--report").arg(&html).arg("--webvtt").arg(&vtt).arg("--csv").arg(&csv));
    let records = records(&lines);
    let faces: Vec<usize> = records.iter().map(|r| r["faces"].as_array().unwrap().len()).collect();
    assert!(faces.len() >= 23 && faces.iter().all(|n| *n == 1), "{faces:?}");
    assert!(said.contains("report.html") && said.contains("verdicts.vtt") && said.contains("table.csv"), "{said}");
    let track = &records[0]["faces"][0]["track"];

    let page = std::fs::read_to_string(html).unwrap();
    assert!(page.contains("a &lt;b&gt; &amp; &quot;c&quot;.mkv") && !page.contains("<b> &"));
    assert!(page.contains(&format!("id=\"face-{track}\"")));
    // Self-contained: nothing that a browser would fetch, nothing that it would run.
    for outside in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Highest and lowest score are not in one frame; each has a face and its evidence.
    let jpegs = pictures(&page, "image/jpeg");
    let pngs = pictures(&page, "image/png");
    assert!(jpegs.len() >= 4 && pngs.len() >= 2 && jpegs.len() == 2 * pngs.len(), "{} {}", jpegs.len(), pngs.len());
    let face = image::load_from_memory(&jpegs[0]).unwrap().into_luma8();
    assert_eq!(face.dimensions(), (256, 256));
    let (low, high) = face.pixels().fold((255, 0), |(low, high), p| (p.0[0].min(low), p.0[0].max(high)));
    assert!(high - low > 100, "a face has light and shadow, not {low} to {high}");
    let map = &records[0]["faces"][0]["map"];
    let heat = image::load_from_memory(&pngs[0]).unwrap();
    assert_eq!(
        [heat.width(), heat.height()].map(u64::from),
        ["width", "height"].map(|side| map[side].as_u64().unwrap())
    );
    // What is told of the highest frame is what its record says.
    let highest = records.iter().map(|r| r["faces"][0]["frame_score"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!(page.contains(&format!("<b>{highest:.2}</b> highest score")), "{highest}");

    let vtt = std::fs::read_to_string(vtt).unwrap();
    assert!(vtt.starts_with("WEBVTT\n"), "{vtt}");
    assert!(vtt.contains(&format!("\nface-{track}-1\n00:00:00.000 --> 00:00:0")), "{vtt}");

    let table = std::fs::read_to_string(csv).unwrap();
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("video,status,verdict,score,"));
    let row = lines.next().unwrap();
    assert!(row.contains("a <b> & \"\"c\"\".mkv\",done,") && row.contains(&format!(",{},", records.len())), "{row}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4, "nothing half-written stays");
}

/// What the page carries of a kind.
fn pictures(page: &str, kind: &str) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let begin = format!("data:{kind};base64,");
    let data = page.split(&begin).skip(1).map(|rest| rest.split('"').next().unwrap());
    data.map(|text| base64::engine::general_purpose::STANDARD.decode(text).unwrap()).collect()
}

#[test]
fn a_page_that_cannot_be_written_is_told_before_the_work_and_a_failed_run_leaves_none() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere/report.html");
    let said = fails(program().arg(sample()).arg("--report").arg(&nowhere), 1);
    assert!(said.contains("error: the report cannot be written to") && said.contains("No such file"), "{said}");
    let page = folder.path().join("report.html");
    fails(program().arg(sample()).arg("--report").arg(page).arg("--model=nowhere.onnx"), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
