/** What the kernel sends. Every message is untrusted until it has passed a check; the types follow from the checks. */

export const SCHEMA_VERSION = 2;
export const CONTROL_TARGET = 'gleitzeit_nb.control';
/** The same under a name of its own: JupyterLab (4.6) ends the subshell that the comms of a target share when the first of them is closed. */
export const OUTPUTS_TARGET = 'gleitzeit_nb.outputs';

/** A message that is not what it should be. `path` says where. */
export class ModelError extends Error {
  constructor(path: string, expected: string) {
    super(`${path || 'message'} is not ${expected}`);
  }
}

export type Check<T> = (value: unknown, path: string) => T;
export type Checked<C> = C extends Check<infer T> ? T : never;
type Fields = Record<string, Check<unknown>>;
type RecordOf<F extends Fields> = { readonly [K in keyof F]: Checked<F[K]> };

const text: Check<string> = (value, path) => {
  if (typeof value !== 'string') {
    throw new ModelError(path, 'text');
  }
  return value;
};

const number: Check<number> = (value, path) => {
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new ModelError(path, 'a number');
  }
  return value;
};

const flag: Check<boolean> = (value, path) => {
  if (typeof value !== 'boolean') {
    throw new ModelError(path, 'true or false');
  }
  return value;
};

function nullable<T>(check: Check<T>): Check<T | null> {
  return (value, path) => (value === null ? null : check(value, path));
}

/** What older kernels do not send: null then, too. */
function optional<T>(check: Check<T>): Check<T | null> {
  return (value, path) => (value === undefined || value === null ? null : check(value, path));
}

function list<T>(check: Check<T>): Check<readonly T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) {
      throw new ModelError(path, 'a list');
    }
    return value.map((item, index) => check(item, `${path}[${index}]`));
  };
}

/** A record with these fields. Others are dropped: a newer kernel may send more. */
function record<F extends Fields>(fields: F): Check<RecordOf<F>> & { readonly fields: F } {
  const check = (value: unknown, path: string): RecordOf<F> => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new ModelError(path, 'a record');
    }
    const source = new Map<string, unknown>(Object.entries(value));
    const pairs = Object.entries(fields).map(([name, field]) => [name, field(source.get(name), path ? `${path}.${name}` : name)]);
    return Object.fromEntries(pairs) as RecordOf<F>;
  };
  return Object.assign(check, { fields });
}

export const warmModel = record({
  name: text,
  gpu_share: nullable(number),
  vram_bytes: nullable(number),
  size_bytes: nullable(number),
  expires_at: nullable(number)
});

export const instanceView = record({
  id: text,
  url: text,
  tags: list(text),
  state: text,
  reason: text,
  draining: flag,
  breaker: text,
  retry_in_s: nullable(number),
  in_flight: number,
  max_concurrent: number,
  latency_s: nullable(number),
  error_rate: nullable(number),
  total_requests: number,
  failed_requests: number,
  tokens_per_s: list(number),
  warm: list(warmModel),
  models: list(text),
  load: list(number),
  latencies_s: list(nullable(number))
});

export const countView = record({ name: text, count: number });

export const modeView = record({
  id: text,
  label: text,
  level: number,
  enabled: flag,
  available: nullable(flag),
  active: number,
  queued: number,
  containers: number,
  max_containers: number,
  memory_bytes: nullable(number),
  note: text,
  outcomes: list(countView),
  discards: list(countView)
});

export const containerView = record({
  id: text,
  mode: text,
  image: text,
  state: text,
  memory_bytes: nullable(number),
  made_at: number,
  runs: number,
  session: text,
  run: text
});

export const sessionView = record({
  name: text,
  mode: text,
  state: text,
  runs: number,
  used_at: number,
  memory_bytes: nullable(number),
  peak_bytes: nullable(number),
  container: text
});

export const securityCount = record({ kind: text, mode: text, count: number });

export const securityNote = record({ at: number, kind: text, mode: text, reason: text });

