"""What must hold: declarative YAML as frozen models that know where each value came from."""
