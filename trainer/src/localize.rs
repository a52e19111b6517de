//! Stage 1: where detectors look. Every training face's class activation maps, one of each member of the zoo, become the map of its
//! primary regions.

use std::path::Path;
use std::sync::atomic::AtomicUsize;

use indicatif::ProgressBar;
use rayon::prelude::*;
use serde_json::json;
use tch::{Device, no_grad};

use crate::checkpoint::RunFolder;
use crate::config::{Config, Localize};
use crate::contact_sheet::{self, Row};
use crate::data::{Face, Label, Pictures};
use crate::error::{Error, Result};
use crate::loader::{Batch, Loader, Showing};
use crate::log::{self, Log};
use crate::maps::{self, FaceMap, Index, Key, Shard, Source};
use crate::net::{Params, floats};
use crate::zoo::{self, Opened};
use crate::{cam, device, fusion, hash, train};

/// Faces a shard: some 4 MiB, and the work that is lost when it is stopped.
const SHARD: usize = 1024;

/// Contact sheets of real faces and of fakes.
pub const SHEETS: [&str; 2] = ["real.png", "fake.png"];

/// Faces that a member looks at together.
const BATCH: usize = 32;

/// Makes the maps of all training faces of `config` with the zoo in `zoo`, and contact sheets of some of them, in `out`; goes on where
/// it was stopped, shard by shard.
///
/// # Errors
///
/// A zoo that is not trained as `config` says; a folder of maps of another zoo or made otherwise; faces, files or libtorch failing.
pub fn localize(config: &Config, zoo: &Path, out: &Path) -> Result<Index> {
    let log = Log::new(&RunFolder::new(out)?)?;
    if config.run.threads > 0 {
        tch::set_num_threads(config.run.threads as i32);
    }
    let members = zoo::open(config, zoo)?;
    let source =
        Source { zoo: members.iter().map(|m| m.detector.clone()).collect(), localize: config.localize.of_maps() };
    let begun = Index::begun(source.clone());
    let found = Index::read(out)?;
    if found.as_ref().is_some_and(|found| found.source != source) {
        return Err(Error::checkpoint(
            out,
            "holds maps of another zoo or made with another `[localize]`: choose another folder",
        ));
    }
    let faces = train::split(config, None)?.train;
    let of = hash::hex(maps::digest(&maps::keys(&faces)?));
    let complete = |found: &Index| {
        let sheets = config.localize.sheet == 0 || out.join(SHEETS[0]).exists() && out.join(SHEETS[1]).exists();
        found.of == of && found.finished() && sheets && found.shards.iter().all(|s| out.join(s).exists())
    };
    if let Some(found) = found.filter(complete) {
        log.say(
            &format!("all maps of {} faces are there", found.faces),
            json!({"event": "kept", "faces": found.faces}),
        );
        return Ok(found);
    }
    begun.write(out)?;

    let (device, words) = device::choose(config.run.device)?;
    log.say(&format!("device: {words}"), json!({"event": "device", "device": words}));
    let budget = AtomicUsize::new(config.data.cache_mib << 20);
    let bar = log::bar(faces.len(), "reading faces");
    let (faces, pictures) = Pictures::load(faces, &budget, config.data.max_unreadable, &bar)?;
    bar.finish_and_clear();
    let keys = maps::keys(&faces)?;
    let stage = Stage::new(&members, config, &faces, &pictures, device)?;
    let bar = log::bar(faces.len(), "localizing");
    let mut support = [Share::default(); 2];
    let mut shards = Vec::new();
    for (number, indices) in (0..faces.len()).collect::<Vec<_>>().chunks(SHARD).enumerate() {
        let name = Shard::file(number);
        let shard = stage.shard(&out.join(&name), &source.digest(), indices, &keys, &bar)?;
        log.note(json!({"event": "shard", "shard": name, "faces": indices.len(), "seconds_left": bar.eta().as_secs()}));
        shards.push(name);
        for (&face, map) in indices.iter().zip(&shard.maps) {
            support[faces[face].label.column() as usize].add(map.support());
        }
    }
    bar.finish_and_clear();
    stage.sheets(out)?;
    let support = support.map(Share::mean);
    let index = Index { shards, faces: faces.len(), of, support, ..begun };
    index.write(out)?;
    let text = format!(
        "maps of {} faces; primary regions cover {:.1} % of a real face and {:.1} % of a fake on average",
        index.faces,
        100.0 * support[0],
        100.0 * support[1]
    );
    log.say(
        &text,
        json!({"event": "done", "faces": index.faces, "support_real": support[0], "support_fake": support[1]}),
    );
    Ok(index)
}

#[derive(Clone, Copy, Default)]
struct Share {
    sum: f64,
    count: usize,
}