export const securityView = record({ counts: list(securityCount), recent: list(securityNote) });

export const failoverView = record({ at: number, source: text, target: text, reason: text, model: text });

export const shareView = record({ name: text, share: number });

export const progressView = record({
  done: number,
  total: nullable(number),
  failed: number,
  eta_s: nullable(number),
  shares: list(shareView)
});

export const runView = record({
  id: text,
  kind: text,
  label: text,
  where: text,
  state: text,
  elapsed_s: number,
  tokens: number,
  model: text,
  tokens_per_s: nullable(number),
  rates: list(number),
  progress: nullable(progressView),
  container: text,
  cancellable: flag
});

export const snapshot = record({
  schema_version: number,
  seq: number,
  at: number,
  instances: list(instanceView),
  queue_depth: number,
  in_flight: number,
  tokens_per_s: number,
  modes: list(modeView),
  default_mode: text,
  containers: number,
  runs: list(runView),
  failovers: list(failoverView),
  sessions: list(sessionView),
  security: securityView,
  container_list: list(containerView),
  runs_total: number,
  version: text
});

export type WarmModel = Checked<typeof warmModel>;
export type InstanceView = Checked<typeof instanceView>;
export type ModeView = Checked<typeof modeView>;
export type ContainerView = Checked<typeof containerView>;
export type SessionView = Checked<typeof sessionView>;
export type FailoverView = Checked<typeof failoverView>;
export type RunView = Checked<typeof runView>;
export type SecurityView = Checked<typeof securityView>;
export type Snapshot = Checked<typeof snapshot>;

/** What a kernel is told to do. Ids are those of the snapshot. */
export type Command =
  | { readonly type: 'drain' | 'resume'; readonly instance: string }
  | { readonly type: 'warm' | 'unload'; readonly instance: string; readonly model: string }
  | { readonly type: 'cancel'; readonly run: string }
  | { readonly type: 'stop_container'; readonly container: string }
  | { readonly type: 'reset_session'; readonly session: string }
  | { readonly type: 'restart_pool' | 'reload' | 'diagnostics' };

/** What this panel says to the kernel. The answers to a command carry its `request`: up to 64 letters, digits, "-" and "_". */
export type Request = { readonly type: 'hello' } | (Command & { readonly request?: string });

export const welcome = record({ version: text, answers_while_busy: flag, cell_s: optional(number), commands: list(text) });

export const answer = record({ of: text, request: text, text, report: text });

/**
 * What this kernel is and can do. `answers_while_busy` false: it has no subshells, so that commands wait for the running cell.
 * `cell_s`: how long that has been running; null while none does.
 */
export type Welcome = Checked<typeof welcome>;

/** What came of a command. "started" is followed by "done" or "error". `report`: several lines, of diagnostics or of an error; else "". */
export type Answer = Checked<typeof answer> & { readonly outcome: 'started' | 'done' | 'error' };

const envelope = record({ type: text });
const versioned = record({ snapshot: record({ schema_version: number }) });
const carried = record({ snapshot });

export type Message =
  | { readonly type: 'snapshot'; readonly snapshot: Snapshot }
  | { readonly type: 'welcome'; readonly welcome: Welcome }
  | { readonly type: 'answer'; readonly answer: Answer };

/** A message of the control comm; null for those of no interest here. Throws ModelError. */
export function readMessage(message: unknown): Message | null {
  const { type } = envelope(message, '');
  if (type === 'started' || type === 'done' || type === 'error') {
    return { type: 'answer', answer: { outcome: type, ...answer(message, '') } };
  }
  if (type === 'welcome') {
    return { type, welcome: welcome(message, '') };
  }
  if (type !== 'snapshot') {
    return null;
  }
  const version = versioned(message, '').snapshot.schema_version;
  if (version !== SCHEMA_VERSION) {
    throw new ModelError('snapshot', `of version ${SCHEMA_VERSION} but ${version}`);
  }
  return { type, snapshot: carried(message, '').snapshot };
}
