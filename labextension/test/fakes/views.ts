/** What a kernel sends, whole, so that a test need only say what it is about. */

import type { ContainerView, InstanceView, ModeView, RunView, SessionView, Snapshot, WarmModel } from '../../src/kernel/model';
import { SCHEMA_VERSION } from '../../src/kernel/model';

export function warmModel(name: string): WarmModel {
  return { name, gpu_share: null, vram_bytes: null, size_bytes: null, expires_at: null };
}

export function instance(changes: Partial<InstanceView> = {}): InstanceView {
  return {
    id: 'gpu-1',
    url: 'http://gpu-1:11434',
    tags: [],
    state: 'healthy',
    reason: '',
    draining: false,
    breaker: 'closed',
    retry_in_s: null,
    in_flight: 0,
    max_concurrent: 2,
    latency_s: null,
    error_rate: null,
    total_requests: 0,
    failed_requests: 0,
    tokens_per_s: [],
    warm: [],
    models: [],
    load: [],
    latencies_s: [],
    ...changes
  };
}

export function mode(changes: Partial<ModeView> = {}): ModeView {
  return {
    id: 'docker-sandbox',
    label: 'Docker sandbox',
    level: 3,
    enabled: true,
    available: true,
    active: 0,
    queued: 0,
    containers: 0,
    max_containers: 4,
    memory_bytes: null,
    note: '',
    outcomes: [],
    discards: [],
    ...changes
  };
}

export function run(changes: Partial<RunView> = {}): RunView {
  return {
    id: 'r1',
    kind: 'llm',
    label: '[12] %%llm',
    where: 'gpu-1',
    state: 'running',
    elapsed_s: 0,
    tokens: 0,
    model: 'llama3.2',
    tokens_per_s: null,
    rates: [],
    progress: null,
    container: '',
    cancellable: true,
    ...changes
  };
}

export function container(changes: Partial<ContainerView> = {}): ContainerView {
  return {
    id: '3f2a9c1d5b7e0000',
    mode: 'docker-sandbox',
    image: 'gleitzeit/sandbox',
    state: 'idle',
    memory_bytes: null,
    made_at: 0,
    runs: 0,
    session: '',
    run: '',
    ...changes
  };
}

export function session(changes: Partial<SessionView> = {}): SessionView {
  return { name: 'work', mode: 'docker-sandbox', state: 'idle', runs: 1, used_at: 0, memory_bytes: null, peak_bytes: null, container: '', ...changes };
}

export function snapshot(changes: Partial<Snapshot> = {}): Snapshot {
  return {
    schema_version: SCHEMA_VERSION,
    seq: 1,
    at: 0,
    instances: [],
    queue_depth: 0,
    in_flight: 0,
    tokens_per_s: 0,
    modes: [],
    default_mode: 'docker-sandbox',
    containers: 0,
    runs: [],
    failovers: [],
    sessions: [],
    security: { counts: [], recent: [] },
    container_list: [],
    runs_total: 0,
    version: '0.1.0',
    ...changes
  };
}
