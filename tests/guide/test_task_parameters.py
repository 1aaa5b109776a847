"""The parameters of the guide's and the draft's tasks, as a provider takes them. Rewrites: constants (see `rewrites`).

The files of tasks around them (names, dependencies, `${…}`) are not a matter of the pool.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import yaml

from gleitzeit_nb import OllamaPoolProvider
from gleitzeit_nb.errors import NoInstanceError
from tests.support.fake_ollama import FakeOllama

TASKS = """
- method: "llm/chat"
  params:
    model: "llama3.2"
    messages:
      - {role: "user", content: "short"}
- method: "llm/chat"
  params:
    model: "llama3.2:70b"
    instance_tags: ["gpu"]
    require_gpu: true
    messages:
      - {role: "user", content: "thorough"}
- method: "llm/chat"
  params:
    model: "phi"
    load_balancing_strategy: "latency_based"
    max_latency: 1000
    messages:
      - {role: "user", content: "fast"}
- method: "llm/chat"
  params:
    model: "absent"
    load_balancing_strategy: "model_affinity"
    fallback_model: "llama3.2"
    messages:
      - {role: "user", content: "either"}
- method: "llm/chat"
  params:
    model: "llama3.2:70b"
    instance_preference: "gpu-1"
    fallback_model: "llama3.2"
    require_gpu: true
    messages:
      - {role: "user", content: "hinted"}
"""

INSTANCES = """
- id: "cpu-1"
  models: ["llama3.2", "phi"]
  tags: ["cpu", "fast"]
- id: "gpu-1"
  models: ["llama3.2:70b", "mixtral"]
  tags: ["gpu", "large"]
"""


@pytest.fixture
async def provider() -> AsyncIterator[OllamaPoolProvider]:
    cpu, gpu = yaml.safe_load(INSTANCES)
    async with FakeOllama(models=cpu["models"]) as one, FakeOllama(models=gpu["models"], on_gpu=True) as other:
        instances = [{**cpu, "url": one.url}, {**gpu, "url": other.url}]
        async with OllamaPoolProvider(provider_id="ollama", instances=instances) as made:
            yield made


async def test_each_task_reaches_the_instance_that_its_parameters_ask_for(provider: OllamaPoolProvider) -> None:
    results = [await provider.execute(**task) for task in yaml.safe_load(TASKS)]
    assert [(result["instance"], result["model"], result["response"].strip()) for result in results] == [
        ("cpu-1", "llama3.2", "short"),
        ("gpu-1", "llama3.2:70b", "thorough"),
        ("cpu-1", "phi", "fast"),
        ("cpu-1", "llama3.2", "either"),
        ("gpu-1", "llama3.2:70b", "hinted"),
    ]


async def test_a_requirement_is_no_preference(provider: OllamaPoolProvider) -> None:
    task = yaml.safe_load(TASKS)[1]
    with pytest.raises(NoInstanceError, match="gpu-1"):
        await provider.execute(task["method"], {**task["params"], "instance_tags": ["gpu", "fast"]})
    with pytest.raises(NoInstanceError, match="no GPU"):
        await provider.execute(task["method"], {"model": "phi", "require_gpu": True, "prompt": "x"})


async def test_a_misspelt_parameter_is_refused_with_the_nearest(provider: OllamaPoolProvider) -> None:
    for wrong, nearest in (
        ("fallback_modell", "fallback_model"),
        ("instance_prefer", "instance_preference"),
        ("require_gpus", "require_gpu"),
    ):
        with pytest.raises(TypeError, match=f"did you mean '{nearest}'"):
            await provider.execute("llm/chat", {"model": "phi", "prompt": "x", wrong: "y"})
    with pytest.raises(TypeError, match="llm/generate takes 'prompt', not 'messages'"):
        await provider.execute("llm/generate", {"messages": [{"role": "user", "content": "x"}]})
    with pytest.raises(TypeError, match="nothing to ask"):
        await provider.execute("llm/chat", {"model": "phi"})
