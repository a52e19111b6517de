//! What the records of a whole video come to, for a person to read.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::record::{Model, Record, Verdict, clock};

/// Longer lists of faces are cut here; those seen in most frames are kept.
const MOST_TRACKS: usize = 20;

#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) frames: u64,
    pub(crate) first: Option<Duration>,
    pub(crate) last: Option<Duration>,
    scored: u64,
    sum: f64,
    highest: f64,
    /// Of the newest frame that was scored: the element averages a track over its life.
    pub(crate) score: Option<f64>,
    pub(crate) verdict: Verdict,
}

impl Track {
    /// Mean of the scores of its frames.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.scored > 0).then(|| self.sum / self.scored as f64)
    }

    /// Highest score of a frame.
    pub(crate) fn highest(&self) -> Option<f64> {
        (self.scored > 0).then_some(self.highest)
    }
}

/// Gathers the records of a video.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) name: String,
    /// How long it took to score it.
    pub(crate) elapsed: Duration,
    /// Was it cut off before the end of the video?
    pub(crate) partial: bool,
    pub(crate) frames: u64,
    frames_with_faces: u64,
    pub(crate) tracks: BTreeMap<u64, Track>,
    pub(crate) not_scored: BTreeMap<String, u64>,
    pub(crate) missing: BTreeMap<String, u64>,
    pub(crate) models: Vec<Model>,
}

impl Summary {
    /// Of the video that is called so.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Takes in one record.
    pub(crate) fn add(&mut self, record: &Record) {
        let time = record.time();
        self.frames += 1;
        if let Some(reason) = &record.missing {
            *self.missing.entry(reason.clone()).or_default() += 1;
        }
        if let Some(model) = &record.model
            && !self.models.contains(model)
        {
            self.models.push(model.clone());
        }
        let faces = record.faces.as_deref().unwrap_or_default();
        self.frames_with_faces += u64::from(!faces.is_empty());
        for face in faces {
            let track = self.tracks.entry(face.track).or_insert_with(|| Track {
                frames: 0,
                first: time,
                last: None,
                scored: 0,
                sum: 0.,
                highest: 0.,
                score: None,
                verdict: Verdict::Undecided,
            });
            track.frames += 1;
            track.last = time.or(track.last);
            track.verdict = face.verdict;
            track.score = face.score.or(track.score);
            if let Some(score) = face.frame_score {
                track.scored += 1;
                track.sum += score;
                track.highest = track.highest.max(score);
            }
            if let Some(reason) = &face.not_scored {
                *self.not_scored.entry(reason.clone()).or_default() += 1;
            }
        }
    }

    /// Frames, and what part of all they are.
    pub(crate) fn share(&self, frames: u64) -> String {
        format!("{frames} ({:.0} %)", 100. * frames as f64 / self.frames.max(1) as f64)
    }

    /// The share of frames with faces.
    pub(crate) fn with_faces(&self) -> String {
        self.share(self.frames_with_faces)
    }

    /// The faces, those first whom the video shows most.
    pub(crate) fn most_seen(&self) -> Vec<(u64, &Track)> {
        let mut tracks: Vec<_> = self.tracks.iter().map(|(id, track)| (*id, track)).collect();
        tracks.sort_by_key(|(id, track)| (std::cmp::Reverse(track.frames), *id));
        tracks
    }

