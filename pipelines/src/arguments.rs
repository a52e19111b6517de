//! The command line, made from the element's own properties.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command, value_parser};
use gst::prelude::*;

/// The environment variable that names the video to score where the command line names none.
pub(crate) const SAMPLE_VARIABLE: &str = "DEEPFAKE_SAMPLE";

const VIDEO: &str = "VIDEO";

/// A file that is written beside the records.
struct Extra {
    option: &'static str,
    extension: &'static str,
    help: &'static str,
}

const OVERLAY: Extra = Extra {
    option: "overlay",
    extension: "mp4",
    help: "Also write the video with the scores drawn into it (H.264, sound as AAC)",
};
const REPORT: Extra = Extra {
    option: "report",
    extension: "html",
    help: "Also write a page to look at: timeline, faces and evidence, all in one file",
};
const WEBVTT: Extra = Extra {
    option: "webvtt",
    extension: "vtt",
    help: "Also write the verdicts as a text track that players show beside the video",
};
const CSV: Extra = Extra { option: "csv", extension: "csv", help: "Also write the summary as a table of one row" };

/// What the user asks for.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// The video, as a URI.
    pub(crate) uri: glib::GString,
    /// The video, as the user wrote it.
    pub(crate) name: String,
    /// Where to write the video with the scores drawn into it.
    pub(crate) overlay: Option<PathBuf>,
    /// Where to write the page.
    pub(crate) report: Option<PathBuf>,
    /// Where to write the verdicts as a text track.
    pub(crate) webvtt: Option<PathBuf>,
    /// Where to write the summary as a table.
    pub(crate) csv: Option<PathBuf>,
    /// Properties for the element.
    pub(crate) properties: Vec<(String, glib::Value)>,
}

impl Arguments {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// As clap's, with its own exit codes; help and version are among them.
    pub(crate) fn parse(
        element: &gst::Element,
        words: impl IntoIterator<Item = OsString>,
        sample: Option<OsString>,
    ) -> Result<Self, clap::Error> {
        let properties = properties(element);
        let mut command = command(element, &properties);
        let matches = command.try_get_matches_from_mut(words)?;

        let video = matches.get_one::<OsString>(VIDEO).cloned().or(sample).ok_or_else(|| {
            command.error(ErrorKind::MissingRequiredArgument, format!("no VIDEO, and no sample in {SAMPLE_VARIABLE}"))
        })?;
        let uri = uri(&video).map_err(|problem| command.error(ErrorKind::ValueValidation, problem))?;
        let [overlay, report, webvtt, csv] =
            [OVERLAY, REPORT, WEBVTT, CSV].map(|extra| (matches.get_one::<PathBuf>(extra.option).cloned(), extra));
        for (path, extra) in [&overlay, &report, &webvtt, &csv] {
            if let Some(path) = path {
                check(path, extra, Path::new(&video))
                    .map_err(|problem| command.error(ErrorKind::ValueValidation, problem))?;
            }
        }
        let properties = properties
            .iter()
            .filter_map(|property| set_value(&matches, property).transpose())
            .collect::<Result<_, _>>()
            .map_err(|problem| command.error(ErrorKind::ValueValidation, problem))?;
        Ok(Self {
            uri,
            name: video.to_string_lossy().into_owned(),
            overlay: overlay.0,
            report: report.0,
            webvtt: webvtt.0,
            csv: csv.0,
            properties,
        })
    }

    /// Sets the properties on the element.
    pub(crate) fn configure(&self, element: &gst::Element) {
        for (name, value) in &self.properties {
            element.set_property_from_value(name, value);
        }
    }

    /// Is the value of that property, where the user set it, the one of that nick?
    pub(crate) fn is(&self, property: &str, nick: &str) -> bool {
        self.properties.iter().any(|(name, value)| {
            name == property && glib::EnumValue::from_value(value).is_some_and(|(_, v)| v.nick() == nick)
        })
    }
}

/// What the element itself has, without what its bases have.
fn properties(element: &gst::Element) -> Vec<glib::ParamSpec> {
    element
        .list_properties()
        .iter()
        .filter(|p| p.owner_type() == element.type_() && p.flags().contains(glib::ParamFlags::WRITABLE))
        .cloned()
        .collect()
}

