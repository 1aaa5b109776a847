"""The notebook's dashboard: pictures and controls of ipywidgets. The side panel is drawn in `labextension/`."""
