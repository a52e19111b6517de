//! `imagenet/convert.py`: a file as PyTorch wrote it before its zip format becomes safetensors that a network starts from.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use deepfake_trainer::config::{Input, Model};
use deepfake_trainer::net::{Backbone, Naming, Net, Role, floats, read_tensors};
use tch::Tensor;

/// Writes such a file: of every line `NAME 1x2x3` of the standard input a tensor whose numbers count up from the line's own number, in
/// columns first, as it is after a transposition. With an argument more, something that would be run stands among them.
const WRITER: &str = r#"
import array, collections, pickle, sys, types

torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
sys.modules.update({"torch": torch, "torch._utils": utils})
class FloatStorage: pass
FloatStorage.__module__ = "torch"
torch.FloatStorage = FloatStorage
def _rebuild_tensor_v2(*_): pass
_rebuild_tensor_v2.__module__ = "torch._utils"
utils._rebuild_tensor_v2 = _rebuild_tensor_v2

class Storage:
    def __init__(self, key, count): self.key, self.count = key, count
class Rebuilt:
    def __init__(self, *parts): self.parts = parts
    def __reduce__(self): return (_rebuild_tensor_v2, self.parts)
class Run:
    def __reduce__(self): return (print, ("this ran",))
class Writer(pickle.Pickler):
    def persistent_id(self, o):
        return ("storage", FloatStorage, o.key, "cpu", o.count, None) if isinstance(o, Storage) else None

found, data = collections.OrderedDict(), []
for number, line in enumerate(sys.stdin):
    name, shape = line.split()
    size = tuple(int(n) for n in shape.split("x"))
    count, stride = 1, []
    for length in size:
        stride.append(count)
        count *= length
    found[name] = Rebuilt(Storage(str(number), count + 1), 1, size, tuple(stride), False, collections.OrderedDict())
    data.append(array.array("f", [-1.0, *(number + i / 1024 for i in range(count))]))
if len(sys.argv) > 2:
    found["worse"] = Run()
with open(sys.argv[1], "wb") as file:
    for what in (119547037146038801333356, 1001, {"little_endian": True}, found, [str(i) for i in range(len(data))]):
        Writer(file, protocol=2).dump(what)
    for numbers in data:
        file.write(len(numbers).to_bytes(8, "little") + numbers.tobytes())
"#;

/// Runs Python with lines on its standard input.
fn python(arguments: &[&str], lines: &str) -> Output {
    use std::io::Write;
    let mut child = Command::new("python3")
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn convert(from: &Path, to: &Path) -> Output {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("imagenet/convert.py");
    python(&[script.to_str().unwrap(), from.to_str().unwrap(), to.to_str().unwrap()], "")
}

/// The name that efficientnet-pytorch has for a tensor of timm's.
fn theirs(name: &str, blocks: &[usize]) -> String {
    let Some(rest) = name.strip_prefix("blocks.") else {
        let (first, what) = name.split_once('.').unwrap();
        let first = match first {
            "conv_stem" => "_conv_stem",
            "bn1" => "_bn0",
            "conv_head" => "_conv_head",
            "bn2" => "_bn1",
            other => panic!("{other}"),
        };
        return format!("{first}.{what}");
    };
    let parts: Vec<_> = rest.splitn(4, '.').collect();
    let (stage, number): (usize, usize) = (parts[0].parse().unwrap(), parts[1].parse().unwrap());
    let part = match (stage > 0, parts[2]) {
        (true, "conv_pw") => "_expand_conv",
        (_, "conv_dw") => "_depthwise_conv",
        (true, "conv_pwl") | (false, "conv_pw") => "_project_conv",
        (true, "bn1") => "_bn0",
        (true, "bn2") | (false, "bn1") => "_bn1",
        (true, "bn3") | (false, "bn2") => "_bn2",
        (_, other) => panic!("{other}"),
    };
    format!("_blocks.{}.{part}.{}", blocks[..stage].iter().sum::<usize>() + number, parts[3])
}

#[test]
fn an_old_file_of_efficientnet_lite0_is_what_the_network_starts_from() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.pth"), folder.path().join("new.safetensors"));
    let golden = include_str!("golden/networks/efficientnet_lite0.json");
    let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
    let timm: Vec<(&str, &str)> = golden["timm"]["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|l| l.as_str().unwrap().split_once(' ').unwrap())
        .collect();
    let lines: String = timm
        .iter()
        .map(|(name, shape)| format!("{} {shape}\n", theirs(name, &[1, 2, 2, 3, 3, 4, 1])))
        .chain(["_fc.weight 1000x1280\n".to_owned(), "_fc.bias 1000\n".to_owned()])
        .collect();
    assert!(python(&["-c", WRITER, old.to_str().unwrap()], &lines).status.success());
    let output = convert(&old, &new);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let tensors = read_tensors(&new).unwrap();
    assert_eq!(tensors.len(), timm.len() + 2);
    let (number, (name, shape)) = timm.iter().enumerate().find(|(_, (n, _))| *n == "conv_stem.weight").unwrap();
    let size: Vec<i64> = shape.split('x').map(|n| n.parse().unwrap()).collect();
    let count = size.iter().product::<i64>();
    // Counted up in columns first.
    let reversed: Vec<i64> = size.iter().rev().copied().collect();
    let expected = Tensor::arange(count, (tch::Kind::Float, tch::Device::Cpu)) / 1024.0 + number as f64;
    let expected = expected.view(reversed.as_slice()).permute([3, 2, 1, 0]);
    assert_eq!(floats(&tensors[*name]).unwrap(), floats(&expected.contiguous()).unwrap());

    let (net, mut params) =
        Net::blank(&Model { backbone: Backbone::EfficientnetLite0, ..Model::default() }, &Input::default()).unwrap();
    let loaded = net.load(&mut params, &tensors, &new).unwrap();
    assert_eq!(loaded.naming, Naming::Timm);
    assert_eq!(loaded.left_out, ["classifier.bias", "classifier.weight"]);
    // What TensorFlow adds to a variance and the network here does not, is in it.
    let variance = params.iter().find(|p| p.name == "features.0.1.running_var").unwrap();
    assert_eq!(variance.role, Role::Statistic);
    let number = timm.iter().position(|(n, _)| *n == "bn1.running_var").unwrap() as f32;
    assert!((floats(&variance.tensor).unwrap()[0] - (number + 0.00099)).abs() < 1e-4);
}

#[test]
fn what_would_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old.pth"), folder.path().join("new.safetensors"));
    assert!(python(&["-c", WRITER, old.to_str().unwrap(), "worse"], "_bn0.weight 32\n").status.success());
    let output = convert(&old, &new);
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        !output.status.success() && !said.contains("this ran") && error.contains("which is no tensor"),
        "{said}{error}"
    );
    assert!(!new.exists());
}