fn command(element: &gst::Element, properties: &[glib::ParamSpec]) -> Command {
    let factory = element.factory().map(|f| f.name().to_string()).unwrap_or_default();
    Command::new("deepfake-score")
        .bin_name("pipelines/score.sh")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Scores the faces of a video for being deepfakes: one JSON line a frame on stdout, progress and a summary on \
             stderr.",
        )
        .arg(
            Arg::new(VIDEO)
                .value_parser(value_parser!(OsString))
                .help("File or URI of the video; without it, the sample that comes with the project"),
        )
        .args([OVERLAY, REPORT, WEBVTT, CSV].map(|extra| {
            Arg::new(extra.option)
                .long(extra.option)
                .value_name(format!("OUT.{}", extra.extension))
                .value_parser(value_parser!(PathBuf))
                .help(extra.help)
        }))
        .next_help_heading(format!("Properties of {factory}"))
        .args(properties.iter().map(|p| option(element, p)))
}

fn option(element: &gst::Element, property: &glib::ParamSpec) -> Arg {
    let name = property.name().to_owned();
    let mut help = property.blurb().unwrap_or_default().to_owned();
    let default = element.property_value(&name);
    if let Some(default) = readable(&default) {
        help.push_str(&format!(" [default: {default}]"));
    }
    let option = Arg::new(name.clone()).long(name).help(help).allow_negative_numbers(true);
    if let Some(values) = glib::EnumClass::with_type(property.value_type()) {
        let values = values.values().iter().map(|v| PossibleValue::new(v.nick().to_owned()).help(v.name().to_owned()));
        return option.value_name("CHOICE").value_parser(PossibleValuesParser::new(values));
    }
    if property.value_type() == glib::Type::BOOL {
        let on = PossibleValue::new("true").aliases(["on", "yes", "1"]);
        let off = PossibleValue::new("false").aliases(["off", "no", "0"]);
        return option.value_name("BOOL").value_parser(PossibleValuesParser::new([on, off]));
    }
    option.value_name(if property.value_type() == glib::Type::STRING { "TEXT" } else { "NUMBER" })
}

/// A default as the user would write it.
fn readable(value: &glib::Value) -> Option<String> {
    if let Some((_, value)) = glib::EnumValue::from_value(value) {
        return Some(value.nick().to_owned());
    }
    match value.get::<Option<String>>() {
        Ok(text) => text.filter(|t| !t.is_empty()),
        Err(_) => value.serialize().ok().map(Into::into),
    }
}

/// The value for a property, where the user gives one.
fn set_value(matches: &ArgMatches, property: &glib::ParamSpec) -> Result<Option<(String, glib::Value)>, String> {
    let name = property.name();
    let Some(text) = matches.get_one::<String>(name) else {
        return Ok(None);
    };
    let value = if property.value_type() == glib::Type::STRING {
        Ok(text.to_value())
    } else if property.value_type() == glib::Type::BOOL {
        Ok(["true", "on", "yes", "1"].contains(&text.as_str()).to_value())
    } else {
        number(property, text).unwrap_or_else(|| {
            glib::Value::deserialize_with_pspec(text, property)
                .map_err(|_| format!("it is no {}", property.value_type()))
        })
    };
    value.map(|v| Some((name.to_owned(), v))).map_err(|problem| format!("--{name} {text}: {problem}"))
}

/// A number within the property's range: GObject would only warn, and keep the old value. None where it is no number.
fn number(property: &glib::ParamSpec, text: &str) -> Option<Result<glib::Value, String>> {
    macro_rules! of {
        ($spec:ty, $number:ty) => {
            if let Some(p) = property.downcast_ref::<$spec>() {
                return Some(within::<$number>(text, p.minimum()..=p.maximum()));
            }
        };
    }
    of!(glib::ParamSpecUInt, u32);
    of!(glib::ParamSpecInt, i32);
    of!(glib::ParamSpecUInt64, u64);
    of!(glib::ParamSpecInt64, i64);
    of!(glib::ParamSpecFloat, f32);
    of!(glib::ParamSpecDouble, f64);
    None
}

fn within<T>(text: &str, range: RangeInclusive<T>) -> Result<glib::Value, String>
where
    T: std::str::FromStr + std::fmt::Display + PartialOrd + Into<glib::Value>,
{
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number.into()),
        _ => Err(format!("not a number from {} to {}", range.start(), range.end())),
    }
}

fn uri(video: &OsString) -> Result<glib::GString, String> {
    if let Some(text) = video.to_str()
        && let Some((protocol, _)) = text.split_once("://")
        && protocol.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    {
        return Ok(text.into());
    }
    let path = Path::new(video);
    let file = std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let metadata = file.metadata().map_err(|e| format!("{}: {e}", path.display()))?;
    if metadata.is_dir() {
        return Err(format!("{} is a folder, not a video", path.display()));
    }
    if metadata.is_file() && metadata.len() == 0 {
        return Err(format!("{} is empty", path.display()));
    }
    let path = std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))?;
    glib::filename_to_uri(&path, None).map_err(|e| format!("{}: {e}", path.display()))
}

