//! Weights from files of other libraries: the one place that knows how they name the tensors of the same networks.
//!
//! The names here are torchvision's where it has the network, else timm's; F3Net, which neither has, is also begun from an Xception.
//! timm has the same residual networks and VGG under the same names; its
//! inverted residual networks are translated:
//!
//! | here, as torchvision | timm |
//! |---|---|
//! | `features.0.0`, `features.0.1` | `conv_stem`, `bn1` |
//! | `features.S.B.block` (EfficientNet), `features.I.block` (MobileNetV3) | `blocks.S-1.B`; stages of 1, 2, 3, 2, 3 blocks |
//! | in a block: expansion, depthwise, projection, each `K.0` and `K.1` | `conv_pw`, `conv_dw`, `conv_pwl` with `bn1` to `bn3`; without expansion `conv_dw`, `conv_pw` with `bn1`, `bn2` |
//! | in a block: `K.fc1`, `K.fc2` | `se.conv_reduce`, `se.conv_expand` |
//! | the last `features.N.0`, `features.N.1` | `conv_head`, `bn2` (EfficientNet), `blocks.5.0.conv`, `blocks.5.0.bn1` (MobileNetV3) |

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tch::{Tensor, no_grad};

use super::{Backbone, HEAD, Net, Op, Params};
use crate::config::{Input, Model};
use crate::error::{Error, Result};

/// Blocks of the stages of timm's MobileNetV3-small.
const MOBILENET_STAGES: [usize; 5] = [1, 2, 3, 2, 3];

/// What trainers put before all names.
const PREFIXES: [&str; 4] = ["module.", "model.", "backbone.", "net."];

/// How a file names its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// As here, which is as torchvision where it has the network, else as timm.
    Own,
    /// As timm.
    Timm,
}

impl std::fmt::Display for Naming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Own => "this program's names (torchvision's, or timm's of networks that torchvision lacks)",
            Self::Timm => "timm's names",
        })
    }
}

/// What was taken over from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// How the file names its tensors.
    pub naming: Naming,
    /// Tensors of the file that have no place here: another head.
    pub left_out: Vec<String>,
    /// Tensors of the network that keep what was drawn: the head.
    pub drawn: Vec<String>,
}

impl std::fmt::Display for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} recognized", self.naming)?;
        if !self.left_out.is_empty() {
            write!(f, "; its head is left out ({})", self.left_out.join(", "))?;
        }
        if !self.drawn.is_empty() {
            write!(f, "; freshly drawn: {}", self.drawn.join(", "))?;
        }
        Ok(())
    }
}

/// One naming of a network.
struct Scheme {
    naming: Naming,
    /// What the names of tensors begin with that have no place here.
    left_out: &'static [&'static str],
    /// What is added to variances there, where it is not what is added here.
    eps: Option<f64>,
    /// Names there to names here, of the body.
    names: BTreeMap<String, String>,
}

fn schemes(backbone: Backbone, params: &Params) -> Vec<Scheme> {
    let body = || params.iter().map(|p| p.name.as_str()).filter(|n| !n.starts_with(HEAD));
    let same = || body().map(|n| (n.to_owned(), n.to_owned())).collect();
    let own = |left_out| Scheme { naming: Naming::Own, left_out, eps: None, names: same() };
    let timm = |left_out, eps, name: &dyn Fn(&str) -> Option<String>| Scheme {
        naming: Naming::Timm,
        left_out,
        eps,
        names: body().filter_map(|n| Some((name(n)?, n.to_owned()))).collect(),
    };
    match backbone {
        Backbone::MobilenetV3Small => {
            let name = |n: &str| {
                timm_inverted(params, n, mobilenet_block, ("features.12.", "blocks.5.0.conv", "blocks.5.0.bn1"))
            };
            vec![own(&[HEAD]), timm(&["conv_head.", "classifier."], Some(1e-5), &name)]
        }
        Backbone::EfficientnetB0 | Backbone::EfficientnetB4 | Backbone::EfficientnetLite0 => {
            let name = |n: &str| timm_inverted(params, n, efficientnet_block, ("features.8.", "conv_head", "bn2"));
            vec![own(&[HEAD]), timm(&["classifier."], None, &name)]
        }
        Backbone::Resnet18 | Backbone::Resnet50 => vec![own(&[HEAD, "fc."])],
        Backbone::Vgg16 | Backbone::Vgg16Bn => vec![own(&[HEAD, "pre_logits.", "head."])],
        Backbone::Xception | Backbone::F3net => vec![own(&[HEAD, "fc."])],
        Backbone::VitSmall | Backbone::VitBase => vec![own(&[HEAD, "head.", "cls_token"])],
    }
}