impl Share {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn mean(self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

/// All that looks at faces: members, of which there is at least one, with their weights on the device.
struct Stage<'a> {
    members: Vec<(&'a Opened, Params, Loader<'a>)>,
    rule: &'a Localize,
    config: &'a Config,
    faces: &'a [Face],
    device: Device,
}

/// What the members see in one face, and what comes of it.
struct Seen {
    members: Vec<FaceMap>,
    fused: FaceMap,
}

impl<'a> Stage<'a> {
    fn new(
        members: &'a [Opened],
        config: &'a Config,
        faces: &'a [Face],
        pictures: &'a Pictures,
        device: Device,
    ) -> Result<Self> {
        let on_device =
            |m: &'a Opened| Ok((m, m.params.copied(device, false)?, Loader::new(&m.config, faces, pictures)?));
        let members = members.iter().map(on_device).collect::<Result<_>>()?;
        Ok(Self { members, rule: &config.localize, config, faces, device })
    }

    /// The shard in `path`, made where it is not there as it should be.
    fn shard(&self, path: &Path, source: &str, indices: &[usize], keys: &[Key], bar: &ProgressBar) -> Result<Shard> {
        let keys: Vec<Key> = indices.iter().map(|&i| keys[i]).collect();
        if path.exists() {
            let found = Shard::read(path)?;
            if found.source == source && found.keys == keys {
                bar.inc(indices.len() as u64);
                return Ok(found);
            }
        }
        let mut maps = Vec::with_capacity(indices.len());
        self.look(indices, |seen| {
            maps.push(seen.fused);
            bar.inc(1);
        })?;
        let shard = Shard { source: source.to_owned(), keys, maps };
        shard.write(path)?;
        Ok(shard)
    }

    /// Shows faces to all members; hands on what they see, face by face.
    fn look(&self, indices: &[usize], mut each: impl FnMut(Seen)) -> Result<()> {
        let side = self.rule.grid;
        let batches: Vec<Vec<usize>> = indices.chunks(BATCH).map(<[usize]>::to_vec).collect();
        std::thread::scope(|scope| {
            let streams: Vec<_> = self
                .members
                .iter()
                .map(|(m, _, loader)| loader.stream(scope, batches.clone(), m.config.input.size, Showing::Plain).0)
                .collect();
            for batch in &batches {
                let mut maps = Vec::with_capacity(streams.len());
                for ((member, params, _), stream) in self.members.iter().zip(&streams) {
                    let shown = stream.recv().map_err(|_| Error::Training("no more faces to look at".to_owned()))??;
                    maps.push(self.attention(member, params, &shown)?);
                }
                let seen: Vec<Seen> = (0..batch.len())
                    .into_par_iter()
                    .map(|at| {
                        let of_face =
                            |m: &'_ Vec<f32>| -> Vec<f32> { m[at * side * side..(at + 1) * side * side].to_vec() };
                        let own: Vec<Vec<f32>> = maps.iter().map(of_face).collect();
                        let own: Vec<&[f32]> = own.iter().map(Vec::as_slice).collect();
                        let mut fused = vec![0.0; side * side];
                        fusion::fuse(&own, side, self.rule, &mut fused);
                        Seen { members: own.iter().map(|m| kept(m, side)).collect(), fused: kept(&fused, side) }
                    })
                    .collect();
                seen.into_iter().for_each(&mut each);
            }
            Ok(())
        })
    }

    /// The maps of one member, each for the face's own label, on the common grid.
    fn attention(&self, member: &Opened, params: &Params, shown: &Batch) -> Result<Vec<f32>> {
        let (input, labels) = shown.tensors(self.device)?;
        let map = cam::activation(self.rule.cam, &member.net, params, &input, &labels)
            .map_err(|e| Error::Training(format!("zoo member `{}`: {e}", member.detector.name)))?;
        let map = no_grad(|| cam::resized(&cam::scaled(&map)?, self.rule.grid))?;
        let map = floats(&map)?;
        if map.iter().all(|v| v.is_finite()) {
            Ok(map)
        } else {
            Err(Error::Training(format!("zoo member `{}` sees what is no number: train it anew", member.detector.name)))
        }
    }

    /// Writes a contact sheet of each class.
    fn sheets(&self, out: &Path) -> Result<()> {
        if self.rule.sheet == 0 {
            return Ok(());
        }
        for (label, name) in [Label::Real, Label::Fake].into_iter().zip(SHEETS) {
            let all: Vec<usize> = (0..self.faces.len()).filter(|&i| self.faces[i].label == label).collect();
            let every = all.len().div_ceil(self.rule.sheet).max(1);
            let chosen: Vec<usize> = all.into_iter().step_by(every).collect();
            let mut seen = Vec::with_capacity(chosen.len());
            self.look(&chosen, |face| seen.push(face))?;
            let rows = chosen.iter().zip(seen).map(|(&face, Seen { members, fused })| {
                // Every member is shown the same.
                Ok(Row { picture: self.members[0].2.plain(face)?, members, fused })
            });
            let rows = rows.collect::<Result<Vec<_>>>()?;
            let path = out.join(name);
            let sheet = contact_sheet::draw(&rows, label, &self.config.regularize)?;
            sheet.save(&path).map_err(|source| Error::Picture { path, source })?;
        }
        Ok(())
    }
}

fn kept(map: &[f32], side: usize) -> FaceMap {
    let mut bytes = Box::new([0; FaceMap::LEN]);
    fusion::quantize(map, side, FaceMap::SIDE, &mut bytes[..]);
    FaceMap(bytes)
}
