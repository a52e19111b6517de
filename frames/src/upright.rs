//! Video that its file wants to be shown turned: a telephone held upright films sideways and notes it. Faces are looked for upright.

use gst::glib;
use gst::prelude::*;

/// Links a decoder's `pad` to `target`, turned or mirrored on the way where the stream's tags ask for it.
fn link_upright(pipeline: &gst::Pipeline, pad: &gst::Pad, target: &gst::Element) -> Result<(), glib::BoolError> {
    if !is_turned(pad) {
        return link(pad, target);
    }
    let flip = gst::ElementFactory::make("videoflip").build()?;
    flip.set_property_from_str("video-direction", "auto");
    let convert = gst::ElementFactory::make("videoconvert").build()?;
    pipeline.add_many([&convert, &flip])?;
    gst::Element::link_many([&convert, &flip, target])?;
    flip.sync_state_with_parent()?;
    convert.sync_state_with_parent()?;
    link(pad, &convert)
}

/// [`link_upright`] once something comes out of `pad`: only then has everything been told that is known of the stream. Where it fails,
/// `target` posts an error.
pub fn link_upright_once_known(pipeline: &gst::Pipeline, pad: &gst::Pad, target: &gst::Element) {
    let (pipeline, target) = (pipeline.downgrade(), target.downgrade());
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        if info.event().is_some_and(|e| !matches!(e.type_(), gst::EventType::Eos | gst::EventType::Gap)) {
            return gst::PadProbeReturn::Ok;
        }
        if let (Some(pipeline), Some(target)) = (pipeline.upgrade(), target.upgrade())
            && let Err(error) = link_upright(&pipeline, pad, &target)
        {
            gst::element_error!(target, gst::StreamError::Failed, ("{error}"));
        }
        gst::PadProbeReturn::Remove
    });
}

/// Does the file ask for its video to be shown turned or mirrored?
fn is_turned(pad: &gst::Pad) -> bool {
    let mut turned = false;
    pad.sticky_events_foreach(|event| {
        if let gst::EventView::Tag(tags) = event.view()
            && let Some(orientation) = tags.tag().get::<gst::tags::ImageOrientation>()
        {
            turned = orientation.get() != "rotate-0";
        }
        std::ops::ControlFlow::Continue(gst::EventForeachAction::Keep)
    });
    turned
}

fn link(pad: &gst::Pad, element: &gst::Element) -> Result<(), glib::BoolError> {
    let sink = element.static_pad("sink").ok_or_else(|| glib::bool_error!("{} has no sink pad", element.name()))?;
    pad.link(&sink).map(|_| ()).map_err(|e| glib::bool_error!("{e}"))
}
