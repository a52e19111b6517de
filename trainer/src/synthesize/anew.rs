//! Pseudo-fakes that are made anew each time they are shown.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use super::{Place, Places, Recipe, Synthesizer};
use crate::config::{Config, Pseudo, Synthesize};
use crate::data::{Face, Label, Picture, Pictures};
use crate::error::Result;
use crate::{log, seeded};

/// Pictures that a thread looks at once: loading a locator takes as long as using it on some.
const AT_ONCE: usize = 32;

/// Makes those of a list of faces that are pseudo-fakes: fakes whose file is that of a real face, as
/// [`crate::data::with_pseudo_fakes`] adds them.
#[derive(Debug)]
pub struct PseudoFakes<'a> {
    settings: &'a Synthesize,
    seed: u64,
    /// Of each face.
    made: Vec<bool>,
    /// Of each face; those of other fakes are of no use.
    places: Vec<Place>,
}

impl<'a> PseudoFakes<'a> {
    /// Finds the faces in the pictures, which have the same indices; `None` where `data.pseudo` asks for no pseudo-fakes.
    ///
    /// # Errors
    ///
    /// A locator or a manifest that fails, a picture that cannot be read.
    pub fn of(config: &'a Config, faces: &[Face], pictures: &Pictures) -> Result<Option<Self>> {
        if config.data.pseudo == Pseudo::None {
            return Ok(None);
        }
        let reals: Vec<usize> = (0..faces.len()).filter(|&i| faces[i].label == Label::Real).collect();
        let bar = log::bar(reals.len(), "finding landmarks");
        let chunks = reals.par_chunks(AT_ONCE).map(|chunk| {
            let mut places = Places::new(config)?;
            let of = |&i: &usize| {
                bar.inc(1);
                Ok((faces[i].path.as_path(), places.of(&faces[i].path, &*pictures.get(i)?)?))
            };
            chunk.iter().map(of).collect()
        });
        let found: Vec<Vec<(&Path, Place)>> = chunks.collect::<Result<_>>()?;
        bar.finish_and_clear();
        let by_path: HashMap<&Path, Place> = found.into_iter().flatten().collect();
        let known = by_path.values().filter(|p| matches!(p, Place::Landmarks(_))).count();
        tracing::info!("pseudo-fakes: landmarks of {known} of {} real faces", by_path.len());
        let usual = Places::usual_of(config);
        let places = faces.iter().map(|f| by_path.get(f.path.as_path()).copied().unwrap_or(usual)).collect();
        let made = faces.iter().map(|f| f.label == Label::Fake && by_path.contains_key(f.path.as_path())).collect();
        Ok(Some(Self { settings: &config.synthesize, seed: config.seed, made, places }))
    }

    /// The picture of face `own` of the pair of a real face and a fake. A pseudo-fake is made of the pair's real face, by what the
    /// seed, the epoch and that face draw, and where its target is changed the real face is shown changed.
    ///
    /// Without a pair (both of `pair` are `own`) it is made of its own real face, whose colours it keeps outside of the mask, as
    /// nothing is known of what it is shown beside.
    ///
    /// # Errors
    ///
    /// A picture that cannot be read.
    pub fn picture(&self, pictures: &Pictures, own: usize, pair: [usize; 2], epoch: u64) -> Result<Arc<Picture>> {
        let [real, fake] = pair;
        if !self.made[fake] {
            return pictures.get(own);
        }
        let recipe =
            Recipe::draw(self.settings, &mut seeded::generator(self.seed, "synthesize", &[epoch, real as u64]));
        let (face, mut synthesizer) = (pictures.get(real)?, Synthesizer::default());
        if real == fake {
            return Ok(Arc::new(synthesizer.make(&face, &self.places[own], &recipe.on_source())?.fake));
        }
        if own == real {
            return Ok(synthesizer.target(&face, &recipe).map_or(face, Arc::new));
        }
        Ok(Arc::new(synthesizer.make(&face, &self.places[real], &recipe)?.fake))
    }
}