    /// A line of column names and one of this video, as CSV: what a batch makes its table of.
    ///
    /// The verdict, score and face are those of the face that scored highest among those with a verdict, else among all.
    ///
    /// # Errors
    ///
    /// Never: memory takes everything.
    pub(crate) fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        let decided = |t: &Track| t.verdict != Verdict::Undecided;
        let rank = |t: &Track| (t.verdict == Verdict::Fake, decided(t), t.score.unwrap_or(-1.0));
        let worst = self
            .tracks
            .iter()
            .max_by(|(_, a), (_, b)| rank(a).partial_cmp(&rank(b)).unwrap_or(std::cmp::Ordering::Equal));
        let model = self.models.first();
        let verdicts = |verdict| self.tracks.values().filter(|t| t.verdict == verdict).count().to_string();
        let row = [
            ("video", self.name.clone()),
            ("status", if self.partial { "stopped" } else { "done" }.to_owned()),
            ("verdict", worst.map(|(_, t)| t.verdict.name().to_owned()).unwrap_or_default()),
            ("score", worst.and_then(|(_, t)| t.score).map(|s| format!("{s:.4}")).unwrap_or_default()),
            ("face", worst.map(|(id, _)| id.to_string()).unwrap_or_default()),
            ("faces", self.tracks.len().to_string()),
            ("faces_fake", verdicts(Verdict::Fake)),
            ("faces_real", verdicts(Verdict::Real)),
            ("frames", self.frames.to_string()),
            ("frames_with_faces", self.frames_with_faces.to_string()),
            ("seconds", format!("{:.1}", self.elapsed.as_secs_f64())),
            ("model", model.map(|m| m.name.clone()).unwrap_or_default()),
            ("model_sha256", model.map(|m| m.sha256.clone()).unwrap_or_default()),
            ("provider", model.map(|m| m.provider.clone()).unwrap_or_default()),
            ("problem", String::new()),
        ];
        let mut table = csv::Writer::from_writer(Vec::new());
        table.write_record(row.iter().map(|(name, _)| name))?;
        table.write_record(row.iter().map(|(_, value)| value))?;
        table.into_inner().map_err(|e| csv::Error::from(e.into_error()))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f)?;
        writeln!(f, "{}{}", self.name, if self.partial { " (stopped before its end)" } else { "" })?;
        writeln!(
            f,
            "Frames: {} in {seconds:.1} s, {:.1} a second",
            self.frames,
            self.frames as f64 / seconds.max(1e-3)
        )?;
        writeln!(f, "Frames with faces: {}", self.with_faces())?;

        if self.frames_with_faces == 0 {
            writeln!(
                f,
                "No face was found. The built-in detector finds upright faces from the front; others (YuNet, UltraFace, SCRFD) are\n\
                 taken with --face-model FILE.onnx."
            )?;
        }
        if !self.tracks.is_empty() {
            let tracks = self.most_seen();
            writeln!(f)?;
            writeln!(f, "  face  verdict     score  mean  highest  frames          seen")?;
            for (id, track) in tracks.iter().take(MOST_TRACKS) {
                writeln!(
                    f,
                    "{id:>6}  {:<9}  {:>6}  {:>4}  {:>7}  {:<14}  {}",
                    loud(track.verdict),
                    number(track.score),
                    number(track.mean()),
                    number(track.highest()),
                    self.share(track.frames),
                    span(track.first, track.last),
                )?;
            }
            if let Some((_, next)) = tracks.get(MOST_TRACKS) {
                writeln!(f, "  and {} more, each in at most {} frames", tracks.len() - MOST_TRACKS, next.frames)?;
            }
            writeln!(f)?;
            writeln!(
                f,
                "score: of the face over all its frames; mean, highest: of its frames one by one. A face is followed from frame\n\
                 to frame; after a cut, the same person counts as another."
            )?;
        }
        for (reason, count) in &self.not_scored {
            writeln!(f, "Faces not scored: {count} times {reason}")?;
        }
        for (reason, count) in &self.missing {
            writeln!(f, "Frames without a result: {count} times {reason}")?;
        }
        writeln!(f)?;
        for model in &self.models {
            writeln!(f, "Model: {} on {} (sha256 {})", model.name, model.provider, model.sha256)?;
        }
        writeln!(
            f,
            "A score is the model's estimate, from 0 (real) to 1 (fake), that a face was manipulated. It is a hint, not proof:\n\
             manipulations and cameras unlike those that the model was trained on mislead it, both ways."
        )
    }
}

/// A score, or that there is none.
pub(crate) fn number(score: Option<f64>) -> String {
    score.map_or_else(|| "-".to_owned(), |s| format!("{s:.2}"))
}

/// From when to when.
pub(crate) fn span(first: Option<Duration>, last: Option<Duration>) -> String {
    match (first, last) {
        (Some(first), Some(last)) => format!("{} - {}", clock(first), clock(last)),
        _ => "-".to_owned(),
    }
}

