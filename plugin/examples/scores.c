/* Prints what deepfakescore attached to each frame.
 *
 *     cc scores.c -o scores $(pkg-config --cflags --libs gstreamer-app-1.0 gstreamer-video-1.0)
 *     ./scores 'filesrc location=VIDEO ! decodebin ! deepfakescore'
 *
 * The fields are described in plugin/src/meta/mod.rs. Nothing of the project is needed to compile it.
 */
#include <gst/app/app.h>
#include <gst/gst.h>
#include <gst/video/video.h>

static const GstStructure *
structure_of (GstBuffer * buffer, const char *meta)
{
  GstCustomMeta *custom = gst_buffer_get_custom_meta (buffer, meta);
  return custom ? gst_custom_meta_get_structure (custom) : NULL;
}

/* An array among the fields, NULL where there is none. */
static const GValue *
array_of (const GstStructure * structure, const char *field)
{
  const GValue *value = gst_structure_get_value (structure, field);
  return value && GST_VALUE_HOLDS_ARRAY (value) ? value : NULL;
}

static void
show_face (const GstStructure * face, const GstStructure * box)
{
  guint64 track = 0;
  const char *verdict = gst_structure_get_string (face, "verdict");
  const char *reason = gst_structure_get_string (face, "not-scored");
  double score, logit, x, y, w, h;

  gst_structure_get_uint64 (face, "track", &track);
  g_print ("  track %" G_GUINT64_FORMAT " %s", track, verdict);
  if (reason) {
    g_print (" not scored: %s", reason);
  } else if (gst_structure_get (face, "score", G_TYPE_DOUBLE, &score, "logit", G_TYPE_DOUBLE, &logit, NULL)) {
    const GValue *map = array_of (face, "map");
    guint width, height;

    g_print (" score %.4f logit %.4f", score, logit);
    if (map && gst_structure_get (face, "map-width", G_TYPE_UINT, &width, "map-height", G_TYPE_UINT, &height, NULL)) {
      guint n = gst_value_array_get_size (map);
      double sum = 0;

      for (guint i = 0; i < n; i++)
        sum += g_value_get_double (gst_value_array_get_value (map, i));
      g_print (" map %ux%u mean %.4f", width, height, sum / n);
    }
  }
  /* The box is absent where the picture was cropped, turned or put between borders. */
  if (box && gst_structure_get (box, "x", G_TYPE_DOUBLE, &x, "y", G_TYPE_DOUBLE, &y,
          "w", G_TYPE_DOUBLE, &w, "h", G_TYPE_DOUBLE, &h, NULL))
    g_print (" at %.4f,%.4f %.4fx%.4f", x, y, w, h);
  g_print ("\n");
}

static void
show (GstBuffer * buffer)
{
  const GstStructure *scores = structure_of (buffer, "DeepfakeScoresMeta");
  const GstStructure *places = structure_of (buffer, "DeepfakeBoxesMeta");
  const GValue *faces, *boxes = NULL;
  guint version;
  guint64 frame, other;

  if (!scores || !gst_structure_get_uint (scores, "version", &version) || version != 1 ||
      !gst_structure_get_uint64 (scores, "frame", &frame) || !(faces = array_of (scores, "faces"))) {
    g_print ("no scores\n");
    return;
  }
  if (places && !gst_buffer_get_video_crop_meta (buffer) && gst_structure_get_uint64 (places, "frame", &other) && other == frame)
    boxes = array_of (places, "boxes");
  g_print ("frame %" G_GUINT64_FORMAT ": %u faces, by %s\n", frame, gst_value_array_get_size (faces),
      gst_structure_get_string (scores, "model-name"));
  for (guint i = 0; i < gst_value_array_get_size (faces); i++) {
    const GstStructure *box = boxes && i < gst_value_array_get_size (boxes)
        ? gst_value_get_structure (gst_value_array_get_value (boxes, i)) : NULL;

    show_face (gst_value_get_structure (gst_value_array_get_value (faces, i)), box);
  }
}

int
main (int argc, char **argv)
{
  GError *error = NULL;

  gst_init (&argc, &argv);
  if (argc != 2) {
    g_printerr ("usage: %s 'filesrc location=VIDEO ! decodebin ! deepfakescore'\n", argv[0]);
    return 2;
  }
  char *description = g_strconcat (argv[1], " ! appsink name=out sync=false max-buffers=2", NULL);
  GstElement *pipeline = gst_parse_launch (description, &error);
  g_free (description);
  if (error) {
    g_printerr ("%s\n", error->message);
    return 1;
  }
  GstElement *out = gst_bin_get_by_name (GST_BIN (pipeline), "out");
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *failure = NULL;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  /* A second at a time, so that an error before the first frame is seen. */
  while (!failure && !gst_app_sink_is_eos (GST_APP_SINK (out))) {
    GstSample *sample = gst_app_sink_try_pull_sample (GST_APP_SINK (out), GST_SECOND);

    if (sample) {
      show (gst_sample_get_buffer (sample));
      gst_sample_unref (sample);
    }
    failure = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  if (failure) {
    gst_message_parse_error (failure, &error, NULL);
    g_printerr ("%s\n", error->message);
    g_clear_error (&error);
    gst_message_unref (failure);
  }
  gst_object_unref (out);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
  return failure != NULL;
}
