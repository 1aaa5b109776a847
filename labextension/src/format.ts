/** Numbers and states as a person reads them. Pure: no clock, no DOM. Unknown is shown as unknown, never as zero. */

import type { TranslationBundle } from '@jupyterlab/translation';

import type { InstanceView, ModeView, SecurityView, Snapshot } from './kernel/model';

export const UNKNOWN = '–';
const THIN = '\u00a0'; // between a number and its unit: they never part at a line's end

export function duration(seconds: number | null): string {
  if (seconds === null) {
    return UNKNOWN;
  }
  if (seconds < 0.9995) {
    return `${Math.round(Math.max(seconds, 0) * 1000)}${THIN}ms`;
  }
  if (seconds < 9.95) {
    return `${seconds.toFixed(1)}${THIN}s`;
  }
  return wholeSeconds(seconds);
}

export function wholeSeconds(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 120) {
    return `${whole}${THIN}s`;
  }
  return whole < 7200 ? `${Math.round(whole / 60)}${THIN}min` : `${Math.round(whole / 3600)}${THIN}h`;
}

export function percent(fraction: number | null, digits = 1): string {
  return fraction === null ? UNKNOWN : `${(fraction * 100).toFixed(fraction === 1 ? 0 : digits)}${THIN}%`;
}

export function bytes(size: number | null): string {
  if (size === null) {
    return UNKNOWN;
  }
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = size;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 9.95 && unit > 0 ? value.toFixed(1) : Math.round(value)}${THIN}${units[unit]}`;
}

/** A name in a sentence or on a button: its beginning, when it is long. */
export function cut(text: string, most = 60): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** A number with its thousands apart. */
export function count(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, THIN);
}

/** Tokens per second, and other rates. */
export function rate(value: number | null): string {
  return value === null ? UNKNOWN : value >= 9.95 || value === 0 ? count(value) : value.toFixed(1);
}

/** Time of day of a moment given in seconds since the epoch, in the reader's time zone. */
export function timeOfDay(at: number): string {
  const date = new Date(at * 1000);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(part => String(part).padStart(2, '0')).join(':');
}

/** What React knows rows by: their ids, told apart where a kernel gives one twice, so that no row is lost or left behind. */
export function rowKeys(ids: readonly string[]): readonly string[] {
  const times = new Map<string, number>();
  return ids.map(id => {
    const before = times.get(id) ?? 0;
    times.set(id, before + 1);
    return before === 0 ? id : `${id} #${before + 1}`;
  });
}

/** Events that were counted for each mode, counted over all of them; the most frequent first. */
export function countsByKind(counts: SecurityView['counts']): readonly (readonly [kind: string, count: number])[] {
  const sums = new Map<string, number>();
  for (const { kind, count: times } of counts) {
    sums.set(kind, (sums.get(kind) ?? 0) + times);
  }
  return [...sums].sort(([, one], [, other]) => other - one);
}

export type Status = 'ok' | 'degraded' | 'probing' | 'draining' | 'failed' | 'unknown';

const HEALTH: ReadonlyMap<string, Status> = new Map([
  ['healthy', 'ok'],
  ['degraded', 'degraded'],
  ['unhealthy', 'failed']
]);

/** The one word for an instance. What a person did (drain) comes first, then what the breaker knows, then health. */
export function instanceStatus(instance: InstanceView): Status {
  if (instance.draining) {
    return 'draining';
  }
  if (instance.breaker === 'open') {
    return 'failed';
  }
  if (instance.breaker === 'half_open') {
    return 'probing';
  }
  return HEALTH.get(instance.state) ?? 'unknown';
}

/** Filled part of a bar, 0 to 1. */
export function fraction(used: number, most: number): number {
  return most > 0 ? Math.min(1, Math.max(0, used / most)) : 0;
}

/** Where a warm model lies: "CPU", "GPU 62 %", or "" when it is not known. */
export function placement(gpuShare: number | null): string {
  if (gpuShare === null) {
    return '';
  }
  return gpuShare === 0 ? 'CPU' : `GPU${THIN}${percent(gpuShare, 0)}`;
}

/** Why a mode's row has no numbers; "" when it has. */
export function modeNote(mode: ModeView, trans: TranslationBundle): string {
  return mode.enabled && mode.available !== false ? '' : mode.note || (mode.enabled ? trans.__('not available') : trans.__('disabled'));
}

/** Whether it answers, also while a person drains it. */
export function isUp({ breaker, state }: InstanceView): boolean {
  return breaker !== 'open' && (state === 'healthy' || state === 'degraded');
}

export function upCount(snapshot: Snapshot): number {
  return snapshot.instances.filter(isUp).length;
}