fn check(path: &Path, extra: &Extra, video: &Path) -> Result<(), String> {
    let Extra { option, extension, .. } = extra;
    if !path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension)) {
        return Err(format!("--{option} {}: name it .{extension}, for that is what is written", path.display()));
    }
    // The same file under another name, too.
    if let (Ok(a), Ok(b)) = (path.canonicalize(), video.canonicalize())
        && a == b
    {
        return Err(format!("--{option} {} is the video itself", path.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element of GStreamer's own with properties of every kind stands in: what is tested is the reading.
    fn parse(element: &str, words: &[&str]) -> Result<Arguments, clap::Error> {
        gst::init().unwrap();
        let element = gst::ElementFactory::make(element).build().unwrap();
        let words = ["score"].iter().chain(words).map(OsString::from);
        let arguments = Arguments::parse(
            &element,
            words,
            Some(OsString::from(env!("CARGO_MANIFEST_DIR").to_owned() + "/Cargo.toml")),
        )?;
        arguments.configure(&element);
        Ok(arguments)
    }

    fn refusal(element: &str, words: &[&str]) -> String {
        parse(element, words).expect_err("refused").to_string()
    }

    #[test]
    fn properties_are_options_in_both_spellings() {
        let arguments = parse("identity", &["--sync", "on", "--sleep-time=7", "--drop-probability", "0.5"]).unwrap();
        let names: Vec<_> = arguments.properties.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        let value = |name: &str| &arguments.properties.iter().find(|(n, _)| n == name).unwrap().1;
        assert!(value("sync").get::<bool>().unwrap());
        assert_eq!(value("sleep-time").get::<u32>().unwrap(), 7);
        assert_eq!(value("drop-probability").get::<f32>().unwrap(), 0.5);
    }

    #[test]
    fn choices_are_told_by_their_nicks() {
        let arguments = parse("videotestsrc", &["--pattern", "snow"]).unwrap();
        assert!(arguments.is("pattern", "snow"));
        assert!(!arguments.is("pattern", "ball"));
        let refusal = refusal("videotestsrc", &["--pattern", "plaid"]);
        assert!(refusal.contains("plaid") && refusal.contains("snow"), "{refusal}");
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest() {
        let refusal = refusal("identity", &["--slep-time=7"]);
        assert!(refusal.contains("--sleep-time"), "{refusal}");
    }

    #[test]
    fn a_number_outside_of_its_range_is_refused_with_the_range() {
        let refusal = refusal("identity", &["--drop-probability=1.5"]);
        assert!(refusal.contains("from 0 to 1"), "{refusal}");
        let refusal = super::tests::refusal("identity", &["--sleep-time=soon"]);
        assert!(refusal.contains("soon"), "{refusal}");
    }

    #[test]
    fn properties_of_the_base_classes_are_not_offered() {
        assert!(refusal("identity", &["--name=x"]).contains("--name"));
    }

    #[test]
    fn a_video_that_cannot_be_read_is_refused_before_anything_starts() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none.mp4");
        assert!(refusal("identity", &[missing.to_str().unwrap()]).contains("No such file"));
        assert!(refusal("identity", &[folder.path().to_str().unwrap()]).contains("is a folder"));
        let empty = folder.path().join("empty.mp4");
        std::fs::write(&empty, "").unwrap();
        assert!(refusal("identity", &[empty.to_str().unwrap()]).contains("is empty"));
    }

    #[test]
    fn a_uri_is_taken_as_it_is_and_a_path_is_escaped() {
        let arguments = parse("identity", &["rtsp://camera.example/live"]).unwrap();
        assert_eq!(arguments.uri, "rtsp://camera.example/live");
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("50% größer #1.mp4");
        std::fs::write(&odd, "x").unwrap();
        let arguments = parse("identity", &[odd.to_str().unwrap()]).unwrap();
        assert!(arguments.uri.ends_with("/50%25%20gr%C3%B6%C3%9Fer%20%231.mp4"), "{}", arguments.uri);
    }

    #[test]
    fn what_is_written_may_not_replace_the_video_and_is_called_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let video = folder.path().join("a.mp4");
        std::fs::write(&video, "x").unwrap();
        let video = video.to_str().unwrap();
        let same = folder.path().join("./a.mp4");
        assert!(refusal("identity", &[video, "--overlay", same.to_str().unwrap()]).contains("is the video itself"));
        for (option, extension) in
            [("--overlay", ".mp4"), ("--report", ".html"), ("--webvtt", ".vtt"), ("--csv", ".csv")]
        {
            assert!(refusal("identity", &[video, option, "out.avi"]).contains(extension));
            parse("identity", &[video, option, &format!("out{extension}")]).unwrap();
        }
    }
}
