/** In which order a long list of instances is shown, and which of them. Pure. */

import { instanceStatus, type Status } from '../format';
import type { InstanceView } from '../kernel/model';
import type { InstanceOrder } from '../settings/settings';

/** The worst first. */
const RANKS: Record<Status, number> = { failed: 0, degraded: 1, probing: 2, draining: 3, unknown: 4, ok: 5 };
const BY_NAME = new Intl.Collator(undefined, { numeric: true });

/** What stands first has the least of this; null: the order of the configuration. What is not known stands last. */
const MEASURES: Record<Exclude<InstanceOrder, 'name'>, ((instance: InstanceView) => number | null) | null> = {
  configured: null,
  status: instance => RANKS[instanceStatus(instance)],
  load: ({ in_flight, max_concurrent }) => -(in_flight / Math.max(1, max_concurrent)),
  latency: ({ latency_s }) => negative(latency_s),
  errors: ({ error_rate }) => negative(error_rate),
  tokens: ({ tokens_per_s }) => negative(tokens_per_s.length > 0 ? tokens_per_s[tokens_per_s.length - 1] : null)
};

function negative(value: number | null): number | null {
  return value === null ? null : -value;
}

/** Instances of the same rank stay in the order in which they came. */
export function ordered(instances: readonly InstanceView[], order: InstanceOrder): readonly InstanceView[] {
  if (order === 'name') {
    return [...instances].sort((one, other) => BY_NAME.compare(one.id, other.id));
  }
  const measure = MEASURES[order];
  if (measure === null) {
    return instances;
  }
  const found = instances.map(instance => ({ instance, value: measure(instance) ?? Infinity }));
  return found.sort((one, other) => (one.value === other.value ? 0 : one.value - other.value)).map(({ instance }) => instance);
}

/** Those in whose name, tags, models, state or address every one of the words stands. */
export function matching(instances: readonly InstanceView[], words: string): readonly InstanceView[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  if (wanted.length === 0) {
    return instances;
  }
  return instances.filter(instance => {
    const { id, url, tags, models, warm } = instance;
    const text = [id, url, instanceStatus(instance), ...tags, ...models, ...warm.map(({ name }) => name)].join('\n').toLowerCase();
    return wanted.every(word => text.includes(word));
  });
}

/** The order that was shown, for who looks at it or points into it: what is new comes last. */
export function asBefore(instances: readonly InstanceView[], ids: readonly string[]): readonly InstanceView[] {
  const places = new Map(ids.map((id, index) => [id, index]));
  const place = ({ id }: InstanceView): number => places.get(id) ?? ids.length;
  return [...instances].sort((one, other) => place(one) - place(other));
}
