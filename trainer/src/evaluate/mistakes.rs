//! The faces that a model is most confidently wrong about, as it saw them, with the evidence that misled it.

use std::collections::BTreeSet;
use std::path::Path;

use deepfake_scoring::contract::{Channels, Layout};
use deepfake_scoring::crop::TensorSpec;

use super::condition::Condition;
use super::outcome::{Map, Mistake};
use super::scoring::{Judge, Locators, visit};
use super::set::Set;
use super::table::Scored;
use crate::checkpoint::write_atomically;
use crate::data::Label;
use crate::error::{Error, Result};

/// Side of the pictures that are kept, pixels.
const SIDE: usize = 176;

/// JPEG quality of the pictures that are kept.
const QUALITY: u8 = 88;

/// The worst false alarms and the worst misses among `scored`, so many of each, one a video, false alarms first. Where `folder` is
/// given, what the model saw is written there, into `mistakes/`; files that are there already are not made again.
///
/// # Errors
///
/// A model that does not run, files that cannot be read or written.
pub(super) fn mistakes(
    set: &Set,
    judge: &mut Judge,
    scored: &[Scored],
    count: usize,
    locators: &Locators,
    folder: Option<&Path>,
) -> Result<Vec<Mistake>> {
    let temperature = f64::from(judge.scorer.contract().score.temperature);
    let mut found = Vec::new();
    for label in [Label::Real, Label::Fake] {
        let fake = label == Label::Fake;
        let wrongness = |s: &Scored| if fake { -s.logit } else { s.logit };
        let mut worst: Vec<&Scored> =
            scored.iter().filter(|s| set.items[s.item].label == label && (s.logit >= 0.0) != fake).collect();
        worst.sort_by(|a, b| wrongness(b).total_cmp(&wrongness(a)).then(a.item.cmp(&b.item)));
        let mut videos = BTreeSet::new();
        worst.retain(|s| {
            let face = &set.items[s.item];
            videos.insert((&face.source, &face.video))
        });
        for s in worst.into_iter().take(count) {
            let (picture, map) = evidence(set, judge, s, locators, folder)?;
            let file = set.items[s.item].path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let score = crate::metrics::sigmoid(s.logit / temperature);
            found.push(Mistake { file, frame: s.frame, fake, score, picture, map });
        }
    }
    Ok(found)
}

/// Name of the written picture, and the map.
fn evidence(
    set: &Set,
    judge: &mut Judge,
    scored: &Scored,
    locators: &Locators,
    folder: Option<&Path>,
) -> Result<(Option<String>, Option<Map>)> {
    let name = format!("mistakes/{}-{}-{}-{}", &judge.digest[..12], &set.digest[..12], scored.item, scored.frame);
    let (picture, map) = (format!("{name}.jpg"), format!("{name}.json"));
    if let Some(folder) = folder
        && let Ok(text) = std::fs::read(folder.join(&map))
        && folder.join(&picture).is_file()
        && let Ok(map) = serde_json::from_slice(&text)
    {
        return Ok((Some(picture), map));
    }
    let shown = TensorSpec {
        layout: Layout::Nhwc,
        width: SIDE,
        height: SIDE,
        channels: Channels::Rgb,
        scale: 1.0,
        mean: [0.0; 3],
        std: [1.0; 3],
    };
    let crop = judge.scorer.contract().crop.clone();
    let wanted = [(*judge.scorer.spec(), crop.clone()), (shown, crop)];
    let mut cut = None;
    visit(set, scored.item, Condition::default(), &mut |seen| {
        if seen.frame == scored.frame {
            cut = seen.cut(locators, &wanted)?;
        }
        Ok(())
    })?;
    // None: the file has changed since its digest was taken.
    let Some([tensor, pixels]) = cut.and_then(|c| <[Vec<f32>; 2]>::try_from(c).ok()) else {
        return Ok((None, None));
    };
    judge.scorer.crop_mut(0).copy_from_slice(&tensor);
    judge.scorer.run(1, None)?;
    let said = judge.scorer.evidence(0).ok().and_then(|e| e.map);
    let said = said.map(|m| Map { width: m.width, height: m.height, values: m.values.to_vec() });
    let Some(folder) = folder else {
        return Ok((None, said));
    };
    let bytes: Vec<u8> = pixels.iter().map(|v| v.round() as u8).collect();
    let mut jpeg = Vec::new();
    let side = SIDE as u32;
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .encode(&bytes, side, side, image::ExtendedColorType::Rgb8)
        .map_err(|source| Error::Picture { path: folder.join(&picture), source })?;
    let inside = folder.join("mistakes");
    std::fs::create_dir_all(&inside).map_err(Error::io(&inside))?;
    write_atomically(&folder.join(&picture), &jpeg)?;
    let text = serde_json::to_vec(&said).map_err(|e| Error::Data(e.to_string()))?;
    write_atomically(&folder.join(&map), &text)?;
    Ok((Some(picture), said))
}