/// Takes the name of a tensor apart.
type BlockOf = fn(&str) -> Option<(String, String, &str)>;

/// `features.S.B.block.rest`: timm's block, what the names of this one begin with, and the rest.
fn efficientnet_block(name: &str) -> Option<(String, String, &str)> {
    let (block, rest) = name.strip_prefix("features.")?.split_once(".block.")?;
    let (stage, number) = block.split_once('.')?;
    let stage: usize = stage.parse().ok()?;
    Some((format!("blocks.{}.{number}", stage.checked_sub(1)?), format!("features.{block}.block"), rest))
}

/// As [`efficientnet_block`], of `features.I.block.rest`.
fn mobilenet_block(name: &str) -> Option<(String, String, &str)> {
    let (block, rest) = name.strip_prefix("features.")?.split_once(".block.")?;
    let mut number = block.parse::<usize>().ok()?.checked_sub(1)?;
    for (stage, blocks) in MOBILENET_STAGES.into_iter().enumerate() {
        if number < blocks {
            return Some((format!("blocks.{stage}.{number}"), format!("features.{block}.block"), rest));
        }
        number -= blocks;
    }
    None
}

/// timm's name of a tensor of a network of inverted residuals. `last` is what the names of the last convolution and norm begin
/// with here, and what the two are called there.
fn timm_inverted(params: &Params, name: &str, block: BlockOf, last: (&str, &str, &str)) -> Option<String> {
    for (here, convolution, norm) in [("features.0.", "conv_stem", "bn1"), last] {
        if let Some(rest) = name.strip_prefix(here) {
            let (part, what) = rest.split_once('.')?;
            return Some(format!("{}.{what}", if part == "0" { convolution } else { norm }));
        }
    }
    let (there, here, rest) = block(name)?;
    let (part, rest) = rest.split_once('.')?;
    let part: usize = part.parse().ok()?;
    if let Some(what) = rest.strip_prefix("fc1.") {
        return Some(format!("{there}.se.conv_reduce.{what}"));
    }
    if let Some(what) = rest.strip_prefix("fc2.") {
        return Some(format!("{there}.se.conv_expand.{what}"));
    }
    let has = |name: String| params.iter().any(|p| p.name == name);
    // Without an expansion the first convolution is the depthwise one.
    let first = params.iter().find(|p| p.name == format!("{here}.0.0.weight"))?;
    let expands = first.tensor.size().get(1).is_some_and(|&n| n != 1);
    let squeezed_before = (0..part).any(|k| has(format!("{here}.{k}.fc1.weight")));
    let number = part - usize::from(squeezed_before);
    let convolution = match (expands, number) {
        (true, 0) | (false, 1) => "conv_pw",
        (true, 1) | (false, 0) => "conv_dw",
        (true, 2) => "conv_pwl",
        _ => return None,
    };
    let (kind, what) = rest.split_once('.')?;
    Some(if kind == "0" { format!("{there}.{convolution}.{what}") } else { format!("{there}.bn{}.{what}", number + 1) })
}

