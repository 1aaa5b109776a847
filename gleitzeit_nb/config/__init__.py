"""Configuration: frozen values out of files, environment and dictionaries. The only package that reads the environment.

`model` and the `*_sections` say which keys there are, `layers` and `environment` read them, `check` explains what is wrong with
them, `merge` lays them over the defaults in `core`, `trust` says what a stranger's file may not say, `loader` puts it together.
"""

from __future__ import annotations

from gleitzeit_nb.config.access import suited
from gleitzeit_nb.config.certificates import days_left, load_client
from gleitzeit_nb.config.credentials import ConfigWarning
from gleitzeit_nb.config.docker_contexts import DockerContext, docker_context
from gleitzeit_nb.config.environment import (
    cache_directory,
    config_directory,
    discovery_urls,
    misspelt_variables,
    planted_variable,
    runtime_directory,
    sockets_directory,
    state_directory,
)
from gleitzeit_nb.config.known_secrets import known_secrets
from gleitzeit_nb.config.loader import Config, check_file, instance_settings, load, named_secret, pool_settings, sandbox_settings
from gleitzeit_nb.config.requirement_words import requirements
from gleitzeit_nb.config.run_limits import run_limits
from gleitzeit_nb.config.values import DEFAULT_OLLAMA_URL, normalise_url, parse_duration, parse_size
from gleitzeit_nb.config.volumes import absolute

__all__ = [
    "DEFAULT_OLLAMA_URL",
    "Config",
    "ConfigWarning",
    "DockerContext",
    "absolute",
    "cache_directory",
    "check_file",
    "config_directory",
    "days_left",
    "discovery_urls",
    "docker_context",
    "instance_settings",
    "known_secrets",
    "load",
    "load_client",
    "misspelt_variables",
    "named_secret",
    "normalise_url",
    "parse_duration",
    "parse_size",
    "planted_variable",
    "pool_settings",
    "requirements",
    "run_limits",
    "runtime_directory",
    "sandbox_settings",
    "sockets_directory",
    "state_directory",
    "suited",
]