/// What is to be looked at stands out.
const fn loud(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fake => "FAKE",
        other => other.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = r#""model":{"name":"m","sha256":"ab","provider":"cpu"}"#;

    fn summary(lines: &[String]) -> Summary {
        let mut summary = Summary::new("clip.mp4");
        summary.elapsed = Duration::from_secs(2);
        for line in lines {
            summary.add(&serde_json::from_str(line).unwrap());
        }
        summary
    }

    fn frame(pts: u64, faces: &str) -> String {
        format!(r#"{{"schema_version":1,"frame":0,"pts":{},"faces":[{faces}],{MODEL}}}"#, pts * 1_000_000)
    }

    fn face(track: u64, score: f64, frame_score: f64, verdict: &str) -> String {
        format!(r#"{{"track":{track},"score":{score},"frame_score":{frame_score},"verdict":"{verdict}"}}"#)
    }

    #[test]
    fn counts_frames_faces_and_scores() {
        let text = summary(&[
            frame(0, &face(1, 0.2, 0.2, "undecided")),
            frame(40, &(face(1, 0.9, 0.6, "fake") + "," + &face(2, 0.1, 0.1, "real"))),
            frame(80, ""),
            frame(65_120, r#"{"track":2,"verdict":"real","not_scored":"too-small"}"#),
        ])
        .to_string();
        assert!(text.contains("clip.mp4\n"), "{text}");
        assert!(text.contains("Frames: 4 in 2.0 s, 2.0 a second"), "{text}");
        assert!(text.contains("Frames with faces: 3 (75 %)"), "{text}");
        assert!(text.contains("     1  FAKE         0.90  0.40     0.60  2 (50 %)        0:00.0 - 0:00.0"), "{text}");
        assert!(text.contains("     2  real         0.10  0.10     0.10  2 (50 %)        0:00.0 - 1:05.1"), "{text}");
        assert!(text.contains("Faces not scored: 1 times too-small"), "{text}");
        assert!(text.contains("Model: m on cpu (sha256 ab)"), "{text}");
    }

    #[test]
    fn the_table_of_a_batch_tells_of_the_worst_face() {
        let csv = summary(&[
            frame(0, &(face(1, 0.95, 0.9, "undecided") + "," + &face(2, 0.8, 0.8, "fake"))),
            frame(40, &face(3, 0.1, 0.1, "real")),
        ])
        .csv()
        .unwrap();
        assert_eq!(
            String::from_utf8(csv).unwrap(),
            "video,status,verdict,score,face,faces,faces_fake,faces_real,frames,frames_with_faces,seconds,model,model_sha256,provider,\
             problem\nclip.mp4,done,fake,0.8000,2,3,1,1,2,2,2.0,m,ab,cpu,\n"
        );
        let csv = summary(&[frame(0, "")]).csv().unwrap();
        assert!(String::from_utf8(csv).unwrap().contains("\nclip.mp4,done,,,,0,0,0,1,0,2.0,m,"));
    }

    #[test]
    fn a_video_without_faces_has_no_table() {
        let text = summary(&[frame(0, "")]).to_string();
        assert!(text.contains("No face was found.") && text.contains("--face-model"), "{text}");
        assert!(text.contains("Frames with faces: 0 (0 %)") && !text.contains("verdict"), "{text}");
    }

    #[test]
    fn a_face_that_never_had_a_score_shows_none() {
        let text = summary(&[frame(0, r#"{"track":7,"verdict":"undecided","not_scored":"too-small"}"#)]).to_string();
        assert!(text.contains("     7  undecided       -     -        -  1 (100 %)"), "{text}");
    }

    #[test]
    fn long_lists_are_cut_after_the_most_seen() {
        let mut lines: Vec<_> = (0..30).map(|track| frame(track, &face(track, 0.5, 0.5, "undecided"))).collect();
        lines.push(frame(31, &face(29, 0.5, 0.5, "undecided")));
        let text = summary(&lines).to_string();
        assert!(text.contains("\n    29  undecided"), "{text}");
        assert!(text.contains("and 10 more, each in at most 1 frames"), "{text}");
    }

    #[test]
    fn frames_without_results_are_told() {
        let text = summary(&[r#"{"pts":0,"missing":"no-scores","faces":null,"model":null}"#.to_owned()]).to_string();
        assert!(text.contains("Frames without a result: 1 times no-scores"), "{text}");
    }
}