/// Takes over the weights of a file; see [`Net::load`].
pub(super) fn load(net: &Net, params: &mut Params, tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<Loaded> {
    let wrong = |problem: String| Err(Error::checkpoint(path, problem));
    if tensors.keys().any(|n| n.starts_with("average/")) {
        return wrong("is the checkpoint of a run: start from the `best.safetensors` beside it".to_owned());
    }
    let named = without_prefix(tensors);
    let backbone = net.backbone();
    let mut fitted = owned(&named);
    let fresh = backbone.adapt(&mut fitted, params)?;
    let file: BTreeMap<&str, &Tensor> = fitted.iter().map(|(n, t)| (n.as_str(), t)).collect();
    let scheme = schemes(backbone, params)
        .into_iter()
        .max_by_key(|s| s.names.keys().filter(|n| file.contains_key(n.as_str())).count());
    let Some(scheme) = scheme else {
        return wrong(format!("no naming of {backbone} is known"));
    };
    if let Some(problem) = misfit(&scheme, fresh, params, &file) {
        return wrong(format!("is not the weights of this {backbone}: {problem}{}", looks_like(backbone, &named)?));
    }
    let mut drawn = Vec::new();
    let mut used = BTreeSet::new();
    let there: BTreeMap<&str, &str> =
        scheme.names.iter().map(|(there, here)| (here.as_str(), there.as_str())).collect();
    for param in params.iter_mut() {
        // Which class a head of another library means by which row is not to be known.
        let own_head = scheme.naming == Naming::Own && param.name.starts_with(HEAD);
        let name = there.get(param.name.as_str()).copied().or(own_head.then_some(param.name.as_str()));
        match name.and_then(|n| Some((n, *file.get(n)?))).filter(|(_, t)| t.size() == param.tensor.size()) {
            Some((name, tensor)) => {
                no_grad(|| param.tensor.f_copy_(tensor))?;
                used.insert(name.to_owned());
            }
            None => drawn.push(param.name.clone()),
        }
    }
    if let Some(eps) = scheme.eps {
        adapt_norms(net, params, eps)?;
    }
    let left_out = file.keys().filter(|n| !used.contains(**n)).map(|n| (*n).to_owned()).collect();
    Ok(Loaded { naming: scheme.naming, left_out, drawn })
}

/// Names without what stands before all of them.
fn without_prefix(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<&str, &Tensor> {
    let mut file: BTreeMap<&str, &Tensor> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    while let Some(prefix) = PREFIXES.iter().find(|p| !file.is_empty() && file.keys().all(|n| n.starts_with(**p))) {
        file = file.into_iter().map(|(n, t)| (&n[prefix.len()..], t)).collect();
    }
    file
}

fn owned(file: &BTreeMap<&str, &Tensor>) -> BTreeMap<String, Tensor> {
    file.iter().map(|(n, t)| ((*n).to_owned(), t.shallow_clone())).collect()
}

/// The first thing that does not fit; tensors whose names begin with one of `fresh` may be missing.
fn misfit(scheme: &Scheme, fresh: &[&str], params: &Params, file: &BTreeMap<&str, &Tensor>) -> Option<String> {
    let sizes: BTreeMap<&str, Vec<i64>> = params.iter().map(|p| (p.name.as_str(), p.tensor.size())).collect();
    for param in params.iter() {
        let Some((there, here)) = scheme.names.iter().find(|(_, here)| **here == param.name) else {
            if param.name.starts_with(HEAD) {
                continue;
            }
            return Some(format!("`{}` has no name in {}", param.name, scheme.naming));
        };
        let Some(tensor) = file.get(there.as_str()) else {
            if fresh.iter().any(|prefix| param.name.starts_with(prefix)) {
                continue;
            }
            return Some(format!("`{there}` is missing"));
        };
        if tensor.size() != sizes[here.as_str()] {
            let (found, wanted) = (tensor.size(), &sizes[here.as_str()]);
            return Some(format!("`{there}` has shape {found:?}, the network wants {wanted:?}"));
        }
    }
    let known = |n: &str| scheme.names.contains_key(n) || scheme.left_out.iter().any(|p| n.starts_with(p));
    file.keys().find(|n| !known(n)).map(|n| format!("`{n}` has no place in it"))
}

/// Which published network a file may be of, in words.
fn looks_like(asked: Backbone, file: &BTreeMap<&str, &Tensor>) -> Result<String> {
    for backbone in Backbone::ALL {
        let (_, params) = Net::blank(&Model { backbone, ..Model::default() }, &Input::default())?;
        let mut fitted = owned(file);
        let fresh = backbone.adapt(&mut fitted, &params)?;
        let fitted = fitted.iter().map(|(n, t)| (n.as_str(), t)).collect();
        for scheme in schemes(backbone, &params) {
            if misfit(&scheme, fresh, &params, &fitted).is_none() {
                return Ok(if backbone == asked {
                    format!("; it is the published {backbone}, which `model` does not ask for")
                } else {
                    format!("; it looks like {backbone}: set `model.backbone = \"{backbone}\"`")
                });
            }
        }
    }
    let first: Vec<_> = file.keys().take(3).map(|n| format!("`{n}`")).collect();
    Ok(format!(
        "; it is none of the published networks that are known here either (its first tensors: {}). Names must be those of \
         torchvision or timm; a nested file is taken apart with `safetensors.torch.save_file(torch.load(FILE)[\"state_dict\"], OUT)`",
        first.join(", ")
    ))
}

/// Changes the scales of norms so that they do what they did where `eps` was added to the variance.
fn adapt_norms(net: &Net, params: &mut Params, eps: f64) -> Result<()> {
    for node in net.nodes() {
        if let Op::Norm { weight, variance, eps: here, .. } = &node.op {
            let variance = params.get(*variance);
            let factor = (variance.f_add_scalar(*here)?.f_div(&variance.f_add_scalar(eps)?)?).f_sqrt()?;
            let mut scale = params.get(*weight).shallow_clone();
            let _ = no_grad(|| scale.f_mul_(&factor))?;
        }
    }
    Ok(())
}
