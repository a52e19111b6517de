//! An evaluation in words.

use std::fmt;

use super::outcome::{Evaluation, Level, Standing};

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for model in &self.models {
            writeln!(f, "{}: {}, sha256 {}", model.name, model.file, model.sha256)?;
        }
        writeln!(f, "value [95 % interval by {} draws of source videos]", self.bootstrap)?;
        for result in &self.results {
            let condition = match &result.distortion {
                None => String::new(),
                Some(d) if d.level == 0 => ", as the distorted ones were".to_owned(),
                Some(d) => format!(", {} {}", d.name, d.level),
            };
            writeln!(
                f,
                "\n{} on {}{condition}: {} source videos, {} without a score",
                result.model, result.set, result.sources, result.failed
            )?;
            let count = |l: &Level| format!("{} real, {} fake", l.real, l.fake);
            writeln!(f, "  {:<18} {:<24} videos", "", "frames")?;
            writeln!(f, "  {:<18} {:<24} {}", "", count(&result.frame), count(&result.video))?;
            for ((name, frame), (_, video)) in result.frame.figures.named().iter().zip(result.video.figures.named()) {
                let text = |v: Option<super::Figure>| {
                    v.map_or_else(|| "none: a class is missing".to_owned(), |v| v.to_string())
                };
                writeln!(f, "  {name:<18} {:<24} {}", text(*frame), text(video))?;
            }
            if result.distortion.is_none() {
                writeln!(f, "  {} on it", Standing::of(result.frame.figures.auc.as_ref()).words())?;
            }
        }
        for c in &self.comparisons {
            writeln!(
                f,
                "\n{} minus {} on {}, {} frames of {} source videos that both scored",
                c.model, c.against, c.set, c.frames, c.sources
            )?;
            for (what, difference) in [("frames", &c.frame), ("videos", &c.video)] {
                if let Some(d) = difference {
                    writeln!(f, "  AUC of {what}: {}; better in {:.1} % of the draws", d.auc, 100.0 * d.better)?;
                }
            }
        }
        Ok(())
    }
}
